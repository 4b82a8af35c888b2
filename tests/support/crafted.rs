//! Names crafted by their ids, as anyone who can write events can craft them when there is no identity key.

use schema::id64;

/// The eight bytes with this id: the inverse of XXH3-64 for inputs of eight bytes, step by step.
pub(crate) fn bytes_with_id(id: u64) -> [u8; 8] {
    const PRIME: u64 = 0x9FB2_1C65_1E98_DF25;
    const INVERSE: u64 = {
        // Newton's iteration doubles the number of right bits.
        let (mut inverse, mut step) = (PRIME, 0);
        while step < 5 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(PRIME.wrapping_mul(inverse)));
            step += 1;
        }
        inverse
    };
    // Of XXH3's default secret: bytes 8 to 15 xor bytes 16 to 23.
    const FLIP: u64 = 0x7C01_812C_F721_AD1C_u64.swap_bytes() ^ 0xDED4_6DE9_8390_97DB_u64.swap_bytes();
    let hash = (id ^ id >> 28 ^ id >> 56).wrapping_mul(INVERSE);
    let hash = (hash ^ ((hash >> 35) + 8)).wrapping_mul(INVERSE);
    // Applied 64 times, the two rotations cancel out.
    let input = (0..63).fold(hash, |hash, _| hash ^ hash.rotate_left(49) ^ hash.rotate_left(24)) ^ FLIP;
    input.rotate_left(32).to_le_bytes()
}

/// A name of eight printable characters with this id, if there is one.
pub(crate) fn name_with_id(id: u64) -> Option<String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"=,.;:!?+-*/_%&#$@^~".contains(byte);
    let bytes = bytes_with_id(id);
    bytes.iter().all(is_plain).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Two different names with one id; the first begins with `prefix`.
pub(crate) fn twins(prefix: &str) -> (String, String) {
    let names = (0_u32..).map(|number| format!("{prefix}{number}"));
    let mut twins = names.filter_map(|name| Some((name_with_id(id64(&name))?, name)));
    let (crafted, name) = twins.find(|(crafted, name)| crafted != name).unwrap();
    assert_eq!(id64(&crafted), id64(&name));
    (name, crafted)
}
