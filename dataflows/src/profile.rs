//! What a viewer holds: rows with what they weigh, and items that were only seen.

use crate::dense::Dense;
use crate::{Diff, Weight};

/// Not among the holders.
pub(crate) const NO_PLACE: u32 = u32::MAX;

/// What is known of an item of the profile.
#[derive(Clone, Copy, Debug)]
struct Share {
    weight: Weight,
    /// The viewer's place among the item's holders.
    place: u32,
}

/// The items of a history. Those that weigh something come first, as the others need far less: an item that was only
/// seen takes five bytes.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    items: Vec<Dense>,
    /// How often each item is there: once, or not at all or twice amid a tick's updates.
    present: Vec<i8>,
    /// Of the first items.
    shares: Vec<Share>,
}

/// What is to be done about an item's holders.
pub(crate) enum Holding {
    /// The viewer is one from now on.
    Begins(Dense),
    /// It is one no longer; its place among them.
    Ends(Dense, u32),
}

impl Profile {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Makes room for so many more items.
    pub(crate) fn reserve(&mut self, items: usize) {
        self.items.reserve_exact(items);
        self.present.reserve_exact(items);
    }

    /// All items.
    pub(crate) fn items(&self) -> &[Dense] {
        &self.items
    }

    /// The items that weigh something, and what.
    #[inline]
    pub(crate) fn weights(&self) -> impl Iterator<Item = (Dense, Weight)> {
        self.items.iter().copied().zip(self.shares.iter().map(|share| share.weight))
    }

    /// What an item weighs.
    #[inline]
    pub(crate) fn weight(&self, item: Dense) -> Weight {
        place_of(item, &self.items[..self.shares.len()]).map_or(0, |at| self.shares[at].weight)
    }

    /// What an item weighs, and the viewer's place among its holders; to be asked of held items only.
    pub(crate) fn share(&self, item: Dense) -> Option<(Weight, u32)> {
        let at = place_of(item, &self.items[..self.shares.len()])?;
        Some((self.shares[at].weight, self.shares[at].place))
    }

    /// Adds an update: a weight taken back and one put in its place make the new weight, in whatever order they come.
    /// Returns whether the item was not there before.
    pub(crate) fn add(&mut self, item: Dense, weight: Weight, diff: Diff) -> bool {
        let known = place_of(item, &self.items);
        let mut at = known.unwrap_or(self.items.len());
        if known.is_none() {
            self.items.push(item);
            self.present.push(0);
        }
        self.present[at] = self.present[at].wrapping_add(diff as i8);
        if weight > 0 && at >= self.shares.len() {
            self.swap(at, self.shares.len());
            at = self.shares.len();
            self.shares.push(Share { weight: 0, place: NO_PLACE });
        }
        if weight > 0 {
            let share = &mut self.shares[at];
            share.weight = share.weight.wrapping_add_signed(diff as i32 * weight.cast_signed());
        }
        known.is_none()
    }

    /// Reads what [`Profile::add`] will read, a cache line at a time.
    pub(crate) fn peek(&self) -> Dense {
        let shares = self.shares.iter().step_by(64 / size_of::<Share>()).fold(0, |seen, share| seen ^ share.weight);
        self.items.iter().step_by(64 / size_of::<Dense>()).fold(shares, |seen, item| seen ^ item)
    }

