use std::collections::BTreeMap;

use schema::Position;
use serde::{Deserialize, Serialize};

use crate::Batch;

/// What a [`Source::poll`] came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more; poll again at once.
    Ready,
    /// Nothing more for the moment: whoever collects may pass on what there is before polling again, as the next
    /// poll may wait for the outside world.
    Idle,
    /// The end of a finite input. Polling again gives this again.
    Finished,
}

/// Where a source goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePosition {
    /// In a file: the line and the byte at which the next record starts.
    Record(Position),
    /// In a topic: of each partition the offset of the next record.
    Partitions(BTreeMap<i32, i64>),
}

impl SourcePosition {
    /// Of a source that has one record after the other: at event `next` of `batch`, or at `end` when all were taken.
    pub fn of_record(batch: &Batch, next: usize, end: Position) -> Self {
        SourcePosition::Record(batch.get(next).map_or(end, |event| event.position))
    }
}

/// A source that cannot go on. What it delivered before stands.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}{}: {what}; {advice}", .position.map(|p| format!(": line {}, byte {}", p.line, p.offset)).unwrap_or_default())]
pub struct SourceError {
    /// The input, as the user named it.
    pub source_name: String,
    /// Where reading stopped, if it had begun.
    pub position: Option<Position>,
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// The error beneath; `what` says it already.
    pub cause: Option<std::io::Error>,
}

/// Something events are read from.
///
/// A source is polled by one thread. It keeps its own order, sets bad records aside instead of failing, and reads a
/// bounded amount per poll, so that whoever polls decides how far it runs ahead: not polling is the pause of a file,
/// while a source that must be kept alive ([`Source::pause`]) is told.
pub trait Source: Send {
    /// The input as the user named it, for messages.
    fn name(&self) -> &str;

    /// Appends what can be read now to `into`, at most a few thousand records.
    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError>;

    /// Where to go on when of `batch`, the last one polled, only the events before `next` have been taken. After
    /// [`Source::resume_at`] with it, a fresh source of the same input goes on there.
    fn position(&self, batch: &Batch, next: usize) -> SourcePosition;

    /// Skips to a [`Source::position`] of an earlier run. To be called before the first poll.
    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError>;

    /// Stops (`true`) or restarts (`false`) fetching while polls go on. Sources that fetch nothing on their own ignore it.
    fn pause(&mut self, _paused: bool) {}

    /// Whether this is a source without an end whose polls never wait: when one comes back [`Polled::Idle`], the thread
    /// that polled first is unparked as soon as there is more. Records of such sources have no common order.
    fn is_live(&self) -> bool {
        false
    }

    /// Of a live source: whether everything has been polled that was there at the first poll.
    fn is_caught_up(&self) -> bool {
        true
    }

    /// Of a topic: how many records of each partition have not been polled, as far as known.
    fn lag(&self) -> BTreeMap<i32, u64> {
        BTreeMap::new()
    }
}
