use schema::{IdMap, shrink_if_sparse};

use super::EligibilityChange;
use crate::ItemId;

/// Which items are eligible, as an operator downstream knows it.
#[derive(Debug, Default)]
pub(crate) struct EligibleItems {
    /// Whether an item is that has no record.
    others: bool,
    /// Items of which the opposite holds.
    exceptions: IdMap<()>,
}

impl EligibleItems {
    /// `others`: whether an item is eligible until there is a change of it.
    pub(crate) fn new(others: bool) -> Self {
        EligibleItems { others, exceptions: IdMap::default() }
    }

    pub(crate) fn apply(&mut self, EligibilityChange { item, eligible }: EligibilityChange) {
        if eligible == self.others {
            self.exceptions.remove(&item);
            shrink_if_sparse(&mut self.exceptions);
        } else {
            self.exceptions.insert(item, ());
        }
    }

    #[inline]
    pub(crate) fn contains(&self, item: ItemId) -> bool {
        self.others != self.exceptions.contains_key(&item)
    }
}
