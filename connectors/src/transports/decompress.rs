use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::input_file;
use crate::Compression;
use crate::error::Explained;

/// Decompressed bytes of an input.
pub(crate) type ByteStream = Box<dyn Read + Send>;

/// Compressed bytes read at a time.
const CHUNK: usize = 64 << 10;

/// Largest window of Zstandard, as a power of two: `zstd --long=31`. Such a file takes 2 GiB of memory to unpack.
const MAX_WINDOW_LOG: u32 = 31;

/// First bytes of a gzip member.
const GZIP: &[u8] = b"\x1f\x8b";

/// First bytes of a Zstandard frame.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Last bytes of the magic number of a skippable Zstandard frame, after a byte `5x`.
const ZSTD_SKIPPABLE: &[u8] = b"\x2a\x4d\x18";

/// What is known of the compression of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// What the first bytes say.
    Unknown,
    /// The name says so.
    Named(Compression),
    /// The user says that the bytes are not compressed.
    Plain,
}

impl Packing {
    /// `given`: the option of the input; `named`: the compression in its name.
    pub(crate) fn of(given: Option<Compression>, named: Compression) -> Self {
        match (given, named) {
            (Some(Compression::Plain), _) => Packing::Plain,
            (None, Compression::Plain) => Packing::Unknown,
            (Some(compression), _) | (None, compression) => Packing::Named(compression),
        }
    }
}

pub(crate) fn open_file(path: &Path, packing: Packing) -> io::Result<ByteStream> {
    Ok(decompress(input_file::open(path)?, packing))
}

/// Decompresses every member (gzip) or frame (Zstandard). Damage and truncation are errors of a read, after all bytes before.
/// Nothing is read before the first read.
pub(crate) fn decompress(read: impl Read + Send + 'static, packing: Packing) -> ByteStream {
    match packing {
        Packing::Plain => Box::new(read),
        packing => Box::new(Unpacked::Unopened(Some(read), packing)),
    }
}

/// Bytes whose compression is decided at the first read.
enum Unpacked<R> {
    Unopened(Option<R>, Packing),
    Opened(ByteStream),
}

impl<R: Read + Send + 'static> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Unpacked::Unopened(read, packing) = self {
            let Some(stream) = read.as_mut() else { return Ok(0) };
            let mut start = vec![0; CHUNK];
            let mut length = 0;
            // A pipe that has bytes is read once, unless these may become the start of compressed data.
            loop {
                let more = stream.read(&mut start[length..])?;
                length += more;
                if more == 0 || !may_become_packed(&start[..length]) {
                    break;
                }
            }
            start.truncate(length);
            let found = found(&start)?;
            if start.is_empty() && *packing != Packing::Unknown {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let stream = Cursor::new(start).chain(read.take().into_iter().next().expect("taken once"));
            *self = Unpacked::Opened(match found {
                Compression::Gzip => Box::new(Gzip::new(BufReader::with_capacity(CHUNK, stream))),
                Compression::Zstd => Box::new(Zstd::new(BufReader::with_capacity(CHUNK, stream))?),
                Compression::Plain if *packing == Packing::Unknown => Box::new(stream),
                Compression::Plain => {
                    return Err(Explained::new(
                        "the content is not compressed data",
                        "the file is damaged or not compressed as its name says: get a good copy, or add ?compression=none",
                    )
                    .into());
                }
            });
        }
        match self {
            Unpacked::Opened(stream) => stream.read(into),
            Unpacked::Unopened(..) => Ok(0),
        }
    }
}

/// Whether fewer bytes than a magic number has are the start of one.
fn may_become_packed(start: &[u8]) -> bool {
    (start.len() < GZIP.len() && GZIP.starts_with(start))
        || (start.len() < ZSTD.len() && ZSTD.starts_with(start))
        || (start.len() < 4 && matches!(start, [0x50..=0x5f, rest @ ..] if ZSTD_SKIPPABLE.starts_with(rest)))
}

/// The compression that the first bytes of an input show.
fn found(start: &[u8]) -> io::Result<Compression> {
    let unreadable =
        |what| Err(Explained::new(what, "unpack it first; a pipe works too: unpack | deltarec run").into());
    match start {
        [0x50..=0x5f, rest @ ..] if rest.starts_with(ZSTD_SKIPPABLE) => Ok(Compression::Zstd),
        _ if start.starts_with(GZIP) => Ok(Compression::Gzip),
        _ if start.starts_with(ZSTD) => Ok(Compression::Zstd),
        _ if start.starts_with(b"PK\x03\x04") => unreadable("this is a zip archive"),
        _ if start.starts_with(b"BZh") && start[3..].get(1..7) == Some(b"1AY&SY") => unreadable("this is bzip2 data"),
        _ if start.starts_with(b"\xfd7zXZ\0") => unreadable("this is xz data"),
        _ => Ok(Compression::Plain),
    }
}

/// The members of gzip data. Zeros after the last one are padding, as tapes and block devices leave it.
struct Gzip<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gzip<R> {
    fn new(read: R) -> Self {
        Gzip { member: Some(GzDecoder::new(read)) }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.member else { return Ok(0) };
            let bytes = member.read(into)?;
            if bytes > 0 || into.is_empty() {
                return Ok(bytes);
            }
            let Some(mut rest) = self.member.take().map(GzDecoder::into_inner) else { return Ok(0) };
            let mut is_padded = false;
            loop {
                let bytes = rest.fill_buf()?;
                match bytes.iter().position(|byte| *byte != 0) {
                    Some(0) if !is_padded && bytes[0] == GZIP[0] => break,
                    Some(_) => {
                        return Err(Explained::new(
                            "other bytes follow the end of the gzip data",
                            "everything before was read: remove what follows, or get a good copy",
                        )
                        .into());
                    }
                    None if bytes.is_empty() => return Ok(0),
                    None => {
                        is_padded = true;
                        let zeros = bytes.len();
                        rest.consume(zeros);
                    }
                }
            }
            self.member = Some(GzDecoder::new(rest));
        }
    }
}

/// The frames of Zstandard data.
struct Zstd<R: BufRead>(zstd::Decoder<'static, R>);

impl<R: BufRead> Zstd<R> {
    fn new(read: R) -> io::Result<Self> {
        let mut decoder = zstd::Decoder::with_buffer(read)?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Ok(Zstd(decoder))
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(|error| {
            let text = error.to_string();
            if text.contains("too much memory") || text.contains("Frame parameter") {
                return Explained::new(
                    "the zstd window is larger than 2 GiB",
                    "unpack it first: zstd -d --long=31 --memory=4GB FILE",
                )
                .into();
            }
            if text.contains("Unknown frame descriptor") {
                return Explained::new(
                    "other bytes follow the end of the zstd data",
                    "everything before was read: remove what follows, or get a good copy",
                )
                .into();
            }
            error
        })
    }
}
