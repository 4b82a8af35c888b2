//! Scratch space to add up the candidates of one viewer after another.

use super::Dense;

/// Initial total of an excluded item: no sum makes up for it.
const EXCLUDED: i64 = i64::MIN / 2;

/// Totals by item. All are 0 between two uses.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    totals: Vec<i64>,
    /// Items with a total, each once, and one unused slot at the end.
    used: Vec<Dense>,
    /// Number of items with a total.
    len: usize,
}

impl Totals {
    /// Grows the tables for items below `bound`.
    pub(crate) fn reserve(&mut self, bound: usize) {
        if self.totals.len() < bound {
            self.totals.resize(bound, 0);
            self.used.resize(bound + 1, 0);
        }
    }

    /// Excludes items. Must precede all contributions.
    pub(crate) fn exclude(&mut self, items: impl Iterator<Item = Dense>) {
        self.add(items.map(|item| (item, EXCLUDED)));
    }

    /// Adds contributions. None of them may be 0.
    #[inline]
    pub(crate) fn add(&mut self, contributions: impl Iterator<Item = (Dense, i64)>) {
        // Free of branches: a branch on the first contribution would be mispredicted half of the time.
        let (totals, used) = (self.totals.as_mut_slice(), self.used.as_mut_slice());
        for (item, contribution) in contributions {
            let total = &mut totals[item as usize];
            used[self.len] = item;
            self.len += usize::from(*total == 0);
            *total += contribution;
        }
    }

    /// The total of an item so far; 0 if it is excluded.
    pub(crate) fn get(&self, item: Dense) -> i64 {
        self.totals.get(item as usize).map_or(0, |total| (*total).max(0))
    }

    /// Removes all totals and returns those above 0.
    #[inline]
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Dense, i64)> {
        let used = &self.used[..std::mem::take(&mut self.len)];
        let totals = &mut self.totals;
        let drained = used.iter().map(|item| (*item, std::mem::take(&mut totals[*item as usize])));
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
                (prop::collection::vec((0_u32..40, 1_i64..9), 0..60), prop::collection::hash_set(0_u32..40, 0..9)),
                1..5,
            ),
        ) {
            let mut totals = Totals::default();
            totals.reserve(40);
            for (round, excluded) in rounds {
                let mut expected = BTreeMap::new();
                totals.exclude(excluded.iter().copied());
                totals.add(round.iter().copied());
                for (item, contribution) in round {
                    *expected.entry(item).or_insert(0) += contribution;
                }
                for item in excluded {
                    expected.remove(&item);
                }
                prop_assert!((0..40).all(|item| totals.get(item) == expected.get(&item).copied().unwrap_or(0)));
                prop_assert_eq!(totals.drain().collect::<BTreeMap<_, _>>(), expected);
            }
        }
    }
}
