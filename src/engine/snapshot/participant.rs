//! Participation of one worker in snapshots: reports changed groups and sends the rows of wanted ones.

use std::cell::RefCell;
use std::rc::Rc;

use crossbeam_channel::Sender;
use dataflows::snapshot::{Groups, SnapshotChunk, SnapshotSink};
use dataflows::{ControlRecord, Event, ItemRecord};
use schema::KEY_GROUPS;
use snapshots::Kind;

use super::{Shard, SnapshotLink, SnapshotMessage};
use crate::faults;

/// Messages that may wait for the coordinator, chunks of some thousand events each: bounds the memory of a snapshot and
/// sets its pace. Workers that check at the same moment may exceed it by one chunk each; none ever waits.
const MAX_QUEUED: usize = 64;

/// Unacknowledged chunks of a worker of another process.
const MAX_UNACKNOWLEDGED: usize = 8;

/// The snapshot state of one worker, shared by the operators of the graph and the command channel.
#[derive(Clone)]
pub(in crate::engine) struct SnapshotParticipant(Rc<RefCell<Participant>>);

struct Participant {
    route: Route,
    /// Number of a snapshot, and the shards to send for it.
    wanted: Option<(u64, Vec<Shard>)>,
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
            (SnapshotMessage::Wanted { snapshot, shards }, _) => state.wanted = Some((snapshot, shards)),
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

    fn report_changed(&self, kind: Kind, snapshot: u64, changed: &Groups) {
        faults::hit_infallible("graph.snapshot");
        let changed = (0..=u8::MAX).zip(changed).filter(|(_, changed)| **changed);
        let shards = changed.map(|(group, _)| Shard { kind, group }).collect();
        self.send(SnapshotMessage::Changed { snapshot, shards });
    }

    fn wanted_groups(&self, kind: Kind, snapshot: u64) -> Option<Groups> {
        let state = self.0.borrow();
        let (_, shards) = state.wanted.as_ref().filter(|(wanted, _)| *wanted == snapshot)?;
        let mut groups = [false; KEY_GROUPS];
        for shard in shards.iter().filter(|shard| shard.kind == kind) {
            groups[usize::from(shard.group)] = true;
        }
        Some(groups)
    }

    fn can_send_rows(&self) -> bool {
        match &self.0.borrow().route {
            Route::Local(requests) => requests.len() < MAX_QUEUED,
            Route::Remote { unacknowledged, .. } => *unacknowledged < MAX_UNACKNOWLEDGED,
        }
    }

    fn send_rows(&self, message: SnapshotMessage) {
        if let Route::Remote { unacknowledged, .. } = &mut self.0.borrow_mut().route {
            *unacknowledged += 1;
        }
        self.send(message);
    }
}

impl SnapshotSink<Event> for SnapshotParticipant {
    fn begin(&mut self, snapshot: u64, changed: &Groups) {
        self.report_changed(Kind::Interactions, snapshot, changed);
    }

    fn wanted(&self, snapshot: u64) -> Option<Groups> {
        self.wanted_groups(Kind::Interactions, snapshot)
    }

    fn has_room(&self) -> bool {
        self.can_send_rows()
    }

    fn push(&mut self, chunk: SnapshotChunk<Event>) {
        self.send_rows(SnapshotMessage::Interactions(chunk));
    }
}

impl SnapshotSink<ItemRecord> for SnapshotParticipant {
    fn begin(&mut self, snapshot: u64, changed: &Groups) {
        self.report_changed(Kind::Catalogue, snapshot, changed);
    }

    fn wanted(&self, snapshot: u64) -> Option<Groups> {
        self.wanted_groups(Kind::Catalogue, snapshot)
    }

    fn has_room(&self) -> bool {
        self.can_send_rows()
    }

    fn push(&mut self, chunk: SnapshotChunk<ItemRecord>) {
        self.send_rows(SnapshotMessage::Catalogue(chunk));
    }
}

impl SnapshotSink<ControlRecord> for SnapshotParticipant {
    fn begin(&mut self, snapshot: u64, changed: &Groups) {
        self.report_changed(Kind::Controls, snapshot, changed);
    }

    fn wanted(&self, snapshot: u64) -> Option<Groups> {
        self.wanted_groups(Kind::Controls, snapshot)
    }

    fn has_room(&self) -> bool {
        self.can_send_rows()
    }

    fn push(&mut self, chunk: SnapshotChunk<ControlRecord>) {
        self.send_rows(SnapshotMessage::Controls(chunk));
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, unbounded};
    use schema::CATALOGUE_GROUPS;

    use super::*;

    fn link() -> (SnapshotLink, Receiver<(Option<usize>, SnapshotMessage)>) {
        let (requests, received) = unbounded();
        (SnapshotLink { requests, replies: unbounded().1 }, received)
    }

    fn events() -> SnapshotChunk<Event> {
        SnapshotChunk { snapshot: 7, group: 0, rows: Vec::new(), last: false }
    }

