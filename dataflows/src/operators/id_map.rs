use std::hash::{BuildHasherDefault, Hasher};

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
/// The low bits of an id choose its worker, so they are equal for all keys of one worker. The rotation moves the high
/// bits down to where the map looks for entropy.
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
