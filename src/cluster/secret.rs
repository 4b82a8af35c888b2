//! The secret that authenticates the processes of a cluster.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use schema::{check_secret_mode, shown_secret_path};

/// The shared secret of a cluster, as a key derived from its bytes.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// Shortest secret in bytes.
const MIN_BYTES: usize = 16;

impl Secret {
    /// Derives the key. White space around the secret, such as a line end, is removed, and a byte order mark.
    pub fn new(secret: &[u8]) -> anyhow::Result<Self> {
        // Some editors write a byte order mark.
        let secret = secret.strip_prefix("\u{feff}".as_bytes()).unwrap_or(secret).trim_ascii();
        ensure!(
            secret.len() >= MIN_BYTES,
            "the cluster's secret has {} bytes, at least {MIN_BYTES} are required: create one with `openssl rand -hex 32`",
            secret.len()
        );
        Ok(Secret(blake3::derive_key(
            "deltarec 2026-11 pre-shared key of the links between the processes of a cluster",
            secret,
        )))
    }

    /// Reads a secret from a file. Like ssh, refuses a file of this user that others can read. A file of another user, such
    /// as one that a container mounts, is not this user's to change.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = shown_secret_path(path);
        let read = || {
            let mut file = File::open(path)?;
            let mut bytes = Vec::new();
            let metadata = file.metadata()?;
            file.read_to_end(&mut bytes).map(|_| (metadata, bytes))
        };
        let (metadata, bytes) = read().with_context(|| format!("cannot read the cluster's secret in {shown}"))?;
        let user = rustix::process::geteuid().as_raw();
        if check_secret_mode(path, &metadata, user).map_err(anyhow::Error::msg)? {
            tracing::warn!(file = %shown, "every user of this machine can read this secret");
        }
        Secret::new(&bytes)
    }

    /// The key.
    pub(super) fn key(&self) -> &[u8; 32] {
        &self.0
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
        let key = |secret: &[u8]| *Secret::new(secret).unwrap().key();
        assert_eq!(key(b"0123456789abcdef\n"), key(b" 0123456789abcdef"));
        assert_ne!(key(b"0123456789abcdef"), key(b"0123456789abcdeg"));
        let error = Secret::new(b"short \n").unwrap_err().to_string();
        assert!(error.contains("5 bytes") && error.contains("openssl rand"), "{error}");
        assert_eq!(format!("{:?}", Secret::new(b"0123456789abcdef").unwrap()), "Secret");
    }
}
