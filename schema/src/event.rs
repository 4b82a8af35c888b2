use serde::{Deserialize, Serialize};

use crate::Reason;

/// Largest timestamp of an event: 2^53 - 1, the largest integer that every JSON reader keeps exact.
pub const MAX_TS: u64 = (1 << 53) - 1;

/// One action of one user on one item.
///
/// ```
/// let line = r#"{"user":"u1","item":"p9","action":"click","ts":1763900000000}"#;
/// let event: schema::Event = serde_json::from_str(line).unwrap();
/// assert_eq!(serde_json::to_string(&event).unwrap(), line);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Name of the user.
    pub user: String,
    /// Name of the item.
    pub item: String,
    /// The action: `view`, `click`, `purchase`, ...; see [`Levels`](crate::Levels).
    pub action: String,
    /// Time of the action, in milliseconds since the Unix epoch.
    pub ts: u64,
    /// Duration of a `watch`, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<i64>,
    /// Live room of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Text of a `comment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Id of the event. Not used: a repeated event does not change any result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Checks that a timestamp is between 0 and [`MAX_TS`].
pub fn check_ts(ts: i128) -> Result<u64, Reason> {
    u64::try_from(ts).ok().filter(|ts| *ts <= MAX_TS).ok_or(Reason::TimeOutOfRange { ts })
}

/// Whether a timestamp in milliseconds is more plausible in seconds: it lies in the first weeks of 1970, and in 1979 to 2128 if
/// it is in seconds.
pub fn looks_like_seconds(ts: u64) -> bool {
    (300_000_000..5_000_000_000).contains(&ts)
}
