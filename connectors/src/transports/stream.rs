use std::io;

use schema::{Position, Reason, Rejected};

use super::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_REJECTED_BYTES, ReadBuffer};
use crate::decode::Decoder;
use crate::error::source_error;
use crate::formats::{End, Framing};
use crate::records::Received;
use crate::{Batch, Fingerprint, Polled, Record, Source, SourceError, SourcePosition};

/// A source of records that lines separate: a file or stdin.
///
/// In CSV a missing closing quote makes one record of many lines. A record that is too long, truncated by the end of the
/// input, malformed, or has a field of the wrong type or length is therefore rejected up to its first line end only. The
/// lines after it are read as records of their own.
pub(crate) struct StreamSource<D> {
    name: String,
    buffer: ReadBuffer,
    pub(crate) decoder: D,
    max_record_bytes: usize,
    /// Start of a rejected record whose line has not ended yet.
    skipping: Option<Position>,
    /// Whether the buffer may contain a whole record.
    buffered: bool,
    /// Position at the start of the last poll, which is before all records of a batch, and the hash of the bytes before it.
    checkpoint: (u64, u32),
}

enum Step {
    Progress,
    NeedsMore,
    Finished,
}

impl<D: Framing> StreamSource<D> {
    pub(crate) fn new(name: String, buffer: ReadBuffer, decoder: D, max_record_bytes: usize) -> Self {
        let checkpoint = (0, Fingerprint::hash(&[]));
        StreamSource { name, buffer, decoder, max_record_bytes, skipping: None, buffered: true, checkpoint }
    }

    fn step<R: Record>(&mut self, into: &mut Batch<R>) -> Step
    where
        D: Decoder<R>,
    {
        let bytes = self.buffer.bytes();
        if self.skipping.is_some() {
            let line_end = memchr::memchr(b'\n', bytes);
            self.buffer.consume(line_end.map_or(bytes.len(), |at| at + 1));
            match line_end {
                Some(_) => self.skipping = None,
                None if self.buffer.ended() => return Step::Finished,
                None => return Step::NeedsMore,
            }
            return Step::Progress;
        }
        if bytes.is_empty() {
            return if self.buffer.ended() { Step::Finished } else { Step::NeedsMore };
        }
        let too_long = Reason::TooLong { limit: self.max_record_bytes };
        match self.decoder.find_end(bytes, self.buffer.byte(), self.buffer.ended()) {
            End::At(length) => {
                let record = bytes[..length].strip_suffix(b"\n").unwrap_or(&bytes[..length]);
                if record.len() > self.max_record_bytes {
                    self.reject_line(too_long, into);
                    return Step::Progress;
                }
                let position = self.buffer.position();
                match self.decoder.decode(record, Received { position, stamped: None, key: None }, into) {
                    Ok(()) => {}
                    Err(
                        reason @ (Reason::Malformed { .. }
                        | Reason::LongName { .. }
                        | Reason::LongText { .. }
                        | Reason::TooManyValues { .. }
                        | Reason::WrongType { .. }),
                    ) => {
                        self.reject_line(reason, into);
                        return Step::Progress;
                    }
                    Err(reason) => {
                        into.rejected.push(rejected(reason, &self.name, position, record, self.max_record_bytes));
                    }
                }
                self.buffer.consume(length);
            }
            End::TooLong => self.reject_line(too_long, into),
            End::Beyond if bytes.len() > self.max_record_bytes => self.reject_line(too_long, into),
            End::Beyond => return Step::NeedsMore,
            End::Malformed(detail) => self.reject_line(Reason::Malformed { detail: detail.into() }, into),
        }
        Step::Progress
    }

    /// Rejects the current record up to its first line end, which may not have been read yet.
    fn reject_line<R: Record>(&mut self, reason: Reason, into: &mut Batch<R>) {
        let bytes = self.buffer.bytes();
        let position = self.buffer.position();
        let line_end = memchr::memchr(b'\n', bytes);
        let line = &bytes[..line_end.unwrap_or(bytes.len())];
        into.rejected.push(rejected(reason, &self.name, position, line, self.max_record_bytes));
        if line_end.is_none() {
            self.skipping = Some(position);
        }
        self.buffer.consume(line_end.map_or(line.len(), |at| at + 1));
        self.decoder.restart();
    }

    fn read_error(&self, cause: io::Error) -> SourceError {
        source_error(&self.name, Some(self.buffer.position()), cause)
    }

    fn seek_error(&self, what: String) -> SourceError {
        SourceError {
            source_name: self.name.clone(),
            position: Some(self.buffer.position()),
            what,
            advice: "this is not the file that was read before: restore it, or start without the saved state".into(),
            cause: None,
        }
    }

