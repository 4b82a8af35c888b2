//! The rows to which this worker subscribes, and the viewers that hold them.

use super::profile::{HolderChange, Profile, position_of};
use super::{Dense, Ids, load_lines, slot_mut};
use crate::{Diff, ItemId, UserId, Weight};

/// Index of a viewer in the tables of its operator.
pub(crate) type ViewerId = u32;

/// The effect of a tick on a viewer so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ViewerState {
    /// No effect.
    Clean,
    /// Some scores may have changed.
    Dirty,
    /// All scores may have changed: the own items have, or so many candidates that a rescan costs less.
    Rescan,
}

impl ViewerState {
    /// Raises the state to at least `to`. Returns whether the viewer was clean.
    #[inline]
    pub(crate) fn raise(&mut self, to: ViewerState) -> bool {
        let was_clean = *self == ViewerState::Clean;
        *self = to.max(*self);
        was_clean
    }
}

/// A viewer that holds a row, perhaps with data of its own.
pub(crate) trait Holder: Copy + Default {
    fn viewer(self) -> ViewerId;
}

impl Holder for ViewerId {
    fn viewer(self) -> ViewerId {
        self
    }
}

/// The row of an item or of a user: weighted candidates.
#[derive(Debug, Default)]
pub(crate) struct Row<H> {
    /// Candidates in no order. A scan of a few cache lines finds one.
    candidates: Vec<Dense>,
    /// Values, parallel to the candidates.
    values: Vec<u32>,
    /// Viewers with a weight for the row.
    pub(crate) holders: Vec<H>,
    /// Number of rows and viewers that refer to the item or user of the row.
    references: u32,
}

impl<H> Row<H> {
    /// The value of a candidate; 0 if the row does not contain it. Free of branches, so that it compiles to vector
    /// instructions.
    #[inline]
    pub(crate) fn value(&self, candidate: Dense) -> u32 {
        let hits = self.candidates.iter().zip(&self.values);
        hits.fold(0, |sum, (other, value)| sum | if *other == candidate { *value } else { 0 })
    }

    /// Number of candidates.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.candidates.len()
    }

    #[inline]
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (Dense, u32)> {
        self.candidates.iter().copied().zip(self.values.iter().copied())
    }

    /// Loads what [`Row::candidates`] reads, for [`prefetch`](super::prefetch).
    #[inline]
    pub(crate) fn load(&self) -> u32 {
        load_lines(&self.candidates, |candidate| *candidate) ^ load_lines(&self.values, |value| *value)
    }
}

/// Rows by item and by user.
#[derive(Debug, Default)]
pub(crate) struct RowCache<H = ViewerId> {
    ids: Ids,
    rows: Vec<Row<H>>,
    /// Items and users that may have lost their last reference.
    release_candidates: Vec<Dense>,
}

impl<H: Holder> RowCache<H> {
    #[inline]
    pub(crate) fn get(&self, row: Dense) -> &Row<H> {
        &self.rows[row as usize]
    }

    pub(crate) fn get_mut(&mut self, row: Dense) -> &mut Row<H> {
        &mut self.rows[row as usize]
    }

    pub(crate) fn intern(&mut self, item: ItemId) -> Dense {
        let dense = self.ids.intern(item);
        slot_mut(&mut self.rows, dense);
        dense
    }

    pub(crate) fn intern_user(&mut self, user: UserId) -> Dense {
        let dense = self.ids.intern_user(user);
        slot_mut(&mut self.rows, dense);
        dense
    }

    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Applies an update of a candidate of a row. Returns its value before and after. A retraction and an insertion add
    /// up to the new value in any order.
    pub(crate) fn update(&mut self, row: Dense, candidate: Dense, value: u32, diff: Diff) -> (u32, u32) {
        let changed = &mut self.rows[row as usize];
        let at = position_of(candidate, &changed.candidates);
        let old = at.map_or(0, |at| changed.values[at]);
        let new = if diff > 0 { old.wrapping_add(value) } else { old.wrapping_sub(value) };
        match (at, new) {
            (Some(at), 0) => {
                changed.candidates.swap_remove(at);
                changed.values.swap_remove(at);
                if changed.candidates.is_empty() {
                    self.release_candidates.push(row);
                }
                self.remove_reference(candidate);
            }
            (Some(at), _) => changed.values[at] = new,
            (None, _) => {
                changed.candidates.push(candidate);
                changed.values.push(new);
                self.add_reference(candidate);
            }
        }
        (old, new)
    }

    /// Counts a reference to an item or a user.
    pub(crate) fn add_reference(&mut self, row: Dense) {
        self.rows[row as usize].references += 1;
    }

    /// Removes a reference to an item or a user.
    pub(crate) fn remove_reference(&mut self, row: Dense) {
        let references = &mut self.rows[row as usize].references;
        *references -= 1;
        if *references == 0 {
            self.release_candidates.push(row);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.rows.iter().all(|row| row.candidates.is_empty() && row.holders.is_empty())
    }

    /// Releases items and users without references. Must run at the end of a tick: until then lists may contain them.
    pub(crate) fn release(&mut self) {
        for dense in self.release_candidates.drain(..) {
            let row = &mut self.rows[dense as usize];
            // A holder counts as a reference.
            if row.references == 0 && row.candidates.is_empty() {
                *row = Row::default();
                self.ids.release(dense);
            }
        }
    }
}

/// Makes a viewer a holder of exactly the rows with a weight in one of its profiles, after the updates of a tick.
///
/// `profile` selects the profile of a viewer; `holder` makes the entry for a weight.
pub(crate) fn update_holders<V, H: Holder>(
    viewers: &mut [V],
    id: ViewerId,
    profile: impl Fn(&mut V) -> &mut Profile,
    holder: impl Fn(Weight) -> H,
    rows: &mut RowCache<H>,
) {
    let mut cursor = 0;
    while let Some(change) = profile(&mut viewers[id as usize]).next_holder_change(&mut cursor) {
        match change {
            HolderChange::Add(row) => {
                let own = profile(&mut viewers[id as usize]);
                let holders = &mut rows.get_mut(row).holders;
                own.set_slot(row, u32::try_from(holders.len()).expect("fewer viewers than 2^32"));
                holders.push(holder(own.weight(row)));
            }
            HolderChange::Remove(row, slot) => {
                // The last holder moves into the slot.
                let holders = &mut rows.get_mut(row).holders;
                holders.swap_remove(slot as usize);
                if let Some(moved) = holders.get(slot as usize) {
                    profile(&mut viewers[moved.viewer() as usize]).set_slot(row, slot);
                }
            }
        }
    }
    profile(&mut viewers[id as usize]).drop_removed(|row| rows.remove_reference(row));
}
