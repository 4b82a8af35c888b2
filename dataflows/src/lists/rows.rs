//! The rows of the similarity matrix that this worker's viewers need, and which viewers need them.

use crate::operator::{IdMap, give_back};
use crate::{Diff, ItemId, Neighbour};

/// A row's place; stays while the row has neighbours or holders.
pub(super) type RowId = u32;

/// A viewer's place.
pub(super) type ViewerId = u32;

#[derive(Debug, Default)]
pub(super) struct Row {
    item: ItemId,
    /// Similar items and their similarities, in parallel, in no order: found by a scan of a few cache lines.
    items: Vec<ItemId>,
    similarities: Vec<u16>,
    /// Viewers with the item in their profile.
    pub(super) holders: Vec<ViewerId>,
}

impl Row {
    /// How similar `item` is, 0 if it is no neighbour.
    #[inline]
    pub(super) fn similarity(&self, item: ItemId) -> u16 {
        self.items.iter().position(|other| *other == item).map_or(0, |at| self.similarities[at])
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn neighbours(&self) -> impl Iterator<Item = (ItemId, u16)> {
        self.items.iter().copied().zip(self.similarities.iter().copied())
    }
}

/// Rows by item.
#[derive(Debug, Default)]
pub(super) struct Rows {
    ids: IdMap<RowId>,
    rows: Vec<Row>,
    free: Vec<RowId>,
}

impl Rows {
    pub(super) fn get(&self, id: RowId) -> &Row {
        &self.rows[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: RowId) -> &mut Row {
        &mut self.rows[id as usize]
    }

    /// The row of an item, an empty one if there is none yet.
    pub(super) fn of(&mut self, item: ItemId) -> RowId {
        *self.ids.entry(item).or_insert_with(|| {
            let id = self.free.pop().unwrap_or_else(|| {
                self.rows.push(Row::default());
                RowId::try_from(self.rows.len() - 1).expect("fewer rows than 2^32")
            });
            self.rows[id as usize].item = item;
            id
        })
    }

    /// Applies the updates of one neighbour of a row, a retraction and an insertion at most; returns what it was and is.
    pub(super) fn update(&mut self, id: RowId, updates: impl Iterator<Item = (Neighbour, Diff)>) -> (u16, u16) {
        let row = &mut self.rows[id as usize];
        let (mut old, mut new, mut item) = (0, 0, 0);
        for (neighbour, diff) in updates {
            item = neighbour.item;
            if diff > 0 { new = neighbour.similarity } else { old = neighbour.similarity }
        }
        match (row.items.iter().position(|other| *other == item), new) {
            (Some(at), 0) => {
                row.items.swap_remove(at);
                row.similarities.swap_remove(at);
            }
            (Some(at), _) => row.similarities[at] = new,
            (None, 0) => {}
            (None, _) => {
                row.items.push(item);
                row.similarities.push(new);
            }
        }
        (old, new)
    }

    /// Frees the row if nothing is left in it.
    pub(super) fn release(&mut self, id: RowId) {
        let row = &mut self.rows[id as usize];
        if row.items.is_empty() && row.holders.is_empty() && self.ids.get(&row.item) == Some(&id) {
            self.ids.remove(&row.item);
            give_back(&mut self.ids);
            *row = Row::default();
            self.free.push(id);
        }
    }
}
