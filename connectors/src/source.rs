use std::collections::BTreeMap;

use schema::{Event, Position};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Batch, Record};

/// Result of a [`Source::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more; poll again at once.
    Ready,
    /// Nothing more is buffered. The next poll may block, so a caller that collects records should flush them first.
    Idle,
    /// End of a finite input. Further polls return this again.
    Finished,
}

/// Where to resume a source, and what it is known by: a name may lead to something else later.
///
/// Snapshots store the serialised form: `{"record":{"line":3,"offset":120},"file":{...}}` or
/// `{"partitions":{"2":77},"topic":"..."}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub enum SourcePosition {
    /// In a file: start of the next record.
    Line {
        /// Line, from 1.
        line: u64,
        /// Byte, from 0, in the decompressed stream.
        byte: u64,
        /// The contents before the position, if they are known.
        fingerprint: Option<Fingerprint>,
    },
    /// In a topic.
    Partitions {
        /// Offset of the next record by partition.
        offsets: BTreeMap<i32, i64>,
        /// Id of the topic, if the broker gives it one. A topic that is deleted and created again has another.
        topic: Option<String>,
    },
}

/// The serialised form of a position.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<StoredRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<Fingerprint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partitions: Option<BTreeMap<i32, i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    line: u64,
    offset: u64,
}

impl From<SourcePosition> for Stored {
    fn from(position: SourcePosition) -> Self {
        match position {
            SourcePosition::Line { line, byte, fingerprint } => Stored {
                record: Some(StoredRecord { line, offset: byte }),
                file: fingerprint,
                partitions: None,
                topic: None,
            },
            SourcePosition::Partitions { offsets, topic } => {
                Stored { record: None, file: None, partitions: Some(offsets), topic }
            }
        }
    }
}

impl TryFrom<Stored> for SourcePosition {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        match stored {
            Stored { record: Some(StoredRecord { line, offset }), file, partitions: None, topic: None } => {
                Ok(SourcePosition::Line { line, byte: offset, fingerprint: file })
            }
            Stored { record: None, file: None, partitions: Some(offsets), topic } => {
                Ok(SourcePosition::Partitions { offsets, topic })
            }
            _ => Err("a position has either a record or partitions"),
        }
    }
}

/// The contents of a file before a position, by the hashes of two parts of them. A file that grows keeps its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Hash of the first bytes of the file: of those before the position, at most [`Fingerprint::BYTES`].
    pub(crate) head: u32,
    /// A byte at the position or a little before it.
    pub(crate) at: u64,
    /// Hash of the bytes before `at`, at most [`Fingerprint::BYTES`].
    pub(crate) tail: u32,
}

impl Fingerprint {
    /// Most bytes of a part.
    pub const BYTES: usize = 1024;

    pub(crate) fn hash(bytes: &[u8]) -> u32 {
        xxh3_64(bytes) as u32
    }
}

impl SourcePosition {
    /// Position of a source with one sequence of records: record `next` of `batch`, or `end` after the last one.
    pub fn of_record<R: Record>(batch: &Batch<R>, next: usize, end: Position) -> Self {
        batch.position(next).unwrap_or(end).into()
    }
}

impl From<Position> for SourcePosition {
    fn from(position: Position) -> Self {
        match position {
            Position::Line { line, byte } => SourcePosition::Line { line, byte, fingerprint: None },
            Position::Offset { partition, offset } => {
                SourcePosition::Partitions { offsets: [(partition, offset)].into(), topic: None }
            }
        }
    }
}

/// A source failed. The records that it delivered before are valid.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}{}: {what}; {advice}", .position.map(|position| format!(": {position}")).unwrap_or_default())]
pub struct SourceError {
    /// Name of the input, as the user gave it.
    pub source_name: String,
    /// Position at which reading stopped, if it had begun.
    pub position: Option<Position>,
    /// Description of the failure.
    pub what: String,
    /// Advice to the user.
    pub advice: String,
    /// Underlying error; `what` includes its text.
    pub cause: Option<std::io::Error>,
}

