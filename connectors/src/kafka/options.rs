use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Options of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Delivery of changes.
    pub delivery: Delivery,
    /// Group for the commits of offsets, which are for monitoring.
    pub group: String,
    /// Whether missing output topics are created.
    pub create: bool,
    /// Partitions of a created topic.
    pub partitions: u16,
    /// Replication factor of a created topic; 0 for the default of the broker.
    pub replication: u16,
    /// Compression of records: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: String,
    /// Time that a record may wait for others of its batch, in ms.
    pub linger: u64,
    /// Maximum bytes prefetched by a source, and maximum bytes not acknowledged of a sink.
    pub buffer: usize,
    /// Time between two searches for new partitions, in ms.
    pub refresh: u64,
    /// Encryption and authentication.
    pub security: Security,
    /// Other options of librdkafka.
    pub more: BTreeMap<String, String>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        KafkaOptions {
            delivery: Delivery::Transactional,
            group: "deltarec".into(),
            create: true,
            partitions: 8,
            replication: 0,
            compression: "lz4".into(),
            linger: 0,
            buffer: 32 << 20,
            refresh: 30_000,
            security: Security::default(),
            more: BTreeMap::new(),
        }
    }
}

/// Delivery of records to a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// In transactions. A new process fences off the old one.
    #[default]
    Transactional,
    /// One by one, in order and without duplicates. An old process that wakes up is not fenced off.
    Idempotent,
}

/// Encryption and authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`; empty: `plaintext`.
    pub protocol: String,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// User name for SASL.
    pub username: String,
    /// Place of the password.
    pub password: Option<SecretPlace>,
    /// File with the CA certificates; empty: those of the system.
    pub ca: String,
    /// File with the client certificate, if brokers require one.
    pub certificate: String,
    /// File with the key of the client certificate.
    pub key: String,
    /// Place of the password of the key.
    pub key_password: Option<SecretPlace>,
}

/// Place of a password. A password is never in a configuration, so it is never in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In an environment variable.
    Env(String),
    /// In a file. The last line end is not part of the password.
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

/// The place, not the password.
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
            SecretPlace::Env(name) => std::env::var(name).map_err(|error| failed(&error)),
            SecretPlace::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
                Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned())
            }
        }
    }
}

impl KafkaOptions {
    /// Reason why users must not set an option of librdkafka; `None` if they may.
    pub fn refused(name: &str) -> Option<&'static str> {
        Some(match name {
            "bootstrap.servers" | "metadata.broker.list" => "the brokers are in the URI",
            "group.id" => "it is kafka.group",
            "enable.auto.commit" | "auto.commit.enable" | "auto.commit.interval.ms" | "enable.auto.offset.store" => {
                "positions are in the snapshots; the offsets of the broker are for monitoring"
            }
            "auto.offset.reset" => "records that were deleted before they were read must be reported, not skipped",
            "enable.partition.eof" => "the end of a partition shows when the backfill is complete",
            "isolation.level" => "records of aborted transactions must not be read",
            "enable.idempotence" | "transactional.id" | "acks" | "request.required.acks" => "kafka.delivery decides it",
            "message.timeout.ms" | "delivery.timeout.ms" | "retries" | "message.send.max.retries" => {
                "a record is retried until it is acknowledged"
            }
            "max.in.flight" | "max.in.flight.requests.per.connection" | "enable.gapless.guarantee" => {
                "the order of the changes of a user depends on it"
            }
            "partitioner" => "all changes of a user must be in one partition, the one that Java producers choose",
            "linger.ms" | "queue.buffering.max.ms" => "it is kafka.linger",
            "compression.codec" | "compression.type" => "it is kafka.compression",
            "queued.max.messages.kbytes" | "queue.buffering.max.kbytes" => "it is kafka.buffer",
            "statistics.interval.ms" => "the lag is computed from the statistics",
            "security.protocol" => "it is kafka.security.protocol",
            "sasl.mechanism" | "sasl.mechanisms" => "it is kafka.security.mechanism",
            "sasl.username" => "it is kafka.security.username",
            "sasl.password" => "it is kafka.security.password, the place of the password",
            "ssl.ca.location" => "it is kafka.security.ca",
            "ssl.certificate.location" => "it is kafka.security.certificate",
            "ssl.key.location" => "it is kafka.security.key",
            "ssl.key.password" => "it is kafka.security.key_password, the place of the password",
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
    fn parses_places_of_secrets() {
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
