//! A compacted topic as the output: the key is the user, the value the change, and nothing when a list is empty.
//!
//! All changes of a user go to one partition in their order. In transactions (the default), what was written since the
//! last flush becomes readable all at once, or never; a producer that was replaced by another of the same id is refused
//! by the broker, whenever it wakes up. Plain idempotent writing has no such fence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schema::Change;

use super::client::{CONNECT_TIMEOUT, ClientError, TELLING, base, explain, not_made, partitions};
use super::deliveries::Deliveries;
use super::readback::read_back;
use super::topics::{Kind, prepare};
use super::{Address, Delivery, KafkaOptions};
use crate::{OpenError, Sink, SinkError, SinkState};

/// Bytes of records after which a transaction is committed within a tick: they are kept until then, to be sent again
/// if the broker gives the transaction up.
const MOST_KEPT: usize = 16 << 20;

/// Producers with transactions, which take turns. While a broker still marks one's last transaction as decided, its next one
/// is refused, and asked for again only after 20 ms (`rdkafka_txnmgr.c`, `CONCURRENT_TRANSACTIONS`): that would be the
/// latency. A record follows that of the turn before, which was acknowledged, so those of a key keep their order. The number
/// is fixed, whatever the number of workers, as every process shuts the others out of all of them.
const SLOTS: usize = 2;

/// How long one question of a transaction waits before it is asked again.
const ONE_TRY: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Lists {
    name: String,
    topic: String,
    /// One; with transactions, as many as there are slots.
    producers: Vec<BaseProducer<Deliveries>>,
    /// Whose turn it is.
    slot: usize,
    transactions: bool,
    /// Records since the last commit; only with transactions.
    kept: Vec<(String, Option<Vec<u8>>)>,
    kept_bytes: usize,
    begun: bool,
    /// Ticks written, each with the number of its records that are not acknowledged yet. Without transactions.
    ticks: VecDeque<(u64, Arc<AtomicUsize>)>,
    tick: Arc<AtomicUsize>,
    acknowledged: Option<u64>,
}

/// Opens the topic, keeps everybody else out, and then reads what it holds.
pub(crate) fn continue_lists(
    name: &str,
    address: &Address,
    options: &KafkaOptions,
) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
    let failed = |trouble| OpenError::from(sink_error(name, trouble));
    prepare(address, options, Kind::Lists).map_err(failed)?;
    let transactions = options.delivery == Delivery::Transactional;
    let slots = 0..if transactions { SLOTS } else { 1 };
    let producers: Vec<_> =
        slots.map(|slot| producer(address, options, slot)).collect::<Result<_, _>>().map_err(failed)?;
    if transactions {
        producers.iter().try_for_each(begin_epoch).map_err(failed)?;
    }
    let held = read_back(name, address, options).map_err(failed)?;
    let sink = Lists {
        name: name.to_owned(),
        topic: address.topic.clone(),
        producers,
        slot: 0,
        transactions,
        kept: Vec::new(),
        kept_bytes: 0,
        begun: false,
        ticks: VecDeque::new(),
        tick: Arc::default(),
        acknowledged: None,
    };
    Ok((Box::new(sink), held))
}

fn producer(address: &Address, options: &KafkaOptions, slot: usize) -> Result<BaseProducer<Deliveries>, ClientError> {
    let mut config = writing(address, options)?;
    if options.delivery == Delivery::Transactional {
        // Of the topic and not of the worker or the machine: whoever writes these lists next shuts this one out.
        config.set("transactional.id", format!("{}-{}-{slot}", options.group, address.topic));
        // How long the broker keeps a transaction of a process that died; a new one does not have to wait for it.
        if config.get("transaction.timeout.ms").is_none() {
            config.set("transaction.timeout.ms", "60000");
        }
    } else {
        // A change is never given up: it is sent until the broker has it.
        config.set("message.timeout.ms", "0");
    }
    let producer: BaseProducer<Deliveries> =
        config.create_with_context(Deliveries::new(&address.topic)).map_err(|error| not_made(&error))?;
    let telling = producer.context().telling();
    partitions(producer.client(), telling, &address.topic, || producer.poll(TELLING))?;
    Ok(producer)
}

