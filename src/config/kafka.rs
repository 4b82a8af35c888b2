use std::collections::BTreeMap;

use connectors::{Delivery, KafkaOptions, SecretPlace, Security};

use super::raw::Kind;
use super::reader::Reader;
use super::rules::{MAX_DURATION, duration, integer, one_of, size, text};

/// The section whose keys are librdkafka's.
const OPTIONS: &str = "kafka.options";

/// The `[kafka]` section: how topics are read and written.
pub(super) fn read(reader: &mut Reader) -> KafkaOptions {
    let delivery = reader.read("kafka", "delivery", one_of(&["transactional", "idempotent"]));
    let create = reader.read("kafka", "create", one_of(&["yes", "no"]));
    KafkaOptions {
        delivery: if delivery == "idempotent" { Delivery::Idempotent } else { Delivery::Transactional },
        group: reader.read("kafka", "group", name),
        create: create != "no",
        partitions: reader.read("kafka", "partitions", integer(1..=10_000)),
        replication: reader.read("kafka", "replication", integer(0..=100)),
        compression: reader.read("kafka", "compression", one_of(&["none", "gzip", "snappy", "lz4", "zstd"])),
        linger: reader.read("kafka", "linger", duration(0..=60_000)),
        buffer: reader.read("kafka", "buffer", size(1 << 20..=1 << 30)),
        refresh: reader.read("kafka", "refresh", duration(100..=MAX_DURATION)),
        security: security(reader),
        more: more(reader),
    }
}

fn security(reader: &mut Reader) -> Security {
    const SECTION: &str = "kafka.security";
    let protocols = &["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
    let mechanisms = &["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    let security = Security {
        protocol: reader.read(SECTION, "protocol", one_of(protocols)),
        mechanism: reader.read(SECTION, "mechanism", one_of(mechanisms)),
        username: reader.read(SECTION, "username", text),
        password: reader.read_secret(SECTION, "password", secret),
        ca: reader.read(SECTION, "ca", text),
        certificate: reader.read(SECTION, "certificate", text),
        key: reader.read(SECTION, "key", text),
        key_password: reader.read_secret(SECTION, "key_password", secret),
    };
    let sasl = security.protocol.starts_with("sasl");
    if sasl && security.mechanism.is_empty() {
        reader.refuse(SECTION, "mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with protocol sasl_*".into());
    }
    if sasl && security.username.is_empty() {
        reader.refuse(SECTION, "username", "set with protocol sasl_*".into());
    }
    security
}

fn name(value: &Kind) -> Result<String, String> {
    text(value).ok().filter(|name| !name.is_empty()).ok_or_else(|| "a name in quotes".into())
}

/// Where a secret is, and never the secret itself.
fn secret(value: &Kind) -> Result<Option<SecretPlace>, String> {
    let right = || "\"env:VARIABLE\" or \"file:PATH\", the place of the password and not the password".to_owned();
    match value {
        Kind::Text(place) if place.is_empty() => Ok(None),
        Kind::Text(place) => place.parse().map(Some).map_err(|()| right()),
        _ => Err(right()),
    }
}

/// Options of librdkafka's, as they are.
fn more(reader: &mut Reader) -> BTreeMap<String, String> {
    let names: Vec<String> = reader.names(OPTIONS).map(ToOwned::to_owned).collect();
    let mut more = BTreeMap::new();
    for name in names {
        if let Some(reason) = KafkaOptions::refused(&name) {
            reader.refuse_hidden(OPTIONS, &name, format!("left out: {reason}"));
            continue;
        }
        let value = reader.value(OPTIONS, &name);
        let value = match &value.kind {
            Kind::Text(text) => text.clone(),
            Kind::Integer(number) => number.to_string(),
            Kind::Other => value.given.clone(),
            Kind::Array(_) | Kind::Table(_) => {
                reader.refuse(OPTIONS, &name, "a text, a number, true or false".into());
                continue;
            }
        };
        more.insert(name, value);
    }
    more
}