    /// The fingerprint for a position that has been reached.
    fn fingerprint(&self, byte: u64) -> Option<Fingerprint> {
        let head = self.buffer.head();
        let head = &head[..head.len().min(usize::try_from(byte).unwrap_or(usize::MAX))];
        // A record that is longer than a batch starts before the checkpoint.
        let (at, tail) = if self.checkpoint.0 <= byte { self.checkpoint } else { (0, Fingerprint::hash(&[])) };
        (!head.is_empty()).then(|| Fingerprint { head: Fingerprint::hash(head), at, tail })
    }

    /// Consumes the bytes before `byte`.
    fn skip_to(&mut self, byte: u64) -> Result<(), SourceError> {
        loop {
            let left = byte - self.buffer.byte();
            let step = self.buffer.bytes().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buffer.consume(step);
            if self.buffer.byte() == byte {
                return Ok(());
            }
            if self.buffer.ended() {
                return Err(self.seek_error(format!("ends before byte {byte}")));
            }
            self.buffer.fill().map_err(|error| self.read_error(error))?;
        }
    }
}

impl<R: Record, D: Decoder<R> + Framing> Source<R> for StreamSource<D> {
    fn name(&self) -> &str {
        &self.name
    }

    /// Blocks at most once, and not while the buffer contains whole records.
    fn poll(&mut self, into: &mut Batch<R>) -> Result<Polled, SourceError> {
        if !self.buffered && !self.buffer.ended() {
            self.buffer.fill().map_err(|error| self.read_error(error))?;
        }
        self.buffered = true;
        self.checkpoint = (self.buffer.byte(), Fingerprint::hash(self.buffer.before()));
        let limit = self.buffer.byte() + MAX_BATCH_BYTES as u64;
        for _ in 0..MAX_BATCH_RECORDS {
            match self.step(into) {
                Step::Progress if self.buffer.byte() < limit => {}
                Step::Progress => break,
                Step::NeedsMore => {
                    self.buffered = false;
                    return Ok(Polled::Idle);
                }
                Step::Finished => return Ok(Polled::Finished),
            }
        }
        Ok(Polled::Ready)
    }

    fn position(&self, batch: &Batch<R>, next: usize) -> SourcePosition {
        let end = self.skipping.unwrap_or(self.buffer.position());
        match SourcePosition::of_record(batch, next, end) {
            SourcePosition::Line { line, byte, .. } => {
                SourcePosition::Line { line, byte, fingerprint: self.fingerprint(byte) }
            }
            partitions @ SourcePosition::Partitions { .. } => partitions,
        }
    }

    /// The bytes of a batch stay in the buffer until the next poll, so nothing is kept of the records that are not asked for.
    fn text(&self, batch: &Batch<R>, index: usize) -> Option<String> {
        let Position::Line { byte, .. } = batch.position(index)? else { return None };
        let bytes = self.buffer.since(byte)?;
        let record = &bytes[..self.decoder.length(bytes, byte)?];
        Some(kept_text(record.strip_suffix(b"\n").unwrap_or(record), self.max_record_bytes))
    }

    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let SourcePosition::Line { line, byte, fingerprint } = *position else {
            return Err(self.seek_error("cannot resume a file at offsets of a topic".into()));
        };
        // The start of the first record, which may follow a header.
        if byte == 0 {
            return Ok(());
        }
        if byte < self.buffer.byte() {
            return Err(self.seek_error(format!("cannot go back to byte {byte}")));
        }
        // A part that lies within the header of a CSV file is covered by the head.
        if let Some(Fingerprint { at, tail, .. }) =
            fingerprint.filter(|found| (self.buffer.byte()..=byte).contains(&found.at))
        {
            self.skip_to(at)?;
            if Fingerprint::hash(self.buffer.before()) != tail {
                return Err(self.seek_error(format!("what is before byte {at} differs from what was read")));
            }
            self.checkpoint = (at, tail);
        }
        self.skip_to(byte)?;
        if self.buffer.line() != line {
            return Err(self.seek_error(format!("byte {byte} is not on line {line}")));
        }
        if fingerprint.is_some_and(|found| self.fingerprint(byte).is_none_or(|now| now.head != found.head)) {
            return Err(self.seek_error("its first bytes differ from those that were read".into()));
        }
        Ok(())
    }
}

/// Of a record that is too long, `limit` bytes are kept at most, so that the result does not depend on the sizes of reads.
fn rejected(reason: Reason, source: &str, position: Position, record: &[u8], limit: usize) -> Rejected {
    let record = kept_text(record, limit);
    Rejected { reason, source: source.to_owned(), position, record, original: None }
}

/// The text that is kept of a record.
fn kept_text(record: &[u8], limit: usize) -> String {
    let kept = &record[..record.len().min(MAX_REJECTED_BYTES).min(limit)];
    String::from_utf8_lossy(kept.strip_suffix(b"\r").unwrap_or(kept)).into_owned()
}
