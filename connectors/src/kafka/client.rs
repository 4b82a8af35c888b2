//! What all clients share: options, consumers, logging and statistics, the first contact with a broker, and error texts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::Client;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use super::options::check_secret_file;
use super::{Address, KafkaOptions};
use crate::{LogThrottle, SinkError, SourceError};

/// Time limit for the first answer of a broker.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Time limit of a poll that only serves the callbacks of a client.
pub(super) const SERVE_TIMEOUT: Duration = Duration::from_millis(20);

/// Time limit of one metadata request, short so that a refusal is noticed before [`CONNECT_TIMEOUT`].
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// Time after which a request for which a partition had no leader is repeated.
const LEADER_RETRY: Duration = Duration::from_millis(100);

/// A client failed: description and advice.
#[derive(Clone, Debug)]
pub(super) struct ClientError {
    pub(super) what: String,
    pub(super) advice: String,
}

impl ClientError {
    pub(super) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        ClientError { what: what.into(), advice: advice.into() }
    }

    /// A topic under a known name is another one.
    pub(super) fn recreated() -> Self {
        ClientError::new(
            "the topic was deleted and created again: positions in the old one mean nothing in it",
            "start with --rebuild to read all that is there",
        )
    }

    /// The failure of the source `name`.
    pub(super) fn of_source(self, name: &str) -> SourceError {
        let ClientError { what, advice } = self;
        SourceError { source_name: name.to_owned(), position: None, what, advice, cause: None }
    }

    /// The failure of the sink `name`.
    pub(super) fn of_sink(self, name: &str) -> SinkError {
        let ClientError { what, advice } = self;
        SinkError { sink_name: name.to_owned(), what, advice, closed: false, cause: None }
    }
}

/// The options of every client.
pub(super) fn base(address: &Address, options: &KafkaOptions) -> Result<ClientConfig, ClientError> {
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    let mut config = ClientConfig::new();
    // First, so that they override none of the options below. The configuration rejects options that must not be set.
    for (name, value) in &options.more {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &address.brokers);
    config.set("client.id", config.get("client.id").unwrap_or("deltarec").to_owned());
    // The lag is computed from the statistics.
    config.set("statistics.interval.ms", "1000");
    // Reconnects within a second; the default is ten.
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
                ClientError::new(format!("kafka.security.{key}: {what}"), "set it, or give another location")
            })?;
            config.set(name, secret.reveal());
        }
    }
    if let Some(key) = &security.key {
        check_secret_file(Path::new(key))
            .map_err(|what| ClientError::new(format!("kafka.security.key: {what}"), "only its owner may read it"))?;
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    Ok(config)
}

/// The options of a consumer.
pub(super) fn consumer_config(
    address: &Address,
    options: &KafkaOptions,
    group: &str,
) -> Result<ClientConfig, ClientError> {
    let mut config = base(address, options)?;
    // Required, and used for the commits of offsets, which are for monitoring. Nothing is rebalanced.
    config.set("group.id", group);
    // A position is valid only together with the state, so the snapshot has it and not the broker.
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    // Records of an open or aborted transaction do not exist (yet).
    config.set("isolation.level", "read_committed");
    // Shows that a partition is read to its end, even if its last offsets are transaction markers.
    config.set("enable.partition.eof", "true");
    // Bounds the memory of prefetched records.
    config.set("queued.max.messages.kbytes", (options.buffer >> 10).max(1).to_string());
    Ok(config)
}

/// A consumer of committed records with manual assignment of partitions. `more`: further options.
pub(super) fn consumer(
    address: &Address,
    options: &KafkaOptions,
    group: &str,
    more: &[(&str, &str)],
) -> Result<BaseConsumer<LoggingContext>, ClientError> {
    let mut config = consumer_config(address, options, group)?;
    for (name, value) in more {
        config.set(*name, *value);
    }
    config.create_with_context(LoggingContext::new(&address.topic)).map_err(|error| config_error(&error))
}

/// First and end offset of a partition. Retries while its leader changes, at most for [`CONNECT_TIMEOUT`].
pub(super) fn watermarks(
    consumer: &BaseConsumer<LoggingContext>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), ClientError> {
    let started = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, CONNECT_TIMEOUT) {
            Err(error) if has_no_leader(error.rdkafka_error_code()) && started.elapsed() < CONNECT_TIMEOUT => {
                tracing::debug!(topic, partition, %error, "the request is repeated");
                thread::sleep(LEADER_RETRY);
            }
            watermarks => return watermarks.map_err(|error| explain(&error, consumer.client().context())),
        }
    }
}

/// Whether a partition has no leader yet, or has another one than the client knows: for a moment after a topic was created,
/// and whenever brokers come and go.
fn has_no_leader(code: Option<RDKafkaErrorCode>) -> bool {
    matches!(
        code,
        Some(
            RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::OffsetNotAvailable
                | RDKafkaErrorCode::KafkaStorageError
        )
    )
}

/// Context of a client: logs errors and keeps the statistics of a topic.
#[derive(Default)]
pub(super) struct LoggingContext {
    /// Topic of the statistics.
    topic: String,
    last_error: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// By code of librdkafka, or 0 for its log. Errors of two brokers alternate.
    throttle: LogThrottle<i32>,
    /// End by partition.
    ends: Mutex<BTreeMap<i32, End>>,
}

