use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

use super::capabilities::{OutputCapabilities, earlier};
use crate::Time;

/// Records of one time, in the containers in which they were received.
pub(crate) type Batches<D> = Vec<Vec<D>>;

/// An input of an operator: received records by time, until the operator takes them. Containers are moved, not copied.
pub(crate) struct Input<D>(Rc<RefCell<BTreeMap<Time, Batches<D>>>>);

impl<D> Default for Input<D> {
    fn default() -> Self {
        Input(Rc::default())
    }
}

impl<D> Clone for Input<D> {
    fn clone(&self) -> Self {
        Input(Rc::clone(&self.0))
    }
}

impl<D> Input<D> {
    /// Removes the records of one time.
    pub(crate) fn take(&self, time: Time) -> Batches<D> {
        self.0.borrow_mut().remove(&time).unwrap_or_default()
    }

    /// Removes the records of all times.
    pub(crate) fn take_all(&self) -> BTreeMap<Time, Batches<D>> {
        self.0.take()
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.0.borrow().keys().next().copied()
    }

    /// Adds records as if they had been received.
    #[cfg(test)]
    pub(crate) fn put(&self, time: Time, batches: Batches<D>) {
        self.0.borrow_mut().entry(time).or_default().extend(batches);
    }
}

/// An output of an operator: a buffer that the driver emits after each slice.
pub(crate) struct Output<D>(Rc<RefCell<Vec<D>>>);

impl<D> Default for Output<D> {
    fn default() -> Self {
        Output(Rc::default())
    }
}

impl<D> Output<D> {
    pub(crate) fn buffer(&self) -> RefMut<'_, Vec<D>> {
        self.0.borrow_mut()
    }
}

/// An output port of an operator, without a buffer.
pub(crate) struct OutputPort<D: 'static> {
    index: usize,
    out: OutputBuilder<Time, CapacityContainerBuilder<Vec<D>>>,
}

impl<D: Clone + 'static> OutputPort<D> {
    /// Emits `data` at `time` and leaves it empty.
    pub(crate) fn give(&mut self, capabilities: &OutputCapabilities, time: Time, data: &mut Vec<D>) {
        if !data.is_empty() {
            self.out.activate().session(&capabilities.at(self.index, time)).give_iterator(data.drain(..));
        }
    }
}

/// What an operator does with its ticks. Ticks are processed one after the other, each when all its input has arrived.
///
/// A large tick is processed in slices, so that the other operators of the worker get their turn in between. Fuel says
/// how much an operator may do in one activation, in a unit of its own. An operator that processes a tick in one go is a
/// closure.
pub(crate) trait SlicedOperator: 'static {
    /// The next tick that takes place without input. It must not lie before the last one, and there must be none after
    /// [`Barrier::End`](crate::Barrier::End).
    fn due(&self) -> Option<Time> {
        None
    }

    /// Applies the input of a complete tick. Not sliced: linear in the input.
    fn begin(&mut self, time: Time);

    /// Processes the tick until it is done or the fuel is used up. Returns whether it is done.
    fn advance(&mut self, _time: Time, _fuel: &mut usize) -> bool {
        true
    }

    /// Runs at the end of each activation. All ticks before `done_before` are done and emitted.
    fn deactivate(&mut self, _done_before: Time) {}
}

impl<L: FnMut(Time) + 'static> SlicedOperator for L {
    fn begin(&mut self, time: Time) {
        self(time);
    }
}

/// Builds an operator: its inputs and outputs first, then [`StageBuilder::build`], or [`StageBuilder::build_with`] for one
/// that does not process complete ticks.
pub(crate) struct StageBuilder<'scope> {
    builder: OperatorBuilder<'scope, Time>,
    pub(crate) activator: Activator,
    receive: Vec<Box<dyn FnMut(&mut OutputCapabilities)>>,
    first: Vec<Box<dyn Fn() -> Option<Time>>>,
    flush: Vec<Box<dyn FnMut(&OutputCapabilities, Time)>>,
}

