//! The graph on a worker, and the coordinator: the loop of the first worker, which sends ticks to the graph and completed
//! output to the writer.
//!
//! **Invariant**: the coordinator blocks on no other thread, because the other workers need it to make progress. It takes ticks
//! only while the writer keeps up, so back-pressure reaches the reader, which does block. When it has nothing to do it
//! sleeps until the reader, the writer, the snapshot coordinator or another worker wakes it. It ends when all output is sent
//! after the reader has ended, or when the writer has; dropping its ends of the channels then ends the threads behind them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use dataflows::gauges::Gauges;
use dataflows::operators::RowChange;
use dataflows::snapshot::SnapshotSink;
use dataflows::time::{Time, ms_of};
use dataflows::types::Forgotten;
use dataflows::{Config, GraphInput, ListChange, recommendations};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Concat, Probe};
use timely::dataflow::{ProbeHandle, Stream};
use timely::worker::Worker;

use super::Shared;
use super::clock::{Clock, now};
use super::commands::{CommandChannel, WorkerMessage};
use super::snapshot::{SnapshotLink, SnapshotParticipant, SnapshotSchedule};
use super::tick::{CompletedOutput, RowOutputs, TickDirectives, TickInput, Waker};
use crate::console;

/// Ticks in the graph at a time: one in progress, one arriving.
const MAX_TICKS_IN_GRAPH: usize = 2;

/// Completed outputs that may wait for the writer if they have at most [`FEW_CHANGES`] each. A transaction takes some
/// milliseconds, and ticks continue meanwhile. Beyond this, reading stops.
pub(super) const COMPLETED_QUEUE: usize = 16;
const FEW_CHANGES: usize = 1_000;

/// The longest sleep of a worker. The reader, the writer and other workers wake it; this bounds the delay of a lost wake-up.
pub(super) const MAX_SLEEP: Duration = Duration::from_millis(250);

/// The sleep of a worker that waits for room, or that has just sent a report.
pub(super) const RETRY_SLEEP: Duration = Duration::from_millis(1);

/// The gauges of all workers.
pub(super) type AllGauges = Arc<Mutex<Vec<Arc<Gauges>>>>;

/// Output of the graph by time, not yet sent to the writer.
type Collected<D> = Rc<RefCell<BTreeMap<Time, Vec<D>>>>;

/// The graph on one worker.
pub(super) struct Graph {
    pub(super) input: GraphInput,
    pub(super) probe: ProbeHandle<Time>,
    changes: Collected<ListChange>,
    similar_items: Collected<RowChange>,
    similar_users: Collected<RowChange>,
    forgotten: Collected<Forgotten>,
    pub(super) gauges: Arc<Gauges>,
}

/// Settings of the workers in a run that keeps its state.
#[derive(Clone, Default)]
pub(super) struct Durability {
    /// Whether snapshots are taken.
    pub(super) saves: bool,
    /// Channels to and from the snapshot coordinator; in process 0.
    pub(super) snapshots: Option<SnapshotLink>,
    /// Whether the run resumes another one.
    pub(super) resumes: bool,
}

/// The processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Topology {
    pub(super) processes: usize,
    /// Index of this process.
    pub(super) process: usize,
    /// Workers of each process.
    pub(super) workers: usize,
}

