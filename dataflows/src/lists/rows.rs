//! The rows of the similarity matrix that this worker's viewers need, and which viewers need them.

use super::profile::place_of;
use crate::dense::{Dense, Ids, place};
use crate::{Diff, ItemId, Neighbour};

/// A viewer's place.
pub(super) type ViewerId = u32;

/// An item that a viewer has in the history or that is similar to one.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Similar items and their similarities, in parallel, in no order: found by a scan of a few cache lines.
    items: Vec<Dense>,
    similarities: Vec<u32>,
    /// Viewers with the item in their profile.
    pub(super) holders: Vec<ViewerId>,
    /// How many rows have the item as a neighbour and how many viewers in their history.
    mentions: u32,
}

impl Row {
    /// How similar `item` is, 0 if it is no neighbour. No branch depends on where it is, so that it is done several
    /// items at a time.
    #[inline]
    pub(super) fn similarity(&self, item: Dense) -> u32 {
        let hits = self.items.iter().zip(&self.similarities);
        hits.fold(0, |sum, (other, similarity)| sum | if *other == item { *similarity } else { 0 })
    }

    /// How many neighbours the item has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    pub(super) fn neighbours(&self) -> impl Iterator<Item = (Dense, u32)> {
        self.items.iter().copied().zip(self.similarities.iter().copied())
    }

    /// Reads what [`Row::neighbours`] will read, a cache line at a time.
    #[inline]
    pub(super) fn peek(&self) -> u32 {
        let lines = self.items.iter().step_by(16).chain(self.similarities.iter().step_by(16));
        lines.fold(0, |seen, value| seen ^ value)
    }
}

/// Rows by item.
#[derive(Debug, Default)]
pub(super) struct Rows {
    ids: Ids,
    rows: Vec<Row>,
    /// Items that nothing may refer to any more.
    loose: Vec<Dense>,
}

impl Rows {
    #[inline]
    pub(super) fn get(&self, item: Dense) -> &Row {
        &self.rows[item as usize]
    }

    pub(super) fn get_mut(&mut self, item: Dense) -> &mut Row {
        &mut self.rows[item as usize]
    }

    pub(super) fn intern(&mut self, item: ItemId) -> Dense {
        let dense = self.ids.intern(item);
        place(&mut self.rows, dense);
        dense
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Applies an update of a neighbour of a row; returns its similarity before and after. In whatever order a
    /// retraction and an insertion come, they add up to the new similarity.
    pub(super) fn update(&mut self, row: Dense, item: Dense, neighbour: Neighbour, diff: Diff) -> (u32, u32) {
        let changed = &mut self.rows[row as usize];
        let at = place_of(item, &changed.items);
        let old = at.map_or(0, |at| changed.similarities[at]);
        let similarity = u32::from(neighbour.similarity);
        let new = if diff > 0 { old + similarity } else { old - similarity };
        match (at, new) {
            (Some(at), 0) => {
                changed.items.swap_remove(at);
                changed.similarities.swap_remove(at);
                if changed.items.is_empty() {
                    self.loose.push(row);
                }
                self.forget(item);
            }
            (Some(at), _) => changed.similarities[at] = new,
            (None, _) => {
                changed.items.push(item);
                changed.similarities.push(new);
                self.mention(item);
            }
        }
        (old, new)
    }

    /// Something more refers to an item.
    pub(super) fn mention(&mut self, item: Dense) {
        self.rows[item as usize].mentions += 1;
    }

    /// Something refers to an item no longer.
    pub(super) fn forget(&mut self, item: Dense) {
        let row = &mut self.rows[item as usize];
        row.mentions -= 1;
        if row.mentions == 0 {
            self.loose.push(item);
        }
    }

    /// Lets go of items that nothing refers to. To be called when a tick is done: until then lists may have them.
    pub(super) fn release(&mut self) {
        for item in self.loose.drain(..) {
            let row = &mut self.rows[item as usize];
            // Whoever holds an item mentions it too.
            if row.mentions == 0 && row.items.is_empty() {
                *row = Row::default();
                self.ids.release(item);
            }
        }
    }
}
