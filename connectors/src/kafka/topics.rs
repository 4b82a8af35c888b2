//! Topics of sinks: created when they are missing, checked when they exist.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::client::{
    CONNECT_TIMEOUT, ClientError, LoggingContext, SERVE_TIMEOUT, base, config_error, consumer, explain, partitions,
};
use super::{Address, Delivery, KafkaOptions};
use crate::OpenError;

/// Time limit for creating or describing a topic.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic of a sink that is looked up, and neither created nor written to.
pub struct TopicClaim {
    pub(super) address: Address,
    pub(super) options: KafkaOptions,
    admin: AdminClient<LoggingContext>,
    exists: bool,
}

impl TopicClaim {
    /// Looks up the topic. A missing one is an error unless it may be created. `address` is what follows `kafka://`.
    pub(crate) fn new(address: &str, options: &KafkaOptions) -> Result<Self, OpenError> {
        let address = Address::parse(address)?;
        let name = address.to_string();
        Ok(TopicClaim::look_up(address, options.clone()).map_err(|error| error.of_sink(&name))?)
    }

    fn look_up(address: Address, options: KafkaOptions) -> Result<Self, ClientError> {
        let config = base(&address, &options)?;
        let context = LoggingContext::new(&address.topic);
        let admin: AdminClient<LoggingContext> =
            rdkafka::config::FromClientConfigAndContext::from_config_and_context(&config, context)
                .map_err(|error| config_error(&error))?;
        // The admin client has a thread that serves its callbacks.
        let exists = partitions(admin.inner(), admin.inner().context(), &address.topic, || ())?.is_some();
        if !exists && !options.create {
            return Err(ClientError::new("there is no such topic", "create it, or set kafka.create = true"));
        }
        Ok(TopicClaim { address, options, admin, exists })
    }

    /// The same topic with another delivery.
    pub(crate) fn with_delivery(self, delivery: Delivery) -> Self {
        TopicClaim { options: KafkaOptions { delivery, ..self.options }, ..self }
    }

    /// Creates the topic if it is missing. If it exists, warns about settings that would delete the latest record of a key.
    pub(super) fn prepare(&self, kind: TopicKind) -> Result<(), ClientError> {
        match (self.exists, kind) {
            (false, _) => create(&self.admin, &self.address, &self.options, kind)?,
            (true, TopicKind::Compacted) => check(&self.admin, &self.address.topic),
            (true, TopicKind::DeadLetters) => {}
        }
        Ok(())
    }
}

/// Whether two addresses, of which each is what follows `kafka://`, name one topic: the same name in the same cluster,
/// whatever its brokers are called. The brokers are asked only if the addresses have none in common.
pub fn is_same_topic(a: &str, b: &str, options: &KafkaOptions) -> Result<bool, OpenError> {
    let (a, b) = (Address::parse(a)?, Address::parse(b)?);
    if a.topic != b.topic {
        return Ok(false);
    }
    if a.brokers().any(|broker| b.brokers().any(|other| other == broker)) {
        return Ok(true);
    }
    let id = |address: &Address| cluster_id(address, options).map_err(|error| error.of_sink(&address.to_string()));
    let (a, b) = (id(&a)?, id(&b)?);
    Ok(a.is_some() && a == b)
}

/// The id of the cluster; very old brokers have none.
fn cluster_id(address: &Address, options: &KafkaOptions) -> Result<Option<String>, ClientError> {
    let consumer = consumer(address, options, &options.group, &[])?;
    let serve = || drop(consumer.poll(SERVE_TIMEOUT));
    partitions(consumer.client(), consumer.client().context(), &address.topic, serve)?;
    Ok(consumer.client().fetch_cluster_id(CONNECT_TIMEOUT))
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
