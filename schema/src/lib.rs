//! The vocabulary on the wire: [`Event`] in; [`Change`] and [`Similar`] out; [`Rejected`] for records that are not
//! accepted; and the rules that every part of the system shares: valid names, the 64-bit id of a name, its key
//! group, the key of a list ([`ListKey`]), the level of an action ([`Levels`]), and what no message shows ([`redact_uris`]).
//!
//! Types and validation only: no input or output, no clock, no graph.

mod change;
mod event;
mod id;
mod levels;
mod list_key;
mod name;
mod position;
mod redact;
mod rejected;
mod similar;

pub use change::{Change, Recommended};
pub use event::{Event, MAX_TS, check_ts};
pub use id::{IdHasher, IdMap, KEY_GROUPS, key_group, mix, shrink_if_sparse, spread};
pub use levels::{Effect, Levels, LevelsError, MAX_LEVEL};
pub use list_key::{ListKey, RESERVED, TRENDING, room_of, trending_in};
pub use name::{MAX_NAME_BYTES, check_name, id64};
pub use position::Position;
pub use redact::{abbreviate, is_secret_name, redact_uris};
pub use rejected::{Original, Reason, Rejected};
pub use similar::{ItemName, Similar, SimilarTo, UserName};
