//! Files of the catalogue. Columns are `item` and `field` (UTF-8), `ts` (timestamp in milliseconds, UTC) and `value`
//! (UTF-8, null for no value), compressed with Zstandard.

use std::sync::LazyLock;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::reader::{FileReader, RowGroupReader};
use ::parquet::schema::types::TypePtr;
use bytes::Bytes;
use schema::MAX_TS;

use super::{Column, ROW_GROUP, column, columns, name, optional_column, read_file, unreadable, write_file};
use crate::CodecError;
use crate::catalogue::{CatalogueRow, CatalogueRows};

static SCHEMA: LazyLock<TypePtr> = LazyLock::new(|| {
    columns(
        "message catalogue {
            REQUIRED BINARY item (STRING);
            REQUIRED BINARY field (STRING);
            REQUIRED INT64 ts (TIMESTAMP(MILLIS, true));
            OPTIONAL BINARY value (STRING);
        }",
    )
});

/// Encodes a whole file. Decoding it returns the rows in the same order.
pub(crate) fn encode(rows: &CatalogueRows) -> Result<Vec<u8>, CodecError> {
    if let Some(row) = rows.iter().find(|row| row.ts > MAX_TS) {
        return Err(CodecError::Unwritable(format!("item `{}` has a time out of range", row.item)));
    }
    let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    write_file(&SCHEMA, |writer| {
        let mut left = rows.iter();
        while left.len() > 0 {
            let rows: Vec<CatalogueRow<'_>> = left.by_ref().take(ROW_GROUP).collect();
            let mut group = writer.next_row_group()?;
            column::<ByteArrayType, _>(&mut group, &rows, |row| text(row.item))?;
            column::<ByteArrayType, _>(&mut group, &rows, |row| text(row.field))?;
            column::<Int64Type, _>(&mut group, &rows, |row| row.ts.cast_signed())?;
            optional_column::<ByteArrayType, _>(&mut group, &rows, |row| row.value.map(text))?;
            group.close()?;
        }
        Ok(())
    })
}

/// Decodes a whole file. Any bytes are safe: a damaged file, or one of other columns, is an error.
pub(crate) fn decode(file: &Bytes) -> Result<CatalogueRows, CodecError> {
    read_file(file, |file| {
        // The library panics when a column is read as another type, so the schema is checked first.
        if file.metadata().file_metadata().schema() != SCHEMA.as_ref() {
            return Err(CodecError::Foreign("another program: its columns are not item, field, ts, value".into()));
        }
        let mut rows = CatalogueRows::default();
        for group in 0..file.num_row_groups() {
            read_group(file.get_row_group(group).map_err(unreadable)?.as_ref(), &mut rows)?;
        }
        Ok(rows)
    })
}

fn read_group(group: &dyn RowGroupReader, rows: &mut CatalogueRows) -> Result<(), CodecError> {
    let mut items = Column::<ByteArrayType>::open(group, 0)?;
    let mut fields = Column::<ByteArrayType>::open(group, 1)?;
    let mut times = Column::<Int64Type>::open(group, 2)?;
    let mut values = Column::<ByteArrayType>::open(group, 3)?;
    loop {
        let (items, fields, times) = (items.next()?, fields.next()?, times.next()?);
        let (values, has_value) = values.next_optional()?;
        if [fields.len(), times.len(), has_value.len()] != [items.len(); 3] {
            return Err(CodecError::damaged("its columns are of different length"));
        }
        if items.is_empty() {
            return Ok(());
        }
        let mut values = values.iter();
        for (((item, field), ts), has_value) in items.iter().zip(fields).zip(times).zip(has_value) {
            let Some(ts) = u64::try_from(*ts).ok().filter(|ts| *ts <= MAX_TS) else {
                return Err(CodecError::damaged("a time out of range"));
            };
            let value = if *has_value == 1 { values.next() } else { None };
            let value = value.map(ByteArray::as_utf8).transpose().map_err(unreadable)?;
            rows.push(name(item)?, field.as_utf8().map_err(unreadable)?, ts, value);
        }
    }
}
