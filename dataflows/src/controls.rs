//! Controls: what users say of what is known of them and shown to them (`docs/semantics.md`, "Controls").

use schema::Control;
use serde::{Deserialize, Serialize};

use crate::{ItemId, UserId};

/// A control as the graph takes it: the user's name mapped to an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ControlRecord {
    /// The user.
    pub user: UserId,
    /// Milliseconds since the Unix epoch, below [`crate::MAX_MS`]. The control acts in its tick, or at its own timestamp if that
    /// is later.
    pub ts: u64,
    /// What it says.
    pub control: Control,
    /// The id64 of [`Control::item`].
    pub item: Option<ItemId>,
}
