//! CSV and Parquet.

use std::fs::File;
use std::sync::Arc;

use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use connectors::{Format, InputOptions, InputUri, OpenError, open_source};
use schema::Availability::{InStock, OutOfStock};
use schema::{ItemField, Statement};

use super::{available, csv, drain, fields, number, open, options, read, set, text};

#[test]
fn a_cell_of_csv_may_have_several_values() {
    let outcome = csv("item,category,room,tags,tags:size,colour,available,ts,title,price\n\
         p1,A>B| C ,r1|r2,new|hot,S||M,red,TRUE,2025-11-23,\"a|b\",59.00\n\
         p2,,NULL,|,,,False,1763900000000,,\n\
         p3,A,,,,,,,NULL,\n");
    assert_eq!(outcome.reasons, []);
    let records: Vec<_> = outcome.records.into_iter().map(|record| (record.ts, record.statement)).collect();
    let first = vec![
        (ItemField::Title, text("a|b")),
        (ItemField::Category, set(&["A > B", "C"])),
        (ItemField::Room, set(&["r1", "r2"])),
        (ItemField::Price, number(590_000)),
        (ItemField::Availability, available(InStock)),
        (ItemField::Tags(0), set(&["hot", "new"])),
        (ItemField::Tags(1), set(&["M", "S"])),
    ];
    let second =
        vec![(ItemField::Room, None), (ItemField::Availability, available(OutOfStock)), (ItemField::Tags(0), None)];
    let third = vec![(ItemField::Title, None), (ItemField::Category, set(&["A"]))];
    let expected = [(1_763_856_000_000, first), (1_763_900_000_000, second), (5, third)];
    assert_eq!(records, expected.map(|(ts, fields)| (ts, Statement::Fields(fields))));
}

#[test]
fn rows_of_csv_are_rejected_for_the_same_reasons() {
    let many = (0..33).map(|n| n.to_string()).collect::<Vec<_>>().join("|");
    for (header, cell, code) in [
        ("tags", many.as_str(), "too_many_values:tags"),
        ("tags", "new|brand:x", "reserved_tag"),
        ("tags", "new|NULL", "missing:tags"),
        ("price", "\"1,299.00\"", "wrong_type:price"),
        ("available", "yes", "wrong_type:available"),
        ("availability", "maybe", "unknown_availability"),
        ("deleted", "1", "wrong_type:deleted"),
        ("from", "tomorrow", "wrong_type:from"),
        ("ts", "-5", "time_out_of_range"),
    ] {
        assert_eq!(csv(format!("item,{header}\np1,{cell}\n")).codes(), [code], "{header}: {cell}");
    }
    assert_eq!(csv("item,available,availability\np1,true,in_stock\np2,true,\n").codes(), ["availability_twice"]);
    assert_eq!(csv("item,title\n,x\nNULL,x\np1,y\n").codes(), ["missing:item", "missing:item"]);
    assert_eq!(csv(b"item,title\np1,\xff\n").codes(), ["not_utf8"]);
    // What a quote that is never closed swallowed is read again.
    let text = format!("item,title\np1,\"{}\np2,b\np3,\"c\"\np4,d\n", "x".repeat(4097));
    let outcome = csv(text);
    assert_eq!(outcome.records.iter().map(|record| record.item.as_str()).collect::<Vec<_>>(), ["p2", "p3", "p4"]);
}

