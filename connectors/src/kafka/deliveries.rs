//! Delivery reports of a producer.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::client::LoggingContext;

/// Context of a producer: counts acknowledged records and keeps the first failure.
pub(super) struct Deliveries {
    log: LoggingContext,
    failure: Mutex<Option<KafkaError>>,
}

impl Deliveries {
    pub(super) fn new(topic: &str) -> Self {
        Deliveries { log: LoggingContext::new(topic), failure: Mutex::default() }
    }

    pub(super) fn log_context(&self) -> &LoggingContext {
        &self.log
    }

    /// Reason of the first failed delivery.
    pub(super) fn failure(&self) -> Option<KafkaError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn clear_failure(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
        if let Err((error, _)) = result {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
    }
}
