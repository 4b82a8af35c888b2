//! The vocabulary on the wire: what goes in ([`Event`]), what comes out ([`Change`], [`Similar`]), what is set aside
//! ([`Rejected`]), and the rules that every edge of the system shares: which names are valid, what the
//! 64-bit id of a name is, how much an action tells ([`Levels`]).
//!
//! Types and validation, nothing else: no input or output, no clock, no graph.

mod change;
mod event;
mod levels;
mod name;
mod rejected;
mod similar;

pub use change::{Change, Recommended};
pub use event::{Event, MAX_TS, check_ts};
pub use levels::{Effect, Levels, LevelsError, MAX_LEVEL};
pub use name::{MAX_NAME_BYTES, RESERVED, TRENDING, check_name, id64, room_of, trending_in};
pub use rejected::{Original, Position, Reason, Rejected};
pub use similar::{ItemName, Similar, SimilarTo, UserName};
