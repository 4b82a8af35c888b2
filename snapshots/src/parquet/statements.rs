//! Files of statements: of the catalogue and of the controls. Columns are the names of the owner and of the field (UTF-8),
//! `ts` (timestamp in milliseconds, UTC) and `value` (UTF-8, null for no value), compressed with Zstandard. The names of
//! the first two differ, so that a file of one kind is not read as one of the other.

use std::sync::LazyLock;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::reader::{FileReader, RowGroupReader};
use ::parquet::schema::types::TypePtr;
use bytes::Bytes;
use schema::MAX_TS;

use super::{Column, ROW_GROUP, column, columns, name, optional_column, read_file, unreadable, write_file};
use crate::statements::{StatementRow, StatementRows};
use crate::{CodecError, Kind};

/// The files of one kind of statements.
pub(crate) struct StatementFormat {
    pub(crate) kind: Kind,
    /// Names of its columns, for messages.
    columns: &'static str,
    schema: LazyLock<TypePtr>,
}

pub(crate) static CATALOGUE: StatementFormat = StatementFormat {
    kind: Kind::Catalogue,
    columns: "item, field, ts, value",
    schema: LazyLock::new(|| {
        columns(
            "message catalogue {
                REQUIRED BINARY item (STRING);
                REQUIRED BINARY field (STRING);
                REQUIRED INT64 ts (TIMESTAMP(MILLIS, true));
                OPTIONAL BINARY value (STRING);
            }",
        )
    }),
};

pub(crate) static CONTROLS: StatementFormat = StatementFormat {
    kind: Kind::Controls,
    columns: "user, control, ts, value",
    schema: LazyLock::new(|| {
        columns(
            "message controls {
                REQUIRED BINARY user (STRING);
                REQUIRED BINARY control (STRING);
                REQUIRED INT64 ts (TIMESTAMP(MILLIS, true));
                OPTIONAL BINARY value (STRING);
            }",
        )
    }),
};

impl StatementFormat {
    /// Encodes a whole file. Decoding it returns the rows in the same order.
    pub(crate) fn encode(&self, rows: &StatementRows) -> Result<Vec<u8>, CodecError> {
        if let Some(row) = rows.iter().find(|row| row.ts > MAX_TS) {
            let owner = self.kind.owner();
            return Err(CodecError::Unwritable(format!("{owner} `{}` has a time out of range", row.owner)));
        }
        let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        write_file(&self.schema, |writer| {
            let mut left = rows.iter();
            while left.len() > 0 {
                let rows: Vec<StatementRow<'_>> = left.by_ref().take(ROW_GROUP).collect();
                let mut group = writer.next_row_group()?;
                column::<ByteArrayType, _>(&mut group, &rows, |row| text(row.owner))?;
                column::<ByteArrayType, _>(&mut group, &rows, |row| text(row.field))?;
                column::<Int64Type, _>(&mut group, &rows, |row| row.ts.cast_signed())?;
                optional_column::<ByteArrayType, _>(&mut group, &rows, |row| row.value.map(text))?;
                group.close()?;
            }
            Ok(())
        })
    }

    /// Decodes a whole file. Any bytes are safe: a damaged file, or one of other columns, is an error.
    pub(crate) fn decode(&self, file: &Bytes) -> Result<StatementRows, CodecError> {
        read_file(file, |file| {
            // The library panics when a column is read as another type, so the schema is checked first.
            if file.metadata().file_metadata().schema() != self.schema.as_ref() {
                return Err(CodecError::Foreign(format!("another program: its columns are not {}", self.columns)));
            }
            let mut rows = StatementRows::default();
            for group in 0..file.num_row_groups() {
                read_group(file.get_row_group(group).map_err(unreadable)?.as_ref(), &mut rows)?;
            }
            Ok(rows)
        })
    }
}

fn read_group(group: &dyn RowGroupReader, rows: &mut StatementRows) -> Result<(), CodecError> {
    let mut owners = Column::<ByteArrayType>::open(group, 0)?;
    let mut fields = Column::<ByteArrayType>::open(group, 1)?;
    let mut times = Column::<Int64Type>::open(group, 2)?;
    let mut values = Column::<ByteArrayType>::open(group, 3)?;
    loop {
        let (owners, fields, times) = (owners.next()?, fields.next()?, times.next()?);
        let (values, has_value) = values.next_optional()?;
        if [fields.len(), times.len(), has_value.len()] != [owners.len(); 3] {
            return Err(CodecError::damaged("its columns are of different length"));
        }
        if owners.is_empty() {
            return Ok(());
        }
        let mut values = values.iter();
        for (((owner, field), ts), has_value) in owners.iter().zip(fields).zip(times).zip(has_value) {
            let Some(ts) = u64::try_from(*ts).ok().filter(|ts| *ts <= MAX_TS) else {
                return Err(CodecError::damaged("a time out of range"));
            };
            let value = if *has_value == 1 { values.next() } else { None };
            let value = value.map(ByteArray::as_utf8).transpose().map_err(unreadable)?;
            rows.push(name(owner)?, field.as_utf8().map_err(unreadable)?, ts, value);
        }
    }
}
