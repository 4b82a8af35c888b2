//! Stored snapshots: the interactions, the catalogue and the controls that the graph holds at a tick.
//!
//! A snapshot is a compacted event log in [`KEY_GROUPS`](schema::KEY_GROUPS) groups of users, the statements of a
//! catalogue in [`CATALOGUE_GROUPS`](schema::CATALOGUE_GROUPS) groups of items, the controls of users in groups as those
//! of the log, and a manifest that names their files. [`Store`] keeps snapshots in a folder or in a cloud's object store, in files with names that never collide with
//! those of another run:
//!
//! ```text
//! manifests/0000000007.json                       one per snapshot, written last and never overwritten
//! groups/0000000007-1f00c0de-0a3.parquet          sequence, run, group; the extension names the Codec
//! catalogue/0000000007-1f00c0de-00a.parquet       the same of a group of the catalogue, always in Parquet
//! controls/0000000007-1f00c0de-0a3.parquet        the same of a group of controls, always in Parquet
//! ```
//!
//! Everything is verified when it is read: a manifest has a checksum of its own text, and the size and checksum of each
//! file. A truncated, changed or missing file is reported by name, and [`Store::newest`] falls back to the snapshot
//! before. A snapshot is a cache of the event log, so damage is never repaired.
//!
//! | module | responsibility |
//! | --- | --- |
//! | `kind` | the kinds of rows, and their groups |
//! | `interactions`, `names`, `statements` | rows of one group; each name is stored once |
//! | `codec` | interactions to bytes and back: `parquet`, `records` (on `frame`), `abomonation` if built in |
//! | `manifest` | description of a snapshot |
//! | `files` | names of files |
//! | `location`, `cloud` | from a URI to the files |
//! | `listing` | what lies in the folders of a store |
//! | `store`, `find`, `prune` | writing and reading; checking; deleting |

#[cfg(feature = "abomonation")]
mod abomonation;
#[cfg(feature = "cloud")]
mod cloud;
mod codec;
mod error;
mod files;
mod find;
mod frame;
mod interactions;
mod kind;
mod listing;
mod location;
mod manifest;
mod names;
mod parquet;
mod prune;
mod records;
mod statements;
mod store;

#[cfg(feature = "abomonation")]
pub use abomonation::Abomonation;
pub use codec::{CODECS, Codec, CodecError, codec};
pub use error::StoreError;
pub use files::RunId;
pub use find::{Damage, Depth, Inspected, Missing, Newest};
pub use interactions::{Interaction, Interactions};
pub use kind::Kind;
pub use manifest::{GraphTime, GroupFile, InputPosition, Manifest};
pub use parquet::Parquet;
pub use prune::Pruned;
pub use records::Records;
pub use statements::{StatementRow, StatementRows};
pub use store::{EncodedGroup, Store};