    fn shards(kind: Kind, groups: &[u8]) -> Vec<Shard> {
        groups.iter().map(|group| Shard { kind, group: *group }).collect()
    }

    /// What an operator with rows of type `D` does.
    fn sink<D>(participant: &mut SnapshotParticipant) -> &mut dyn SnapshotSink<D>
    where
        SnapshotParticipant: SnapshotSink<D>,
    {
        participant
    }

    #[test]
    fn reports_changed_groups_and_sends_the_wanted_ones() {
        let (link, received) = link();
        let mut participants = [SnapshotParticipant::new(Some(&link)), SnapshotParticipant::new(None)];
        for participant in &mut participants {
            let sink = sink::<Event>(participant);
            sink.begin(7, &std::array::from_fn(|group| [0, 63, 255].contains(&group)));
            assert!(sink.wanted(7).is_none());
        }
        let messages = [received.recv().unwrap().1, participants[1].outgoing().remove(0)];
        let changed = shards(Kind::Interactions, &[0, 63, 255]);
        for (participant, message) in participants.iter_mut().zip(messages) {
            assert!(matches!(message, SnapshotMessage::Changed { snapshot: 7, shards } if shards == changed));
            let shards = shards(Kind::Interactions, &[0, 2, 255]);
            participant.apply(SnapshotMessage::Wanted { snapshot: 7, shards });
            let wanted: Groups = std::array::from_fn(|group| [0, 2, 255].contains(&group));
            let sink = sink::<Event>(participant);
            assert!(sink.wanted(7) == Some(wanted) && sink.wanted(8).is_none());
        }
    }

    #[test]
    fn the_groups_of_one_kind_are_apart_from_those_of_another() {
        let (link, received) = link();
        let mut participant = SnapshotParticipant::new(Some(&link));
        sink::<ItemRecord>(&mut participant).begin(7, &std::array::from_fn(|group| group < CATALOGUE_GROUPS));
        let SnapshotMessage::Changed { shards: changed, .. } = received.recv().unwrap().1 else { panic!("no report") };
        assert_eq!(changed, shards(Kind::Catalogue, &(0..16).collect::<Vec<u8>>()));
        let mut wanted = shards(Kind::Interactions, &[1, 3]);
        wanted.extend(shards(Kind::Catalogue, &[3, 4]));
        wanted.extend(shards(Kind::Controls, &[3, 255]));
        participant.apply(SnapshotMessage::Wanted { snapshot: 7, shards: wanted });
        let groups = |wanted: Option<Groups>| -> Vec<usize> {
            wanted.unwrap().iter().enumerate().filter(|(_, wanted)| **wanted).map(|(group, _)| group).collect()
        };
        assert_eq!(groups(sink::<Event>(&mut participant).wanted(7)), [1, 3]);
        assert_eq!(groups(sink::<ItemRecord>(&mut participant).wanted(7)), [3, 4]);
        assert_eq!(groups(sink::<ControlRecord>(&mut participant).wanted(7)), [3, 255]);
        let chunk = SnapshotChunk { snapshot: 7, group: 3, rows: Vec::new(), last: true };
        sink::<ItemRecord>(&mut participant).push(chunk.clone());
        assert!(matches!(received.recv().unwrap().1, SnapshotMessage::Catalogue(sent) if sent == chunk));
        sink::<ControlRecord>(&mut participant).begin(7, &std::array::from_fn(|group| group == 255));
        let SnapshotMessage::Changed { shards: changed, .. } = received.recv().unwrap().1 else { panic!("no report") };
        assert_eq!(changed, shards(Kind::Controls, &[255]));
        let chunk = SnapshotChunk { snapshot: 7, group: 255, rows: Vec::new(), last: true };
        sink::<ControlRecord>(&mut participant).push(chunk.clone());
        assert!(matches!(received.recv().unwrap().1, SnapshotMessage::Controls(sent) if sent == chunk));
    }

    #[test]
    fn has_no_room_while_too_many_chunks_are_queued() {
        let (link, received) = link();
        let mut participant = SnapshotParticipant::new(Some(&link));
        let local = sink::<Event>(&mut participant);
        for _ in 0..MAX_QUEUED {
            assert!(local.has_room());
            local.push(events());
        }
        assert!(!local.has_room());
        received.recv().unwrap();
        assert!(local.has_room());
    }

    #[test]
    fn sends_no_more_from_another_process_than_is_acknowledged() {
        let mut remote = SnapshotParticipant::new(None);
        for _ in 0..MAX_UNACKNOWLEDGED {
            assert!(remote.can_send_rows());
            sink::<Event>(&mut remote).push(events());
        }
        assert_eq!(remote.outgoing().len(), MAX_UNACKNOWLEDGED);
        assert!(!remote.can_send_rows() && remote.outgoing().is_empty());
        remote.apply(SnapshotMessage::Taken);
        assert!(remote.can_send_rows());
    }
}
