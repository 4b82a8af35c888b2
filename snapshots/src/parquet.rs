//! The Parquet codec.

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
use schema::{IdKey, check_name};
use xxhash_rust::xxh3::Xxh3;

use crate::interactions::Stamp;
use crate::names::NameTable;
use crate::{Codec, CodecError, Interactions};

/// Apache Parquet, the default codec: small, and readable by many tools. Columns are `user`, `item` (UTF-8), `level`
/// (32-bit integer), `ts` (timestamp in milliseconds, UTC) and `room` (UTF-8, empty for no room), compressed with Zstandard.
/// All files have all columns, because most tools refuse a folder of files that differ. Files of earlier versions without
/// any room lack the last one.
///
/// Page checksums are optional in Parquet, the metadata has none, and the library panics on some damage. So the file has
/// its own checksum, verified before anything else is read: the value of `deltarec.xxh3` in its metadata is the XXH3-64 of
/// the whole file, with these 16 hexadecimal digits as zeros.
pub struct Parquet;

const SEAL: &str = "deltarec.xxh3";
const DIGITS: &[u8; 16] = b"0000000000000000";

/// Rows of a row group, and values that are written or read in one call.
const ROW_GROUP: usize = 1 << 20;
const BATCH: usize = 8192;

/// Limit of the dictionary in bytes. Beyond it, repeated names are written in full.
const DICTIONARY: usize = 16 << 20;

static SCHEMA: LazyLock<TypePtr> = LazyLock::new(|| columns("REQUIRED BINARY room (STRING);"));
/// Of earlier versions.
static WITHOUT_ROOMS: LazyLock<TypePtr> = LazyLock::new(|| columns(""));

fn columns(more: &str) -> TypePtr {
    let text = format!(
        "message interactions {{
            REQUIRED BINARY user (STRING);
            REQUIRED BINARY item (STRING);
            REQUIRED INT32 level;
            REQUIRED INT64 ts (TIMESTAMP(MILLIS, true));
            {more}
        }}"
    );
    Arc::new(parse_message_type(&text).expect("the schema is valid"))
}

impl Codec for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn encode(&self, rows: &Interactions) -> Result<Vec<u8>, CodecError> {
        write(rows).map_err(|error| CodecError::Unwritable(error.to_string()))
    }

    fn decode(&self, file: &Bytes) -> Result<Interactions, CodecError> {
        // Anyone who can write the state can write a right checksum too, and the library panics on some damage.
        catch_unwind(AssertUnwindSafe(|| read(file.clone())))
            .unwrap_or_else(|_| Err(CodecError::damaged("its reader failed")))
    }
}

fn write(rows: &Interactions) -> Result<Vec<u8>, ParquetError> {
    let (users, items) = rows.tables();
    let (user_text, item_text) = (shared(users), shared(items));
    let (rooms, in_rooms) = rows.rooms();
    let room_text = shared(rooms);
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, Arc::clone(&SCHEMA), properties()?)?;
    for (n, records) in rows.records().chunks(ROW_GROUP).enumerate() {
        let mut group = writer.next_row_group()?;
        column::<ByteArrayType, _>(&mut group, records, |record| slice(users, &user_text, record.user))?;
        column::<ByteArrayType, _>(&mut group, records, |record| slice(items, &item_text, record.item))?;
        column::<Int32Type, _>(&mut group, records, |record| i32::from(Stamp(record.stamp).level()))?;
        column::<Int64Type, _>(&mut group, records, |record| Stamp(record.stamp).ts().cast_signed())?;
        let numbers: Vec<u32> = (n * ROW_GROUP..n * ROW_GROUP + records.len())
            .map(|row| in_rooms.get(row).copied().unwrap_or_default())
            .collect();
        column::<ByteArrayType, _>(&mut group, &numbers, |room| match room {
            0 => ByteArray::from(Bytes::new()),
            room => slice(rooms, &room_text, room - 1),
        })?;
        group.close()?;
    }
    writer.close()?;
    let seal = seal(&file).ok_or_else(|| ParquetError::General("the metadata has no room for the checksum".into()))?;
    let digits = checksum(&file, seal);
    file[seal..seal + digits.len()].copy_from_slice(digits.as_bytes());
    Ok(file)
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

