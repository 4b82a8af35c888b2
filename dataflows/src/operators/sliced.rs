use std::marker::PhantomData;

use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

use super::capabilities::{OutputCapabilities, complete_before, earlier};
use super::inputs::{Batches, StashedInput, StashedInputs};
use super::outputs::OutputBuffers;
use crate::Time;

/// What an operator does with its ticks. Ticks are processed one after the other, each when all its input has arrived.
///
/// A large tick is processed in slices, so that the other operators of the worker get their turn in between. Fuel says
/// how much an operator may do in one activation, in a unit of its own.
pub(crate) trait SlicedOperator: 'static {
    type Inputs: StashedInputs;
    type Outputs: OutputBuffers;

    /// Applies the input of a complete tick. Not sliced: linear in the input.
    fn begin(&mut self, time: Time, input: <Self::Inputs as StashedInputs>::Batches, outputs: &mut Self::Outputs);

    /// Processes the tick until it is done or the fuel is used up. Returns whether it is done.
    fn advance(&mut self, time: Time, fuel: &mut usize, outputs: &mut Self::Outputs) -> bool;

    /// Runs at the end of each activation. All ticks before `done_before` are done and emitted.
    fn deactivate(&mut self, _done_before: Time) {}
}

/// Builds a [`SlicedOperator`]: [`SlicedBuilder::input`] for each input, then [`SlicedBuilder::build`].
pub(crate) struct SlicedBuilder<'scope> {
    builder: OperatorBuilder<'scope, Time>,
    activator: Activator,
}

impl<'scope> SlicedBuilder<'scope> {
    pub(crate) fn new(name: &str, scope: Scope<'scope, Time>) -> Self {
        let builder = OperatorBuilder::new(name.to_owned(), scope);
        let activator = scope.activator_for(builder.operator_info().address);
        SlicedBuilder { builder, activator }
    }

    pub(crate) fn input<D: 'static, P>(&mut self, stream: Stream<'scope, Time, Vec<D>>, pact: P) -> StashedInput<D>
    where
        D: Clone,
        P: ParallelizationContract<Time, Vec<D>>,
        P::Puller: 'static,
    {
        StashedInput::new(self.builder.new_input(stream, pact))
    }

    /// Adds the operator to the dataflow. `slice`: fuel of one activation.
    pub(crate) fn build<S: SlicedOperator>(
        mut self,
        mut inputs: S::Inputs,
        slice: usize,
        mut operator: S,
    ) -> <S::Outputs as OutputBuffers>::Streams<'scope> {
        let (mut ports, streams) = S::Outputs::ports(&mut self.builder);
        let mut capabilities = OutputCapabilities::new(self.builder.shape().outputs());
        let mut outputs = S::Outputs::default();
        // The tick that has begun and is not done.
        let mut current: Option<Time> = None;
        let activator = self.activator;
        self.builder.build(move |_| {
            move |frontiers| {
                inputs.receive(&mut capabilities);
                let upper = complete_before(frontiers);
                let mut fuel = slice;
                loop {
                    let complete = || inputs.first().filter(|time| *time < upper);
                    let Some(time) = current.or_else(complete) else { break };
                    if current.is_none() {
                        operator.begin(time, inputs.take(time), &mut outputs);
                    }
                    let done = operator.advance(time, &mut fuel, &mut outputs);
                    outputs.flush(&mut ports, &capabilities, time);
                    current = (!done).then_some(time);
                    if !done {
                        activator.activate();
                        break;
                    }
                }
                capabilities.release_before(earlier(current, inputs.first()));
                operator.deactivate(current.unwrap_or(upper));
            }
        });
        streams
    }
}

/// An operator with one input that processes each complete tick in one go: `logic` gets the time, the records and a
/// buffer for what it emits.
pub(crate) fn per_tick<'scope, D: Clone + 'static, R: Clone + 'static, P>(
    name: &str,
    stream: Stream<'scope, Time, Vec<D>>,
    pact: P,
    logic: impl FnMut(Time, Batches<D>, &mut Vec<R>) + 'static,
) -> Stream<'scope, Time, Vec<R>>
where
    P: ParallelizationContract<Time, Vec<D>>,
    P::Puller: 'static,
{
    let mut builder = SlicedBuilder::new(name, stream.scope());
    let input = builder.input(stream, pact);
    builder.build(input, usize::MAX, PerTick { logic, records: PhantomData })
}

struct PerTick<L, D, R> {
    logic: L,
    records: PhantomData<(D, R)>,
}

impl<D: 'static, R: Clone + 'static, L: FnMut(Time, Batches<D>, &mut Vec<R>) + 'static> SlicedOperator
    for PerTick<L, D, R>
{
    type Inputs = StashedInput<D>;
    type Outputs = Vec<R>;

    fn begin(&mut self, time: Time, input: Batches<D>, outputs: &mut Vec<R>) {
        (self.logic)(time, input, outputs);
    }

    fn advance(&mut self, _time: Time, _fuel: &mut usize, _outputs: &mut Vec<R>) -> bool {
        true
    }
}
