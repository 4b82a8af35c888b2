//! Turns records into ticks: validates each record, interns its names, and cuts the stream.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use connectors::{RawControl, RawEvent, RawItem};
use crossbeam_channel::Sender;
use dataflows::time::MAX_MS;
use dataflows::{ControlRecord, Event, ItemRecord, Scope};
use schema::{Effect, RESERVED, Reason, looks_like_seconds, shown, trending_in};

use super::{Break, OutputGate};
use crate::config::Config;
use crate::engine::Shared;
use crate::engine::clock::{Clock, now};
use crate::engine::names::{Holder, LockedNames};
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
    /// It is in the tick, or counted and expired.
    Taken,
    Rejected(Reason),
    /// It is not taken yet: the output opens after this millisecond, before time advances to the record.
    OpensFirst {
        after: u64,
    },
    /// It is not taken yet: the name that holds one of its ids ends at this millisecond at the latest, and the graph or the
    /// writer still has it.
    AwaitsRelease {
        at: u64,
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
    /// Since when a record has waited for an id to be released.
    awaiting: Option<Instant>,
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
            awaiting: None,
            out,
        }
    }

    /// Adds a record to the tick if it is valid. `arrives`: it was not there when the run started.
    pub(super) fn admit(&mut self, record: RawEvent<'_>, arrives: bool, gate: OutputGate) -> Admission {
        let effect = match self.validate(record, arrives) {
            Err(reason) => return Admission::Rejected(reason),
            Ok(effect) => effect,
        };
        let at = self.at.max(match self.shared.clock {
            Clock::Event => record.ts,
            Clock::Wall => now(),
        });
        let ids = self.shared.ids;
        let expires = record.ts.saturating_add(self.config.graph.retention);
        let trending = self.config.graph.trending.filter(|_| effect.level().is_some());
        let trending = trending.map(|trending| trending.expires(record.ts)).filter(|until| *until > at);
        let room = record.room.filter(|_| trending.is_some() && self.config.input.rooms);
        let room = room.map(|room| (ids.id64(&trending_in(room)), room));
        let (user, item) = ((ids.id64(record.user), record.user), (ids.id64(record.item), record.item));
        let mut names = self.shared.names.lock(self.config.graph.trending.is_some());
        // An expired event needs no names.
        let claimed = (expires > at).then(|| names.claim(user, item, room)).transpose();
        let is_held = |until: u64| until > at || self.has_awaited_release();
        let claims = match claimed {
            Err(collision) if is_held(collision.until) => {
                self.awaiting = None;
                return Admission::Rejected(collision.reason);
            }
            claimed => claimed,
        };
        if let Some(after) = gate.opens_before(at) {
            return Admission::OpensFirst { after };
        }
        let Ok(claims) = claims else {
            self.awaiting.get_or_insert_with(Instant::now);
            return Admission::AwaitsRelease { at };
        };
        self.awaiting = None;
        count(&self.shared.progress.events);
        if effect.level().is_none() {
            count(&self.shared.progress.without_level);
        }
        self.at = at;
        let Some((user_claim, item_claim)) = claims else {
            count(&self.shared.progress.expired);
            return Admission::Taken;
        };
        user_claim.hold(self.tick.number, record.ts);
        item_claim.hold(self.tick.number, record.ts);
        let scope = trending.and_then(|until| retain_trending_names(&mut names, item, room, until));
        drop(names);
        self.open_tick();
        self.tick.events.push(Event { user: user.0, item: item.0, ts: record.ts, effect, scope });
        Admission::Taken
    }

    fn validate(&self, record: RawEvent<'_>, arrives: bool) -> Result<Effect, Reason> {
        let effect = self.config.levels.effect(record.action, record.dwell_ms)?;
        self.check_user(record.user)?;
        self.check_time(record.ts, record.stamped, arrives)?;
        if let (Clock::Event, Some(limit)) = (self.shared.clock, self.config.input.max_jump)
            && self.at > 0
            && record.ts > self.at.saturating_add(limit)
        {
            return Err(Reason::TimeJump { ts: record.ts, latest: self.at, limit });
        }
        Ok(effect)
    }

    /// Adds a catalogue record to the tick if it is valid. `arrives`: it was not there when the run started.
    pub(super) fn admit_item(&mut self, record: RawItem<'_>, arrives: bool, gate: OutputGate) -> Admission {
        let at = self.arrival_time();
        if let Err(reason) = self.check_time(record.ts, record.stamped, arrives) {
            return Admission::Rejected(reason);
        }
        let item = (self.shared.ids.id64(record.item), record.item);
        let mut names = self.shared.names.lock(self.config.graph.trending.is_some());
        let claim = match names.claim_item(item) {
            Err(collision) if collision.until > at || self.has_awaited_release() => {
                self.awaiting = None;
                return Admission::Rejected(collision.reason);
            }
            claim => claim,
        };
        if let Some(after) = gate.opens_before(at) {
            return Admission::OpensFirst { after };
        }
        let Ok(claim) = claim else {
            self.awaiting.get_or_insert_with(Instant::now);
            return Admission::AwaitsRelease { at };
        };
        claim.hold_record(self.tick.number);
        drop(names);
        self.awaiting = None;
        count(&self.shared.progress.items);
        self.at = at;
        self.open_tick();
        let statement = record.statement.clone();
        self.tick.items.push(ItemRecord { item: item.0, ts: record.ts, statement });
        Admission::Taken
    }

    /// Adds a control to the tick if it is valid. `arrives`: it was not there when the run started.
    pub(super) fn admit_control(&mut self, record: RawControl<'_>, arrives: bool, gate: OutputGate) -> Admission {
        let at = self.arrival_time();
        let checked = self.check_user(record.user).and_then(|()| self.check_time(record.ts, record.stamped, arrives));
        if let Err(reason) = checked {
            return Admission::Rejected(reason);
        }
        // By the event clock, too: such a `forget` would do nothing, and such a `pause` would pause all there is.
        if looks_like_seconds(record.ts) {
            return Admission::Rejected(Reason::TimeInSeconds { ts: record.ts });
        }
        let ids = self.shared.ids;
        let user = ids.id64(record.user);
        let mut users = self.shared.names.users();
        let claim = match users.claim(user, record.user) {
            Err(Holder { name: known, until }) if until > at || self.has_awaited_release() => {
                self.awaiting = None;
                let name = record.user.to_owned();
                return Admission::Rejected(Reason::NameCollision { field: "user", name, known });
            }
            claim => claim,
        };
        if let Some(after) = gate.opens_before(at) {
            return Admission::OpensFirst { after };
        }
        let Ok(claim) = claim else {
            self.awaiting.get_or_insert_with(Instant::now);
            return Admission::AwaitsRelease { at };
        };
        claim.hold_control(self.tick.number, record.ts);
        drop(users);
        self.awaiting = None;
        count(&self.shared.progress.controls);
        self.at = at;
        self.open_tick();
        // Of an item that only a control names no name is held: no list shows it because of the control.
        let item = record.control.item().map(|item| ids.id64(item));
        self.tick.controls.push(ControlRecord { user, ts: record.ts, control: record.control.clone(), item });
        Admission::Taken
    }

    /// The time of the run at which a record is taken that does not move the clock of the events.
    fn arrival_time(&self) -> u64 {
        match self.shared.clock {
            Clock::Event => self.at,
            Clock::Wall => self.at.max(now()),
        }
    }

    /// Sets the times of the tick to which a record is added now.
    fn open_tick(&mut self) {
        if self.tick.is_empty() {
            self.tick.since = self.at;
        }
        self.tick.at = self.at;
    }

    /// Whether a record has waited for long enough for an id to be released.
    fn has_awaited_release(&self) -> bool {
        self.awaiting.is_some_and(|since| since.elapsed() > LONGEST_RELEASE)
    }

    fn check_user(&self, user: &str) -> Result<(), Reason> {
        if self.config.graph.trending.is_some() && user.starts_with(RESERVED) {
            return Err(Reason::ReservedName { user: shown(user) });
        }
        Ok(())
    }

    /// Checks that a time is neither in the future nor, by the wall clock, in seconds.
    fn check_time(&self, ts: u64, stamped: Option<u64>, arrives: bool) -> Result<(), Reason> {
        if self.shared.clock == Clock::Wall && looks_like_seconds(ts) {
            return Err(Reason::TimeInSeconds { ts });
        }
        let limit = match stamped {
            Some(stamped) => stamped.saturating_add(self.config.input.max_skew).min(MAX_MS - 1),
            None if arrives && ts > self.latest => latest(self.config.input.max_skew),
            None => self.latest,
        };
        if ts > limit { Err(Reason::Future { ts, limit }) } else { Ok(()) }
    }

    /// Sends the tick, also an empty one, at the current time. Blocks until the channel has room.
    pub(in crate::engine) fn send(&mut self) -> Result<(), Break> {
        if self.tick.is_empty() {
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
}

/// Longest wait for an id to be released. The graph reports every name whose last event has expired, so that only a snapshot
/// to a slow store takes long.
const LONGEST_RELEASE: Duration = Duration::from_secs(60);

/// Retains the names that the trending lists may show until millisecond `until` because of an event, and returns the scope
/// of its room.
pub(in crate::engine) fn retain_trending_names(
    names: &mut LockedNames<'_>,
    item: (u64, &str),
    room: Option<(u64, &str)>,
    until: u64,
) -> Option<Scope> {
    let trending = names.trending.as_mut()?;
    trending.items.retain(item.0, item.1, until);
    let (id, room) = room?;
    trending.rooms.retain(id, room, until);
    Some(Scope::new(id))
}

/// The latest timestamp that is not in the future now.
pub(crate) fn latest(max_skew: u64) -> u64 {
    now().saturating_add(max_skew).min(MAX_MS - 1)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
