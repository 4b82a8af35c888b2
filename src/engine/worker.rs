//! The worker loop: feeds ticks to the graph and hands on what is complete.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use dataflows::{
    Barrier, Config, Durable, Forgotten, Gauges, Input, ItemId, ListChange, Reconcile, RowChange, SnapshotSink, Time,
    UserId, durable_recommendations, first_of, ms_of, next,
};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Concat, Input as _, Probe, vec::input};
use timely::dataflow::{ProbeHandle, Stream};
use timely::worker::Worker;

use super::Shared;
use super::clock::{Clock, now};
use super::commands::{CommandChannel, WorkerMessage};
use super::names::Names;
use super::progress::Progress;
use super::snapshot::{SnapshotLink, SnapshotParticipant, SnapshotSchedule};
use super::streams::Rows;
use super::tick::{CompletedOutput, TickInput, Waker};
use crate::console;
use crate::stop::Stop;

/// Ticks in the graph at a time: one being worked on, one arriving.
const OUTSTANDING: usize = 2;

/// So much that is complete may wait for the writer while it flushes, if it is few changes each: a transaction takes some
/// milliseconds, and ticks go on. More than that, and reading stops.
pub(super) const SETTLED: usize = 16;
const FEW: usize = 1_000;

/// The longest sleep. The reader, the writer and other workers wake the loop; this is for whoever forgets.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// The sleep of a worker that waits for room, or that has said something just now.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// What every worker's door says of itself.
pub(super) type AllGauges = Arc<Mutex<Vec<Arc<Gauges>>>>;

/// By time, what came out of the graph and is not yet handed on.
type Collected<D> = Rc<RefCell<BTreeMap<Time, Vec<D>>>>;

/// The graph as the first worker steers it.
pub(super) struct Graph {
    pub(super) input: input::Handle<Time, Input>,
    /// What the output of an earlier run holds; `None` if there is none.
    pub(super) output: Option<input::Handle<Time, Reconcile>>,
    pub(super) probe: ProbeHandle<Time>,
    changes: Collected<ListChange>,
    similar_items: Collected<RowChange>,
    similar_users: Collected<RowChange>,
    forgotten: Collected<Forgotten>,
    pub(super) gauges: Arc<Gauges>,
}

/// Builds the graph on one worker, and the letters beside it, where they are needed.
pub(super) fn build(
    worker: &mut Worker,
    config: &Config,
    gauges: &AllGauges,
    team: Topology,
    durable: &Durability,
) -> (Graph, Option<CommandChannel>) {
    let participant = durable.saves.then(|| SnapshotParticipant::new(durable.snapshots.as_ref()));
    let coordinator = durable.snapshots.clone().filter(|_| worker.index() == 0);
    let side =
        (durable.saves || team.processes > 1).then(|| CommandChannel::build(worker, participant.clone(), coordinator));
    let graph = build_graph(worker, config, gauges, participant, durable.resumes);
    (graph, side)
}

fn build_graph(
    worker: &mut Worker,
    config: &Config,
    gauges: &AllGauges,
    participant: Option<SnapshotParticipant>,
    resumes: bool,
) -> Graph {
    let (changes, forgotten) = (Collected::default(), Collected::default());
    let (similar_items, similar_users) = (Collected::default(), Collected::default());
    worker.dataflow_named("deltarec", |scope| {
        let (input, events) = scope.new_input();
        let (output, held) = resumes.then(|| scope.new_input()).unzip();
        let keeper = participant.map(|participant| Box::new(participant) as Box<dyn SnapshotSink>);
        let graph = durable_recommendations(events, config, Durable { keeper, output: held });
        gauges.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&graph.gauges));
        let own = graph.gauges;
        let mut collected = collect(graph.changes, "Changes to the writer", Rc::clone(&changes)).concat(collect(
            graph.forgotten,
            "Names to forget",
            Rc::clone(&forgotten),
        ));
        if let Some(rows) = graph.similar_items {
            collected = collected.concat(collect(rows, "Similar items to the writer", Rc::clone(&similar_items)));
        }
        if let Some(rows) = graph.similar_users {
            collected = collected.concat(collect(rows, "Similar users to the writer", Rc::clone(&similar_users)));
        }
        let (probe, _) = collected.probe();
        Graph { input, output, probe, changes, similar_items, similar_users, forgotten, gauges: own }
    })
}

