//! Room to add up the candidates of one viewer after another.

use crate::dense::Dense;

/// Totals by item, all 0 between two uses.
#[derive(Debug, Default)]
pub(super) struct Totals {
    totals: Vec<i64>,
    /// Items with a total, each once.
    used: Vec<Dense>,
}

impl Totals {
    /// Makes room for items below `bound`.
    pub(super) fn reserve(&mut self, bound: usize) {
        if self.totals.len() < bound {
            self.totals.resize(bound, 0);
        }
    }

    /// Adds a contribution, which must be positive.
    #[inline]
    pub(super) fn add(&mut self, item: Dense, contribution: i64) {
        let total = &mut self.totals[item as usize];
        if *total == 0 {
            self.used.push(item);
        }
        *total += contribution;
    }

    /// Takes an item out.
    #[inline]
    pub(super) fn exclude(&mut self, item: Dense) {
        self.totals[item as usize] = 0;
    }

    /// All items with a total, leaving none.
    #[inline]
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Dense, i64)> {
        let totals = &mut self.totals;
        let drained = self.used.drain(..).map(|item| (item, std::mem::take(&mut totals[item as usize])));
        drained.filter(|(_, total)| *total > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_map_round_after_round(
            rounds in prop::collection::vec(
                (prop::collection::vec((0_u32..40, 1_i64..9), 0..60), prop::collection::vec(0_u32..40, 0..9)),
                1..5,
            ),
        ) {
            let mut totals = Totals::default();
            totals.reserve(40);
            for (round, excluded) in rounds {
                let mut expected = BTreeMap::new();
                for (item, contribution) in round {
                    totals.add(item, contribution);
                    *expected.entry(item).or_insert(0) += contribution;
                }
                for item in excluded {
                    totals.exclude(item);
                    expected.remove(&item);
                }
                prop_assert_eq!(totals.drain().collect::<BTreeMap<_, _>>(), expected);
            }
        }
    }
}
