use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

/// Access to topics.
#[derive(Clone, Debug, PartialEq, Eq)]
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
            SecretPlace::Env(name) => write!(f, "environment variable {name}"),
            SecretPlace::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl SecretPlace {
    #[cfg(feature = "kafka")]
    pub(super) fn read(&self) -> Result<String, String> {
        let failed = |error: &dyn fmt::Display| format!("cannot read {self}: {error}");
        match self {
            // A variable that is set to nothing is not set.
            SecretPlace::Env(name) => match std::env::var(name) {
                Ok(secret) if secret.is_empty() => Err(failed(&"it is empty")),
                secret => secret.map_err(|error| failed(&error)),
            },
            SecretPlace::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
                Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned())
            }
        }
    }
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
            "ssl.keystore.password" | "sasl.oauthbearer.client.secret" | "ssl.key.pem" => {
                "a configuration must not contain secrets"
            }
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
    fn refuses_options_that_exactness_depends_on() {
        for name in ["isolation.level", "acks", "auto.offset.reset", "sasl.password"] {
            assert!(KafkaOptions::refused(name).is_some(), "{name}");
        }
        assert_eq!(KafkaOptions::refused("socket.timeout.ms"), None);
    }
}
