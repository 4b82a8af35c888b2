use std::time::{SystemTime, UNIX_EPOCH};

/// What time it is in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The largest timestamp of any valid event so far: a replay.
    Event,
    /// This machine's clock, and never earlier than the time before.
    Wall,
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
