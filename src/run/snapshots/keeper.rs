//! From the workers of a process to its thread that writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use dataflows::{GROUPS, Groups, Keeper, Piece};

/// Pieces under way, some thousand events each: the pace of the writing, and what it takes in memory. Workers that look
/// at the same moment may go beyond it by a piece each; none ever waits for a store.
const WAITING: usize = 64;

/// Makes the keepers of a process, one for each of its workers.
#[derive(Clone)]
pub(in crate::run) struct Keepers {
    pieces: Sender<Piece>,
    agreement: Arc<Mutex<Agreement>>,
}

/// What the workers hand over.
pub(in crate::run) struct Inbox {
    pub(super) pieces: Receiver<Piece>,
    agreement: Arc<Mutex<Agreement>>,
    pub(super) workers: usize,
}

/// The groups that the workers of a process hand over: a file has the events of all of them, so if one has changes all
/// take part.
struct Agreement {
    snapshot: u64,
    begun: usize,
    workers: usize,
    changed: Groups,
}

/// For a process of so many workers.
pub(in crate::run) fn keepers(workers: usize) -> (Keepers, Inbox) {
    let (sent, pieces) = unbounded();
    let agreement = Arc::new(Mutex::new(Agreement { snapshot: 0, begun: 0, workers, changed: [false; GROUPS] }));
    (Keepers { pieces: sent, agreement: Arc::clone(&agreement) }, Inbox { pieces, agreement, workers })
}

fn locked(agreement: &Mutex<Agreement>) -> MutexGuard<'_, Agreement> {
    agreement.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    /// The newest snapshot that all workers have begun, and its groups.
    pub(super) fn begun(&self) -> Option<(u64, Groups)> {
        let agreement = locked(&self.agreement);
        (agreement.begun == agreement.workers).then_some((agreement.snapshot, agreement.changed))
    }
}

impl Keeper for Keepers {
    fn begin(&mut self, snapshot: u64, changed: &Groups) {
        let mut agreement = locked(&self.agreement);
        if agreement.snapshot != snapshot {
            agreement.snapshot = snapshot;
            agreement.begun = 0;
            agreement.changed = [false; GROUPS];
        }
        agreement.begun += 1;
        for (group, changed) in agreement.changed.iter_mut().zip(changed) {
            *group |= changed;
        }
    }

    fn wanted(&self, snapshot: u64) -> Option<Groups> {
        let agreement = locked(&self.agreement);
        (agreement.snapshot == snapshot && agreement.begun == agreement.workers).then_some(agreement.changed)
    }

    fn has_room(&self) -> bool {
        self.pieces.len() < WAITING
    }

    fn keep(&mut self, piece: Piece) {
        // Nobody listens only when the run is over.
        self.pieces.send(piece).unwrap_or_default();
    }
}
