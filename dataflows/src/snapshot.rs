//! The interface between the graph and the program that stores snapshots.
//!
//! A snapshot of tick T consists of exactly the rows retained after T: events of the interactions operator, and
//! records of the catalogue. An operator continues to process its input while a snapshot is taken: what changes before
//! its turn is copied first (copy on write), and the rest is emitted in small chunks between ticks.

use serde::{Deserialize, Serialize};

/// A flag for each key group: of users ([`schema::key_group`]), or of items ([`schema::catalogue_group`]), of which
/// there are only the first [`schema::CATALOGUE_GROUPS`].
pub type Groups = [bool; schema::KEY_GROUPS];

/// Some rows of one key group as of the snapshot's tick: `D` is [`Event`](crate::Event) or
/// [`ItemRecord`](crate::ItemRecord).
///
/// The events of one user are in one chunk, except those that only a trending list retains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotChunk<D> {
    /// Number of the snapshot, as in [`Barrier::Snapshot`](crate::Barrier::Snapshot).
    pub snapshot: u64,
    /// The group.
    pub group: u8,
    /// What counts now or will count later: events with their scopes, or records of items.
    pub rows: Vec<D>,
    /// Whether this is the worker's last chunk of the group.
    pub last: bool,
}

/// Receives the snapshot chunks of one operator on one worker. The worker calls all methods between ticks, so none of
/// them may block.
pub trait SnapshotSink<D> {
    /// Begins a snapshot. `changed`: groups that changed on this worker since the tick that the snapshot is relative to.
    fn begin(&mut self, snapshot: u64, changed: &Groups);

    /// The groups to store: those that changed on any worker, because workers share the files of a group. `None` until all
    /// workers have reported.
    fn wanted(&self, snapshot: u64) -> Option<Groups>;

    /// Whether [`push`](SnapshotSink::push) may be called now.
    fn has_room(&self) -> bool;

    /// Takes a chunk. Chunks come in the order of their groups.
    fn push(&mut self, chunk: SnapshotChunk<D>);
}
