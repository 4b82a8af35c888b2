use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::Compression;

/// Decompressed bytes of an input.
pub(crate) type ByteStream = Box<dyn Read + Send>;

/// Compressed bytes read at a time.
const CHUNK: usize = 64 << 10;

pub(crate) fn open_file(path: &Path, compression: Compression) -> io::Result<ByteStream> {
    let file = File::open(path)?;
    // Opening a folder succeeds, and the first read would fail.
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    decompress(file, compression)
}

/// Decompresses every member (gzip) or frame (Zstandard). Damage and truncation are errors of a read, after all bytes before.
pub(crate) fn decompress(read: impl Read + Send + 'static, compression: Compression) -> io::Result<ByteStream> {
    Ok(match compression {
        Compression::Plain => Box::new(read),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, read))),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(BufReader::with_capacity(CHUNK, read))?),
    })
}