/// Builds the graph on one worker, and the command channel beside it if snapshots or other processes need one.
pub(super) fn build(
    worker: &mut Worker,
    config: &Config,
    all_gauges: &AllGauges,
    topology: Topology,
    durability: &Durability,
) -> (Graph, Option<CommandChannel>) {
    let participant = durability.saves.then(|| SnapshotParticipant::new(durability.snapshots.as_ref()));
    let coordinator = durability.snapshots.clone().filter(|_| worker.index() == 0);
    let channel = (durability.saves || topology.processes > 1)
        .then(|| CommandChannel::build(worker, participant.clone(), coordinator));
    let (changes, forgotten) = (Collected::default(), Collected::default());
    let (similar_items, similar_users) = (Collected::default(), Collected::default());
    let graph = worker.dataflow_named("deltarec", |scope| {
        let (input, streams) = GraphInput::new(scope, durability.resumes);
        let snapshots = participant.map(|participant| Box::new(participant) as Box<dyn SnapshotSink>);
        let graph = recommendations(streams, config, snapshots);
        let gauges = graph.gauges;
        all_gauges.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&gauges));
        let mut collected = collect(graph.changes, "Collect changes", Rc::clone(&changes));
        collected = collected.concat(collect(graph.forgotten, "Collect forgotten names", Rc::clone(&forgotten)));
        if let Some(rows) = graph.similar_items {
            collected = collected.concat(collect(rows, "Collect similar items", Rc::clone(&similar_items)));
        }
        if let Some(rows) = graph.similar_users {
            collected = collected.concat(collect(rows, "Collect similar users", Rc::clone(&similar_users)));
        }
        let (probe, _) = collected.probe();
        Graph { input, probe, changes, similar_items, similar_users, forgotten, gauges }
    });
    (graph, channel)
}

/// Collects a stream on the first worker.
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

/// Takes out everything before `upper`.
fn take_before<D>(collected: &Collected<D>, upper: Time) -> BTreeMap<Time, Vec<D>> {
    let mut all = collected.borrow_mut();
    let rest = all.split_off(&upper);
    std::mem::replace(&mut *all, rest)
}

/// The loop of the first worker.
pub(super) struct Coordinator {
    tick_inputs: Receiver<TickInput>,
    completed: Sender<CompletedOutput>,
    shared: Shared,
    /// Whether the reader waits for an external source and has sent everything it read.
    pub(super) reader_waits: Arc<AtomicBool>,
    pub(super) gauges: AllGauges,
    /// Gauges reported by workers of other processes, by worker.
    remote_gauges: BTreeMap<usize, Arc<Gauges>>,
    pub(super) waker: Waker,
    /// Schedule of snapshots, if the run takes any.
    pub(super) snapshots: Option<SnapshotSchedule>,
    ticks: Ticks,
    /// Completed output that the writer has not taken.
    pending: Option<CompletedOutput>,
    /// Whether the input has ended.
    has_ended: bool,
}

impl Coordinator {
    pub(super) fn new(tick_inputs: Receiver<TickInput>, completed: Sender<CompletedOutput>, shared: Shared) -> Self {
        Coordinator {
            tick_inputs,
            completed,
            shared,
            reader_waits: Arc::default(),
            gauges: AllGauges::default(),
            remote_gauges: BTreeMap::new(),
            waker: Waker::default(),
            snapshots: None,
            ticks: Ticks::default(),
            pending: None,
            has_ended: false,
        }
    }

