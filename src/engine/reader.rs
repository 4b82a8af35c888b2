//! The edge: merges the inputs, judges events, interns names, and cuts the stream into ticks.

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connectors::{Batch, Polled, RawEvent, RejectLog, SourcePosition};
use crossbeam_channel::Sender;
use dataflows::{Event, MAX_MS, Trending};
use schema::{Effect, Levels, RESERVED, Reason, Rejected, id64, trending_in};
use snapshots::Store;

use super::clock::{Clock, now};
use super::names::{Collision, Names};
use super::progress::Progress;
use super::resume::Resume;
use super::tick::{TickInput, Waker};
use super::{Input, RunError, Shared, State};
use crate::config::Config;
use crate::stop::Stop;

/// See the module.
pub(super) struct Reader {
    inputs: Vec<InputCursor>,
    rejects: Rejects,
    pub(super) edge: TickBuilder,
    /// Most events in a tick.
    most: usize,
    /// Set while a poll may wait for the outside world and everything read before was passed on.
    waiting: Arc<AtomicBool>,
    /// Where to go on from, and where that is kept.
    pub(super) resume: Option<Resume>,
    pub(super) store: Option<Arc<Store>>,
}

/// How often the lag of topics is looked at.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// The longest sleep while topics are silent: so soon a stop is seen.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Rejected records. Shared, because a reader that waits for a pipe is left behind when a run is stopped, and what it
/// has set aside must not be lost with it.
#[derive(Clone)]
pub(super) struct Rejects(Arc<Mutex<RejectLog>>);

impl Rejects {
    pub(super) fn new(log: RejectLog) -> Self {
        Rejects(Arc::new(Mutex::new(log)))
    }

    /// The log, to close and to read; what still comes afterwards goes nowhere.
    pub(super) fn take(&self) -> RejectLog {
        std::mem::take(&mut *self.log())
    }

    fn log(&self) -> MutexGuard<'_, RejectLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why reading goes no further.
pub(super) enum Break {
    /// Nobody takes what is read.
    Disconnected,
    /// The run is to end early.
    Stopped,
    Failed(RunError),
}

impl Reader {
    pub(super) fn new(
        config: &Config,
        inputs: Vec<Input>,
        rejects: Rejects,
        shared: Shared,
        waiting: Arc<AtomicBool>,
        state: Option<&State>,
        resume: Option<Resume>,
    ) -> Self {
        let Shared { clock, names, progress, .. } = shared;
        let edge = TickBuilder {
            levels: config.levels.clone(),
            retention: config.graph.retention,
            max_skew: config.input.max_skew,
            latest: latest(config.input.max_skew),
            clock,
            at: 0,
            trending: config.graph.trending,
            rooms: config.input.rooms,
            feed: TickInput::new(1, Vec::new()),
            saves: state.is_some(),
            opening: OutputGate::Done,
            names,
            progress,
            collided: false,
        };
        let inputs = inputs.into_iter().map(InputCursor::new).collect();
        let store = state.map(|state| Arc::clone(&state.store));
        Reader { inputs, rejects, edge, most: config.input.batch, waiting, resume, store }
    }

    /// Reads until all inputs end, one fails, or nobody wants to know. What was read is passed on in each case; of a
    /// snapshot all or nothing.
    pub(super) fn run(mut self, feeds: &Sender<TickInput>, stop: &Stop, waker: &Waker) -> Option<RunError> {
        let mut out = Out { feeds, waker };
        let mut end = self.restore(&mut out, stop);
        if end.is_ok() {
            end = self.read(&mut out, stop).and_then(|()| self.follow(&mut out, stop));
            if !matches!(end, Err(Break::Disconnected)) && self.end(&mut out, end.is_ok()).is_err() {
                end = Err(Break::Disconnected);
            }
        }
        match end {
            Err(Break::Failed(error)) => Some(error),
            _ => None,
        }
    }

    fn read(&mut self, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        // Topics come afterwards: what they have has no end and no common order.
        let stored: Vec<usize> = (0..self.inputs.len()).filter(|at| !self.inputs[*at].is_live()).collect();
        loop {
            if stop.is_set() {
                return Err(Break::Stopped);
            }
            for input in &stored {
                self.refill(*input, out, stop)?;
            }
            if self.edge.opening == OutputGate::Backfilled && self.is_backfilled() {
                self.open(out)?;
            }
            // The earliest of the heads, the first input's of equals. Within an input its own order stands.
            let heads = stored.iter().filter_map(|at| Some((self.inputs[*at].head()?.ts, *at)));
            let Some((_, first)) = heads.min() else {
                return if stop.is_set() { Err(Break::Stopped) } else { Ok(()) };
            };
            // One input alone is read to the end of its batch without looking at others.
            self.take(first, if stored.len() == 1 { usize::MAX } else { 1 }, out)?;
        }
    }

