//! The thread that reads a topic: keeps the client alive, turns records into events, hands over bounded batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use schema::{Original, Position, Reason, Rejected};

use super::client::{ClientError, LoggingContext, explain, partitions};
use super::source::{bounds, source_error};
use super::{Address, KafkaOptions};
use crate::json::Json;
use crate::records::{Format, KEPT_BYTES};
use crate::{Batch, RawEvent, SourceError};

/// Most records of a batch.
const MAX_RECORDS: usize = 4096;
/// Bytes after which a batch is handed over.
const MAX_BYTES: usize = 1 << 20;
/// How long a full batch waits for room before partitions are paused: pausing throws away what is fetched already.
const PATIENT: Duration = Duration::from_millis(200);
/// Time between two commits of what was handed over.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// How long a quiet topic is waited for at a time.
const QUIET: Duration = Duration::from_millis(100);

/// What is handed over.
#[derive(Default)]
pub(super) struct Fetched {
    pub(super) batch: Batch,
    /// Of each partition with a record in the batch, rejected or not: the offset after the last one.
    pub(super) reached: BTreeMap<i32, i64>,
    /// Partitions whose end was reached.
    pub(super) ended: Vec<i32>,
}

impl Fetched {
    fn is_empty(&self) -> bool {
        self.reached.is_empty() && self.ended.is_empty()
    }
}

/// What whoever polls wants of the fetcher.
#[derive(Default)]
pub(super) struct FetcherControl {
    pub(super) paused: AtomicBool,
    /// Nobody polls any more.
    pub(super) gone: AtomicBool,
}

/// See the module.
pub(super) struct Fetcher {
    name: String,
    address: Address,
    consumer: Arc<BaseConsumer<LoggingContext>>,
    json: Json,
    max_record_bytes: usize,
    /// Whether each event is accompanied by the record it was read from.
    originals: bool,
    refresh: Duration,
    wishes: Arc<FetcherControl>,
    /// Partitions that are read.
    assigned: Vec<i32>,
    fetched: Fetched,
    bytes: usize,
    handed_over: BTreeMap<i32, i64>,
}

/// Why fetching ends.
enum End {
    /// Nobody listens.
    Deaf,
    Failed(ClientError),
}

impl Fetcher {
    #[allow(clippy::too_many_arguments, reason = "all of it is told once, by the source")]
    pub(super) fn new(
        name: &str,
        address: Address,
        consumer: BaseConsumer<LoggingContext>,
        json: Json,
        max_record_bytes: usize,
        originals: bool,
        options: &KafkaOptions,
        wishes: Arc<FetcherControl>,
    ) -> Self {
        Fetcher {
            name: name.to_owned(),
            address,
            consumer: Arc::new(consumer),
            json,
            max_record_bytes,
            originals,
            refresh: Duration::from_millis(options.refresh),
            wishes,
            assigned: Vec::new(),
            fetched: Fetched::default(),
            bytes: 0,
            handed_over: BTreeMap::new(),
        }
    }

    /// Tells the end of each partition, as of the last second.
    pub(super) fn telling(&self) -> Arc<dyn Fn() -> BTreeMap<i32, i64> + Send + Sync> {
        let consumer = Arc::clone(&self.consumer);
        Arc::new(move || consumer.client().context().ends())
    }

