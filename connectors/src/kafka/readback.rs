//! The lists that a topic contains: the latest record of each key.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use schema::{ListKey, Position};

use super::client::{CONNECT_TIMEOUT, ClientError, SERVE_TIMEOUT, consumer, explain, partitions, watermarks};
use super::{Address, KafkaOptions};
use crate::SinkState;
use crate::sinks::{ChangeSummary, SinkStateBuilder};

/// Reads a topic up to its current end. Call it when no other process can write to the topic.
pub(super) fn read_back(name: &str, address: &Address, options: &KafkaOptions) -> Result<SinkState, ClientError> {
    let group = format!("{}-readback", options.group);
    let consumer = consumer(address, options, &group, &[("auto.offset.reset", "earliest")])?;
    let context = consumer.client().context();
    let explain = |error: &KafkaError| explain(error, context);
    let serve = || drop(consumer.poll(SERVE_TIMEOUT));
    let found = partitions(consumer.client(), context, &address.topic, serve)?;
    let mut ends = BTreeMap::new();
    let mut assignment = TopicPartitionList::new();
    for partition in found.unwrap_or_default() {
        let (low, high) = watermarks(&consumer, &address.topic, partition)?;
        if low < high {
            ends.insert(partition, high);
            let added = assignment.add_partition_offset(&address.topic, partition, Offset::Beginning);
            added.map_err(|error| explain(&error))?;
        }
    }
    consumer.assign(&assignment).map_err(|error| explain(&error))?;
    let mut reader = Reader { name, state: SinkStateBuilder::default(), records: 0, foreign: 0 };
    let mut last_message = Instant::now();
    while !ends.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            None if last_message.elapsed() > CONNECT_TIMEOUT => {
                let ClientError { what, advice } =
                    explain(&KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                return Err(ClientError { what: format!("cannot read the lists in the topic: {what}"), advice });
            }
            None => continue,
            Some(Ok(message)) => {
                reader.read(&message);
                if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    ends.remove(&message.partition());
                }
            }
            // The last offsets of a partition may be transaction markers, which are not delivered.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ends.remove(&partition)),
            Some(Err(error)) => tracing::debug!(sink = name, %error, "error while reading back"),
        }
        last_message = Instant::now();
    }
    Ok(reader.finish())
}

/// Collects the lists.
struct Reader<'a> {
    name: &'a str,
    state: SinkStateBuilder,
    records: u64,
    /// Number of records that are not changes.
    foreign: u64,
}

impl Reader<'_> {
    fn read(&mut self, message: &BorrowedMessage<'_>) {
        self.records += 1;
        let Some(key) = message.key().and_then(|key| std::str::from_utf8(key).ok()) else {
            return self.skip(message, "its key is not UTF-8");
        };
        let key = ListKey::parse(key).into_owned();
        let Some(value) = message.payload() else { return self.state.remove(&key) };
        let problem = match serde_json::from_slice::<ChangeSummary>(value) {
            Ok(change) if change.key == key => return self.state.apply(change),
            Ok(_) => "its key differs from the key in its value".to_owned(),
            Err(error) => error.to_string(),
        };
        // The foreign record has replaced the list of this key.
        self.state.remove(&key);
        self.skip(message, &problem);
    }

    fn skip(&mut self, message: &BorrowedMessage<'_>, problem: &str) {
        self.foreign += 1;
        if self.foreign == 1 {
            let position = Position::Offset { partition: message.partition(), offset: message.offset() };
            tracing::warn!("{}, {position}: not a list of deltarec ({problem}), ignored (logged once)", self.name);
        }
    }

    fn finish(self) -> SinkState {
        let state = self.state.build();
        let (lists, records, foreign) = (state.lists.len(), self.records, self.foreign);
        tracing::info!(sink = self.name, lists, records, foreign, "read back the output");
        state
    }
}
