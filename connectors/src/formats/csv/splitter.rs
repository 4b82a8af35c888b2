//! Where the records and fields of CSV end, in linear time.
//!
//! A quoted field may contain newlines, so a quote that is never closed would make the rest of the file one record. Such a
//! record is given up at its first line end, and the next line is read as a record of its own, which may again have an open
//! quote. Reading on from each of these lines would take quadratic time. But what follows an open quote does not depend on
//! the line that opened it: a line that begins inside quotes always ends in the same way. [`Continuation`] keeps that for the
//! lines read last, so a line is read at most three times: as the first of a record, as a continuation, and to decode.

use std::collections::VecDeque;

use memchr::{memchr, memmem};

use super::Dialect;
use crate::formats::End;

const NEVER_CLOSED: &str = "a quote is opened and never closed";
const TEXT_AFTER_QUOTE: &str = "text follows a closing quote (quote=none reads quotes as text)";

/// A field of a record: bytes between its quotes, or without surrounding blanks.
#[derive(Clone, Copy)]
pub(super) struct Field {
    start: usize,
    end: usize,
    /// Whether quotes in it are doubled.
    escaped: bool,
}

/// How a line ends.
enum Exit {
    /// The record ends with the line.
    Ends,
    /// A quote is open.
    Open,
    Malformed(&'static str),
}

/// Finds the ends of records and their fields.
pub(crate) struct Splitter {
    dialect: Dialect,
    /// Maximum length of a record without its newline.
    max_record: usize,
    /// Number of fields of a record; more are counted and not kept.
    pub(super) width: usize,
    /// Bytes of the first line of the record known to contain no newline.
    searched: usize,
    /// Length of the first line of the record, if it was read and a quote is open at its end.
    opened: Option<usize>,
    fields: Vec<Field>,
    /// Number of fields of the record found last.
    pub(super) count: usize,
    /// Whether the record found last has more than one line: its fields are not known yet.
    is_multiline: bool,
    continuation: Continuation,
    /// Bytes examined so far.
    #[cfg(test)]
    pub(super) work: u64,
}

/// Consecutive lines that begin inside quotes, by their bytes in the stream.
#[derive(Default)]
struct Continuation {
    start: u64,
    /// Start of the first line that was not read.
    end: u64,
    /// Bytes up to here contain no newline after `end`.
    searched: u64,
    /// Starts of the lines in which fields end, one for each field.
    fields: VecDeque<u64>,
    closed: Option<Closed>,
}

/// How a continuation ends.
#[derive(Clone, Copy)]
struct Closed {
    /// Start of the last line.
    line: u64,
    /// End of the last line, without its newline.
    end: u64,
    has_newline: bool,
    malformed: Option<&'static str>,
}

impl Continuation {
    fn at(start: u64) -> Self {
        Continuation { start, end: start, searched: start, ..Continuation::default() }
    }

    fn covers(&self, line: u64) -> bool {
        self.start <= line && line <= self.closed.map_or(self.end, |closed| closed.line)
    }
}

impl Splitter {
    pub(super) fn new(dialect: Dialect, max_record: usize) -> Self {
        Splitter {
            dialect,
            max_record,
            width: usize::MAX - 1,
            searched: 0,
            opened: None,
            fields: Vec::new(),
            count: 0,
            is_multiline: false,
            continuation: Continuation::default(),
            #[cfg(test)]
            work: 0,
        }
    }

    pub(super) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// One that has seen nothing yet.
    pub(super) fn fresh(&self) -> Self {
        Splitter::new(self.dialect.clone(), self.max_record)
    }

    pub(super) fn set_dialect(&mut self, dialect: Dialect) {
        *self = Splitter::new(dialect, self.max_record);
    }

    pub(super) fn restart(&mut self) {
        (self.searched, self.opened) = (0, None);
    }

    pub(super) fn find_end(&mut self, bytes: &[u8], start: u64, ended: bool) -> End {
        let end = match self.opened {
            Some(length) => self.continue_from(length, bytes, start, ended),
            None => self.read_first_line(bytes, start, ended),
        };
        if end != End::Beyond {
            self.restart();
        }
        end
    }

