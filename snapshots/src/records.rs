use bytes::Bytes;
use zerocopy::IntoBytes;

use crate::frame::{FrameFormat, copied};
use crate::{Codec, CodecError, Interactions};

/// Records copied from memory: the fastest codec, for snapshots that stay on machines of one byte order. `frame` documents
/// the layout. The compiler checks the casts (`zerocopy`); values are checked after the copy.
pub struct Records;

const FORMAT: FrameFormat = FrameFormat { magic: *b"deltarec", build: 0 };

impl Codec for Records {
    fn name(&self) -> &'static str {
        "records"
    }

    fn encode(&self, rows: &Interactions) -> Result<Vec<u8>, CodecError> {
        Ok(FORMAT.wrap(rows, rows.records().as_bytes()))
    }

    fn recognise(&self, file: &Bytes) -> Result<(), CodecError> {
        FORMAT.recognise(file)
    }

    fn decode(&self, file: &Bytes) -> Result<Interactions, CodecError> {
        let frame = FORMAT.unwrap(file)?;
        frame.rows(copied(frame.records)?)
    }
}
