//! Kinds of records. Each kind is one file here: its borrowed form, its form in a batch, and its [`Mapping`] from the
//! values of a record's columns. Transports and formats are generic over the kind.

pub(crate) mod columns;
pub(crate) mod event;
mod fields;
pub(crate) mod filter;
mod time;

use schema::{Position, Reason, shown};

use crate::text::Text;
use crate::values::{MAX_COLUMNS, Values};
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

    /// The columns to read, each once.
    fn columns(&self) -> &[String];

    /// Makes a record of the values, which are in the order of [`Mapping::columns`].
    fn map<'v>(
        &'v self,
        values: &'v Values<'_>,
        scratch: &'v mut Self::Scratch,
        received: Received,
    ) -> Result<R::Ref<'v>, Reason>;
}

/// Builds the mapping of a kind of record and checks the number of its columns.
pub(crate) fn mapping<R: Record>(
    options: &InputOptions,
    source_name: &str,
    header: Option<&[String]>,
) -> Result<R::Mapping, OpenError> {
    let mapping = R::Mapping::new(options, source_name, header)?;
    // Nested fields are read by recursion, a level each.
    if let Some(column) = mapping.columns().iter().find(|column| column.matches('.').count() >= MAX_DEPTH) {
        return Err(OpenError::TooDeep { column: shown(column), limit: MAX_DEPTH });
    }
    match mapping.columns().len() {
        0..=MAX_COLUMNS => Ok(mapping),
        given => Err(OpenError::TooManyColumns { given, limit: MAX_COLUMNS }),
    }
}

/// Checks that a header has each column once. `hint`: what a header without them looks like.
pub(crate) fn check_columns(
    source_name: &str,
    columns: &[String],
    header: &[String],
    hint: impl FnOnce() -> String,
) -> Result<(), OpenError> {
    let source_name = source_name.to_owned();
    let missing: Vec<String> = columns.iter().filter(|column| !header.contains(column)).cloned().collect();
    if !missing.is_empty() {
        return Err(OpenError::NoColumn { source_name, missing, header: header.to_vec(), hint: hint() });
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
    use crate::values::Value;
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

        fn load<'a>((user, position): &(Span, Position), text: &'a Text) -> (&'a str, Position) {
            (text.get(*user), *position)
        }

        fn position((_, position): &(Span, Position)) -> Position {
            *position
        }
    }

    impl Mapping<Erasure> for ErasureMapping {
        type Scratch = ();

        fn new(_: &InputOptions, _: &str, _: Option<&[String]>) -> Result<Self, OpenError> {
            Ok(ErasureMapping(["erase".into()]))
        }

        fn columns(&self) -> &[String] {
            &self.0
        }

        fn map<'v>(
            &'v self,
            values: &'v Values<'_>,
            (): &'v mut (),
            received: Received,
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
