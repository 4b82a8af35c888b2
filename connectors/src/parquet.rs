//! Parquet files as a source. A position is the number of rows before, so a run resumes at any row.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::{LogicalType, TimeUnit};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::FileReader;
use ::parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;
use schema::{Position, Reason, Rejected, shortened, shown};

use crate::error::source_error;
use crate::records::{Layout, Mapping, Received, check_columns, mapping};
use crate::transports::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_REJECTED_BYTES};
use crate::values::{Value, with_values};
use crate::{Batch, Fingerprint, InputOptions, OpenError, Polled, Record, Source, SourceError, SourcePosition};

const ADVICE: &str = "the file is cut off, damaged or not Parquet: get a good copy (rows before this point were read)";

/// A Parquet file as a source. Row groups are read one after the other, and of each only pages of the columns that are used.
struct ParquetSource<R: Record> {
    name: String,
    path: PathBuf,
    mapping: R::Mapping,
    scratch: <R::Mapping as Mapping<R>>::Scratch,
    /// The columns that are read, as a schema.
    projection: Type,
    /// Of each column of the mapping.
    columns: Vec<Column>,
    rows: RowIter<'static>,
    /// Number of rows read.
    read: u64,
    /// Number of rows of the file.
    total: u64,
    fingerprint: Fingerprint,
}

/// Where a column is in a row.
struct Column {
    /// Index in the row, and in each group on the way.
    path: Vec<usize>,
    /// Whether the values are integers of nanoseconds since the Unix epoch.
    is_nanos: bool,
    /// Whether the mapping asks for [whole values](Mapping::WHOLE_VALUES).
    is_whole: bool,
}

/// Opens a file; reads its metadata.
pub(crate) fn open_source<R: Record>(
    name: String,
    path: &Path,
    options: &InputOptions,
) -> Result<Box<dyn Source<R>>, OpenError> {
    let open = |what: &str, error: io::Error| OpenError::from(source_error(what, None, error));
    let file = File::open(path).map_err(|error| open(&name, error))?;
    let metadata = file.metadata().map_err(|error| open(&name, error))?;
    if metadata.is_dir() {
        return Err(open(&name, io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(OpenError::Option {
            input: name,
            what: "Parquet is read from its end, so it must be a file and not a pipe".into(),
        });
    }
    let fingerprint = fingerprint(&file, metadata.len()).map_err(|error| open(&name, error))?;
    let reader = open_from(path, 0).map_err(|error| failure(&name, 0, &error))?;
    let root = reader.metadata().file_metadata().schema();
    let descriptor = reader.metadata().file_metadata().schema_descr();
    let mut paths: Vec<&[String]> = descriptor.columns().iter().map(|column| column.path().parts()).collect();
    if R::Mapping::WHOLE_VALUES {
        // Lists and groups are values too.
        let outer = paths.iter().flat_map(|path| (1..path.len()).map(|length| &path[..length]));
        let mut outer: Vec<&[String]> = outer.collect();
        outer.sort_unstable();
        outer.dedup();
        paths.extend(outer);
    }
    let names: Vec<String> = paths.iter().map(|path| path.join(".")).collect();
    let mapping = mapping::<R>(options, &name, Layout::Parquet(&names))?;
    check_columns::<R>(&name, &mapping, &names, String::new)?;
    let parts = |column: &String| {
        let index = names.iter().position(|known| known == column)?;
        let leaf = (index < descriptor.num_columns()).then(|| descriptor.column(index));
        Some((paths[index].to_vec(), leaf))
    };
    let found: Vec<_> = mapping.columns().iter().filter_map(parts).collect();
    let used = root.get_fields().iter().filter(|field| found.iter().any(|(parts, _)| parts[0] == field.name()));
    let used: Vec<Arc<Type>> = used.cloned().collect();
    let columns = found.iter().map(|(parts, column)| {
        Column {
        path: indices(&used, parts),
        is_nanos: column.as_ref().is_some_and(|column| {
            matches!(column.logical_type_ref(), Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS)
        }),
        is_whole: R::Mapping::WHOLE_VALUES,
    }
    });
    let columns = columns.collect();
    let projection = Type::group_type_builder(root.name()).with_fields(used).build();
    let projection = projection.map_err(|error| failure(&name, 0, &error))?;
    let total = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
    let rows = rows(reader, &projection).map_err(|error| failure(&name, 0, &error))?;
    Ok(Box::new(ParquetSource::<R> {
        name,
        path: path.to_owned(),
        mapping,
        scratch: Default::default(),
        projection,
        columns,
        rows,
        read: 0,
        total,
        fingerprint,
    }))
}

/// What a file is known by: the hashes of its first and its last bytes, and its length. It is written once, and its last bytes
/// describe all of it.
fn fingerprint(file: &File, length: u64) -> io::Result<Fingerprint> {
    let part = |start: u64| {
        let mut bytes = vec![0; Fingerprint::BYTES.min(usize::try_from(length - start).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut bytes, start)?;
        Ok::<_, io::Error>(Fingerprint::hash(&bytes))
    };
    Ok(Fingerprint { head: part(0)?, at: length, tail: part(length.saturating_sub(Fingerprint::BYTES as u64))? })
}

/// The hash of the first bytes of a Parquet file; `None` if it is not one.
pub(crate) fn head(path: &Path) -> Option<u32> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(Fingerprint::BYTES as u64).read_to_end(&mut bytes).ok()?;
    bytes.starts_with(b"PAR1").then(|| Fingerprint::hash(&bytes))
}

/// Opens a file without the row groups that end before a row.
fn open_from(path: &Path, row: u64) -> Result<SerializedFileReader<File>, ParquetError> {
    let mut before = 0;
    let is_needed = move |group: &RowGroupMetaData, _: usize| {
        before += u64::try_from(group.num_rows()).unwrap_or(0);
        before > row
    };
    let options = ReadOptionsBuilder::new().with_predicate(Box::new(is_needed)).build();
    guarded(|| SerializedFileReader::new_with_options(File::open(path)?, options))
}

fn rows(reader: SerializedFileReader<File>, projection: &Type) -> Result<RowIter<'static>, ParquetError> {
    guarded(|| RowIter::from_file_into(Box::new(reader)).project(Some(projection.clone())))
}

/// Runs a call of the library, which panics on some damage.
fn guarded<T>(call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(ParquetError::General("the data is damaged".into())))
}

