//! The weighted rows of one viewer, and the items of its history without a weight.

use super::{Dense, load_lines};
use crate::{Diff, Weight};

/// The slot of a viewer that is not among the holders of a row.
const NOT_HELD: u32 = u32::MAX;

/// A row with a weight.
#[derive(Clone, Copy, Debug)]
struct Share {
    weight: Weight,
    /// Slot of the viewer among the holders of the row.
    slot: u32,
}

/// The items of a history, or similar users: rows with a weight first. Entries without a weight take five bytes.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    items: Vec<Dense>,
    /// Multiplicity of each item: 1, but 0 or 2 in the middle of a tick's updates.
    present: Vec<i8>,
    /// Weights and slots of the first items.
    shares: Vec<Share>,
}

/// A change of the holders of a row.
pub(crate) enum HolderChange {
    /// The viewer becomes a holder.
    Add(Dense),
    /// The viewer, in this slot, is no longer a holder.
    Remove(Dense, u32),
}

impl Profile {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Reserves exact capacity for new items.
    pub(crate) fn reserve(&mut self, items: usize) {
        self.items.reserve_exact(items);
        self.present.reserve_exact(items);
    }

    /// All items.
    pub(crate) fn items(&self) -> &[Dense] {
        &self.items
    }

    /// The items with a weight, and their weights.
    #[inline]
    pub(crate) fn weights(&self) -> impl Iterator<Item = (Dense, Weight)> {
        self.items.iter().copied().zip(self.shares.iter().map(|share| share.weight))
    }

    /// The weight of an item; 0 if it has none.
    #[inline]
    pub(crate) fn weight(&self, item: Dense) -> Weight {
        position_of(item, &self.items[..self.shares.len()]).map_or(0, |at| self.shares[at].weight)
    }

    /// The weight of a held item, and the slot of the viewer among its holders.
    pub(crate) fn share(&self, item: Dense) -> Option<(Weight, u32)> {
        let at = position_of(item, &self.items[..self.shares.len()])?;
        Some((self.shares[at].weight, self.shares[at].slot))
    }

    /// Applies an update. A retraction and an insertion add up to the new weight in any order. Returns whether the item
    /// is new.
    pub(crate) fn add(&mut self, item: Dense, weight: Weight, diff: Diff) -> bool {
        let known = position_of(item, &self.items);
        let mut at = known.unwrap_or(self.items.len());
        if known.is_none() {
            self.items.push(item);
            self.present.push(0);
        }
        self.present[at] = self.present[at].wrapping_add(diff as i8);
        if weight > 0 && at >= self.shares.len() {
            self.swap(at, self.shares.len());
            at = self.shares.len();
            self.shares.push(Share { weight: 0, slot: NOT_HELD });
        }
        if weight > 0 {
            let share = &mut self.shares[at];
            share.weight = share.weight.wrapping_add_signed(diff as i32 * weight.cast_signed());
        }
        known.is_none()
    }

    /// Loads what [`Profile::add`] reads, for [`prefetch`](super::prefetch).
    pub(crate) fn load(&self) -> Dense {
        load_lines(&self.shares, |share| share.weight) ^ load_lines(&self.items, |item| *item)
    }

    /// The items whose holders change by [`Profile::next_holder_change`].
    pub(crate) fn pending(&self) -> impl Iterator<Item = Dense> {
        let shares = self.items.iter().zip(&self.shares);
        shares.filter(|(_, share)| (share.weight == 0) == (share.slot != NOT_HELD)).map(|(item, _)| *item)
    }

    /// The next change of holders that follows from the updates. To be called until there is none. `cursor` starts at 0.
    pub(crate) fn next_holder_change(&mut self, cursor: &mut usize) -> Option<HolderChange> {
        while let Some(share) = self.shares.get(*cursor).copied() {
            let item = self.items[*cursor];
            if share.weight == 0 {
                let last = self.shares.len() - 1;
                self.swap(*cursor, last);
                self.shares.swap_remove(*cursor);
                if share.slot != NOT_HELD {
                    return Some(HolderChange::Remove(item, share.slot));
                }
            } else {
                *cursor += 1;
                if share.slot == NOT_HELD {
                    return Some(HolderChange::Add(item));
                }
            }
        }
        None
    }

    /// Drops the items that are no longer present. Calls `removed` for each.
    pub(crate) fn drop_removed(&mut self, mut removed: impl FnMut(Dense)) {
        let mut from = self.shares.len();
        while let Some(next) = self.present[from..].iter().position(|present| *present == 0) {
            from += next;
            self.present.swap_remove(from);
            removed(self.items.swap_remove(from));
        }
    }

    /// Sets the slot of the viewer among the holders of an item.
    pub(crate) fn set_slot(&mut self, item: Dense, slot: u32) {
        let at = position_of(item, &self.items[..self.shares.len()]);
        self.shares[at.expect("a holder has the item in its profile")].slot = slot;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.items.swap(a, b);
        self.present.swap(a, b);
    }
}

/// Position of an item. Free of branches, so that it compiles to vector instructions.
#[inline]
pub(crate) fn position_of(item: Dense, items: &[Dense]) -> Option<usize> {
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
        /// Several ticks, each with its updates in any order. The holder changes are exact.
        #[test]
        fn equals_a_map_with_updates_in_any_order(
            ticks in prop::collection::vec((prop::collection::vec((0_u32..20, 0_u32..3), 0..12), any::<u64>()), 1..12),
        ) {
            let mut profile = Profile::default();
            let mut model: BTreeMap<Dense, Weight> = BTreeMap::new();
            let mut held: BTreeSet<Dense> = BTreeSet::new();
            for (slot, (entries, mut random)) in (0_u32..).zip(ticks) {
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
                let mut cursor = 0;
                while let Some(change) = profile.next_holder_change(&mut cursor) {
                    match change {
                        HolderChange::Add(item) => {
                            prop_assert!(held.insert(item));
                            profile.set_slot(item, slot);
                        }
                        HolderChange::Remove(item, removed) => {
                            prop_assert!(held.remove(&item) && removed <= slot);
                        }
                    }
                }
                profile.drop_removed(|item| assert!(known.remove(&item)));
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
