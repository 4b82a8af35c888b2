//! The updates of the output collections that follow from a changed history.

use super::history::Touch;
use super::trends::WeightUpdates;
use crate::{Config, Diff, Forgotten, ItemId, Level, Time, UserId, Weight};

/// An item of a history before and after a tick: rank and level, `None` if it is not in the history.
pub(super) struct ItemChange {
    pub(super) item: ItemId,
    pub(super) old: Option<(usize, Level)>,
    pub(super) new: Option<(usize, Level)>,
}

impl ItemChange {
    fn levels(&self) -> (Level, Level) {
        (self.old.map_or(0, |(_, level)| level), self.new.map_or(0, |(_, level)| level))
    }
}

/// Updates of one tick, by output.
#[derive(Default)]
pub(super) struct Updates {
    pub(super) time: Time,
    pub(super) history: Vec<((UserId, (ItemId, Level)), Time, Diff)>,
    pub(super) pairs: Vec<((ItemId, ItemId), Time, Diff)>,
    pub(super) profiles: Vec<((UserId, (ItemId, Weight)), Time, Diff)>,
    pub(super) audience_histories: Vec<((UserId, (ItemId, Level)), Time, Diff)>,
    pub(super) forgotten: Vec<Forgotten>,
    pub(super) trends: WeightUpdates,
}

impl Updates {
    pub(super) fn len(&self) -> usize {
        self.history.len() + self.pairs.len() + self.profiles.len() + self.audience_histories.len() + self.trends.len()
    }

    /// Adds the changes of the history and of all pairs in it. Reorders `items`.
    pub(super) fn push_interactions(&mut self, user: UserId, items: &mut [ItemChange]) {
        // Items with a changed level first, so that each pair with such an item is visited once.
        let mut changed = 0;
        for index in 0..items.len() {
            let (old, new) = items[index].levels();
            if old != new {
                items.swap(changed, index);
                changed += 1;
            }
        }
        for (index, a) in items[..changed].iter().enumerate() {
            let (old, new) = a.levels();
            if old > 0 {
                self.history.push(((user, (a.item, old)), self.time, -1));
            }
            if new > 0 {
                self.history.push(((user, (a.item, new)), self.time, 1));
            }
            // All pairs (a, b) before all pairs (b, a): runs with one common item are counted faster.
            let first = self.pairs.len();
            for b in &items[index + 1..] {
                let (b_old, b_new) = b.levels();
                let diff = Diff::from(new.min(b_new)) - Diff::from(old.min(b_old));
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

    /// Adds the changes of the profile, which is emitted only while the user is in the audience.
    pub(super) fn push_profile(
        &mut self,
        user: UserId,
        items: &[ItemChange],
        was_in: bool,
        is_in: bool,
        config: &Config,
    ) {
        let weight = |(rank, level): (usize, Level)| Weight::from(level) * config.rank_weight(rank);
        push_audience(&mut self.profiles, self.time, user, items, (was_in, is_in), weight);
    }

    /// Adds the changes of the history of a user in the audience.
    pub(super) fn push_audience_history(&mut self, user: UserId, items: &[ItemChange], was_in: bool, is_in: bool) {
        push_audience(&mut self.audience_histories, self.time, user, items, (was_in, is_in), |(_, level)| level);
    }

    /// Adds an interaction and its retraction for an event that changes nothing. The event brought the name of an item, maybe
    /// one that no user has; this lets the item's worker notice and forget the name.
    pub(super) fn push_without_effect(&mut self, user: UserId, touch: &Touch) {
        let interaction = (user, (touch.item, touch.level()));
        self.history.push((interaction, self.time, 1));
        self.history.push((interaction, self.time, -1));
    }
}

/// Adds the changes of a collection that has values of items while the user is in the audience.
fn push_audience<V: PartialEq>(
    updates: &mut Vec<((UserId, (ItemId, V)), Time, Diff)>,
    time: Time,
    user: UserId,
    items: &[ItemChange],
    (was_in, is_in): (bool, bool),
    value: impl Fn((usize, Level)) -> V,
) {
    if !was_in && !is_in {
        return;
    }
    for change in items {
        let old = change.old.filter(|_| was_in).map(&value);
        let new = change.new.filter(|_| is_in).map(&value);
        if old != new {
            updates.extend(old.map(|old| ((user, (change.item, old)), time, -1)));
            updates.extend(new.map(|new| ((user, (change.item, new)), time, 1)));
        }
    }
}
