//! Room to add up the candidates of one viewer after another.

use crate::ItemId;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    item: ItemId,
    total: i64,
    /// The round in which the slot was last used.
    round: u32,
}

/// A small open-addressing table that is emptied by starting another round. Ids are hashes already.
#[derive(Debug, Default)]
pub(super) struct Totals {
    slots: Vec<Slot>,
    used: Vec<u32>,
    round: u32,
}

impl Totals {
    /// Starts anew, with room for `candidates` different items.
    pub(super) fn restart(&mut self, candidates: usize) {
        let wanted = (2 * candidates).next_power_of_two();
        self.round = self.round.wrapping_add(1);
        if self.slots.len() < wanted || self.round == 0 {
            self.slots = vec![Slot::default(); wanted.max(self.slots.len())];
            self.round = 1;
        }
        self.used.clear();
    }

    #[inline]
    pub(super) fn add(&mut self, item: ItemId, total: i64) {
        let mask = self.slots.len() - 1;
        let mut at = (item >> 16) as usize & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.round != self.round {
                *slot = Slot { item, total, round: self.round };
                self.used.push(u32::try_from(at).expect("far fewer candidates than 2^32"));
                return;
            }
            if slot.item == item {
                slot.total = slot.total.saturating_add(total);
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// All items with their totals, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ItemId, i64)> {
        self.used.iter().map(|at| {
            let slot = &self.slots[*at as usize];
            (slot.item, slot.total)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_map_round_after_round(rounds in prop::collection::vec(prop::collection::vec((0_u64..40, 1_i64..9), 0..60), 1..5)) {
            let mut totals = Totals::default();
            for round in rounds {
                let mut expected = BTreeMap::new();
                totals.restart(round.len());
                for (item, total) in round {
                    totals.add(item << 16, total);
                    *expected.entry(item << 16).or_insert(0) += total;
                }
                prop_assert_eq!(totals.iter().collect::<BTreeMap<_, _>>(), expected);
            }
        }
    }
}
