//! Topics of Apache Kafka: events in; lists, rows and dead letters out.
//!
//! | module | contents |
//! | --- | --- |
//! | `address` | brokers and topic, from the URI |
//! | `options` | options, those that must not be set, and places of passwords |
//! | `check` | options are checked before anything is opened |
//! | `client` | what all clients share: options, consumers, error texts, the first contact |
//! | `source` | a topic as a [`Source`](crate::Source): positions, backfill, lag |
//! | `fetcher` | the thread of a source: decodes records, bounds batches, pauses, finds new partitions |
//! | `sink`, `deliveries` | a compacted topic as a [`Sink`](crate::Sink): transactions, acknowledgements |
//! | `readback` | the lists that a topic contains |
//! | `topics` | the topic of a sink: looked up, later created, its settings checked |
//! | `topic_id` | tells a topic from one that was created anew under its name |
//! | `dead_letters` | a topic of rejected records |

mod options;

#[cfg(feature = "kafka")]
mod address;
#[cfg(feature = "kafka")]
mod check;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod dead_letters;
#[cfg(feature = "kafka")]
mod deliveries;
#[cfg(not(feature = "kafka"))]
mod disabled;
#[cfg(feature = "kafka")]
mod fetcher;
#[cfg(feature = "kafka")]
mod readback;
#[cfg(feature = "kafka")]
mod sink;
#[cfg(feature = "kafka")]
mod source;
#[cfg(feature = "kafka")]
mod topic_id;
#[cfg(feature = "kafka")]
mod topics;

#[cfg(feature = "kafka")]
use self::address::Address;
#[cfg(feature = "kafka")]
pub use self::check::{check_options, wrong_option};
#[cfg(not(feature = "kafka"))]
pub use self::disabled::{TopicClaim, check_options, is_same_topic, wrong_option};
#[cfg(not(feature = "kafka"))]
pub(crate) use self::disabled::{continue_sink, open_dead_letters, open_sink, open_source};
pub use self::options::{Delivery, KafkaOptions, SecretPlace, SecretText, Security, check_secret_file};
#[cfg(feature = "kafka")]
pub use self::topics::{TopicClaim, is_same_topic};
#[cfg(feature = "kafka")]
pub(crate) use self::{
    dead_letters::open_dead_letters,
    sink::{continue_sink, open_sink},
    source::open_source,
};
