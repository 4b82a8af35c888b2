//! The lists that an output topic holds: the latest record of each key.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::client::{CONNECT_TIMEOUT, ClientError, LoggingContext, TELLING, base, explain, not_made, partitions};
use super::{Address, KafkaOptions};
use crate::SinkState;
use crate::resume::{Reading, Record};

/// Reads a topic to the end it has now. To be called when nobody else can write to it any more.
pub(super) fn read_back(name: &str, address: &Address, options: &KafkaOptions) -> Result<SinkState, ClientError> {
    let consumer = reader(address, options)?;
    let telling = consumer.client().context();
    let serve = || drop(consumer.poll(TELLING));
    let found = partitions(consumer.client(), telling, &address.topic, serve)?;
    let mut left = BTreeMap::new();
    let mut from_start = TopicPartitionList::new();
    for partition in found.unwrap_or_default() {
        let (low, high) = consumer
            .fetch_watermarks(&address.topic, partition, CONNECT_TIMEOUT)
            .map_err(|error| explain(&error, telling))?;
        if low < high {
            left.insert(partition, high);
            from_start
                .add_partition_offset(&address.topic, partition, Offset::Beginning)
                .map_err(|error| explain(&error, telling))?;
        }
    }
    consumer.assign(&from_start).map_err(|error| explain(&error, telling))?;
    let mut lists = Lists { name, reading: Reading::default(), foreign: 0, records: 0 };
    let mut heard = Instant::now();
    while !left.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            None if heard.elapsed() > CONNECT_TIMEOUT => {
                let silent = explain(
                    &KafkaError::MessageConsumption(rdkafka::error::RDKafkaErrorCode::OperationTimedOut),
                    telling,
                );
                return Err(ClientError {
                    what: format!("the lists in the topic cannot be read: {}", silent.what),
                    ..silent
                });
            }
            None => continue,
            Some(Ok(message)) => {
                lists.take(&message);
                if left.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    left.remove(&message.partition());
                }
            }
            // Behind the last list there may be marks of transactions, which are no records.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(left.remove(&partition)),
            Some(Err(error)) => tracing::debug!("{name}: {error}"),
        }
        heard = Instant::now();
    }
    Ok(lists.done())
}

fn reader(address: &Address, options: &KafkaOptions) -> Result<BaseConsumer<LoggingContext>, ClientError> {
    let mut config = base(address, options)?;
    // Needed to be a consumer; nothing is committed under it.
    config.set("group.id", format!("{}-readback", options.group));
    config.set("enable.auto.commit", "false");
    // What an aborted transaction wrote was never sent.
    config.set("isolation.level", "read_committed");
    // The end of a partition is told, so that marks behind the last record are not waited for.
    config.set("enable.partition.eof", "true");
    config.set("auto.offset.reset", "earliest");
    config.set("queued.max.messages.kbytes", (options.buffer >> 10).max(1).to_string());
    config.create_with_context(LoggingContext::of(&address.topic)).map_err(|error| not_made(&error))
}

/// What was read so far.
struct Lists<'a> {
    name: &'a str,
    reading: Reading,
    records: u64,
    foreign: u64,
}

impl Lists<'_> {
    fn take(&mut self, message: &BorrowedMessage<'_>) {
        self.records += 1;
        let Some(user) = message.key().and_then(|key| std::str::from_utf8(key).ok()) else {
            return self.set_aside(message, "its key is no name of a user");
        };
        match message.payload() {
            None => self.reading.forget(user),
            Some(value) => match Record::read(value) {
                Ok(record) if record.user == user => self.reading.take(record),
                // Whoever wrote it has replaced the list: it is not there any more.
                Ok(_) => {
                    self.reading.forget(user);
                    self.set_aside(message, "its key is not the user in it");
                }
                Err(error) => {
                    self.reading.forget(user);
                    self.set_aside(message, &error.to_string());
                }
            },
        }
    }

    /// A record that is not ours is left where it is.
    fn set_aside(&mut self, message: &BorrowedMessage<'_>, what: &str) {
        self.foreign += 1;
        if self.foreign == 1 {
            tracing::warn!(
                "{}, partition {}, offset {}: no list of ours ({what}); it is left alone (logged once)",
                self.name,
                message.partition(),
                message.offset()
            );
        }
    }

    fn done(self) -> SinkState {
        let held = self.reading.done();
        tracing::info!(
            "{}: {} lists in {} records{}",
            self.name,
            held.lists.len(),
            self.records,
            if self.foreign > 0 { format!(", {} records are not ours", self.foreign) } else { String::new() }
        );
        held
    }
}
