//! What a snapshot takes out of the graph, and how.
//!
//! A snapshot at tick T is the events held after T, exactly. The door goes on while it is taken: a user that changes
//! before its turn is copied first (copy on write), and the rest is handed over in small pieces between ticks.

use serde::{Deserialize, Serialize};

use crate::{Event, Scope, UserId};

/// Key groups: users by the top eight bits of their id64, whatever the number of workers.
pub const GROUPS: usize = 256;

/// One flag for each key group.
pub type Groups = [bool; GROUPS];

/// The key group of a user.
pub fn group_of(user: UserId) -> u8 {
    (user >> 56) as u8
}

/// Some of the events of a key group as of the snapshot's tick, all those of a user together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotChunk {
    /// The snapshot, as [`Barrier::Snapshot`](crate::Barrier::Snapshot) numbered it.
    pub snapshot: u64,
    /// The group.
    pub group: u8,
    /// Events that count or will, levels and all.
    pub events: Vec<Event>,
    /// More of them, with the room they happened in: what trends there is made of them.
    pub in_rooms: Vec<(Event, Scope)>,
    /// Whether this was the worker's last piece of the group.
    pub last: bool,
}

/// Takes the pieces of one worker. All of it is called by the worker between ticks and must not wait.
pub trait SnapshotSink {
    /// A snapshot begins. `changed`: groups that changed on this worker since the tick the snapshot is measured from.
    fn begin(&mut self, snapshot: u64, changed: &Groups);

    /// The groups to be handed over: those that changed on any worker that shares their files. `None` while that is not
    /// known.
    fn wanted(&self, snapshot: u64) -> Option<Groups>;

    /// Whether a piece can be taken now.
    fn has_room(&self) -> bool;

    /// Takes a piece. Pieces come in the order of their groups.
    fn keep(&mut self, piece: SnapshotChunk);
}
