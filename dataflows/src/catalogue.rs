//! The catalogue: what is stated of items.

use schema::Statement;
use serde::{Deserialize, Serialize};

use crate::ItemId;

/// A catalogue record as the graph takes it: validated, the name of its item to an id.
///
/// In a snapshot, where each row holds what is kept of an item and not what a record had, a record without a field stands for
/// the first time of its item: the least `ts` of its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// The item.
    pub item: ItemId,
    /// Milliseconds since the Unix epoch, below [`crate::MAX_MS`]. The record acts in its tick, or at its own timestamp if
    /// that is later.
    pub ts: u64,
    /// What it states.
    pub statement: Statement,
}