/// The options of every producer of ours.
pub(super) fn writing(address: &Address, options: &KafkaOptions) -> Result<rdkafka::ClientConfig, ClientError> {
    let mut config = base(address, options)?;
    // No record twice and none out of order, however often one is sent again.
    config.set("enable.idempotence", "true");
    // Acknowledged is what all replicas in sync have.
    config.set("acks", "all");
    // The partition that Java producers choose for the key.
    config.set("partitioner", "murmur2_random");
    // Longer makes larger batches: less work for the broker, at so much latency.
    config.set("linger.ms", options.linger.to_string());
    config.set("compression.type", &options.compression);
    // The memory of what is not acknowledged. When it is used up, writing waits.
    config.set("queue.buffering.max.kbytes", (options.buffer >> 10).max(1).to_string());
    Ok(config)
}

/// Ends whatever an earlier producer of this id had begun, and its right to go on.
fn begin_epoch(producer: &BaseProducer<Deliveries>) -> Result<(), ClientError> {
    let asked = Instant::now();
    loop {
        match producer.init_transactions(CONNECT_TIMEOUT) {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && asked.elapsed() < 3 * CONNECT_TIMEOUT => {
                producer.poll(Duration::ZERO);
            }
            Err(error) => return Err(explain(&error, producer.context().telling())),
        }
    }
}

/// How long the end of a run waits for the broker.
const CLOSING: Duration = Duration::from_secs(60);

