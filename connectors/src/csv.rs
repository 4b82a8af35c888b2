use std::borrow::Cow;
use std::io;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use schema::{Position, Reason};

use crate::RawEvent;
use crate::mapping::{RecordMapping, Scratch, Values};
use crate::read_buffer::ReadBuffer;
use crate::records::{End, Format};
use crate::value::Value;

/// Finds and unquotes records by RFC 4180, in one pass over their bytes.
pub(crate) struct Splitter {
    reader: Reader,
    /// Bytes of the current record that the reader has been given.
    seen: usize,
    /// The fields of the current record, unquoted, one after the other.
    text: Vec<u8>,
    text_length: usize,
    ends: Vec<usize>,
    fields: usize,
}

impl Splitter {
    fn new() -> Self {
        Splitter {
            // Lines end in \n alone, so that they are counted and skipped to in one way; see `field` for \r\n.
            reader: ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build(),
            seen: 0,
            text: vec![0; 1024],
            text_length: 0,
            ends: vec![0; 64],
            fields: 0,
        }
    }

    fn find_end(&mut self, bytes: &[u8], ended: bool) -> End {
        if self.seen == 0 {
            (self.text_length, self.fields) = (0, 0);
            if bytes.first() == Some(&b'\n') {
                return End::At(1);
            }
        }
        if self.feed(bytes) {
            return End::At(std::mem::take(&mut self.seen));
        }
        if !ended {
            return End::Beyond;
        }
        // A last line may lack its newline. If adding one does not end the record, a quote is open.
        let length = std::mem::take(&mut self.seen);
        if self.feed(b"\n") {
            self.seen = 0;
            return End::At(length);
        }
        End::Nowhere
    }

    /// Gives the reader what it has not seen of `bytes`; true at the end of a record.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        // An empty input would tell the reader that this is the end.
        while self.seen < bytes.len() {
            let (result, taken, written, ended) = self.reader.read_record(
                &bytes[self.seen..],
                &mut self.text[self.text_length..],
                &mut self.ends[self.fields..],
            );
            self.seen += taken;
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
        self.seen = 0;
    }

    /// A field of the record found last.
    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let field = &self.text[start..self.ends[index]];
        let last = index + 1 == self.fields;
        if last { field.strip_suffix(b"\r").unwrap_or(field) } else { field }
    }
}

/// A header and the splitter that goes on behind it.
pub(crate) struct Header {
    /// The columns; none in an empty file.
    pub(crate) names: Vec<String>,
    splitter: Splitter,
}

impl Header {
    /// Takes the first record that is no blank line out of `window`.
    pub(crate) fn read(window: &mut ReadBuffer, max_record_bytes: usize) -> io::Result<Self> {
        let mut splitter = Splitter::new();
        let bad = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        loop {
            let bytes = window.bytes();
            if bytes.is_empty() && window.ended() {
                return Ok(Header { names: Vec::new(), splitter });
            }
            match splitter.find_end(bytes, window.ended()) {
                End::At(length) if is_blank(bytes[..length].strip_suffix(b"\n").unwrap_or(&bytes[..length])) => {
                    window.advance(length);
                }
                End::At(length) if length <= max_record_bytes => {
                    let name = |index| String::from_utf8_lossy(splitter.field(index)).into_owned();
                    let names = (0..splitter.fields).map(name).collect();
                    window.advance(length);
                    return Ok(Header { names, splitter });
                }
                End::Beyond if bytes.len() <= max_record_bytes => window.fill()?,
                End::At(_) | End::Beyond => return bad(format!("the header is longer than {max_record_bytes} bytes")),
                End::Nowhere => return bad("a quote in the header is never closed".into()),
            }
        }
    }
}

fn is_blank(record: &[u8]) -> bool {
    matches!(record, b"" | b"\r")
}

/// CSV behind its header.
pub(crate) struct Csv {
    plan: RecordMapping,
    /// For each source of the plan, which field it is.
    indices: Vec<usize>,
    /// How many fields a record has.
    width: usize,
    splitter: Splitter,
    scratch: Scratch,
}

impl Csv {
    /// All of the plan's sources must be in the header, unless that is empty.
    pub(crate) fn new(plan: RecordMapping, header: Header) -> Self {
        let index = |source: &String| header.names.iter().position(|name| name == source);
        let indices = plan.sources.iter().filter_map(index).collect();
        Csv { plan, indices, width: header.names.len(), splitter: header.splitter, scratch: Scratch::default() }
    }
}

impl Format for Csv {
    fn find_end(&mut self, bytes: &[u8], ended: bool) -> End {
        self.splitter.find_end(bytes, ended)
    }

    fn restart(&mut self) {
        self.splitter.restart();
    }

    fn read(&mut self, record: &[u8], position: Position, out: &mut dyn FnMut(RawEvent<'_>)) -> Result<(), Reason> {
        if is_blank(record) {
            return Ok(());
        }
        let fields = self.splitter.fields;
        if fields != self.width {
            return Err(Reason::Malformed { detail: format!("{fields} fields, the header has {}", self.width) });
        }
        let mut values = Values::default();
        for (value, index) in values.iter_mut().zip(&self.indices) {
            *value = match self.splitter.field(*index) {
                b"" => Value::Absent,
                field => std::str::from_utf8(field).map_or(Value::NotUtf8, |text| Value::Text(Cow::Borrowed(text))),
            };
        }
        out(self.plan.event(&values, &mut self.scratch, position)?);
        Ok(())
    }
}
