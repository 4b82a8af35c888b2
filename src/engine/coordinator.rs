//! The coordinator: the loop of the first worker, which sends ticks to the graph and completed output to the writer.
//!
//! **Invariant**: the coordinator blocks on no other thread, because the other workers need it to make progress. It takes ticks
//! only while the writer keeps up, so back-pressure reaches the reader, which does block. When it has nothing to do it
//! sleeps until the reader, the writer, the snapshot coordinator, another worker or the supervisor wakes it. It ends when all
//! output is sent after the reader has ended, or when the run is cut; dropping its ends of the channels then ends the threads
//! behind them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use dataflows::GraphInput;
use dataflows::gauges::Gauges;
use dataflows::time::ms_of;
use timely::worker::Worker;

use super::Shared;
use super::clock::{Clock, now};
use super::commands::{CommandChannel, WorkerMessage};
use super::snapshot::SnapshotSchedule;
use super::tick::{CompletedOutput, TickInput, Waker};
use super::ticks::Ticks;
use super::worker::{AllGauges, Graph, MAX_SLEEP, Topology};
use crate::console;
use crate::faults;

/// Ticks in the graph at a time: one in progress, one arriving.
const MAX_TICKS_IN_GRAPH: usize = 2;

/// Completed outputs that may wait for the writer if they have at most [`FEW_CHANGES`] each. A transaction takes some
/// milliseconds, and ticks continue meanwhile. Beyond this, reading stops.
pub(super) const COMPLETED_QUEUE: usize = 16;
const FEW_CHANGES: usize = 1_000;

