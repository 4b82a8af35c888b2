use timely::dataflow::operators::Input as _;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::{Scope, Stream};

use crate::{
    Barrier, Config, ControlRecord, Event, ItemId, ItemRecord, ListKey, Reconcile, Time, WorkerBarrier, first_of, next,
};

/// The input streams of the graph on one worker.
pub struct InputStreams<'scope> {
    /// Events.
    pub events: Stream<'scope, Time, Vec<Event>>,
    /// Catalogue records, if the graph has a catalogue.
    pub catalogue: Option<Stream<'scope, Time, Vec<ItemRecord>>>,
    /// Controls of users, if the graph takes them.
    pub controls: Option<Stream<'scope, Time, Vec<ControlRecord>>>,
    /// Barriers, each addressed to one worker.
    pub barriers: Stream<'scope, Time, Vec<WorkerBarrier>>,
    /// The content of the output, if the run resumes another one. Without it every change is emitted from the start.
    pub reconcile: Option<Stream<'scope, Time, Vec<Reconcile>>>,
}

/// The input side of the graph: owns the input handles and the protocol by which they are fed.
///
/// The protocol has three rules. Ticks have strictly increasing times. If a tick takes together what happens from an
/// earlier millisecond on, a [`Barrier::Coalesce`] precedes it at the first of these times. All inputs advance together, and
/// past a tick as soon as it is sent, so that a tick is never open while the caller waits.
///
/// One worker feeds the graph; the others drop their `GraphInput`. The graph ends when all are dropped, and what would fall due
/// after the last tick does not happen.
///
/// ```
/// use dataflows::{Config, Effect, Event, GraphInput, recommendations};
/// use timely::dataflow::operators::Probe;
///
/// timely::execute_directly(|worker| {
///     let (mut input, probe) = worker.dataflow(|scope| {
///         let config = Config::default();
///         let (input, streams) = GraphInput::new(scope, &config, false);
///         let graph = recommendations(streams, &config, Default::default());
///         (input, graph.changes.probe().0)
///     });
///     input.tick(1_000, 1_000).event(Event { user: 1, item: 2, ts: 1_000, effect: Effect::Counts(3), scope: None });
///     // All changes of the tick are out when the probe has passed it.
///     worker.step_while(|| probe.less_than(&input.time()));
/// });
/// ```
pub struct GraphInput {
    events: Handle<Time, Event>,
    catalogue: Option<Handle<Time, ItemRecord>>,
    controls: Option<Handle<Time, ControlRecord>>,
    barriers: Handle<Time, WorkerBarrier>,
    reconcile: Option<Handle<Time, Reconcile>>,
    workers: u64,
    last: Time,
}

