//! The interface between the graph and the program that stores snapshots.
//!
//! A snapshot of tick T consists of exactly the events retained after T. The interactions operator continues to process
//! events while a snapshot is taken: a user that changes before its turn is copied first (copy on write), and the rest is
//! emitted in small chunks between ticks.

use serde::{Deserialize, Serialize};

use crate::Event;

/// A flag for each key group of users ([`schema::key_group`]).
pub type Groups = [bool; schema::KEY_GROUPS];

/// Some events of one key group as of the snapshot's tick.
///
/// The events of one user are in one chunk, except those that only a trending list retains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotChunk {
    /// Number of the snapshot, as in [`Barrier::Snapshot`](crate::Barrier::Snapshot).
    pub snapshot: u64,
    /// The group.
    pub group: u8,
    /// Events that count now or will count later, with their scopes.
    pub events: Vec<Event>,
    /// Whether this is the worker's last chunk of the group.
    pub last: bool,
}

/// Receives the snapshot chunks of one worker. The worker calls all methods between ticks, so none of them may block.
pub trait SnapshotSink {
    /// Begins a snapshot. `changed`: groups that changed on this worker since the tick that the snapshot is relative to.
    fn begin(&mut self, snapshot: u64, changed: &Groups);

    /// The groups to store: those that changed on any worker, because workers share the files of a group. `None` until all
    /// workers have reported.
    fn wanted(&self, snapshot: u64) -> Option<Groups>;

    /// Whether [`push`](SnapshotSink::push) may be called now.
    fn has_room(&self) -> bool;

    /// Takes a chunk. Chunks come in the order of their groups.
    fn push(&mut self, chunk: SnapshotChunk);
}
