//! CSV and Parquet.

use std::fs::File;
use std::sync::Arc;

use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use connectors::{Format, InputOptions, InputUri, open_source};
use schema::{Control, ControlScope, Wish};

use super::{csv, drain, forget, not_interested, open, read, switch};

#[test]
fn an_empty_cell_and_a_word_for_no_value_are_no_value() {
    let outcome = csv("user,control,scope,target,ts,undo,id\n\
         u1,not_interested,,p1,1763900000000,,\n\
         u1,less,category,A>B,2025-11-23,TRUE,c2\n\
         u1,forget,all,NULL,3,false,NULL\n\
         u1,forget,item,p1,3,,\n\
         u1,pause,NULL,,4,False,\n");
    assert_eq!(outcome.reasons, []);
    let records: Vec<_> = outcome.records.into_iter().map(|record| (record.ts, record.control, record.id)).collect();
    let less = switch(Wish::Less, ControlScope::Category, "A > B", false);
    let expected = [
        (1_763_900_000_000, not_interested(ControlScope::Item, "p1"), None),
        (1_763_856_000_000, less, Some("c2".to_owned())),
        (3, forget(None), None),
        (3, forget(Some("p1")), None),
        (4, Control::Pause, None),
    ];
    assert_eq!(records, expected);
}

#[test]
fn rows_of_csv_are_rejected_for_the_same_reasons() {
    for (row, code) in [
        ("u1,more,,x,1,", "unknown_control"),
        ("u1,,,x,1,", "missing:control"),
        (",pause,,,1,", "missing:user"),
        ("NULL,pause,,,1,", "missing:user"),
        ("u1,pause,,,,", "missing:ts"),
        ("u1,pause,,,NULL,", "missing:ts"),
        ("u1,pause,,p1,1,", "target_not_allowed"),
        ("u1,less,item,p1,1,", "scope_not_allowed"),
        ("u1,not_interested,host,,1,", "no_target"),
        ("u1,not_interested,category,A > ,1,", "wrong_type:target"),
        ("u1,forget,item,,1,", "no_target"),
        ("u1,forget,,,1,", "no_target"),
        ("u1,less,all,,1,", "scope_not_allowed"),
        ("u1,forget,host,h,1,", "forget_needs_items"),
        ("u1,forget,,p1,1,true", "cannot_be_undone"),
        ("u1,pause,,,1,yes", "wrong_type:undo"),
        ("u1,pause,,,1,1", "wrong_type:undo"),
    ] {
        assert_eq!(csv(format!("user,control,scope,target,ts,undo\n{row}\n")).codes(), [code], "{row}");
    }
    assert_eq!(csv(b"user,control,target,ts\nu1,not_interested,\xff,1\n").codes(), ["not_utf8"]);
}

#[test]
fn a_file_needs_the_columns_of_the_user_the_control_the_time_and_those_that_were_named() {
    let outcome = csv("user,control,ts\nu1,pause,1\nu1,forget,1\n");
    assert_eq!(outcome.records.len(), 1);
    assert_eq!(outcome.codes(), ["no_target"], "a forget of everything is not guessed");
    let error = open("viewer,control,target\n", Format::Csv, &InputOptions::default()).err().unwrap();
    let message = error.to_string();
    assert!(error.is_usage() && message.contains("no column `user`, `ts`"), "{message}");
    assert!(message.contains("--control-columns user=viewer"), "{message}");
    let mut options = InputOptions::default();
    options.set_of_controls("columns", "user=viewer,target=sku,ts=at:s").unwrap();
    let error = open("viewer,control,at\n", Format::Csv, &options).err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("no column `sku`"), "{error}");
    let outcome = read("viewer,control,at,sku,target\nu1,not_interested,7,p1,x\n", Format::Csv, &options);
    let found = &outcome.records[0];
    assert_eq!((found.ts, &found.control), (7_000, &not_interested(ControlScope::Item, "p1")));
}

const SCHEMA: &str = "message controls {
    required binary user (utf8); required binary control (utf8); optional binary target (utf8);
    required int64 ts (timestamp(micros, true)); optional boolean undo;
}";

#[test]
fn reads_columns_of_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controls.parquet");
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
    for index in 0..5 {
        let mut column = group.next_column().unwrap().unwrap();
        let mut write = |values: &[&str], defined: Option<&[i16]>| {
            column.typed::<ByteArrayType>().write_batch(&texts(values), defined, None).unwrap()
        };
        match index {
            0 => write(&["u1", "u2", "u3"], None),
            1 => write(&["not_interested", "pause", "more"], None),
            2 => write(&["p1"], Some(&[1, 0, 0])),
            3 => {
                let times = [1_763_900_000_000_999, 2_000, 3_000];
                column.typed::<Int64Type>().write_batch(&times, None, None).unwrap()
            }
            _ => column.typed::<BoolType>().write_batch(&[true, false], Some(&[1, 0, 1]), None).unwrap(),
        };
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let input: InputUri = path.to_str().unwrap().parse().unwrap();
    let outcome = drain(open_source(&input.uri, &InputOptions::default()).unwrap());
    assert_eq!(outcome.codes(), ["unknown_control"]);
    let found: Vec<_> = outcome.records.into_iter().map(|record| (record.ts, record.control)).collect();
    let undone = switch(Wish::NotInterested, ControlScope::Item, "p1", false);
    assert_eq!(found, [(1_763_900_000_000, undone), (2, Control::Pause)]);
}
