//! A dead-letter topic: rejected records in their original form, with the reason and the position as headers.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rdkafka::Timestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use schema::{Position, Rejected};

use super::client::{ClientError, config_error, explain};
use super::deliveries::Deliveries;
use super::sink::{drain, enqueue, producer_config};
use super::topics::{TopicClaim, TopicKind};
use crate::{OpenError, Sink, SinkError};

/// Writes rejected records to a dead-letter topic.
struct DeadLetterProducer {
    name: String,
    topic: String,
    producer: BaseProducer<Deliveries>,
    /// Whether a record was skipped because it is a dead letter already.
    has_skipped: bool,
}

/// Opens a dead-letter topic.
pub(crate) fn open_dead_letters(claim: &TopicClaim) -> Result<Box<dyn Sink<Rejected>>, OpenError> {
    let name = claim.address.to_string();
    Ok(Box::new(DeadLetterProducer::open(claim).map_err(|error| error.of_sink(&name))?))
}

impl DeadLetterProducer {
    fn open(claim: &TopicClaim) -> Result<Self, ClientError> {
        claim.prepare(TopicKind::DeadLetters)?;
        let TopicClaim { address, options, .. } = claim;
        let mut config = producer_config(address, options)?;
        // No time limit: a record is retried until it is acknowledged.
        config.set("message.timeout.ms", "0");
        let context = Deliveries::keeping_too_large(&address.topic);
        let producer = config.create_with_context(context).map_err(|error| config_error(&error))?;
        Ok(DeadLetterProducer { name: address.to_string(), topic: address.topic.clone(), producer, has_skipped: false })
    }

    fn failed(&self, error: &KafkaError) -> SinkError {
        explain(error, self.producer.context().log_context()).of_sink(&self.name)
    }

    fn send(&self, key: Option<&[u8]>, value: Option<&[u8]>, headers: OwnedHeaders) -> Result<(), KafkaError> {
        // Nothing reads the counter of unacknowledged records: a record belongs to no tick.
        let unacknowledged = Arc::new(AtomicUsize::new(1));
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, unacknowledged).headers(headers);
        (record.key, record.payload) = (key, value);
        enqueue(&self.producer, record)
    }

    /// Sends a record alone, and waits. `false`: it is too large.
    fn fits(&self, key: Option<&[u8]>, value: Option<&[u8]>, headers: OwnedHeaders) -> Result<bool, SinkError> {
        match self.send(key, value, headers) {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => return Ok(false),
            sent => sent.map_err(|error| self.failed(&error))?,
        }
        drain(&self.producer, &self.name, PLURAL)?;
        Ok(self.producer.context().take_too_large().is_empty())
    }

    /// Sends the records that were too large again: each alone, as a batch is refused as a whole, and then only its start.
    fn send_too_large(&self, records: Vec<OwnedMessage>) -> Result<(), SinkError> {
        for record in records {
            let value = record.payload().unwrap_or_default();
            let headers = record.headers().cloned().unwrap_or_default();
            if self.fits(record.key(), record.payload(), headers.clone())? {
                continue;
            }
            let (size, own) = (value.len().to_string(), headers.iter().filter(|header| header.key.starts_with(PREFIX)));
            let cut = own.fold(OwnedHeaders::new(), OwnedHeaders::insert);
            let cut = cut.insert(Header { key: CUT, value: Some(size.as_str()) });
            let header = |name: &str| {
                let found = headers.iter().find(|header| header.key.strip_prefix(PREFIX) == Some(name));
                found.and_then(|header| header.value).map(String::from_utf8_lossy).unwrap_or_default().into_owned()
            };
            let (topic, partition, offset) = (header("topic"), header("partition"), header("offset"));
            if !self.fits(None, Some(&value[..value.len().min(CUT_BYTES)]), cut)? {
                return Err(ClientError::new(
                    format!(
                        "not even the first {CUT_BYTES} bytes of the rejected record at offset {offset} fit the topic"
                    ),
                    "raise its max.message.bytes, or name another topic",
                )
                .of_sink(&self.name));
            }
            tracing::warn!(
                sink = %self.name, topic, partition, offset,
                "a rejected record of {size} bytes is too large for the topic: its first {CUT_BYTES} bytes are kept"
            );
        }
        Ok(())
    }
}

/// Prefix of the headers that this program adds.
const PREFIX: &str = "deltarec.";

/// Header with the reason of the rejection.
const REASON: &str = "deltarec.reason";

/// Header of a record of which only the start is kept: the bytes that it had.
const CUT: &str = "deltarec.cut";

/// Bytes kept of a value that is too large for the topic.
const CUT_BYTES: usize = 512;

/// The records, for messages.
const PLURAL: &str = "rejected records";

impl Sink<Rejected> for DeadLetterProducer {
    fn name(&self) -> &str {
        &self.name
    }

    /// The value of a record that does not come from a topic is its text. A record that was rejected before is not copied
    /// again: two runs, or a run that reads what it writes, would copy it for ever.
    fn write(&mut self, rejected: &Rejected) -> Result<(), SinkError> {
        let original = rejected.original.as_deref();
        if original.is_some_and(|original| original.headers.iter().any(|(key, _)| key == REASON)) {
            if !mem::replace(&mut self.has_skipped, true) {
                tracing::warn!(
                    sink = %self.name,
                    "{} was rejected before and is not copied again (logged once)",
                    rejected.place()
                );
            }
            return Ok(());
        }
        let mut headers = OwnedHeaders::new();
        for (key, value) in original.into_iter().flat_map(|original| &original.headers) {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let source = match original {
            Some(original) => ("deltarec.topic", original.topic.as_str()),
            None => ("deltarec.source", rejected.source.as_str()),
        };
        let (line, offset) = match rejected.position {
            Position::Line { line, byte } => (("deltarec.line", line.to_string()), byte.to_string()),
            Position::Offset { partition, offset } => {
                (("deltarec.partition", partition.to_string()), offset.to_string())
            }
        };
        let (code, detail) = (rejected.reason.code(), rejected.reason.to_string());
        for (key, value) in [
            (REASON, code.as_str()),
            ("deltarec.detail", detail.as_str()),
            source,
            (line.0, line.1.as_str()),
            ("deltarec.offset", offset.as_str()),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let key = original.and_then(|original| original.key.as_deref());
        let value = original.map_or(Some(rejected.record.as_bytes()), |original| original.value.as_deref());
        match self.send(key, value, headers.clone()) {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {
                let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
                let topic = self.topic.clone();
                let record = OwnedMessage::new(value, key, topic, Timestamp::NotAvailable, 0, 0, Some(headers));
                self.send_too_large(vec![record])
            }
            sent => sent.map_err(|error| self.failed(&error)),
        }
    }

    /// Reports failures of earlier writes; does not wait for acknowledgements.
    fn flush(&mut self, _at: u64) -> Result<(), SinkError> {
        self.producer.poll(Duration::ZERO);
        self.send_too_large(self.producer.context().take_too_large())?;
        self.producer.context().failure().map_or(Ok(()), |failed| Err(self.failed(&failed.error)))
    }

    /// Waits until everything is acknowledged.
    fn close(&mut self) -> Result<(), SinkError> {
        drain(&self.producer, &self.name, PLURAL)?;
        self.flush(0)
    }
}
