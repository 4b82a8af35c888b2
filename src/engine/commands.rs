//! What the workers of a run tell each other beside the graph: letters, through a dataflow of its own whose time says
//! nothing. It is the same for workers of one process and of several.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Input as _, vec::input};
use timely::worker::Worker;

use super::snapshot::{SnapshotAggregator, SnapshotHandle, SnapshotMessage};

/// What one worker tells another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum WorkerMessage {
    /// About a snapshot.
    Snapshot(SnapshotMessage),
    /// To the first worker: when something happens next without an event, and how many viewers there are. Told by workers
    /// of other processes whenever it changes.
    Gauges { next_due: u64, audience: u64 },
    /// To the first worker: the run is to end, somebody asked another process.
    Stop,
    /// From the first worker, at last: the run is over, and whether process 0 did all it should.
    Over { well: bool },
}

/// A letter under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Envelope {
    from: u64,
    to: u64,
    letter: WorkerMessage,
}

/// One worker's end of the letters.
pub(super) struct CommandChannel {
    me: usize,
    workers: usize,
    out: input::Handle<u64, Envelope>,
    come: Rc<RefCell<VecDeque<Envelope>>>,
    /// Whether letters were given away since they were last sent.
    given: bool,
    /// Takes snapshots on this worker.
    desk: Option<SnapshotHandle>,
    /// Gathers them, on the first worker.
    clerk: Option<SnapshotAggregator>,
}

impl CommandChannel {
    /// Builds the dataflow. All workers must, or none.
    pub(super) fn build(worker: &mut Worker, desk: Option<SnapshotHandle>, clerk: Option<SnapshotAggregator>) -> Self {
        let come: Rc<RefCell<VecDeque<Envelope>>> = Rc::default();
        let inbox = Rc::clone(&come);
        let out = worker.dataflow_named::<u64, _, _>("letters", |scope| {
            let (out, letters) = scope.new_input();
            let to_the_addressee = Exchange::new(|envelope: &Envelope| envelope.to);
            letters.sink(to_the_addressee, "Letters", move |(input, _frontier)| {
                input.for_each(|_capability, data| inbox.borrow_mut().extend(data.drain(..)));
            });
            out
        });
        CommandChannel { me: worker.index(), workers: worker.peers(), out, come, given: false, desk, clerk }
    }

    /// Writes to a worker.
    pub(super) fn give(&mut self, to: usize, letter: WorkerMessage) {
        self.out.send(Envelope { from: self.me as u64, to: to as u64, letter });
        self.given = true;
    }

    /// Writes to all other workers.
    pub(super) fn give_all(&mut self, letter: &WorkerMessage) {
        let me = self.me;
        (0..self.workers).filter(|to| *to != me).for_each(|to| self.give(to, letter.clone()));
    }

    /// Does what letters ask for that are about snapshots; hands on the others, each with the worker that wrote it.
    /// Returns whether letters are to go out or snapshots to go on, so that now is no time to sleep.
    pub(super) fn round(&mut self, mut other: impl FnMut(usize, WorkerMessage)) -> bool {
        loop {
            let Some(Envelope { from, letter, .. }) = self.come.borrow_mut().pop_front() else { break };
            match letter {
                WorkerMessage::Snapshot(word @ (SnapshotMessage::Wanted { .. } | SnapshotMessage::Taken)) => {
                    self.desk.iter().for_each(|desk| desk.hear(&word));
                }
                WorkerMessage::Snapshot(word) => {
                    if let Some(clerk) = &mut self.clerk {
                        clerk.hear(from as usize, word);
                    }
                }
                letter => other(from as usize, letter),
            }
        }
        let words: Vec<SnapshotMessage> = self.desk.iter().flat_map(SnapshotHandle::say).collect();
        for word in words {
            self.give(0, WorkerMessage::Snapshot(word));
        }
        let words: Vec<(usize, SnapshotMessage)> = self.clerk.iter_mut().flat_map(SnapshotAggregator::say).collect();
        for (to, word) in words {
            self.give(to, WorkerMessage::Snapshot(word));
        }
        let given = std::mem::take(&mut self.given);
        if given {
            // An input holds back some of what it is given until time goes on.
            self.out.advance_to(self.out.time() + 1);
        }
        given
    }

    /// Whether the first worker has pieces of a snapshot for which there is no room: to be tried again soon.
    pub(super) fn is_pressed(&self) -> bool {
        self.clerk.as_ref().is_some_and(SnapshotAggregator::is_pressed)
    }
}
