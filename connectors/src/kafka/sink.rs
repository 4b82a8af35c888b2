//! A compacted topic as a sink: the key of a record is the record's key, and the value its JSON; an empty record is a
//! tombstone.
//!
//! All records of a key go to one partition, in order. With transactions (the default for lists), all records since the last
//! flush become visible together or not at all, and the broker fences off an older producer with the same id, whenever it
//! wakes up. Idempotent delivery has no fence.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schema::Change;

use super::client::{CONNECT_TIMEOUT, ClientError, SERVE_TIMEOUT, base, config_error, explain, partitions};
use super::deliveries::Deliveries;
use super::readback::read_back;
use super::topics::{TopicClaim, TopicKind};
use super::{Address, Delivery, KafkaOptions};
use crate::sinks::Keyed;
use crate::{LogThrottle, OpenError, Sink, SinkError, SinkState};

/// Bytes of records after which a transaction is committed within a tick. The records of a transaction are kept until the
/// commit, to be sent again if the broker aborts it.
const MAX_TRANSACTION_BYTES: usize = 16 << 20;

/// Number of transactional producers, which take turns. While the broker still completes the last transaction of a producer,
/// its next one is refused and retried only after 20 ms (`rdkafka_txnmgr.c`, `CONCURRENT_TRANSACTIONS`), which would be the
/// latency. A transaction follows the acknowledgement of the one before, so the records of a key keep their order. The number
/// does not depend on the number of workers, because every process fences off all producers of the others.
const TRANSACTIONAL_PRODUCERS: usize = 2;

/// Time limit of one request of a transaction, after which it is retried.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for acknowledgements when a sink is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time limit of one abort request. Delivery reports are served in between, because the client waits for them.
const ABORT_POLL: Duration = Duration::from_millis(20);

/// Pause between two polls for delivery reports.
const DELIVERY_POLL: Duration = Duration::from_micros(100);

/// Pauses between two attempts to send a transaction again.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// A topic as a sink.
pub(super) struct TopicSink<R> {
    name: String,
    topic: String,
    /// One producer, or [`TRANSACTIONAL_PRODUCERS`].
    producers: Vec<BaseProducer<Deliveries>>,
    /// The producer of the current transaction.
    current: usize,
    transactions: bool,
    /// With transactions: keys and values since the last commit.
    uncommitted: Vec<(String, Option<Vec<u8>>)>,
    uncommitted_bytes: usize,
    /// Whether a transaction is open.
    begun: bool,
    /// Without transactions: flushed ticks, each with the number of its records that are not acknowledged.
    ticks: VecDeque<(u64, Arc<AtomicUsize>)>,
    /// Number of records since the last flush that are not acknowledged.
    unacknowledged: Arc<AtomicUsize>,
    acknowledged: Option<u64>,
    retries: LogThrottle<&'static str>,
    records: PhantomData<fn(R)>,
}

/// Opens a topic and fences off other transactional producers.
pub(crate) fn open_sink<R: Keyed>(claim: &TopicClaim) -> Result<Box<dyn Sink<R>>, OpenError> {
    let name = claim.address.to_string();
    Ok(Box::new(TopicSink::open(claim).map_err(|error| error.of_sink(&name))?))
}

/// Opens a topic of changes, fences off other transactional producers, and then reads the lists in the topic.
pub(crate) fn continue_sink(claim: &TopicClaim) -> Result<(Box<dyn Sink<Change>>, SinkState), OpenError> {
    let name = claim.address.to_string();
    let sink = TopicSink::open(claim).map_err(|error| error.of_sink(&name))?;
    let state = read_back(&name, &claim.address, &claim.options).map_err(|error| error.of_sink(&name))?;
    Ok((Box::new(sink), state))
}

/// Fences off a process of version 0.1, whose ids had dashes, so that it cannot write any more when it wakes up.
fn fence_off_older_versions(address: &Address, options: &KafkaOptions) {
    for index in 0..TRANSACTIONAL_PRODUCERS {
        let id = format!("{}-{}-{index}", options.group, address.topic);
        if let Err(ClientError { what, .. }) =
            producer(address, options, Some(id.clone())).and_then(|producer| init_transactions(&producer))
        {
            tracing::warn!(id, what, "cannot fence off a deltarec of an older version: make sure that none runs");
        }
    }
}

