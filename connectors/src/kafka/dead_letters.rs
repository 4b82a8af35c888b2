//! A dead-letter topic: rejected records in their original form, with the reason and the position as headers.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use schema::{Position, Rejected};

use super::client::{ClientError, config_error, explain};
use super::deliveries::Deliveries;
use super::sink::{drain, enqueue, producer_config, sink_error};
use super::topics::{TopicKind, prepare};
use super::{Address, KafkaOptions};
use crate::{LogThrottle, OpenError, Sink, SinkError};

/// Writes rejected records to a dead-letter topic.
struct DeadLetterProducer {
    name: String,
    topic: String,
    producer: BaseProducer<Deliveries>,
    too_large: LogThrottle<()>,
}

/// Opens a dead-letter topic.
pub(crate) fn open_dead_letters(address: &str, options: &KafkaOptions) -> Result<Box<dyn Sink<Rejected>>, OpenError> {
    let address = Address::parse(address)?;
    let producer =
        DeadLetterProducer::open(&address, options).map_err(|error| sink_error(&address.to_string(), error))?;
    Ok(Box::new(producer))
}

impl DeadLetterProducer {
    fn open(address: &Address, options: &KafkaOptions) -> Result<Self, ClientError> {
        prepare(address, options, TopicKind::DeadLetters)?;
        let mut config = producer_config(address, options)?;
        // No time limit: a record is retried until it is acknowledged.
        config.set("message.timeout.ms", "0");
        let producer =
            config.create_with_context(Deliveries::new(&address.topic)).map_err(|error| config_error(&error))?;
        Ok(DeadLetterProducer {
            name: address.to_string(),
            topic: address.topic.clone(),
            producer,
            too_large: LogThrottle::default(),
        })
    }

    fn failed(&self, error: &KafkaError) -> SinkError {
        sink_error(&self.name, explain(error, self.producer.context().log_context()))
    }
}

impl Sink<Rejected> for DeadLetterProducer {
    fn name(&self) -> &str {
        &self.name
    }

    /// The value of a record that does not come from a topic is its text.
    fn write(&mut self, rejected: &Rejected) -> Result<(), SinkError> {
        let original = rejected.original.as_deref();
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
            ("deltarec.reason", code.as_str()),
            ("deltarec.detail", detail.as_str()),
            source,
            (line.0, line.1.as_str()),
            ("deltarec.offset", offset.as_str()),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        // Nothing reads the counter of unacknowledged records: a record belongs to no tick.
        let unacknowledged = Arc::new(AtomicUsize::new(1));
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, unacknowledged).headers(headers);
        record.key = original.and_then(|original| original.key.as_deref());
        record.payload = match original {
            Some(original) => original.value.as_deref(),
            None => Some(rejected.record.as_bytes()),
        };
        match enqueue(&self.producer, record) {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {
                if let Some(suppressed) = self.too_large.admit(()) {
                    let place = rejected.place();
                    tracing::warn!(sink = %self.name, suppressed, "{place} is too large for the topic and is dropped");
                }
                Ok(())
            }
            sent => sent.map_err(|error| self.failed(&error)),
        }
    }

    /// Reports failures of earlier writes; does not wait for acknowledgements.
    fn flush(&mut self, _at: u64) -> Result<(), SinkError> {
        self.producer.poll(Duration::ZERO);
        self.producer.context().failure().map_or(Ok(()), |error| Err(self.failed(&error)))
    }

    fn acknowledged(&self) -> Option<u64> {
        None
    }

    /// Waits until everything is acknowledged.
    fn close(&mut self) -> Result<(), SinkError> {
        drain(&self.producer, &self.name, "rejected records")?;
        self.flush(0)
    }
}
