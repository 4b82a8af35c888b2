use std::borrow::Cow;

use schema::{Change, ItemName, ListKey, Rejected, Similar, UserName};
use serde::Serialize;

use crate::kafka::TopicClaim;
use crate::{Delivery, OpenError, Sink, kafka};

/// A kind of record that [`open_sink`](crate::open_sink) can write to a file, stdout or a topic.
pub trait SinkRecord: Serialize + Sized + 'static {
    /// Opens a topic, which is created if it is missing.
    fn open_topic(claim: TopicClaim) -> Result<Box<dyn Sink<Self>>, OpenError>;
}

/// A record with a key. In a topic the latest record of a key replaces those before.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "only topics use keys"))]
pub(crate) trait Keyed: Serialize + 'static {
    /// The records in plural, for messages.
    const PLURAL: &'static str;

    /// Key of the record in a topic.
    fn key(&self) -> Cow<'_, str>;

    /// Whether the record is empty. A topic then has a tombstone.
    fn is_empty(&self) -> bool;
}

impl Keyed for Change {
    const PLURAL: &'static str = "lists";

    fn key(&self) -> Cow<'_, str> {
        match &self.key {
            ListKey::User(name) => name.into(),
            shared => shared.to_string().into(),
        }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Name of an item or a user.
pub(crate) trait Named: Serialize + 'static {
    fn name(&self) -> &str;
}

impl Named for ItemName {
    fn name(&self) -> &str {
        &self.item
    }
}

impl Named for UserName {
    fn name(&self) -> &str {
        &self.user
    }
}

impl<N: Named> Keyed for Similar<N> {
    const PLURAL: &'static str = "rows";

    fn key(&self) -> Cow<'_, str> {
        self.of.name().into()
    }

    fn is_empty(&self) -> bool {
        self.similar.is_empty()
    }
}

impl SinkRecord for Change {
    fn open_topic(claim: TopicClaim) -> Result<Box<dyn Sink<Self>>, OpenError> {
        kafka::open_sink(&claim)
    }
}

/// Rows need no transactions: after a restart all of them are emitted again, so a late write of an old process is replaced.
impl<N: Named> SinkRecord for Similar<N> {
    #[cfg_attr(not(feature = "kafka"), allow(unreachable_code, reason = "without Kafka there is no claim"))]
    fn open_topic(claim: TopicClaim) -> Result<Box<dyn Sink<Self>>, OpenError> {
        kafka::open_sink(&claim.with_delivery(Delivery::Idempotent))
    }
}

/// A topic of rejected records is a dead-letter topic.
impl SinkRecord for Rejected {
    fn open_topic(claim: TopicClaim) -> Result<Box<dyn Sink<Self>>, OpenError> {
        kafka::open_dead_letters(&claim)
    }
}
