//! Formats of records: bytes to the values of columns. They know no kind of record.

pub(crate) mod csv;
pub(crate) mod json;

use schema::Reason;

use crate::values::Value;

/// End of the record at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After this many bytes, line end included.
    At(usize),
    /// Not in these bytes.
    Beyond,
    /// Longer than the limit.
    TooLong,
    /// The bytes are not a record; a description of the error.
    Malformed(&'static str),
}

/// How a format divides a stream into records.
pub(crate) trait Framing: Send {
    /// Finds the end of the record at the start of `bytes`, which are at byte `start` of the stream. When it is called again
    /// with more bytes it continues where it stopped. `ended`: the stream has no more bytes.
    fn find_end(&mut self, bytes: &[u8], start: u64, ended: bool) -> End;

    /// Length of a record that was found before, at the start of `bytes`, line end included.
    fn length(&self, bytes: &[u8], start: u64) -> Option<usize>;

    /// Another record than the one found last starts at the next bytes.
    fn restart(&mut self);
}

/// How a format decodes one record.
pub(crate) trait Format: Framing {
    /// Passes the values of a record to `emit`, in the order of the columns with which the format was built: once, or once
    /// for each element of an array, and never for a blank line.
    fn decode(&mut self, record: &[u8], emit: &mut dyn FnMut(&[Value<'_>])) -> Result<(), Reason>;
}
