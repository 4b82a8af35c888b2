//! Byte streams of files and stdin. A transport yields bytes and a position to a decoder; the transport for topics is in
//! [`kafka`](crate::kafka).

mod decompress;
mod header;
mod input_file;
mod read_buffer;
mod stream;

pub(crate) use self::decompress::{ByteStream, Packing, decompress, open_file};
pub(crate) use self::header::{number_columns, read_header};
pub(crate) use self::input_file::stdin;
pub(crate) use self::read_buffer::ReadBuffer;
pub(crate) use self::stream::StreamSource;

/// Maximum number of records of a batch.
pub(crate) const MAX_BATCH_RECORDS: usize = 4096;

/// Bytes after which a batch ends, so that it stays small when records are long.
pub(crate) const MAX_BATCH_BYTES: usize = 1 << 20;

/// Text of a rejected record: at most this many bytes of it.
pub(crate) const MAX_REJECTED_BYTES: usize = 4 << 10;
