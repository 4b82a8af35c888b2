//! Kinds of records. Each kind is one file here: its borrowed form, its form in a batch, and its [`Mapping`] from the
//! values of a record's columns. Transports and formats are generic over the kind.

pub(crate) mod columns;
pub(crate) mod control;
pub(crate) mod control_columns;
pub(crate) mod event;
mod fields;
pub(crate) mod filter;
pub(crate) mod item;
pub(crate) mod item_columns;
mod time;

use schema::{Position, Reason, shown};

use crate::text::Text;
use crate::values::{FEW_COLUMNS, Value};
use crate::{InputOptions, OpenError};

/// Levels of nested objects on the way to a column.
const MAX_DEPTH: usize = 32;

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
    fn load<'a>(slot: &'a Self::Slot, text: &'a Text) -> Self::Ref<'a>;

    /// Position of a stored record in its source.
    fn position(slot: &Self::Slot) -> Position;
}

/// What a transport knows of a record beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Position in the source.
    pub position: Position,
    /// Time of the record, in milliseconds, if the transport has one (a topic).
    pub stamped: Option<u64>,
    /// Key of the record, if it has one (a topic).
    pub key: Option<&'a [u8]>,
}

/// The layout of a source's records, as far as it is known before the first one.
#[derive(Clone, Copy, Debug)]
pub enum Layout<'h> {
    /// JSON: values have types, and any field may be absent.
    Json,
    /// CSV with these columns. All values are text.
    Csv(&'h [String]),
    /// Parquet with these columns. Values have types.
    Parquet(&'h [String]),
}

impl<'h> Layout<'h> {
    /// The columns, where all records have the same.
    pub(crate) fn header(self) -> Option<&'h [String]> {
        match self {
            Layout::Json => None,
            Layout::Csv(header) | Layout::Parquet(header) => Some(header),
        }
    }
}

/// The columns of a kind of record, and how their values make a record. The same for every format.
pub trait Mapping<R: Record>: Send + Sized + 'static {
    /// Buffers for text that does not occur in the input, such as the decimal text of a number.
    type Scratch: Default + Send + 'static;

    /// Whether the contents of arrays and objects are read, and null differs from an absent value. Formats then keep
    /// both, which costs time.
    const WHOLE_VALUES: bool = false;

    /// Maximum number of columns read from one record.
    const MAX_COLUMNS: usize = FEW_COLUMNS;

    /// Advice when a file lacks columns.
    const COLUMNS_ADVICE: &str;

    /// Builds a mapping.
    fn new(options: &InputOptions, source_name: &str, layout: Layout<'_>) -> Result<Self, OpenError>;

    /// The columns to read, each once.
    fn columns(&self) -> &[String];

    /// Makes a record of the values, which are in the order of [`Mapping::columns`].
    fn map<'v>(
        &'v self,
        values: &'v [Value<'_>],
        scratch: &'v mut Self::Scratch,
        received: Received<'v>,
    ) -> Result<R::Ref<'v>, Reason>;

    /// Makes a record of a record of a topic without a value (a tombstone), if it means something.
    fn map_tombstone<'v>(
        &'v self,
        _scratch: &'v mut Self::Scratch,
        _received: Received<'v>,
    ) -> Result<R::Ref<'v>, Reason> {
        Err(Reason::NoValue)
    }
}

/// Builds the mapping of a kind of record and checks the number of its columns.
pub(crate) fn mapping<R: Record>(
    options: &InputOptions,
    source_name: &str,
    layout: Layout<'_>,
) -> Result<R::Mapping, OpenError> {
    let mapping = R::Mapping::new(options, source_name, layout)?;
    // Nested fields are read by recursion, a level each.
    if let Some(column) = mapping.columns().iter().find(|column| column.matches('.').count() >= MAX_DEPTH) {
        return Err(OpenError::TooDeep { column: shown(column), limit: MAX_DEPTH });
    }
    let (given, limit) = (mapping.columns().len(), R::Mapping::MAX_COLUMNS);
    if given > limit { Err(OpenError::TooManyColumns { given, limit }) } else { Ok(mapping) }
}

