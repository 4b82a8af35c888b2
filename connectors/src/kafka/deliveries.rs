//! Delivery reports of a producer.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{ClientContext, Message};

use super::client::LoggingContext;

/// Context of a producer: counts acknowledged records and keeps the first failure.
pub(super) struct Deliveries {
    log: LoggingContext,
    failure: Mutex<Option<FailedDelivery>>,
    /// Records that were too large, if the producer sends them in another form. Else that is a failure.
    too_large: Option<Mutex<Vec<OwnedMessage>>>,
}

/// A record that was not delivered.
#[derive(Clone)]
pub(super) struct FailedDelivery {
    pub(super) error: KafkaError,
    pub(super) key: String,
    /// Bytes of the value.
    pub(super) bytes: usize,
}

impl FailedDelivery {
    fn is_too_large(&self) -> bool {
        self.error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Deliveries {
    pub(super) fn new(topic: &str) -> Self {
        Deliveries { log: LoggingContext::new(topic), failure: Mutex::default(), too_large: None }
    }

    /// Keeps records that are too large.
    pub(super) fn keeping_too_large(topic: &str) -> Self {
        Deliveries { too_large: Some(Mutex::default()), ..Deliveries::new(topic) }
    }

    pub(super) fn log_context(&self) -> &LoggingContext {
        &self.log
    }

    /// The first failed delivery.
    pub(super) fn failure(&self) -> Option<FailedDelivery> {
        locked(&self.failure).clone()
    }

    pub(super) fn clear_failure(&self) {
        *locked(&self.failure) = None;
    }

    /// Takes the records that were too large.
    pub(super) fn take_too_large(&self) -> Vec<OwnedMessage> {
        self.too_large.as_ref().map(|records| std::mem::take(&mut *locked(records))).unwrap_or_default()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(error, reason);
    }

    fn stats(&self, _statistics: rdkafka::Statistics) {}
}

impl ProducerContext for Deliveries {
    /// Number of records of the same tick that are not acknowledged.
    type DeliveryOpaque = Arc<AtomicUsize>;

    fn delivery(&self, result: &DeliveryResult<'_>, unacknowledged: Arc<AtomicUsize>) {
        unacknowledged.fetch_sub(1, Relaxed);
        let Err((error, record)) = result else { return };
        let failed = FailedDelivery {
            error: error.clone(),
            key: String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned(),
            bytes: record.payload_len(),
        };
        match &self.too_large {
            Some(records) if failed.is_too_large() => locked(records).push(record.detach()),
            _ => {
                let mut first = locked(&self.failure);
                // A batch is refused as a whole: the largest of its records is the one to name.
                let is_larger = |known: &FailedDelivery| {
                    known.is_too_large() && failed.is_too_large() && known.bytes < failed.bytes
                };
                if first.as_ref().is_none_or(is_larger) {
                    *first = Some(failed);
                }
            }
        }
    }
}