/// The error of a read, after `rows` rows.
fn failure(name: &str, rows: u64, error: &ParquetError) -> SourceError {
    SourceError {
        source_name: name.to_owned(),
        position: Some(position(rows)),
        what: format!("cannot read: {}", shortened(&error.to_string(), 200)),
        advice: ADVICE.into(),
        cause: None,
    }
}

/// Position of the row after `rows` rows.
fn position(rows: u64) -> Position {
    Position::Line { line: rows + 1, byte: rows }
}

/// Indices of the names of a path in the fields of a group, from the outermost.
fn indices(fields: &[Arc<Type>], parts: &[String]) -> Vec<usize> {
    let Some((first, rest)) = parts.split_first() else { return Vec::new() };
    let Some(index) = fields.iter().position(|field| field.name() == first) else { return Vec::new() };
    let inner = if fields[index].is_group() { indices(fields[index].get_fields(), rest) } else { Vec::new() };
    [index].into_iter().chain(inner).collect()
}

/// The value of a column in a row.
fn value<'r>(row: &'r Row, column: &Column) -> Value<'r> {
    let (mut row, mut path) = (row, &column.path[..]);
    loop {
        let Some((index, rest)) = path.split_first() else { return Value::Object("".into()) };
        let Some((_, field)) = row.get_column_iter().nth(*index) else { return Value::Absent };
        match field {
            Field::Group(inner) if !rest.is_empty() => (row, path) = (inner, rest),
            field if column.is_whole => return whole(field, column.is_nanos),
            field => return of_field(field, column.is_nanos),
        }
    }
}

/// The value of a field with the contents of lists and groups. Null is not absent, and text may be empty.
fn whole(field: &Field, is_nanos: bool) -> Value<'_> {
    match field {
        Field::Null => Value::Null,
        Field::Str(text) if text.is_empty() => Value::Text("".into()),
        Field::Bytes(bytes) if bytes.is_empty() => Value::Text("".into()),
        Field::ListInternal(_) => Value::Array(json(field).to_string().into()),
        Field::MapInternal(_) | Field::Group(_) => Value::Object(json(field).to_string().into()),
        field => of_field(field, is_nanos),
    }
}

/// A field as JSON. A number is its decimal text, which is read like the number.
fn json(field: &Field) -> serde_json::Value {
    match field {
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter();
            entries.map(|(key, value)| (text_of(key).unwrap_or_default(), json(value))).collect()
        }
        Field::Group(row) => row.get_column_iter().map(|(name, value)| (name.clone(), json(value))).collect(),
        field => match of_field(field, false) {
            Value::Bool(truth) => truth.into(),
            _ => text_of(field).into(),
        },
    }
}