/// Waits at the end until everything is acknowledged, or a broker that is gone has had its time.
pub(super) fn drain(producer: &BaseProducer<Deliveries>, name: &str, what: &str) -> Result<(), SinkError> {
    let asked = Instant::now();
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
        if asked.elapsed() > CLOSING {
            let what = format!("{} {what} are not acknowledged", producer.in_flight_count());
            return Err(sink_error(name, ClientError::new(what, "see that the broker runs, and start again")));
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

pub(super) fn sink_error(name: &str, ClientError { what, advice }: ClientError) -> SinkError {
    SinkError { sink_name: name.to_owned(), what, advice, closed: false, cause: None }
}

impl Lists {
    fn producer(&self) -> &BaseProducer<Deliveries> {
        &self.producers[self.slot]
    }

    fn send(&mut self, user: &str, value: Option<&[u8]>, tick: &Arc<AtomicUsize>) -> Result<(), Refused> {
        let mut record = BaseRecord::with_opaque_to(&self.topic, Arc::clone(tick)).key(user);
        if let Some(value) = value {
            record = record.payload(value);
        }
        tick.fetch_add(1, Relaxed);
        loop {
            match self.producer().send(record) {
                Ok(()) => return Ok(()),
                // The queue is full: the pace is the broker's.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer().poll(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    tick.fetch_sub(1, Relaxed);
                    return Err(self.refused(&error, Some((user, value.map_or(0, <[u8]>::len)))));
                }
            }
        }
    }

    /// Waits until every record is acknowledged or given up.
    fn settle(&self) {
        tracing::debug!("{}: {} records not acknowledged", self.name, self.producer().in_flight_count());
        // The binding's own flush sleeps in steps of 100 ms, which would be the latency of every tick.
        while self.producer().in_flight_count() > 0 {
            self.producer().poll(Duration::ZERO);
            std::thread::sleep(STEP);
        }
        self.producer().poll(Duration::ZERO);
    }

    fn begin(&mut self) -> Result<(), Refused> {
        if !std::mem::replace(&mut self.begun, true) {
            self.producer().begin_transaction().map_err(|error| self.refused(&error, None))?;
        }
        Ok(())
    }

    /// Makes what was sent since the last time readable. A transaction that the broker gave up is made again.
    fn commit(&mut self) -> Result<(), SinkError> {
        self.commit_within(Duration::MAX)
    }

    fn commit_within(&mut self, limit: Duration) -> Result<(), SinkError> {
        let asked = Instant::now();
        while self.begun {
            if asked.elapsed() > limit {
                let what = format!("{} lists are not acknowledged", self.kept.len());
                return Err(sink_error(
                    &self.name,
                    ClientError::new(what, "see that the broker runs, and start again"),
                ));
            }
            match self.try_commit() {
                Ok(()) => {
                    self.begun = false;
                    self.kept.clear();
                    self.kept_bytes = 0;
                    self.slot = (self.slot + 1) % self.producers.len();
                }
                Err(Refused::Now(what)) => tracing::warn!("{}: {what}; trying again", self.name),
                Err(Refused::Transaction(what)) => {
                    tracing::warn!("{}: {what}; what it had is sent again", self.name);
                    self.send_again()?;
                }
                Err(Refused::ForEver(trouble)) => return Err(sink_error(&self.name, trouble)),
            }
        }
        Ok(())
    }

    fn try_commit(&self) -> Result<(), Refused> {
        self.settle();
        self.producer().context().failure().map_or(Ok(()), |failure| Err(self.refused(&failure, None)))?;
        self.producer().commit_transaction(ONE_TRY).map_err(|error| self.refused(&error, None))
    }

    fn send_again(&mut self) -> Result<(), SinkError> {
        let mut wait = Duration::from_millis(50);
        loop {
            match self.try_send_again() {
                Ok(()) => return Ok(()),
                Err(Refused::ForEver(trouble)) => return Err(sink_error(&self.name, trouble)),
                Err(Refused::Now(what) | Refused::Transaction(what)) => {
                    tracing::warn!("{}: {what}; trying again in {wait:?}", self.name);
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(MOST_WAIT);
                }
            }
        }
    }

    fn try_send_again(&mut self) -> Result<(), Refused> {
        if self.begun {
            self.abort()?;
            self.begun = false;
        }
        self.settle();
        // What no broker will ever take is not sent again.
        match self.producer().context().failure().map(|failure| self.refused(&failure, None)) {
            Some(Refused::ForEver(trouble)) => return Err(Refused::ForEver(trouble)),
            _ => self.producer().context().forget_failure(),
        }
        self.begin()?;
        let kept = std::mem::take(&mut self.kept);
        let tick = Arc::default();
        let sent = kept.iter().try_for_each(|(user, value)| self.send(user, value.as_deref(), &tick));
        self.kept = kept;
        sent
    }

    /// Gives the transaction up. What becomes of its records must be heard meanwhile: the client waits for that.
    fn abort(&self) -> Result<(), Refused> {
        let asked = Instant::now();
        loop {
            self.producer().poll(Duration::ZERO);
            let Err(error) = self.producer().abort_transaction(A_LOOK) else { return Ok(()) };
            match self.refused(&error, None) {
                Refused::Now(_) if asked.elapsed() < ONE_TRY => {}
                refused => return Err(refused),
            }
        }
    }

    /// What an error asks for.
    fn refused(&self, error: &KafkaError, record: Option<(&str, usize)>) -> Refused {
        use RDKafkaErrorCode as Code;
        let fatal = self.producer().client().fatal_error();
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| error.rdkafka_error_code());
        if matches!(code, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)) {
            return Refused::ForEver(ClientError::new(
                "another process writes to this topic now, so this one was shut out",
                "run one deltarec for an output topic; if there is only one, start it again",
            ));
        }
        if let Some((_, reason)) = fatal {
            return Refused::ForEver(ClientError::new(reason, "see the broker's log, and start again"));
        }
        if let KafkaError::Transaction(error) = error {
            if error.is_retriable() {
                return Refused::Now(error.string());
            }
            if error.txn_requires_abort() {
                return Refused::Transaction(error.string());
            }
        }
        if code == Some(Code::MessageSizeTooLarge) {
            let ClientError { what, advice } = explain(error, self.producer().context().telling());
            let of = record.map(|(user, bytes)| format!(" (the list of `{user}`, {bytes} bytes)")).unwrap_or_default();
            return Refused::ForEver(ClientError { what: what + &of, advice });
        }
        if self.transactions && self.begun && !matches!(error, KafkaError::Transaction(_)) {
            return Refused::Transaction(error.to_string());
        }
        Refused::ForEver(explain(error, self.producer().context().telling()))
    }

    fn take_stock(&mut self) {
        while let Some((at, _)) = self.ticks.front().filter(|(_, left)| left.load(Relaxed) == 0) {
            self.acknowledged = self.acknowledged.max(Some(*at));
            self.ticks.pop_front();
        }
    }

    fn check(&self) -> Result<(), SinkError> {
        match self.producer().context().failure().map(|failure| self.refused(&failure, None)) {
            Some(Refused::ForEver(trouble)) => Err(sink_error(&self.name, trouble)),
            Some(Refused::Now(what) | Refused::Transaction(what)) => {
                Err(sink_error(&self.name, ClientError::new(what, "see the broker's log")))
            }
            None => Ok(()),
        }
    }
}

