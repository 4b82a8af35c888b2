//! The updates of the output collections that follow from a changed history.

use super::history::Interaction;
use super::trends::WeightUpdates;
use crate::{Diff, Forgotten, ItemId, Level, ProfileItem, Time, UserId};

/// An item of a history before and after a tick.
pub(super) struct ItemChange {
    pub(super) item: ItemId,
    pub(super) old: Interaction,
    pub(super) new: Interaction,
}

impl ItemChange {
    /// Whether pairs with the item may count differently.
    fn affects_pairs(&self) -> bool {
        (self.old.level, self.old.touched) != (self.new.level, self.new.touched)
    }
}

/// What a pair of interactions of one user adds to the co-occurrence: the lower level, twice if both were touched less than
/// `near` apart.
fn share(a: Interaction, b: Interaction, near: u64) -> Diff {
    Diff::from(a.level.min(b.level)) << u32::from(a.touched.abs_diff(b.touched) < near)
}

/// Updates of one tick, by output.
#[derive(Default)]
pub(super) struct Updates {
    pub(super) time: Time,
    pub(super) history: Vec<((UserId, (ItemId, Level)), Time, Diff)>,
    pub(super) pairs: Vec<((ItemId, ItemId), Time, Diff)>,
    pub(super) traces: Vec<(ItemId, Time, Diff)>,
    pub(super) profiles: Vec<((UserId, ProfileItem), Time, Diff)>,
    pub(super) actions: Vec<UserId>,
    pub(super) forgotten: Vec<Forgotten>,
    pub(super) trends: WeightUpdates,
}

impl Updates {
    pub(super) fn len(&self) -> usize {
        self.history.len() + self.pairs.len() + self.traces.len() + self.profiles.len() + self.trends.len()
    }

    /// Adds the changes of the history and of all pairs in it. Reorders `items`.
    pub(super) fn push_interactions(&mut self, user: UserId, items: &mut [ItemChange], near: u64) {
        // Items with a change first, so that each pair with such an item is visited once.
        let mut changed = 0;
        for index in 0..items.len() {
            if items[index].affects_pairs() {
                items.swap(changed, index);
                changed += 1;
            }
        }
        for (index, a) in items[..changed].iter().enumerate() {
            if a.old.level != a.new.level {
                for (level, diff) in [(a.old.level, -1), (a.new.level, 1)] {
                    if level > 0 {
                        self.history.push(((user, (a.item, level)), self.time, diff));
                    }
                }
            }
            // All pairs (a, b) before all pairs (b, a): runs with one common item are counted faster.
            let first = self.pairs.len();
            for b in &items[index + 1..] {
                let diff = share(a.new, b.new, near) - share(a.old, b.old, near);
                if diff != 0 {
                    self.pairs.push(((a.item, b.item), self.time, diff));
                }
            }
            for at in first..self.pairs.len() {
                let ((a, b), time, diff) = self.pairs[at];
                self.pairs.push(((b, a), time, diff));
            }
        }
    }

    /// Adds the changes of what is known of items that are not in the history.
    pub(super) fn push_traces(&mut self, items: &[ItemChange]) {
        for ItemChange { item, old, new } in items {
            let diff = Diff::from(new.is_trace()) - Diff::from(old.is_trace());
            if diff != 0 {
                self.traces.push((*item, self.time, diff));
            }
        }
    }

    /// Adds the changes of the profile, which is emitted only while the user is in the audience.
    pub(super) fn push_profile(&mut self, user: UserId, items: &[ItemChange], was_in: bool, is_in: bool) {
        if !was_in && !is_in {
            return;
        }
        for ItemChange { item, old, new } in items {
            let old = old.profile_item(*item).filter(|_| was_in);
            let new = new.profile_item(*item).filter(|_| is_in);
            if old != new {
                self.profiles.extend(old.map(|old| ((user, old), self.time, -1)));
                self.profiles.extend(new.map(|new| ((user, new), self.time, 1)));
            }
        }
    }

    /// Adds an interaction and its retraction for an event that changes nothing. The event brought the name of an item, maybe
    /// one that no user has; this lets the item's worker notice and forget the name.
    pub(super) fn push_without_effect(&mut self, user: UserId, item: ItemId, level: Level) {
        let interaction = (user, (item, level));
        self.history.push((interaction, self.time, 1));
        self.history.push((interaction, self.time, -1));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Items with the time of the last touch and the level.
    type Model = BTreeMap<ItemId, (u64, Level)>;

    fn model() -> impl Strategy<Value = Model> {
        prop::collection::btree_map(0_u64..9, (0_u64..12, 1_u8..5), 0..7)
    }

    fn interaction(model: &Model, item: ItemId) -> Interaction {
        let of_item = model.get(&item).map(|(touched, level)| Interaction {
            touched: *touched,
            level: *level,
            ..Interaction::default()
        });
        of_item.unwrap_or_default()
    }

    fn shares(model: &Model, near: u64) -> BTreeMap<(ItemId, ItemId), Diff> {
        let pairs = model.iter().flat_map(|(a, of_a)| model.iter().map(move |(b, of_b)| (*a, *of_a, *b, *of_b)));
        let different = pairs.filter(|(a, _, b, _)| a != b);
        let share = |((at_a, level_a), (at_b, level_b)): ((u64, Level), (u64, Level))| {
            let least = Diff::from(level_a.min(level_b));
            if (at_a..at_a + near).contains(&at_b) || (at_b..at_b + near).contains(&at_a) { 2 * least } else { least }
        };
        different.map(|(a, of_a, b, of_b)| ((a, b), share((of_a, of_b)))).collect()
    }

    proptest! {
        /// Applied to the shares before, the pairs give those after; no pair comes twice.
        #[test]
        fn pairs_are_the_change_of_all_shares(before in model(), after in model(), near in 0_u64..6) {
            let mut changes: Vec<_> = (0..9)
                .map(|item| ItemChange { item, old: interaction(&before, item), new: interaction(&after, item) })
                .collect();
            let mut updates = Updates::default();
            updates.push_interactions(1, &mut changes, near);
            let mut counts = shares(&before, near);
            let mut seen: Vec<_> = updates.pairs.iter().map(|(pair, ..)| *pair).collect();
            seen.sort_unstable();
            prop_assert!(seen.windows(2).all(|two| two[0] != two[1]));
            for (pair, _, diff) in &updates.pairs {
                prop_assert!(*diff != 0);
                *counts.entry(*pair).or_default() += diff;
            }
            counts.retain(|_, count| *count != 0);
            prop_assert_eq!(counts, shares(&after, near));
        }
    }

    #[test]
    fn a_second_touch_moves_only_the_pairs_whose_distance_crosses_near() {
        let at = |touched| Interaction { touched, level: 3, ..Interaction::default() };
        let mut changes: Vec<_> = [(1, 0, 200), (2, 50, 50), (3, 150, 150), (4, 100, 100)]
            .map(|(item, old, new)| ItemChange { item, old: at(old), new: at(new) })
            .into();
        let mut updates = Updates::default();
        updates.push_interactions(7, &mut changes, 60);
        assert!(updates.history.is_empty());
        let pairs: Vec<_> = updates.pairs.iter().map(|(pair, _, diff)| (*pair, *diff)).collect();
        assert_eq!(pairs, [((1, 2), -3), ((1, 3), 3), ((2, 1), -3), ((3, 1), 3)]);
    }
}