/// The end of a partition, by the latest statistics.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Offset after the last record or transaction marker.
    pub(super) high: i64,
    /// Offset at which the client last reported that it has read everything. It counts markers, which are not delivered.
    pub(super) reported: i64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoggingContext {
    pub(super) fn new(topic: &str) -> Self {
        LoggingContext { topic: topic.to_owned(), ..LoggingContext::default() }
    }

    /// The latest error that explains why requests fail.
    pub(super) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        locked(&self.last_error).clone()
    }

    /// End by partition, updated every second.
    pub(super) fn ends(&self) -> BTreeMap<i32, End> {
        locked(&self.ends).clone()
    }

    fn log_error(&self, code: RDKafkaErrorCode, reason: &str) {
        // "All brokers are down" follows from the error before and has less information.
        let mut last = locked(&self.last_error);
        if code == RDKafkaErrorCode::AllBrokersDown && last.is_some() {
            return;
        }
        if let Some(suppressed) = self.throttle.admit(code as i32) {
            tracing::warn!(suppressed, "kafka: {reason}");
        }
        *last = Some((code, reason.to_owned()));
    }
}

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Errors arrive a second time, in `error`.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                if let Some(suppressed) = self.throttle.admit(0) {
                    tracing::error!(suppressed, "librdkafka: {facility} {message}");
                }
            }
            _ => tracing::debug!("librdkafka: {facility} {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is not an error, and the poll returns it too.
        if let Some(code) = error.rdkafka_error_code().filter(|code| *code != RDKafkaErrorCode::PartitionEOF) {
            self.log_error(code, reason);
        }
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let known = topic.partitions.values().filter(|partition| partition.partition >= 0 && partition.hi_offset >= 0);
        *locked(&self.ends) =
            known.map(|found| (found.partition, End { high: found.hi_offset, reported: found.eof_offset })).collect();
    }
}

impl ConsumerContext for LoggingContext {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets were not committed; this affects monitoring only");
        }
    }
}

/// Partitions of a topic; `None` if there is no such topic. Retries until the broker answers or refuses, at most for
/// [`CONNECT_TIMEOUT`]. `serve` polls the client, so that its callbacks run.
pub(super) fn partitions<C: ClientContext>(
    client: &Client<C>,
    context: &LoggingContext,
    topic: &str,
    serve: impl Fn(),
) -> Result<Option<Vec<i32>>, ClientError> {
    let started = Instant::now();
    loop {
        serve();
        let last = match client.fetch_metadata(Some(topic), METADATA_TIMEOUT) {
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
                    Some(code) if has_no_leader(Some(code)) => KafkaError::MetadataFetch(code),
                    Some(code) => return Err(explain(&KafkaError::MetadataFetch(code), context)),
                }
            }
            Err(error) => error,
        };
        serve();
        let refused = context.last_error().is_some_and(|(code, _)| {
            matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
        });
        if refused || started.elapsed() > CONNECT_TIMEOUT {
            return Err(explain(&last, context));
        }
        thread::sleep(LEADER_RETRY);
    }
}

/// Describes an error, with advice.
pub(super) fn explain(error: &KafkaError, context: &LoggingContext) -> ClientError {
    use RDKafkaErrorCode as Code;
    let own = error.rdkafka_error_code();
    // For a request without an answer, the cause is in the last error of the connection.
    let unanswered = matches!(
        own,
        None | Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::RequestTimedOut
        )
    );
    let (code, reason) = match (unanswered, context.last_error()) {
        (true, Some((code, reason))) => (Some(code), reason),
        _ => (own, error.to_string()),
    };
    match code {
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => ClientError::new(
            format!("the broker refused authentication: {reason}"),
            "check kafka.security: mechanism, username and the location of the password",
        ),
        Some(Code::SSL) => ClientError::new(
            format!("TLS with the broker failed: {reason}"),
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
        Some(Code::UnknownPartition) => {
            ClientError::new("the topic, or a partition of it, was deleted", "create it again, and start again")
        }
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::RequestTimedOut) => {
            ClientError::new(
                format!("no broker answers: {reason}"),
                "check host and port, that the broker runs, and whether it requires TLS or SASL (kafka.security)",
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

/// The description of a wrong option, without its value if that may be a secret.
fn without_value(what: &str, name: &str, value: &str) -> String {
    if value.is_empty() || !schema::is_secret_name(name) { what.to_owned() } else { what.replace(value, "(hidden)") }
}

/// Describes why a client could not be created: an option is invalid.
pub(super) fn config_error(error: &KafkaError) -> ClientError {
    match error {
        // The description repeats the value.
        KafkaError::ClientConfig(_, what, name, value) => ClientError::new(
            format!("librdkafka rejects the option {name}: {}", without_value(what, name, value)),
            "see [kafka.options], [kafka.security] and the list of librdkafka's options",
        ),
        error => {
            ClientError::new(format!("cannot create a client: {error}"), "see [kafka.options] and [kafka.security]")
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    #[test]
    fn a_partition_without_a_leader_is_asked_again() {
        let broker = MockCluster::<DefaultProducerContext>::new(1).unwrap();
        broker.create_topic("t", 1, 1).unwrap();
        let address = Address::parse(&format!("{}/t", broker.bootstrap_servers())).unwrap();
        let consumer = consumer(&address, &KafkaOptions::default(), "g", &[]).unwrap();
        let errors = [
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        ];
        broker.request_errors(RDKafkaApiKey::ListOffsets, &errors);
        assert_eq!(watermarks(&consumer, "t", 0).map_err(|error| error.what), Ok((0, 0)));
        broker.request_errors(
            RDKafkaApiKey::ListOffsets,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 2],
        );
        assert!(watermarks(&consumer, "t", 0).is_err_and(|error| error.what.contains("not allowed")));
    }
}
