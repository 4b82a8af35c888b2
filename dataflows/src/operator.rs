//! What the operators of this crate share: holding capabilities, keeping input until its time is complete, and maps
//! keyed by id64.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::MutableAntichain;

use crate::Time;

/// Capabilities for all outputs of an operator at the earliest time at which it may still send.
///
/// Time is totally ordered, so one time says it all; later ones are reached by [`OutputCapabilities::at`].
pub(crate) struct OutputCapabilities {
    ports: usize,
    capabilities: Vec<Capability<Time>>,
}

impl OutputCapabilities {
    pub(crate) fn new(ports: usize) -> Self {
        OutputCapabilities { ports, capabilities: Vec::new() }
    }

    /// Keeps the right to send at the time of a message just received.
    pub(crate) fn retain(&mut self, message: &InputCapability<Time>) -> Time {
        let time = *message.least().expect("a message with data has a time");
        if self.capabilities.first().is_none_or(|held| time < *held.time()) {
            self.capabilities = (0..self.ports)
                .map(|port| message.retain_least(port).expect("a message with data has a time"))
                .collect();
        }
        time
    }

    /// The right to send at `time` on `port`; `time` must not lie before the time held.
    pub(crate) fn at(&self, port: usize, time: Time) -> Capability<Time> {
        self.capabilities[port].delayed(&time)
    }

    /// Gives up all times before `next`, or all when there is nothing left to do.
    pub(crate) fn release_before(&mut self, next: Option<Time>) {
        match next {
            None => self.capabilities.clear(),
            Some(next) => {
                for capability in &mut self.capabilities {
                    if *capability.time() < next {
                        capability.downgrade(&next);
                    }
                }
            }
        }
    }
}

/// Input kept until its time is complete, in the containers in which it came: nothing is copied.
pub(crate) struct Stash<D> {
    by_time: BTreeMap<Time, Vec<Vec<D>>>,
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

    pub(crate) fn take(&mut self, time: Time) -> Vec<Vec<D>> {
        self.by_time.remove(&time).unwrap_or_default()
    }
}

/// An output of an operator.
pub(crate) type Out<D> = OutputBuilder<Time, CapacityContainerBuilder<Vec<D>>>;

/// Sends `data` at `time`, if there is any, and leaves it empty.
pub(crate) fn give<D: Clone + 'static>(
    out: &mut Out<D>,
    held: &OutputCapabilities,
    port: usize,
    time: Time,
    data: &mut Vec<D>,
) {
    if !data.is_empty() {
        out.activate().session(&held.at(port, time)).give_iterator(data.drain(..));
    }
}

/// Places whose cache lines are looked at together before they are worked on one by one, so that all are waited for at once.
pub(crate) const TOGETHER: usize = 8;

/// The time before which all inputs are complete; [`Time::MAX`] when they have ended.
pub(crate) fn complete_before(frontiers: &[MutableAntichain<Time>]) -> Time {
    frontiers.iter().filter_map(|frontier| frontier.frontier().first().copied()).min().unwrap_or(Time::MAX)
}

/// The earlier of two times, if any.
pub(crate) fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A map keyed by id64.
pub type IdMap<V> = hashbrown::HashMap<u64, V, BuildHasherDefault<IdHasher>>;

/// Gives memory back once a map has shrunk to a small part of what it was.
pub fn shrink_if_sparse<V>(map: &mut IdMap<V>) {
    if map.capacity() > 1_024 && map.len() < map.capacity() / 8 {
        map.shrink_to(2 * map.len());
    }
}

/// An id64 is a hash already. The worker is chosen by its low bits, so those that hold keys apart are moved down.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.rotate_left(32);
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only u64 keys are hashed");
    }
}