/// What a worker needs to outlive a restart.
#[derive(Clone, Default)]
pub(super) struct Durability {
    /// Whether snapshots are taken.
    pub(super) saves: bool,
    /// The coordinator of snapshots; in the first process.
    pub(super) snapshots: Option<SnapshotLink>,
    /// Whether the run goes on where another one ended.
    pub(super) resumes: bool,
}

/// The processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Topology {
    pub(super) processes: usize,
    /// This one.
    pub(super) process: usize,
    /// Workers of each.
    pub(super) workers: usize,
}

impl Graph {
    fn advance_to(&mut self, time: Time) {
        self.input.advance_to(time);
        if let Some(output) = &mut self.output {
            output.advance_to(time);
        }
    }

    /// Tells all workers something at the current time.
    fn send_barrier(&mut self, workers: usize, barrier: Barrier) {
        for worker in 0..workers as u64 {
            self.input.send(Input::Barrier { worker, barrier });
        }
    }

    /// Tells what the output holds, and that it opens.
    fn hold(&mut self, workers: usize, holds: Vec<(UserId, Vec<ItemId>)>, opens: bool) {
        let Some(output) = &mut self.output else { return };
        for (user, items) in holds {
            output.send(Reconcile::Known { user, items });
        }
        if opens {
            (0..workers as u64).for_each(|worker| output.send(Reconcile::Finish { worker }));
        }
    }
}

/// Gathers a stream at the first worker.
fn collect<'scope, D>(
    stream: Stream<'scope, Time, Vec<D>>,
    name: &str,
    into: Collected<D>,
) -> Stream<'scope, Time, Vec<()>>
where
    D: timely::ExchangeData,
{
    stream.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Exchange::new(|_| 0), name, |_, _| {
        move |input, _output| {
            input.for_each(|capability, data| {
                let time = *capability.least().expect("a message with data has a time");
                into.borrow_mut().entry(time).or_default().append(data);
            });
        }
    })
}

/// Steers the graph from the first worker.
pub(super) struct Coordinator {
    feeds: Receiver<TickInput>,
    settled: Sender<CompletedOutput>,
    clock: Clock,
    stop: Stop,
    progress: Arc<Progress>,
    /// Whether the reader waits for the outside world, with nothing left to pass on.
    waiting: Arc<AtomicBool>,
    gauges: AllGauges,
    waker: Waker,
    /// Takes snapshots.
    snapshots: Option<SnapshotSchedule>,
    names: Arc<Names>,
    /// What workers of other processes say of themselves, by worker.
    elsewhere: BTreeMap<usize, Arc<Gauges>>,
}

impl Coordinator {
    pub(super) fn new(feeds: Receiver<TickInput>, settled: Sender<CompletedOutput>, shared: Shared) -> Self {
        let Shared { clock, stop, names, progress } = shared;
        Coordinator {
            snapshots: None,
            names,
            feeds,
            settled,
            clock,
            stop,
            progress,
            waiting: Arc::default(),
            gauges: AllGauges::default(),
            waker: Waker::default(),
            elsewhere: BTreeMap::new(),
        }
    }

    /// Lets the run take snapshots.
    pub(super) fn take_snapshots(&mut self, schedule: SnapshotSchedule) {
        self.snapshots = Some(schedule);
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    pub(super) fn waiting(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.waiting)
    }

    pub(super) fn gauges(&self) -> AllGauges {
        Arc::clone(&self.gauges)
    }