fn column<T: DataType, R>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    records: &[R],
    value: impl Fn(&R) -> T::T,
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

/// One copy of all names, shared by the values of all rows.
fn shared(names: &NameTable) -> Bytes {
    Bytes::copy_from_slice(names.text().as_bytes())
}

fn slice(names: &NameTable, text: &Bytes, number: u32) -> ByteArray {
    let start = names.start(number);
    ByteArray::from(text.slice(start..start + names.name(number).len()))
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

fn read(file: Bytes) -> Result<Interactions, CodecError> {
    let seal = seal(&file).ok_or_else(|| CodecError::damaged(format!("it has no {SEAL} in its metadata")))?;
    if checksum(&file, seal).as_bytes() != &file[seal..seal + DIGITS.len()] {
        return Err(CodecError::damaged("its checksum is wrong"));
    }
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    // The library panics when a column is read as another type, so the schema is checked first.
    let schema = reader.metadata().file_metadata().schema();
    let has_rooms = schema == SCHEMA.as_ref();
    if !has_rooms && schema != WITHOUT_ROOMS.as_ref() {
        return Err(CodecError::Foreign("another program: its columns are not user, item, level, ts, room".into()));
    }
    // Numbers the names of the file. Random, so that two of them never count as one, whatever the key of the state's ids.
    let random = RandomState::new();
    let secret = format!("{:016x}{:016x}", random.hash_one(0_u8), random.hash_one(1_u8));
    let ids = IdKey::new(secret.as_bytes()).expect("32 digits are enough");
    let mut rows = Interactions::default();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(unreadable)?;
        read_group(group.as_ref(), has_rooms, ids, &mut rows)?;
    }
    Ok(rows.without_ids())
}

fn read_group(
    group: &dyn RowGroupReader,
    has_rooms: bool,
    ids: IdKey,
    rows: &mut Interactions,
) -> Result<(), CodecError> {
    let mut users = Column::<ByteArrayType>::open(group, 0)?;
    let mut items = Column::<ByteArrayType>::open(group, 1)?;
    let mut levels = Column::<Int32Type>::open(group, 2)?;
    let mut times = Column::<Int64Type>::open(group, 3)?;
    let mut rooms = has_rooms.then(|| Column::<ByteArrayType>::open(group, 4)).transpose()?;
    loop {
        let (users, items, levels, times) = (users.next()?, items.next()?, levels.next()?, times.next()?);
        let rooms = rooms.as_mut().map(Column::next).transpose()?;
        let number_of_rooms = rooms.map_or(users.len(), <[_]>::len);
        if [items.len(), levels.len(), times.len(), number_of_rooms] != [users.len(); 4] {
            return Err(CodecError::damaged("its columns are of different length"));
        }
        if users.is_empty() {
            return Ok(());
        }
        for (row, (((user, item), level), ts)) in users.iter().zip(items).zip(levels).zip(times).enumerate() {
            let (user, item) = (name(user)?, name(item)?);
            let (ts, level) = (u64::try_from(*ts).unwrap_or(u64::MAX), u8::try_from(*level).unwrap_or(0));
            if Stamp::new(ts, level).is_none() {
                return Err(CodecError::damaged("a time or a level out of range"));
            }
            rows.push((ids.id64(user), user), (ids.id64(item), item), ts, level);
            if let Some(room) = rooms.map(|rooms| &rooms[row]).filter(|room| !room.is_empty()) {
                let room = name(room)?;
                rows.set_room(ids.id64(room), room);
            }
        }
    }
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
}

impl<T: DataType> Column<T> {
    fn open(group: &dyn RowGroupReader, column: usize) -> Result<Self, CodecError> {
        let reader = group.get_column_reader(column).map_err(unreadable)?;
        Ok(Column { reader: get_typed_column_reader(reader), values: Vec::with_capacity(BATCH) })
    }

    /// Reads the next values, at most [`BATCH`]; none at the end.
    fn next(&mut self) -> Result<&[T::T], CodecError> {
        self.values.clear();
        self.reader.read_records(BATCH, None, None, &mut self.values).map_err(unreadable)?;
        Ok(&self.values)
    }
}
