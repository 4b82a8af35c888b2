use xxhash_rust::xxh3::xxh3_64;

use crate::Reason;

/// Longest name of a user, an item or a room, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 512;

/// 64-bit id of a name: XXH3-64 with seed 0 of its UTF-8 bytes. It identifies a user or an item everywhere inside the
/// program, and orders ties.
///
/// ```
/// assert_eq!(schema::id64("p3"), 12_118_151_613_335_125_742);
/// assert_eq!(schema::id64("品牌1758"), 1_736_002_122_885_404_101);
/// ```
pub fn id64(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// Checks that a name has 1 to [`MAX_NAME_BYTES`] bytes. Names are compared byte by byte; nothing is trimmed or normalised.
pub fn check_name(field: &'static str, name: &str) -> Result<(), Reason> {
    match name.len() {
        0 => Err(Reason::EmptyName { field }),
        1..=MAX_NAME_BYTES => Ok(()),
        bytes => Err(Reason::LongName { field, bytes }),
    }
}
