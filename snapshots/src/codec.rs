use bytes::Bytes;

use crate::{Interactions, Parquet, Records};

/// A file format for the rows of a group. Codecs have no state.
pub trait Codec: Sync {
    /// Its name, which is also the extension of its files.
    fn name(&self) -> &'static str;

    /// Encodes a whole file. Decoding it returns the rows in the same order.
    fn encode(&self, rows: &Interactions) -> Result<Vec<u8>, CodecError>;

    /// Checks the first bytes of a file: whether this build on this machine can read it.
    fn recognise(&self, _file: &Bytes) -> Result<(), CodecError> {
        Ok(())
    }

    /// Decodes a whole file. Any bytes are safe: a damaged file, or one of another codec, is an error.
    fn decode(&self, file: &Bytes) -> Result<Interactions, CodecError>;
}

/// Why rows cannot be encoded or a file cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The file is not as it was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The file seems sound, but this build on this machine cannot read it.
    #[error("it was written by {0}")]
    Foreign(String),
    /// The format cannot hold the rows.
    #[error("the rows do not fit into the format: {0}")]
    Unwritable(String),
}

impl CodecError {
    pub(crate) fn damaged(reason: impl Into<String>) -> Self {
        CodecError::Damaged(reason.into())
    }
}

/// All codecs of this build, the default first.
pub const CODECS: &[&dyn Codec] = &[
    &Parquet,
    &Records,
    #[cfg(feature = "abomonation")]
    &crate::Abomonation,
];

/// Finds a codec by its name, if this build has it.
pub fn codec(name: &str) -> Option<&'static dyn Codec> {
    CODECS.iter().find(|codec| codec.name() == name).copied()
}
