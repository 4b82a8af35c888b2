use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// How topics are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaOptions {
    /// How changes are written.
    pub delivery: Delivery,
    /// Under which group offsets are committed, for others to see how far reading is.
    pub group: String,
    /// Whether an output topic that is missing is created.
    pub create: bool,
    /// Partitions of a topic that is created.
    pub partitions: u16,
    /// Copies of each of its partitions; 0: as many as the broker has as its default.
    pub replication: u16,
    /// How records are packed: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: String,
    /// How long a record may wait for others to be sent with, in ms.
    pub linger: u64,
    /// Most bytes read ahead, and most bytes written and not yet acknowledged.
    pub buffer: usize,
    /// How often new partitions are looked for, in ms.
    pub refresh: u64,
    /// Encryption and who we are.
    pub security: Security,
    /// Any other option of librdkafka's.
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

/// How changes are written to a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// In transactions: a process that was taken for dead cannot write any more once another has begun.
    #[default]
    Transactional,
    /// One by one, in order and none twice; an old process that wakes up is not kept out.
    Idempotent,
}

/// Encryption and authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`; empty: `plaintext`.
    pub protocol: String,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// Who we are to SASL.
    pub username: String,
    /// Where the password is.
    pub password: Option<SecretPlace>,
    /// File of the certificates that brokers are checked against; empty: those of the system.
    pub ca: String,
    /// File of our own certificate, where brokers ask for one.
    pub certificate: String,
    /// File of its key.
    pub key: String,
    /// Where the key's password is.
    pub key_password: Option<SecretPlace>,
}

/// Where a password is: never in a configuration, so never in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In an environment variable.
    Env(String),
    /// In a file, whose last line end is not part of it.
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

/// Its own words, not what is there.
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
        let failed = |error: &dyn fmt::Display| format!("{self} cannot be read: {error}");
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
    /// Why an option of librdkafka's is not the user's to set; `None` if it is.
    pub fn refused(name: &str) -> Option<&'static str> {
        Some(match name {
            "bootstrap.servers" | "metadata.broker.list" => "the brokers stand in the URI",
            "group.id" => "it is kafka.group",
            "enable.auto.commit" | "auto.commit.enable" | "auto.commit.interval.ms" | "enable.auto.offset.store" => {
                "a position counts only together with its state; the broker's is for display"
            }
            "auto.offset.reset" => "records that are gone before they were read must be reported, not skipped",
            "enable.partition.eof" => "the end of a partition tells when the output may open",
            "isolation.level" => "records of a transaction that is aborted are no events, and no lists",
            "enable.idempotence" | "transactional.id" | "acks" | "request.required.acks" => "kafka.delivery decides it",
            "message.timeout.ms" | "delivery.timeout.ms" | "retries" | "message.send.max.retries" => {
                "a change is never given up"
            }
            "max.in.flight" | "max.in.flight.requests.per.connection" | "enable.gapless.guarantee" => {
                "the order of the changes of a user depends on it"
            }
            "partitioner" => "all changes of a user belong to one partition, the one Java producers would choose",
            "linger.ms" | "queue.buffering.max.ms" => "it is kafka.linger",
            "compression.codec" | "compression.type" => "it is kafka.compression",
            "queued.max.messages.kbytes" | "queue.buffering.max.kbytes" => "it is kafka.buffer",
            "statistics.interval.ms" => "the lag is taken from the statistics",
            "security.protocol" => "it is kafka.security.protocol",
            "sasl.mechanism" | "sasl.mechanisms" => "it is kafka.security.mechanism",
            "sasl.username" => "it is kafka.security.username",
            "sasl.password" => "it is kafka.security.password, which says where the password is",
            "ssl.ca.location" => "it is kafka.security.ca",
            "ssl.certificate.location" => "it is kafka.security.certificate",
            "ssl.key.location" => "it is kafka.security.key",
            "ssl.key.password" => "it is kafka.security.key_password, which says where the password is",
            "ssl.keystore.password" | "sasl.oauthbearer.client.secret" | "ssl.key.pem" => {
                "a secret must not stand in a configuration"
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_places() {
        assert_eq!("env:PW".parse(), Ok(SecretPlace::Env("PW".into())));
        assert_eq!("file:/run/secrets/pw".parse(), Ok(SecretPlace::File("/run/secrets/pw".into())));
        for wrong in ["", "secret", "env:", "file:", "http:x"] {
            assert_eq!(wrong.parse::<SecretPlace>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn what_exactness_rests_on_is_not_for_setting() {
        for name in ["isolation.level", "acks", "auto.offset.reset", "sasl.password"] {
            assert!(KafkaOptions::refused(name).is_some(), "{name}");
        }
        assert_eq!(KafkaOptions::refused("socket.timeout.ms"), None);
    }
}
