use crate::OpenError;

/// What follows `kafka://`: brokers and a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `host:port`, separated by commas.
    pub(crate) brokers: String,
    pub(crate) topic: String,
}

/// Longest name of a topic, as the broker has it.
const MAX_TOPIC: usize = 249;

impl Address {
    pub(crate) fn parse(rest: &str) -> Result<Self, OpenError> {
        let wrong = |what| OpenError::Unsupported {
            uri: format!("kafka://{rest}"),
            what,
            advice: "write kafka://HOST:PORT[,HOST:PORT...]/TOPIC",
        };
        let (brokers, topic) = rest.split_once('/').ok_or_else(|| wrong("no topic is named"))?;
        if brokers.is_empty() || brokers.split(',').any(|broker| broker.trim().is_empty()) {
            return Err(wrong("no broker is named, or there is a comma too many"));
        }
        if brokers.contains('@') {
            return Err(wrong("user and password do not belong here: they are set under [kafka.security]"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > MAX_TOPIC || matches!(topic, "." | "..") || !topic.chars().all(fits) {
            return Err(wrong("a topic is 1 to 249 letters, digits, dots, underscores and dashes"));
        }
        Ok(Address { brokers: brokers.to_owned(), topic: topic.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_a_topic() {
        let address = Address::parse("a:9092,b:9093/live.events_v-2").unwrap();
        assert_eq!((address.brokers.as_str(), address.topic.as_str()), ("a:9092,b:9093", "live.events_v-2"));
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
            &format!("a/{}", "t".repeat(250)),
        ] {
            assert!(Address::parse(wrong).is_err_and(|error| error.is_usage()), "{wrong}");
        }
    }
}
