//! Records from bytes: a [`Format`] decodes the values of columns, and the [`Mapping`] of a kind of record makes a record of
//! them.

use schema::Reason;

use crate::formats::{End, Format, Framing};
use crate::records::{Mapping, Received};
use crate::{Batch, Record};

/// Decodes one record of kind `R`.
pub(crate) trait Decoder<R: Record>: Send {
    /// Decodes a record without its newline and appends what it contains to `into`: nothing for a blank line, and one record
    /// of kind `R` for each element if a column is in an array. Elements that are valid are appended even if others are not;
    /// the first error is the result. In a stream, the record is the one that [`Framing::find_end`] found last.
    fn decode(&mut self, record: &[u8], received: Received<'_>, into: &mut Batch<R>) -> Result<(), Reason>;

    /// Appends what a record of a topic without a value (a tombstone) means.
    #[cfg(feature = "kafka")]
    fn decode_tombstone(&mut self, received: Received<'_>, into: &mut Batch<R>) -> Result<(), Reason>;
}

/// A format with the mapping of a kind of record.
pub(crate) struct RecordDecoder<R: Record, F> {
    mapping: R::Mapping,
    scratch: <R::Mapping as Mapping<R>>::Scratch,
    pub(crate) format: F,
}

impl<R: Record, F> RecordDecoder<R, F> {
    /// `format` yields values in the order of the columns of `mapping`.
    pub(crate) fn new(mapping: R::Mapping, format: F) -> Self {
        RecordDecoder { mapping, scratch: Default::default(), format }
    }
}

impl<R: Record, F: Format> Decoder<R> for RecordDecoder<R, F> {
    fn decode(&mut self, record: &[u8], received: Received<'_>, into: &mut Batch<R>) -> Result<(), Reason> {
        let RecordDecoder { mapping, scratch, format } = self;
        let mut mapped = Ok(());
        format.decode(record, &mut |values| match mapping.map(values, scratch, received) {
            Ok(record) => into.push(record),
            Err(reason) if mapped.is_ok() => mapped = Err(reason),
            Err(_) => {}
        })?;
        mapped
    }

    #[cfg(feature = "kafka")]
    fn decode_tombstone(&mut self, received: Received<'_>, into: &mut Batch<R>) -> Result<(), Reason> {
        into.push(self.mapping.map_tombstone(&mut self.scratch, received)?);
        Ok(())
    }
}

impl<R: Record, F: Format> Framing for RecordDecoder<R, F> {
    fn find_end(&mut self, bytes: &[u8], start: u64, ended: bool) -> End {
        self.format.find_end(bytes, start, ended)
    }

    fn length(&self, bytes: &[u8], start: u64) -> Option<usize> {
        self.format.length(bytes, start)
    }

    fn restart(&mut self) {
        self.format.restart();
    }
}
