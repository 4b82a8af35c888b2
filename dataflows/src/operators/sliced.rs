use std::marker::PhantomData;

use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

use super::capabilities::{OutputCapabilities, complete_before, earlier};
use super::inputs::{StashedInput, StashedInputs};
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

/// Builds a [`SlicedOperator`]: [`SlicedBuilder::input`] for each input, then [`SlicedBuilder::build`], or
/// [`SlicedBuilder::build_per_tick`] for an operator that processes a tick in one go.
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

    pub(crate) fn input<D: Clone + 'static, P>(
        &mut self,
        stream: Stream<'scope, Time, Vec<D>>,
        pact: P,
    ) -> StashedInput<D>
    where
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

    /// As [`SlicedBuilder::build`]. `logic` gets each complete tick: its time, its input, and buffers for its output.
    pub(crate) fn build_per_tick<I: StashedInputs, O: OutputBuffers>(
        self,
        inputs: I,
        logic: impl FnMut(Time, I::Batches, &mut O) + 'static,
    ) -> O::Streams<'scope> {
        self.build(inputs, usize::MAX, PerTick { logic, ports: PhantomData })
    }
}

struct PerTick<L, I, O> {
    logic: L,
    ports: PhantomData<(I, O)>,
}

impl<I, O, L> SlicedOperator for PerTick<L, I, O>
where
    I: StashedInputs,
    O: OutputBuffers,
    L: FnMut(Time, I::Batches, &mut O) + 'static,
{
    type Inputs = I;
    type Outputs = O;

    fn begin(&mut self, time: Time, input: I::Batches, outputs: &mut O) {
        (self.logic)(time, input, outputs);
    }

    fn advance(&mut self, _time: Time, _fuel: &mut usize, _outputs: &mut O) -> bool {
        true
    }
}
