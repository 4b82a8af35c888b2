use std::io::{self, Read};

use schema::Position;

use super::ByteStream;
use crate::Fingerprint;
use crate::error::Explained;

const INITIAL_CAPACITY: usize = 128 << 10;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether text starts with the byte order mark of UTF-16, or with two of its characters.
fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || matches!(bytes, [first, 0, second, 0, ..] | [0, first, 0, second, ..] if *first != 0 && *second != 0)
}

/// Bytes read from a stream and not consumed yet, with their position.
///
/// The buffer grows only while nothing is consumed. A caller that skips long records therefore bounds its memory.
pub(crate) struct ReadBuffer {
    stream: ByteStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    line: u64,
    byte: u64,
    ended: bool,
    /// The first bytes of the stream, for fingerprints.
    head: Vec<u8>,
}

impl ReadBuffer {
    pub(crate) fn new(stream: ByteStream) -> Self {
        ReadBuffer {
            stream,
            buffer: vec![0; INITIAL_CAPACITY],
            start: 0,
            end: 0,
            line: 1,
            byte: 0,
            ended: false,
            head: Vec::new(),
        }
    }

    /// The bytes read and not consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Position of the first of [`ReadBuffer::bytes`].
    pub(crate) fn position(&self) -> Position {
        Position::Line { line: self.line, byte: self.byte }
    }

    /// Line of the first of [`ReadBuffer::bytes`].
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Offset in the stream of the first of [`ReadBuffer::bytes`].
    pub(crate) fn byte(&self) -> u64 {
        self.byte
    }

    /// The first bytes of the stream, at most [`Fingerprint::BYTES`] of those read.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The bytes from this offset in the stream on, if they are still in memory: those consumed since the last fill are.
    pub(crate) fn since(&self, byte: u64) -> Option<&[u8]> {
        let back = usize::try_from(self.byte.checked_sub(byte)?).ok()?;
        self.buffer.get(self.start.checked_sub(back)?..self.end)
    }

    /// The last bytes that were consumed, at most [`Fingerprint::BYTES`].
    pub(crate) fn before(&self) -> &[u8] {
        &self.buffer[self.start - self.start.min(Fingerprint::BYTES)..self.start]
    }

    /// Whether the stream has no bytes after [`ReadBuffer::bytes`].
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Reads once; may block. Consumes the byte order mark at the start of a stream.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        self.read()?;
        if self.byte == 0 {
            while !self.ended && self.bytes().len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(self.bytes())
            {
                self.read()?;
            }
            if self.bytes().starts_with(BYTE_ORDER_MARK) {
                self.consume(BYTE_ORDER_MARK.len());
            }
            if is_utf16(self.bytes()) {
                return Err(Explained::UTF16.into());
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        // The last bytes that were consumed stay in front of the others: see `before`.
        let kept = self.start.min(Fingerprint::BYTES);
        if self.start == self.end || self.end == self.buffer.len() {
            if self.start == kept && self.start < self.end {
                self.buffer.resize(self.buffer.len() * 2, 0);
            } else {
                self.buffer.copy_within(self.start - kept..self.end, 0);
                (self.start, self.end) = (kept, kept + self.end - self.start);
            }
        }
        loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(bytes) => {
                    let missing = Fingerprint::BYTES - self.head.len();
                    self.head.extend_from_slice(&self.buffer[self.end..][..bytes.min(missing)]);
                    self.end += bytes;
                    self.ended = bytes == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes bytes from the front.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let lines = memchr::memchr_iter(b'\n', &self.bytes()[..bytes]).count();
        self.start += bytes;
        self.line += lines as u64;
        self.byte += bytes as u64;
    }
}
