//! Snapshots: the interactions that the graph holds at a time, stored.
//!
//! A snapshot is a compacted event log in [`GROUPS`] groups of users ([`group_of`], whatever the number of workers)
//! and a manifest that names their files. [`Store`] keeps snapshots in a folder or in a cloud's object store, in
//! files whose names never meet those of another run:
//!
//! ```text
//! manifests/0000000007.json                       one a snapshot, written last and only where there is none
//! groups/0000000007-1f00c0de-0a3.parquet          sequence, run, group; the extension names the Codec
//! ```
//!
//! Whatever is read is checked first: a manifest has a checksum of its own text, and names size and checksum of
//! each file. What is torn, cut off, changed or missing is told with the file's name, and [`Store::newest`] goes
//! back to the snapshot before. A snapshot is a cache, the log it was made from is the truth: nothing is repaired.
//!
//! | module | what it owns |
//! | --- | --- |
//! | `interactions`, `names` | the rows of one group, names stored once |
//! | `codec` | rows to bytes and back: `parquet`, `records` (on `frame`), `abomonation` where it is built in |
//! | `manifest` | what a snapshot says of itself |
//! | `files` | what files are called |
//! | `place` | from a URI to where files are |
//! | `store`, `find`, `prune` | writing and reading, what is sound, what can go |

#[cfg(feature = "abomonation")]
mod abomonation;
mod codec;
mod error;
mod files;
mod find;
mod frame;
mod interactions;
mod manifest;
mod names;
mod parquet;
mod place;
mod prune;
mod records;
mod store;

#[cfg(feature = "abomonation")]
pub use abomonation::Abomonation;
pub use codec::{CODECS, Codec, CodecError, codec};
pub use error::StoreError;
pub use files::RunId;
pub use find::{Damage, Depth, Found, Listed};
pub use interactions::{Interaction, Interactions};
pub use manifest::{GroupFile, InputPosition, Manifest, Time};
pub use parquet::Parquet;
pub use prune::Pruned;
pub use records::Records;
pub use store::{Packed, Store};

/// How many groups the users of a snapshot are divided into.
pub const GROUPS: usize = 256;

/// The group of a user: the top eight bits of the id64.
pub fn group_of(id64: u64) -> u8 {
    (id64 >> 56) as u8
}