/// Checks that a header has each column of a mapping once. `hint`: what a header without them looks like.
pub(crate) fn check_columns<R: Record>(
    source_name: &str,
    mapping: &R::Mapping,
    header: &[String],
    hint: impl FnOnce() -> String,
) -> Result<(), OpenError> {
    let (source_name, columns) = (source_name.to_owned(), mapping.columns());
    let missing: Vec<String> = columns.iter().filter(|column| !header.contains(column)).cloned().collect();
    if !missing.is_empty() {
        return Err(OpenError::NoColumn {
            source_name,
            missing,
            header: header.to_vec(),
            hint: hint(),
            advice: R::Mapping::COLUMNS_ADVICE,
        });
    }
    match columns.iter().find(|column| header.iter().filter(|name| name == column).count() > 1) {
        Some(column) => Err(OpenError::RepeatedColumn { source_name, column: column.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use schema::check_name;

    use super::*;
    use crate::text::Span;
    use crate::{Batch, Compression, Format, Polled, source_from};

    /// A kind of record with one column.
    struct Erasure;

    struct ErasureMapping([String; 1]);

    impl Record for Erasure {
        type Ref<'a> = (&'a str, Position);
        type Slot = (Span, Position);
        type Mapping = ErasureMapping;

        fn store((user, position): (&str, Position), text: &mut Text) -> (Span, Position) {
            (text.push(user), position)
        }

        fn load<'a>((user, position): &'a (Span, Position), text: &'a Text) -> (&'a str, Position) {
            (text.get(*user), *position)
        }

        fn position((_, position): &(Span, Position)) -> Position {
            *position
        }
    }

    impl Mapping<Erasure> for ErasureMapping {
        type Scratch = ();

        const COLUMNS_ADVICE: &str = "";

        fn new(_: &InputOptions, _: &str, _: Layout<'_>) -> Result<Self, OpenError> {
            Ok(ErasureMapping(["erase".into()]))
        }

        fn columns(&self) -> &[String] {
            &self.0
        }

        fn map<'v>(
            &'v self,
            values: &'v [Value<'_>],
            (): &'v mut (),
            received: Received<'v>,
        ) -> Result<(&'v str, Position), Reason> {
            let Value::Text(user) = &values[0] else { return Err(Reason::Missing { field: "erase".into() }) };
            check_name("erase", user)?;
            Ok((user, received.position))
        }
    }

    #[test]
    fn columns_may_be_nested_but_not_endlessly() {
        let open = |depth: usize| {
            let columns = format!("user={}", vec!["a"; depth].join("."));
            let options = InputOptions { columns: columns.parse().unwrap(), ..InputOptions::default() };
            let text = Cursor::new("");
            source_from::<schema::Event>("in", text, Format::JsonLines, Compression::Plain, &options).map(|_| ())
        };
        open(MAX_DEPTH).unwrap();
        for depth in [MAX_DEPTH + 1, 60_000] {
            let error = open(depth).unwrap_err();
            assert!(error.is_usage() && error.to_string().len() < 250, "{error}");
        }
    }

    #[test]
    fn a_kind_of_record_needs_a_mapping_and_works_with_every_format() {
        let json = "{\"erase\":\"u1\"}\n{}\n{\"erase\":\"u2\"}\n";
        let csv = "id,erase\n1,u1\n2,\n3,u2\n";
        for (text, format, first) in [(json, Format::JsonLines, 1), (csv, Format::Csv, 2)] {
            let options = InputOptions::default();
            let mut source =
                source_from::<Erasure>("in", Cursor::new(text), format, Compression::Plain, &options).unwrap();
            let mut batch = Batch::default();
            while source.poll(&mut batch).unwrap() != Polled::Finished {}
            let line = |index| match batch.get(index) {
                Some((user, Position::Line { line, .. })) => (user, line),
                other => panic!("{other:?}"),
            };
            assert_eq!((batch.len(), line(0), line(1)), (2, ("u1", first), ("u2", first + 2)));
            assert_eq!(batch.rejected[0].reason.code(), "missing:erase");
        }
    }
}