    /// Runs until the input has ended and all output is sent, or the writer has ended.
    pub(super) fn run(
        mut self,
        worker: &mut Worker,
        mut graph: Graph,
        channel: &mut Option<CommandChannel>,
        topology: Topology,
    ) {
        self.waker.register();
        self.remote_gauges = (topology.workers..worker.peers()).map(|worker| (worker, Arc::default())).collect();
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner).extend(self.remote_gauges.values().cloned());
        loop {
            self.ticks.retire(&graph.probe);
            if self.send_completed(&graph).is_break() {
                break;
            }
            let mut is_busy = self.send_tick(&mut graph.input);
            let sleep = self.pass_time(&mut graph.input).min(self.begin_snapshot(&mut graph.input));
            if let Some(channel) = channel {
                is_busy |= channel.exchange(|from, message| self.on_message(from, &message, topology));
            }
            if self.is_drained() {
                self.pending = self.ticks.take_completed(&graph);
                if self.pending.is_some() {
                    continue;
                }
                if self.snapshots.as_mut().is_none_or(|snapshots| !snapshots.is_under_way()) {
                    break;
                }
            }
            if is_busy {
                worker.step();
            } else {
                worker.step_or_park(Some(sleep.min(MAX_SLEEP)));
            }
            self.show_progress();
        }
        self.show_progress();
        // Dropping the input ends the dataflow and discards later timers.
    }

    /// Sends completed output to the writer. Breaks if the writer has ended.
    fn send_completed(&mut self, graph: &Graph) -> ControlFlow<()> {
        let Some(output) = self.pending.take().or_else(|| self.ticks.take_completed(graph)) else {
            return ControlFlow::Continue(());
        };
        // Many changes wait until the queue is empty: it bounds memory only if its entries are small.
        let may_queue = output.changes.len() + output.rows.len() <= FEW_CHANGES || self.completed.is_empty();
        let sent = if may_queue { self.completed.try_send(output) } else { Err(TrySendError::Full(output)) };
        match sent {
            Err(TrySendError::Disconnected(_)) => return ControlFlow::Break(()),
            Err(TrySendError::Full(output)) => self.pending = Some(output),
            Ok(()) => {}
        }
        ControlFlow::Continue(())
    }

    /// Sends the next tick to the graph, unless results fall behind: then the channel fills up and reading stops. Returns
    /// whether a tick was sent.
    fn send_tick(&mut self, input: &mut GraphInput) -> bool {
        if self.has_ended || self.pending.is_some() || self.ticks.in_graph.len() >= MAX_TICKS_IN_GRAPH {
            return false;
        }
        match self.tick_inputs.try_recv() {
            Ok(mut tick) => {
                let positions = tick.directives.positions.take();
                self.ticks.send(input, tick);
                if let (Some(snapshots), Some(positions)) = (&mut self.snapshots, positions) {
                    snapshots.on_tick(positions);
                }
                return true;
            }
            Err(TryRecvError::Disconnected) => self.has_ended = true,
            // A reader that waits for a pipe has sent what it read; any other reader disconnects after the last tick.
            Err(TryRecvError::Empty) => self.has_ended = self.shared.stop.is_set() && self.reader_waits.load(Acquire),
        }
        false
    }

    /// By the wall clock, advances time when a timer is due without events. Returns the time until the next one.
    fn pass_time(&mut self, input: &mut GraphInput) -> Duration {
        if self.shared.clock == Clock::Event || self.has_ended || !self.ticks.in_graph.is_empty() {
            return MAX_SLEEP;
        }
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let due = gauges.iter().map(|gauges| gauges.next_due.load(Relaxed)).min().unwrap_or(u64::MAX);
        // After the clock is set back, time stands still until the clock has caught up.
        let now = now().max(ms_of(input.last()));
        if due <= now {
            input.pass(now);
            self.ticks.push(input.last());
            // The timers of remote workers fire now; they report their next ones.
            let fired = self.remote_gauges.values().filter(|gauges| gauges.next_due.load(Relaxed) <= now);
            fired.for_each(|gauges| gauges.next_due.store(u64::MAX, Relaxed));
        }
        Duration::from_millis(due.saturating_sub(now).max(1))
    }

    /// Begins a snapshot in a tick of its own when one is due. Returns the delay until the next check.
    fn begin_snapshot(&mut self, input: &mut GraphInput) -> Duration {
        let Some(snapshots) = &mut self.snapshots else { return MAX_SLEEP };
        if snapshots.is_due(self.has_ended) {
            self.shared.names.defer_removals();
            let mut tick = input.next_tick();
            tick.barrier(snapshots.begin(tick.time(), self.has_ended));
            drop(tick);
            self.ticks.push(input.last());
        }
        snapshots.wait()
    }

    /// Handles a message from another worker.
    fn on_message(&self, from: usize, message: &WorkerMessage, topology: Topology) {
        match *message {
            WorkerMessage::Gauges { next_due, audience } => {
                if let Some(gauges) = self.remote_gauges.get(&from) {
                    gauges.next_due.store(next_due, Relaxed);
                    gauges.audience.store(audience, Relaxed);
                }
            }
            WorkerMessage::Stop if !self.shared.stop.is_set() => {
                console::say(&format!("shutting down: process {} received a stop request", from / topology.workers));
                self.shared.stop.set();
            }
            WorkerMessage::Stop | WorkerMessage::Ended { .. } | WorkerMessage::Snapshot(_) => {}
        }
    }

    /// Whether the input has ended and neither the graph nor `pending` has anything left of it.
    fn is_drained(&self) -> bool {
        self.has_ended && self.ticks.in_graph.is_empty() && self.pending.is_none()
    }

    fn show_progress(&self) {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let audience = gauges.iter().map(|gauges| gauges.audience.load(Relaxed)).sum();
        self.shared.progress.audience.store(audience, Relaxed);
        self.shared.progress.watermark.store(ms_of(self.ticks.complete), Relaxed);
    }
}