    /// Takes events of a batch, at most `most`.
    fn take(&mut self, input: usize, most: usize, out: &mut Out<'_>) -> Result<(), Break> {
        let mut taken = 0;
        while let Some(event) = self.inputs[input].head().filter(|_| taken < most) {
            match self.edge.take(event, self.inputs[input].input.waits) {
                Admission::Yes => {}
                Admission::No(reason) => {
                    let mut rejected = rejected(reason, self.inputs[input].input.source.name(), event);
                    let head = &mut self.inputs[input];
                    rejected.original = head.batch.take_original(head.next);
                    reject(&self.rejects, &self.edge.progress, &rejected)?;
                }
                Admission::OutputFirst { after } => {
                    self.ship(out)?;
                    // What fell due after the last event is out too.
                    self.edge.at = after;
                    self.open(out)?;
                    continue;
                }
            }
            self.inputs[input].next += 1;
            taken += 1;
            if self.edge.feed.events.len() >= self.most {
                self.ship(out)?;
            }
        }
        Ok(())
    }

    /// Reads topics until the run is stopped: whatever has come, in turn, so that a silent one holds nobody back.
    fn follow(&mut self, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        let live: Vec<usize> = (0..self.inputs.len()).filter(|at| self.inputs[*at].is_live()).collect();
        let mut shown = Instant::now();
        while !live.is_empty() {
            if stop.is_set() {
                return if self.edge.opening == OutputGate::Done { Ok(()) } else { Err(Break::Stopped) };
            }
            let mut idle = true;
            for input in &live {
                self.inputs[*input].poll();
                self.set_aside(*input)?;
                self.take(*input, usize::MAX, out)?;
                let head = &mut self.inputs[*input];
                idle &= head.idle;
                if let Some(failure) = head.failure.take() {
                    return Err(Break::Failed(failure));
                }
            }
            if self.edge.opening == OutputGate::Backfilled && self.is_backfilled() {
                self.open(out)?;
                tracing::info!("what was there at the start is read: changes are sent from now on");
            }
            if shown.elapsed() >= SHOW_EVERY {
                self.show_lag(&live);
                shown = Instant::now();
            }
            if idle && !self.edge.feed.events.is_empty() {
                // Whoever waits for room is woken by that: what came meanwhile has nobody to wake, and is looked for again.
                self.ship(out)?;
            } else if idle {
                self.rejects.log().flush().map_err(|error| Break::Failed(error.into()))?;
                self.waiting.store(true, Release);
                // A source that has something unparks this thread, also when it came just before.
                std::thread::park_timeout(LOOK_AGAIN);
                self.waiting.store(false, Release);
            }
        }
        Ok(())
    }

    /// Whether the output is to wait until what is there at the start has been read: a stored input by the wall clock has
    /// its times behind it, and a topic is read from where it goes on.
    pub(super) fn waits_for_backfill(&self) -> bool {
        let stored = |head: &InputCursor| !head.input.waits && self.edge.clock == Clock::Wall;
        self.inputs.iter().any(|head| head.is_live() || stored(head))
    }

    fn is_backfilled(&self) -> bool {
        self.inputs.iter().all(|head| {
            let is_empty = head.head().is_none();
            if head.is_live() {
                head.input.source.is_caught_up() && is_empty
            } else {
                head.input.waits || (head.finished && is_empty)
            }
        })
    }

    fn show_lag(&self, live: &[usize]) {
        let lags = live
            .iter()
            .map(|at| (self.inputs[*at].input.source.name().to_owned(), self.inputs[*at].input.source.lag()));
        self.edge.progress.set_lag(lags.collect());
    }

    /// Passes the tick on, if there is anything in it, with where the inputs go on after it.
    fn ship(&mut self, out: &mut Out<'_>) -> Result<(), Break> {
        if self.edge.saves && !self.edge.feed.events.is_empty() {
            self.edge.feed.told.positions = Some(self.positions());
        }
        self.edge.ship(out)
    }

    /// Passes on what is left, and where the inputs ended, ignored and rejected records included. An output that holds
    /// more than was made again stays closed, unless the inputs have no more.
    fn end(&mut self, out: &mut Out<'_>, is_whole: bool) -> Result<(), Break> {
        if !is_whole {
            self.edge.opening = OutputGate::Done;
        }
        if self.edge.saves || self.edge.opening != OutputGate::Done { self.open(out) } else { self.ship(out) }
    }