    /// Feeds, steps and hands on until the input ends or the writer is gone.
    pub(super) fn steer(
        mut self,
        worker: &mut Worker,
        mut graph: Graph,
        side: &mut Option<CommandChannel>,
        team: Topology,
    ) {
        self.waker.register();
        self.elsewhere = (team.workers..worker.peers()).map(|worker| (worker, Arc::default())).collect();
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner).extend(self.elsewhere.values().cloned());
        let mut times = Times::default();
        let mut waiting: Option<CompletedOutput> = None;
        let mut ended = false;
        loop {
            // 1. Hand on what is complete, unless the writer has not taken the last of it.
            times.retire(&graph.probe);
            waiting = waiting.or_else(|| complete(&graph, &mut times));
            if let Some(settled) = waiting.take() {
                let together = settled.changes.len() + settled.rows.len() <= FEW || self.settled.is_empty();
                match if together { self.settled.try_send(settled) } else { Err(TrySendError::Full(settled)) } {
                    Ok(()) => {}
                    Err(TrySendError::Full(settled)) => waiting = Some(settled),
                    Err(TrySendError::Disconnected(_)) => break,
                }
            }
            // 2. TickInput, unless results fall behind: then reading stops, as the channel fills.
            let mut fed = false;
            if !ended && waiting.is_none() && times.outstanding.len() < OUTSTANDING {
                match self.feeds.try_recv() {
                    Ok(mut feed) => {
                        let positions = feed.told.positions.take();
                        times.feed(&mut graph, worker.peers(), feed);
                        if let (Some(snapshots), Some(positions)) = (&mut self.snapshots, positions) {
                            snapshots.on_tick(positions);
                        }
                        fed = true;
                    }
                    Err(TryRecvError::Disconnected) => ended = true,
                    // Whoever waits for a pipe has passed on what it read; everybody else hangs up when it has.
                    Err(TryRecvError::Empty) => ended = self.stop.is_set() && self.waiting.load(Acquire),
                }
            }
            // 3. Let time pass, if it passes by itself, and take a snapshot when it is time for one.
            let due = self.clock_tick(&mut graph, &mut times, ended);
            let due = due.min(self.save(worker, &mut graph, &mut times, ended));
            // 4. Hear what other workers say.
            let mut busy = fed;
            if let Some(side) = side {
                busy |= side.exchange(|from, letter| self.hear(from, &letter, team));
            }
            // 5. Work, or sleep until somebody wakes us.
            if ended && times.outstanding.is_empty() && waiting.is_none() {
                if let Some(settled) = complete(&graph, &mut times) {
                    waiting = Some(settled);
                    continue;
                }
                if self.snapshots.as_mut().is_none_or(|snapshots| !snapshots.is_under_way()) {
                    break;
                }
            }
            if busy {
                worker.step();
            } else {
                worker.step_or_park(Some(due.min(LONGEST_SLEEP)));
            }
            self.show(&times);
        }
        self.show(&times);
        // Dropping the input ends the dataflow; what would fall due later is dropped with it.
    }

    /// What another worker says.
    fn hear(&self, from: usize, letter: &WorkerMessage, team: Topology) {
        match *letter {
            WorkerMessage::Gauges { next_due, audience } => {
                if let Some(gauges) = self.elsewhere.get(&from) {
                    gauges.next_due.store(next_due, Relaxed);
                    gauges.audience.store(audience, Relaxed);
                }
            }
            WorkerMessage::Stop if !self.stop.is_set() => {
                console::say(&format!("stopping: process {} was asked to", from / team.workers));
                self.stop.set();
            }
            WorkerMessage::Stop | WorkerMessage::Ended { .. } | WorkerMessage::Snapshot(_) => {}
        }
    }

    /// By the wall clock, what falls due without events happens when it is due. Returns how long nothing will.
    fn clock_tick(&self, graph: &mut Graph, times: &mut Times, ended: bool) -> Duration {
        if self.clock == Clock::Event || ended || !times.outstanding.is_empty() {
            return LONGEST_SLEEP;
        }
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let due = gauges.iter().map(|gauges| gauges.next_due.load(Relaxed)).min().unwrap_or(u64::MAX);
        // A clock that is set back stands still until it has caught up.
        let now = now().max(ms_of(times.last));
        if due <= now {
            times.pass(graph, now);
            // What was due elsewhere is being done: that worker says when it is due again.
            let done = self.elsewhere.values().filter(|gauges| gauges.next_due.load(Relaxed) <= now);
            done.for_each(|gauges| gauges.next_due.store(u64::MAX, Relaxed));
        }
        Duration::from_millis(due.saturating_sub(now).max(1))
    }

    /// Takes a snapshot of the tick last fed when one is due. Returns when to ask again.
    fn save(&mut self, worker: &Worker, graph: &mut Graph, times: &mut Times, ended: bool) -> Duration {
        let Some(snapshots) = &mut self.snapshots else { return LONGEST_SLEEP };
        if snapshots.is_due(ended) {
            self.names.hold();
            let time = times.empty(graph);
            graph.send_barrier(worker.peers(), snapshots.begin(time, ended));
            graph.advance_to(time + 1);
        }
        snapshots.wait()
    }

    fn show(&self, times: &Times) {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let audience = gauges.iter().map(|gauges| gauges.audience.load(Relaxed)).sum();
        self.progress.audience.store(audience, Relaxed);
        self.progress.watermark.store(ms_of(times.complete), Relaxed);
    }
}

