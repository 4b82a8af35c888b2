use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schema::{check_secret_mode, shown_secret_path};
use serde::Serialize;

/// Access to topics.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Guarantee for written changes.
    pub delivery: Delivery,
    /// Consumer group under which offsets are committed, for display only; also the prefix of the transactional id.
    pub group: String,
    /// Whether a missing output topic is created.
    pub create: bool,
    /// Partitions of a created topic.
    pub partitions: u16,
    /// Replicas of each partition of a created topic; `None`: the broker's default.
    pub replication: Option<u16>,
    /// Compression of records: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: String,
    /// Time that a record may wait for others to be sent with, in milliseconds.
    pub linger: u64,
    /// Bytes read ahead, and bytes written and not yet acknowledged, at most.
    pub buffer: usize,
    /// Time between two searches for new partitions, in milliseconds.
    pub refresh: u64,
    /// Encryption and authentication.
    pub security: Security,
    /// Other options of librdkafka, by name. They must not be [refused](KafkaOptions::refused).
    pub more: BTreeMap<String, String>,
}

/// Without the values of other options: some may be secrets.
impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KafkaOptions { delivery, group, security, more, .. } = self;
        let names: Vec<&String> = more.keys().collect();
        f.debug_struct("KafkaOptions")
            .field("delivery", delivery)
            .field("group", group)
            .field("security", security)
            .field("more", &names)
            .finish_non_exhaustive()
    }
}

impl Default for KafkaOptions {
    fn default() -> Self {
        KafkaOptions {
            delivery: Delivery::Transactional,
            group: "deltarec".into(),
            create: true,
            partitions: 8,
            replication: None,
            compression: "lz4".into(),
            linger: 0,
            buffer: 32 << 20,
            refresh: 30_000,
            security: Security::default(),
            more: BTreeMap::new(),
        }
    }
}

/// Guarantee for the changes written to a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Transactions. A new process fences off an old one, which cannot write when it wakes up.
    #[default]
    Transactional,
    /// Idempotent writes, in order and without duplicates. An old process is not fenced off.
    Idempotent,
}

/// Encryption and authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Protocol of the brokers' port: `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    pub protocol: String,
    /// SASL mechanism: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: Option<String>,
    /// SASL user name.
    pub username: Option<String>,
    /// Location of the SASL password.
    pub password: Option<SecretPlace>,
    /// File of the certificates that brokers are checked against; `None`: those of the system.
    pub ca: Option<String>,
    /// File of the client certificate, if brokers require one.
    pub certificate: Option<String>,
    /// File of the client certificate's key.
    pub key: Option<String>,
    /// Location of the key's password.
    pub key_password: Option<SecretPlace>,
}

/// Plaintext, without authentication.
impl Default for Security {
    fn default() -> Self {
        Security {
            protocol: "plaintext".into(),
            mechanism: None,
            username: None,
            password: None,
            ca: None,
            certificate: None,
            key: None,
            key_password: None,
        }
    }
}

/// Location of a secret. The secret itself is never in a configuration, so never in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SecretPlace {
    /// An environment variable.
    Env(String),
    /// A file. A line end at its end is not part of the secret.
    File(PathBuf),
}

impl FromStr for SecretPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(SecretPlace::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(SecretPlace::File(path.into())),
            _ => Err(()),
        }
    }
}

/// The location, not the secret.
impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The user may have written the password in place of the name.
            SecretPlace::Env(name) if !is_variable(name) => f.write_str("environment variable (name hidden)"),
            SecretPlace::Env(name) => write!(f, "environment variable {name}"),
            SecretPlace::File(path) => write!(f, "file {}", shown_secret_path(path)),
        }
    }
}

/// Whether a name is written as those of variables usually are.
fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A secret. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The secret itself, for the one that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

impl SecretPlace {
    /// Reads the secret. A file of this user must not be readable by others.
    pub fn read(&self) -> Result<SecretText, String> {
        let failed = |error: &dyn fmt::Display| format!("cannot read {self}: {error}");
        match self {
            // The error of a variable that is not UTF-8 shows its value. One that is set to nothing is not set.
            SecretPlace::Env(name) => match std::env::var(name) {
                Ok(text) if text.is_empty() => Err(failed(&"it is empty")),
                Ok(text) => Ok(SecretText(text)),
                Err(VarError::NotPresent) => Err(failed(&"it is not set")),
                Err(VarError::NotUnicode(_)) => Err(failed(&"it is not UTF-8")),
            },
            SecretPlace::File(path) => {
                check_secret_file(path)?;
                let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
                Ok(SecretText(text.strip_suffix('\n').map_or(&*text, |text| text.trim_end_matches('\r')).to_owned()))
            }
        }
    }
}