/// So long an abort may go on before what came back is heard.
const A_LOOK: Duration = Duration::from_millis(20);

/// Between two looks at what came back.
const STEP: Duration = Duration::from_micros(100);

/// The longest pause between two tries.
const MOST_WAIT: Duration = Duration::from_secs(30);

/// Why the broker, or its client, does not take something.
enum Refused {
    /// To be asked again.
    Now(String),
    /// This transaction is lost.
    Transaction(String),
    ForEver(ClientError),
}

impl Sink for Lists {
    fn name(&self) -> &str {
        &self.name
    }

    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        let json = || serde_json::to_vec(change).expect("a change has text keys only");
        let value = (!change.items.is_empty()).then(json);
        let tick = Arc::clone(&self.tick);
        let begun = if self.transactions { self.begin() } else { Ok(()) };
        let sent = begun.and_then(|()| self.send(&change.user, value.as_deref(), &tick));
        if self.transactions {
            self.kept_bytes += change.user.len() + value.as_ref().map_or(0, Vec::len);
            self.kept.push((change.user.clone(), value));
        }
        match sent {
            Ok(()) if self.kept_bytes > MOST_KEPT => self.commit(),
            Ok(()) => Ok(()),
            Err(Refused::ForEver(trouble)) => Err(sink_error(&self.name, trouble)),
            Err(Refused::Now(what) | Refused::Transaction(what)) => {
                tracing::warn!("{}: {what}; what the transaction had is sent again", self.name);
                self.send_again()
            }
        }
    }

    fn flush(&mut self, at: u64) -> Result<(), SinkError> {
        if self.transactions {
            self.commit()?;
            self.acknowledged = self.acknowledged.max(Some(at));
            return Ok(());
        }
        self.producer().poll(Duration::ZERO);
        self.check()?;
        self.ticks.push_back((at, std::mem::take(&mut self.tick)));
        self.take_stock();
        Ok(())
    }

    fn maintain(&mut self) -> Result<(), SinkError> {
        self.producers.iter().for_each(|producer| producer.poll(Duration::ZERO));
        if self.transactions {
            return Ok(());
        }
        self.check()?;
        self.take_stock();
        Ok(())
    }

    fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    fn close(&mut self) -> Result<(), SinkError> {
        if self.transactions {
            return self.commit_within(CLOSING);
        }
        drain(self.producer(), &self.name, "lists")?;
        self.check()?;
        self.take_stock();
        Ok(())
    }
}
