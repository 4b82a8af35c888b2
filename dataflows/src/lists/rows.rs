//! The rows that this worker subscribes to, and when they changed.

use crate::operators::{Dense, Ids, load_lines, slot_mut};
use crate::{Diff, ItemId, Level, Logarithm, Time, UserId, ms_of};

/// Ids with a small value each: a similarity to 1,024, or a level to 15.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    ids: Vec<Dense>,
    values: Vec<u16>,
}

impl Pairs {
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Dense, u16)> {
        self.ids.iter().copied().zip(self.values.iter().copied())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Loads what [`Pairs::iter`] reads, for [`prefetch`](crate::operators::prefetch).
    pub(super) fn load(&self) -> u32 {
        load_lines(&self.ids, |id| *id) ^ load_lines(&self.values, |value| u32::from(*value))
    }

    /// Applies an update. A retraction and an insertion add up to the new value in any order. Returns by how much the number of
    /// ids changed.
    fn update(&mut self, id: Dense, value: u16, diff: Diff) -> Diff {
        let at = self.ids.iter().position(|other| *other == id);
        let old = at.map_or(0, |at| self.values[at]);
        let new = if diff > 0 { old.wrapping_add(value) } else { old.wrapping_sub(value) };
        match (at, new) {
            (Some(at), 0) => {
                self.ids.swap_remove(at);
                self.values.swap_remove(at);
                -1
            }
            (Some(at), _) => {
                self.values[at] = new;
                0
            }
            (None, _) => {
                self.ids.push(id);
                self.values.push(new);
                1
            }
        }
    }
}

/// The row of an item or of a user.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Of an item: its similar items with their similarities. Of a user: the items of the history with their levels.
    pub(super) candidates: Pairs,
    /// Of an item: the users of its sample with their levels. Of a user: the items that sample the user.
    pub(super) sample: Pairs,
    /// Of a user: the sum of the levels of the history.
    levels: u32,
    /// Number of viewers and rows that refer to the item or user.
    references: u32,
}

/// Rows by item and by user.
#[derive(Debug)]
pub(super) struct Rows {
    ids: Ids,
    rows: Vec<Row>,
    /// By item: the last tick in which something changed that a list with the item in its profile depends on. Apart from the
    /// rows, because it is all that a boundary reads of most of them.
    changed: Vec<Time>,
    /// By item: the slots of [`Rows::slot`] with such a change, as bits. Bit 0 is the slot of the last one, bit 1 the slot before.
    slots: Vec<u64>,
    /// Milliseconds of a slot.
    slot: u64,
    /// By user: the fine logarithm of the activity. Apart from the rows, because it is all that an evaluation reads of most users
    /// with whom it compares.
    activities: Vec<u32>,
    /// Users whose history changed in this tick.
    touched: Vec<Dense>,
    /// Items and users that may have lost their last reference.
    release: Vec<Dense>,
}

