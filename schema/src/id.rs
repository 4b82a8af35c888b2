//! What follows from an id64: its key group, and maps with id64 keys.

use std::hash::{BuildHasherDefault, Hasher};

/// Number of key groups. They divide the users whatever the number of workers.
pub const KEY_GROUPS: usize = 256;

/// The key group of a user: the top eight bits of its id64.
pub fn key_group(user: u64) -> u8 {
    (user >> 56) as u8
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

/// A map with id64 keys.
pub type IdMap<V> = hashbrown::HashMap<u64, V, BuildHasherDefault<IdHasher>>;

/// Frees memory of a map that is less than an eighth full.
pub fn shrink_if_sparse<V>(map: &mut IdMap<V>) {
    if map.capacity() > 1_024 && map.len() < map.capacity() / 8 {
        map.shrink_to(2 * map.len());
    }
}

/// Hasher of id64 keys, which are hashes already.
///
/// The low bits of an id choose its worker, so they are equal for all keys of one worker; the high bits choose its key
/// group. The rotation moves the bits in between to where the map looks for entropy.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.rotate_left(32);
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only u64 keys are hashed");
    }
}
