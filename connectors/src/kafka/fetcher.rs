//! The thread that reads a topic: it keeps the client alive, decodes records, and sends bounded batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Message, Offset, TopicPartitionList};
use schema::{Original, Position, Reason, Rejected};

use super::Address;
use super::client::{ClientError, End as PartitionEnd, LoggingContext, explain, partitions, watermarks};
use super::topic_id::topic_id;
use crate::decode::Decoder;
use crate::records::Received;
use crate::transports::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_REJECTED_BYTES};
use crate::{Batch, InputOptions, Record, SourceError};

/// Time that a full batch waits for room before partitions are paused. A pause discards prefetched records.
const PAUSE_AFTER: Duration = Duration::from_millis(200);
/// Time between two commits of offsets.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// Time limit of a poll while there is nothing to send.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// Time limit of a poll that only keeps the client alive.
const KEEP_ALIVE_POLL: Duration = Duration::from_millis(10);
/// Pause between two attempts to send a batch.
const SEND_RETRY: Duration = Duration::from_micros(200);

/// Time limit of a request about the topic while it is read.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

/// Records since the batch before.
pub(super) struct Fetched<R: Record> {
    pub(super) batch: Batch<R>,
    /// Offset after the last record of the batch, rejected or not, by partition.
    pub(super) reached: BTreeMap<i32, i64>,
    /// Partitions whose end was reached.
    pub(super) ended: Vec<i32>,
}

impl<R: Record> Default for Fetched<R> {
    fn default() -> Self {
        Fetched { batch: Batch::default(), reached: BTreeMap::new(), ended: Vec::new() }
    }
}

impl<R: Record> Fetched<R> {
    fn is_empty(&self) -> bool {
        self.reached.is_empty() && self.ended.is_empty()
    }
}

/// Requests of the source to its fetcher.
#[derive(Default)]
pub(super) struct FetcherControl {
    pub(super) paused: AtomicBool,
    pub(super) stopped: AtomicBool,
}

/// Reads a topic.
pub(super) struct Fetcher<R: Record, D> {
    name: String,
    address: Address,
    consumer: Arc<BaseConsumer<LoggingContext>>,
    decoder: D,
    max_record_bytes: usize,
    /// Whether batches keep the original records.
    originals: bool,
    /// Time between two searches for new partitions.
    refresh: Duration,
    control: Arc<FetcherControl>,
    /// Partitions that are read.
    assigned: Vec<i32>,
    fetched: Fetched<R>,
    /// Bytes of the values in `fetched`.
    bytes: usize,
    /// Offsets sent since the last commit, by partition.
    uncommitted: BTreeMap<i32, i64>,
    /// Id of the topic, if the broker gives it one.
    topic_id: Option<String>,
}

/// Why fetching ends.
enum End {
    /// The source was dropped.
    Stopped,
    Failed(ClientError),
}

type BatchSender<R> = Sender<Result<Fetched<R>, SourceError>>;

impl<R: Record, D: Decoder<R>> Fetcher<R, D> {
    pub(super) fn new(
        name: &str,
        address: Address,
        consumer: BaseConsumer<LoggingContext>,
        decoder: D,
        options: &InputOptions,
        control: Arc<FetcherControl>,
        topic_id: Option<String>,
    ) -> Self {
        Fetcher {
            name: name.to_owned(),
            address,
            consumer: Arc::new(consumer),
            decoder,
            max_record_bytes: options.max_record_bytes,
            originals: options.originals,
            refresh: Duration::from_millis(options.kafka.refresh),
            control,
            assigned: Vec::new(),
            fetched: Fetched::default(),
            bytes: 0,
            uncommitted: BTreeMap::new(),
            topic_id,
        }
    }

    /// A function that returns the ends of the partitions, updated every second.
    pub(super) fn ends(&self) -> Arc<dyn Fn() -> BTreeMap<i32, PartitionEnd> + Send + Sync> {
        let consumer = Arc::clone(&self.consumer);
        Arc::new(move || consumer.client().context().ends())
    }

