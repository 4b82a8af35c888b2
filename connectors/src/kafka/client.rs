//! What all clients share: options, what librdkafka tells on its own, and what its errors mean.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use super::{Address, KafkaOptions};

/// How long the beginning of a run waits for a broker to answer.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Time in which a client may tell what it knows: each event of its takes one turn.
pub(super) const TELLING: Duration = Duration::from_millis(20);

/// One question to a broker, so that a refusal is seen before the patience ends.
const ONE_TRY: Duration = Duration::from_secs(2);

/// What a topic's client cannot do.
#[derive(Clone, Debug)]
pub(super) struct ClientError {
    pub(super) what: String,
    pub(super) advice: String,
}

impl ClientError {
    pub(super) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        ClientError { what: what.into(), advice: advice.into() }
    }
}

/// The options of every client.
pub(super) fn base(address: &Address, options: &KafkaOptions) -> Result<ClientConfig, ClientError> {
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    let mut config = ClientConfig::new();
    // First, so that nothing of ours is overridden; what must not be set is refused with the configuration.
    for (name, value) in &options.more {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &address.brokers);
    config.set("client.id", config.get("client.id").unwrap_or("deltarec").to_owned());
    // From it comes the lag.
    config.set("statistics.interval.ms", "1000");
    // A broker that comes back is found within a second, not after the ten of the default.
    config.set("reconnect.backoff.max.ms", "1000");
    let security = &options.security;
    config.set("security.protocol", &security.protocol);
    for (name, value) in [
        ("sasl.mechanism", &security.mechanism),
        ("sasl.username", &security.username),
        ("ssl.ca.location", &security.ca),
        ("ssl.certificate.location", &security.certificate),
        ("ssl.key.location", &security.key),
    ] {
        if let Some(value) = value {
            config.set(name, value);
        }
    }
    for (name, key, place) in [
        ("sasl.password", "password", &security.password),
        ("ssl.key.password", "key_password", &security.key_password),
    ] {
        if let Some(place) = place {
            let secret = place.read().map_err(|what| {
                ClientError::new(format!("kafka.security.{key}: {what}"), "set it, or name another place")
            })?;
            config.set(name, secret);
        }
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    Ok(config)
}

/// What librdkafka tells on its own.
#[derive(Default)]
pub(super) struct LoggingContext {
    /// The topic whose statistics are of interest.
    topic: String,
    last_error: Mutex<Option<(RDKafkaErrorCode, String, Instant)>>,
    /// The end of each partition.
    ends: Mutex<BTreeMap<i32, i64>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoggingContext {
    pub(super) fn of(topic: &str) -> Self {
        LoggingContext { topic: topic.to_owned(), ..LoggingContext::default() }
    }

    /// The newest error that explains why nothing gets through.
    pub(super) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        locked(&self.last_error).as_ref().map(|(code, reason, _)| (*code, reason.clone()))
    }

    /// The end of each partition, as of the last second.
    pub(super) fn ends(&self) -> BTreeMap<i32, i64> {
        locked(&self.ends).clone()
    }

    fn tell(&self, code: RDKafkaErrorCode, reason: &str) {
        // That all brokers are down follows from what was told before, and says less.
        let mut last = locked(&self.last_error);
        if code == RDKafkaErrorCode::AllBrokersDown && last.is_some() {
            return;
        }
        let is_news = last.as_ref().is_none_or(|(known, _, at)| *known != code || at.elapsed() > QUIET);
        if is_news {
            tracing::warn!("kafka: {reason}");
            *last = Some((code, reason.to_owned(), Instant::now()));
        }
    }
}

/// Time within which the same error is not told again.
const QUIET: Duration = Duration::from_secs(30);

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Errors come a second time, as errors.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!("librdkafka: {facility} {message}");
            }
            _ => tracing::debug!("librdkafka: {facility} {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is no error, and comes where records come.
        if let Some(code) = error.rdkafka_error_code().filter(|code| *code != RDKafkaErrorCode::PartitionEOF) {
            self.tell(code, reason);
        }
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let known = topic.partitions.values().filter(|partition| partition.partition >= 0 && partition.hi_offset >= 0);
        *locked(&self.ends) = known.map(|partition| (partition.partition, partition.hi_offset)).collect();
    }
}

