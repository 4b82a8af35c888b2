//! The secret that authenticates the processes of a cluster.

use std::fmt;
use std::path::{Path, PathBuf};

/// The shared secret of a cluster, as a key derived from its bytes.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the cluster's secret in {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        error: std::io::Error,
    },
    /// It is short enough to be guessed.
    #[error(
        "the cluster's secret has {length} bytes, at least {} are required: create one with `openssl rand -hex 32`",
        Secret::MIN_BYTES
    )]
    Short {
        /// Its length in bytes.
        length: usize,
    },
    /// None was given.
    #[error(
        "a cluster needs a secret that all its processes share: --secret-file FILE or DELTAREC_SECRET; create one with \
         `openssl rand -hex 32`"
    )]
    Missing,
}

impl Secret {
    /// Shortest secret in bytes.
    pub const MIN_BYTES: usize = 16;

    /// Derives the key. White space around the secret, such as a line end, is removed.
    pub fn new(secret: &[u8]) -> Result<Self, SecretError> {
        let secret = secret.trim_ascii();
        if secret.len() < Self::MIN_BYTES {
            return Err(SecretError::Short { length: secret.len() });
        }
        Ok(Secret(blake3::derive_key("deltarec 2026-11 links between the processes of a cluster", secret)))
    }

    /// Reads a secret from a file.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let bytes = std::fs::read(path).map_err(|error| SecretError::Read { path: path.to_owned(), error })?;
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
