use xxhash_rust::xxh3::xxh3_64;

use crate::Reason;

/// Longest name of a user or an item, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 512;

/// What the keys of lists begin with that are nobody's: no user may be called so while there are any.
pub const RESERVED: &str = "deltarec:";

/// The key of what trends everywhere.
pub const TRENDING: &str = "deltarec:trending";

/// The key of what trends in a room.
pub fn trending_in(room: &str) -> String {
    format!("{TRENDING}:room:{room}")
}

/// The room of a [`trending_in`].
pub fn room_of(key: &str) -> Option<&str> {
    key.strip_prefix(TRENDING)?.strip_prefix(":room:")
}

/// The 64-bit id of a name: XXH3-64 with seed 0 of its UTF-8 bytes. It is the identity of a user or an
/// item everywhere behind the edge, and the order of ties.
///
/// ```
/// assert_eq!(schema::id64("p3"), 12_118_151_613_335_125_742);
/// assert_eq!(schema::id64("品牌1758"), 1_736_002_122_885_404_101);
/// ```
pub fn id64(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// A name is 1 to [`MAX_NAME_BYTES`] bytes, compared byte for byte: nothing is trimmed or normalised.
pub fn check_name(field: &'static str, name: &str) -> Result<(), Reason> {
    match name.len() {
        0 => Err(Reason::EmptyName { field }),
        1..=MAX_NAME_BYTES => Ok(()),
        bytes => Err(Reason::LongName { field, bytes }),
    }
}
