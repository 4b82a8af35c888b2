//! What a producer hears of its records.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::client::LoggingContext;

/// Counts what is acknowledged and keeps the first failure.
pub(super) struct Deliveries {
    telling: LoggingContext,
    failure: Mutex<Option<KafkaError>>,
}

impl Deliveries {
    pub(super) fn new(topic: &str) -> Self {
        Deliveries { telling: LoggingContext::of(topic), failure: Mutex::default() }
    }

    pub(super) fn telling(&self) -> &LoggingContext {
        &self.telling
    }

    /// Why a record was not delivered, of the first that was not.
    pub(super) fn failure(&self) -> Option<KafkaError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn forget_failure(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.telling.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.telling.error(error, reason);
    }

    fn stats(&self, _statistics: rdkafka::Statistics) {}
}

impl ProducerContext for Deliveries {
    /// How many records of the same tick are not acknowledged.
    type DeliveryOpaque = Arc<AtomicUsize>;

    fn delivery(&self, result: &DeliveryResult<'_>, left: Arc<AtomicUsize>) {
        left.fetch_sub(1, Relaxed);
        if let Err((error, _)) = result {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}
