//! Topics of Apache Kafka: events in, lists out, dead letters.
//!
//! | module | what it owns |
//! | --- | --- |
//! | `address` | what follows `kafka://` |
//! | `options` | what can be set, what must not be, where passwords are |
//! | `client` | what all clients share: options, errors in words, the first contact |
//! | `source` | a topic as a [`Source`](crate::Source): positions, what was there at the start, lag |
//! | `fetcher` | its thread: records to events, bounded batches, pauses, new partitions |
//! | `sink`, `deliveries` | a compacted topic of lists as a [`Sink`](crate::Sink): transactions, acknowledgements |
//! | `readback` | what lists a topic holds |
//! | `topics` | the output topic: created, its settings looked at |
//! | `letters` | a topic of rejected records |

mod options;

#[cfg(feature = "kafka")]
mod address;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod dead_letters;
#[cfg(feature = "kafka")]
mod deliveries;
#[cfg(feature = "kafka")]
mod fetcher;
#[cfg(feature = "kafka")]
mod readback;
#[cfg(feature = "kafka")]
mod sink;
#[cfg(feature = "kafka")]
mod source;
#[cfg(feature = "kafka")]
mod topics;

#[cfg(feature = "kafka")]
pub(crate) use address::Address;
#[cfg(feature = "kafka")]
pub(crate) use dead_letters::DeadLetterProducer;
pub use options::{Delivery, KafkaOptions, SecretPlace, Security};
#[cfg(feature = "kafka")]
pub(crate) use sink::continue_lists;
#[cfg(feature = "kafka")]
pub(crate) use source::Topic;
