//! The timestamp of the graph: `milliseconds << 20 | sequence`, totally ordered.
//!
//! A tick is a batch of events with one timestamp. Several ticks may fall into one millisecond; the sequence number tells
//! them apart. Expiry happens at `(ms, 0)`.

/// Timestamp of an update.
pub type Time = u64;

const SEQUENCE_BITS: u32 = 20;

/// The last millisecond that a [`Time`] can represent (in the year 2527).
pub const MAX_MS: u64 = u64::MAX >> SEQUENCE_BITS;

/// The first time of a millisecond.
///
/// ```
/// use dataflows::time::{first_of, ms_of, next};
///
/// let first = next(0, 1_000);
/// let second = next(first, 1_000);
/// assert_eq!((first, second), (first_of(1_000), first_of(1_000) + 1));
/// assert_eq!(ms_of(second), 1_000);
/// ```
pub fn first_of(ms: u64) -> Time {
    ms.min(MAX_MS) << SEQUENCE_BITS
}

/// The millisecond of a time.
pub fn ms_of(time: Time) -> u64 {
    time >> SEQUENCE_BITS
}

/// The time of a tick at `ms` that follows the tick at `last`. Times never decrease and never repeat.
pub fn next(last: Time, ms: u64) -> Time {
    first_of(ms).max(last + 1)
}
