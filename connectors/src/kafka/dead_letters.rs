//! A dead-letter topic: rejected records as they came, with headers that say why and where from.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use schema::Rejected;

use super::client::{explain, not_made};
use super::deliveries::Deliveries;
use super::sink::{drain, sink_error, writing};
use super::topics::{Kind, prepare};
use super::{Address, KafkaOptions};
use crate::{OpenError, SinkError};

/// See the module.
pub(crate) struct DeadLetterProducer {
    name: String,
    topic: String,
    producer: BaseProducer<Deliveries>,
}

impl DeadLetterProducer {
    pub(crate) fn open(name: &str, address: &Address, options: &KafkaOptions) -> Result<Self, OpenError> {
        let failed = |trouble| OpenError::from(sink_error(name, trouble));
        prepare(address, options, Kind::DeadLetterProducer).map_err(failed)?;
        let mut config = writing(address, options).map_err(failed)?;
        // Never given up, as changes are not.
        config.set("message.timeout.ms", "0");
        let producer = config.create_with_context(Deliveries::new(&address.topic));
        let producer = producer.map_err(|error| failed(not_made(&error)))?;
        Ok(DeadLetterProducer { name: name.to_owned(), topic: address.topic.clone(), producer })
    }

    /// Sends one record. A record that comes from no topic has its text as the value.
    pub(crate) fn write(&mut self, rejected: &Rejected) -> Result<(), SinkError> {
        let mut headers = OwnedHeaders::new();
        let original = rejected.original.as_deref();
        for (key, value) in original.into_iter().flat_map(|original| &original.headers) {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let (line, offset) = (rejected.position.line.to_string(), rejected.position.offset.to_string());
        let (code, detail) = (rejected.reason.code(), rejected.reason.to_string());
        let place = match original {
            Some(original) => [("deltarec.topic", original.topic.as_str()), ("deltarec.partition", line.as_str())],
            None => [("deltarec.source", rejected.source.as_str()), ("deltarec.line", line.as_str())],
        };
        let ours = [("deltarec.reason", code.as_str()), ("deltarec.detail", detail.as_str())];
        for (key, value) in ours.into_iter().chain(place).chain([("deltarec.offset", offset.as_str())]) {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let value = match original {
            Some(original) => original.value.as_deref(),
            None => Some(rejected.record.as_bytes()),
        };
        // Nobody asks for a single one.
        let alone = Arc::new(AtomicUsize::new(1));
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, alone).headers(headers);
        record.key = original.and_then(|original| original.key.as_deref());
        record.payload = value;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                    tracing::warn!("{}: {} is too large for the topic and is not kept", self.name, rejected.place());
                    return Ok(());
                }
                Err((error, _)) => return Err(self.failed(&error)),
            }
        }
    }

    /// Looks at what became of what was sent.
    pub(crate) fn flush(&mut self) -> Result<(), SinkError> {
        self.producer.poll(Duration::ZERO);
        self.producer.context().failure().map_or(Ok(()), |error| Err(self.failed(&error)))
    }

    /// Waits until everything is acknowledged.
    pub(crate) fn close(&mut self) -> Result<(), SinkError> {
        drain(&self.producer, &self.name, "rejected records")?;
        self.flush()
    }

    fn failed(&self, error: &KafkaError) -> SinkError {
        sink_error(&self.name, explain(error, self.producer.context().telling()))
    }
}
