//! Stands in for the clients in a build without Kafka.

use schema::Rejected;

use super::KafkaOptions;
use crate::sinks::Keyed;
use crate::{Delivery, InputOptions, OpenError, Record, Sink, SinkState, Source};

/// The claim of a topic, which this build cannot make.
pub enum TopicClaim {}

impl TopicClaim {
    pub(crate) fn new(address: &str, _: &KafkaOptions) -> Result<Self, OpenError> {
        Err(disabled(address))
    }

    pub(crate) fn with_delivery(self, _: Delivery) -> Self {
        match self {}
    }
}

pub(crate) fn open_source<R: Record>(address: &str, _: &InputOptions) -> Result<Box<dyn Source<R>>, OpenError> {
    Err(disabled(address))
}

pub(crate) fn open_sink<R: Keyed>(claim: &TopicClaim) -> Result<Box<dyn Sink<R>>, OpenError> {
    match *claim {}
}

pub(crate) fn continue_sink(claim: &TopicClaim) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
    match *claim {}
}

pub(crate) fn open_dead_letters(claim: &TopicClaim) -> Result<Box<dyn Sink<Rejected>>, OpenError> {
    match *claim {}
}

/// Whether two addresses name one topic.
pub fn is_same_topic(address: &str, _: &str, _: &KafkaOptions) -> Result<bool, OpenError> {
    Err(disabled(address))
}

/// Options are not checked.
pub fn wrong_option(_: &str, _: &str) -> Option<String> {
    None
}

/// Options are not checked.
pub fn check_options(_: &KafkaOptions) -> Result<(), OpenError> {
    Ok(())
}

fn disabled(address: &str) -> OpenError {
    OpenError::Unsupported {
        uri: format!("kafka://{address}"),
        what: "this deltarec was built without Kafka",
        advice: "build it with the feature `kafka`, which is on by default",
    }
}
