use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use xxhash_rust::xxh3::xxh3_64;

/// The function from names to ids: XXH3-64 without a key, SipHash-2-4 with one.
///
/// XXH3 can be inverted: anyone who can write events without a key can write names with any id they like. With a key the ids of
/// names cannot be foreseen. All processes and all runs of one state need the same key.
///
/// ```
/// use schema::IdKey;
///
/// let unkeyed = IdKey::default();
/// assert_eq!(unkeyed.id64("u13758"), unkeyed.id64("=,CGPL9A"), "a name that was crafted");
///
/// let keyed = IdKey::new(b"0123456789abcdef").expect("16 bytes are enough");
/// assert_ne!(keyed.id64("u13758"), keyed.id64("=,CGPL9A"));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct IdKey(Option<Keys>);

/// What is derived from the secret.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Keys {
    hash: [u8; 16],
    fingerprint: Fingerprint,
}

/// The secret of an [`IdKey`] is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key has {0} bytes, at least {min} are required", min = IdKey::MIN_BYTES)]
pub struct ShortKey(pub usize);

/// Identifies a key without revealing it: 64 bits of a one-way function of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 8]);

impl IdKey {
    /// Shortest secret in bytes.
    pub const MIN_BYTES: usize = 16;

    /// Derives a key from a secret, any bytes. White space around them, such as a line end, is not a part of the secret.
    pub fn new(secret: &[u8]) -> Result<Self, ShortKey> {
        let secret = secret.trim_ascii();
        if secret.len() < Self::MIN_BYTES {
            return Err(ShortKey(secret.len()));
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::derive_key("deltarec 2026-11 ids of names", secret)[..16]);
        let mut fingerprint = [0; 8];
        fingerprint
            .copy_from_slice(&blake3::derive_key("deltarec 2026-11 fingerprint of the identity key", secret)[..8]);
        Ok(IdKey(Some(Keys { hash, fingerprint: Fingerprint(fingerprint) })))
    }

    /// The 64-bit id of a name.
    #[inline]
    pub fn id64(&self, name: &str) -> u64 {
        match &self.0 {
            None => id64(name),
            Some(keys) => {
                let mut hasher = SipHasher24::new_with_key(&keys.hash);
                hasher.write(name.as_bytes());
                hasher.finish()
            }
        }
    }

    /// The fingerprint of the key; `None` without a key.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.0.map(|keys| keys.fingerprint)
    }
}

/// The fingerprint, not the key.
impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fingerprint() {
            None => f.write_str("IdKey(none)"),
            Some(fingerprint) => write!(f, "IdKey({fingerprint})"),
        }
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The id of a name without a key: XXH3-64 with seed 0 of its UTF-8 bytes. [`IdKey`] is for programs that read names of
/// strangers.
///
/// ```
/// assert_eq!(schema::id64("p3"), 12_118_151_613_335_125_742);
/// assert_eq!(schema::id64("品牌1758"), 1_736_002_122_885_404_101);
/// ```
pub fn id64(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_fingerprint_follow_from_the_secret_alone() {
        let key = |secret: &[u8]| IdKey::new(secret).unwrap();
        let (one, other) = (key(b"0123456789abcdef"), key(b"0123456789abcdeg"));
        assert_eq!((one, one.id64("ann")), (key(b" 0123456789abcdef\n"), key(b"0123456789abcdef").id64("ann")));
        assert!(one != other && one.id64("ann") != other.id64("ann") && one.fingerprint() != other.fingerprint());
        // Fixed for ever: states of earlier versions depend on both.
        assert_eq!(one.id64("ann"), 244_575_395_716_941_699);
        assert_eq!(one.fingerprint().unwrap().to_string(), "9c96bda68cabb1db");
        assert_eq!(IdKey::default().fingerprint(), None);
        assert_eq!(IdKey::default().id64("p3"), id64("p3"));
    }

    #[test]
    fn refuses_a_short_secret_and_never_shows_one() {
        assert_eq!(IdKey::new(b"  0123456789abcde\n"), Err(ShortKey(15)));
        assert_eq!(IdKey::new(b"").unwrap_err().to_string(), "the key has 0 bytes, at least 16 are required");
        let shown = format!("{:?}", IdKey::new(b"0123456789abcdef").unwrap());
        assert!(!shown.contains("0123456789abcdef") && shown.starts_with("IdKey("), "{shown}");
    }
}