impl Rows {
    /// `refresh`: milliseconds from one boundary of a viewer to the next. All 64 slots are twice as long, because a run that is
    /// late evaluates less often.
    pub(super) fn new(refresh: u64) -> Self {
        let (ids, rows, changed, slots, activities, touched, release) = Default::default();
        let slot = refresh.div_ceil(32).max(1);
        Rows { ids, rows, changed, slots, slot, activities, touched, release }
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    #[inline]
    pub(super) fn get(&self, row: Dense) -> &Row {
        &self.rows[row as usize]
    }

    /// The last tick in which something changed that a list with the item in its profile depends on.
    #[inline]
    pub(super) fn last_change(&self, item: Dense) -> Time {
        self.changed[item as usize]
    }

    /// The millisecond of the first change after `time`, rounded down to a slot; `None` if there is none. Changes in the slot of
    /// `time` itself count only if there are no later ones: most of them came before.
    pub(super) fn first_change_after(&self, item: Dense, time: Time) -> Option<u64> {
        let last = self.changed[item as usize];
        if last <= time {
            return None;
        }
        let last_slot = ms_of(last) / self.slot;
        let later = u32::try_from(last_slot - ms_of(time) / self.slot).unwrap_or(u32::MAX).min(u64::BITS);
        let Some(unused) = u64::BITS.checked_sub(later).filter(|unused| *unused < u64::BITS) else {
            return Some(ms_of(last));
        };
        let first = later - 1 - (self.slots[item as usize] << unused).leading_zeros();
        Some((last_slot - u64::from(first)) * self.slot)
    }

    /// Records that something changed in this tick that a list with the item in its profile depends on.
    fn mark_changed(&mut self, item: Dense, tick: Time) {
        let (changed, slots) = (&mut self.changed[item as usize], &mut self.slots[item as usize]);
        if *changed != tick {
            let later = u32::try_from(ms_of(tick) / self.slot - ms_of(*changed) / self.slot).unwrap_or(u32::MAX);
            *slots = slots.checked_shl(later).unwrap_or(0) | 1;
            *changed = tick;
        }
    }

    /// The fine logarithm of the activity of a user whose history is known here.
    #[inline]
    pub(super) fn activity(&self, user: Dense) -> u32 {
        self.activities[user as usize]
    }

    pub(super) fn intern(&mut self, item: ItemId) -> Dense {
        let dense = self.ids.intern(item);
        self.reserve(dense)
    }

    pub(super) fn intern_user(&mut self, user: UserId) -> Dense {
        let dense = self.ids.intern_user(user);
        self.reserve(dense)
    }

    fn reserve(&mut self, dense: Dense) -> Dense {
        slot_mut(&mut self.rows, dense);
        slot_mut(&mut self.changed, dense);
        slot_mut(&mut self.slots, dense);
        slot_mut(&mut self.activities, dense);
        dense
    }

    /// Applies an update of the similarity of two items.
    pub(super) fn update_similar(&mut self, item: ItemId, other: ItemId, similarity: u16, diff: Diff, tick: Time) {
        let (row, other) = (self.intern(item), self.intern(other));
        self.update_candidate(row, other, similarity, diff);
        self.mark_changed(row, tick);
    }

    /// Applies an update of the history of a user.
    pub(super) fn update_history(&mut self, user: UserId, item: ItemId, level: Level, diff: Diff) {
        let (row, item) = (self.intern_user(user), self.intern(item));
        self.update_candidate(row, item, level.into(), diff);
        let levels = &mut self.rows[row as usize].levels;
        *levels = if diff > 0 { levels.wrapping_add(level.into()) } else { levels.wrapping_sub(level.into()) };
        if self.touched.last() != Some(&row) {
            self.touched.push(row);
        }
    }

    /// Applies an update of the sample of an item.
    pub(super) fn update_sample(&mut self, item: ItemId, user: UserId, level: Level, diff: Diff, tick: Time) {
        let (item, user) = (self.intern(item), self.intern_user(user));
        for (row, other) in [(item, user), (user, item)] {
            let sample = &mut self.rows[row as usize].sample;
            sample.update(other, level.into(), diff);
            if sample.is_empty() {
                self.release.push(row);
            }
        }
        self.mark_changed(item, tick);
    }

    /// Marks the items that sample a user whose history changed. They are at most a history, whatever the popularity, and no
    /// viewer is touched.
    pub(super) fn finish_updates(&mut self, tick: Time, highest_stair: u32, logarithm: &Logarithm) {
        while let Some(user) = self.touched.pop() {
            let row = &self.rows[user as usize];
            self.activities[user as usize] = logarithm.fine(u64::from(highest_stair) * u64::from(row.levels));
            for at in 0..row.sample.ids.len() {
                self.mark_changed(self.rows[user as usize].sample.ids[at], tick);
            }
        }
    }

    fn update_candidate(&mut self, row: Dense, candidate: Dense, value: u16, diff: Diff) {
        let candidates = &mut self.rows[row as usize].candidates;
        let change = candidates.update(candidate, value, diff);
        if candidates.is_empty() {
            self.release.push(row);
        }
        match change {
            1 => self.add_reference(candidate),
            -1 => self.remove_reference(candidate),
            _ => {}
        }
    }

    /// Counts a reference to an item or a user.
    pub(super) fn add_reference(&mut self, row: Dense) {
        self.rows[row as usize].references += 1;
    }

    /// Removes a reference to an item or a user.
    pub(super) fn remove_reference(&mut self, row: Dense) {
        let references = &mut self.rows[row as usize].references;
        *references -= 1;
        if *references == 0 {
            self.release.push(row);
        }
    }

    /// Releases items and users without references. Must run at the end of a tick: until then the same ids may come back.
    pub(super) fn release(&mut self) {
        for dense in self.release.drain(..) {
            let row = &mut self.rows[dense as usize];
            if row.references == 0 && row.candidates.is_empty() && row.sample.is_empty() {
                *row = Row::default();
                (self.changed[dense as usize], self.slots[dense as usize]) = (0, 0);
                self.activities[dense as usize] = 0;
                self.ids.release(dense);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::first_of;

    proptest! {
        /// Compares with a list of all changes, as far back as the slots reach.
        #[test]
        fn finds_the_first_change_after_a_time(
            refresh in prop::sample::select(vec![0_u64, 1, 15, 64, 160, 1_000]),
            gaps in prop::collection::vec(0_u64..120, 1..60),
            after in 0_u64..7_000,
        ) {
            let mut rows = Rows::new(refresh);
            let item = rows.intern(7);
            let mut changes = Vec::new();
            for gap in gaps {
                changes.push(changes.last().map_or(1_000, |last| last + gap));
                rows.mark_changed(item, first_of(changes[changes.len() - 1]));
            }
            let first = changes.iter().find(|change| first_of(**change) > first_of(after)).copied();
            let found = rows.first_change_after(item, first_of(after));
            prop_assert_eq!(found.is_some(), first.is_some());
            let Some(found) = found else { return Ok(()) };
            let slot = |ms: u64| ms / rows.slot;
            let last = changes[changes.len() - 1];
            let known = |change: &u64| slot(*change) > slot(after) && slot(*change) + 63 >= slot(last);
            let first = changes.into_iter().find(known).map_or(last, |first| slot(first) * rows.slot);
            prop_assert_eq!(found, first);
        }
    }
}