/// Checks that other users cannot read a file with a secret. For a file of another user, such as a mounted one, which this user
/// cannot change, it only warns.
pub fn check_secret_file(path: &Path) -> Result<(), String> {
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    if check_secret_mode(path, &found, rustix::process::geteuid().as_raw())? {
        tracing::warn!(file = %path.display(), "every user of this machine can read this secret");
    }
    Ok(())
}

impl KafkaOptions {
    /// Why users cannot set this option of librdkafka; `None` if they can.
    pub fn refused(name: &str) -> Option<&'static str> {
        Some(match name {
            "bootstrap.servers" | "metadata.broker.list" => "the URI names the brokers",
            "group.id" => "set kafka.group instead",
            "enable.auto.commit" | "auto.commit.enable" | "auto.commit.interval.ms" | "enable.auto.offset.store" => {
                "positions are stored with the state; offsets at the broker are for display only"
            }
            "auto.offset.reset" => "records deleted before they were read must be reported, not skipped",
            "enable.partition.eof" => "the end of a partition determines when output starts",
            "isolation.level" => "records of an aborted transaction are neither events nor lists",
            "enable.idempotence" | "transactional.id" | "acks" | "request.required.acks" => {
                "kafka.delivery determines it"
            }
            "message.timeout.ms" | "delivery.timeout.ms" | "retries" | "message.send.max.retries" => {
                "changes are retried until they are written"
            }
            "max.in.flight" | "max.in.flight.requests.per.connection" | "enable.gapless.guarantee" => {
                "the order of a user's changes depends on it"
            }
            "partitioner" => "all changes of a user go to one partition, the one that Java producers choose",
            "linger.ms" | "queue.buffering.max.ms" => "set kafka.linger instead",
            "compression.codec" | "compression.type" => "set kafka.compression instead",
            "queued.max.messages.kbytes" | "queue.buffering.max.kbytes" => "set kafka.buffer instead",
            "statistics.interval.ms" => "the lag is computed from the statistics",
            "security.protocol" => "set kafka.security.protocol instead",
            "sasl.mechanism" | "sasl.mechanisms" => "set kafka.security.mechanism instead",
            "sasl.username" => "set kafka.security.username instead",
            "sasl.password" => "set kafka.security.password, the location of the password, instead",
            "ssl.ca.location" => "set kafka.security.ca instead",
            "ssl.certificate.location" => "set kafka.security.certificate instead",
            "ssl.key.location" => "set kafka.security.key instead",
            "ssl.key.password" => "set kafka.security.key_password, the location of the password, instead",
            // Their values are shown at the broker and in the logs of librdkafka at most, but a configuration is copied around.
            "ssl.keystore.password"
            | "sasl.oauthbearer.client.secret"
            | "sasl.oauthbearer.config"
            | "sasl.oauthbearer.assertion.private.key.pem"
            | "sasl.oauthbearer.assertion.private.key.passphrase"
            | "ssl.key.pem"
            | "ssl_key" => "a configuration must not contain secrets",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_location_of_a_secret() {
        assert_eq!("env:PW".parse(), Ok(SecretPlace::Env("PW".into())));
        assert_eq!("file:/run/secrets/pw".parse(), Ok(SecretPlace::File("/run/secrets/pw".into())));
        for wrong in ["", "secret", "env:", "file:", "http:x"] {
            assert_eq!(wrong.parse::<SecretPlace>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn no_message_shows_a_secret() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\r\n").unwrap();
        let place = SecretPlace::File(path.clone());
        for (mode, is_readable) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o644, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match place.read() {
                Ok(secret) => {
                    assert!(is_readable && secret.reveal() == "hunter2", "{mode:o}");
                    assert_eq!(format!("{secret:?}"), "SecretText");
                }
                Err(error) => assert!(!is_readable && error.contains("chmod 600"), "{mode:o}: {error}"),
            }
        }
        let error = SecretPlace::Env("hunter2".into()).read().unwrap_err();
        assert!(error.contains("not set") && !error.contains("hunter2"), "{error}");
        let mut options = KafkaOptions::default();
        options.more.insert("sasl.x".into(), "hunter2".into());
        let shown = format!("{options:?}");
        assert!(shown.contains("sasl.x") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn refuses_options_that_exactness_depends_on() {
        for name in ["isolation.level", "acks", "auto.offset.reset", "sasl.password"] {
            assert!(KafkaOptions::refused(name).is_some(), "{name}");
        }
        assert_eq!(KafkaOptions::refused("socket.timeout.ms"), None);
    }
}
