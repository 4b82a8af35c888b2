use std::io::{self, Read};

use schema::Position;

use crate::input::Input;

const FIRST_CAPACITY: usize = 128 << 10;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A sliding piece of an input: bytes that have been read and belong to no finished record yet.
///
/// It grows only while nobody takes bytes out, so whoever gives up on a long record bounds its memory.
pub(crate) struct ReadBuffer {
    input: Input,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    position: Position,
    ended: bool,
}

impl ReadBuffer {
    pub(crate) fn new(input: Input) -> Self {
        let position = Position { line: 1, offset: 0 };
        ReadBuffer { input, buffer: vec![0; FIRST_CAPACITY], start: 0, end: 0, position, ended: false }
    }

    /// What has been read and not taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Where [`ReadBuffer::bytes`] starts.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Whether [`ReadBuffer::bytes`] is all that will ever come.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Waits for more bytes, once. The byte order mark that may open a file is taken out at once.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        self.read()?;
        if self.position.offset == 0 {
            while !self.ended && self.bytes().len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(self.bytes())
            {
                self.read()?;
            }
            if self.bytes().starts_with(BYTE_ORDER_MARK) {
                self.advance(BYTE_ORDER_MARK.len());
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            if self.start == 0 {
                self.buffer.resize(self.buffer.len() * 2, 0);
            } else {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(bytes) => {
                    self.end += bytes;
                    self.ended = bytes == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes bytes out of the front.
    pub(crate) fn advance(&mut self, bytes: usize) {
        let lines = memchr::memchr_iter(b'\n', &self.bytes()[..bytes]).count();
        self.start += bytes;
        self.position.line += lines as u64;
        self.position.offset += bytes as u64;
    }
}
