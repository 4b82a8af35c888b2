//! Reusable memory in which the candidates of one viewer after another are summed up.

use super::Dense;

/// Start value of an item that must not be listed: no sum of contributions makes it positive.
const EXCLUDED: i64 = i64::MIN / 2;

/// Totals by item, all 0 between two uses.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    totals: Vec<i64>,
    /// Items with a total, each once, in the first `used_len` slots. One slot more than items, as [`Totals::add`] writes
    /// before it knows whether an item is new.
    used: Vec<Dense>,
    used_len: usize,
}

impl Totals {
    /// Allocates memory for items below `bound`.
    pub(crate) fn reserve(&mut self, bound: usize) {
        if self.totals.len() < bound {
            self.totals.resize(bound, 0);
            self.used.resize(bound + 1, 0);
        }
    }

    /// Excludes items. Must be called before any contribution is added to them.
    pub(crate) fn exclude(&mut self, items: impl Iterator<Item = Dense>) {
        self.add(items.map(|item| (item, EXCLUDED)));
    }

    /// Adds contributions. None of them may be 0.
    #[inline]
    pub(crate) fn add(&mut self, contributions: impl Iterator<Item = (Dense, i64)>) {
        // Branchless: whether an item is new is unpredictable, so a branch would be mispredicted half of the time.
        let (totals, used) = (self.totals.as_mut_slice(), self.used.as_mut_slice());
        for (item, contribution) in contributions {
            let total = &mut totals[item as usize];
            used[self.used_len] = item;
            self.used_len += usize::from(*total == 0);
            *total += contribution;
        }
    }

    /// Takes out all items with a total that are not excluded, and resets the totals to 0.
    #[inline]
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Dense, i64)> {
        let used = &self.used[..std::mem::take(&mut self.used_len)];
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
        fn equals_a_map_in_every_round(
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
                prop_assert_eq!(totals.drain().collect::<BTreeMap<_, _>>(), expected);
            }
        }
    }
}