#[test]
fn a_file_needs_the_column_of_the_item_only() {
    let error = open("sku,title\np1,t\n", Format::Csv, &options()).err().unwrap();
    let message = error.to_string();
    assert!(error.is_usage() && message.contains("no column `item`; the header has `sku`, `title`"), "{message}");
    assert!(message.contains("--catalogue-columns item=sku") && !message.contains("--action"), "{message}");
    let mut named = options();
    named.set_of_catalogue("columns", "item=sku,title=name,price=cost").unwrap();
    assert_eq!(fields(read("sku,name,item\np1,t,x\n", Format::Csv, &named)), [(ItemField::Title, text("t"))]);
    let mut numbered = options();
    for (name, value) in [("header", "no"), ("delimiter", ";"), ("columns", "item=2,title=1")] {
        numbered.set_of_catalogue(name, value).unwrap();
    }
    let outcome = read("a;p1\n", Format::Csv, &numbered);
    assert_eq!(outcome.records[0].item, "p1");
    assert_eq!(fields(outcome), [(ItemField::Title, text("a"))]);
    let error = open("item,title,title\n", Format::Csv, &options()).err().unwrap();
    assert!(matches!(error, OpenError::RepeatedColumn { .. }), "{error}");
    let groups = (0..70).map(|n| n.to_string()).collect();
    let error = open("", Format::JsonLines, &InputOptions { tag_groups: groups, ..options() }).err().unwrap();
    assert!(matches!(error, OpenError::TooManyColumns { .. }) && error.is_usage(), "{error}");
}

const SCHEMA: &str = "message items {
    required binary item (utf8); optional binary title (utf8); optional double price; optional boolean available;
    optional int64 until (timestamp(micros, true));
    optional group category (list) { repeated group list { optional binary element (utf8); } }
    optional group tags { optional group size (list) { repeated group list { optional binary element (utf8); } } }
}";

#[test]
fn reads_columns_and_lists_of_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.parquet");
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
    // Three rows: one with all, one with nulls and empty lists, one with a value that is not valid.
    for index in 0..7 {
        let mut column = group.next_column().unwrap().unwrap();
        let write = |values: &[&str], defined: &[i16], repeated: &[i16], column: &mut _| {
            let column: &mut ::parquet::file::writer::SerializedColumnWriter<'_> = column;
            let repeated = (!repeated.is_empty()).then_some(repeated);
            column.typed::<ByteArrayType>().write_batch(&texts(values), Some(defined), repeated).unwrap();
        };
        match index {
            0 => {
                column.typed::<ByteArrayType>().write_batch(&texts(&["p1", "p2", "p3"]), None, None).unwrap();
            }
            1 => write(&["T", ""], &[1, 1, 0], &[], &mut column),
            2 => {
                column.typed::<DoubleType>().write_batch(&[59.99, 0.12345], Some(&[1, 0, 1]), None).unwrap();
            }
            3 => {
                column.typed::<BoolType>().write_batch(&[true], Some(&[1, 0, 0]), None).unwrap();
            }
            4 => {
                column.typed::<Int64Type>().write_batch(&[1_763_900_000_000_999], Some(&[1, 0, 0]), None).unwrap();
            }
            5 => write(&["A > B", "C"], &[3, 3, 1, 0], &[0, 1, 0, 0], &mut column),
            _ => write(&["M", "a|b"], &[4, 4, 1, 0], &[0, 1, 0, 0], &mut column),
        }
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let input: InputUri = path.to_str().unwrap().parse().unwrap();
    let outcome = drain(open_source(&input.uri, &options()).unwrap());
    assert_eq!(outcome.codes(), ["wrong_type:price"]);
    let statement = |index: usize| outcome.records[index].statement.clone();
    let first = vec![
        (ItemField::Title, text("T")),
        (ItemField::Category, set(&["A > B", "C"])),
        (ItemField::Price, number(599_900)),
        (ItemField::Availability, available(InStock)),
        (ItemField::Until, number(1_763_900_000_000)),
        (ItemField::Tags(1), set(&["M", "a|b"])),
    ];
    assert_eq!(statement(0), Statement::Fields(first));
    // Null is a value of the column, and states that the field has none.
    let nothing = [ItemField::Title, ItemField::Category, ItemField::Price, ItemField::Availability, ItemField::Until];
    let nothing = nothing.into_iter().chain([ItemField::Tags(1)]).map(|field| (field, None)).collect();
    assert_eq!(statement(1), Statement::Fields(nothing));
}