impl GraphInput {
    /// Creates the inputs in a dataflow. `resumes`: whether there is an output to reconcile with.
    pub fn new<'scope>(scope: Scope<'scope, Time>, config: &Config, resumes: bool) -> (Self, InputStreams<'scope>) {
        let (events, event_stream) = scope.new_input();
        let (catalogue, catalogue_stream) = config.catalogue.is_some().then(|| scope.new_input()).unzip();
        let (controls, control_stream) = config.controls.then(|| scope.new_input()).unzip();
        let (barriers, barrier_stream) = scope.new_input();
        let (reconcile, reconcile_stream) = resumes.then(|| scope.new_input()).unzip();
        let input =
            GraphInput { events, catalogue, controls, barriers, reconcile, workers: scope.peers() as u64, last: 0 };
        let streams = InputStreams {
            events: event_stream,
            catalogue: catalogue_stream,
            controls: control_stream,
            barriers: barrier_stream,
            reconcile: reconcile_stream,
        };
        (input, streams)
    }

    /// The time of the last tick.
    pub fn last(&self) -> Time {
        self.last
    }

    /// The time of the inputs. What has been fed is complete once the graph's probe is not less than it.
    pub fn time(&self) -> Time {
        *self.events.time()
    }

    /// Opens a tick at millisecond `at`, which takes together all that happens from millisecond `since` on. The tick is sent
    /// when the result is dropped.
    pub fn tick(&mut self, since: u64, at: u64) -> OpenTick<'_> {
        let since = next(self.last, since);
        self.last = next(self.last, at);
        if since < self.last {
            // At the first of the times taken together, so that no worker can pass that time before it has the barrier.
            self.advance_to(since);
            self.send_barrier(Barrier::Coalesce { tick: self.last });
        }
        self.advance_to(self.last);
        OpenTick { input: self }
    }

    /// Opens a tick immediately after the last one.
    pub fn next_tick(&mut self) -> OpenTick<'_> {
        self.last += 1;
        self.advance_to(self.last);
        OpenTick { input: self }
    }

    /// Advances time without events: everything that falls due up to and including millisecond `ms` happens.
    pub fn pass(&mut self, ms: u64) {
        self.last = first_of(ms).max(self.last);
        self.advance_to(self.last + 1);
    }

    fn advance_to(&mut self, time: Time) {
        self.events.advance_to(time);
        self.barriers.advance_to(time);
        if let Some(catalogue) = &mut self.catalogue {
            catalogue.advance_to(time);
        }
        if let Some(controls) = &mut self.controls {
            controls.advance_to(time);
        }
        if let Some(reconcile) = &mut self.reconcile {
            reconcile.advance_to(time);
        }
    }

    fn send_barrier(&mut self, barrier: Barrier) {
        (0..self.workers).for_each(|worker| self.barriers.send(WorkerBarrier { worker, barrier }));
    }
}

impl Drop for GraphInput {
    fn drop(&mut self) {
        if self.last > 0 && !std::thread::panicking() {
            self.send_barrier(Barrier::End);
        }
    }
}

/// A tick that is being filled. Dropping it sends the tick.
#[must_use = "dropping it sends the tick"]
pub struct OpenTick<'i> {
    input: &'i mut GraphInput,
}

impl OpenTick<'_> {
    /// The time of the tick.
    pub fn time(&self) -> Time {
        self.input.last
    }

    /// Adds an event.
    pub fn event(&mut self, event: Event) {
        self.input.events.send(event);
    }

    /// Adds events, and leaves the vector empty.
    pub fn events(&mut self, events: &mut Vec<Event>) {
        self.input.events.send_batch(events);
    }

    /// Adds catalogue records, and leaves the vector empty. Has no effect without a catalogue.
    pub fn items(&mut self, records: &mut Vec<ItemRecord>) {
        match &mut self.input.catalogue {
            Some(catalogue) => catalogue.send_batch(records),
            None => records.clear(),
        }
    }

    /// Adds controls, and leaves the vector empty. Has no effect if the graph takes none.
    pub fn controls(&mut self, records: &mut Vec<ControlRecord>) {
        match &mut self.input.controls {
            Some(controls) => controls.send_batch(records),
            None => records.clear(),
        }
    }

    /// Sends a barrier to all workers.
    pub fn barrier(&mut self, barrier: Barrier) {
        self.input.send_barrier(barrier);
    }

    /// States what the output holds for one list. Has no effect in a run that does not resume another one.
    pub fn known(&mut self, key: ListKey, items: Vec<ItemId>) {
        if let Some(reconcile) = &mut self.input.reconcile {
            reconcile.send(Reconcile::Known { key, items });
        }
    }

    /// Reconciles the lists of this tick with the output, and emits changes from now on.
    pub fn finish_reconcile(&mut self) {
        let workers = self.input.workers;
        if let Some(reconcile) = &mut self.input.reconcile {
            (0..workers).for_each(|worker| reconcile.send(Reconcile::Finish { worker }));
        }
    }
}

impl Drop for OpenTick<'_> {
    fn drop(&mut self) {
        self.input.advance_to(self.input.last + 1);
    }
}
