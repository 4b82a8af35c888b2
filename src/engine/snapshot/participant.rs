//! Participation of one worker in snapshots: reports changed groups and sends the rows of wanted ones.

use std::cell::RefCell;
use std::rc::Rc;

use crossbeam_channel::Sender;
use dataflows::Event;
use dataflows::snapshot::{Groups, SnapshotChunk, SnapshotSink};
use schema::KEY_GROUPS;

use super::{SnapshotLink, SnapshotMessage};
use crate::faults;

/// Messages that may wait for the coordinator, chunks of some thousand events each: bounds the memory of a snapshot and
/// sets its pace. Workers that check at the same moment may exceed it by one chunk each; none ever waits.
const MAX_QUEUED: usize = 64;

/// Unacknowledged chunks of a worker of another process.
const MAX_UNACKNOWLEDGED: usize = 8;

/// The snapshot state of one worker, shared by the graph and the command channel.
#[derive(Clone)]
pub(in crate::engine) struct SnapshotParticipant(Rc<RefCell<Participant>>);

struct Participant {
    route: Route,
    /// Number of a snapshot, and the groups to send for it.
    wanted: Option<(u64, Groups)>,
}

/// How messages get to the coordinator.
enum Route {
    /// It is in this process.
    Local(Sender<(Option<usize>, SnapshotMessage)>),
    /// It is in the process of worker 0, which forwards messages.
    Remote { outgoing: Vec<SnapshotMessage>, unacknowledged: usize },
}

impl SnapshotParticipant {
    /// `link`: to the coordinator, if it is in this process.
    pub(in crate::engine) fn new(link: Option<&SnapshotLink>) -> Self {
        let remote = || Route::Remote { outgoing: Vec::new(), unacknowledged: 0 };
        let route = link.map_or_else(remote, |link| Route::Local(link.requests.clone()));
        SnapshotParticipant(Rc::new(RefCell::new(Participant { route, wanted: None })))
    }

    /// Applies a message of the coordinator.
    pub(in crate::engine) fn apply(&self, message: SnapshotMessage) {
        let state = &mut *self.0.borrow_mut();
        match (message, &mut state.route) {
            (SnapshotMessage::Wanted { snapshot, groups }, _) => {
                let mut wanted = [false; KEY_GROUPS];
                for group in groups {
                    wanted[usize::from(group)] = true;
                }
                state.wanted = Some((snapshot, wanted));
            }
            (SnapshotMessage::Taken, Route::Remote { unacknowledged, .. }) => *unacknowledged -= 1,
            _ => {}
        }
    }

    /// Messages to send to worker 0.
    pub(in crate::engine) fn outgoing(&self) -> Vec<SnapshotMessage> {
        match &mut self.0.borrow_mut().route {
            Route::Local(_) => Vec::new(),
            Route::Remote { outgoing, .. } => std::mem::take(outgoing),
        }
    }

    fn send(&self, message: SnapshotMessage) {
        match &mut self.0.borrow_mut().route {
            // Sending fails only when the run is over.
            Route::Local(requests) => requests.send((None, message)).unwrap_or_default(),
            Route::Remote { outgoing, .. } => outgoing.push(message),
        }
    }
}

impl SnapshotSink<Event> for SnapshotParticipant {
    fn begin(&mut self, snapshot: u64, changed: &Groups) {
        faults::hit_infallible("graph.snapshot");
        let groups = (0..=u8::MAX).zip(changed).filter(|(_, changed)| **changed).map(|(group, _)| group).collect();
        self.send(SnapshotMessage::Changed { snapshot, groups });
    }

    fn wanted(&self, snapshot: u64) -> Option<Groups> {
        self.0.borrow().wanted.filter(|(wanted, _)| *wanted == snapshot).map(|(_, groups)| groups)
    }

    fn has_room(&self) -> bool {
        match &self.0.borrow().route {
            Route::Local(requests) => requests.len() < MAX_QUEUED,
            Route::Remote { unacknowledged, .. } => *unacknowledged < MAX_UNACKNOWLEDGED,
        }
    }

    fn push(&mut self, chunk: SnapshotChunk<Event>) {
        if let Route::Remote { unacknowledged, .. } = &mut self.0.borrow_mut().route {
            *unacknowledged += 1;
        }
        self.send(SnapshotMessage::Interactions(chunk));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, unbounded};

    use super::*;

    fn link() -> (SnapshotLink, Receiver<(Option<usize>, SnapshotMessage)>) {
        let (requests, received) = unbounded();
        (SnapshotLink { requests, replies: unbounded().1 }, received)
    }

    fn chunk() -> SnapshotChunk<Event> {
        SnapshotChunk { snapshot: 7, group: 0, rows: Vec::new(), last: false }
    }

    #[test]
    fn reports_changed_groups_and_sends_the_wanted_ones() {
        let (link, received) = link();
        let mut participants = [SnapshotParticipant::new(Some(&link)), SnapshotParticipant::new(None)];
        for participant in &mut participants {
            participant.begin(7, &std::array::from_fn(|group| [0, 63, 255].contains(&group)));
            assert!(participant.wanted(7).is_none());
        }
        let messages = [received.recv().unwrap().1, participants[1].outgoing().remove(0)];
        for (participant, message) in participants.iter().zip(messages) {
            assert!(matches!(message, SnapshotMessage::Changed { snapshot: 7, groups } if groups == [0, 63, 255]));
            participant.apply(SnapshotMessage::Wanted { snapshot: 7, groups: vec![0, 2, 255] });
            let wanted: Groups = std::array::from_fn(|group| [0, 2, 255].contains(&group));
            assert!(participant.wanted(7) == Some(wanted) && participant.wanted(8).is_none());
        }
    }

    #[test]
    fn has_no_room_while_too_many_chunks_are_queued() {
        let (link, received) = link();
        let mut local = SnapshotParticipant::new(Some(&link));
        for _ in 0..MAX_QUEUED {
            assert!(local.has_room());
            local.push(chunk());
        }
        assert!(!local.has_room());
        received.recv().unwrap();
        assert!(local.has_room());
    }

    #[test]
    fn sends_no_more_from_another_process_than_is_acknowledged() {
        let mut remote = SnapshotParticipant::new(None);
        for _ in 0..MAX_UNACKNOWLEDGED {
            assert!(remote.has_room());
            remote.push(chunk());
        }
        assert_eq!(remote.outgoing().len(), MAX_UNACKNOWLEDGED);
        assert!(!remote.has_room() && remote.outgoing().is_empty());
        remote.apply(SnapshotMessage::Taken);
        assert!(remote.has_room());
    }
}
