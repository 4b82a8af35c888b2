//! Parquet files as other programs write them.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression as Codec, GzipLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use connectors::{
    Batch, InputOptions, InputUri, OpenError, Polled, Source, SourcePosition, begins_as_before, open_source,
};
use schema::{Event, Position};

use crate::support::{Outcome, columns, drain};

const SCHEMA: &str = "message log {
    required int64 user_id; optional binary item (utf8); required binary action (utf8);
    required int64 at (timestamp(micros, true)); optional double dwell; required int32 price (decimal(9, 2));
    optional group session { required int64 start (timestamp(nanos, true)); }
}";

/// Rows: two out of three have an item.
const ROWS: i64 = 2000;
const GROUP: i64 = 700;

fn start() -> i64 {
    1_700_000_000_000
}

fn write(path: &Path, codec: Codec) {
    let properties = WriterProperties::builder().set_compression(codec).build();
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for first in (0..ROWS).step_by(GROUP as usize) {
        let rows: Vec<i64> = (first..(first + GROUP).min(ROWS)).collect();
        let mut group = writer.next_row_group().unwrap();
        let text = |text: String| ByteArray::from(text.into_bytes());
        for column in 0..7 {
            let mut writer = group.next_column().unwrap().unwrap();
            match column {
                0 => {
                    writer.typed::<Int64Type>().write_batch(&rows, None, None).unwrap();
                }
                1 => {
                    let defined: Vec<i16> = rows.iter().map(|row| i16::from(row % 3 != 0)).collect();
                    let items: Vec<ByteArray> =
                        rows.iter().filter(|row| *row % 3 != 0).map(|row| text(format!("p{}", row % 50))).collect();
                    writer.typed::<ByteArrayType>().write_batch(&items, Some(&defined), None).unwrap();
                }
                2 => {
                    let actions: Vec<ByteArray> = rows.iter().map(|_| text("watch".into())).collect();
                    writer.typed::<ByteArrayType>().write_batch(&actions, None, None).unwrap();
                }
                3 => {
                    let micros: Vec<i64> = rows.iter().map(|row| (start() + row) * 1000 + 7).collect();
                    writer.typed::<Int64Type>().write_batch(&micros, None, None).unwrap();
                }
                4 => {
                    let dwell: Vec<f64> = rows.iter().map(|_| 41_000.5).collect();
                    writer.typed::<DoubleType>().write_batch(&dwell, Some(&vec![1; rows.len()]), None).unwrap();
                }
                5 => {
                    let prices: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
                    writer.typed::<Int32Type>().write_batch(&prices, None, None).unwrap();
                }
                _ => {
                    let nanos: Vec<i64> = rows.iter().map(|row| (start() + row) * 1_000_000 + 7).collect();
                    writer.typed::<Int64Type>().write_batch(&nanos, Some(&vec![1; rows.len()]), None).unwrap();
                }
            }
            writer.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn open(path: &Path, options: &InputOptions) -> Result<Box<dyn Source>, OpenError> {
    let input: InputUri = path.to_str().unwrap().parse()?;
    open_source::<Event>(&input.uri, options)
}

fn options() -> InputOptions {
    columns("user=user_id,ts=at,dwell_ms=dwell")
}

#[test]
fn reads_columns_of_all_types_from_all_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.parquet");
    for codec in [Codec::UNCOMPRESSED, Codec::SNAPPY, Codec::GZIP(GzipLevel::default()), Codec::LZ4_RAW] {
        write(&path, codec);
        for options in [options(), columns("user=user_id,ts=session.start,dwell_ms=dwell")] {
            let outcome = drain(open(&path, &options).unwrap().as_mut());
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert_eq!(outcome.events.len() + outcome.rejected.len(), ROWS as usize);
            assert!(outcome.rejected.iter().all(|rejected| rejected.reason.code() == "missing:item"));
            assert_eq!(outcome.rejected.len(), 667);
            assert_eq!(outcome.rejected[1].place(), format!("{}:4", path.display()));
            for event in &outcome.events {
                let row = event.line().cast_signed() - 1;
                assert_eq!((event.user.clone(), event.item.clone()), (row.to_string(), format!("p{}", row % 50)));
                assert_eq!((event.ts.cast_signed(), event.dwell_ms), (start() + row, Some(41_000)));
            }
        }
    }
    // A decimal is compared as a number.
    let mut filtered = options();
    filtered.set("where", "price<1.00").unwrap();
    assert_eq!(drain(open(&path, &filtered).unwrap().as_mut()).events.len(), 66);
}

#[test]
fn resumes_at_any_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.parquet");
    write(&path, Codec::SNAPPY);
    let whole = drain(open(&path, &options()).unwrap().as_mut());
    for row in [0, 1, 699, 700, 701, 1399, 1999, 2000] {
        let mut source = open(&path, &options()).unwrap();
        source.resume_at(&SourcePosition::from(Position::Line { line: row + 1, byte: row })).unwrap();
        let position = source.position(&Batch::default(), 0);
        assert!(
            matches!(position, SourcePosition::Line { line, byte, fingerprint } if (line, byte, fingerprint.is_some())
                == (row + 1, row, row > 0)),
            "{row}: {position:?}"
        );
        let rest = drain(source.as_mut());
        let expected: Vec<_> = whole.events.iter().filter(|event| event.line() > row).cloned().collect();
        assert_eq!(rest.events, expected, "{row}");
    }
    let beyond = SourcePosition::from(Position::Line { line: 2002, byte: 2001 });
    assert!(open(&path, &options()).unwrap().resume_at(&beyond).unwrap_err().to_string().contains("2000 rows"));
}

#[test]
fn a_file_that_is_not_whole_is_an_error_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.parquet");
    write(&path, Codec::SNAPPY);
    let whole = fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], b"", b"user,item\n"] {
        fs::write(&path, bytes).unwrap();
        let error = open(&path, &options()).err().expect("is an error");
        assert!(!error.is_usage() && error.to_string().contains("cut off, damaged or not Parquet"), "{error}");
    }
    // Damage in the data: an error, or other values, and never a panic of the program.
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x15;
        fs::write(&path, bytes).unwrap();
        if let Ok(mut source) = open(&path, &options()) {
            let (mut outcome, mut batch) = (Outcome::default(), Batch::default());
            while matches!(source.poll(&mut batch), Ok(polled) if polled != Polled::Finished) {
                outcome.take(&batch);
                batch.clear();
            }
            assert!(outcome.events.len() <= ROWS as usize);
        }
    }
}

