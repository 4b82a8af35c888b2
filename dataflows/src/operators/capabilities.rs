use timely::dataflow::operators::{Capability, InputCapability};

use crate::Time;

/// Capabilities for all outputs of an operator, at the earliest time at which it may still emit.
///
/// Times are totally ordered, so one capability a port is enough: [`OutputCapabilities::at`] delays it to a later time.
pub(crate) struct OutputCapabilities {
    ports: usize,
    capabilities: Vec<Capability<Time>>,
}

impl OutputCapabilities {
    pub(super) fn new(ports: usize) -> Self {
        OutputCapabilities { ports, capabilities: Vec::new() }
    }

    /// Retains the capability of a received message. Returns the time of the message.
    pub(super) fn retain(&mut self, message: &InputCapability<Time>) -> Time {
        let time = *message.least().expect("a message with data has a time");
        if self.capabilities.first().is_none_or(|retained| time < *retained.time()) {
            self.capabilities = (0..self.ports)
                .map(|port| message.retain_least(port).expect("a message with data has a time"))
                .collect();
        }
        time
    }

    /// The capability for `time` on `port`. `time` must not lie before the retained time.
    pub(super) fn at(&self, port: usize, time: Time) -> Capability<Time> {
        self.capabilities[port].delayed(&time)
    }

    /// Releases all times before `next`, or all times if there is no more work.
    pub(crate) fn release_before(&mut self, next: Option<Time>) {
        let Some(next) = next else { return self.capabilities.clear() };
        for capability in self.capabilities.iter_mut().filter(|capability| *capability.time() < next) {
            capability.downgrade(&next);
        }
    }
}

/// The earlier of two optional times.
pub(crate) fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    a.into_iter().chain(b).min()
}
