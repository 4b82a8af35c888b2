//! CSV: delimited text with one record a line, by RFC 4180 unless a [`Dialect`] says otherwise.

mod splitter;

use std::borrow::Cow;

use schema::Reason;

use self::splitter::Splitter;
use super::{End, Format, Framing};
use crate::values::{Value, with_values};

/// A kind of CSV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Text between two fields, at least one byte.
    pub(crate) delimiter: Vec<u8>,
    /// Quote around a field that contains delimiters, newlines or doubled quotes; `None`: quotes are text.
    pub(crate) quote: Option<u8>,
    /// Whether blanks around a field are removed, except inside quotes.
    pub(crate) trim: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Dialect { delimiter: b",".to_vec(), quote: Some(b'"'), trim: true }
    }
}

/// CSV, before or after its header.
pub(crate) struct Csv {
    splitter: Splitter,
    /// Field of each column.
    fields: Vec<usize>,
}

impl Csv {
    pub(crate) fn new(dialect: Dialect, max_record: usize) -> Self {
        Csv { splitter: Splitter::new(dialect, max_record), fields: Vec::new() }
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        self.splitter.dialect()
    }

    /// Starts again with another dialect.
    pub(crate) fn set_dialect(&mut self, dialect: Dialect) {
        self.splitter.set_dialect(dialect);
    }

    /// The fields of the record found last, as text.
    pub(crate) fn names(&mut self, record: &[u8]) -> Vec<String> {
        self.splitter.split_found(record);
        (0..self.splitter.count)
            .map(|index| String::from_utf8_lossy(&self.splitter.field(record, index)).into_owned())
            .collect()
    }

    /// Sets the names of the fields, and the columns to decode, which must be among them.
    pub(crate) fn set_columns(&mut self, names: &[String], columns: &[String]) {
        self.splitter.width = names.len();
        self.fields = columns.iter().filter_map(|column| names.iter().position(|name| name == column)).collect();
    }
}

/// Whether a record is a blank line.
pub(crate) fn is_blank(record: &[u8]) -> bool {
    matches!(record, b"" | b"\r")
}

impl Framing for Csv {
    fn find_end(&mut self, bytes: &[u8], start: u64, ended: bool) -> End {
        self.splitter.find_end(bytes, start, ended)
    }

    /// By another splitter: this one may be within a later record.
    fn length(&self, bytes: &[u8], start: u64) -> Option<usize> {
        match self.splitter.fresh().find_end(bytes, start, true) {
            End::At(length) => Some(length),
            End::Beyond | End::TooLong | End::Malformed(_) => None,
        }
    }

    fn restart(&mut self) {
        self.splitter.restart();
    }
}

impl Format for Csv {
    fn decode(&mut self, record: &[u8], emit: &mut dyn FnMut(&[Value<'_>])) -> Result<(), Reason> {
        if is_blank(record) {
            return Ok(());
        }
        let (found, width) = (self.splitter.count, self.splitter.width);
        if found != width {
            return Err(Reason::Malformed { detail: format!("{found} fields, the header has {width}") });
        }
        self.splitter.split_found(record);
        with_values(self.fields.len(), |values| {
            for (value, field) in values.iter_mut().zip(&self.fields) {
                *value = match self.splitter.field(record, *field) {
                    Cow::Borrowed(b"") => Value::Absent,
                    Cow::Borrowed(bytes) => {
                        std::str::from_utf8(bytes).map_or(Value::NotUtf8, |text| Value::Text(Cow::Borrowed(text)))
                    }
                    Cow::Owned(bytes) => {
                        String::from_utf8(bytes).map_or(Value::NotUtf8, |text| Value::Text(text.into()))
                    }
                };
            }
            emit(values);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use schema::Event;

    use super::*;
    use crate::decode::RecordDecoder;
    use crate::records::{Layout, mapping};
    use crate::transports::{ReadBuffer, StreamSource, read_header};
    use crate::{Batch, InputOptions, Polled, Source};

    /// Reads CSV; returns the numbers of records and rejections, and the bytes examined.
    fn work(text: &[u8], max_record: usize) -> (usize, usize, u64) {
        let mut buffer = ReadBuffer::new(Box::new(Cursor::new(text.to_vec())));
        let mut csv = Csv::new(Dialect::default(), max_record);
        let names = read_header(&mut buffer, &mut csv, max_record).unwrap();
        let mapping = mapping::<Event>(&InputOptions::default(), "in", Layout::Csv(&names)).unwrap();
        csv.set_columns(&names, &["user", "item", "action", "ts"].map(str::to_owned));
        let decoder = RecordDecoder::<Event, Csv>::new(mapping, csv);
        let mut source = StreamSource::new("in".into(), buffer, decoder, max_record);
        let mut batch = Batch::<Event>::default();
        let (mut records, mut rejected) = (0, 0);
        loop {
            batch.clear();
            let polled = source.poll(&mut batch).unwrap();
            (records, rejected) = (records + batch.len(), rejected + batch.rejected.len());
            if polled == Polled::Finished {
                return (records, rejected, source.decoder.format.splitter.work);
            }
        }
    }

    const HEADER: &str = "user,item,action,ts\n";

    #[test]
    fn every_byte_is_examined_at_most_a_few_times_whatever_the_quotes() {
        // In the third line a quoted field that never ends begins in each line, and each ends one begun before.
        for line in
            ["\"x\",\"", "\"x", "x\",\",", "a,\"", "\"", "\"\"\"", ",\"\n\n\n\",", "u,i,\"a\n\",\"", "u,i,pv,\"1"]
        {
            for end in ["", "\"", "\"\n", "\",x,y,z\n"] {
                let text = format!("{HEADER}{}{end}", format!("{line}\n").repeat(20_000));
                for max_record in [1 << 20, 1000] {
                    let (records, rejected, work) = work(text.as_bytes(), max_record);
                    assert!(records + rejected > 0);
                    assert!(work <= 6 * text.len() as u64 + 1000, "{line:?} {end:?}: {work} of {}", text.len());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn fuzz_csv_work_is_linear(
            lines in prop::collection::vec("[a,\"\r ]{0,8}", 1..8),
            max_record in 20..3000_usize,
        ) {
            let text = format!("{HEADER}{}", (lines.join("\n") + "\n").repeat(200));
            let (records, rejected, work) = work(text.as_bytes(), max_record);
            prop_assert!(records + rejected <= text.lines().count());
            prop_assert!(work <= 6 * text.len() as u64 + 1000, "{} of {}", work, text.len());
        }
    }
}
