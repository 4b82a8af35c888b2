//! The key of the ids of names.

use std::ffi::OsStr;

use anyhow::{Context, anyhow};
use connectors::Uri;
use schema::IdKey;

use super::Failure;
use crate::config::Config;

/// The variable with the key, unless the configuration names another place.
const VARIABLE: &str = "DELTAREC_IDENTITY_KEY";

/// Reads the key from the place that the configuration names, else from the environment. Without either, there is none.
pub(crate) fn id_key(config: &Config) -> Result<IdKey, Failure> {
    read(config, std::env::var_os(VARIABLE).as_deref()).map_err(Failure::Usage)
}

fn read(config: &Config, variable: Option<&OsStr>) -> anyhow::Result<IdKey> {
    let (secret, place) = match (&config.identity_key, variable.filter(|value| !value.is_empty())) {
        (Some(place), _) => {
            let secret = place.read().map_err(|error| anyhow!("identity.key: {error}"))?;
            (secret.reveal().as_bytes().to_owned(), place.to_string())
        }
        (None, Some(value)) => (value.as_encoded_bytes().to_owned(), format!("environment variable {VARIABLE}")),
        (None, None) => return Ok(IdKey::default()),
    };
    IdKey::new(&secret).with_context(|| {
        format!("the identity key in {place} cannot be used: create one with `openssl rand -hex 32`, and keep it")
    })
}

/// Warns if strangers may choose the names, and so their ids.
pub(super) fn warn_without_key<'u>(ids: IdKey, mut inputs: impl Iterator<Item = &'u Uri>) {
    let topic = inputs.find(|input| matches!(input, Uri::Kafka(_)));
    if let (None, Some(topic)) = (ids.fingerprint(), topic) {
        tracing::warn!(
            input = %topic,
            "names come from the network and there is no identity key: anyone who can write events can keep users and items \
             out by names with the same ids, and slow this process down; set identity.key or {VARIABLE} \
             (`openssl rand -hex 32`), with an empty state (docs/operations.md)"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use super::*;

    fn config(place: &str) -> Config {
        Config::load(None, &[format!("identity.key={place}")]).unwrap()
    }

    /// A file that only its owner can read.
    fn write_key(folder: &Path, key: &str) -> PathBuf {
        let path = folder.join("key");
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn reads_the_key_from_a_file_before_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = write_key(folder.path(), "the key in the file\n");
        let config = config(&format!("file:{}", path.display()));
        let key = |secret: &[u8]| IdKey::new(secret).unwrap();
        let variable = Some(OsStr::new("the key in the environment"));
        assert_eq!(read(&config, variable).unwrap(), key(b"the key in the file"));
        assert_eq!(read(&Config::default(), variable).unwrap(), key(b"the key in the environment"));
        for unset in [None, Some(OsStr::new(""))] {
            assert_eq!(read(&Config::default(), unset).unwrap(), IdKey::default());
        }
    }

    #[test]
    fn names_the_place_of_a_key_that_cannot_be_used_and_never_shows_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = write_key(folder.path(), "tooshort\n");
        let short = config(&format!("file:{}", path.display()));
        for (config, variable, parts) in [
            (&short, None, ["file /", "8 bytes, at least 16"]),
            (&Config::default(), Some(OsStr::new("tooshort")), [VARIABLE, "openssl rand -hex 32"]),
            (&config("env:DELTAREC_NO_SUCH"), None, ["identity.key", "DELTAREC_NO_SUCH"]),
            (&config("file:/nowhere/key"), None, ["identity.key", "file /nowhere/key"]),
        ] {
            let error = format!("{:#}", read(config, variable).unwrap_err());
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
            assert!(!error.contains("tooshort"), "{error}");
        }
    }
}
