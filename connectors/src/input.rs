use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::Compression;

/// Bytes on their way in, unpacked.
pub(crate) type Input = Box<dyn Read + Send>;

/// Packed bytes fetched at a time.
const CHUNK: usize = 64 << 10;

pub(crate) fn open_file(path: &Path, compression: Compression) -> io::Result<Input> {
    let file = File::open(path)?;
    // Opening a folder succeeds; said now, the message is about opening.
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    unpack(file, compression)
}

/// Unpacks every member or frame. Damage and a missing end show as an error of a read, after the bytes before it.
pub(crate) fn unpack(read: impl Read + Send + 'static, compression: Compression) -> io::Result<Input> {
    Ok(match compression {
        Compression::Plain => Box::new(read),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, read))),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(BufReader::with_capacity(CHUNK, read))?),
    })
}
