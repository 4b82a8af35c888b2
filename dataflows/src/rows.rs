//! Rows of weighted candidates as they lie with the viewers of this worker, and which viewers have a use for them.

use crate::dense::{Dense, Ids, place};
use crate::{Diff, ItemId, UserId, Weight};

/// A viewer's place.
pub(crate) type ViewerId = u32;

/// What is noted with a row of a viewer who holds it.
pub(crate) trait Holder: Copy {
    /// Whether it depends on the weight.
    const WEIGHED: bool;

    fn new(viewer: ViewerId, weight: Weight) -> Self;

    fn viewer(self) -> ViewerId;
}

impl Holder for ViewerId {
    const WEIGHED: bool = false;

    fn new(viewer: ViewerId, _weight: Weight) -> Self {
        viewer
    }

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
        let at = changed.candidates.iter().position(|other| *other == candidate);
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

/// A row that a viewer has a use for, and what it weighs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) row: Dense,
    /// 0: the viewer knows the row's item and has no use for the row.
    pub(crate) weight: Weight,
    /// This viewer's place among the row's holders, unless the weight is 0.
    place: u32,
    /// How often there is such an entry: once, or not at all, or twice amid a tick's updates.
    present: i16,
    /// Whether a tick's updates reached it.
    moved: bool,
}

/// Not among the holders.
const NO_PLACE: u32 = u32::MAX;

/// A viewer's entries, of each source apart.
pub(crate) trait Viewing {
    fn entries(&mut self, source: usize) -> &mut Vec<Entry>;
}

/// Adds up an update of a viewer's entry: a weight taken back and one put in its place make the new weight.
pub(crate) fn adjust<H>(entries: &mut Vec<Entry>, row: Dense, weight: Weight, diff: Diff, rows: &mut Rows<H>) {
    let at = entries.iter().position(|entry| entry.row == row).unwrap_or_else(|| {
        rows.mention(row);
        entries.push(Entry { row, weight: 0, place: NO_PLACE, present: 0, moved: true });
        entries.len() - 1
    });
    let entry = &mut entries[at];
    entry.weight = entry.weight.wrapping_add_signed(diff as i32 * weight.cast_signed());
    entry.present += diff as i16;
    entry.moved = true;
}

/// Makes a viewer a holder of exactly the rows that its entries give a weight, after a tick's updates.
pub(crate) fn hold<V: Viewing, H: Holder>(viewers: &mut [V], source: usize, id: ViewerId, rows: &mut Rows<H>) {
    let mut at = 0;
    while let Some(entry) = viewers[id as usize].entries(source).get(at).copied() {
        let held = entry.place != NO_PLACE;
        if held && entry.weight == 0 {
            leave(viewers, source, entry, rows);
            viewers[id as usize].entries(source)[at].place = NO_PLACE;
        } else if !held && entry.weight > 0 {
            let holders = &mut rows.get_mut(entry.row).holders;
            viewers[id as usize].entries(source)[at].place =
                u32::try_from(holders.len()).expect("fewer viewers than 2^32");
            holders.push(H::new(id, entry.weight));
        } else if H::WEIGHED && held && entry.moved {
            rows.get_mut(entry.row).holders[entry.place as usize] = H::new(id, entry.weight);
        }
        let entries = viewers[id as usize].entries(source);
        if entry.present == 0 {
            rows.forget(entry.row);
            entries.swap_remove(at);
        } else {
            entries[at].moved = false;
            at += 1;
        }
    }
}

/// Takes a viewer off a row's holders; the last holder moves to its place.
fn leave<V: Viewing, H: Holder>(viewers: &mut [V], source: usize, entry: Entry, rows: &mut Rows<H>) {
    let holders = &mut rows.get_mut(entry.row).holders;
    holders.swap_remove(entry.place as usize);
    if let Some(moved) = holders.get(entry.place as usize) {
        let moved = viewers[moved.viewer() as usize].entries(source);
        let held = moved.iter_mut().find(|other| other.row == entry.row);
        held.expect("a holder has an entry for the row").place = entry.place;
    }
}
