use bytes::Bytes;

use crate::{Interactions, Parquet, Records};

/// How the rows of a group become a file. Codecs have no state.
pub trait Codec: Sync {
    /// What it is called; also the extension of its files.
    fn name(&self) -> &'static str;

    /// A whole file. Rows come back in the order in which they are given.
    fn encode(&self, rows: &Interactions) -> Result<Vec<u8>, CodecError>;

    /// Whether this program on this machine can read a file, as far as its first bytes tell.
    fn recognise(&self, _file: &Bytes) -> Result<(), CodecError> {
        Ok(())
    }

    /// The rows of a whole file. Bytes may be anything: what is not a file of this codec, or damaged, is an error.
    fn decode(&self, file: &Bytes) -> Result<Interactions, CodecError>;
}

/// Why rows cannot become a file, or a file no rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Sound, as far as can be told, and not for this program on this machine.
    #[error("it was written by {0}")]
    Foreign(String),
    /// The format cannot hold the rows.
    #[error("the rows do not fit into the format: {0}")]
    Unwritable(String),
}

impl CodecError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        CodecError::Damaged(what.into())
    }
}

/// All codecs of this build, the default first.
pub const CODECS: &[&dyn Codec] = &[
    &Parquet,
    &Records,
    #[cfg(feature = "abomonation")]
    &crate::Abomonation,
];

/// The codec of a name, if this build has it.
pub fn codec(name: &str) -> Option<&'static dyn Codec> {
    CODECS.iter().find(|codec| codec.name() == name).copied()
}
