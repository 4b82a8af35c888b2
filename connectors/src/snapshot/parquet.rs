use std::sync::{Arc, LazyLock};

use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use ::parquet::schema::types::{ColumnPath, TypePtr};
use bytes::Bytes;
use schema::{check_name, id64};
use xxhash_rust::xxh3::Xxh3;

use super::interactions::{Interaction, Record, Stamp};
use super::names::Names;
use super::{Codec, CodecError, Interactions};

/// Apache Parquet, the default: small, and open to everything that reads tables. Columns `user`, `item` (UTF-8),
/// `level` (32-bit integer) and `ts` (timestamp in milliseconds, UTC), packed with Zstandard.
///
/// Pages have no checksums of their own that readers must look at, so the file's metadata holds one of all rows,
/// `deltarec.rows`: the XXH3-64 of each row's user, byte 255, item, byte 255 and `ts << 8 | level` (64 bits, little
/// endian), as 16 hexadecimal digits.
pub struct Parquet;

const ROWS: &str = "deltarec.rows";

/// Rows that are written, and read, together.
const ROW_GROUP: usize = 1 << 20;
const BATCH: usize = 8192;

/// Names are repeated from row to row: beyond a dictionary of this size they are written out each time.
const DICTIONARY: usize = 16 << 20;

static SCHEMA: LazyLock<TypePtr> = LazyLock::new(|| {
    let text = "message interactions {
        REQUIRED BINARY user (STRING);
        REQUIRED BINARY item (STRING);
        REQUIRED INT32 level;
        REQUIRED INT64 ts (TIMESTAMP(MILLIS, true));
    }";
    Arc::new(parse_message_type(text).expect("the schema is valid"))
});

impl Codec for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn encode(&self, rows: &Interactions) -> Result<Vec<u8>, CodecError> {
        write(rows).map_err(|error| CodecError::Unwritable(error.to_string()))
    }

    fn decode(&self, file: &Bytes) -> Result<Interactions, CodecError> {
        read(file.clone())
    }
}

fn write(rows: &Interactions) -> Result<Vec<u8>, ParquetError> {
    let (users, items) = rows.tables();
    let (user_text, item_text) = (shared(users), shared(items));
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, Arc::clone(&SCHEMA), properties(rows)?)?;
    for records in rows.records().chunks(ROW_GROUP) {
        let mut group = writer.next_row_group()?;
        column::<ByteArrayType>(&mut group, records, |record| slice(users, &user_text, record.user))?;
        column::<ByteArrayType>(&mut group, records, |record| slice(items, &item_text, record.item))?;
        column::<Int32Type>(&mut group, records, |record| i32::from(Stamp(record.stamp).level()))?;
        column::<Int64Type>(&mut group, records, |record| Stamp(record.stamp).ts().cast_signed())?;
        group.close()?;
    }
    writer.close()?;
    Ok(file)
}

fn properties(rows: &Interactions) -> Result<WriterPropertiesPtr, ParquetError> {
    let checksum = KeyValue::new(ROWS.to_owned(), checksum(rows));
    let properties = WriterProperties::builder()
        .set_created_by(format!("deltarec {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd::DEFAULT_COMPRESSION_LEVEL)?))
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_column_dictionary_enabled(ColumnPath::from("ts"), false)
        .set_column_encoding(ColumnPath::from("ts"), Encoding::DELTA_BINARY_PACKED)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(vec![checksum]));
    Ok(Arc::new(properties.build()))
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    records: &[Record],
    value: impl Fn(&Record) -> T::T,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the schema has no further column".into()));
    };
    let mut values = Vec::with_capacity(BATCH.min(records.len()));
    for batch in records.chunks(BATCH) {
        values.clear();
        values.extend(batch.iter().map(&value));
        column.typed::<T>().write_batch(&values, None, None)?;
    }
    column.close()
}

