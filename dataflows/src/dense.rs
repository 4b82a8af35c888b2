//! Dense 32-bit ids for the items one operator has heard of, private to that operator.

use crate::ItemId;
use crate::operator::{IdMap, give_back};
use crate::quantise::PHASES;

/// A dense id. Its low six bits are those of the id64, so that the phase of a pair is at hand without looking up names.
pub type Dense = u32;

/// id64 to [`Dense`] id and back. Released ids are used again.
#[derive(Debug)]
pub struct Ids {
    dense: IdMap<Dense>,
    names: Vec<ItemId>,
    /// By the low six bits: ids to use again, and how many have been handed out.
    free: Vec<Vec<Dense>>,
    next: Vec<u32>,
}

impl Default for Ids {
    fn default() -> Self {
        let classes = PHASES as usize;
        Ids { dense: IdMap::default(), names: Vec::new(), free: vec![Vec::new(); classes], next: vec![0; classes] }
    }
}

impl Ids {
    /// The dense id of an item that has one.
    pub fn get(&self, item: ItemId) -> Option<Dense> {
        self.dense.get(&item).copied()
    }

    /// The dense id of an item, which is given one if it has none.
    pub fn intern(&mut self, item: ItemId) -> Dense {
        *self.dense.entry(item).or_insert_with(|| {
            let class = (item % u64::from(PHASES)) as usize;
            let id = self.free[class].pop().unwrap_or_else(|| {
                let id = self.next[class] * PHASES + class as u32;
                self.next[class] += 1;
                id
            });
            if self.names.len() <= id as usize {
                self.names.resize(id as usize + 1, 0);
            }
            self.names[id as usize] = item;
            id
        })
    }

    /// Takes an id back, to be given to another item.
    pub fn release(&mut self, id: Dense) {
        if self.dense.remove(&self.names[id as usize]).is_some() {
            give_back(&mut self.dense);
            self.free[(id % PHASES) as usize].push(id);
        }
    }

    /// The item of an id in use.
    pub fn name(&self, id: Dense) -> ItemId {
        self.names[id as usize]
    }

    /// One more than the largest id in use so far.
    pub(crate) fn bound(&self) -> usize {
        self.names.len()
    }
}

/// Grows a table indexed by dense ids so that `id` has a place.
pub(crate) fn place<V: Default>(table: &mut Vec<V>, id: Dense) -> &mut V {
    if table.len() <= id as usize {
        table.resize_with(id as usize + 1, V::default);
    }
    &mut table[id as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_ids_are_used_again() {
        let mut ids = Ids::default();
        for round in 0..1_000_u64 {
            let names: Vec<ItemId> = (0..3).map(|n| (round * 3 + n).wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
            let dense: Vec<Dense> = names.iter().map(|name| ids.intern(*name)).collect();
            for (name, id) in names.iter().zip(dense) {
                assert_eq!((ids.get(*name), ids.name(id), u64::from(id % PHASES)), (Some(id), *name, name % 64));
                // Once is enough.
                ids.release(id);
                ids.release(id);
                assert_eq!(ids.get(*name), None);
            }
        }
        assert!(ids.bound() <= 3 * PHASES as usize, "{} ids for three names at a time", ids.bound());
    }
}
