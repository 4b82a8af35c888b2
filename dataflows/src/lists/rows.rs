//! The rows that this worker subscribes to.

use schema::{IdMap, shrink_if_sparse};

use super::change_times::ChangeTimes;
use crate::catalogue::EligibleItems;
use crate::operators::{Dense, Ids, load_lines, slot_mut};
use crate::{Diff, EligibilityChange, ItemId, Level, Logarithm, UserId, Word};

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
    pub(super) changes: ChangeTimes,
    /// What stands for a change that may concern every list; `None` before the first.
    all: Option<Dense>,
    /// Items that may be recommended.
    eligible_items: EligibleItems,
    /// The same by dense id; `true` for users.
    eligible: Vec<bool>,
    /// Groups of items that have one.
    groups_of_items: IdMap<Word>,
    /// The same by dense id.
    groups: Vec<Option<Word>>,
    /// By user: the fine logarithm of the activity. Apart from the rows, because it is all that an evaluation reads of most users
    /// with whom it compares.
    activities: Vec<u32>,
    /// Users whose history changed in this tick.
    touched: Vec<Dense>,
    /// Items and users that may have lost their last reference.
    release: Vec<Dense>,
}

impl Rows {
    /// `refresh`: milliseconds from one boundary of a viewer to the next. `others`: whether items are eligible of which
    /// there is no change.
    pub(super) fn new(refresh: u64, others: bool) -> Self {
        let (ids, rows, eligible, activities, touched, release) = Default::default();
        let (groups_of_items, groups) = Default::default();
        let (changes, eligible_items) = (ChangeTimes::new(refresh), EligibleItems::new(others));
        Rows {
            ids,
            rows,
            changes,
            all: None,
            eligible_items,
            eligible,
            groups_of_items,
            groups,
            activities,
            touched,
            release,
        }
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    #[inline]
    pub(super) fn get(&self, row: Dense) -> &Row {
        &self.rows[row as usize]
    }

    /// The fine logarithm of the activity of a user whose history is known here.
    #[inline]
    pub(super) fn activity(&self, user: Dense) -> u32 {
        self.activities[user as usize]
    }

    /// Whether a row or a viewer may recommend the item.
    #[inline]
    pub(super) fn may_list(&self, item: Dense) -> bool {
        self.eligible[item as usize]
    }

    pub(super) fn is_eligible(&self, item: ItemId) -> bool {
        self.eligible_items.contains(item)
    }

    /// Applies a change of eligibility. Returns whether a row has the item.
    pub(super) fn set_eligible(&mut self, change: EligibilityChange) -> bool {
        self.eligible_items.apply(change);
        let known = self.ids.get(change.item);
        known.inspect(|dense| self.eligible[*dense as usize] = change.eligible).is_some()
    }

    /// Whether any item has a group.
    pub(super) fn has_groups(&self) -> bool {
        !self.groups_of_items.is_empty()
    }

    /// The group of an item, if it has one.
    #[inline]
    pub(super) fn group(&self, item: Dense) -> Option<Word> {
        self.groups[item as usize]
    }

    /// Sets the group of an item.
    pub(super) fn set_group(&mut self, item: ItemId, group: Option<Word>) {
        match group {
            Some(group) => drop(self.groups_of_items.insert(item, group)),
            None => drop(self.groups_of_items.remove(&item)),
        }
        shrink_if_sparse(&mut self.groups_of_items);
        if let Some(dense) = self.ids.get(item) {
            self.groups[dense as usize] = group;
        }
    }

    /// Whether a row or a viewer has the item.
    pub(super) fn has(&self, item: ItemId) -> bool {
        self.ids.get(item).is_some()
    }

    /// Any list may have changed.
    pub(super) fn mark_all(&mut self) {
        let all = self.all.unwrap_or_else(|| {
            // Only its times of changes are used. Those of users mean nothing, so a user with this id does no harm.
            let all = self.intern_user(0);
            self.add_reference(all);
            all
        });
        self.all = Some(all);
        self.changes.mark(all);
    }

    /// Everything with a change that concerns a list, given the items of the profile.
    pub(super) fn concerning(&self, profile: impl Iterator<Item = Dense>) -> impl Iterator<Item = Dense> {
        profile.chain(self.all)
    }

    pub(super) fn intern(&mut self, item: ItemId) -> Dense {
        if let Some(dense) = self.ids.get(item) {
            return dense;
        }
        let dense = self.ids.intern(item);
        let group = self.groups_of_items.get(&item).copied();
        self.reserve(dense, self.eligible_items.contains(item), group)
    }

    pub(super) fn intern_user(&mut self, user: UserId) -> Dense {
        let dense = self.ids.intern_user(user);
        self.reserve(dense, true, None)
    }

    fn reserve(&mut self, dense: Dense, eligible: bool, group: Option<Word>) -> Dense {
        slot_mut(&mut self.rows, dense);
        self.changes.reserve(dense);
        *slot_mut(&mut self.eligible, dense) = eligible;
        *slot_mut(&mut self.groups, dense) = group;
        slot_mut(&mut self.activities, dense);
        dense
    }

    /// Applies an update of the similarity of two items.
    pub(super) fn update_similar(&mut self, item: ItemId, other: ItemId, similarity: u16, diff: Diff) {
        let (row, other) = (self.intern(item), self.intern(other));
        self.update_candidate(row, other, similarity, diff);
        self.changes.mark(row);
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
    pub(super) fn update_sample(&mut self, item: ItemId, user: UserId, level: Level, diff: Diff) {
        let (item, user) = (self.intern(item), self.intern_user(user));
        for (row, other) in [(item, user), (user, item)] {
            let sample = &mut self.rows[row as usize].sample;
            sample.update(other, level.into(), diff);
            if sample.is_empty() {
                self.release.push(row);
            }
        }
        self.changes.mark(item);
    }

    /// Marks the items that sample a user whose history changed. They are at most a history, whatever the popularity, and no
    /// viewer is touched.
    pub(super) fn finish_updates(&mut self, highest_stair: u32, logarithm: &Logarithm) {
        for user in self.touched.drain(..) {
            let row = &self.rows[user as usize];
            self.activities[user as usize] = logarithm.fine(u64::from(highest_stair) * u64::from(row.levels));
            row.sample.iter().for_each(|(item, _)| self.changes.mark(item));
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
                self.changes.forget(dense);
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
