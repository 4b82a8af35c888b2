use serde::{Deserialize, Serialize};

use crate::Reason;

/// Largest timestamp an event may carry: 2^53 - 1, the largest integer every JSON reader keeps exact.
pub const MAX_TS: u64 = (1 << 53) - 1;

/// One behaviour of one user towards one item.
///
/// ```
/// let line = r#"{"user":"u1","item":"p9","action":"click","ts":1763900000000}"#;
/// let event: schema::Event = serde_json::from_str(line).unwrap();
/// assert_eq!(serde_json::to_string(&event).unwrap(), line);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who acted.
    pub user: String,
    /// The product acted on.
    pub item: String,
    /// What was done: `view`, `click`, `purchase`, ...; see [`Levels`](crate::Levels).
    pub action: String,
    /// When, in milliseconds since the Unix epoch, UTC.
    pub ts: u64,
    /// How long the user watched, for `watch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<i64>,
    /// The live room it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// What was said, for `comment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// An id of the event itself. Duplicates need no detection, so nothing depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A timestamp is an integer from 0 to [`MAX_TS`].
pub fn check_ts(ts: i128) -> Result<u64, Reason> {
    u64::try_from(ts).ok().filter(|ts| *ts <= MAX_TS).ok_or(Reason::TimeOutOfRange { ts })
}