    /// Passes the tick on and opens the output, unless it is open.
    fn open(&mut self, out: &mut Out<'_>) -> Result<(), Break> {
        self.ship(out)?;
        if self.edge.saves {
            self.edge.feed.told.positions = Some(self.positions());
        }
        self.edge.feed.told.opens = std::mem::replace(&mut self.edge.opening, OutputGate::Done) != OutputGate::Done;
        self.edge.send(out)
    }

    /// Where the inputs go on when the heads are the next events taken.
    pub(super) fn positions(&self) -> Vec<SourcePosition> {
        self.inputs.iter().map(InputCursor::position).collect()
    }

    /// Polls an input until it has a next event or ends.
    fn refill(&mut self, input: usize, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        while self.inputs[input].head().is_none() && !stop.is_set() {
            let head = &mut self.inputs[input];
            match (&head.failure, head.finished) {
                (Some(_), _) => {
                    let failure = head.failure.take().expect("just seen");
                    return Err(Break::Failed(failure));
                }
                (None, true) => return Ok(()),
                (None, false) => {}
            }
            let may_wait = head.idle && head.input.waits;
            if may_wait {
                self.ship(out)?;
                self.rejects.log().flush().map_err(|error| Break::Failed(error.into()))?;
            }
            self.waiting.store(may_wait, Release);
            self.inputs[input].poll();
            self.waiting.store(false, Release);
            self.set_aside(input)?;
        }
        Ok(())
    }

    fn set_aside(&mut self, input: usize) -> Result<(), Break> {
        for rejected in std::mem::take(&mut self.inputs[input].batch.rejected) {
            reject(&self.rejects, &self.edge.progress, &rejected)?;
        }
        Ok(())
    }
}

fn reject(rejects: &Rejects, progress: &Progress, rejected: &Rejected) -> Result<(), Break> {
    progress.rejected.fetch_add(1, Relaxed);
    rejects.log().record(rejected).map_err(|error| Break::Failed(error.into()))
}

/// A record that was well formed, but no event that counts here.
pub(crate) fn rejected(reason: Reason, source: &str, event: RawEvent<'_>) -> Rejected {
    let mut record = serde_json::json!({
        "user": event.user, "item": event.item, "action": event.action, "ts": event.ts,
    });
    if let Some(dwell_ms) = event.dwell_ms {
        record["dwell_ms"] = dwell_ms.into();
    }
    Rejected { reason, source: source.to_owned(), position: event.position, record: record.to_string(), original: None }
}

/// An input and what was polled of it.
struct InputCursor {
    input: Input,
    batch: Batch,
    next: usize,
    idle: bool,
    finished: bool,
    failure: Option<RunError>,
}

impl InputCursor {
    fn new(input: Input) -> Self {
        InputCursor { input, batch: Batch::default(), next: 0, idle: true, finished: false, failure: None }
    }

    fn is_live(&self) -> bool {
        self.input.source.is_live()
    }

    fn head(&self) -> Option<RawEvent<'_>> {
        self.batch.get(self.next)
    }

    /// Where to go on when the head is the next event taken.
    fn position(&self) -> SourcePosition {
        self.input.source.position(&self.batch, self.next)
    }

    fn poll(&mut self) {
        self.batch.clear();
        self.next = 0;
        match self.input.source.poll(&mut self.batch) {
            Ok(polled) => {
                self.idle = polled == Polled::Idle;
                self.finished = polled == Polled::Finished;
            }
            // What came before the failure stands; it is reported when that is used up.
            Err(error) => self.failure = Some(error.into()),
        }
    }
}

/// Where ticks go.
pub(super) struct Out<'a> {
    feeds: &'a Sender<TickInput>,
    waker: &'a Waker,
}

/// What became of an event.
enum Admission {
    Yes,
    No(Reason),
    /// It is not taken yet: the output is to be opened after this millisecond, before time goes on to it.
    OutputFirst {
        after: u64,
    },
}

/// Judges events and collects the next tick.
pub(super) struct TickBuilder {
    levels: Levels,
    retention: u64,
    max_skew: u64,
    /// Timestamps after this are in the future, whatever happens: a replay decides as the first run did. What comes through
    /// a pipe is judged by its arrival, and a record of a topic by its own time.
    latest: u64,
    pub(super) clock: Clock,
    /// What trends, and whether in rooms too.
    pub(super) trending: Option<Trending>,
    rooms: bool,
    /// The time now, in milliseconds.
    pub(super) at: u64,
    pub(super) feed: TickInput,
    pub(super) names: Arc<Names>,
    pub(super) progress: Arc<Progress>,
    collided: bool,
    /// Whether snapshots are taken.
    pub(super) saves: bool,
    pub(super) opening: OutputGate,
}

