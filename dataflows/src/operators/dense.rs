//! Dense 32-bit ids for the items and users that one operator knows, private to that operator.

use schema::{IdMap, shrink_if_sparse};

use crate::similarity::quantise::PHASES;
use crate::{ItemId, UserId};

/// A dense id. Its low six bits are those of the id64, so that the phase of a pair needs no lookup of the id64.
pub type Dense = u32;

/// Maps id64 to [`Dense`] id and back. Released ids are reused. An item and a user with the same id64 have different
/// dense ids.
#[derive(Debug, Default)]
pub struct Ids {
    items: IdMap<Dense>,
    users: IdMap<Dense>,
    names: Vec<u64>,
    /// Released ids, by their low six bits.
    free: Vec<Vec<Dense>>,
    /// Number of ids ever assigned, by their low six bits.
    next: Vec<u32>,
}

impl Ids {
    /// The dense id of an item that has one.
    pub fn get(&self, item: ItemId) -> Option<Dense> {
        self.items.get(&item).copied()
    }

    /// The dense id of an item; assigns one if it has none.
    pub fn intern(&mut self, item: ItemId) -> Dense {
        let Ids { items, names, free, next, .. } = self;
        *items.entry(item).or_insert_with(|| take(item, names, free, next))
    }

    /// The dense id of a user; assigns one if it has none.
    pub fn intern_user(&mut self, user: UserId) -> Dense {
        let Ids { users, names, free, next, .. } = self;
        *users.entry(user).or_insert_with(|| take(user, names, free, next))
    }

    /// Releases an id for reuse. Idempotent.
    pub fn release(&mut self, id: Dense) {
        let name = self.names[id as usize];
        for ids in [&mut self.items, &mut self.users] {
            if ids.get(&name) == Some(&id) {
                ids.remove(&name);
                shrink_if_sparse(ids);
                slot_mut(&mut self.free, id % PHASES).push(id);
            }
        }
    }

    /// The item or the user of an id in use.
    pub fn name(&self, id: Dense) -> u64 {
        self.names[id as usize]
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.users.is_empty()
    }

    /// One more than the largest id in use so far.
    pub(crate) fn bound(&self) -> usize {
        self.names.len()
    }
}

/// A cache of recent lookups: the pairs of one history refer to the same few items again and again. Must not outlive a
/// release.
#[derive(Debug)]
pub(crate) struct RecentIds([Option<(u64, Dense)>; 64]);

impl RecentIds {
    pub(crate) fn new() -> Self {
        RecentIds([None; 64])
    }

    /// The cached id of a name, or the result of `look_up`.
    #[inline]
    pub(crate) fn get_or(&mut self, name: u64, look_up: impl FnOnce() -> Dense) -> Dense {
        // The low bits would not do: they are equal for all names of a worker.
        let slot = &mut self.0[(name >> 58) as usize];
        match *slot {
            Some((same, id)) if same == name => id,
            _ => slot.insert((name, look_up())).1,
        }
    }
}

/// Assigns a free id to a name.
fn take(name: u64, names: &mut Vec<u64>, free: &mut Vec<Vec<Dense>>, next: &mut Vec<u32>) -> Dense {
    let class = (name % u64::from(PHASES)) as Dense;
    let id = slot_mut(free, class).pop().unwrap_or_else(|| {
        let next = slot_mut(next, class);
        *next += 1;
        (*next - 1) * PHASES + class
    });
    *slot_mut(names, id) = name;
    id
}

/// The entry of `id` in a table indexed by dense ids; grows the table if needed.
pub(crate) fn slot_mut<V: Default>(table: &mut Vec<V>, id: Dense) -> &mut V {
    if table.len() <= id as usize {
        table.resize_with(id as usize + 1, V::default);
    }
    &mut table[id as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reuses_released_ids() {
        let mut ids = Ids::default();
        for round in 0..1_000_u64 {
            let names: Vec<ItemId> = (0..3).map(|n| schema::spread(round * 3 + n)).collect();
            let dense: Vec<Dense> = names.iter().map(|name| ids.intern(*name)).collect();
            for (name, id) in names.iter().zip(dense) {
                assert_eq!((ids.get(*name), ids.name(id), u64::from(id % PHASES)), (Some(id), *name, name % 64));
                // A second release has no effect.
                ids.release(id);
                ids.release(id);
                assert_eq!(ids.get(*name), None);
            }
        }
        let (item, user) = (ids.intern(7), ids.intern_user(7));
        assert_ne!(item, user);
        ids.release(item);
        assert_eq!((ids.get(7), ids.users.get(&7).copied(), ids.name(user)), (None, Some(user), 7));
        ids.release(user);
        assert_eq!(ids.users.get(&7).copied(), None);
        assert!(ids.bound() <= 3 * PHASES as usize, "{} ids for three names at a time", ids.bound());
    }
}