/// One copy of all names, which the values of all rows share.
fn shared(names: &Names) -> Bytes {
    Bytes::copy_from_slice(names.text().as_bytes())
}

fn slice(names: &Names, text: &Bytes, number: u32) -> ByteArray {
    let start = names.start(number);
    ByteArray::from(text.slice(start..start + names.name(number).len()))
}

fn checksum(rows: &Interactions) -> String {
    let mut hash = Xxh3::new();
    for Interaction { user, item, ts, level } in rows.iter() {
        hash.update(user.as_bytes());
        hash.update(&[255]);
        hash.update(item.as_bytes());
        hash.update(&[255]);
        hash.update(&(ts << 8 | u64::from(level)).to_le_bytes());
    }
    format!("{:016x}", hash.digest())
}

fn read(file: Bytes) -> Result<Interactions, CodecError> {
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let metadata = reader.metadata().file_metadata();
    // Columns are read as the types they should be: any other would be a panic of the library.
    if metadata.schema() != SCHEMA.as_ref() {
        return Err(CodecError::Foreign("another program: its columns are not user, item, level, ts".into()));
    }
    let expected = metadata.key_value_metadata().and_then(|pairs| pairs.iter().find(|pair| pair.key == ROWS));
    let expected = expected
        .and_then(|pair| pair.value.clone())
        .ok_or_else(|| CodecError::Foreign(format!("another program: it has no {ROWS} in its metadata")))?;
    let mut rows = Interactions::default();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(unreadable)?;
        read_group(group.as_ref(), &mut rows)?;
    }
    if checksum(&rows) != expected {
        return Err(CodecError::damaged("the checksum of its rows is wrong"));
    }
    Ok(rows)
}

fn read_group(group: &dyn RowGroupReader, rows: &mut Interactions) -> Result<(), CodecError> {
    let mut users = Column::<ByteArrayType>::open(group, 0)?;
    let mut items = Column::<ByteArrayType>::open(group, 1)?;
    let mut levels = Column::<Int32Type>::open(group, 2)?;
    let mut times = Column::<Int64Type>::open(group, 3)?;
    loop {
        let (users, items, levels, times) = (users.next()?, items.next()?, levels.next()?, times.next()?);
        if [items.len(), levels.len(), times.len()] != [users.len(); 3] {
            return Err(CodecError::damaged("its columns are of different length"));
        }
        if users.is_empty() {
            return Ok(());
        }
        for (((user, item), level), ts) in users.iter().zip(items).zip(levels).zip(times) {
            let (user, item) = (name(user)?, name(item)?);
            let (ts, level) = (u64::try_from(*ts).unwrap_or(u64::MAX), u8::try_from(*level).unwrap_or(0));
            if Stamp::new(ts, level).is_none() {
                return Err(CodecError::damaged("a time or a level that no event has"));
            }
            rows.push((id64(user), user), (id64(item), item), ts, level);
        }
    }
}

fn name(value: &ByteArray) -> Result<&str, CodecError> {
    let name = value.as_utf8().map_err(unreadable)?;
    check_name("name", name).map_err(|reason| CodecError::damaged(format!("a name that cannot be: {reason}")))?;
    Ok(name)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn unreadable(error: ParquetError) -> CodecError {
    CodecError::Damaged(error.to_string())
}

/// One column of a row group, read in batches.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
}

impl<T: DataType> Column<T> {
    fn open(group: &dyn RowGroupReader, column: usize) -> Result<Self, CodecError> {
        let reader = group.get_column_reader(column).map_err(unreadable)?;
        Ok(Column { reader: get_typed_column_reader(reader), values: Vec::with_capacity(BATCH) })
    }

    /// The next values, at most [`BATCH`]; none at the end.
    fn next(&mut self) -> Result<&[T::T], CodecError> {
        self.values.clear();
        self.reader.read_records(BATCH, None, None, &mut self.values).map_err(unreadable)?;
        Ok(&self.values)
    }
}
