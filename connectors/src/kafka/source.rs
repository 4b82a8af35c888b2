//! A topic as a source: all its partitions, each in its own order. A [`Fetcher`] reads on a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::thread::{self, Thread};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use rdkafka::consumer::Consumer;
use schema::Position;

use super::Address;
use super::client::{CONNECT_TIMEOUT, ClientError, End, SERVE_TIMEOUT, consumer, partitions};
use super::fetcher::{Fetched, Fetcher, FetcherControl};
use super::topic_id::topic_id;
use crate::decode::{Decoder, RecordDecoder};
use crate::formats::json::Json;
use crate::records::{Layout, Mapping, mapping};
use crate::{Batch, InputOptions, OpenError, Polled, Record, Source, SourceError, SourcePosition};

/// Capacity of the channel from the fetcher: one batch in use, one ready.
const BATCHES: usize = 2;

/// Options of the consumer.
const CONSUMER_OPTIONS: [(&str, &str); 3] = [
    // Records that were deleted before they were read are an error. They must not be skipped silently.
    ("auto.offset.reset", "error"),
    // A fetch returns as soon as there is one record.
    ("fetch.min.bytes", "1"),
    // Retries a fetch soon after the queue was full; the default is one second.
    ("fetch.queue.backoff.ms", "10"),
];

/// A topic as a source.
struct TopicSource<R: Record, D> {
    name: String,
    state: State<R, D>,
    /// Offset after the last polled record, by partition.
    positions: BTreeMap<i32, i64>,
    /// Partitions of which everything was polled. Their last offsets may be transaction markers.
    at_end: BTreeSet<i32>,
    /// End offsets at the first poll, by partition; without the partitions that have been read to that offset.
    backfill: Option<BTreeMap<i32, i64>>,
    control: Arc<FetcherControl>,
    /// Id of the topic, if the broker gives it one.
    topic_id: Option<String>,
}

enum State<R: Record, D> {
    /// Fetching begins with the first poll, after [`Source::resume_at`].
    New(Box<Fetcher<R, D>>),
    Fetching {
        fetched: Receiver<Result<Fetched<R>, SourceError>>,
        /// Ends of the partitions, from the statistics of the client.
        ends: Arc<dyn Fn() -> BTreeMap<i32, End> + Send + Sync>,
    },
    Failed,
}

/// Opens a topic, which must exist. Its records are JSON.
pub(crate) fn open_source<R: Record>(address: &str, options: &InputOptions) -> Result<Box<dyn Source<R>>, OpenError> {
    let address = Address::parse(address)?;
    let name = address.to_string();
    let mapping = mapping::<R>(options, &name, Layout::Json)?;
    let format = Json::new(mapping.columns(), R::Mapping::WHOLE_VALUES)?;
    let decoder = RecordDecoder::<R, Json>::new(mapping, format);
    let source = TopicSource::open(&name, address, decoder, options).map_err(|error| error.of_source(&name))?;
    Ok(Box::new(source))
}

impl<R: Record, D: Decoder<R> + 'static> TopicSource<R, D> {
    fn open(name: &str, address: Address, decoder: D, options: &InputOptions) -> Result<Self, ClientError> {
        let consumer = consumer(&address, &options.kafka, &options.kafka.group, &CONSUMER_OPTIONS)?;
        let context = consumer.client().context();
        let serve = || drop(consumer.poll(SERVE_TIMEOUT));
        if partitions(consumer.client(), context, &address.topic, serve)?.is_none() {
            return Err(ClientError::new("there is no such topic", "check its name, or create it"));
        }
        let topic_id = topic_id(consumer.client(), &address.topic, CONNECT_TIMEOUT);
        let control = Arc::new(FetcherControl::default());
        let fetcher = Fetcher::new(name, address, consumer, decoder, options, Arc::clone(&control), topic_id.clone());
        Ok(TopicSource {
            name: name.to_owned(),
            state: State::New(Box::new(fetcher)),
            positions: BTreeMap::new(),
            at_end: BTreeSet::new(),
            backfill: None,
            control,
            topic_id,
        })
    }

    /// Determines the ends of the partitions and starts to fetch. The fetcher unparks `poller` when there is a batch.
    fn start(&mut self, mut fetcher: Box<Fetcher<R, D>>, poller: Thread) -> Result<State<R, D>, ClientError> {
        self.backfill = Some(fetcher.assign(&self.positions)?);
        let (sender, fetched) = bounded(BATCHES);
        let ends = fetcher.ends();
        thread::Builder::new().name("kafka".into()).spawn(move || fetcher.run(&sender, &poller)).map_err(|error| {
            ClientError::new(format!("cannot start a thread: {error}"), "see the limits of this user")
        })?;
        Ok(State::Fetching { fetched, ends })
    }
}

