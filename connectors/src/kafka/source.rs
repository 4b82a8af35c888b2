//! A topic as an input: what its fetcher hands over, and where that ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::thread::{self, Thread};

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::client::{CONNECT_TIMEOUT, ClientError, LoggingContext, TELLING, base, explain, not_made, partitions};
use super::fetcher::{Fetched, Fetcher, FetcherControl};
use super::{Address, KafkaOptions};
use crate::json::Json;
use crate::mapping::RecordMapping;
use crate::{Batch, InputOptions, OpenError, Polled, Source, SourceError, SourcePosition};

use rdkafka::consumer::{BaseConsumer, Consumer};

/// Batches between the fetcher and whoever polls: one being taken, one ready.
const BATCHES: usize = 2;

/// See the module. All partitions of the topic; what is in a partition keeps its order.
pub(crate) struct Topic {
    name: String,
    state: State,
    /// Of each partition, the offset of the next record after the batch last polled.
    positions: BTreeMap<i32, i64>,
    /// Of each partition where there was more when reading began: where it ended then.
    ends: Option<BTreeMap<i32, i64>>,
    wishes: Arc<FetcherControl>,
}

enum State {
    /// Nothing is fetched before the first poll, so that it can be said where to begin.
    New(Box<Fetcher>),
    Fetching {
        fetched: Receiver<Result<Fetched, SourceError>>,
        telling: Arc<dyn Fn() -> BTreeMap<i32, i64> + Send + Sync>,
    },
    Failed,
}

impl Topic {
    /// Opens a topic: it must be there, and its broker answer.
    pub(crate) fn open(name: &str, address: Address, options: &InputOptions) -> Result<Self, OpenError> {
        let kafka = &options.kafka;
        let json = Json::new(RecordMapping::new(options, true, true, options.rooms)?);
        let failed = |trouble| OpenError::from(source_error(name, trouble));
        let consumer = consumer(&address, kafka).map_err(failed)?;
        let telling = consumer.client().context();
        let serve = || drop(consumer.poll(TELLING));
        let found = partitions(consumer.client(), telling, &address.topic, serve).map_err(failed)?;
        if found.is_none() {
            return Err(failed(ClientError::new("there is no such topic", "check its name, or create it")));
        }
        let wishes = Arc::new(FetcherControl::default());
        let limit = options.max_record_bytes;
        let fetcher = Fetcher::new(name, address, consumer, json, limit, options.originals, kafka, Arc::clone(&wishes));
        Ok(Topic {
            name: name.to_owned(),
            state: State::New(Box::new(fetcher)),
            positions: BTreeMap::new(),
            ends: None,
            wishes,
        })
    }

    /// Looks where each partition ends now, and begins to fetch. The thread that polls is woken when something comes.
    fn begin(&mut self, mut fetcher: Box<Fetcher>, polls: Thread) -> Result<State, ClientError> {
        self.ends = Some(fetcher.assign(&self.positions)?);
        let (hand_over, fetched) = bounded(BATCHES);
        let telling = fetcher.telling();
        thread::Builder::new().name("kafka".into()).spawn(move || fetcher.run(&hand_over, &polls)).map_err(
            |error| ClientError::new(format!("no thread can be started: {error}"), "see the limits of this user"),
        )?;
        Ok(State::Fetching { fetched, telling })
    }
}

/// A consumer that is told what to read, and never asks a group.
fn consumer(address: &Address, options: &KafkaOptions) -> Result<BaseConsumer<LoggingContext>, ClientError> {
    let mut config = base(address, options)?;
    // Only offsets for display are committed under it; partitions are assigned by us, so nothing is ever rebalanced.
    config.set("group.id", &options.group);
    // A position counts only together with its state: nothing is taken from the broker's.
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    // Records that are gone before they were read are told, not stepped over.
    config.set("auto.offset.reset", "error");
    // What is in an open or aborted transaction did not happen (yet).
    config.set("isolation.level", "read_committed");
    // The end of a partition tells that all that was there has been read, whatever offsets are missing.
    config.set("enable.partition.eof", "true");
    // With one record a fetch is answered at once; the wait is for silence only.
    config.set("fetch.min.bytes", "1");
    // The memory of what is read ahead.
    config.set("queued.max.messages.kbytes", (options.buffer >> 10).max(1).to_string());
    // When that is used up, it is looked again soon, not after the second of the default.
    config.set("fetch.queue.backoff.ms", "10");
    config.create_with_context(LoggingContext::of(&address.topic)).map_err(|error| not_made(&error))
}

pub(super) fn source_error(name: &str, ClientError { what, advice }: ClientError) -> SourceError {
    SourceError { source_name: name.to_owned(), position: None, what, advice, cause: None }
}

impl Source for Topic {
    fn name(&self) -> &str {
        &self.name
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::New(fetcher) => {
                self.begin(fetcher, thread::current()).map_err(|trouble| source_error(&self.name, trouble))?
            }
            state => state,
        };
        let State::Fetching { fetched, .. } = &self.state else { return Ok(Polled::Finished) };
        let taken = match fetched.try_recv() {
            Ok(taken) => taken,
            Err(TryRecvError::Empty) => return Ok(Polled::Idle),
            Err(TryRecvError::Disconnected) => {
                let lost =
                    ClientError::new("the thread that reads it has ended", "please report what is printed above");
                return Err(source_error(&self.name, lost));
            }
        };
        let more = !fetched.is_empty();
        let Fetched { batch, reached, ended } = taken.inspect_err(|_| self.state = State::Failed)?;
        into.append(batch);
        if let Some(ends) = &mut self.ends {
            ends.retain(|partition, end| {
                reached.get(partition).is_none_or(|reached| reached < end) && !ended.contains(partition)
            });
        }
        self.positions.extend(reached);
        Ok(if more { Polled::Ready } else { Polled::Idle })
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        let mut positions = self.positions.clone();
        // From the back, so that the first record not taken of each partition stands.
        for position in (next..batch.len()).rev().filter_map(|at| batch.get(at)).map(|event| event.position) {
            positions.insert(position.line as i32, position.offset.cast_signed());
        }
        SourcePosition::Partitions(positions)
    }

    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let SourcePosition::Partitions(positions) = position else {
            let wrong = ClientError::new("a position in a file is none in a topic", "start without the saved state");
            return Err(source_error(&self.name, wrong));
        };
        self.positions.clone_from(positions);
        Ok(())
    }

    fn pause(&mut self, paused: bool) {
        self.wishes.paused.store(paused, Release);
    }

    fn is_live(&self) -> bool {
        true
    }

    fn is_caught_up(&self) -> bool {
        self.ends.as_ref().is_some_and(BTreeMap::is_empty)
    }

    fn lag(&self) -> BTreeMap<i32, u64> {
        let State::Fetching { telling, .. } = &self.state else { return BTreeMap::new() };
        let lag = |(partition, end): (i32, i64)| {
            let position = self.positions.get(&partition).copied()?;
            Some((partition, u64::try_from(end - position).unwrap_or(0)))
        };
        telling().into_iter().filter_map(lag).collect()
    }
}

/// The fetcher ends too.
impl Drop for Topic {
    fn drop(&mut self) {
        self.wishes.gone.store(true, Release);
    }
}

/// Where the partitions begin and end now.
pub(super) fn bounds(
    consumer: &BaseConsumer<LoggingContext>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), ClientError> {
    let bounds = consumer.fetch_watermarks(topic, partition, CONNECT_TIMEOUT);
    bounds.map_err(|error| explain(&error, consumer.client().context()))
}
