//! Turns records into ticks: validates each record, interns its names, and cuts the stream.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use connectors::RawEvent;
use crossbeam_channel::Sender;
use dataflows::time::MAX_MS;
use dataflows::types::ItemId;
use dataflows::{Event, Scope};
use schema::{Effect, RESERVED, Reason, id64, trending_in};

use super::{Break, OutputGate};
use crate::config::Config;
use crate::engine::Shared;
use crate::engine::clock::{Clock, now};
use crate::engine::names::Collision;
use crate::engine::tick::{TickInput, Waker};
use crate::faults;

/// The reader's end of the channel to the coordinator.
pub(in crate::engine) struct TickSender {
    pub(in crate::engine) ticks: Sender<TickInput>,
    pub(in crate::engine) waker: Waker,
    /// Set while the reader waits for the outside world and has sent everything it read.
    pub(in crate::engine) waiting: Arc<AtomicBool>,
}

impl TickSender {
    /// Runs a wait for the outside world. A stopped run does not wait for it to return.
    pub(super) fn while_waiting<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.waiting.store(true, Release);
        let done = wait();
        self.waiting.store(false, Release);
        done
    }
}

/// What became of a record.
pub(super) enum Admission {
    /// It is in the tick, or counted and without effect.
    Taken,
    Rejected(Reason),
    /// It is not taken yet: the output opens after this millisecond, before time advances to the record.
    OpensFirst {
        after: u64,
    },
}

/// Validates records and collects the next tick.
pub(in crate::engine) struct TickBuilder {
    pub(in crate::engine) config: Config,
    pub(in crate::engine) shared: Shared,
    /// The latest timestamp allowed in stored records: fixed at the start, so that a replay repeats the decisions of the
    /// first run. For records of a pipe the limit is relative to their arrival, for those of a topic to their own time.
    latest: u64,
    /// The time of the run, in milliseconds.
    pub(in crate::engine) at: u64,
    /// The tick being collected.
    pub(in crate::engine) tick: TickInput,
    /// Whether a collision of two names was logged.
    collided: bool,
    pub(super) out: TickSender,
}

impl TickBuilder {
    pub(super) fn new(config: Config, shared: Shared, out: TickSender) -> Self {
        TickBuilder {
            latest: latest(config.input.max_skew),
            config,
            shared,
            at: 0,
            tick: TickInput { number: 1, ..TickInput::default() },
            collided: false,
            out,
        }
    }

    /// Adds a record to the tick if it is valid. `arrives`: it was not there when the run started.
    pub(super) fn admit(&mut self, record: RawEvent<'_>, arrives: bool, gate: OutputGate) -> Admission {
        let level = match self.validate(record, arrives) {
            Err(reason) => return Admission::Rejected(reason),
            Ok(Effect::Ignored) => {
                count(&self.shared.progress.events);
                count(&self.shared.progress.ignored);
                return Admission::Taken;
            }
            Ok(Effect::Counts(level)) => level,
        };
        let at = self.at.max(match self.shared.clock {
            Clock::Event => record.ts,
            Clock::Wall => now(),
        });
        if let Some(after) = gate.opens_before(at) {
            return Admission::OpensFirst { after };
        }
        count(&self.shared.progress.events);
        self.at = at;
        if record.ts.saturating_add(self.config.graph.retention) <= self.at {
            count(&self.shared.progress.expired);
            return Admission::Taken;
        }
        let delayed_until = if record.ts > self.at { record.ts } else { 0 };
        let (user, collision) = self.shared.names.users().intern(record.user, self.tick.number, delayed_until);
        self.report("users", record.user, collision);
        let (item, collision) = self.shared.names.items().intern(record.item, self.tick.number, delayed_until);
        self.report("items", record.item, collision);
        if self.tick.events.is_empty() {
            self.tick.since = self.at;
        }
        self.tick.at = self.at;
        let scope = self.retain_trending_names(record.ts, (item, record.item), record.room);
        self.tick.events.push(Event { user, item, ts: record.ts, level, scope });
        Admission::Taken
    }

    fn validate(&self, record: RawEvent<'_>, arrives: bool) -> Result<Effect, Reason> {
        let effect = self.config.levels.effect(record.action, record.dwell_ms)?;
        if self.config.graph.trending.is_some() && record.user.starts_with(RESERVED) {
            return Err(Reason::ReservedName { user: record.user.to_owned() });
        }
        let limit = match record.stamped {
            Some(stamped) => stamped.saturating_add(self.config.input.max_skew).min(MAX_MS - 1),
            None if arrives && record.ts > self.latest => latest(self.config.input.max_skew),
            None => self.latest,
        };
        if record.ts > limit {
            return Err(Reason::Future { ts: record.ts, limit });
        }
        Ok(effect)
    }

    /// Retains the names that the trending lists may show because of an event, and returns the scope of its room.
    pub(in crate::engine) fn retain_trending_names(
        &self,
        ts: u64,
        (id, item): (ItemId, &str),
        room: Option<&str>,
    ) -> Option<Scope> {
        let until = self.config.graph.trending.map(|trending| trending.expires(ts)).filter(|until| *until > self.at)?;
        let mut names = self.shared.names.expiring();
        names.retain(id, item, until);
        let key = trending_in(room.filter(|_| self.config.input.rooms)?);
        let scope = Scope::new(id64(&key));
        names.retain(scope.id(), &key, until);
        Some(scope)
    }

    /// Sends the tick, also an empty one, at the current time. Blocks until the channel has room.
    pub(in crate::engine) fn send(&mut self) -> Result<(), Break> {
        if self.tick.events.is_empty() {
            (self.tick.since, self.tick.at) = (self.at, self.at);
        }
        faults::hit_infallible("reader.send");
        self.tick.taken = self.shared.progress.events.load(Relaxed);
        let events = Vec::with_capacity(self.tick.events.len());
        let next = TickInput { number: self.tick.number + 1, events, ..TickInput::default() };
        let sent = self.out.ticks.send(std::mem::replace(&mut self.tick, next));
        self.out.waker.wake();
        sent.map_err(|_| Break::Disconnected)
    }

    /// Logs the first collision. Two names with one id64 count as one name; the chance of any collision among a hundred
    /// million names is about one in four thousand.
    fn report(&mut self, table: &str, name: &str, collision: Option<Collision>) {
        let Some(Collision { id, known }) = collision else { return };
        count(&self.shared.progress.collisions);
        if !std::mem::replace(&mut self.collided, true) {
            tracing::warn!(table, known, name, id, "two names have the same id64 and count as one");
        }
    }
}

/// The latest timestamp that is not in the future now.
pub(crate) fn latest(max_skew: u64) -> u64 {
    now().saturating_add(max_skew).min(MAX_MS - 1)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