/// Text of a name; `None` for null.
fn text_of(field: &Field) -> Option<String> {
    match whole(field, false) {
        Value::Text(text) | Value::Number(text) => Some(text.into_owned()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn of_field(field: &Field, is_nanos: bool) -> Value<'_> {
    let number = |text: String| Value::Number(Cow::Owned(text));
    let float = |float: f64| if float.is_finite() { number(float.to_string()) } else { Value::Text("NaN".into()) };
    match field {
        Field::Null => Value::Absent,
        Field::Bool(truth) => Value::Bool(*truth),
        Field::Long(nanos) if is_nanos => Value::Time(nanos.div_euclid(1_000_000)),
        Field::TimestampMillis(millis) => Value::Time(*millis),
        Field::TimestampMicros(micros) => Value::Time(micros.div_euclid(1000)),
        Field::Date(days) => Value::Time(i64::from(*days) * 86_400_000),
        Field::Int(number) => Value::Integer(i64::from(*number)),
        Field::Long(number) => Value::Integer(*number),
        // The shortest text of the number: as a double, 59.99 would have further digits.
        Field::Float(value) if value.is_finite() => number(value.to_string()),
        Field::Float(_) => Value::Text("NaN".into()),
        Field::Double(value) => float(*value),
        Field::Str(text) if text.is_empty() => Value::Absent,
        Field::Str(text) => Value::Text(Cow::Borrowed(text)),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok("") => Value::Absent,
            Ok(text) => Value::Text(Cow::Borrowed(text)),
            Err(_) => Value::NotUtf8,
        },
        Field::Group(_) | Field::MapInternal(_) => Value::Object("".into()),
        Field::ListInternal(_) => Value::Array("".into()),
        other => number(other.to_string()),
    }
}

impl<R: Record> ParquetSource<R> {
    fn rejected(&self, reason: Reason, values: &[Value<'_>]) -> Rejected {
        let fields = self.mapping.columns().iter().zip(values);
        let fields: Vec<String> =
            fields.map(|(name, value)| format!("{}: {}", shown(name), value.describe())).collect();
        let record = shortened(&fields.join(", "), MAX_REJECTED_BYTES / 4);
        Rejected { reason, source: self.name.clone(), position: position(self.read), record, original: None }
    }

    fn text_bytes(values: &[Value<'_>]) -> usize {
        let bytes = |value: &Value<'_>| match value {
            Value::Text(text) | Value::Array(text) | Value::Object(text) => text.len().max(8),
            _ => 8,
        };
        values.iter().map(bytes).sum()
    }
}

impl<R: Record> Source<R> for ParquetSource<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn poll(&mut self, into: &mut Batch<R>) -> Result<Polled, SourceError> {
        let mut bytes = 0;
        for _ in 0..MAX_BATCH_RECORDS {
            let rows = &mut self.rows;
            let next = catch_unwind(AssertUnwindSafe(|| rows.next().transpose()))
                .unwrap_or_else(|_| Err(ParquetError::General("the data is damaged".into())));
            let Some(row) = next.map_err(|error| failure(&self.name, self.read, &error))? else {
                if self.read < self.total {
                    let error = ParquetError::General(format!("{} rows are missing", self.total - self.read));
                    return Err(failure(&self.name, self.read, &error));
                }
                return Ok(Polled::Finished);
            };
            with_values(self.columns.len(), |values| {
                for (into, column) in values.iter_mut().zip(&self.columns) {
                    *into = value(&row, column);
                }
                bytes += Self::text_bytes(values);
                let received = Received { position: position(self.read), stamped: None, key: None };
                let reason = match self.mapping.map(values, &mut self.scratch, received) {
                    Ok(record) => {
                        into.push(record);
                        None
                    }
                    Err(reason) => Some(reason),
                };
                if let Some(reason) = reason {
                    into.rejected.push(self.rejected(reason, values));
                }
            });
            self.read += 1;
            if bytes > MAX_BATCH_BYTES {
                break;
            }
        }
        Ok(Polled::Ready)
    }

    fn position(&self, batch: &Batch<R>, next: usize) -> SourcePosition {
        match SourcePosition::of_record(batch, next, position(self.read)) {
            SourcePosition::Line { line, byte, .. } => {
                SourcePosition::Line { line, byte, fingerprint: (byte > 0).then_some(self.fingerprint) }
            }
            partitions @ SourcePosition::Partitions { .. } => partitions,
        }
    }

    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let other = |what: String| SourceError {
            source_name: self.name.clone(),
            position: None,
            what,
            advice: "this is not the file that was read before: restore it, or start without the saved state".into(),
            cause: None,
        };
        // Snapshots of versions before have no fingerprint.
        let target = match *position {
            SourcePosition::Line { fingerprint: Some(known), .. } if known != self.fingerprint => {
                return Err(other("its length, or its first or last bytes, differ from those that were read".into()));
            }
            SourcePosition::Line { byte, .. } if byte <= self.total => byte,
            _ => return Err(other(format!("the file has {} rows", self.total))),
        };
        let failed = |error: ParquetError| failure(&self.name, target, &error);
        let reader = open_from(&self.path, target).map_err(failed)?;
        let kept = u64::try_from(reader.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).sum::<i64>());
        let before = self.total - kept.unwrap_or(0).min(self.total);
        self.rows = rows(reader, &self.projection).map_err(failed)?;
        self.read = before;
        while self.read < target {
            let rows = &mut self.rows;
            let skipped = guarded(|| rows.next().transpose());
            if skipped.map_err(|error| failure(&self.name, self.read, &error))?.is_none() {
                break;
            }
            self.read += 1;
        }
        Ok(())
    }
}
