//! The secret that authenticates the processes of a cluster.

use std::fmt;
use std::path::Path;

use anyhow::{Context, ensure};

/// The shared secret of a cluster, as a key derived from its bytes.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// Shortest secret in bytes.
const MIN_BYTES: usize = 16;

impl Secret {
    /// Derives the key. White space around the secret, such as a line end, is removed.
    pub fn new(secret: &[u8]) -> anyhow::Result<Self> {
        let secret = secret.trim_ascii();
        ensure!(
            secret.len() >= MIN_BYTES,
            "the cluster's secret has {} bytes, at least {MIN_BYTES} are required: create one with `openssl rand -hex 32`",
            secret.len()
        );
        Ok(Secret(blake3::derive_key("deltarec 2026-11 links between the processes of a cluster", secret)))
    }

    /// Reads a secret from a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read the cluster's secret in {}", path.display()))?;
        Secret::new(&bytes)
    }

    /// The keyed hash of all parts in order. Comparing two [`blake3::Hash`]es takes constant time.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }
}

/// Hides the key.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_white_space_around_a_secret() {
        let mac = |secret: &[u8]| Secret::new(secret).unwrap().mac(&[b"a", b"b"]);
        assert_eq!(mac(b"0123456789abcdef\n"), mac(b" 0123456789abcdef"));
        assert_ne!(mac(b"0123456789abcdef"), mac(b"0123456789abcdeg"));
        let error = Secret::new(b"short \n").unwrap_err().to_string();
        assert!(error.contains("5 bytes") && error.contains("openssl rand"), "{error}");
        assert_eq!(format!("{:?}", Secret::new(b"0123456789abcdef").unwrap()), "Secret");
    }
}
