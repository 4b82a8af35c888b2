//! Rows of weighted candidates as they lie with the viewers of this worker, and which viewers have a use for them.

use crate::dense::{Dense, Ids, place};
use crate::profile::{Holding, Profile, place_of};
use crate::{Diff, ItemId, UserId, Weight};

/// A viewer's place.
pub(crate) type ViewerId = u32;

/// A viewer who holds a row, and what is noted of it there.
pub(crate) trait Holder: Copy {
    fn viewer(self) -> ViewerId;
}

impl Holder for ViewerId {
    fn viewer(self) -> ViewerId {
        self
    }
}

/// The row of an item or of a user.
#[derive(Debug)]
pub(crate) struct Row<H> {
    /// Candidates and their values, in parallel, in no order: found by a scan of a few cache lines.
    candidates: Vec<Dense>,
    values: Vec<u32>,
    /// Viewers who give the row a weight.
    pub(crate) holders: Vec<H>,
    /// How many rows have this one's item or user as a candidate and how many viewers know it.
    mentions: u32,
}

impl<H> Default for Row<H> {
    fn default() -> Self {
        Row { candidates: Vec::new(), values: Vec::new(), holders: Vec::new(), mentions: 0 }
    }
}

impl<H> Row<H> {
    /// The value of a candidate, 0 if it is none. No branch depends on where it is, so that it is done several
    /// candidates at a time.
    #[inline]
    pub(crate) fn value(&self, candidate: Dense) -> u32 {
        let hits = self.candidates.iter().zip(&self.values);
        hits.fold(0, |sum, (other, value)| sum | if *other == candidate { *value } else { 0 })
    }

    /// How many candidates there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.candidates.len()
    }

    #[inline]
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (Dense, u32)> {
        self.candidates.iter().copied().zip(self.values.iter().copied())
    }

    /// Reads what [`Row::candidates`] will read, a cache line at a time.
    #[inline]
    pub(crate) fn peek(&self) -> u32 {
        let lines = self.candidates.iter().step_by(16).chain(self.values.iter().step_by(16));
        lines.fold(0, |seen, value| seen ^ value)
    }
}

/// Rows by item and by user.
#[derive(Debug)]
pub(crate) struct Rows<H = ViewerId> {
    ids: Ids,
    rows: Vec<Row<H>>,
    /// Items and users that nothing may refer to any more.
    loose: Vec<Dense>,
}

impl<H> Default for Rows<H> {
    fn default() -> Self {
        Rows { ids: Ids::default(), rows: Vec::new(), loose: Vec::new() }
    }
}

impl<H> Rows<H> {
    #[inline]
    pub(crate) fn get(&self, row: Dense) -> &Row<H> {
        &self.rows[row as usize]
    }

    pub(crate) fn get_mut(&mut self, row: Dense) -> &mut Row<H> {
        &mut self.rows[row as usize]
    }

    pub(crate) fn intern(&mut self, item: ItemId) -> Dense {
        let dense = self.ids.intern(item);
        place(&mut self.rows, dense);
        dense
    }

    pub(crate) fn intern_user(&mut self, user: UserId) -> Dense {
        let dense = self.ids.intern_user(user);
        place(&mut self.rows, dense);
        dense
    }

    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Applies an update of a candidate of a row; returns its value before and after. In whatever order a retraction
    /// and an insertion come, they add up to the new value.
    pub(crate) fn update(&mut self, row: Dense, candidate: Dense, value: u32, diff: Diff) -> (u32, u32) {
        let changed = &mut self.rows[row as usize];
        let at = place_of(candidate, &changed.candidates);
        let old = at.map_or(0, |at| changed.values[at]);
        let new = if diff > 0 { old.wrapping_add(value) } else { old.wrapping_sub(value) };
        match (at, new) {
            (Some(at), 0) => {
                changed.candidates.swap_remove(at);
                changed.values.swap_remove(at);
                if changed.candidates.is_empty() {
                    self.loose.push(row);
                }
                self.forget(candidate);
            }
            (Some(at), _) => changed.values[at] = new,
            (None, _) => {
                changed.candidates.push(candidate);
                changed.values.push(new);
                self.mention(candidate);
            }
        }
        (old, new)
    }

    /// Something more refers to an item or a user.
    pub(crate) fn mention(&mut self, row: Dense) {
        self.rows[row as usize].mentions += 1;
    }

    /// Something refers to an item or a user no longer.
    pub(crate) fn forget(&mut self, row: Dense) {
        let forgotten = &mut self.rows[row as usize];
        forgotten.mentions -= 1;
        if forgotten.mentions == 0 {
            self.loose.push(row);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.rows.iter().all(|row| row.candidates.is_empty() && row.holders.is_empty())
    }

    /// Lets go of items and users that nothing refers to. To be called when a tick is done: until then lists may have
    /// them.
    pub(crate) fn release(&mut self) {
        for dense in self.loose.drain(..) {
            let row = &mut self.rows[dense as usize];
            // Whoever holds a row mentions it too.
            if row.mentions == 0 && row.candidates.is_empty() {
                *row = Row::default();
                self.ids.release(dense);
            }
        }
    }
}

/// Makes a viewer a holder of exactly the rows that weigh something in one of its profiles, after a tick's updates.
/// `profile` finds the profile of a viewer, `holder` says what is noted of one.
pub(crate) fn hold<V, H: Holder>(
    viewers: &mut [V],
    id: ViewerId,
    profile: impl Fn(&mut V) -> &mut Profile,
    holder: impl Fn(Weight) -> H,
    rows: &mut Rows<H>,
) {
    let mut from = 0;
    while let Some(holding) = profile(&mut viewers[id as usize]).next_holding(&mut from) {
        match holding {
            Holding::Begins(row) => {
                let own = profile(&mut viewers[id as usize]);
                let holders = &mut rows.get_mut(row).holders;
                own.put(row, u32::try_from(holders.len()).expect("fewer viewers than 2^32"));
                holders.push(holder(own.weight(row)));
            }
            Holding::Ends(row, place) => {
                // The last holder moves to its place.
                let holders = &mut rows.get_mut(row).holders;
                holders.swap_remove(place as usize);
                if let Some(moved) = holders.get(place as usize) {
                    profile(&mut viewers[moved.viewer() as usize]).put(row, place);
                }
            }
        }
    }
    profile(&mut viewers[id as usize]).drop_gone(|row| rows.forget(row));
}
