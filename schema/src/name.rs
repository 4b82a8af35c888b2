use crate::Reason;

/// Longest name of a user, an item or a room, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 512;

/// Checks that a name has 1 to [`MAX_NAME_BYTES`] bytes. Names are compared byte by byte; nothing is trimmed or normalised.
pub fn check_name(field: &'static str, name: &str) -> Result<(), Reason> {
    match name.len() {
        0 => Err(Reason::EmptyName { field }),
        1..=MAX_NAME_BYTES => Ok(()),
        bytes => Err(Reason::LongName { field, bytes }),
    }
}
