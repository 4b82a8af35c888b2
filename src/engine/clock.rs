//! The clock of a run.

use std::time::{SystemTime, UNIX_EPOCH};

/// Source of the time of a run. Time never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The largest timestamp of all valid events so far, for replays.
    Event,
    /// The clock of this machine.
    Wall,
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
