//! Topics of sinks: created when they are missing, checked when they exist.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::client::{ClientError, LoggingContext, base, config_error, explain, partitions};
use super::{Address, KafkaOptions};

/// Time limit for creating or describing a topic.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Creates the topic if it is missing. If it exists, warns about settings that would delete the latest record of a key.
pub(super) fn prepare(address: &Address, options: &KafkaOptions, kind: TopicKind) -> Result<(), ClientError> {
    let config = base(address, options)?;
    let admin: AdminClient<LoggingContext> = rdkafka::config::FromClientConfigAndContext::from_config_and_context(
        &config,
        LoggingContext::new(&address.topic),
    )
    .map_err(|error| config_error(&error))?;
    let context = admin.inner().context();
    // The admin client has a thread that serves its callbacks.
    if partitions(admin.inner(), context, &address.topic, || ())?.is_some() {
        if kind == TopicKind::Compacted {
            check(&admin, &address.topic);
        }
        return Ok(());
    }
    if !options.create {
        return Err(ClientError::new("there is no such topic", "create it, or set kafka.create = true"));
    }
    create(&admin, address, options, kind)
}

/// Purpose of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicKind {
    /// Keyed records, of which the latest of each key is kept.
    Compacted,
    /// Rejected records, retained by the broker's default.
    DeadLetters,
}

fn create(
    admin: &AdminClient<LoggingContext>,
    address: &Address,
    options: &KafkaOptions,
    kind: TopicKind,
) -> Result<(), ClientError> {
    let context = admin.inner().context();
    let replication = options.replication.map_or(-1, i32::from); // -1: the broker's default
    let mut topic = NewTopic::new(&address.topic, i32::from(options.partitions), TopicReplication::Fixed(replication));
    if kind == TopicKind::Compacted {
        topic = topic.set("cleanup.policy", "compact");
    }
    let created = wait(admin.create_topics(&[topic], &AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT))))
        .map_err(|error| explain(&error, context))?;
    match created.into_iter().next() {
        // Another process may have created it in the meantime.
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err((_, code))) => {
            return Err(ClientError::new(
                format!("the topic cannot be created: {code}"),
                "create it (compacted, see docs/kafka.md), or allow this user to",
            ));
        }
        None => return Err(ClientError::new("the broker did not report whether it created the topic", "create it")),
    }
    tracing::info!(topic = %address.topic, partitions = options.partitions, "created topic");
    // The metadata reach all brokers a moment later.
    for _ in 0..50 {
        if partitions(admin.inner(), context, &address.topic, || ())?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(ClientError::new("the topic was created, but the brokers do not have it", "see the broker's log"))
}

/// Warns about settings that delete records. Settings that cannot be read are not an error.
fn check(admin: &AdminClient<LoggingContext>, topic: &str) {
    let resource = ResourceSpecifier::Topic(topic);
    let options = AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT / 2));
    let described = wait(admin.describe_configs(&[resource], &options)).map(|mut described| described.pop());
    let settings = match described {
        Ok(Some(Ok(settings))) => settings,
        other => {
            let reason = other.map_or_else(|error| error.to_string(), |one| format!("{:?}", one.and_then(Result::err)));
            tracing::warn!(
                topic,
                reason,
                "cannot check the settings of the topic: make sure that cleanup.policy is compact"
            );
            return;
        }
    };
    for warning in warnings(&settings) {
        tracing::warn!("topic {topic}: {warning}");
    }
}

fn warnings(settings: &ConfigResource) -> Vec<String> {
    let value = |name| settings.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or("");
    let policy = value("cleanup.policy");
    let mut warnings = Vec::new();
    if policy.contains("delete") && (value("retention.ms") != "-1" || value("retention.bytes") != "-1") {
        warnings.push(format!(
            "cleanup.policy is {policy} with retention.ms {} and retention.bytes {}: records older than that are \
             deleted, although they are the latest of their keys; set cleanup.policy=compact",
            value("retention.ms"),
            value("retention.bytes"),
        ));
    } else if !policy.contains("compact") {
        warnings.push(format!("cleanup.policy is {policy}: old records are never deleted; set cleanup.policy=compact"));
    }
    warnings
}

/// Runs one request to its end.
fn wait<T>(request: impl Future<Output = KafkaResult<T>>) -> KafkaResult<T> {
    // A runtime on this thread needs nothing that could fail to start.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("needs no thread and no socket");
    runtime.block_on(request)
}