/// The ticks of a run.
#[derive(Default)]
struct Ticks {
    /// Newest tick that is complete on all workers.
    complete: Time,
    /// Ticks in the graph, each with the number of events up to it.
    in_graph: VecDeque<(Time, u64)>,
    /// Events up to the last tick.
    events: u64,
    /// Events up to the newest complete tick.
    complete_events: u64,
    /// Events and tick of the last completed output.
    reported: (u64, Time),
    /// Times and numbers of tick inputs, as far back as removals of names may still refer to them.
    numbers: VecDeque<(Time, u64)>,
    /// Number of the tick input before those in `numbers`.
    number_before: u64,
}

impl Ticks {
    /// Sends a tick input to the graph.
    fn send(&mut self, input: &mut GraphInput, tick: TickInput) {
        let TickInput { number, at, since, mut events, taken, directives } = tick;
        let TickDirectives { barrier, known, finish_reconcile, positions: _ } = directives;
        let mut tick = input.tick(since, at);
        if let Some(barrier) = barrier {
            tick.barrier(barrier);
        }
        for (key, items) in known {
            tick.known(key, items);
        }
        if finish_reconcile {
            tick.finish_reconcile();
        }
        tick.events(&mut events);
        drop(tick);
        self.events = taken;
        self.push(input.last());
        self.numbers.push_back((input.last(), number));
    }

    /// Records a tick that was sent to the graph.
    fn push(&mut self, time: Time) {
        self.in_graph.push_back((time, self.events));
    }

    /// Removes the ticks that are complete.
    fn retire(&mut self, probe: &ProbeHandle<Time>) {
        while let Some((time, events)) = self.in_graph.front().copied().filter(|(time, _)| !probe.less_equal(time)) {
            (self.complete, self.complete_events) = (time, events);
            self.in_graph.pop_front();
        }
        while self.numbers.get(1).is_some_and(|(time, _)| *time < self.complete) {
            self.number_before = self.numbers.pop_front().map_or(self.number_before, |(_, number)| number);
        }
    }

    /// The number of the last tick input no later than `time`.
    fn number_at(&self, time: Time) -> u64 {
        let earlier = self.numbers.iter().take_while(|(sent, _)| *sent <= time);
        earlier.last().map_or(self.number_before, |(_, number)| *number)
    }

    /// Takes complete output that is not yet taken: changes, rows, names, or only the progress of events.
    fn take_completed(&mut self, graph: &Graph) -> Option<CompletedOutput> {
        let upper = graph.probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(Time::MAX);
        let changes = take_before(&graph.changes, upper);
        let forgotten = take_before(&graph.forgotten, upper);
        let rows = |collected: &Collected<RowChange>| take_before(collected, upper).into_values().flatten().collect();
        let rows = RowOutputs { similar_items: rows(&graph.similar_items), similar_users: rows(&graph.similar_users) };
        let progress = (self.complete_events, self.complete);
        if changes.is_empty() && rows.is_empty() && forgotten.is_empty() && self.reported == progress {
            return None;
        }
        self.reported = progress;
        let with_number = |(time, names): (Time, Vec<Forgotten>)| {
            let number = self.number_at(time);
            names.into_iter().map(move |name| (name, ms_of(time), number))
        };
        let forgotten = forgotten.into_iter().flat_map(with_number).collect();
        let changes: Vec<ListChange> = changes.into_values().flatten().collect();
        let at = changes.last().map_or(0, |change| change.at).max(ms_of(self.complete));
        Some(CompletedOutput { at, time: self.complete, events: self.complete_events, changes, rows, forgotten })
    }
}
