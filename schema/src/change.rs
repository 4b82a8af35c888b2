use serde::{Deserialize, Serialize};

use crate::{ListKey, ListReason};

/// One recommended item of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recommended {
    /// Name of the item.
    pub item: String,
    /// Sum over all sources, weighted. Comparable within one list only.
    pub score: i64,
    /// The largest terms of the score, if reasons are wanted (`graph.why`); absent without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<ListReason>,
}

/// A new list. Emitted only when its sequence of items differs from the one emitted before.
///
/// ```
/// use schema::{Change, ListKey};
///
/// let line = r#"{"user":"u1","at":1763900000123,"items":[{"item":"p9","score":512}],"entered":["p9"],"left":[]}"#;
/// let change: Change = serde_json::from_str(line).unwrap();
/// assert_eq!(change.key, ListKey::User("u1".into()));
/// assert_eq!(serde_json::to_string(&change).unwrap(), line);
///
/// let trending = Change { key: ListKey::Room("r7".into()), ..change };
/// assert!(serde_json::to_string(&trending).unwrap().starts_with(r#"{"user":"deltarec:trending:room:r7","#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// Key of the list; `user` on the wire.
    #[serde(rename = "user")]
    pub key: ListKey,
    /// Tick at which the list became `items`, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The whole list, best first; empty when there is none any more.
    pub items: Vec<Recommended>,
    /// Items that the list emitted before did not have, in the order of the new list.
    pub entered: Vec<String>,
    /// Items that only the list emitted before had, in the order of the old list.
    pub left: Vec<String>,
}
