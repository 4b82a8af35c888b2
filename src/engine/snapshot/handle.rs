//! From the workers to the thread that writes. It is in the first process, where the names are; workers of other processes
//! send it what they hold through the first worker, a few pieces at a time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use dataflows::snapshot::{GROUPS, Groups, SnapshotChunk, SnapshotSink};
use serde::{Deserialize, Serialize};

/// Pieces under way, some thousand events each: the pace of the writing, and what it takes in memory. Workers that look
/// at the same moment may go beyond it by a piece each; none ever waits for a store.
const WAITING: usize = 64;

/// Pieces under way from a worker of another process.
const UNDER_WAY: usize = 8;

/// What the thread that writes is handed.
pub(in crate::engine) enum WriterCommand {
    /// A snapshot begins: pieces of these groups will come from every worker.
    Begins { snapshot: u64, wanted: GroupSet },
    /// One of them.
    SnapshotChunk(SnapshotChunk),
}

/// Where it is handed over.
pub(in crate::engine) fn writer_channel() -> (Sender<WriterCommand>, Receiver<WriterCommand>) {
    unbounded()
}

/// What workers tell each other about a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::engine) enum SnapshotMessage {
    /// To the first worker: what has changed here.
    Changed { snapshot: u64, groups: GroupSet },
    /// From the first worker: what has changed on any. A file has the events of all workers, so all take part.
    Wanted { snapshot: u64, groups: GroupSet },
    /// To the first worker, from another process: one more piece.
    SnapshotChunk(SnapshotChunk),
    /// From the first worker: it was passed on.
    Taken,
}

/// [`Groups`] as they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct GroupSet([u64; GROUPS / 64]);

impl From<&Groups> for GroupSet {
    fn from(groups: &Groups) -> Self {
        let mut flags = [0; GROUPS / 64];
        for (group, _) in groups.iter().enumerate().filter(|(_, set)| **set) {
            flags[group / 64] |= 1 << (group % 64);
        }
        GroupSet(flags)
    }
}

impl From<GroupSet> for Groups {
    fn from(GroupSet(flags): GroupSet) -> Self {
        std::array::from_fn(|group| flags[group / 64] >> (group % 64) & 1 == 1)
    }
}

/// One worker's keeper: its door's and its letters' side of it.
#[derive(Clone)]
pub(in crate::engine) struct SnapshotHandle(Rc<RefCell<HandleState>>);

struct HandleState {
    way: Route,
    /// To be told to the first worker.
    changed: Option<(u64, Groups)>,
    wanted: Option<(u64, Groups)>,
}

/// How pieces come to the thread that writes.
enum Route {
    /// It is in this process.
    Here(Sender<WriterCommand>),
    /// Through the first worker: pieces to be sent, and how many are not yet taken.
    Away { pieces: Vec<SnapshotChunk>, under_way: usize },
}

impl SnapshotHandle {
    /// `handed`: the way to the thread that writes, where it is in this process.
    pub(in crate::engine) fn new(handed: Option<Sender<WriterCommand>>) -> Self {
        let way = handed.map_or_else(|| Route::Away { pieces: Vec::new(), under_way: 0 }, Route::Here);
        SnapshotHandle(Rc::new(RefCell::new(HandleState { way, changed: None, wanted: None })))
    }

    /// Takes note of what the first worker says.
    pub(in crate::engine) fn hear(&self, word: &SnapshotMessage) {
        let papers = &mut *self.0.borrow_mut();
        match (word, &mut papers.way) {
            (SnapshotMessage::Wanted { snapshot, groups }, _) => {
                papers.wanted = Some((*snapshot, Groups::from(*groups)))
            }
            (SnapshotMessage::Taken, Route::Away { under_way, .. }) => *under_way -= 1,
            _ => {}
        }
    }

    /// What the first worker is to be told.
    pub(in crate::engine) fn say(&self) -> Vec<SnapshotMessage> {
        let papers = &mut *self.0.borrow_mut();
        let changed = papers.changed.take();
        let mut words: Vec<SnapshotMessage> = changed
            .iter()
            .map(|(snapshot, groups)| SnapshotMessage::Changed { snapshot: *snapshot, groups: groups.into() })
            .collect();
        if let Route::Away { pieces, .. } = &mut papers.way {
            words.extend(pieces.drain(..).map(SnapshotMessage::SnapshotChunk));
        }
        words
    }
}

impl SnapshotSink for SnapshotHandle {
    fn begin(&mut self, snapshot: u64, changed: &Groups) {
        self.0.borrow_mut().changed = Some((snapshot, *changed));
    }

    fn wanted(&self, snapshot: u64) -> Option<Groups> {
        self.0.borrow().wanted.filter(|(wanted, _)| *wanted == snapshot).map(|(_, groups)| groups)
    }

    fn has_room(&self) -> bool {
        match &self.0.borrow().way {
            Route::Here(handed) => handed.len() < WAITING,
            Route::Away { under_way, .. } => *under_way < UNDER_WAY,
        }
    }

    fn push(&mut self, piece: SnapshotChunk) {
        match &mut self.0.borrow_mut().way {
            // Nobody listens only when the run is over.
            Route::Here(handed) => handed.send(WriterCommand::SnapshotChunk(piece)).unwrap_or_default(),
            Route::Away { pieces, under_way } => {
                pieces.push(piece);
                *under_way += 1;
            }
        }
    }
}

