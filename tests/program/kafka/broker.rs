//! The tests' own access to brokers and topics.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};
use schema::{Change, Event};

use super::super::Lists;

/// Time limit for a topic to hold what is expected.
pub(super) const TOPIC_TIMEOUT: Duration = Duration::from_secs(180);

/// The address of a broker, and what tests do with its topics.
#[derive(Clone)]
pub(super) struct Broker {
    pub(super) address: String,
}

type Mock = MockCluster<'static, DefaultProducerContext>;

thread_local! {
    /// The mock cluster of this test. It creates the topics itself, as it does not support the admin interface.
    static MOCK: Cell<Option<&'static Mock>> = const { Cell::new(None) };
}

/// The broker that `DELTAREC_KAFKA` names. Without one the test is skipped, with a note that bypasses output capture.
pub(super) fn real_broker(test: &str) -> Option<Broker> {
    match std::env::var("DELTAREC_KAFKA") {
        Ok(address) if !address.is_empty() => Some(Broker::at(address)),
        _ => {
            let note = format!("skipped, needs a broker (eval \"$(scripts/kafka start)\"): {test}\n");
            std::io::stderr().write_all(note.as_bytes()).unwrap();
            None
        }
    }
}

/// The broker that `DELTAREC_KAFKA` names, or else librdkafka's mock cluster, which lives as long as this process.
pub(super) fn real_or_mock_broker() -> Broker {
    match std::env::var("DELTAREC_KAFKA") {
        Ok(address) if !address.is_empty() => Broker::at(address),
        _ => {
            let mock: &'static Mock = Box::leak(Box::new(Mock::new(1).unwrap()));
            MOCK.set(Some(mock));
            Broker::at(mock.bootstrap_servers())
        }
    }
}

/// A mock cluster of its own, whose broker can be taken down.
pub(super) struct Outage(Mock);

impl Outage {
    pub(super) fn new() -> Self {
        Outage(Mock::new(1).unwrap())
    }

    /// The broker, with this topic.
    pub(super) fn broker(&self, topic: &str) -> Broker {
        self.0.create_topic(topic, 1, 1).unwrap();
        Broker::at(self.0.bootstrap_servers())
    }

    pub(super) fn begin(&self) {
        self.0.broker_down(1).unwrap();
    }

    pub(super) fn end(&self) {
        self.0.broker_up(1).unwrap();
    }
}

/// A record of a topic.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: BTreeMap<String, Vec<u8>>,
}

impl Record {
    pub(super) fn user(&self) -> String {
        String::from_utf8(self.key.clone().unwrap()).unwrap()
    }

    /// The list; a tombstone is the empty list. `None`: the value is not a change.
    pub(super) fn items(&self) -> Option<Vec<String>> {
        let Some(value) = &self.value else { return Some(Vec::new()) };
        let change: Change = serde_json::from_slice(value).ok()?;
        assert_eq!(change.key.to_string(), self.user());
        assert!(!change.items.is_empty(), "an empty list is a tombstone");
        Some(change.items.into_iter().map(|scored| scored.item).collect())
    }

    /// The tick of the change; `None` for a tombstone or another value.
    pub(super) fn at(&self) -> Option<u64> {
        let change: Change = serde_json::from_slice(self.value.as_deref()?).ok()?;
        Some(change.at)
    }
}

impl Broker {
    pub(super) fn is_mock(&self) -> bool {
        MOCK.get().is_some_and(|mock| mock.bootstrap_servers() == self.address)
    }

    pub(super) fn at(address: String) -> Self {
        Broker { address }
    }

    pub(super) fn uri(&self, topic: &str) -> String {
        format!("kafka://{}/{topic}", self.address)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        AdminClient::from_config(&self.config()).unwrap()
    }

