use std::fs::File;
use std::io;

use super::{Output, compress};
use crate::Compression;

/// The byte stream of an output. What a file holds is replaced when the first bytes are written, so a run that ends before
/// it has results leaves the file as it was.
pub(crate) enum Stream {
    /// A file with its old contents.
    Untouched(File, Compression),
    Started(Output),
}

impl Stream {
    pub(super) fn replacing(file: File, compression: Compression) -> Self {
        Stream::Untouched(file, compression)
    }

    pub(super) fn stdout() -> Self {
        Stream::Started(compress::plain(io::stdout()))
    }

    /// The stream, after the old contents are removed.
    pub(super) fn start(&mut self) -> io::Result<&mut Output> {
        if let Stream::Untouched(file, compression) = self {
            // A pipe or a device has no contents.
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
            *self = Stream::Started(compress(file.try_clone()?, *compression)?);
        }
        match self {
            Stream::Started(output) => Ok(output),
            Stream::Untouched(..) => unreachable!("it was started above"),
        }
    }

    pub(super) fn is_started(&self) -> bool {
        matches!(self, Stream::Started(_))
    }
}
