use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use ::parquet::schema::types::TypePtr;
use bytes::Bytes;
use schema::{Effect, IdKey, MAX_TS};

use super::{Column, ROW_GROUP, column, name, read_file, unreadable, write_file};
use crate::interactions::Stamp;
use crate::names::NameTable;
use crate::{Codec, CodecError, Interactions};

/// Apache Parquet, the default codec: small, and readable by many tools. Columns are `user`, `item` (UTF-8), `level`
/// (32-bit integer, the [code](Effect::code) of an event without one), `ts` (timestamp in milliseconds, UTC) and `room`
/// (UTF-8, empty for no room), compressed with Zstandard. All files have all columns, because most tools refuse a
/// folder of files that differ. Files of earlier versions without any room lack the last one. Each file has a checksum
/// of its own in its metadata.
pub struct Parquet;

static SCHEMA: LazyLock<TypePtr> = LazyLock::new(|| columns("REQUIRED BINARY room (STRING);"));
/// Of earlier versions.
static WITHOUT_ROOMS: LazyLock<TypePtr> = LazyLock::new(|| columns(""));

fn columns(more: &str) -> TypePtr {
    super::columns(&format!(
        "message interactions {{
            REQUIRED BINARY user (STRING);
            REQUIRED BINARY item (STRING);
            REQUIRED INT32 level;
            REQUIRED INT64 ts (TIMESTAMP(MILLIS, true));
            {more}
        }}"
    ))
}

impl Codec for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn encode(&self, rows: &Interactions) -> Result<Vec<u8>, CodecError> {
        let (users, items) = rows.tables();
        let (user_text, item_text) = (shared(users), shared(items));
        let (rooms, in_rooms) = rows.rooms();
        let room_text = shared(rooms);
        write_file(&SCHEMA, |writer| {
            for (n, records) in rows.records().chunks(ROW_GROUP).enumerate() {
                let mut group = writer.next_row_group()?;
                column::<ByteArrayType, _>(&mut group, records, |record| slice(users, &user_text, record.user))?;
                column::<ByteArrayType, _>(&mut group, records, |record| slice(items, &item_text, record.item))?;
                column::<Int32Type, _>(&mut group, records, |record| i32::from(Stamp(record.stamp).code()))?;
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
            Ok(())
        })
    }

    fn decode(&self, file: &Bytes) -> Result<Interactions, CodecError> {
        read_file(file, read)
    }
}

/// One copy of all names, shared by the values of all rows.
fn shared(names: &NameTable) -> Bytes {
    Bytes::copy_from_slice(names.text().as_bytes())
}

fn slice(names: &NameTable, text: &Bytes, number: u32) -> ByteArray {
    let start = names.start(number);
    ByteArray::from(text.slice(start..start + names.name(number).len()))
}

fn read(file: &SerializedFileReader<Bytes>) -> Result<Interactions, CodecError> {
    // The library panics when a column is read as another type, so the schema is checked first.
    let schema = file.metadata().file_metadata().schema();
    let has_rooms = schema == SCHEMA.as_ref();
    if !has_rooms && schema != WITHOUT_ROOMS.as_ref() {
        return Err(CodecError::Foreign("another program: its columns are not user, item, level, ts, room".into()));
    }
    // Numbers the names of the file. Random, so that two of them never count as one, whatever the key of the state's
    // ids.
    let random = RandomState::new();
    let secret = format!("{:016x}{:016x}", random.hash_one(0_u8), random.hash_one(1_u8));
    let ids = IdKey::new(secret.as_bytes()).expect("32 digits are enough");
    let mut rows = Interactions::default();
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).map_err(unreadable)?;
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
            let ts = u64::try_from(*ts).ok().filter(|ts| *ts <= MAX_TS);
            let effect = u8::try_from(*level).ok().and_then(Effect::from_code);
            let Some((ts, effect)) = ts.zip(effect) else {
                return Err(CodecError::damaged("a time or a level out of range"));
            };
            rows.push((ids.id64(user), user), (ids.id64(item), item), ts, effect);
            if let Some(room) = rooms.map(|rooms| &rooms[row]).filter(|room| !room.is_empty()) {
                let room = name(room)?;
                rows.set_room(ids.id64(room), room);
            }
        }
    }
}