/// The ticks of a run.
#[derive(Default)]
struct Times {
    last: Time,
    /// The newest tick that is complete everywhere.
    complete: Time,
    /// Ticks in the graph, each with the events taken in up to it.
    outstanding: VecDeque<(Time, u64)>,
    /// Events taken in, those of ticks that are complete, and those of which the writer knows that.
    taken: u64,
    settled: u64,
    told: (u64, Time),
    /// Feeds by time, as far back as a name may still be forgotten, and the number of the one before.
    feeds: VecDeque<(Time, u64)>,
    before: u64,
}

impl Times {
    /// Sends a tick's events. Every input advances past it at once: a tick is closed when it is sent.
    fn feed(&mut self, graph: &mut Graph, workers: usize, mut feed: TickInput) {
        let mut inputs = feed.inputs();
        let since = next(self.last, feed.since);
        self.last = next(self.last, feed.at);
        if since < self.last {
            // At the first time taken together, so that no worker passes it unread.
            graph.advance_to(since);
            graph.send_barrier(workers, Barrier::Coalesce { tick: self.last });
        }
        graph.advance_to(self.last);
        if let Some(barrier) = feed.told.barrier {
            graph.send_barrier(workers, barrier);
        }
        graph.hold(workers, feed.told.holds, feed.told.opens);
        graph.input.send_batch(&mut inputs);
        graph.advance_to(self.last + 1);
        self.taken = feed.taken;
        self.outstanding.push_back((self.last, self.taken));
        self.feeds.push_back((self.last, feed.number));
    }

    /// Lets time pass to `now` without events.
    fn pass(&mut self, graph: &mut Graph, now: u64) {
        self.last = first_of(now).max(self.last);
        graph.advance_to(self.last + 1);
        self.outstanding.push_back((self.last, self.taken));
    }

    /// A tick without events that follows the last at once; it is left to the caller to close it.
    fn empty(&mut self, graph: &mut Graph) -> Time {
        self.last += 1;
        graph.advance_to(self.last);
        self.outstanding.push_back((self.last, self.taken));
        self.last
    }

    fn retire(&mut self, probe: &ProbeHandle<Time>) {
        while let Some((time, taken)) = self.outstanding.front().copied().filter(|(time, _)| !probe.less_equal(time)) {
            (self.complete, self.settled) = (time, taken);
            self.outstanding.pop_front();
        }
        while let Some((_, number)) =
            self.feeds.front().copied().filter(|_| self.feeds.get(1).is_some_and(|(time, _)| *time < self.complete))
        {
            self.before = number;
            self.feeds.pop_front();
        }
    }

    /// The number of the last feed taken in no later than `time`.
    fn last_feed_before(&self, time: Time) -> u64 {
        let feeds = self.feeds.iter().take_while(|(fed, _)| *fed <= time);
        feeds.last().map_or(self.before, |(_, number)| *number)
    }
}

/// What is complete and not yet handed on: changes, names, or just the news that events are done with.
fn complete(graph: &Graph, times: &mut Times) -> Option<CompletedOutput> {
    let upper = graph.probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(Time::MAX);
    let changes = take_before(&graph.changes, upper);
    let forgotten = take_before(&graph.forgotten, upper);
    let rows = |of: &Collected<RowChange>| take_before(of, upper).into_values().flatten().collect();
    let rows = Rows { similar_items: rows(&graph.similar_items), similar_users: rows(&graph.similar_users) };
    let news = (times.settled, times.complete);
    if changes.is_empty() && rows.is_empty() && forgotten.is_empty() && times.told == news {
        return None;
    }
    times.told = news;
    let forgotten = forgotten
        .into_iter()
        .flat_map(|(time, names)| {
            let feed = times.last_feed_before(time);
            names.into_iter().map(move |name| (name, ms_of(time), feed))
        })
        .collect();
    let changes: Vec<ListChange> = changes.into_values().flatten().collect();
    let at = changes.last().map_or(0, |change| change.at).max(ms_of(times.complete));
    Some(CompletedOutput { at, time: times.complete, events: times.settled, changes, rows, forgotten })
}

fn take_before<D>(collected: &Collected<D>, upper: Time) -> BTreeMap<Time, Vec<D>> {
    let mut all = collected.borrow_mut();
    let rest = all.split_off(&upper);
    std::mem::replace(&mut *all, rest)
}
