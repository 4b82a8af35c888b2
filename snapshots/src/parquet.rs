//! Files in Parquet.
//!
//! Page checksums are optional in Parquet, the metadata has none, and the library panics on some damage. So a file has
//! its own checksum, verified before anything else is read: the value of `deltarec.xxh3` in its metadata is the
//! XXH3-64 of the whole file, with these 16 hexadecimal digits as zeros.

mod interactions;
mod statements;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use ::parquet::file::reader::{RowGroupReader, SerializedFileReader};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use ::parquet::schema::types::{ColumnPath, TypePtr};
use bytes::Bytes;
use schema::check_name;
use xxhash_rust::xxh3::Xxh3;

pub use self::interactions::Parquet;
pub(crate) use self::statements::{CATALOGUE, CONTROLS, StatementFormat};
use crate::CodecError;

const SEAL: &str = "deltarec.xxh3";
const DIGITS: &[u8; 16] = b"0000000000000000";

/// Rows of a row group, and values that are written or read in one call.
const ROW_GROUP: usize = 1 << 20;
const BATCH: usize = 8192;

/// Limit of the dictionary in bytes. Beyond it, repeated texts are written in full.
const DICTIONARY: usize = 16 << 20;

/// Parses the schema of a file.
fn columns(text: &str) -> TypePtr {
    Arc::new(parse_message_type(text).expect("the schema is valid"))
}

/// Writes a whole file. `write_rows` writes its row groups.
fn write_file(
    schema: &TypePtr,
    write_rows: impl FnOnce(&mut SerializedFileWriter<&mut Vec<u8>>) -> Result<(), ParquetError>,
) -> Result<Vec<u8>, CodecError> {
    let write = || {
        let mut file = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut file, Arc::clone(schema), properties()?)?;
        write_rows(&mut writer)?;
        writer.close()?;
        let seal =
            seal(&file).ok_or_else(|| ParquetError::General("the metadata has no room for the checksum".into()))?;
        let digits = checksum(&file, seal);
        file[seal..seal + digits.len()].copy_from_slice(digits.as_bytes());
        Ok(file)
    };
    write().map_err(|error: ParquetError| CodecError::Unwritable(error.to_string()))
}

/// Reads a whole file after checking its checksum.
fn read_file<T>(
    file: &Bytes,
    read_rows: impl FnOnce(&SerializedFileReader<Bytes>) -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    let seal = seal(file).ok_or_else(|| CodecError::damaged(format!("it has no {SEAL} in its metadata")))?;
    if checksum(file, seal).as_bytes() != &file[seal..seal + DIGITS.len()] {
        return Err(CodecError::damaged("its checksum is wrong"));
    }
    // Anyone who can write the state can write a right checksum too, and the library panics on some damage.
    catch_unwind(AssertUnwindSafe(|| read_rows(&SerializedFileReader::new(file.clone()).map_err(unreadable)?)))
        .unwrap_or_else(|_| Err(CodecError::damaged("its reader failed")))
}

fn properties() -> Result<WriterPropertiesPtr, ParquetError> {
    let seal = KeyValue::new(SEAL.to_owned(), str::from_utf8(DIGITS).expect("digits").to_owned());
    let properties = WriterProperties::builder()
        .set_created_by(format!("deltarec {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd::DEFAULT_COMPRESSION_LEVEL)?))
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_column_dictionary_enabled(ColumnPath::from("ts"), false)
        .set_column_encoding(ColumnPath::from("ts"), Encoding::DELTA_BINARY_PACKED)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(vec![seal]));
    Ok(Arc::new(properties.build()))
}

/// Writes the next column of a row group.
fn column<T: DataType, R>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    records: &[R],
    value: impl Fn(&R) -> T::T,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Err(no_column()) };
    let mut values = Vec::with_capacity(BATCH.min(records.len()));
    for batch in records.chunks(BATCH) {
        values.clear();
        values.extend(batch.iter().map(&value));
        column.typed::<T>().write_batch(&values, None, None)?;
    }
    column.close()
}

/// Writes the next column of a row group, which may have nulls.
fn optional_column<T: DataType, R>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    records: &[R],
    value: impl Fn(&R) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Err(no_column()) };
    let (mut values, mut has_value) = (Vec::new(), Vec::new());
    for batch in records.chunks(BATCH) {
        values.clear();
        has_value.clear();
        for value in batch.iter().map(&value) {
            has_value.push(i16::from(value.is_some()));
            values.extend(value);
        }
        column.typed::<T>().write_batch(&values, Some(&has_value), None)?;
    }
    column.close()
}

fn no_column() -> ParquetError {
    ParquetError::General("the schema has no further column".into())
}

/// Position of the checksum's digits: after its key and two bytes that announce a text of 16 bytes. The metadata is at the
/// end of the file, so a name that looks like the key comes earlier.
fn seal(file: &[u8]) -> Option<usize> {
    let key = [SEAL.as_bytes(), &[0x18, DIGITS.len() as u8]].concat();
    let at = memchr::memmem::rfind(file, &key)? + key.len();
    (at + DIGITS.len() <= file.len()).then_some(at)
}

fn checksum(file: &[u8], seal: usize) -> String {
    let mut hash = Xxh3::new();
    for part in [&file[..seal], DIGITS.as_slice(), &file[seal + DIGITS.len()..]] {
        hash.update(part);
    }
    format!("{:016x}", hash.digest())
}

fn name(value: &ByteArray) -> Result<&str, CodecError> {
    let name = value.as_utf8().map_err(unreadable)?;
    check_name("name", name).map_err(|reason| CodecError::damaged(format!("an invalid name: {reason}")))?;
    Ok(name)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn unreadable(error: ParquetError) -> CodecError {
    CodecError::Damaged(error.to_string())
}

/// One column of a row group, read in batches.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
    /// For each row of a column that may have nulls 1 if it has a value, else 0.
    has_value: Vec<i16>,
}

impl<T: DataType> Column<T> {
    fn open(group: &dyn RowGroupReader, column: usize) -> Result<Self, CodecError> {
        let reader = group.get_column_reader(column).map_err(unreadable)?;
        let values = Vec::with_capacity(BATCH);
        Ok(Column { reader: get_typed_column_reader(reader), values, has_value: Vec::new() })
    }

    /// Reads the next values, at most [`BATCH`]; none at the end.
    fn next(&mut self) -> Result<&[T::T], CodecError> {
        self.values.clear();
        self.reader.read_records(BATCH, None, None, &mut self.values).map_err(unreadable)?;
        Ok(&self.values)
    }

    /// Reads the next rows of a column that may have nulls, as [`next`](Self::next): the values of the rows that have
    /// one, and for each row 1 if it has a value.
    fn next_optional(&mut self) -> Result<(&[T::T], &[i16]), CodecError> {
        self.values.clear();
        self.has_value.clear();
        let levels = Some(&mut self.has_value);
        self.reader.read_records(BATCH, levels, None, &mut self.values).map_err(unreadable)?;
        Ok((&self.values, &self.has_value))
    }
}
