//! The output's topic: created when it is missing, looked at when it is there.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::client::{ClientError, LoggingContext, base, explain, not_made, partitions};
use super::{Address, KafkaOptions};

/// How long the broker may take to create or to describe.
const LIMIT: Duration = Duration::from_secs(10);

/// Creates the topic if it is missing: compacted, so that the latest record of each key stays. If it is there, warns of
/// settings under which lists would be lost.
pub(super) fn prepare(address: &Address, options: &KafkaOptions, kind: Kind) -> Result<(), ClientError> {
    let config = base(address, options)?;
    let admin: AdminClient<LoggingContext> = rdkafka::config::FromClientConfigAndContext::from_config_and_context(
        &config,
        LoggingContext::of(&address.topic),
    )
    .map_err(|error| not_made(&error))?;
    let telling = admin.inner().context();
    // A thread of the admin client's own serves it.
    if partitions(admin.inner(), telling, &address.topic, || ())?.is_some() {
        if kind == Kind::Lists {
            check(&admin, &address.topic);
        }
        return Ok(());
    }
    if !options.create {
        return Err(ClientError::new("there is no such topic", "create it, or set kafka.create = true"));
    }
    create(&admin, address, options, kind)
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The latest record of each key is a list: compacted.
    Lists,
    /// Rejected records, as long as the broker keeps them.
    DeadLetterProducer,
}

fn create(
    admin: &AdminClient<LoggingContext>,
    address: &Address,
    options: &KafkaOptions,
    kind: Kind,
) -> Result<(), ClientError> {
    let telling = admin.inner().context();
    let replication = options.replication.map_or(-1, i32::from); // -1: the broker's default
    let mut topic = NewTopic::new(&address.topic, i32::from(options.partitions), TopicReplication::Fixed(replication));
    if kind == Kind::Lists {
        topic = topic.set("cleanup.policy", "compact");
    }
    let created = wait(admin.create_topics(&[topic], &AdminOptions::new().operation_timeout(Some(LIMIT))))
        .map_err(|error| explain(&error, telling))?;
    match created.into_iter().next() {
        // Another process may have been quicker.
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err((_, code))) => {
            return Err(ClientError::new(
                format!("the topic cannot be created: {code}"),
                "create it (compacted, see docs/kafka.md), or allow this user to",
            ));
        }
        None => return Err(ClientError::new("the broker does not say whether it created the topic", "create it")),
    }
    tracing::info!("created topic {} with {} partitions", address.topic, options.partitions);
    // It is known everywhere a moment later.
    for _ in 0..50 {
        if partitions(admin.inner(), telling, &address.topic, || ())?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(ClientError::new("the topic was created and is not there", "see the broker's log"))
}

/// Warns of settings that delete lists. That they cannot be read is no reason to stop.
fn check(admin: &AdminClient<LoggingContext>, topic: &str) {
    let resource = ResourceSpecifier::Topic(topic);
    let options = AdminOptions::new().request_timeout(Some(LIMIT / 2));
    let described = wait(admin.describe_configs(&[resource], &options)).map(|mut described| described.pop());
    let settings = match described {
        Ok(Some(Ok(settings))) => settings,
        other => {
            let why = other.map_or_else(|error| error.to_string(), |one| format!("{:?}", one.and_then(Result::err)));
            tracing::warn!(
                "the settings of topic {topic} cannot be checked ({why}): see that cleanup.policy is compact"
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
            "cleanup.policy is {policy} with retention.ms {} and retention.bytes {}: lists that do not change for so long \
             are deleted; set cleanup.policy=compact",
            value("retention.ms"),
            value("retention.bytes"),
        ));
    } else if !policy.contains("compact") {
        warnings.push(format!("cleanup.policy is {policy}: every change is kept for ever; set cleanup.policy=compact"));
    }
    warnings
}

/// Runs one question to its end.
fn wait<T>(question: impl Future<Output = KafkaResult<T>>) -> KafkaResult<T> {
    // A runtime of this thread alone does without anything that could fail to start.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("needs no thread and no socket");
    runtime.block_on(question)
}