impl<'scope> StageBuilder<'scope> {
    pub(crate) fn new(name: &str, scope: Scope<'scope, Time>) -> Self {
        let builder = OperatorBuilder::new(name.to_owned(), scope);
        let activator = scope.activator_for(builder.operator_info().address);
        StageBuilder { builder, activator, receive: Vec::new(), first: Vec::new(), flush: Vec::new() }
    }

    pub(crate) fn input<D, P>(&mut self, stream: Stream<'scope, Time, Vec<D>>, pact: P) -> Input<D>
    where
        D: Clone + 'static,
        P: ParallelizationContract<Time, Vec<D>, Puller: 'static>,
    {
        let mut handle = self.builder.new_input(stream, pact);
        let input = Input::default();
        let Input(received) = input.clone();
        self.receive.push(Box::new(move |capabilities| {
            handle.for_each(|capability, data| {
                let time = capabilities.retain(&capability);
                received.borrow_mut().entry(time).or_default().push(std::mem::take(data));
            });
        }));
        let pending = input.clone();
        self.first.push(Box::new(move || pending.first()));
        input
    }

    pub(crate) fn output<D: Clone + 'static>(&mut self) -> (Output<D>, Stream<'scope, Time, Vec<D>>) {
        let (mut port, stream) = self.port();
        let output = Output::default();
        let buffer = Rc::clone(&output.0);
        self.flush.push(Box::new(move |capabilities, time| port.give(capabilities, time, &mut buffer.borrow_mut())));
        (output, stream)
    }

    pub(crate) fn port<D: Clone + 'static>(&mut self) -> (OutputPort<D>, Stream<'scope, Time, Vec<D>>) {
        let index = self.builder.shape().outputs();
        let (output, stream) = self.builder.new_output();
        (OutputPort { index, out: OutputBuilder::from(output) }, stream)
    }

    /// Adds the operator to the dataflow. `slice`: fuel of one activation.
    pub(crate) fn build(self, slice: usize, mut operator: impl SlicedOperator) {
        let activator = self.activator.clone();
        // The tick that has begun and is not done.
        let mut current: Option<Time> = None;
        self.build_with(move |stage, upper| {
            let mut fuel = slice;
            let next = |stage: &Stage, operator: &dyn SlicedOperator| earlier(stage.first(), operator.due());
            while let Some(time) = current.or_else(|| next(stage, &operator).filter(|time| *time < upper)) {
                if current.is_none() {
                    operator.begin(time);
                }
                let done = operator.advance(time, &mut fuel);
                stage.flush(time);
                current = (!done).then_some(time);
                if !done {
                    activator.activate();
                    break;
                }
            }
            stage.capabilities.release_before(earlier(current, next(stage, &operator)));
            operator.deactivate(current.unwrap_or(upper));
        });
    }

    /// Adds an operator that calls `logic` in each activation, after it has received all input, with the time before which
    /// all inputs are complete; [`Time::MAX`] when they have ended. `logic` releases the capabilities.
    pub(crate) fn build_with(self, mut logic: impl FnMut(&mut Stage, Time) + 'static) {
        let capabilities = OutputCapabilities::new(self.builder.shape().outputs());
        let StageBuilder { builder, mut receive, first, flush, .. } = self;
        let mut stage = Stage { first, flush, capabilities };
        builder.build(move |_| {
            move |frontiers| {
                for receive in &mut receive {
                    receive(&mut stage.capabilities);
                }
                let frontiers = frontiers.iter().filter_map(|frontier| frontier.frontier().first().copied());
                logic(&mut stage, frontiers.min().unwrap_or(Time::MAX));
            }
        });
    }
}

/// The inputs, outputs and capabilities of a running operator.
pub(crate) struct Stage {
    first: Vec<Box<dyn Fn() -> Option<Time>>>,
    flush: Vec<Box<dyn FnMut(&OutputCapabilities, Time)>>,
    pub(crate) capabilities: OutputCapabilities,
}

impl Stage {
    /// The earliest time with received records.
    pub(crate) fn first(&self) -> Option<Time> {
        self.first.iter().filter_map(|first| first()).min()
    }

    /// Emits the buffers of all outputs at `time`.
    pub(crate) fn flush(&mut self, time: Time) {
        for flush in &mut self.flush {
            flush(&self.capabilities, time);
        }
    }
}