    /// The items whose holders [`Profile::next_holding`] will change.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Dense> {
        let shares = self.items.iter().zip(&self.shares);
        shares.filter(|(_, share)| (share.weight == 0) == (share.place != NO_PLACE)).map(|(item, _)| *item)
    }

    /// What the updates since the last call mean for the holders of the items: called until there is nothing more.
    /// `from`: 0 at first, and left where to go on.
    pub(crate) fn next_holding(&mut self, from: &mut usize) -> Option<Holding> {
        while let Some(share) = self.shares.get(*from).copied() {
            let item = self.items[*from];
            if share.weight == 0 {
                let last = self.shares.len() - 1;
                self.swap(*from, last);
                self.shares.swap_remove(*from);
                if share.place != NO_PLACE {
                    return Some(Holding::Ends(item, share.place));
                }
            } else {
                *from += 1;
                if share.place == NO_PLACE {
                    return Some(Holding::Begins(item));
                }
            }
        }
        None
    }

    /// Drops the items that are not there any more.
    pub(crate) fn drop_gone(&mut self, mut gone: impl FnMut(Dense)) {
        let mut from = self.shares.len();
        while let Some(next) = self.present[from..].iter().position(|present| *present == 0) {
            from += next;
            self.present.swap_remove(from);
            gone(self.items.swap_remove(from));
        }
    }

    /// The viewer's place among the holders of an item of the profile is this.
    pub(crate) fn put(&mut self, item: Dense, place: u32) {
        let at = place_of(item, &self.items[..self.shares.len()]);
        self.shares[at.expect("a holder has the item in its profile")].place = place;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.items.swap(a, b);
        self.present.swap(a, b);
    }
}

/// Where an item is. No branch depends on it, so that several items are looked at a time.
#[inline]
pub(crate) fn place_of(item: Dense, items: &[Dense]) -> Option<usize> {
    let places = items.iter().zip(1_u32..);
    let place = places.fold(0, |found, (other, place)| found | if *other == item { place } else { 0 });
    (place as usize).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Tick after tick, each tick's updates in any order; the holders are told exactly what changes for them.
        #[test]
        fn equals_a_map_with_updates_in_any_order(
            ticks in prop::collection::vec((prop::collection::vec((0_u32..20, 0_u32..3), 0..12), any::<u64>()), 1..12),
        ) {
            let mut profile = Profile::default();
            let mut model: BTreeMap<Dense, Weight> = BTreeMap::new();
            let mut held: BTreeSet<Dense> = BTreeSet::new();
            for (place, (entries, mut random)) in (0_u32..).zip(ticks) {
                let new: BTreeMap<Dense, Weight> = entries.into_iter().collect();
                let mut updates: Vec<(Dense, Weight, Diff)> = Vec::new();
                updates.extend(model.iter().map(|(item, weight)| (*item, *weight, -1)));
                updates.extend(new.iter().map(|(item, weight)| (*item, *weight, 1)));
                for at in (1..updates.len()).rev() {
                    random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    updates.swap(at, (random >> 33) as usize % (at + 1));
                }
                let mut known: BTreeSet<Dense> = model.keys().copied().collect();
                for (item, weight, diff) in updates {
                    prop_assert_eq!(profile.add(item, weight, diff), known.insert(item));
                }
                let mut from = 0;
                while let Some(holding) = profile.next_holding(&mut from) {
                    match holding {
                        Holding::Begins(item) => {
                            prop_assert!(held.insert(item));
                            profile.put(item, place);
                        }
                        Holding::Ends(item, ended) => {
                            prop_assert!(held.remove(&item) && ended <= place);
                        }
                    }
                }
                profile.drop_gone(|item| assert!(known.remove(&item)));
                prop_assert_eq!(known, new.keys().copied().collect());
                let weighing: BTreeMap<_, _> = profile.weights().collect();
                let expected: BTreeMap<_, _> = new.iter().map(|(i, w)| (*i, *w)).filter(|(_, w)| *w > 0).collect();
                prop_assert_eq!(&weighing, &expected);
                prop_assert_eq!(held.iter().copied().collect::<Vec<_>>(), expected.into_keys().collect::<Vec<_>>());
                prop_assert_eq!(profile.items().iter().copied().collect::<BTreeSet<_>>(), new.keys().copied().collect());
                prop_assert!(new.iter().all(|(item, weight)| profile.weight(*item) == *weight));
                model = new;
            }
        }
    }
}