/// A sequence of records of kind `R`: a file, stdin or a topic.
///
/// One thread polls a source. A source keeps its own order, rejects bad records instead of failing, and reads a bounded
/// amount per poll. Not polling is therefore enough to pause a file; a source with a connection to keep alive has
/// [`Source::pause`].
///
/// Sources are opened with [`open_source`](crate::open_source), or written for a special input:
///
/// ```
/// use connectors::{Batch, Polled, RawEvent, Source, SourceError, SourcePosition};
/// use schema::Position;
///
/// /// Views of one item by one user, a millisecond apart.
/// struct Views {
///     next: u64,
/// }
///
/// impl Source for Views {
///     fn name(&self) -> &str {
///         "views"
///     }
///
///     fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
///         if self.next == 3 {
///             return Ok(Polled::Finished);
///         }
///         let position = Position::Line { line: self.next, byte: self.next };
///         into.push(RawEvent::new("u1", "p9", "view", self.next, position));
///         self.next += 1;
///         Ok(Polled::Ready)
///     }
///
///     fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
///         SourcePosition::of_record(batch, next, Position::Line { line: self.next, byte: self.next })
///     }
/// }
///
/// let mut source = Views { next: 0 };
/// let mut batch = Batch::default();
/// while source.poll(&mut batch)? != Polled::Finished {}
/// assert_eq!(batch.len(), 3);
/// assert_eq!(batch.get(2).map(|event| event.ts), Some(2));
/// # Ok::<(), SourceError>(())
/// ```
pub trait Source<R: Record = Event>: Send {
    /// Name of the input, as the user gave it, for messages.
    fn name(&self) -> &str;

    /// Appends what can be read now to `into`, at most a few thousand records.
    fn poll(&mut self, into: &mut Batch<R>) -> Result<Polled, SourceError>;

    /// Position to resume at, if only the records of `batch` (the last one polled) before `next` have been processed.
    fn position(&self, batch: &Batch<R>, next: usize) -> SourcePosition;

    /// Text of a record of `batch`, the last one polled, as it came: for records that are rejected later. The default knows
    /// that of a topic whose originals are kept.
    fn text(&self, batch: &Batch<R>, index: usize) -> Option<String> {
        batch.original_text(index)
    }

    /// Seeks a fresh source to a [`Source::position`] of an earlier run. Call it before the first poll. Only runs with
    /// snapshots call it; the default fails, for a source that cannot be read again.
    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        Err(SourceError {
            source_name: self.name().into(),
            position: None,
            what: format!("this source cannot resume at {position:?}"),
            advice: "run it without snapshots".into(),
            cause: None,
        })
    }

    /// Stops (`true`) or restarts (`false`) fetching while polls continue. Sources without a connection ignore it.
    fn pause(&mut self, _paused: bool) {}

    /// Whether the source has no end and its polls never block. When a poll of such a source returns [`Polled::Idle`], the
    /// thread that polled first is unparked as soon as there is more. Records of live sources have no common order.
    fn is_live(&self) -> bool {
        false
    }

    /// For a live source: whether everything that existed at the first poll has been polled.
    fn is_caught_up(&self) -> bool {
        true
    }

    /// For a topic: number of records by partition that have not been polled, as far as known.
    fn lag(&self) -> BTreeMap<i32, u64> {
        BTreeMap::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_keep_the_form_that_snapshots_store() {
        let line = |fingerprint| SourcePosition::Line { line: 3, byte: 120, fingerprint };
        let partitions = |topic| SourcePosition::Partitions { offsets: [(2, 77)].into(), topic };
        for (position, json) in [
            // As written before there were fingerprints.
            (line(None), r#"{"record":{"line":3,"offset":120}}"#),
            (partitions(None), r#"{"partitions":{"2":77}}"#),
            (
                line(Some(Fingerprint { head: 1, at: 100, tail: 2 })),
                r#"{"record":{"line":3,"offset":120},"file":{"head":1,"at":100,"tail":2}}"#,
            ),
            (partitions(Some("id".into())), r#"{"partitions":{"2":77},"topic":"id"}"#),
        ] {
            assert_eq!(serde_json::to_string(&position).unwrap(), json);
            assert_eq!(serde_json::from_str::<SourcePosition>(json).unwrap(), position);
        }
        for wrong in
            ["{}", r#"{"record":{"line":3,"offset":1},"topic":"id"}"#, r#"{"file":{"head":1,"at":1,"tail":2}}"#]
        {
            serde_json::from_str::<SourcePosition>(wrong).unwrap_err();
        }
    }
}
