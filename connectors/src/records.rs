use std::io;

use schema::{Position, Reason, Rejected};

use crate::error::source_error;
use crate::read_buffer::ReadBuffer;
use crate::{Batch, Polled, RawEvent, Source, SourceError, SourcePosition};

/// Most records of one poll.
const MAX_RECORDS: usize = 4096;
/// Bytes after which a poll ends, so that a batch stays small even when its records are long.
const MAX_BYTES: u64 = 1 << 20;
/// How much of a record that was set aside is kept.
pub(crate) const KEPT_BYTES: usize = 4 << 10;

/// Where the record at the front of some bytes ends.
pub(crate) enum End {
    /// After so many bytes, with its line end.
    At(usize),
    /// Beyond these bytes.
    Beyond,
    /// Nowhere: the input ends inside it.
    Nowhere,
}

/// How a format cuts bytes into records and reads one.
pub(crate) trait Format: Send {
    /// Looks for the end of the record at the front of `bytes`. Called again with more bytes it goes on where it
    /// stopped; `ended` says that no more will come.
    fn find_end(&mut self, bytes: &[u8], ended: bool) -> End;

    /// Forgets what [`Format::find_end`] has seen: the next bytes are the start of a record.
    fn restart(&mut self);

    /// Reads the record that [`Format::find_end`] just found, without its newline: hands over one event, or none
    /// when the record is a blank line.
    fn read(&mut self, record: &[u8], position: Position, out: &mut dyn FnMut(RawEvent<'_>)) -> Result<(), Reason>;
}

/// A source of records that are told apart by line ends.
///
/// In CSV a quote that is never closed makes a record of many lines. So a record that is too long, or cut off by the
/// end of the input, or malformed, or has a field that is no such field is given up at its first line end: the lines
/// after it are read as records of their own.
pub(crate) struct Records<F> {
    name: String,
    window: ReadBuffer,
    format: F,
    max_record_bytes: usize,
    /// Start of the record whose rest is being skipped.
    skipping: Option<Position>,
    /// Whether the window may hold a whole record.
    buffered: bool,
}

enum Step {
    Took,
    NeedsMore,
    Finished,
}

impl<F: Format> Records<F> {
    pub(crate) fn new(name: String, window: ReadBuffer, format: F, max_record_bytes: usize) -> Self {
        Records { name, window, format, max_record_bytes, skipping: None, buffered: true }
    }

    fn step(&mut self, into: &mut Batch) -> Step {
        let bytes = self.window.bytes();
        if self.skipping.is_some() {
            let line_end = memchr::memchr(b'\n', bytes);
            self.window.advance(line_end.map_or(bytes.len(), |at| at + 1));
            match line_end {
                Some(_) => self.skipping = None,
                None if self.window.ended() => return Step::Finished,
                None => return Step::NeedsMore,
            }
            return Step::Took;
        }
        if bytes.is_empty() {
            return if self.window.ended() { Step::Finished } else { Step::NeedsMore };
        }
        let too_long = Reason::TooLong { limit: self.max_record_bytes };
        match self.format.find_end(bytes, self.window.ended()) {
            End::At(length) => {
                let record = bytes[..length].strip_suffix(b"\n").unwrap_or(&bytes[..length]);
                if record.len() > self.max_record_bytes {
                    self.give_up(too_long, into);
                    return Step::Took;
                }
                let position = self.window.position();
                match self.format.read(record, position, &mut |event| into.push(event)) {
                    Ok(()) => {}
                    Err(reason @ (Reason::Malformed { .. } | Reason::LongName { .. } | Reason::WrongType { .. })) => {
                        self.give_up(reason, into);
                        return Step::Took;
                    }
                    Err(reason) => {
                        into.rejected.push(rejected(reason, &self.name, position, record, self.max_record_bytes));
                    }
                }
                self.window.advance(length);
            }
            End::Beyond if bytes.len() > self.max_record_bytes => self.give_up(too_long, into),
            End::Beyond => return Step::NeedsMore,
            End::Nowhere => {
                self.give_up(Reason::Malformed { detail: "a quote is opened and never closed".into() }, into);
            }
        }
        Step::Took
    }

    /// Sets the current record aside up to its first line end, which may be yet to come.
    fn give_up(&mut self, reason: Reason, into: &mut Batch) {
        let bytes = self.window.bytes();
        let position = self.window.position();
        let line_end = memchr::memchr(b'\n', bytes);
        let line = &bytes[..line_end.unwrap_or(bytes.len())];
        into.rejected.push(rejected(reason, &self.name, position, line, self.max_record_bytes));
        if line_end.is_none() {
            self.skipping = Some(position);
        }
        self.window.advance(line_end.map_or(line.len(), |at| at + 1));
        self.format.restart();
    }

    fn broken(&self, cause: io::Error) -> SourceError {
        source_error(&self.name, Some(self.window.position()), cause)
    }

    fn wrong_resume(&self, what: String) -> SourceError {
        SourceError {
            source_name: self.name.clone(),
            position: Some(self.window.position()),
            what,
            advice: "the file is not the one that was read before: restore it, or start without the saved state".into(),
            cause: None,
        }
    }
}

impl<F: Format> Source for Records<F> {
    fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the outside world at most once, and not while whole records are left.
    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        if !self.buffered && !self.window.ended() {
            self.window.fill().map_err(|error| self.broken(error))?;
        }
        self.buffered = true;
        let enough = self.window.position().offset + MAX_BYTES;
        for _ in 0..MAX_RECORDS {
            match self.step(into) {
                Step::Took if self.window.position().offset < enough => {}
                Step::Took => break,
                Step::NeedsMore => {
                    self.buffered = false;
                    return Ok(Polled::Idle);
                }
                Step::Finished => return Ok(Polled::Finished),
            }
        }
        Ok(Polled::Ready)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        SourcePosition::of_record(batch, next, self.skipping.unwrap_or(self.window.position()))
    }

    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let SourcePosition::Record(position) = *position else {
            return Err(self.wrong_resume("a position in a topic is none in a file".into()));
        };
        // Before the first record, wherever a header put that.
        if position.offset == 0 {
            return Ok(());
        }
        if position.offset < self.window.position().offset {
            return Err(self.wrong_resume(format!("cannot go back to byte {}", position.offset)));
        }
        loop {
            let left = position.offset - self.window.position().offset;
            let step = self.window.bytes().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.window.advance(step);
            if self.window.position().offset == position.offset {
                break;
            }
            if self.window.ended() {
                return Err(self.wrong_resume(format!("ends before byte {}", position.offset)));
            }
            self.window.fill().map_err(|error| self.broken(error))?;
        }
        if self.window.position().line != position.line {
            return Err(self.wrong_resume(format!("byte {} is not on line {}", position.offset, position.line)));
        }
        Ok(())
    }
}

/// Of a record that is too long only `limit` bytes are sure to be there, however they arrived.
fn rejected(reason: Reason, source: &str, position: Position, record: &[u8], limit: usize) -> Rejected {
    let kept = &record[..record.len().min(KEPT_BYTES).min(limit)];
    let kept = kept.strip_suffix(b"\r").unwrap_or(kept);
    Rejected {
        reason,
        source: source.to_owned(),
        position,
        record: String::from_utf8_lossy(kept).into_owned(),
        original: None,
    }
}
