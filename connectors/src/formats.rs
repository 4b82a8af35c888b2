//! Formats of records: bytes to the values of columns.

pub(crate) mod csv;
pub(crate) mod json;
mod value;

use schema::Reason;

pub(crate) use self::value::{MAX_COLUMNS, Number, Value, Values};
use crate::records::Received;
use crate::{Batch, Record};

/// End of the record at the start of some bytes.
pub(crate) enum End {
    /// After this many bytes, line end included.
    At(usize),
    /// Not in these bytes.
    Beyond,
    /// Missing: the input ends inside the record.
    Missing,
}

/// How a format divides a stream into records.
pub(crate) trait Framing: Send {
    /// Finds the end of the record at the start of `bytes`. When it is called again with more bytes it continues where it
    /// stopped. `ended`: the stream has no more bytes.
    fn find_end(&mut self, bytes: &[u8], ended: bool) -> End;

    /// Discards the state of [`Framing::find_end`]: the next bytes are the start of a record.
    fn restart(&mut self);
}

/// How a format decodes one record.
pub(crate) trait Decoder<R: Record>: Send {
    /// Decodes a record without its newline and appends it to `into`. A blank line appends nothing. In a stream, the record
    /// is the one that [`Framing::find_end`] found last.
    fn decode(&mut self, record: &[u8], received: Received, into: &mut Batch<R>) -> Result<(), Reason>;
}
