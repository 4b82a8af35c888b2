//! The vocabulary of the graph: ids, lists, collections.

use std::num::NonZeroU64;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::Time;

/// Multiplicity of an update.
pub type Diff = isize;

/// A differential collection of this graph.
///
/// The types of timely and differential that appear in the interface of the graph are named here, because their paths
/// change between releases.
pub type Collection<'scope, D> = VecCollection<'scope, Time, D, Diff>;

/// The id64 of a user's name.
pub type UserId = u64;

/// The id64 of an item's name.
pub type ItemId = u64;

/// Strength of an interaction, 1 to 15.
pub type Level = u8;

/// Weight of an interaction in its user's profile: level times stair, 0 beyond the profile.
pub type Weight = u32;

/// An item that is not recommended to a user: one of the history, and what it means in the profile, or one that is kept
/// out. Items beyond the profile have neither level nor stair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProfileItem {
    /// The item.
    pub item: ItemId,
    /// Level of the interaction; 0 beyond the profile.
    pub level: Level,
    /// Factor of its basket rank, a power of two up to 2^15; 0 beyond the profile.
    pub stair: u16,
}

impl ProfileItem {
    /// Whether the item is in the profile.
    pub fn is_in_profile(&self) -> bool {
        self.stair > 0
    }

    /// The weight of the item in the profile.
    pub fn weight(&self) -> Weight {
        Weight::from(self.level) * Weight::from(self.stair)
    }
}

/// A room with a trending list of its own, as an id64. `Option<Scope>` takes 8 bytes; `None` is the scope of all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope(NonZeroU64);

impl Scope {
    /// The scope with this id64. 0 becomes 1: one more possible collision among 2^64 ids.
    pub fn new(id: u64) -> Self {
        Scope(NonZeroU64::new(id).unwrap_or(NonZeroU64::MIN))
    }

    /// The id64.
    pub fn id(self) -> u64 {
        self.0.get()
    }
}

/// The owner of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ListKey {
    /// A user's personal list.
    User(UserId),
    /// The trending list of a room.
    Room(Scope),
    /// The trending list of all events.
    Everywhere,
}

impl ListKey {
    /// The trending list of a scope.
    pub fn trending(scope: Option<Scope>) -> Self {
        scope.map_or(ListKey::Everywhere, ListKey::Room)
    }

    /// The id that chooses the worker on which the list is computed.
    pub(crate) fn placement(self) -> u64 {
        match self {
            ListKey::User(user) => user,
            ListKey::Room(scope) => scope.id(),
            ListKey::Everywhere => 0,
        }
    }
}

/// An item with its total score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scored {
    /// The item.
    pub item: ItemId,
    /// Sum of all contributions, multiplied by the weights of their sources.
    pub score: i64,
}

/// One of the terms that add up to the score of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListReason {
    /// Where the term comes from.
    pub source: ReasonSource,
    /// The term: similarity times weights.
    pub points: i64,
}

/// Where a term of a score comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReasonSource {
    /// It is similar to this item of the user's history.
    Item(ItemId),
    /// So many similar users have it.
    Users(u32),
    /// A `less` of the user, which takes three quarters away.
    Less,
}

/// A list, best item first.
pub type List = Vec<Scored>;

/// A name without state: the user has no event that counts, no user has the item, or the catalogue does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Forgotten {
    /// A user without state.
    User(UserId),
    /// An item that is in no history.
    Item(ItemId),
    /// An item of which the catalogue keeps nothing.
    CatalogueItem(ItemId),
}