    /// Assigns all partitions, from `positions` or else from their beginning. Returns the end offsets of the partitions that
    /// have records to read.
    pub(super) fn assign(&mut self, positions: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>, ClientError> {
        let mut assignment = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in self.partitions()? {
            let (low, high) = watermarks(&self.consumer, &self.address.topic, partition)?;
            let position = positions.get(&partition).copied();
            if let Some(position) = position.filter(|position| *position < low || *position > high) {
                return Err(ClientError::new(
                    format!(
                        "partition {partition} has the offsets {low} to {high}, the snapshot resumes at {position}"
                    ),
                    "records were deleted, or this is another topic: start with --rebuild to read all that is there",
                ));
            }
            if position.unwrap_or(low) < high {
                ends.insert(partition, high);
            }
            self.add(&mut assignment, partition, position.map_or(Offset::Beginning, Offset::Offset));
        }
        self.consumer.assign(&assignment).map_err(|error| self.explain(&error))?;
        Ok(ends)
    }

    fn add(&mut self, assignment: &mut TopicPartitionList, partition: i32, offset: Offset) {
        let added = assignment.add_partition_offset(&self.address.topic, partition, offset);
        added.expect("the beginning and the offset of a record are valid offsets");
        self.assigned.push(partition);
    }

    fn partitions(&self) -> Result<Vec<i32>, ClientError> {
        let context = self.consumer.client().context();
        let found = partitions(self.consumer.client(), context, &self.address.topic, || ())?;
        found.ok_or_else(deleted)
    }

    fn explain(&self, error: &KafkaError) -> ClientError {
        explain(error, self.consumer.client().context())
    }

    /// Reads until the source is dropped or the topic cannot be read any more.
    pub(super) fn run(mut self, sender: &BatchSender<R>, poller: &Thread) {
        if let Err(End::Failed(error)) = self.fetch(sender, poller) {
            // The records before the failure are valid. Sending fails only when the source was dropped.
            sender.send(Ok(std::mem::take(&mut self.fetched))).unwrap_or_default();
            sender.send(Err(error.of_source(&self.name))).unwrap_or_default();
            poller.unpark();
        }
        self.commit();
    }

    fn fetch(&mut self, sender: &BatchSender<R>, poller: &Thread) -> Result<(), End> {
        let consumer = Arc::clone(&self.consumer);
        let mut pause = Pause { since: None, active: false };
        let (mut committed, mut refreshed) = (Instant::now(), Instant::now());
        while !self.control.stopped.load(Acquire) {
            let records = self.fetched.batch.len() + self.fetched.batch.rejected.len();
            let full = records >= MAX_BATCH_RECORDS || self.bytes >= MAX_BATCH_BYTES;
            if full || pause.active {
                self.send(sender, poller)?;
                pause.update(self, !self.fetched.is_empty() || self.control.paused.load(Acquire))?;
                if !self.fetched.is_empty() {
                    if pause.active {
                        // The client must be polled. A record that was already on its way is accepted.
                        self.poll(&consumer, KEEP_ALIVE_POLL)?;
                    } else {
                        std::thread::sleep(SEND_RETRY);
                    }
                    continue;
                }
            }
            if self.control.paused.load(Acquire) != pause.active {
                pause.set(self, self.control.paused.load(Acquire))?;
            }
            // Does not wait for more records while there is something to send.
            let wait = if self.fetched.is_empty() { IDLE_POLL } else { Duration::ZERO };
            if !self.poll(&consumer, wait)? && !self.fetched.is_empty() {
                self.send(sender, poller)?;
                if !self.fetched.is_empty() {
                    std::thread::sleep(SEND_RETRY);
                }
            }
            if committed.elapsed() >= COMMIT_INTERVAL {
                self.commit();
                committed = Instant::now();
            }
            // Not during a pause: new partitions would not be paused.
            if refreshed.elapsed() >= self.refresh && !pause.active {
                self.check_topic()?;
                self.find_new_partitions()?;
                refreshed = Instant::now();
            }
        }
        Err(End::Stopped)
    }

    /// Sends the batch if there is room.
    fn send(&mut self, sender: &BatchSender<R>, poller: &Thread) -> Result<(), End> {
        let reached = self.fetched.reached.clone();
        match sender.try_send(Ok(std::mem::take(&mut self.fetched))) {
            Ok(()) => {
                self.uncommitted.extend(reached);
                self.bytes = 0;
                poller.unpark();
                Ok(())
            }
            Err(TrySendError::Full(fetched)) => {
                self.fetched = fetched.expect("a batch was sent");
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(End::Stopped),
        }
    }

    /// Polls the client once. Returns `false` if there was nothing.
    fn poll(&mut self, consumer: &BaseConsumer<LoggingContext>, wait: Duration) -> Result<bool, End> {
        match consumer.poll(wait) {
            Some(Ok(message)) => self.decode(&message),
            Some(Err(error)) => self.handle_error(&error)?,
            None => return Ok(false),
        }
        Ok(true)
    }

    fn decode(&mut self, message: &BorrowedMessage<'_>) {
        let (partition, offset) = (message.partition(), message.offset());
        let position = Position::Offset { partition, offset };
        let stamped = message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok());
        let received = Received { position, stamped, key: message.key() };
        let value = message.payload().unwrap_or_default();
        self.bytes += value.len();
        self.fetched.reached.insert(partition, offset + 1);
        let batch = &mut self.fetched.batch;
        let records = batch.len();
        let decoded = if message.payload().is_none() {
            self.decoder.decode_tombstone(received, batch)
        } else if value.trim_ascii().is_empty() {
            // A decoder of lines would skip it.
            Err(Reason::NoValue)
        } else if value.len() > self.max_record_bytes {
            Err(Reason::TooLong { limit: self.max_record_bytes })
        } else {
            self.decoder.decode(value, received, batch)
        };
        match decoded {
            Ok(()) if self.originals && batch.len() > records => {
                batch.attach_original(records, Box::new(original(message)));
            }
            Ok(()) => {}
            Err(reason) => batch.rejected.push(Rejected {
                reason,
                source: self.name.clone(),
                position,
                record: String::from_utf8_lossy(&value[..value.len().min(MAX_REJECTED_BYTES)]).into_owned(),
                original: Some(Box::new(original(message))),
            }),
        }
    }

    /// Most errors are temporary, and the client retries.
    fn handle_error(&mut self, error: &KafkaError) -> Result<(), End> {
        use RDKafkaErrorCode as Code;
        match error {
            KafkaError::PartitionEOF(partition) => {
                self.fetched.ended.push(*partition);
                return Ok(());
            }
            KafkaError::MessageConsumptionFatal(_) => return Err(End::Failed(self.explain(error))),
            _ => {}
        }
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(End::Failed(ClientError::new(
                format!("records were deleted before they were read ({error})"),
                "start with --rebuild to read what is there; give the topic a longer retention (docs/kafka.md)",
            ))),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Err(End::Failed(deleted()))
            }
            Some(Code::TopicAuthorizationFailed) => Err(End::Failed(self.explain(error))),
            // The context of the client has logged it.
            _ => {
                tracing::debug!(source = %self.name, %error, "error while reading");
                Ok(())
            }
        }
    }

    /// Commits the offsets of the records sent, for monitoring. A run never resumes from them.
    fn commit(&mut self) {
        let uncommitted = std::mem::take(&mut self.uncommitted);
        if uncommitted.is_empty() {
            return;
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in uncommitted {
            let added = offsets.add_partition_offset(&self.address.topic, partition, Offset::Offset(offset));
            added.expect("the offset after a record is a valid offset");
        }
        if let Err(error) = self.consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!(source = %self.name, %error, "offsets were not committed; this affects monitoring only");
        }
    }

    /// Fails if the topic is another one: what was in it between the last record read and its deletion is gone, and offsets
    /// of the new one are not those of the old one.
    fn check_topic(&self) -> Result<(), End> {
        if self.topic_id.is_none() {
            return Ok(());
        }
        let found = topic_id(self.consumer.client(), &self.address.topic, REFRESH_TIMEOUT);
        // Without an answer it is checked the next time. The context of the client logs that a broker does not answer.
        if found.is_some() && found != self.topic_id { Err(End::Failed(ClientError::recreated())) } else { Ok(()) }
    }

    /// Reads new partitions from their beginning, so that no record is missed.
    fn find_new_partitions(&mut self) -> Result<(), End> {
        let found = self.consumer.fetch_metadata(Some(&self.address.topic), REFRESH_TIMEOUT);
        // The context of the client logs that a broker does not answer.
        let Ok(found) = found else { return Ok(()) };
        let new: Vec<i32> = found
            .topics()
            .iter()
            .filter(|topic| topic.name() == self.address.topic)
            .flat_map(MetadataTopic::partitions)
            .map(MetadataPartition::id)
            .filter(|partition| !self.assigned.contains(partition))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        tracing::info!(source = %self.name, "reading new partitions {new:?} from the start");
        let mut assignment = TopicPartitionList::new();
        for partition in new {
            self.add(&mut assignment, partition, Offset::Beginning);
        }
        self.consumer.incremental_assign(&assignment).map_err(|error| End::Failed(self.explain(&error)))
    }
}

