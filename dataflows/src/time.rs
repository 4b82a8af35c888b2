//! One totally ordered time: `milliseconds << 20 | sequence`. A tick is a batch of events taken together; several may
//! fall into one millisecond and are told apart by the sequence. Expiry sits at `(ms, 0)`.

/// Time of an update.
pub type Time = u64;

const SEQUENCE_BITS: u32 = 20;

/// The last millisecond that a [`Time`] can tell (in the year 2527).
pub const MAX_MS: u64 = u64::MAX >> SEQUENCE_BITS;

/// The first time of a millisecond.
pub fn first_of(ms: u64) -> Time {
    ms.min(MAX_MS) << SEQUENCE_BITS
}

/// The millisecond of a time.
pub fn ms_of(time: Time) -> u64 {
    time >> SEQUENCE_BITS
}

/// The time of a tick at `ms` that follows the tick at `last`: times never go back and never repeat.
pub fn next(last: Time, ms: u64) -> Time {
    first_of(ms).max(last + 1)
}