    fn read_first_line(&mut self, bytes: &[u8], start: u64, ended: bool) -> End {
        let newline = memchr(b'\n', &bytes[self.searched..]).map(|at| self.searched + at);
        self.count_work(newline.unwrap_or(bytes.len()) - self.searched);
        let length = newline.unwrap_or(bytes.len());
        if length > self.max_record {
            return End::TooLong;
        }
        if newline.is_none() && !ended {
            self.searched = length;
            return End::Beyond;
        }
        self.is_multiline = false;
        match self.split(&bytes[..length]) {
            Exit::Ends => End::At(newline.map_or(length, |at| at + 1)),
            Exit::Malformed(detail) => End::Malformed(detail),
            Exit::Open if newline.is_none() => End::Malformed(NEVER_CLOSED),
            Exit::Open => {
                self.opened = Some(length);
                self.continue_from(length, bytes, start, ended)
            }
        }
    }

    /// Finds the end of a record whose first line of `length` bytes leaves a quote open.
    fn continue_from(&mut self, length: usize, bytes: &[u8], start: u64, ended: bool) -> End {
        let second = start + length as u64 + 1;
        if !self.continuation.covers(second) {
            self.continuation = Continuation::at(second);
        }
        let offset = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
        loop {
            if let Some(closed) = self.continuation.closed {
                let length = offset(closed.end);
                let fields = &mut self.continuation.fields;
                while fields.front().is_some_and(|line| *line < second) {
                    fields.pop_front();
                }
                return match closed.malformed {
                    _ if length > self.max_record => End::TooLong,
                    Some(detail) => End::Malformed(detail),
                    None => {
                        self.count += self.continuation.fields.len();
                        self.is_multiline = true;
                        End::At(length + usize::from(closed.has_newline))
                    }
                };
            }
            let line = offset(self.continuation.end);
            let searched = offset(self.continuation.searched);
            let newline = memchr(b'\n', &bytes[searched..]).map(|at| searched + at);
            let end = newline.unwrap_or(bytes.len());
            self.count_work(end - searched);
            self.continuation.searched = start + end as u64;
            if end > self.max_record {
                return End::TooLong;
            }
            if newline.is_none() && !ended {
                return End::Beyond;
            }
            let (exit, fields) = self.read_continuation(&bytes[line..end]);
            let at = self.continuation.end;
            self.continuation.fields.extend(std::iter::repeat_n(at, fields));
            let malformed = match exit {
                Exit::Open if newline.is_some() => {
                    self.continuation.end = start + end as u64 + 1;
                    self.continuation.searched = self.continuation.end;
                    continue;
                }
                Exit::Open => Some(NEVER_CLOSED),
                Exit::Malformed(detail) => Some(detail),
                Exit::Ends => None,
            };
            let end = start + end as u64;
            self.continuation.closed = Some(Closed { line: at, end, has_newline: newline.is_some(), malformed });
        }
    }

    /// Reads a line that begins inside quotes. Returns how many fields end in it.
    fn read_continuation(&mut self, line: &[u8]) -> (Exit, usize) {
        self.count_work(line.len());
        let mut fields = 0;
        let Some((close, _)) = find_close(&self.dialect, line) else { return (Exit::Open, 0) };
        let exit = match after_close(&self.dialect, line, close + 1) {
            Ok(next) => {
                fields += 1;
                next.map_or(Exit::Ends, |next| split(&self.dialect, line, next, |_| fields += 1))
            }
            Err(detail) => Exit::Malformed(detail),
        };
        (exit, fields)
    }

    /// Splits a record, or its first line, into fields.
    fn split(&mut self, record: &[u8]) -> Exit {
        self.count_work(record.len());
        self.fields.clear();
        self.count = 0;
        let Splitter { dialect, fields, count, width, .. } = self;
        split(dialect, record, 0, |field| {
            *count += 1;
            if fields.len() <= *width {
                fields.push(field);
            }
        })
    }