/// Whether partitions are paused.
struct Pause {
    /// Start of the time without room for a batch.
    since: Option<Instant>,
    active: bool,
}

impl Pause {
    fn update<R: Record, D: Decoder<R>>(&mut self, fetcher: &Fetcher<R, D>, full: bool) -> Result<(), End> {
        if !full {
            self.since = None;
            return self.set(fetcher, false);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PAUSE_AFTER { self.set(fetcher, true) } else { Ok(()) }
    }

    fn set<R: Record, D: Decoder<R>>(&mut self, fetcher: &Fetcher<R, D>, paused: bool) -> Result<(), End> {
        if std::mem::replace(&mut self.active, paused) == paused {
            return Ok(());
        }
        let consumer = &fetcher.consumer;
        let assignment = consumer.assignment();
        let done = assignment.and_then(
            |assignment| {
                if paused { consumer.pause(&assignment) } else { consumer.resume(&assignment) }
            },
        );
        tracing::debug!(source = %fetcher.name, paused, "partitions paused or resumed");
        done.map_err(|error| End::Failed(fetcher.explain(&error)))
    }
}

fn deleted() -> ClientError {
    ClientError::new(
        "the topic, or a partition of it, was deleted",
        "create it again, and start with --rebuild to read all that is there",
    )
}

/// A record in its original form.
fn original(message: &BorrowedMessage<'_>) -> Original {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Original {
        topic: message.topic().to_owned(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}