/// Milliseconds that time may be behind the wall clock before what fell due is taken together.
const MAX_LAG: u64 = 100;

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

    /// Runs until the input has ended and all output is sent, or the run is cut.
    pub(super) fn run(
        mut self,
        worker: &mut Worker,
        mut graph: Graph,
        channel: &mut Option<CommandChannel>,
        topology: Topology,
    ) {
        self.waker.register();
        let unknown = |worker| {
            let gauges = Gauges::default();
            gauges.set_next(u64::MAX);
            (worker, Arc::new(gauges))
        };
        self.remote_gauges = (topology.workers..worker.peers()).map(unknown).collect();
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner).extend(self.remote_gauges.values().cloned());
        while !self.shared.ending.is_cut() {
            faults::hit_infallible("coordinator.step");
            self.ticks.retire(&graph.probe);
            self.send_completed(&graph);
            let mut is_busy = self.send_tick(&mut graph.input);
            let sleep = self.pass_time(&mut graph.input, now()).min(self.begin_snapshot(&mut graph.input));
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

    /// Sends completed output to the writer, or keeps it while there is no room.
    fn send_completed(&mut self, graph: &Graph) {
        let Some(output) = self.pending.take().or_else(|| self.ticks.take_completed(graph)) else { return };
        // Many changes wait until the queue is empty: it bounds memory only if its entries are small.
        let may_queue = output.changes.len() + output.rows.len() <= FEW_CHANGES || self.completed.is_empty();
        self.pending = if may_queue {
            // If the writer has ended, the run is about to be cut.
            self.completed.try_send(output).err().map(TrySendError::into_inner)
        } else {
            Some(output)
        };
    }

    /// Sends the next tick to the graph, unless results fall behind: then the channel fills up and reading stops. Returns
    /// whether a tick was sent.
    fn send_tick(&mut self, input: &mut GraphInput) -> bool {
        if self.has_ended || self.pending.is_some() || self.ticks.in_graph() >= MAX_TICKS_IN_GRAPH {
            return false;
        }
        match self.tick_inputs.try_recv() {
            Ok(mut tick) => {
                if self.shared.clock == Clock::Wall && self.is_late(input, tick.at) {
                    tick.since = tick.since.min(self.next_due());
                }
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

    /// By the wall clock, which is at `now`, advances time when a timer is due without events. Returns the time until the next
    /// one.
    fn pass_time(&mut self, input: &mut GraphInput, now: u64) -> Duration {
        if self.shared.clock == Clock::Event || self.has_ended || self.ticks.in_graph() > 0 {
            return MAX_SLEEP;
        }
        let due = self.next_due();
        // After the clock is set back, time stands still until the clock has caught up.
        let now = now.max(ms_of(input.last()));
        if due <= now {
            if self.is_late(input, now) {
                drop(input.tick(due, now));
            } else {
                input.pass(now);
            }
            self.ticks.push(input.last());
            // The timers of remote workers fire now; they report their next ones.
            let fired = self.remote_gauges.values().filter(|gauges| gauges.next() <= now);
            fired.for_each(|gauges| gauges.set_next(u64::MAX));
        }
        Duration::from_millis(due.saturating_sub(now).max(1))
    }

    /// The next millisecond at which something happens without an event, on any worker.
    fn next_due(&self) -> u64 {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.iter().map(|gauges| gauges.next()).min().unwrap_or(u64::MAX)
    }

    /// Whether the wall clock, at `now`, is far ahead of what is due. Then everything until `now` is one tick: if evaluating all
    /// lists takes longer than `graph.refresh`, each is evaluated once, and time does not fall behind further and further.
    fn is_late(&self, input: &GraphInput, now: u64) -> bool {
        self.next_due().max(ms_of(input.last())).saturating_add(MAX_LAG) < now
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
            WorkerMessage::Gauges { next, audience } => {
                if let Some(gauges) = self.remote_gauges.get(&from) {
                    gauges.set_next(next);
                    gauges.audience.store(audience, Relaxed);
                }
            }
            WorkerMessage::Ended { failure: Some(ref failure) } => self.shared.reporter.report_peer(failure.clone()),
            WorkerMessage::Stop if !self.shared.stop.is_set() => {
                console::say(&format!("shutting down: process {} received a stop request", from / topology.workers));
                self.shared.stop.set();
            }
            WorkerMessage::Stop | WorkerMessage::Ended { failure: None } | WorkerMessage::Snapshot(_) => {}
        }
    }

    /// Whether the input has ended and neither the graph nor `pending` has anything left of it.
    fn is_drained(&self) -> bool {
        self.has_ended && self.ticks.in_graph() == 0 && self.pending.is_none()
    }

    fn show_progress(&self) {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let audience = gauges.iter().map(|gauges| gauges.audience.load(Relaxed)).sum();
        self.shared.progress.audience.store(audience, Relaxed);
        // The catalogue is on this worker alone.
        if let Some(own) = gauges.first() {
            let counts = &self.shared.progress.catalogue;
            for (from, to) in [
                (&own.catalogue_items, &counts.items),
                (&own.eligible_items, &counts.eligible),
                (&own.empty_intervals, &counts.empty_intervals),
                (&own.stale_records, &counts.stale),
                (&own.catalogue_full, &counts.full),
            ] {
                to.store(from.load(Relaxed), Relaxed);
            }
        }
        self.shared.progress.watermark.store(ms_of(self.ticks.complete()), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;
    use dataflows::types::ItemId;
    use dataflows::{Audience, Barrier, Config, Event, ListChange, ListKey};
    use schema::IdKey;

    use super::super::Supervisor;
    use super::super::names::Names;
    use super::super::worker::{Durability, build};
    use super::*;
    use crate::stop::Stop;

    const VIEWERS: u64 = 32;
    const REFRESH: u64 = 640;
    /// Events expire from here on, one every 25 ms for ten seconds. In the first five of them others arrive.
    const START: u64 = 120_000;
    /// All viewers act.
    const ACTION: u64 = 115_000;
    /// All viewers leave the audience.
    const EXIT: u64 = 133_000;

    /// The coordinator of a run on one worker by a clock that the test sets.
    fn coordinator() -> (Coordinator, Sender<TickInput>) {
        let supervisor = Supervisor::new(Stop::default(), 0);
        let shared = Shared {
            clock: Clock::Wall,
            stop: Stop::default(),
            ids: IdKey::default(),
            names: Arc::new(Names::new(0)),
            progress: Arc::default(),
            ending: supervisor.ending.clone(),
            reporter: supervisor.reporter.clone(),
        };
        let (ticks_in, ticks) = bounded(1);
        let (completed_in, _) = bounded(COMPLETED_QUEUE);
        (Coordinator::new(ticks, completed_in, shared), ticks_in)
    }

    /// The events by the time of their arrival. Only those of the viewers are so young that their users are in the audience.
    fn events() -> Vec<(u64, Event)> {
        let event = |user, item, ts| Event { user, item, ts, effect: schema::Effect::Counts(1), scope: None };
        let other = |n: u64, ts| [1, 2 + n * n % 11].map(|item| event(1_000 + n, item, ts));
        let viewers = (0..VIEWERS).map(|n| (ACTION, event(2 * n, 1, ACTION)));
        let early = (0..400).flat_map(|n| other(n, 80_000 + 25 * n)).map(|event| (event.ts, event));
        let late = (400..500).flat_map(|n| other(n, 100_000 + 50 * (n - 400))).map(|event| (event.ts + 20_000, event));
        early.chain(viewers).chain(late).collect()
    }

    /// Takes what has arrived until `clock`.
    fn take_until(events: &mut Vec<(u64, Event)>, clock: u64) -> Vec<Event> {
        let arrived = events.iter().take_while(|(at, _)| *at <= clock).count();
        events.drain(..arrived).map(|(_, event)| event).collect()
    }

    /// What the coordinator did at a time of the clock.
    struct Step {
        clock: u64,
        is_late: bool,
        has_events: bool,
        evaluations: u64,
        /// Ticks of the changed lists, in milliseconds.
        times: Vec<u64>,
        /// How long the effects waited that lists followed.
        waits: Vec<u32>,
    }

    /// A run from [`START`] until nothing is due before [`EXIT`].
    struct Simulated {
        steps: Vec<Step>,
        lists: BTreeMap<ListKey, Vec<ItemId>>,
        /// Number of lists that change if all are evaluated once more.
        stale: usize,
    }

    /// By the clock of this run an evaluation takes `cost` milliseconds, and the rest of a step none.
    fn simulate(cost: u64) -> Simulated {
        timely::execute_directly(move |worker| {
            let audience = Audience::Within(EXIT - ACTION);
            let config = Config { refresh: REFRESH, retention: 40_000, audience, ..Config::default() };
            let (mut coordinator, ticks) = coordinator();
            let topology = Topology { processes: 1, process: 0, workers: 1 };
            let (mut graph, _) = build(worker, &config, &coordinator.gauges, topology, &Durability::default());
            let mut finish = |coordinator: &mut Coordinator, graph: &Graph| {
                worker.step_while(|| graph.probe.less_than(&graph.input.time()));
                coordinator.ticks.retire(&graph.probe);
                coordinator.ticks.take_completed(graph).map(|output| output.changes).unwrap_or_default()
            };
            let items = |change: &ListChange| change.items.iter().map(|scored| scored.item).collect::<Vec<_>>();
            let mut lists = BTreeMap::new();
            let mut events = events();
            graph.input.tick(ACTION, ACTION).events(&mut take_until(&mut events, ACTION));
            graph.input.pass(START - 1);
            lists.extend(finish(&mut coordinator, &graph).iter().map(|change| (change.key, items(change))));

            let (mut clock, mut steps) = (START, Vec::new());
            while coordinator.next_due() < EXIT {
                let is_late = coordinator.is_late(&graph.input, clock);
                let before = graph.gauges.evaluations.load(Relaxed);
                let arrived = take_until(&mut events, clock);
                let has_events = !arrived.is_empty();
                if has_events {
                    ticks.send(TickInput { at: clock, since: clock, events: arrived, ..TickInput::default() }).unwrap();
                }
                coordinator.send_tick(&mut graph.input);
                coordinator.pass_time(&mut graph.input, clock);
                let changes = finish(&mut coordinator, &graph);
                lists.extend(changes.iter().map(|change| (change.key, items(change))));
                let times = changes.iter().map(|change| change.at).collect();
                let evaluations = graph.gauges.evaluations.load(Relaxed) - before;
                let waits = changes.iter().filter_map(|change| change.waited).collect();
                steps.push(Step { clock, is_late, has_events, evaluations, times, waits });
                clock += (evaluations * cost).max(20);
            }
            graph.input.next_tick().barrier(Barrier::EvaluateAll);
            Simulated { steps, lists, stale: finish(&mut coordinator, &graph).len() }
        })
    }

    /// Evaluating all lists takes twice as long as `graph.refresh`, and lists change all the time. A step begins when the one
    /// before has ended. It evaluates each list at most once, as of its beginning, whether events have arrived or not.
    #[test]
    fn a_run_that_cannot_keep_up_takes_what_fell_due_together() {
        let slow = simulate(2 * REFRESH / VIEWERS);
        for Step { clock, evaluations, times, .. } in &slow.steps {
            assert!(*evaluations <= VIEWERS, "at {clock} {evaluations} lists of {VIEWERS} were evaluated");
            assert!(times.iter().all(|at| at + MAX_LAG >= *clock), "at {clock} the lists are of {times:?}");
        }
        for has_events in [true, false] {
            let is_full = |step: &&Step| step.is_late && step.has_events == has_events && step.evaluations == VIEWERS;
            let full = slow.steps.iter().filter(is_full).count();
            assert!(full >= 3, "events {has_events}: only {full} steps take together a refresh or more");
        }
        let waits = slow.steps.iter().filter(|step| step.is_late).flat_map(|step| &step.waits);
        let longest = waits.max().copied().unwrap_or(0);
        assert!(u64::from(longest) + MAX_LAG >= REFRESH, "no effect has waited for longer than {longest} ms");
        // In a step that takes a refresh or more together, the first of the effects is that old.
        let full = slow.steps.windows(2).filter(|steps| steps.iter().all(|step| step.evaluations == VIEWERS));
        let shortest = full.flat_map(|steps| &steps[1].waits).min().copied().unwrap_or(0);
        assert!(u64::from(shortest) + MAX_LAG >= REFRESH, "an effect has waited for {shortest} ms");
        assert_eq!(slow.stale, 0);
        let fast = simulate(0);
        assert!(fast.steps.iter().all(|step| !step.is_late));
        assert_eq!(slow.lists, fast.lists);
        assert_eq!(slow.lists.values().filter(|items| !items.is_empty()).count() as u64, VIEWERS);
    }
}
