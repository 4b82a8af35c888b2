use std::borrow::Cow;
use std::io;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use schema::Reason;

use super::{Decoder, End, Framing, Value, Values};
use crate::records::{Mapping, Received, mapping};
use crate::transports::ReadBuffer;
use crate::{Batch, InputOptions, OpenError, Record};

/// Finds the ends of records and unquotes their fields by RFC 4180, in one pass over the bytes.
pub(crate) struct Splitter {
    reader: Reader,
    /// Bytes of the current record that the reader has processed.
    scanned: usize,
    /// Unquoted fields of the current record, concatenated.
    text: Vec<u8>,
    text_length: usize,
    ends: Vec<usize>,
    fields: usize,
}

impl Splitter {
    fn new() -> Self {
        Splitter {
            // Only \n ends a line, as in the line count and in the recovery after an error. `field` strips \r.
            reader: ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build(),
            scanned: 0,
            text: vec![0; 1024],
            text_length: 0,
            ends: vec![0; 64],
            fields: 0,
        }
    }

    fn find_end(&mut self, bytes: &[u8], ended: bool) -> End {
        if self.scanned == 0 {
            (self.text_length, self.fields) = (0, 0);
            if bytes.first() == Some(&b'\n') {
                return End::At(1);
            }
        }
        if self.feed(bytes) {
            return End::At(std::mem::take(&mut self.scanned));
        }
        if !ended {
            return End::Beyond;
        }
        // The last line may have no newline. If one more newline does not end the record, a quote is open.
        let length = std::mem::take(&mut self.scanned);
        if self.feed(b"\n") {
            self.scanned = 0;
            return End::At(length);
        }
        End::Missing
    }

    /// Passes new bytes to the reader; true at the end of a record.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        // The reader would take an empty input for the end of the stream.
        while self.scanned < bytes.len() {
            let (result, read, written, ended) = self.reader.read_record(
                &bytes[self.scanned..],
                &mut self.text[self.text_length..],
                &mut self.ends[self.fields..],
            );
            self.scanned += read;
            self.text_length += written;
            self.fields += ended;
            match result {
                ReadRecordResult::Record => return true,
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
            }
        }
        false
    }

    fn restart(&mut self) {
        self.reader.reset();
        self.scanned = 0;
    }

    /// A field of the last record found.
    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let field = &self.text[start..self.ends[index]];
        let last = index + 1 == self.fields;
        if last { field.strip_suffix(b"\r").unwrap_or(field) } else { field }
    }
}

/// A header, and the splitter that continues after it.
pub(crate) struct Header {
    /// Names of the columns; none for an empty file.
    pub(crate) names: Vec<String>,
    splitter: Splitter,
}

impl Header {
    /// Consumes the first record of `buffer` that is not a blank line.
    pub(crate) fn read(buffer: &mut ReadBuffer, max_record_bytes: usize) -> io::Result<Self> {
        let mut splitter = Splitter::new();
        let bad = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        loop {
            let bytes = buffer.bytes();
            if bytes.is_empty() && buffer.ended() {
                return Ok(Header { names: Vec::new(), splitter });
            }
            match splitter.find_end(bytes, buffer.ended()) {
                End::At(length) if is_blank(bytes[..length].strip_suffix(b"\n").unwrap_or(&bytes[..length])) => {
                    buffer.consume(length);
                }
                End::At(length) if length <= max_record_bytes => {
                    let name = |index| String::from_utf8_lossy(splitter.field(index)).into_owned();
                    let names = (0..splitter.fields).map(name).collect();
                    buffer.consume(length);
                    return Ok(Header { names, splitter });
                }
                End::Beyond if bytes.len() <= max_record_bytes => buffer.fill()?,
                End::At(_) | End::Beyond => return bad(format!("the header is longer than {max_record_bytes} bytes")),
                End::Missing => return bad("a quote in the header is never closed".into()),
            }
        }
    }
}

fn is_blank(record: &[u8]) -> bool {
    matches!(record, b"" | b"\r")
}

/// CSV after its header.
pub(crate) struct Csv<R: Record> {
    mapping: R::Mapping,
    /// Field of each column of the mapping.
    fields: Vec<usize>,
    /// Number of fields of a record.
    width: usize,
    splitter: Splitter,
    scratch: <R::Mapping as Mapping<R>>::Scratch,
}

impl<R: Record> Csv<R> {
    pub(crate) fn new(source_name: &str, header: Header, options: &InputOptions) -> Result<Self, OpenError> {
        let Header { names, splitter } = header;
        let mapping = mapping::<R>(options, source_name, Some(&names))?;
        if names.is_empty() {
            tracing::warn!("{source_name}: the file is empty and has no header");
        } else {
            check_columns(source_name, mapping.columns(), &names)?;
        }
        let field = |column: &String| names.iter().position(|name| name == column);
        let fields = mapping.columns().iter().filter_map(field).collect();
        Ok(Csv { mapping, fields, width: names.len(), splitter, scratch: Default::default() })
    }
}

/// Checks that the header has each column once.
fn check_columns(source_name: &str, columns: &[String], header: &[String]) -> Result<(), OpenError> {
    let missing: Vec<String> = columns.iter().filter(|column| !header.contains(column)).cloned().collect();
    if !missing.is_empty() {
        return Err(OpenError::NoColumn { source_name: source_name.to_owned(), missing, header: header.to_vec() });
    }
    match columns.iter().find(|column| header.iter().filter(|name| name == column).count() > 1) {
        Some(column) => Err(OpenError::RepeatedColumn { source_name: source_name.to_owned(), column: column.clone() }),
        None => Ok(()),
    }
}

impl<R: Record> Framing for Csv<R> {
    fn find_end(&mut self, bytes: &[u8], ended: bool) -> End {
        self.splitter.find_end(bytes, ended)
    }

    fn restart(&mut self) {
        self.splitter.restart();
    }
}

impl<R: Record> Decoder<R> for Csv<R> {
    fn decode(&mut self, record: &[u8], received: Received, into: &mut Batch<R>) -> Result<(), Reason> {
        if is_blank(record) {
            return Ok(());
        }
        let found = self.splitter.fields;
        if found != self.width {
            return Err(Reason::Malformed { detail: format!("{found} fields, the header has {}", self.width) });
        }
        let mut values = Values::default();
        for (value, field) in values.iter_mut().zip(&self.fields) {
            *value = match self.splitter.field(*field) {
                b"" => Value::Absent,
                bytes => std::str::from_utf8(bytes).map_or(Value::NotUtf8, |text| Value::Text(Cow::Borrowed(text))),
            };
        }
        into.push(self.mapping.map(&values, &mut self.scratch, received)?);
        Ok(())
    }
}
