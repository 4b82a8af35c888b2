//! What follows from an id64: its key group, and maps with id64 keys.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Number of key groups. They divide the users whatever the number of workers.
pub const KEY_GROUPS: usize = 256;

/// The key group of a user: the top eight bits of its id64.
pub fn key_group(user: u64) -> u8 {
    (user >> 56) as u8
}

/// Number of groups of items in which a snapshot keeps the catalogue.
pub const CATALOGUE_GROUPS: usize = 16;

/// The group of an item in the catalogue: the top four bits of its id64.
pub fn catalogue_group(item: u64) -> u8 {
    (item >> 60) as u8
}

/// Spreads a number over 64 bits: multiplies by 2^64 divided by the golden ratio, which is odd, so no two numbers collide.
/// Only the high bits depend on all bits of the number.
#[inline]
pub const fn spread(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Mixes all bits of a number: the finaliser of `SplitMix64`, a bijection.
pub const fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}

/// A map with id64 keys. Its order of iteration differs from map to map, so nothing may depend on it.
pub type IdMap<V> = hashbrown::HashMap<u64, V, IdHashState>;

/// An entry of an [`IdMap`].
pub type IdEntry<'m, V> = hashbrown::hash_map::Entry<'m, u64, V, IdHashState>;

/// Frees memory of a map that is less than an eighth full.
pub fn shrink_if_sparse<V>(map: &mut IdMap<V>) {
    if map.capacity() > 1_024 && map.len() < map.capacity() / 8 {
        map.shrink_to(2 * map.len());
    }
}

/// The random multiplier of a map with id64 keys: the map hashes an id to bits 64 to 127 of `multiplier * id`.
///
/// An id64 is a hash already, but without an identity key anybody can choose names by their ids, and ids that are equal in
/// the bits that a map looks at would turn it into a list. The multiplier is unknown to anyone who chooses the names. For any
/// two ids and any number n up to 64, the lowest n bits are equal with a probability of at most 2^(1-n) (Dietzfelbinger,
/// 1996), so chosen ids collide as rarely as random ones. Two multiplications: a map of a strong hash would cost ten times
/// as much.
#[derive(Clone, Copy, Debug)]
pub struct IdHashState {
    low: u64,
    high: u64,
}

impl Default for IdHashState {
    fn default() -> Self {
        // The standard library draws its keys from the system once a thread and counts them up for each state.
        let random = RandomState::new();
        IdHashState { low: random.hash_one(0_u8), high: random.hash_one(1_u8) }
    }
}

impl BuildHasher for IdHashState {
    type Hasher = IdHasher;

    #[inline]
    fn build_hasher(&self) -> IdHasher {
        IdHasher { state: *self, hash: 0 }
    }
}

/// Hasher of id64 keys by an [`IdHashState`].
#[derive(Clone, Copy, Debug)]
pub struct IdHasher {
    state: IdHashState,
    hash: u64,
}

impl Hasher for IdHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        let carry = (u128::from(self.state.low) * u128::from(id)) >> 64;
        self.hash = self.state.high.wrapping_mul(id).wrapping_add(carry as u64);
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only u64 keys are hashed");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hash;

    use super::*;

    /// An id that counts how often a map compares it with another.
    struct Counted<'c>(u64, &'c Cell<u64>);

    impl Hash for Counted<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u64(self.0);
        }
    }

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.1.set(self.1.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted<'_> {}

    /// Ids compared while `ids` are inserted and looked up: the median of some maps, as each draws another multiplier, of
    /// which few spread a given sequence badly.
    fn comparisons(ids: &(impl Iterator<Item = u64> + Clone)) -> u64 {
        let mut counts: Vec<u64> = (0..9).map(|_| comparisons_of_one(ids.clone())).collect();
        counts.sort_unstable();
        counts[4]
    }

    fn comparisons_of_one(ids: impl Iterator<Item = u64> + Clone) -> u64 {
        let count = Cell::new(0);
        let mut map = hashbrown::HashMap::<_, (), IdHashState>::default();
        for id in ids.clone() {
            map.insert(Counted(id, &count), ());
        }
        for id in ids {
            assert!(map.contains_key(&Counted(id, &count)));
        }
        count.get()
    }

    #[test]
    fn ids_that_are_equal_in_most_bits_cost_a_map_no_more_than_random_ones() {
        const IDS: u64 = 50_000;
        // Each found once, and rarely one more in a group of slots with the same tag.
        assert!(comparisons(&(0..IDS).map(mix)) < 2 * IDS);
        // A run of equal low bits, of equal high bits, and of both; and multiples of what maps like to multiply by.
        for shift in [0, 8, 16, 25, 32, 40, 48] {
            let found = comparisons(&(0..IDS).map(|n| (n << shift) ^ 0x5DEE_CE66_D1CE_4E5B));
            assert!(found < 2 * IDS, "shifted by {shift}: {found} comparisons");
        }
        let inverse = 0xF1DE_83E1_9937_733D_u64;
        assert_eq!(spread(inverse), 1);
        for shift in [0, 20, 44] {
            let found = comparisons(&(0..IDS).map(|n| inverse.wrapping_mul(n << shift)));
            assert!(found < 2 * IDS, "undone and shifted by {shift}: {found} comparisons");
        }
    }

    #[test]
    fn maps_have_multipliers_of_their_own() {
        let (a, b) = (IdHashState::default(), IdHashState::default());
        assert_ne!((a.low, a.high), (b.low, b.high));
        assert_ne!(a.hash_one(7_u64), b.hash_one(7_u64));
    }
}