fn producer(
    address: &Address,
    options: &KafkaOptions,
    transactional_id: Option<String>,
) -> Result<BaseProducer<Deliveries>, ClientError> {
    let mut config = producer_config(address, options)?;
    if let Some(id) = transactional_id {
        config.set("transactional.id", id);
        // How long the broker keeps the transaction of a dead process. A new process does not wait for it.
        if config.get("transaction.timeout.ms").is_none() {
            config.set("transaction.timeout.ms", "60000");
        }
    } else {
        // No time limit: a record is retried until it is acknowledged.
        config.set("message.timeout.ms", "0");
    }
    let producer: BaseProducer<Deliveries> =
        config.create_with_context(Deliveries::new(&address.topic)).map_err(|error| config_error(&error))?;
    let context = producer.context().log_context();
    partitions(producer.client(), context, &address.topic, || producer.poll(SERVE_TIMEOUT))?;
    Ok(producer)
}

/// The options of every producer.
pub(super) fn producer_config(address: &Address, options: &KafkaOptions) -> Result<rdkafka::ClientConfig, ClientError> {
    let mut config = base(address, options)?;
    // No record is duplicated or reordered by retries.
    config.set("enable.idempotence", "true");
    // A record is acknowledged when all in-sync replicas have it.
    config.set("acks", "all");
    // The partition that Java producers choose for the key.
    config.set("partitioner", "murmur2_random");
    // A longer time makes larger batches: less work for the broker, more latency.
    config.set("linger.ms", options.linger.to_string());
    config.set("compression.type", &options.compression);
    // Bounds the memory of unacknowledged records. When it is used up, writing blocks.
    config.set("queue.buffering.max.kbytes", (options.buffer >> 10).max(1).to_string());
    Ok(config)
}

/// Aborts an open transaction of an earlier producer with the same id, and fences that producer off.
fn init_transactions(producer: &BaseProducer<Deliveries>) -> Result<(), ClientError> {
    let started = Instant::now();
    loop {
        match producer.init_transactions(CONNECT_TIMEOUT) {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && started.elapsed() < 3 * CONNECT_TIMEOUT => {
                producer.poll(Duration::ZERO);
            }
            Err(error) => return Err(explain(&error, producer.context().log_context())),
        }
    }
}