impl<R: Record, D: Decoder<R> + 'static> Source<R> for TopicSource<R, D> {
    fn name(&self) -> &str {
        &self.name
    }

    fn poll(&mut self, into: &mut Batch<R>) -> Result<Polled, SourceError> {
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::New(fetcher) => {
                self.start(fetcher, thread::current()).map_err(|error| error.of_source(&self.name))?
            }
            state => state,
        };
        let State::Fetching { fetched, .. } = &self.state else { return Ok(Polled::Finished) };
        let received = match fetched.try_recv() {
            Ok(received) => received,
            Err(TryRecvError::Empty) => return Ok(Polled::Idle),
            Err(TryRecvError::Disconnected) => {
                let error = ClientError::new(
                    "the thread that reads the topic has failed",
                    "please report what is printed above",
                );
                return Err(error.of_source(&self.name));
            }
        };
        let more = !fetched.is_empty();
        let Fetched { batch, reached, ended } = received.inspect_err(|_| self.state = State::Failed)?;
        into.append(batch);
        if let Some(backfill) = &mut self.backfill {
            backfill.retain(|partition, end| {
                reached.get(partition).is_none_or(|reached| reached < end) && !ended.contains(partition)
            });
        }
        self.at_end.retain(|partition| !reached.contains_key(partition));
        self.at_end.extend(ended);
        self.positions.extend(reached);
        Ok(if more { Polled::Ready } else { Polled::Idle })
    }

    fn position(&self, batch: &Batch<R>, next: usize) -> SourcePosition {
        let mut positions = self.positions.clone();
        // In reverse, so that the first unprocessed record of each partition is inserted last.
        for position in (next..batch.len()).rev().filter_map(|index| batch.position(index)) {
            if let Position::Offset { partition, offset } = position {
                positions.insert(partition, offset);
            }
        }
        SourcePosition::Partitions { offsets: positions, topic: self.topic_id.clone() }
    }

    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let SourcePosition::Partitions { offsets, topic } = position else {
            let error = ClientError::new("cannot resume a topic at a line of a file", "start without the saved state");
            return Err(error.of_source(&self.name));
        };
        if topic.is_some() && self.topic_id.is_some() && *topic != self.topic_id {
            return Err(ClientError::recreated().of_source(&self.name));
        }
        self.positions.clone_from(offsets);
        Ok(())
    }

    fn pause(&mut self, paused: bool) {
        self.control.paused.store(paused, Release);
    }

    fn is_live(&self) -> bool {
        true
    }

    fn is_caught_up(&self) -> bool {
        self.backfill.as_ref().is_some_and(BTreeMap::is_empty)
    }

    fn lag(&self) -> BTreeMap<i32, u64> {
        let State::Fetching { ends, .. } = &self.state else { return BTreeMap::new() };
        let lag = |(partition, End { high, reported }): (i32, End)| {
            let position = self.positions.get(&partition).copied()?;
            let read = if self.at_end.contains(&partition) { position.max(reported) } else { position };
            Some((partition, u64::try_from(high - read).unwrap_or(0)))
        };
        ends().into_iter().filter_map(lag).collect()
    }
}

/// Stops the fetcher.
impl<R: Record, D> Drop for TopicSource<R, D> {
    fn drop(&mut self) {
        self.control.stopped.store(true, Release);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::config::{ClientConfig, FromClientConfig};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
    use schema::{Control, FieldValue, ItemField, Statement};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{CatalogueRecord, ControlRecords};

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Writes records to a topic of a broker of its own and reads all of them.
    fn read<R: Record>(topic: &str, records: &[(Option<&str>, Option<&str>)]) -> Batch<R> {
        let broker = MockCluster::<DefaultProducerContext>::new(1).unwrap();
        broker.create_topic(topic, 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap_servers());
        let producer = BaseProducer::from_config(&config).unwrap();
        for (key, value) in records {
            let mut record = BaseRecord::<str, str>::to(topic).timestamp(1_763_900_000_000);
            record.key = *key;
            record.payload = *value;
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(TIMEOUT).unwrap();
        let address = format!("{}/{topic}", broker.bootstrap_servers());
        let options = InputOptions { fixed_ts: None, originals: true, ..InputOptions::default() };
        let mut source = open_source::<R>(&address, &options).unwrap();
        let mut batch = Batch::default();
        let begin = Instant::now();
        while batch.len() + batch.rejected.len() < records.len() {
            assert!(begin.elapsed() < TIMEOUT, "{} records", batch.len());
            source.poll(&mut batch).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        batch
    }

    #[test]
    fn a_topic_of_catalogue_records_has_keys_tombstones_and_timestamps() {
        let records: [(Option<&str>, Option<&str>); 6] = [
            (Some("p1"), Some(r#"{"title":"T","ts":5}"#)),
            (None, Some(r#"{"item":"p2"}"#)),
            (Some("p1"), None),
            (Some("p1"), Some(r#"{"item":"p2"}"#)),
            (None, None),
            (Some("p1"), Some("")),
        ];
        let batch = read::<CatalogueRecord>("items", &records);
        let read = |index: usize| batch.get(index).map(|record| (record.item, record.ts, record.statement.clone()));
        let title = Statement::Fields(vec![(ItemField::Title, Some(FieldValue::Text("T".into())))]);
        assert_eq!(read(0), Some(("p1", 5, title)));
        assert_eq!(read(1), Some(("p2", 1_763_900_000_000, Statement::Fields(vec![]))));
        assert_eq!(read(2), Some(("p1", 1_763_900_000_000, Statement::Deleted)));
        assert_eq!(batch.original(2).map(|original| original.key.as_deref()), Some(Some(&b"p1"[..])));
        let codes: Vec<String> = batch.rejected.iter().map(|rejected| rejected.reason.code()).collect();
        assert_eq!(codes, ["key_mismatch", "no_value", "no_value"]);
    }

    #[test]
    fn a_control_without_a_time_has_that_of_its_topic_and_a_tombstone_is_none() {
        let records = [
            (Some("any"), Some(r#"{"user":"u1","control":"pause"}"#)),
            (None, Some(r#"{"user":"u1","control":"pause","ts":5,"undo":true}"#)),
            (Some("u1"), None),
            (None, Some("")),
        ];
        let batch = read::<ControlRecords>("controls", &records);
        let read = |index: usize| batch.get(index).map(|record| (record.ts, record.control.clone()));
        assert_eq!(read(0), Some((1_763_900_000_000, Control::Pause)));
        assert_eq!(read(1), Some((5, Control::Resume)));
        assert_eq!(batch.len(), 2);
        let codes: Vec<String> = batch.rejected.iter().map(|rejected| rejected.reason.code()).collect();
        assert_eq!(codes, ["no_value", "no_value"]);
    }
}