    /// Finds the fields of the record found last, if they are not known yet.
    pub(super) fn split_found(&mut self, record: &[u8]) {
        if std::mem::take(&mut self.is_multiline) {
            self.split(record);
        }
    }

    /// A field of the record found last.
    pub(super) fn field<'r>(&self, record: &'r [u8], index: usize) -> std::borrow::Cow<'r, [u8]> {
        let Field { start, end, escaped } = self.fields[index];
        let bytes = &record[start..end];
        match self.dialect.quote {
            Some(quote) if escaped => {
                let mut text = Vec::with_capacity(bytes.len());
                let mut rest = bytes;
                while let Some(at) = memchr(quote, rest) {
                    text.extend_from_slice(&rest[..=at]);
                    rest = rest.get(at + 2..).unwrap_or_default();
                }
                text.extend_from_slice(rest);
                text.into()
            }
            _ => bytes.into(),
        }
    }

    #[cfg(test)]
    fn count_work(&mut self, bytes: usize) {
        self.work += bytes as u64;
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "counted in tests only")]
    fn count_work(&self, _: usize) {}
}

/// Splits bytes from `at`, which is the start of a field.
fn split(dialect: &Dialect, bytes: &[u8], mut at: usize, mut found: impl FnMut(Field)) -> Exit {
    loop {
        let start = skip_blanks(dialect, bytes, at);
        if dialect.quote.is_some_and(|quote| bytes.get(start) == Some(&quote)) {
            let start = start + 1;
            let Some((close, escaped)) = find_close(dialect, &bytes[start..]) else { return Exit::Open };
            let next = match after_close(dialect, bytes, start + close + 1) {
                Ok(next) => next,
                Err(detail) => return Exit::Malformed(detail),
            };
            found(Field { start, end: start + close, escaped });
            match next {
                Some(next) => at = next,
                None => return Exit::Ends,
            }
            continue;
        }
        let delimiter = dialect.find_delimiter(&bytes[at..]).map(|found| at + found);
        let mut end = delimiter.unwrap_or(bytes.len());
        if delimiter.is_none() && bytes[at..].ends_with(b"\r") {
            end -= 1;
        }
        let start = start.min(end);
        while end > start && dialect.is_blank(bytes[end - 1]) {
            end -= 1;
        }
        found(Field { start, end, escaped: false });
        match delimiter {
            Some(delimiter) => at = delimiter + dialect.delimiter.len(),
            None => return Exit::Ends,
        }
    }
}

/// Finds the closing quote of bytes inside quotes, and whether quotes before it are doubled.
fn find_close(dialect: &Dialect, bytes: &[u8]) -> Option<(usize, bool)> {
    let quote = dialect.quote?;
    let (mut at, mut escaped) = (0, false);
    loop {
        let close = at + memchr(quote, &bytes[at..])?;
        if bytes.get(close + 1) != Some(&quote) {
            return Some((close, escaped));
        }
        escaped = true;
        at = close + 2;
    }
}

/// The start of the field after a closing quote; `None` at the end of the record.
fn after_close(dialect: &Dialect, bytes: &[u8], at: usize) -> Result<Option<usize>, &'static str> {
    let at = skip_blanks(dialect, bytes, at);
    match &bytes[at..] {
        b"" | b"\r" => Ok(None),
        rest if rest.starts_with(&dialect.delimiter) => Ok(Some(at + dialect.delimiter.len())),
        _ => Err(TEXT_AFTER_QUOTE),
    }
}

fn skip_blanks(dialect: &Dialect, bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| dialect.is_blank(**byte)).count()
}

impl Dialect {
    fn is_blank(&self, byte: u8) -> bool {
        self.trim && matches!(byte, b' ' | b'\t') && self.delimiter.first() != Some(&byte)
    }

    fn find_delimiter(&self, bytes: &[u8]) -> Option<usize> {
        match self.delimiter[..] {
            [byte] => memchr(byte, bytes),
            _ => memmem::find(bytes, &self.delimiter),
        }
    }
}
