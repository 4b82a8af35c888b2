use serde::{Deserialize, Serialize};

/// One recommended item of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recommended {
    /// The product.
    pub item: String,
    /// Its total over all sources, source weights included. Comparable within one list only.
    pub score: i64,
}

/// A user's new list, sent only when its sequence of items differs from the last one sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// Whose list.
    pub user: String,
    /// The tick for which `items` is the list: milliseconds since the Unix epoch.
    pub at: u64,
    /// The whole list, best first; empty when the user has none any more.
    pub items: Vec<Recommended>,
    /// Items that were not in the list sent before, in the order of the new list.
    pub entered: Vec<String>,
    /// Items of the list sent before that are gone, in the order of the old list.
    pub left: Vec<String>,
}
