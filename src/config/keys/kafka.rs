//! `[kafka]`, `[kafka.security]` and `[kafka.options]`: access to topics.

use connectors::{Delivery, KafkaOptions, wrong_option};

use super::{Key, Section, key};
use crate::config::Config;
use crate::config::raw::Kind;
use crate::config::reader::Reader;
use crate::config::rules::{MAX_DURATION, boolean, choice, duration, integer, name, one_of, secret, size, text};

const SECURITY: &str = "kafka.security";
/// The section of librdkafka's own options.
const OPTIONS: &str = "kafka.options";

pub(super) fn sections() -> Vec<Section> {
    vec![
        Section {
            name: "kafka",
            doc: "Topics of Apache Kafka as inputs, as outputs and for rejected records. See docs/kafka.md.",
            keys: keys(),
            ..Section::EMPTY
        },
        Section { name: SECURITY, keys: security(), finish: check_sasl, ..Section::EMPTY },
        Section {
            name: OPTIONS,
            doc: "Any option of librdkafka by its own name: \"socket.timeout.ms\" = 30000. Options on which the answers \
                  depend are refused, with the reason.",
            open: true,
            finish: read_options,
            ..Section::EMPTY
        },
    ]
}

fn keys() -> Vec<Key> {
    let delivery = choice([("transactional", Delivery::Transactional), ("idempotent", Delivery::Idempotent)]);
    vec![
        Key {
            name: "delivery",
            doc: "How lists are written. `transactional`: related records become visible at once, and an old process that \
                  wakes up cannot overwrite a new one; consumers read with isolation.level=read_committed. `idempotent`: \
                  a few milliseconds faster, without that fence.",
            ..key(delivery, |config| &mut config.kafka.delivery)
        },
        Key {
            name: "group",
            doc: "Name of this installation at the broker: the group of the offsets committed for display, and the prefix \
                  of the transactional id. Two installations that write different topics from one input need different \
                  names.",
            ..key(name(), |config| &mut config.kafka.group)
        },
        Key {
            name: "create",
            doc: "Whether a missing topic for lists or rejected records is created.",
            ..key(boolean(), |config| &mut config.kafka.create)
        },
        Key {
            name: "partitions",
            doc: "Partitions of a created topic.",
            ..key(integer(1..=10_000), |config| &mut config.kafka.partitions)
        },
        Key {
            name: "replication",
            default: "0".into(),
            doc: "Replicas of each partition of a created topic. 0 is the broker's default.",
            ..key(integer(0..=100).map(|replicas| (replicas > 0).then_some(replicas)), |config| {
                &mut config.kafka.replication
            })
        },
        Key {
            name: "compression",
            doc: "Compression of written records.",
            ..key(one_of(&["none", "gzip", "snappy", "lz4", "zstd"]), |config| &mut config.kafka.compression)
        },
        Key {
            name: "linger",
            doc: "Time that a record may wait for others to be sent with. A longer time is less work for the broker, at \
                  more latency.",
            ..key(duration(0..=60_000), |config| &mut config.kafka.linger)
        },
        Key {
            name: "buffer",
            doc: "Memory per topic: bytes read ahead, and bytes written and not yet acknowledged, at most.",
            ..key(size(1 << 20..=1 << 30), |config| &mut config.kafka.buffer)
        },
        Key {
            name: "refresh",
            doc: "Time between two searches for new partitions.",
            ..key(duration(100..=MAX_DURATION), |config| &mut config.kafka.refresh)
        },
    ]
}

fn security() -> Vec<Key> {
    vec![
        Key {
            name: "protocol",
            doc: "Protocol of the brokers' port.",
            ..key(one_of(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]), |config| {
                &mut config.kafka.security.protocol
            })
        },
        Key {
            name: "mechanism",
            example: "\"SCRAM-SHA-512\"",
            doc: "SASL mechanism, required by `sasl_*`.",
            ..key(one_of(&["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]).optional(), |config| {
                &mut config.kafka.security.mechanism
            })
        },
        Key {
            name: "username",
            example: "\"deltarec\"",
            doc: "SASL user name, required by `sasl_*`.",
            ..key(text().optional(), |config| &mut config.kafka.security.username)
        },
        Key {
            name: "password",
            example: "\"env:KAFKA_PASSWORD\"",
            doc: "Location of the SASL password. The password itself is never in a configuration or a log.",
            secret: true,
            ..key(secret(), |config| &mut config.kafka.security.password)
        },
        Key {
            name: "ca",
            example: "\"/etc/ssl/brokers.pem\"",
            doc: "File of the certificates (PEM) that brokers are checked against. Without it those of the system are used.",
            ..key(text().optional(), |config| &mut config.kafka.security.ca)
        },
        Key {
            name: "certificate",
            example: "\"/etc/ssl/deltarec.pem\"",
            doc: "File of the client certificate (PEM), if brokers require one.",
            ..key(text().optional(), |config| &mut config.kafka.security.certificate)
        },
        Key {
            name: "key",
            example: "\"/etc/ssl/deltarec.key\"",
            doc: "File of the client certificate's key (PEM).",
            ..key(text().optional(), |config| &mut config.kafka.security.key)
        },
        Key {
            name: "key_password",
            example: "\"file:/run/secrets/key\"",
            doc: "Location of the key's password.",
            secret: true,
            ..key(secret(), |config| &mut config.kafka.security.key_password)
        },
    ]
}

/// Checks that SASL has a mechanism and a user.
fn check_sasl(reader: &mut Reader, config: &mut Config) {
    let security = &config.kafka.security;
    if !security.protocol.starts_with("sasl") {
        return;
    }
    if security.mechanism.is_none() && reader.is_read(&["kafka.security.mechanism"]) {
        let right = "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with protocol sasl_*";
        reader.require(SECURITY, "mechanism", "protocol", right);
    }
    if security.username.is_none() && reader.is_read(&["kafka.security.username"]) {
        reader.require(SECURITY, "username", "protocol", "set with protocol sasl_*");
    }
}

/// Reads the options of librdkafka, which are passed on unchanged.
fn read_options(reader: &mut Reader, config: &mut Config) {
    for name in reader.names(OPTIONS) {
        if let Some(reason) = KafkaOptions::refused(&name) {
            reader.refuse_hidden(OPTIONS, &name, format!("omitted: {reason}"));
            continue;
        }
        let value = reader.value(OPTIONS, &name);
        let text = match &value.kind {
            Kind::Text(text) => text.clone(),
            Kind::Integer(number) => number.to_string(),
            Kind::Boolean(_) | Kind::Other => value.given.clone(),
            Kind::Array(_) | Kind::Table(_) => {
                reader.refuse_hidden(OPTIONS, &name, "a text, a number, true or false".into());
                continue;
            }
        };
        if let Some(right) = wrong_option(&name, &text) {
            reader.refuse_hidden(OPTIONS, &name, right);
            continue;
        }
        config.kafka.more.insert(name, text);
    }
}
