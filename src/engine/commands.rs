//! Messages between the workers of a run, beside the graph: through a dataflow of their own, in which times mean nothing.
//! It works the same within a process and between processes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Input as _, vec::input};
use timely::worker::Worker;

use super::ending::PeerFailure;
use super::snapshot::{SnapshotLink, SnapshotMessage, SnapshotParticipant};

/// A message from one worker to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum WorkerMessage {
    /// To or from the snapshot coordinator.
    Snapshot(SnapshotMessage),
    /// To worker 0, from workers of other processes, on every change: the time of the next timer or boundary, and the size of the
    /// audience.
    Gauges { next: u64, audience: u64 },
    /// To worker 0: another process received a request to stop.
    Stop,
    /// The last message of a worker: from worker 0 that the run has ended, from any worker that a process has failed.
    Ended { failure: Option<PeerFailure> },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Envelope {
    from: u64,
    to: u64,
    message: WorkerMessage,
}

/// One worker's end of the messages.
pub(super) struct CommandChannel {
    worker: usize,
    workers: usize,
    /// `None` once it is closed.
    outgoing: Option<input::Handle<u64, Envelope>>,
    incoming: Rc<RefCell<VecDeque<Envelope>>>,
    /// Whether anything was sent since the last flush.
    is_dirty: bool,
    /// Snapshot state of this worker.
    participant: Option<SnapshotParticipant>,
    /// Channels of the snapshot coordinator, on worker 0.
    coordinator: Option<SnapshotLink>,
}

impl CommandChannel {
    /// Builds the dataflow. Either all workers build it, or none.
    pub(super) fn build(
        worker: &mut Worker,
        participant: Option<SnapshotParticipant>,
        coordinator: Option<SnapshotLink>,
    ) -> Self {
        let incoming: Rc<RefCell<VecDeque<Envelope>>> = Rc::default();
        let inbox = Rc::clone(&incoming);
        let outgoing = worker.dataflow_named::<u64, _, _>("commands", |scope| {
            let (outgoing, messages) = scope.new_input();
            let by_receiver = Exchange::new(|envelope: &Envelope| envelope.to);
            messages.sink(by_receiver, "Commands", move |(input, _frontier)| {
                input.for_each(|_capability, data| inbox.borrow_mut().extend(data.drain(..)));
            });
            outgoing
        });
        let (index, workers) = (worker.index(), worker.peers());
        let outgoing = Some(outgoing);
        CommandChannel { worker: index, workers, outgoing, incoming, is_dirty: false, participant, coordinator }
    }

    /// Sends a message to a worker.
    pub(super) fn send(&mut self, to: usize, message: WorkerMessage) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.send(Envelope { from: self.worker as u64, to: to as u64, message });
            self.is_dirty = true;
        }
    }

    /// Sends a message to all other workers.
    pub(super) fn broadcast(&mut self, message: &WorkerMessage) {
        let own = self.worker;
        (0..self.workers).filter(|to| *to != own).for_each(|to| self.send(to, message.clone()));
    }

    /// Sends no more, so that the dataflow can end. Messages of other workers still arrive.
    pub(super) fn close(&mut self) {
        self.outgoing = None;
    }

    /// Delivers messages about snapshots, and calls `on_message` with each other one and the worker that sent it. Returns
    /// whether messages go out, so that the worker must not sleep.
    pub(super) fn exchange(&mut self, mut on_message: impl FnMut(usize, WorkerMessage)) -> bool {
        loop {
            let Some(Envelope { from, message, .. }) = self.incoming.borrow_mut().pop_front() else { break };
            match message {
                WorkerMessage::Snapshot(message) => self.deliver(from as usize, message),
                message => on_message(from as usize, message),
            }
        }
        let requests = self.participant.as_ref().map(SnapshotParticipant::outgoing).unwrap_or_default();
        for request in requests {
            self.send(0, WorkerMessage::Snapshot(request));
        }
        while let Some(Ok((to, reply))) = self.coordinator.as_ref().map(|link| link.replies.try_recv()) {
            self.send(to, WorkerMessage::Snapshot(reply));
        }
        let was_dirty = std::mem::take(&mut self.is_dirty);
        if let Some(outgoing) = self.outgoing.as_mut().filter(|_| was_dirty) {
            // An input keeps some of its data back until its time advances.
            outgoing.advance_to(outgoing.time() + 1);
        }
        was_dirty
    }

    fn deliver(&self, from: usize, message: SnapshotMessage) {
        match (message, &self.participant, &self.coordinator) {
            (message @ (SnapshotMessage::Wanted { .. } | SnapshotMessage::Taken), Some(participant), _) => {
                participant.apply(message);
            }
            // The coordinator has ended only when the run is over.
            (message, _, Some(link)) => link.requests.send((Some(from), message)).unwrap_or_default(),
            _ => {}
        }
    }
}
