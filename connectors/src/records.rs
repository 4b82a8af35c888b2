//! Kinds of records. Each kind is one file here: its borrowed form, its form in a batch, and its [`Mapping`] from the
//! values of a record's columns. Transports and formats are generic over the kind.

pub(crate) mod columns;
pub(crate) mod event;
pub(crate) mod filter;
mod time;

use schema::{Position, Reason};

use crate::batch::Text;
use crate::formats::Values;
use crate::{InputOptions, OpenError};

/// A kind of record that sources read, such as [`schema::Event`].
pub trait Record: Sized + 'static {
    /// A record with its text borrowed from a batch or from the input.
    type Ref<'a>: Copy;
    /// A record in a [`Batch`](crate::Batch), with its text as spans.
    type Slot: Send + 'static;
    /// Maps the values of a record's columns to a record.
    type Mapping: Mapping<Self>;

    /// Stores a record.
    fn store(record: Self::Ref<'_>, text: &mut Text) -> Self::Slot;

    /// Returns a stored record.
    fn load<'a>(slot: &Self::Slot, text: &'a Text) -> Self::Ref<'a>;

    /// Position of a stored record in its source.
    fn position(slot: &Self::Slot) -> Position;
}

/// What a transport knows of a record beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Position in the source.
    pub position: Position,
    /// Time of the record, in milliseconds, if the transport has one (a topic).
    pub stamped: Option<u64>,
}

/// The columns of a kind of record, and how their values make a record. The same for every format.
pub trait Mapping<R: Record>: Send + Sized + 'static {
    /// Buffers for text that does not occur in the input, such as the decimal text of a number.
    type Scratch: Default + Send + 'static;

    /// Builds a mapping. `header` is that of a CSV file; JSON has none, and its values have types.
    fn new(options: &InputOptions, source_name: &str, header: Option<&[String]>) -> Result<Self, OpenError>;

    /// The columns to read, each once, at most [`MAX_COLUMNS`](crate::formats::MAX_COLUMNS).
    fn columns(&self) -> &[String];

    /// Makes a record of the values, which are in the order of [`Mapping::columns`].
    fn map<'v>(
        &'v self,
        values: &'v Values<'_>,
        scratch: &'v mut Self::Scratch,
        received: Received,
    ) -> Result<R::Ref<'v>, Reason>;
}
