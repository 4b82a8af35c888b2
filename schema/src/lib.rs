//! The vocabulary on the wire: [`Event`], catalogue records ([`Statement`]) and [`Control`]s in; [`Change`] and [`Similar`] out;
//! [`Rejected`] for records that are not accepted; and the rules that every part of the system shares: valid names, the
//! 64-bit id of a name ([`IdKey`]), its key group, the key of a list ([`ListKey`]), the level of an action ([`Levels`]), and
//! what messages show of the text of users ([`shown`], [`redact_uris`]).
//!
//! Types and validation only: no input or output, no clock, no graph.

mod catalogue;
mod catalogue_line;
mod change;
mod control;
mod effect;
mod event;
mod id;
mod id_key;
mod levels;
mod list_key;
mod list_reason;
mod name;
mod position;
mod redact;
mod rejected;
mod scheme;
mod secret_file;
mod shown;
mod similar;

pub use catalogue::{
    Availability, CATEGORY_SEPARATOR, FieldValue, ItemField, MAX_CATEGORIES, MAX_CATEGORY_LEVELS, MAX_PRICE, MAX_ROOMS,
    MAX_TAGS, MAX_TEXT_BYTES, PRICE_DECIMALS, RESERVED_TAGS, Statement, canonical_category,
};
pub use catalogue_line::CatalogueLine;
pub use change::{Change, Recommended};
pub use control::{Control, ControlScope, Switch, Wish};
pub use effect::Effect;
pub use event::{Event, MAX_TS, check_ts, looks_like_seconds};
pub use id::{
    CATALOGUE_GROUPS, IdEntry, IdHashState, IdHasher, IdMap, KEY_GROUPS, catalogue_group, key_group, mix,
    shrink_if_sparse, spread,
};
pub use id_key::{Fingerprint, IdKey, ShortKey, id64};
pub use levels::{ANY, Levels, LevelsError, MAX_LEVEL, Retraction, RetractionError, RetractionMistake, WATCH};
pub use list_key::{ListKey, RESERVED, TRENDING, trending_in};
pub use list_reason::{ListReason, ReasonSource, Share};
pub use name::{MAX_NAME_BYTES, check_name};
pub use position::Position;
pub use redact::{is_secret_name, redact_address, redact_uris};
pub use rejected::{Original, Reason, Rejected};
pub use scheme::scheme_without_slashes;
pub use secret_file::{check_secret_mode, shown_secret_path};
pub use shown::{listed, shortened, shown};
pub use similar::{ItemName, Similar, SimilarTo, UserName};
