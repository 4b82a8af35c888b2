use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::Time;

/// Multiplicity of an update.
pub type Diff = isize;

/// A differential collection of this graph. All of timely's and differential's types that the graph's interface
/// shows are named here, as their paths move with every release.
pub type Collection<'scope, D> = VecCollection<'scope, Time, D, Diff>;

/// The id64 of a user's name.
pub type UserId = u64;

/// The id64 of an item's name.
pub type ItemId = u64;

/// The id64 of the key of a trending list, which is sent as a user's is.
pub type Scope = UserId;

/// How much an interaction tells, 1 to 15.
pub type Level = u8;

/// What an interaction weighs in its user's profile: level times stair, 0 beyond the stairs.
pub type Weight = u32;

/// An item with the total of its contributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scored {
    /// The item.
    pub item: ItemId,
    /// Its total, source weights included.
    pub score: i64,
}

/// A user's list, best first.
pub type List = Vec<Scored>;

/// A name nothing is held of any more: its user has no event that counts, or no user has the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Forgotten {
    /// A user without state.
    User(UserId),
    /// An item without state.
    Item(ItemId),
}
