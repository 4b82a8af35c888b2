//! Stands in for the clients in a build without Kafka.

use schema::Rejected;

use super::KafkaOptions;
use crate::sinks::Keyed;
use crate::{InputOptions, OpenError, Record, Sink, SinkState, Source};

pub(crate) fn open_source<R: Record>(address: &str, _: &InputOptions) -> Result<Box<dyn Source<R>>, OpenError> {
    Err(disabled(address))
}

pub(crate) fn open_sink<R: Keyed>(address: &str, _: &KafkaOptions) -> Result<Box<dyn Sink<R>>, OpenError> {
    Err(disabled(address))
}

pub(crate) fn continue_sink(address: &str, _: &KafkaOptions) -> Result<(Box<dyn Sink>, SinkState), OpenError> {
    Err(disabled(address))
}

pub(crate) fn open_dead_letters(address: &str, _: &KafkaOptions) -> Result<Box<dyn Sink<Rejected>>, OpenError> {
    Err(disabled(address))
}

fn disabled(address: &str) -> OpenError {
    OpenError::Unsupported {
        uri: format!("kafka://{address}"),
        what: "this deltarec was built without Kafka",
        advice: "build it with the feature `kafka`, which is on by default",
    }
}