/// When the output opens: the lists are compared with what it holds, and from then on every change is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputGate {
    /// When time is about to pass this millisecond: all that it holds is of ticks up to there.
    After(u64),
    /// When everything has been read that was there at the start.
    Backfilled,
    /// It is open.
    Done,
}

impl TickBuilder {
    /// Takes an event, or says why not. `arrives`: it came just now, and was not there at the start.
    fn take(&mut self, event: RawEvent<'_>, arrives: bool) -> Admission {
        let limit = match event.stamped {
            Some(stamped) => stamped.saturating_add(self.max_skew).min(MAX_MS - 1),
            None if arrives && event.ts > self.latest => latest(self.max_skew),
            None => self.latest,
        };
        let level = match self.levels.effect(event.action, event.dwell_ms) {
            Err(reason) => return Admission::No(reason),
            Ok(_) if self.trending.is_some() && event.user.starts_with(RESERVED) => {
                return Admission::No(Reason::ReservedName { user: event.user.to_owned() });
            }
            Ok(_) if event.ts > limit => return Admission::No(Reason::Future { ts: event.ts, limit }),
            Ok(Effect::Ignored) => {
                count(&self.progress.events);
                count(&self.progress.ignored);
                return Admission::Yes;
            }
            Ok(Effect::Counts(level)) => level,
        };
        let at = self.at.max(match self.clock {
            Clock::Event => event.ts,
            Clock::Wall => now(),
        });
        if let OutputGate::After(after) = self.opening
            && at > after
        {
            return Admission::OutputFirst { after };
        }
        count(&self.progress.events);
        self.at = at;
        if event.ts.saturating_add(self.retention) <= self.at {
            count(&self.progress.expired);
            return Admission::Yes;
        }
        let held_until = if event.ts > self.at { event.ts } else { 0 };
        let (user, twice) = self.names.users().intern(event.user, self.feed.number, held_until);
        self.report("users", event.user, twice);
        let (item, twice) = self.names.items().intern(event.item, self.feed.number, held_until);
        self.report("items", event.item, twice);
        if self.feed.events.is_empty() {
            self.feed.since = self.at;
        }
        self.feed.at = self.at;
        let event_in_graph = Event { user, item, ts: event.ts, level };
        self.trend(&event_in_graph, event.item, event.room);
        self.feed.events.push(event_in_graph);
        Admission::Yes
    }

    /// Notes for the next event of the feed the names that may trend because of it.
    pub(super) fn trend(&mut self, event: &Event, item: &str, room: Option<&str>) {
        let Some(until) = self.trending.map(|trending| trending.expires(event.ts)).filter(|until| *until > self.at)
        else {
            return;
        };
        let mut passing = self.names.passing();
        passing.keep(event.item, item, until);
        if let Some(room) = room.filter(|_| self.rooms) {
            let key = trending_in(room);
            let id = id64(&key);
            passing.keep(id, &key, until);
            self.feed.rooms.push((self.feed.events.len(), id));
        }
    }

    /// Passes the tick on, if there is anything in it; waits until there is room.
    fn ship(&mut self, out: &mut Out<'_>) -> Result<(), Break> {
        if self.feed.events.is_empty() {
            return Ok(());
        }
        self.send(out)
    }

    /// Passes the tick on as it is, at the time now.
    pub(super) fn send(&mut self, out: &mut Out<'_>) -> Result<(), Break> {
        if self.feed.events.is_empty() {
            (self.feed.since, self.feed.at) = (self.at, self.at);
        }
        self.feed.taken = self.progress.events.load(Relaxed);
        let events = Vec::with_capacity(self.feed.events.len());
        let next = TickInput::new(self.feed.number + 1, events);
        let sent = out.feeds.send(std::mem::replace(&mut self.feed, next));
        out.waker.wake();
        sent.map_err(|_| Break::Disconnected)
    }

    /// Two names with one id64 count as one name. The chance is one in thousands for a hundred million names: said once.
    fn report(&mut self, of: &str, name: &str, collision: Option<Collision>) {
        let Some(Collision { id, known }) = collision else { return };
        count(&self.progress.collisions);
        if !std::mem::replace(&mut self.collided, true) {
            tracing::warn!("the names `{known}` and `{name}` of {of} have the same id64 {id} and count as one");
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
