use std::fmt;

use crate::OpenError;

/// Brokers and a topic: the text after `kafka://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `host:port`, separated by commas.
    pub(super) brokers: String,
    pub(super) topic: String,
}

/// Longest name of a topic that a broker accepts.
const MAX_TOPIC: usize = 249;

impl Address {
    pub(super) fn parse(rest: &str) -> Result<Self, OpenError> {
        let wrong = |what| OpenError::Unsupported {
            uri: schema::redact_uris(&format!("kafka://{rest}")).into_owned(),
            what,
            advice: "write kafka://HOST:PORT[,HOST:PORT...]/TOPIC",
        };
        let (brokers, topic) = rest.split_once('/').ok_or_else(|| wrong("the topic is missing"))?;
        if brokers.is_empty() || brokers.split(',').any(|broker| broker.trim().is_empty()) {
            return Err(wrong("a broker is missing, or there is an extra comma"));
        }
        if brokers.contains('@') || brokers.contains("%40") {
            return Err(wrong("a URI must not contain user and password: set them under [kafka.security]"));
        }
        // librdkafka keeps the low 16 bits of a larger number and connects elsewhere.
        if !brokers.split(',').all(has_valid_port) {
            return Err(wrong("the port of a broker is a number from 1 to 65535"));
        }
        let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > MAX_TOPIC || matches!(topic, "." | "..") || !topic.chars().all(is_valid) {
            return Err(wrong("a topic is 1 to 249 letters, digits, dots, underscores and dashes"));
        }
        Ok(Address { brokers: brokers.to_owned(), topic: topic.to_owned() })
    }

    /// The brokers, each `host:port`.
    pub(super) fn brokers(&self) -> impl Iterator<Item = &str> {
        self.brokers.split(',').map(str::trim)
    }
}

/// The port may be missing. Only addresses in brackets have other colons.
fn has_valid_port(broker: &str) -> bool {
    let after_host = broker.trim().rsplit_once(']').map_or(broker.trim(), |(_, rest)| rest);
    after_host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// The URI.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka://{}/{}", self.brokers, self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_brokers_and_a_topic() {
        let address = Address::parse("a:9092,b:9093/live.events_v-2").unwrap();
        assert_eq!((address.brokers.as_str(), address.topic.as_str()), ("a:9092,b:9093", "live.events_v-2"));
        for valid in ["a/t", "[::1]:9092/t", "[::1]/t", "a:65535,b/t", "a:1, b:2/t"] {
            assert!(Address::parse(valid).is_ok(), "{valid}");
        }
        for wrong in [
            "",
            "a:9092",
            "/t",
            "a/",
            "a,/t",
            "a/b/c",
            "a/t t",
            "a/..",
            "ann:secret@a/t",
            "ann%3Asecret%40a/t",
            "localhost:99999/t",
            "a:9092,b:65536/t",
            "a:0/t",
            "a:/t",
            "a:kafka/t",
            "[::1]:70000/t",
            &format!("a/{}", "t".repeat(250)),
        ] {
            assert!(Address::parse(wrong).is_err_and(|error| error.is_usage()), "{wrong}");
        }
    }
}