/// Enqueues a record. Blocks while the queue is full, which is the back-pressure from the broker.
pub(super) fn enqueue<K: ToBytes + ?Sized, V: ToBytes + ?Sized>(
    producer: &BaseProducer<Deliveries>,
    mut record: BaseRecord<'_, K, V, Arc<AtomicUsize>>,
) -> Result<(), KafkaError> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                record = unsent;
                producer.poll(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// Waits until everything is acknowledged, at most for [`CLOSE_TIMEOUT`].
pub(super) fn drain(producer: &BaseProducer<Deliveries>, name: &str, plural: &str) -> Result<(), SinkError> {
    let started = Instant::now();
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
        if started.elapsed() > CLOSE_TIMEOUT {
            return Err(not_acknowledged(name, producer.in_flight_count(), plural));
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

fn not_acknowledged(name: &str, count: impl std::fmt::Display, plural: &str) -> SinkError {
    let what = format!("{count} {plural} are not acknowledged");
    ClientError::new(what, "make sure that the broker runs, and start again").of_sink(name)
}

/// Why the broker, or its client, refuses a request.
enum Refusal {
    /// Retry the request.
    Retriable(String),
    /// Abort the transaction and send its records again.
    Abortable(String),
    Fatal(ClientError),
}

impl<R: Keyed> TopicSink<R> {
    fn open(claim: &TopicClaim) -> Result<Self, ClientError> {
        claim.prepare(TopicKind::Compacted)?;
        let TopicClaim { address, options, .. } = claim;
        let transactions = options.delivery == Delivery::Transactional;
        let count = if transactions { TRANSACTIONAL_PRODUCERS } else { 1 };
        // The id belongs to the topic and not to a worker or a machine, so that the next writer fences off this one. A topic
        // has no slash, so no two pairs of group and topic have the same id.
        let id = |index| transactions.then(|| format!("{}/{}/{index}", options.group, address.topic));
        let producers: Vec<_> =
            (0..count).map(|index| producer(address, options, id(index))).collect::<Result<_, _>>()?;
        if transactions {
            producers.iter().try_for_each(init_transactions)?;
            fence_off_older_versions(address, options);
        }
        Ok(TopicSink {
            name: address.to_string(),
            topic: address.topic.clone(),
            producers,
            current: 0,
            transactions,
            uncommitted: Vec::new(),
            uncommitted_bytes: 0,
            begun: false,
            ticks: VecDeque::new(),
            unacknowledged: Arc::default(),
            acknowledged: None,
            retries: LogThrottle::default(),
            records: PhantomData,
        })
    }

    fn warn(&self, what: &'static str, reason: &str) {
        if let Some(suppressed) = self.retries.admit(what) {
            tracing::warn!(sink = %self.name, reason, suppressed, "{what}");
        }
    }

    fn producer(&self) -> &BaseProducer<Deliveries> {
        &self.producers[self.current]
    }

    fn send(&self, key: &str, value: Option<&[u8]>, unacknowledged: &Arc<AtomicUsize>) -> Result<(), Refusal> {
        let mut record = BaseRecord::with_opaque_to(&self.topic, Arc::clone(unacknowledged)).key(key);
        if let Some(value) = value {
            record = record.payload(value);
        }
        unacknowledged.fetch_add(1, Relaxed);
        enqueue(self.producer(), record).map_err(|error| {
            unacknowledged.fetch_sub(1, Relaxed);
            self.classify(&error, Some((key, value.map_or(0, <[u8]>::len))))
        })
    }

    /// Waits until every record is acknowledged or has failed.
    fn await_deliveries(&self) {
        tracing::debug!(sink = %self.name, in_flight = self.producer().in_flight_count(), "waiting for acknowledgements");
        // The flush of the binding sleeps in steps of 100 ms, which would be the latency of every tick.
        while self.producer().in_flight_count() > 0 {
            self.producer().poll(Duration::ZERO);
            std::thread::sleep(DELIVERY_POLL);
        }
        self.producer().poll(Duration::ZERO);
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        if !mem::replace(&mut self.begun, true) {
            self.producer().begin_transaction().map_err(|error| self.classify(&error, None))?;
        }
        Ok(())
    }

    /// Commits the records since the last commit. If the broker aborts the transaction, they are sent again.
    fn commit(&mut self, limit: Duration) -> Result<(), SinkError> {
        let started = Instant::now();
        while self.begun {
            if started.elapsed() > limit {
                return Err(not_acknowledged(&self.name, self.uncommitted.len(), R::PLURAL));
            }
            match self.try_commit() {
                Ok(()) => {
                    self.begun = false;
                    self.uncommitted.clear();
                    self.uncommitted_bytes = 0;
                    self.current = (self.current + 1) % self.producers.len();
                }
                Err(Refusal::Retriable(reason)) => {
                    self.warn("cannot commit, retrying", &reason);
                }
                Err(Refusal::Abortable(reason)) => {
                    self.warn("transaction aborted, sending its records again", &reason);
                    self.send_again()?;
                }
                Err(Refusal::Fatal(error)) => return Err(error.of_sink(&self.name)),
            }
        }
        Ok(())
    }

    fn try_commit(&self) -> Result<(), Refusal> {
        self.await_deliveries();
        self.failure().map_or(Ok(()), Err)?;
        self.producer().commit_transaction(REQUEST_TIMEOUT).map_err(|error| self.classify(&error, None))
    }

    fn send_again(&mut self) -> Result<(), SinkError> {
        let mut backoff = MIN_BACKOFF;
        loop {
            match self.try_send_again() {
                Ok(()) => return Ok(()),
                Err(Refusal::Fatal(error)) => return Err(error.of_sink(&self.name)),
                Err(Refusal::Retriable(reason) | Refusal::Abortable(reason)) => {
                    self.warn("cannot send the records again, retrying", &reason);
                    std::thread::sleep(backoff);
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    fn try_send_again(&mut self) -> Result<(), Refusal> {
        if self.begun {
            self.abort()?;
            self.begun = false;
        }
        self.await_deliveries();
        // A fatal failure would repeat itself.
        match self.failure() {
            Some(Refusal::Fatal(error)) => return Err(Refusal::Fatal(error)),
            _ => self.producer().context().clear_failure(),
        }
        self.begin()?;
        let unacknowledged = Arc::default();
        self.uncommitted.iter().try_for_each(|(key, value)| self.send(key, value.as_deref(), &unacknowledged))
    }

    /// Aborts the transaction.
    fn abort(&self) -> Result<(), Refusal> {
        let started = Instant::now();
        loop {
            self.producer().poll(Duration::ZERO);
            let Err(error) = self.producer().abort_transaction(ABORT_POLL) else { return Ok(()) };
            match self.classify(&error, None) {
                Refusal::Retriable(_) if started.elapsed() < REQUEST_TIMEOUT => {}
                refusal => return Err(refusal),
            }
        }
    }

    /// Decides how to react to an error. `record`: key of the refused record and the bytes of its value.
    fn classify(&self, error: &KafkaError, record: Option<(&str, usize)>) -> Refusal {
        use RDKafkaErrorCode as Code;
        let fatal = self.producer().client().fatal_error();
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| error.rdkafka_error_code());
        if matches!(code, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)) {
            return Refusal::Fatal(ClientError::new(
                "another process writes to this topic now and has fenced off this one",
                "run one deltarec for an output topic; if there is only one, start it again",
            ));
        }
        if let Some((_, reason)) = fatal {
            return Refusal::Fatal(ClientError::new(reason, "see the broker's log, and start again"));
        }
        if let KafkaError::Transaction(error) = error {
            if error.is_retriable() {
                return Refusal::Retriable(error.string());
            }
            if error.txn_requires_abort() {
                return Refusal::Abortable(error.string());
            }
        }
        if code == Some(Code::MessageSizeTooLarge) {
            let ClientError { what, advice } = explain(error, self.producer().context().log_context());
            let of = record.map(|(key, bytes)| format!(" (that of `{key}`, {bytes} bytes)")).unwrap_or_default();
            return Refusal::Fatal(ClientError { what: what + &of, advice });
        }
        if self.transactions && self.begun && !matches!(error, KafkaError::Transaction(_)) {
            return Refusal::Abortable(error.to_string());
        }
        Refusal::Fatal(explain(error, self.producer().context().log_context()))
    }

    /// Failure of the current producer.
    fn failure(&self) -> Option<Refusal> {
        let failed = self.producer().context().failure()?;
        Some(self.classify(&failed.error, Some((&failed.key, failed.bytes))))
    }

    /// Without transactions: reports failures, and advances the acknowledged tick.
    fn update_acknowledged(&mut self) -> Result<(), SinkError> {
        match self.failure() {
            Some(Refusal::Fatal(error)) => return Err(error.of_sink(&self.name)),
            Some(Refusal::Retriable(reason) | Refusal::Abortable(reason)) => {
                return Err(ClientError::new(reason, "see the broker's log").of_sink(&self.name));
            }
            None => {}
        }
        while let Some((at, _)) = self.ticks.front().filter(|(_, unacknowledged)| unacknowledged.load(Relaxed) == 0) {
            self.acknowledged = self.acknowledged.max(Some(*at));
            self.ticks.pop_front();
        }
        Ok(())
    }
}

impl<R: Keyed> Sink<R> for TopicSink<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn write(&mut self, record: &R) -> Result<(), SinkError> {
        let key = record.key();
        let json = || serde_json::to_vec(record).expect("records have text keys only");
        let value = (!record.is_empty()).then(json);
        let unacknowledged = Arc::clone(&self.unacknowledged);
        let begun = if self.transactions { self.begin() } else { Ok(()) };
        let sent = begun.and_then(|()| self.send(&key, value.as_deref(), &unacknowledged));
        if self.transactions {
            self.uncommitted_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            self.uncommitted.push((key.into_owned(), value));
        }
        match sent {
            Ok(()) if self.uncommitted_bytes > MAX_TRANSACTION_BYTES => self.commit(Duration::MAX),
            Ok(()) => Ok(()),
            Err(Refusal::Fatal(error)) => Err(error.of_sink(&self.name)),
            Err(Refusal::Retriable(reason) | Refusal::Abortable(reason)) => {
                self.warn("transaction aborted, sending its records again", &reason);
                self.send_again()
            }
        }
    }

    fn flush(&mut self, at: u64) -> Result<(), SinkError> {
        if self.transactions {
            self.commit(Duration::MAX)?;
            self.acknowledged = self.acknowledged.max(Some(at));
            return Ok(());
        }
        self.producer().poll(Duration::ZERO);
        self.ticks.push_back((at, mem::take(&mut self.unacknowledged)));
        self.update_acknowledged()
    }

    fn maintain(&mut self) -> Result<(), SinkError> {
        self.producers.iter().for_each(|producer| producer.poll(Duration::ZERO));
        if self.transactions { Ok(()) } else { self.update_acknowledged() }
    }

    fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    fn close(&mut self) -> Result<(), SinkError> {
        if self.transactions {
            return self.commit(CLOSE_TIMEOUT);
        }
        drain(self.producer(), &self.name, R::PLURAL)?;
        self.update_acknowledged()
    }
}