/// As a file of lines, a Parquet file is known by its contents.
#[test]
fn another_file_in_its_place_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.parquet");
    write(&path, Codec::UNCOMPRESSED);
    let whole = fs::read(&path).unwrap();
    let uri = path.to_str().unwrap().parse::<InputUri>().unwrap().uri;
    let mut source = open(&path, &options()).unwrap();
    let start = source.position(&Batch::default(), 0);
    assert!(matches!(start, SourcePosition::Line { fingerprint: None, .. }));
    assert_eq!(begins_as_before(&uri, &start), None);
    let mut batch = Batch::default();
    source.poll(&mut batch).unwrap();
    let position = source.position(&batch, 300);
    let stored = serde_json::to_string(&position).unwrap();
    assert_eq!(serde_json::from_str::<SourcePosition>(&stored).unwrap(), position);
    assert_eq!(begins_as_before(&uri, &position), Some(true));
    open(&path, &options()).unwrap().resume_at(&position).unwrap();
    // Positions of earlier versions have no fingerprint.
    let SourcePosition::Line { line, byte, .. } = position else { panic!("{position:?}") };
    open(&path, &options()).unwrap().resume_at(&SourcePosition::Line { line, byte, fingerprint: None }).unwrap();
    // Other contents, and another form of the same ones.
    let refused = |what: &str| {
        let error = open(&path, &options()).unwrap().resume_at(&position).unwrap_err();
        assert!(
            error.cause.is_none() && error.to_string().contains("is not the file that was read"),
            "{what}: {error}"
        );
    };
    write(&path, Codec::GZIP(GzipLevel::default()));
    refused("compressed");
    assert_eq!(begins_as_before(&uri, &position), Some(false));
    let mut changed = whole.clone();
    changed[100] ^= 1;
    fs::write(&path, changed).unwrap();
    refused("a byte at the start");
    assert_eq!(begins_as_before(&uri, &position), Some(false));
}

#[test]
fn a_missing_column_is_a_usage_error_with_the_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.parquet");
    write(&path, Codec::UNCOMPRESSED);
    let error = open(&path, &InputOptions::default()).err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("`session.start`"), "{error}");
}
