//! Independent producers and consumers: plain librdkafka, without the code of the connectors.

use std::time::Duration;

use anyhow::{Context, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Message, Offset, TopicPartitionList};
use schema::Event;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Factory of clients of one broker.
pub(super) struct Clients {
    config: ClientConfig,
}

impl Clients {
    pub(super) fn new(broker: &str) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker);
        let consumer: BaseConsumer = config.clone().set("group.id", "bench").create()?;
        consumer.fetch_metadata(None, REQUEST_TIMEOUT).with_context(|| format!("no broker answers at {broker}"))?;
        Ok(Clients { config })
    }

    pub(super) fn create(&self, topic: &str, partitions: i32, compacted: bool) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config.create()?;
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        if compacted {
            new = new.set("cleanup.policy", "compact");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let created = runtime.block_on(admin.create_topics(&[new], &AdminOptions::new()))?;
        match created.into_iter().next() {
            Some(Err((topic, code))) => Err(anyhow!("cannot create topic {topic}: {code}")),
            _ => Ok(()),
        }
    }

    /// A producer with the same acknowledgements as the connectors, without batching delay.
    pub(super) fn producer(&self) -> anyhow::Result<Producer> {
        let mut config = self.config.clone();
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "0");
        Ok(Producer { producer: config.create()?, value: Vec::new() })
    }

    /// A consumer of committed records from the current end of a topic.
    pub(super) fn consumer(&self, topic: &str) -> anyhow::Result<Consumer> {
        let mut config = self.config.clone();
        config.set("group.id", "bench").set("enable.auto.commit", "false").set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create()?;
        let metadata = consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
        let mut assignment = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
            let (_, end) = consumer.fetch_watermarks(topic, partition.id(), REQUEST_TIMEOUT)?;
            assignment.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
        }
        consumer.assign(&assignment)?;
        Ok(Consumer(consumer))
    }
}

pub(super) struct Producer {
    producer: BaseProducer,
    value: Vec<u8>,
}

impl Producer {
    pub(super) fn send(&mut self, topic: &str, event: &Event) -> anyhow::Result<()> {
        self.value.clear();
        serde_json::to_writer(&mut self.value, event)?;
        self.enqueue(BaseRecord::to(topic).key(event.user.as_bytes()).payload(&self.value))
    }

    pub(super) fn send_key(&self, topic: &str, key: &str) -> anyhow::Result<()> {
        self.enqueue(BaseRecord::to(topic).key(key.as_bytes()).payload(b""))
    }

    fn enqueue(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> anyhow::Result<()> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Processes acknowledgements.
    pub(super) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    pub(super) fn flush(&self) -> anyhow::Result<()> {
        Ok(self.producer.flush(REQUEST_TIMEOUT)?)
    }
}

pub(super) struct Consumer(BaseConsumer);

impl Consumer {
    /// The key of the next record; `None` if none arrives within 100 ms.
    pub(super) fn next_key(&self) -> Option<String> {
        let message = self.0.poll(Duration::from_millis(100))?.ok()?;
        String::from_utf8(message.key()?.to_vec()).ok()
    }
}