impl ConsumerContext for LoggingContext {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!("offsets are not committed, which only concerns display: {error}");
        }
    }
}

/// Asks until the broker answers or refuses, at most [`CONNECT_TIMEOUT`]. `None`: there is no such topic. `serve` lets the client
/// tell what it knows.
pub(super) fn partitions<C: ClientContext>(
    client: &Client<C>,
    telling: &LoggingContext,
    topic: &str,
    serve: impl Fn(),
) -> Result<Option<Vec<i32>>, ClientError> {
    let asked = Instant::now();
    loop {
        serve();
        let last = match client.fetch_metadata(Some(topic), ONE_TRY) {
            Ok(metadata) => {
                let found = metadata.topics().iter().find(|found| found.name() == topic);
                match found.and_then(|found| found.error().map(RDKafkaErrorCode::from)) {
                    None if found.is_some_and(|found| !found.partitions().is_empty()) => {
                        let partitions = found.into_iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
                        return Ok(Some(partitions.map(rdkafka::metadata::MetadataPartition::id).collect()));
                    }
                    None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                        return Ok(None);
                    }
                    Some(RDKafkaErrorCode::LeaderNotAvailable) => {
                        KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable)
                    }
                    Some(code) => return Err(explain(&KafkaError::MetadataFetch(code), telling)),
                }
            }
            Err(error) => error,
        };
        serve();
        let refused = telling.last_error().is_some_and(|(code, _)| {
            matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
        });
        if refused || asked.elapsed() > CONNECT_TIMEOUT {
            return Err(explain(&last, telling));
        }
    }
}

/// What an error means and what to do, in words.
pub(super) fn explain(error: &KafkaError, telling: &LoggingContext) -> ClientError {
    use RDKafkaErrorCode as Code;
    let told = telling.last_error();
    let own = error.rdkafka_error_code();
    // Of a question that nobody answers only what was told meanwhile says why.
    let unanswered = matches!(
        own,
        None | Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::RequestTimedOut
        )
    );
    let (code, reason) = match (unanswered, told) {
        (true, Some((code, reason))) => (Some(code), reason),
        _ => (own, error.to_string()),
    };
    match code {
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => ClientError::new(
            format!("the broker refused authentication: {reason}"),
            "check kafka.security: mechanism, username and where the password is",
        ),
        Some(Code::SSL) => ClientError::new(
            format!("no TLS with the broker: {reason}"),
            "check kafka.security: ca, certificate, key and the port",
        ),
        Some(
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => ClientError::new(format!("not allowed: {reason}"), "give this user the rights listed in docs/kafka.md"),
        Some(Code::Resolve) => ClientError::new(format!("unknown host: {reason}"), "check the broker's name"),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
            ClientError::new("there is no such topic", "check its name, or create it")
        }
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::RequestTimedOut) => {
            ClientError::new(
                format!("no broker answers: {reason}"),
                "check host and port, that the broker runs, and whether it wants TLS or SASL (kafka.security)",
            )
        }
        Some(Code::MessageSizeTooLarge) => ClientError::new(
            format!("a record is too large: {reason}"),
            "raise max.message.bytes of the topic and \"message.max.bytes\" in [kafka.options], or lower graph.k",
        ),
        Some(Code::InvalidConfig | Code::InvalidArgument) => {
            ClientError::new(reason, "see [kafka.options] and the list of librdkafka's options")
        }
        _ => ClientError::new(reason, "see the broker's log"),
    }
}

/// A client that cannot even be made: an option is wrong.
pub(super) fn not_made(error: &KafkaError) -> ClientError {
    match error {
        KafkaError::ClientConfig(_, what, name, _) => ClientError::new(
            format!("librdkafka does not take the option {name}: {what}"),
            "see [kafka.options], [kafka.security] and the list of librdkafka's options",
        ),
        error => {
            ClientError::new(format!("no client can be made: {error}"), "see [kafka.options] and [kafka.security]")
        }
    }
}