    /// Begins at `positions`, and at the beginning of partitions that are not there. Returns where those partitions end
    /// that have more to read.
    pub(super) fn assign(&mut self, positions: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>, ClientError> {
        let mut assignment = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in self.partitions()? {
            let (low, high) = bounds(&self.consumer, &self.address.topic, partition)?;
            let known = positions.get(&partition).copied();
            if let Some(known) = known.filter(|known| *known < low || *known > high) {
                return Err(ClientError::new(
                    format!("partition {partition} has the offsets {low} to {high}, the snapshot goes on at {known}"),
                    "what lay between is gone, or this is another topic: start with --rebuild to read all that is there",
                ));
            }
            if known.unwrap_or(low) < high {
                ends.insert(partition, high);
            }
            self.add(&mut assignment, partition, known.map_or(Offset::Beginning, Offset::Offset));
        }
        // Partitions are ours by decree; no group takes or gives any.
        self.consumer.assign(&assignment).map_err(|error| self.explain(&error))?;
        Ok(ends)
    }

    fn add(&mut self, assignment: &mut TopicPartitionList, partition: i32, offset: Offset) {
        let added = assignment.add_partition_offset(&self.address.topic, partition, offset);
        added.expect("offsets of records and the beginning are offsets");
        self.assigned.push(partition);
    }

    fn partitions(&self) -> Result<Vec<i32>, ClientError> {
        let telling = self.consumer.client().context();
        let found = partitions(self.consumer.client(), telling, &self.address.topic, || ())?;
        found.ok_or_else(|| ClientError::new("there is no such topic any more", "create it again, and start again"))
    }

    fn explain(&self, error: &KafkaError) -> ClientError {
        explain(error, self.consumer.client().context())
    }

    /// Reads until nobody listens or the topic cannot be read any more.
    pub(super) fn run(mut self, hand_over: &Sender<Result<Fetched, SourceError>>, polls: &Thread) {
        if let Err(End::Failed(trouble)) = self.fetch(hand_over, polls) {
            // What was read before stands; nobody listens only when the run is over.
            hand_over.send(Ok(std::mem::take(&mut self.fetched))).unwrap_or_default();
            hand_over.send(Err(source_error(&self.name, trouble))).unwrap_or_default();
            polls.unpark();
        }
        self.commit();
    }

    fn fetch(&mut self, hand_over: &Sender<Result<Fetched, SourceError>>, polls: &Thread) -> Result<(), End> {
        let consumer = Arc::clone(&self.consumer);
        let mut pauses = Pauses { since: None, now: false };
        let (mut committed, mut refreshed) = (Instant::now(), Instant::now());
        while !self.wishes.gone.load(Acquire) {
            let full =
                self.fetched.batch.len() + self.fetched.batch.rejected.len() >= MAX_RECORDS || self.bytes >= MAX_BYTES;
            if full || pauses.now {
                // No room for more: what came stays, and the client is kept alive.
                self.hand_over(hand_over, polls)?;
                pauses.follow(self, !self.fetched.is_empty() || self.wishes.paused.load(Acquire))?;
                if !self.fetched.is_empty() {
                    if pauses.now {
                        self.serve(&consumer, QUIET / 10)?;
                    } else {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    continue;
                }
            }
            if self.wishes.paused.load(Acquire) != pauses.now {
                pauses.set(self, self.wishes.paused.load(Acquire))?;
            }
            // While something waits to be handed over, only what is there already is added.
            let wait = if self.fetched.is_empty() { QUIET } else { Duration::ZERO };
            match consumer.poll(wait) {
                Some(Ok(message)) => self.take(&message),
                Some(Err(error)) => self.told(&error)?,
                None if self.fetched.is_empty() => {}
                None => {
                    self.hand_over(hand_over, polls)?;
                    if !self.fetched.is_empty() {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            }
            if committed.elapsed() >= COMMIT_EVERY {
                self.commit();
                committed = Instant::now();
            }
            // Not while paused: what is added now would not be.
            if refreshed.elapsed() >= self.refresh && !pauses.now {
                self.find_new_partitions()?;
                refreshed = Instant::now();
            }
        }
        Err(End::Deaf)
    }

    /// Hands over what there is if there is room.
    fn hand_over(&mut self, to: &Sender<Result<Fetched, SourceError>>, polls: &Thread) -> Result<(), End> {
        let reached = self.fetched.reached.clone();
        match to.try_send(Ok(std::mem::take(&mut self.fetched))) {
            Ok(()) => {
                self.handed_over.extend(reached);
                self.bytes = 0;
                polls.unpark();
                Ok(())
            }
            Err(TrySendError::Full(fetched)) => {
                self.fetched = fetched.expect("it was put in as a batch above");
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(End::Deaf),
        }
    }

    /// Keeps the client alive while its partitions are paused. A record that was under way is taken all the same.
    fn serve(&mut self, consumer: &BaseConsumer<LoggingContext>, wait: Duration) -> Result<(), End> {
        match consumer.poll(wait) {
            Some(Ok(message)) => self.take(&message),
            Some(Err(error)) => self.told(&error)?,
            None => {}
        }
        Ok(())
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let (partition, offset) = (message.partition(), message.offset());
        let position = Position { line: u64::from(partition.unsigned_abs()), offset: offset.unsigned_abs() };
        let stamped = message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok());
        let value = message.payload().unwrap_or_default();
        self.bytes += value.len();
        self.fetched.reached.insert(partition, offset + 1);
        let batch = &mut self.fetched.batch;
        let events = batch.len();
        let read = if message.payload().is_none() {
            Err(Reason::Malformed { detail: "the record has no value".into() })
        } else if value.len() > self.max_record_bytes {
            Err(Reason::TooLong { limit: self.max_record_bytes })
        } else {
            self.json.read(value, position, &mut |event| batch.push(RawEvent { stamped, ..event }))
        };
        match read {
            Ok(()) if self.originals && batch.len() > events => batch.keep_original(Box::new(original(message))),
            Ok(()) => {}
            Err(reason) => batch.rejected.push(Rejected {
                reason,
                source: self.name.clone(),
                position,
                record: String::from_utf8_lossy(&value[..value.len().min(KEPT_BYTES)]).into_owned(),
                original: Some(Box::new(original(message))),
            }),
        }
    }

    /// What an error means for reading: most pass by themselves.
    fn told(&mut self, error: &KafkaError) -> Result<(), End> {
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
            Some(
                Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed,
            ) => Err(End::Failed(self.explain(error))),
            // The client tries again by itself, and its context has told.
            _ => {
                tracing::debug!("{}: {error}", self.name);
                Ok(())
            }
        }
    }

    /// Says how far reading is. Only for display: nothing is ever resumed from it.
    fn commit(&mut self) {
        let handed_over = std::mem::take(&mut self.handed_over);
        if handed_over.is_empty() {
            return;
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in handed_over {
            let added = offsets.add_partition_offset(&self.address.topic, partition, Offset::Offset(offset));
            added.expect("an offset after a record is an offset");
        }
        if let Err(error) = self.consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!("{}: offsets are not committed, which only concerns display: {error}", self.name);
        }
    }

    /// Partitions that were added are read from their beginning, so that nothing is missed.
    fn find_new_partitions(&mut self) -> Result<(), End> {
        let found = self.consumer.fetch_metadata(Some(&self.address.topic), Duration::from_secs(1));
        // A broker that does not answer is told of elsewhere.
        let Ok(found) = found else { return Ok(()) };
        let new: Vec<i32> = found
            .topics()
            .iter()
            .filter(|topic| topic.name() == self.address.topic)
            .flat_map(rdkafka::metadata::MetadataTopic::partitions)
            .map(rdkafka::metadata::MetadataPartition::id)
            .filter(|partition| !self.assigned.contains(partition))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        tracing::info!("{}: new partitions {new:?} are read from their beginning", self.name);
        let mut assignment = TopicPartitionList::new();
        for partition in new {
            self.add(&mut assignment, partition, Offset::Beginning);
        }
        self.consumer.incremental_assign(&assignment).map_err(|error| End::Failed(self.explain(&error)))
    }
}

/// Whether fetching is paused, and since when there is reason to.
struct Pauses {
    since: Option<Instant>,
    now: bool,
}

impl Pauses {
    fn follow(&mut self, fetcher: &Fetcher, full: bool) -> Result<(), End> {
        if !full {
            self.since = None;
            return self.set(fetcher, false);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENT { self.set(fetcher, true) } else { Ok(()) }
    }

    fn set(&mut self, fetcher: &Fetcher, paused: bool) -> Result<(), End> {
        if std::mem::replace(&mut self.now, paused) == paused {
            return Ok(());
        }
        let consumer = &fetcher.consumer;
        let assigned = consumer.assignment();
        let done =
            assigned.and_then(|assigned| if paused { consumer.pause(&assigned) } else { consumer.resume(&assigned) });
        tracing::debug!("{}: {}", fetcher.name, if paused { "paused" } else { "resumed" });
        done.map_err(|error| End::Failed(fetcher.explain(&error)))
    }
}

/// A record as it came.
fn original(message: &BorrowedMessage<'_>) -> Original {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Original {
        topic: message.topic().to_owned(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}
