use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// Why a record was set aside. [`Reason::code`] groups the counters; the text says what was wrong with this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not one JSON object, or not a CSV record of this file.
    #[error("malformed record: {detail}")]
    Malformed {
        /// What the parser said.
        detail: String,
    },
    /// Bytes that are no UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// Longer than the limit for one record.
    #[error("record longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// A field that every event needs is absent or empty.
    #[error("field `{field}` is missing")]
    Missing {
        /// The field, as the input calls it.
        field: String,
    },
    /// A field holds another type, or text that does not read as one.
    #[error("field `{field}`: expected {expected}, found {found}")]
    WrongType {
        /// The field, as the input calls it.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// What was there, shortened.
        found: String,
    },
    /// A name of no bytes.
    #[error("field `{field}` is empty")]
    EmptyName {
        /// `user` or `item`.
        field: &'static str,
    },
    /// A name, or an action, longer than [`crate::MAX_NAME_BYTES`].
    #[error("field `{field}` has {bytes} bytes, at most 512 are allowed")]
    LongName {
        /// `user`, `item` or `action`.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A user whose name would be the key of a list of ours.
    #[error("user `{user}`: names that begin with `deltarec:` are the keys of trending lists")]
    ReservedName {
        /// The user.
        user: String,
    },
    /// An action without a level.
    #[error("unknown action `{action}`: give it a level under [levels] or map it")]
    UnknownAction {
        /// The action.
        action: String,
    },
    /// A `watch` that does not say how long.
    #[error("`watch` needs a dwell_ms of 0 or more")]
    BadDwell,
    /// A timestamp below 0 or above 2^53 - 1.
    #[error("timestamp {ts} is outside 0 .. 2^53-1")]
    TimeOutOfRange {
        /// The timestamp in milliseconds.
        ts: i128,
    },
    /// A timestamp further ahead than clocks may differ.
    #[error("timestamp {ts} is in the future (allowed up to {limit})")]
    Future {
        /// The timestamp in milliseconds.
        ts: u64,
        /// The latest that would have been taken.
        limit: u64,
    },
    /// A row that a `--where` condition leaves out.
    #[error("left out by --where {condition}")]
    Filtered {
        /// The condition, as given.
        condition: String,
    },
}

impl Reason {
    /// A short, stable name for counters and for `--rejects`. Filters and fields are told apart, values are not,
    /// so the number of codes is bounded by the configuration.
    pub fn code(&self) -> String {
        match self {
            Reason::Malformed { .. } => "malformed".into(),
            Reason::NotUtf8 => "not_utf8".into(),
            Reason::TooLong { .. } => "too_long".into(),
            Reason::Missing { field } => format!("missing:{field}"),
            Reason::WrongType { field, .. } => format!("wrong_type:{field}"),
            Reason::EmptyName { field } => format!("missing:{field}"),
            Reason::LongName { field, .. } => format!("long_name:{field}"),
            Reason::ReservedName { .. } => "reserved_name".into(),
            Reason::UnknownAction { .. } => "unknown_action".into(),
            Reason::BadDwell => "bad_dwell".into(),
            Reason::TimeOutOfRange { .. } => "time_out_of_range".into(),
            Reason::Future { .. } => "future".into(),
            Reason::Filtered { condition } => format!("filtered:{condition}"),
        }
    }
}

/// Where in its source a record stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Line of a file, from 1 (the first line of the record; a CSV header is line 1). In a topic, the partition.
    pub line: u64,
    /// Byte at which the record starts, from 0, in the decompressed stream. In a topic, the record's offset.
    pub offset: u64,
}

/// A record of a topic, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// The topic.
    pub topic: String,
    /// The key, if it had one.
    pub key: Option<Vec<u8>>,
    /// The value, if it had one.
    pub value: Option<Vec<u8>>,
    /// The headers, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// The input, as the user named it.
    pub source: String,
    /// Where in it.
    pub position: Position,
    /// The record as it came, invalid UTF-8 replaced, cut at a few KiB.
    pub record: String,
    /// All of it, when it comes from a topic.
    pub original: Option<Box<Original>>,
}

impl Rejected {
    /// Where it stands, for people.
    pub fn place(&self) -> String {
        let Position { line, offset } = self.position;
        match self.original {
            Some(_) => format!("{}, partition {line}, offset {offset}", self.source),
            None => format!("{}:{line}", self.source),
        }
    }
}

/// One flat object; what it says of the place depends on whether that is a file or a topic.
impl Serialize for Rejected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("reason", &self.reason.code())?;
        map.serialize_entry("detail", &self.reason.to_string())?;
        map.serialize_entry("source", &self.source)?;
        let place = if self.original.is_some() { "partition" } else { "line" };
        map.serialize_entry(place, &self.position.line)?;
        map.serialize_entry("offset", &self.position.offset)?;
        map.serialize_entry("record", &self.record)?;
        map.end()
    }
}
