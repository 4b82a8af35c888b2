use std::fmt;
use std::path::{Path, PathBuf};

/// What the processes of a cluster share and nobody else knows: a key made of the secret's bytes.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the cluster's secret in {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// Nothing that could not be guessed.
    #[error(
        "the cluster's secret has {length} bytes, and {} are the least: make one by `openssl rand -hex 32`",
        Secret::LEAST
    )]
    Short {
        /// Bytes it has.
        length: usize,
    },
    /// None was given.
    #[error(
        "a cluster needs a secret that all its processes share: --secret-file FILE or DELTAREC_SECRET; make one by \
         `openssl rand -hex 32`"
    )]
    Missing,
}

impl Secret {
    /// Bytes a secret has at least.
    pub const LEAST: usize = 16;

    /// Space around it, such as the end of a line, is no part of a secret.
    pub fn new(secret: &[u8]) -> Result<Self, SecretError> {
        let secret = secret.trim_ascii();
        if secret.len() < Self::LEAST {
            return Err(SecretError::Short { length: secret.len() });
        }
        Ok(Secret(blake3::derive_key("deltarec 2026-11 links between the processes of a cluster", secret)))
    }

    /// From a file.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let bytes = std::fs::read(path).map_err(|error| SecretError::Read { path: path.to_owned(), error })?;
        Secret::new(&bytes)
    }

    /// A keyed hash over all parts, which only those who have the secret can make. Comparing two takes the same time
    /// wherever they differ.
    pub(super) fn seal(&self, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }
}

/// It is not shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_bytes_without_the_space_around_them() {
        let seal = |secret: &[u8]| Secret::new(secret).unwrap().seal(&[b"a", b"b"]);
        assert_eq!(seal(b"0123456789abcdef\n"), seal(b" 0123456789abcdef"));
        assert_ne!(seal(b"0123456789abcdef"), seal(b"0123456789abcdeg"));
        let error = Secret::new(b"short \n").unwrap_err().to_string();
        assert!(error.contains("5 bytes") && error.contains("openssl rand"), "{error}");
        assert_eq!(format!("{:?}", Secret::new(b"0123456789abcdef").unwrap()), "Secret");
    }
}