    /// Creates a topic with a unique name that begins with `prefix`, unless `partitions` is 0. Returns the name.
    pub(super) fn topic(&self, prefix: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        if let Some(mock) = MOCK.get() {
            mock.create_topic(&name, partitions.max(1), 1).unwrap();
        } else if partitions > 0 {
            let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
            for (key, value) in settings {
                topic = topic.set(key, value);
            }
            let created = block_on(self.admin().create_topics(&[topic], &AdminOptions::new())).unwrap();
            created.into_iter().next().unwrap().unwrap();
        }
        name
    }

    pub(super) fn add_partitions(&self, topic: &str, count: usize) {
        let partitions = NewPartitions::new(topic, count);
        let added = block_on(self.admin().create_partitions(&[partitions], &AdminOptions::new())).unwrap();
        added.into_iter().next().unwrap().unwrap();
    }

    /// Deletes a topic and creates it again.
    pub(super) fn recreate(&self, topic: &str, partitions: i32) {
        let deleted = block_on(self.admin().delete_topics(&[topic], &AdminOptions::new())).unwrap();
        deleted.into_iter().next().unwrap().unwrap();
        let begin = Instant::now();
        loop {
            // A topic is deleted in the background.
            let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
            let created = block_on(self.admin().create_topics(&[new], &AdminOptions::new())).unwrap();
            match created.into_iter().next().unwrap() {
                Ok(_) => return,
                Err(error) => assert!(begin.elapsed() < TOPIC_TIMEOUT, "{error:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Appends events in one transaction.
    pub(super) fn produce_in_transaction(&self, topic: &str, events: &[Event]) {
        let producer: BaseProducer = self.config().set("transactional.id", format!("of-{topic}")).create().unwrap();
        producer.init_transactions(TOPIC_TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        for event in events {
            let value = serde_json::to_vec(event).unwrap();
            producer.send(BaseRecord::to(topic).key(&event.user).payload(&value)).map_err(|(error, _)| error).unwrap();
        }
        producer.commit_transaction(TOPIC_TIMEOUT).unwrap();
    }

    pub(super) fn producer(&self) -> BaseProducer {
        self.config().set("linger.ms", "5").set("queue.buffering.max.messages", "2000000").create().unwrap()
    }

    /// Appends events with their user as the key.
    pub(super) fn produce(&self, topic: &str, events: &[Event]) {
        let values: Vec<_> =
            events.iter().map(|event| (event.user.clone(), serde_json::to_vec(event).unwrap())).collect();
        self.send(topic, values.iter().map(|(key, value)| (Some(key.as_bytes()), Some(value.as_slice()))));
    }

    /// Appends records `(key, value)`.
    pub(super) fn send<'r>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (Option<&'r [u8]>, Option<&'r [u8]>)>,
    ) {
        self.send_with(topic, records, &[]);
    }

    /// The same with these headers on each record.
    pub(super) fn send_with<'r>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (Option<&'r [u8]>, Option<&'r [u8]>)>,
        headers: &[(&str, &[u8])],
    ) {
        let producer = self.producer();
        for (key, value) in records {
            let all = headers
                .iter()
                .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).headers(all);
            (record.key, record.payload) = (key, value);
            while let Err((_, rejected)) = producer.send(record) {
                producer.poll(Duration::from_millis(5));
                record = rejected;
            }
        }
        producer.flush(TOPIC_TIMEOUT).unwrap();
    }

    /// All committed records of a topic; those of a partition are in order.
    pub(super) fn read(&self, topic: &str) -> Vec<Record> {
        let mut tail = self.tail(topic);
        let mut records = Vec::new();
        while !tail.at_end() {
            tail.poll(&mut records);
        }
        records
    }

    pub(super) fn tail(&self, topic: &str) -> Tail {
        let mut config = self.config();
        config.set("group.id", "tests").set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true").set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut unfinished = Vec::new();
        let mut assignment = TopicPartitionList::new();
        for partition in Self::partitions(&consumer, topic) {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            unfinished.push(partition);
        }
        consumer.assign(&assignment).unwrap();
        Tail { consumer, unfinished }
    }

    /// The partitions of a topic, once it exists.
    fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
        let start = Instant::now();
        loop {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10));
            let found = metadata.map(|found| {
                found.topics()[0].partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect()
            });
            match found {
                Ok(partitions) if !Vec::<i32>::is_empty(&partitions) => return partitions,
                _ => assert!(start.elapsed() < TOPIC_TIMEOUT, "topic {topic} does not exist"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The lists in a topic.
    pub(super) fn lists(&self, topic: &str) -> Lists {
        lists(&self.read(topic))
    }

    /// Waits until a topic holds exactly these lists. Returns all its records.
    pub(super) fn wait_for_lists(&self, topic: &str, expected: &Lists, what: &str) -> Vec<Record> {
        let start = Instant::now();
        let mut tail = self.tail(topic);
        let mut records = Vec::new();
        loop {
            // A comparison is slow, so it is made only while no record arrives.
            if !tail.poll(&mut records) && tail.at_end() && lists(&records) == *expected {
                return records;
            }
            if start.elapsed() > TOPIC_TIMEOUT {
                let found = lists(&records);
                let differing: Vec<_> = found
                    .keys()
                    .chain(expected.keys())
                    .filter(|user| found.get(*user) != expected.get(*user))
                    .collect();
                panic!(
                    "{what}: after {TOPIC_TIMEOUT:?} {} lists of {} differ, first {:?}: {:?}, expected {:?}",
                    differing.len(),
                    expected.len(),
                    differing.first(),
                    differing.first().and_then(|user| found.get(*user)),
                    differing.first().and_then(|user| expected.get(*user)),
                );
            }
        }
    }
}

/// Follows a topic from its beginning.
pub(super) struct Tail {
    consumer: BaseConsumer,
    /// Partitions whose end has not been reached yet.
    unfinished: Vec<i32>,
}

impl Tail {
    /// Whether the end of every partition has been reached once.
    pub(super) fn at_end(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// Appends the next record. `false`: none arrived within 100 ms.
    pub(super) fn poll(&mut self, records: &mut Vec<Record>) -> bool {
        match self.consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message
                    .headers()
                    .into_iter()
                    .flat_map(|headers| headers.iter())
                    .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                    .collect(),
            }),
            Some(Err(KafkaError::PartitionEOF(partition))) => self.unfinished.retain(|other| *other != partition),
            Some(Err(error)) => println!("the test's consumer: {error}"),
            None => return false,
        }
        true
    }
}

/// The lists after all records: the last record of each key.
pub(super) fn lists(records: &[Record]) -> Lists {
    let mut lists = Lists::new();
    for record in records {
        if let (Some(_), Some(items)) = (&record.key, record.items()) {
            lists.insert(record.user(), items);
        }
    }
    lists.retain(|_, items| !items.is_empty());
    lists
}

/// Asserts for each user that consecutive lists differ, beginning with the empty list, and that time does not decrease.
pub(super) fn assert_no_repeats(records: &[Record]) {
    let mut last: BTreeMap<String, (Vec<String>, u64)> = BTreeMap::new();
    for record in records {
        let (user, items) = (record.user(), record.items().unwrap());
        let (before, at) = last.get(&user).cloned().unwrap_or_default();
        let location = format!("{user}, partition {}, offset {}", record.partition, record.offset);
        assert_ne!(before, items, "the same list twice in a row: {location}");
        assert!(record.at().unwrap_or(at) >= at, "time decreases: {location}");
        last.insert(user, (items, record.at().unwrap_or(at)));
    }
}

/// Runs `scripts/kafka` for a second broker with the name `node`. Returns its stdout.
pub(super) fn kafka_script(node: &str, args: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka");
    let output =
        Command::new(script).args(args).env("DELTAREC_KAFKA_NODE", node).env_remove("DELTAREC_KAFKA").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn block_on<T>(request: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(request)
}