/// The first worker's part: finds out what all workers are to hand over, and passes on what comes from other processes.
pub(in crate::engine) struct SnapshotAggregator {
    handed: Sender<WriterCommand>,
    workers: usize,
    snapshot: u64,
    begun: usize,
    changed: Groups,
    /// What is to be passed on, and the worker it is from.
    waiting: VecDeque<(usize, SnapshotChunk)>,
    /// What others are to be told.
    words: Vec<(usize, SnapshotMessage)>,
}

impl SnapshotAggregator {
    /// Of so many workers in all processes.
    pub(in crate::engine) fn new(handed: Sender<WriterCommand>, workers: usize) -> Self {
        let changed = [false; GROUPS];
        SnapshotAggregator {
            handed,
            workers,
            snapshot: 0,
            begun: 0,
            changed,
            waiting: VecDeque::new(),
            words: Vec::new(),
        }
    }

    pub(in crate::engine) fn hear(&mut self, from: usize, word: SnapshotMessage) {
        match word {
            SnapshotMessage::Changed { snapshot, groups } => self.begin(snapshot, groups.into()),
            SnapshotMessage::SnapshotChunk(piece) => self.waiting.push_back((from, piece)),
            SnapshotMessage::Wanted { .. } | SnapshotMessage::Taken => {}
        }
    }

    fn begin(&mut self, snapshot: u64, changed: Groups) {
        if self.snapshot != snapshot {
            (self.snapshot, self.begun, self.changed) = (snapshot, 0, [false; GROUPS]);
        }
        self.begun += 1;
        for (group, changed) in self.changed.iter_mut().zip(changed) {
            *group |= changed;
        }
        if self.begun == self.workers {
            // Before any worker hands over anything of it. The pieces of the one before have all been taken.
            let groups = GroupSet::from(&self.changed);
            self.handed.send(WriterCommand::Begins { snapshot, wanted: groups }).unwrap_or_default();
            self.words.extend((0..self.workers).map(|to| (to, SnapshotMessage::Wanted { snapshot, groups })));
        }
    }

    /// What others are to be told, once what came has been passed on as far as there is room.
    pub(in crate::engine) fn say(&mut self) -> Vec<(usize, SnapshotMessage)> {
        while self.handed.len() < WAITING
            && let Some((from, piece)) = self.waiting.pop_front()
        {
            // Nobody listens only when the run is over.
            self.handed.send(WriterCommand::SnapshotChunk(piece)).unwrap_or_default();
            self.words.push((from, SnapshotMessage::Taken));
        }
        std::mem::take(&mut self.words)
    }

    pub(in crate::engine) fn is_pressed(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(set: &[usize]) -> Groups {
        std::array::from_fn(|group| set.contains(&group))
    }

    #[test]
    fn flags_say_what_groups_say() {
        for set in [&[][..], &[0], &[63, 64, 255], &(0..GROUPS).collect::<Vec<_>>()] {
            assert_eq!(Groups::from(GroupSet::from(&groups(set))), groups(set));
        }
    }

    #[test]
    fn all_hand_over_what_changed_on_any() {
        let (sender, handed) = writer_channel();
        let mut clerk = SnapshotAggregator::new(sender.clone(), 2);
        let mut desks = [SnapshotHandle::new(Some(sender)), SnapshotHandle::new(None)];
        for (desk, changed) in desks.iter_mut().zip([groups(&[1]), groups(&[2, 200])]) {
            assert_eq!(clerk.say().len(), 0, "not before all have begun");
            desk.begin(7, &changed);
            desk.say().into_iter().for_each(|word| clerk.hear(0, word));
        }
        let told = clerk.say();
        assert_eq!(told.len(), 2);
        for (to, word) in &told {
            desks[*to].hear(word);
        }
        let all = groups(&[1, 2, 200]);
        assert!(desks.iter().all(|desk| desk.wanted(7) == Some(all) && desk.wanted(8).is_none()));
        assert!(
            matches!(handed.recv(), Ok(WriterCommand::Begins { snapshot: 7, wanted }) if wanted == GroupSet::from(&all))
        );
    }

    #[test]
    fn another_process_sends_no_more_than_is_taken() {
        let (sender, handed) = writer_channel();
        let mut clerk = SnapshotAggregator::new(sender, 2);
        let mut away = SnapshotHandle::new(None);
        let piece = SnapshotChunk { snapshot: 7, group: 0, events: Vec::new(), last: false };
        for _ in 0..WAITING / UNDER_WAY {
            while away.has_room() {
                away.push(piece.clone());
            }
            away.say().into_iter().for_each(|word| clerk.hear(1, word));
            clerk.say().into_iter().for_each(|(_, word)| away.hear(&word));
        }
        while away.has_room() {
            away.push(piece.clone());
        }
        away.say().into_iter().for_each(|word| clerk.hear(1, word));
        assert!(clerk.say().is_empty() && clerk.is_pressed() && !away.has_room(), "the thread has not taken any");
        handed.recv().unwrap();
        clerk.say().into_iter().for_each(|(_, word)| away.hear(&word));
        assert!(away.has_room());
    }
}
