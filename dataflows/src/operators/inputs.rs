use std::collections::BTreeMap;

use timely::communication::Pull;
use timely::dataflow::channels::Message;
use timely::dataflow::operators::generic::InputHandleCore;

use super::capabilities::{OutputCapabilities, earlier};
use crate::{Diff, Time};

/// Records of one time, in the containers in which they were received.
pub(crate) type Batches<D> = Vec<Vec<D>>;

/// Updates of one time, in the containers in which they were received.
pub(crate) type UpdateBatches<D> = Batches<(D, Time, Diff)>;

/// Received records by time, until the time is complete. Containers are moved, not copied.
pub(crate) struct Stash<D> {
    by_time: BTreeMap<Time, Batches<D>>,
}

impl<D> Stash<D> {
    pub(crate) fn new() -> Self {
        Stash { by_time: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, time: Time, data: &mut Vec<D>) {
        self.by_time.entry(time).or_default().push(std::mem::take(data));
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.by_time.keys().next().copied()
    }

    pub(crate) fn last(&self) -> Option<Time> {
        self.by_time.keys().next_back().copied()
    }

    pub(crate) fn take(&mut self, time: Time) -> Batches<D> {
        self.by_time.remove(&time).unwrap_or_default()
    }
}

/// An input of an operator and its stash.
pub(crate) struct StashedInput<D> {
    /// One indirect call an activation, so that the pact is not part of the type.
    receive: Box<dyn FnMut(&mut Stash<D>, &mut OutputCapabilities)>,
    stash: Stash<D>,
}

impl<D: 'static> StashedInput<D> {
    pub(crate) fn new<P: Pull<Message<Time, Vec<D>>> + 'static>(mut handle: InputHandleCore<Time, Vec<D>, P>) -> Self {
        let receive = move |stash: &mut Stash<D>, capabilities: &mut OutputCapabilities| {
            handle.for_each(|capability, data| stash.put(capabilities.retain(&capability), data));
        };
        StashedInput { receive: Box::new(receive), stash: Stash::new() }
    }
}

/// All inputs of an operator: one [`StashedInput`], an optional one, or a pair or list of inputs.
pub(crate) trait StashedInputs: 'static {
    /// The records of one time.
    type Batches;

    /// Stashes everything that has arrived.
    fn receive(&mut self, capabilities: &mut OutputCapabilities);

    /// The earliest time with stashed records.
    fn first(&self) -> Option<Time>;

    /// Removes the records of one time.
    fn take(&mut self, time: Time) -> Self::Batches;
}

impl<D: 'static> StashedInputs for StashedInput<D> {
    type Batches = Batches<D>;

    fn receive(&mut self, capabilities: &mut OutputCapabilities) {
        (self.receive)(&mut self.stash, capabilities);
    }

    fn first(&self) -> Option<Time> {
        self.stash.first()
    }

    fn take(&mut self, time: Time) -> Self::Batches {
        self.stash.take(time)
    }
}

impl<I: StashedInputs<Batches: Default>> StashedInputs for Option<I> {
    type Batches = I::Batches;

    fn receive(&mut self, capabilities: &mut OutputCapabilities) {
        if let Some(input) = self {
            input.receive(capabilities);
        }
    }

    fn first(&self) -> Option<Time> {
        self.as_ref()?.first()
    }

    fn take(&mut self, time: Time) -> Self::Batches {
        self.as_mut().map(|input| input.take(time)).unwrap_or_default()
    }
}

impl<A: StashedInputs, B: StashedInputs> StashedInputs for (A, B) {
    type Batches = (A::Batches, B::Batches);

    fn receive(&mut self, capabilities: &mut OutputCapabilities) {
        self.0.receive(capabilities);
        self.1.receive(capabilities);
    }

    fn first(&self) -> Option<Time> {
        earlier(self.0.first(), self.1.first())
    }

    fn take(&mut self, time: Time) -> Self::Batches {
        (self.0.take(time), self.1.take(time))
    }
}

impl<B: 'static> StashedInputs for Vec<Box<dyn StashedInputs<Batches = B>>> {
    type Batches = Vec<B>;

    fn receive(&mut self, capabilities: &mut OutputCapabilities) {
        for input in self {
            input.receive(capabilities);
        }
    }

    fn first(&self) -> Option<Time> {
        self.iter().filter_map(|input| input.first()).min()
    }

    fn take(&mut self, time: Time) -> Self::Batches {
        self.iter_mut().map(|input| input.take(time)).collect()
    }
}
