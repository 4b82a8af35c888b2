//! Catalogue records: what fields mean in each format, and each reason of a rejection.

mod files;
mod properties;

use std::io::Cursor;

use connectors::{Batch, CatalogueRecord, Compression, Format, InputOptions, OpenError, Polled, Source, source_from};
use schema::Availability::{self, InStock, OutOfStock};
use schema::{FieldValue, ItemField, Position, Reason, Statement};

use crate::support::line_of;

/// A record with its own text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    item: String,
    ts: u64,
    statement: Statement,
}

#[derive(Debug, Default)]
struct Outcome {
    records: Vec<Owned>,
    lines: Vec<u64>,
    reasons: Vec<Reason>,
}

impl Outcome {
    fn codes(&self) -> Vec<String> {
        self.reasons.iter().map(Reason::code).collect()
    }
}

fn drain(mut source: Box<dyn Source<CatalogueRecord>>) -> Outcome {
    let (mut outcome, mut batch) = (Outcome::default(), Batch::default());
    loop {
        batch.clear();
        let polled = source.poll(&mut batch).unwrap();
        for index in 0..batch.len() {
            let record = batch.get(index).unwrap();
            assert_eq!(Some(record.position), batch.position(index));
            outcome.lines.push(line_of(record.position));
            let (item, statement) = (record.item.to_owned(), record.statement.clone());
            outcome.records.push(Owned { item, ts: record.ts, statement });
        }
        for rejected in &batch.rejected {
            let text = rejected.reason.to_string();
            assert!(text.len() < 1500 && !text.contains(['\n', '\u{1b}']), "{text}");
            outcome.lines.push(line_of(rejected.position));
            outcome.reasons.push(rejected.reason.clone());
        }
        if polled == Polled::Finished {
            return outcome;
        }
    }
}

/// Options with the tag groups `default`, `size` and `colour`. Records without a time have 5.
fn options() -> InputOptions {
    let tag_groups = ["default", "size", "colour"].map(str::to_owned).into();
    InputOptions { tag_groups, default_ts: Some(5), ..InputOptions::default() }
}

fn open(
    text: impl AsRef<[u8]>,
    format: Format,
    options: &InputOptions,
) -> Result<Box<dyn Source<CatalogueRecord>>, OpenError> {
    source_from("in", Cursor::new(text.as_ref().to_vec()), format, Compression::Plain, options)
}

fn read(text: impl AsRef<[u8]>, format: Format, options: &InputOptions) -> Outcome {
    drain(open(text, format, options).unwrap())
}

fn json(text: impl AsRef<[u8]>) -> Outcome {
    read(text, Format::JsonLines, &options())
}

fn csv(text: impl AsRef<[u8]>) -> Outcome {
    read(text, Format::Csv, &options())
}

/// What a record with these members besides its item states.
fn fields(outcome: Outcome) -> Vec<(ItemField, Option<FieldValue>)> {
    match outcome.records.into_iter().next().map(|record| record.statement) {
        Some(Statement::Fields(fields)) => fields,
        other => panic!("{other:?}, {:?}", outcome.reasons),
    }
}

fn of_json(members: &str) -> Vec<(ItemField, Option<FieldValue>)> {
    fields(json(format!(r#"{{"item":"p1",{members}}}"#)))
}

/// The reason why a record with these members besides its item is rejected.
fn reason(members: &str) -> Reason {
    let mut outcome = json(format!(r#"{{"item":"p1",{members}}}"#));
    assert!(outcome.records.is_empty(), "{members}: {:?}", outcome.records);
    outcome.reasons.remove(0)
}

fn code(members: &str) -> String {
    reason(members).code()
}

#[expect(clippy::unnecessary_wraps, reason = "a statement has a value or none")]
fn text(text: &str) -> Option<FieldValue> {
    Some(FieldValue::Text(text.into()))
}

fn set(texts: &[&str]) -> Option<FieldValue> {
    FieldValue::set(texts.iter().map(|text| (*text).to_owned()))
}

#[expect(clippy::unnecessary_wraps, reason = "a statement has a value or none")]
fn number(number: u64) -> Option<FieldValue> {
    Some(FieldValue::Number(number))
}

#[expect(clippy::unnecessary_wraps, reason = "a statement has a value or none")]
fn available(availability: Availability) -> Option<FieldValue> {
    Some(FieldValue::Availability(availability))
}

#[test]
fn reads_every_field_in_its_order() {
    let line = r#"{"item":77,"ts":1763900000000,"url":"https://x/p","image":"i.jpg","until":1763900000000,
        "from":"2025-11-23T12:00:00+00:00","availability":"https://schema.org/PreOrder","currency":"cny","price":59.9,
        "room":["r2","r1","r2"],"brand":"B","host":"H","category":"Beauty>Face","title":"T \u54c1",
        "group":"g","kind":"room",
        "tags":{"size":["M","S"],"default":"new","colour":null},"other":{"deep":[1]}}"#;
    let outcome = json(line.replace('\n', " "));
    assert_eq!((outcome.records[0].item.as_str(), outcome.records[0].ts), ("77", 1_763_900_000_000));
    let expected = vec![
        (ItemField::Kind, text("room")),
        (ItemField::Group, text("g")),
        (ItemField::Title, text("T 品")),
        (ItemField::Category, set(&["Beauty > Face"])),
        (ItemField::Host, text("H")),
        (ItemField::Brand, text("B")),
        (ItemField::Room, set(&["r1", "r2"])),
        (ItemField::Price, number(599_000)),
        (ItemField::Currency, text("CNY")),
        (ItemField::Availability, available(Availability::PreOrder)),
        (ItemField::From, number(1_763_899_200_000)),
        (ItemField::Until, number(1_763_900_000_000)),
        (ItemField::Image, text("i.jpg")),
        (ItemField::Url, text("https://x/p")),
        (ItemField::Tags(0), set(&["new"])),
        (ItemField::Tags(1), set(&["M", "S"])),
        (ItemField::Tags(2), None),
    ];
    assert_eq!(fields(outcome), expected);
}

#[test]
fn a_record_may_state_nothing_but_that_there_is_an_item() {
    let outcome = json("{\"item\":\"p1\"}\n\n{\"item\":\"p2\",\"deleted\":false,\"colour\":\"red\"}\n");
    assert_eq!((outcome.lines, outcome.reasons), (vec![1, 3], vec![]));
    assert!(outcome.records.iter().all(|record| record.statement == Statement::Fields(vec![])));
}

#[test]
fn null_an_empty_text_and_an_empty_list_state_that_there_is_no_value() {
    for nothing in ["null", "\"\"", "[]"] {
        for field in ItemField::ALL {
            let name = field.name().unwrap();
            if nothing == "[]" && !matches!(field, ItemField::Category | ItemField::Room) {
                assert_eq!(code(&format!(r#""{name}":[]"#)), format!("wrong_type:{name}"));
                continue;
            }
            assert_eq!(of_json(&format!(r#""{name}":{nothing}"#)), [(field, None)], "{nothing}");
        }
        assert_eq!(of_json(&format!(r#""tags":{nothing}"#)), [(ItemField::Tags(0), None)]);
        assert_eq!(of_json(&format!(r#""tags":{{"size":{nothing}}}"#)), [(ItemField::Tags(1), None)]);
    }
    assert_eq!(of_json(r#""available":null"#), [(ItemField::Availability, None)]);
    assert_eq!(of_json(r#""tags":{}"#), []);
    // Without a group of that name, no tags are no statement.
    let options = InputOptions { tag_groups: vec!["size".into()], ..options() };
    let outcome = read(r#"{"item":"p1","tags":[]}"#, Format::JsonLines, &options);
    assert_eq!(fields(outcome), []);
    let outcome = read(r#"{"item":"p1","tags":["a"]}"#, Format::JsonLines, &options);
    assert_eq!(outcome.codes(), ["unknown_tag_group"]);
}

#[test]
fn a_list_may_be_one_value() {
    assert_eq!(of_json(r#""room":"a|b""#), [(ItemField::Room, set(&["a|b"]))], "only a cell of CSV is a list");
    assert_eq!(of_json(r#""room":7"#), [(ItemField::Room, set(&["7"]))]);
    assert_eq!(of_json(r#""category":["A > B", 12, "A>B"]"#), [(ItemField::Category, set(&["12", "A > B"]))]);
    assert_eq!(of_json(r#""tags":"new""#), [(ItemField::Tags(0), set(&["new"]))]);
    assert_eq!(of_json(r#""tags":[1.0,"a"]"#), [(ItemField::Tags(0), set(&["1", "a"]))]);
    assert_eq!(of_json(r#""tags:size":["M"]"#), [(ItemField::Tags(1), set(&["M"]))]);
    let both = r#""tags":{"size":["S"],"colour":["red"]},"tags:size":["M"]"#;
    assert_eq!(of_json(both), [(ItemField::Tags(1), set(&["M"])), (ItemField::Tags(2), set(&["red"]))]);
}

#[test]
fn prices_are_exact_decimals() {
    for (price, expected) in [
        ("59", 590_000),
        ("\"59.00\"", 590_000),
        ("59.9", 599_000),
        ("0.0001", 1),
        ("\"0.00010\"", 1),
        ("0", 0),
        ("-0", 0),
        ("1e2", 1_000_000),
        ("100000000000", 1_000_000_000_000_000),
        // Not exact as a float.
        ("90071992547.4099", 900_719_925_474_099),
    ] {
        assert_eq!(of_json(&format!(r#""price":{price}"#)), [(ItemField::Price, number(expected))], "{price}");
    }
    for bad in ["0.00001", "-1", "100000000000.0001", "1e300", "\"1,299.00\"", "\"59 CNY\"", "true", "[1]", "{}", "NaN"]
    {
        assert_eq!(code(&format!(r#""price":{bad}"#)), "wrong_type:price", "{bad}");
    }
}

#[test]
fn available_is_another_spelling_of_availability() {
    assert_eq!(of_json(r#""available":true"#), [(ItemField::Availability, available(InStock))]);
    assert_eq!(of_json(r#""available":false"#), [(ItemField::Availability, available(OutOfStock))]);
    for bad in ["1", "\"true\"", "[]", "{}"] {
        assert_eq!(code(&format!(r#""available":{bad}"#)), "wrong_type:available", "{bad}");
    }
    for both in [r#""available":true,"availability":"in_stock""#, r#""available":null,"availability":null"#] {
        let reason = reason(both);
        assert_eq!(reason.code(), "availability_twice");
        assert!(reason.to_string().contains("`availability` and `available`"), "{reason}");
    }
    let unknown = reason(r#""availability":"maybe""#);
    assert_eq!(unknown.code(), "unknown_availability");
    assert!(unknown.to_string().contains("`maybe`: use in_stock") && unknown.to_string().ends_with("off_air, hidden"));
    assert_eq!(code(r#""availability":true"#), "wrong_type:availability");
}

#[test]
fn a_deletion_states_nothing_else_and_nothing_else_is_checked() {
    let outcome = json(r#"{"item":"p1","ts":7,"deleted":true,"title":[],"available":true,"availability":"x"}"#);
    let expected = Owned { item: "p1".into(), ts: 7, statement: Statement::Deleted };
    assert_eq!(outcome.records, [expected]);
    for kept in ["false", "null", "\"\""] {
        assert_eq!(of_json(&format!(r#""deleted":{kept},"title":"t""#)), [(ItemField::Title, text("t"))]);
    }
    for bad in ["1", "\"true\"", "[]"] {
        assert_eq!(code(&format!(r#""deleted":{bad}"#)), "wrong_type:deleted");
    }
    // A filter is for what is stated.
    let mut options = options();
    options.set_of_catalogue("where", "country=FR").unwrap();
    let lines = "{\"item\":\"p1\",\"deleted\":true}\n{\"item\":\"p2\"}\n{\"item\":\"p3\",\"country\":\"FR\"}\n";
    let outcome = read(lines, Format::JsonLines, &options);
    assert_eq!((outcome.records.len(), outcome.codes()), (2, vec!["filtered:country=FR".to_owned()]));
}

#[test]
fn times_are_milliseconds_or_text_unless_a_format_is_named() {
    let ts = |members: &str, options: &InputOptions| {
        let outcome = read(format!(r#"{{"item":"p1"{members}}}"#), Format::JsonLines, options);
        outcome.records.first().map(|record| record.ts).ok_or_else(|| outcome.codes().join(","))
    };
    let ok = |members: &str| ts(members, &options());
    assert_eq!(ok(r#","ts":1.7e12"#), Ok(1_700_000_000_000));
    assert_eq!(ok(r#","ts":"2025-11-23T20:00:00+08:00""#), Ok(1_763_899_200_000));
    for without in ["", r#","ts":null"#, r#","ts":"""#] {
        assert_eq!(ok(without), Ok(5), "{without}");
        assert_eq!(ts(without, &InputOptions { default_ts: None, ..options() }), Err("missing:ts".into()));
    }
    assert_eq!(ok(r#","ts":-1"#), Err("time_out_of_range".into()));
    assert_eq!(ok(r#","ts":9007199254740992"#), Err("time_out_of_range".into()));
    for bad in ["\"17\"", "1.5", "true", "[]", "\"yesterday\""] {
        assert_eq!(ok(&format!(r#","ts":{bad}"#)), Err("wrong_type:ts".into()), "{bad}");
    }
    // The time of all records, whatever they say.
    let fixed = InputOptions { fixed_ts: Some(9), ..options() };
    for anything in ["", r#","ts":[]"#, r#","ts":77"#] {
        assert_eq!(ts(anything, &fixed), Ok(9));
    }
    let mut named = options();
    named.set_of_catalogue("columns", "ts=meta.updated:s,from=start:us,until=end:%d.%m.%Y").unwrap();
    let line = r#"{"item":"p1","meta":{"updated":1700000000.5},"start":"17000000","end":"02.01.1970","ts":1}"#;
    let outcome = read(line, Format::JsonLines, &named);
    assert_eq!(outcome.records[0].ts, 1_700_000_000_500);
    assert_eq!(fields(outcome), [(ItemField::From, number(17_000)), (ItemField::Until, number(86_400_000))]);
    for (bad, expected) in [("-1", "wrong_type"), ("9007199254740992", "wrong_type"), ("\"17\"", "wrong_type")] {
        for field in ["from", "until"] {
            assert_eq!(code(&format!(r#""{field}":{bad}"#)), format!("{expected}:{field}"), "{bad}");
        }
    }
}

#[test]
fn each_bound_has_its_own_reason() {
    let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    for name in ["kind", "group", "host", "brand"] {
        assert_eq!(code(&format!(r#""{name}":{}"#, long(513))), format!("long_name:{name}"));
        assert_eq!(code(&format!(r#""{name}":1.5"#)), format!("wrong_type:{name}"));
        assert_eq!(code(&format!(r#""{name}":"NULL""#)), format!("missing:{name}"), "no name");
        assert_eq!(of_json(&format!(r#""{name}":{}"#, long(512))).len(), 1);
    }
    for name in ["title", "image", "url"] {
        let reason = reason(&format!(r#""{name}":{}"#, long(4097)));
        assert_eq!(reason.code(), format!("long_text:{name}"));
        assert_eq!(reason.to_string(), format!("field `{name}` has 4097 bytes, the maximum is 4096"));
        assert_eq!(code(&format!(r#""{name}":5"#)), format!("wrong_type:{name}"));
        assert_eq!(of_json(&format!(r#""{name}":{}"#, long(4096))).len(), 1);
        assert_eq!(of_json(&format!(r#""{name}":"None""#)).len(), 1, "a text may be any");
    }
    let list = |count: usize| format!("{:?}", (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
    for (name, limit) in [("category", 8), ("room", 8), ("tags", 32)] {
        let reason = reason(&format!(r#""{name}":{}"#, list(limit + 1)));
        assert_eq!(reason.code(), format!("too_many_values:{name}"));
        assert_eq!(reason.to_string(), format!("field `{name}` has more than {limit} values"));
        assert_eq!(of_json(&format!(r#""{name}":{}"#, list(limit))).len(), 1);
        for bad in ["[true]", "[null]", "[[1]]", "[{}]", "true"] {
            assert_eq!(code(&format!(r#""{name}":{bad}"#)), format!("wrong_type:{name}"), "{bad}");
        }
    }
    assert_eq!(
        (code(r#""room":{}"#), code(r#""category":{}"#)),
        ("wrong_type:room".into(), "wrong_type:category".into())
    );
    assert_eq!((code(r#""room":["a",""]"#), code(r#""tags":[""]"#)), ("missing:room".into(), "missing:tags".into()));
    assert_eq!(code(&format!(r#""tags":[{}]"#, long(513))), "long_name:tags");
    assert_eq!(of_json(r#""category":"1>2>3>4>5>6>7>8""#).len(), 1);
    for bad in ["1>2>3>4>5>6>7>8>9", ">", "A >  > B", " "] {
        assert_eq!(code(&format!(r#""category":"{bad}""#)), "wrong_type:category", "{bad}");
    }
    assert_eq!(code(&format!(r#""category":{}"#, long(4097))), "long_text:category");
    for bad in ["\"EURO\"", "\"E1R\"", "\"€\"", "978"] {
        assert_eq!(code(&format!(r#""currency":{bad}"#)), "wrong_type:currency", "{bad}");
    }
    for tag in ["category:x", "host:", "brand:b", "stage:1"] {
        let reason = reason(&format!(r#""tags":["ok","{tag}"]"#));
        assert_eq!(reason.code(), "reserved_tag");
        assert!(
            reason.to_string().contains(&format!("`{tag}`")) && reason.to_string().contains("`stage:`"),
            "{reason}"
        );
    }
    let group = reason(r#""tags":{"size":["M"],"shape":["round"]}"#);
    assert_eq!(group.code(), "unknown_tag_group");
    assert!(group.to_string().ends_with("`shape`: catalogue.tag_groups has `default`, `size`, `colour`"), "{group}");
}

#[test]
fn a_record_needs_an_item() {
    let long = format!(r#"{{"item":"{}"}}"#, "x".repeat(513));
    for (line, code) in [
        ("{}", "missing:item"),
        (r#"{"item":null}"#, "missing:item"),
        (r#"{"item":""}"#, "missing:item"),
        (r#"{"item":"NULL"}"#, "missing:item"),
        (r#"{"item":["p1"]}"#, "wrong_type:item"),
        (long.as_str(), "long_name:item"),
        ("[]", "malformed"),
        ("{\"item\":\"p1\",", "malformed"),
        (r#"{"item":"p1","tags":["\ud800"]}"#, "malformed"),
    ] {
        assert_eq!(json(line).codes(), [code], "{line}");
    }
    assert_eq!(json(b"{\"item\":\"\xff\"}").codes(), ["not_utf8"]);
    // The first error is the reason.
    assert_eq!(json(r#"{"ts":"x","title":5}"#).codes(), ["missing:item"]);
    assert_eq!(json(r#"{"item":1,"ts":"x","deleted":5,"title":5}"#).codes(), ["wrong_type:ts"]);
    assert_eq!(code(r#""deleted":5,"title":5"#), "wrong_type:deleted");
    assert_eq!(code(r#""price":"x","title":5,"tags":5.5"#), "wrong_type:title");
    assert_eq!(code(r#""price":"x","tags":5.5"#), "wrong_type:price");
}

#[test]
fn hostile_records_are_rejected_in_linear_time() {
    let tags = format!(r#""tags":[{}]"#, (0..100_000).map(|n| format!("\"t{n}\"")).collect::<Vec<_>>().join(","));
    assert_eq!(code(&tags), "too_many_values:tags");
    let again = format!(r#""tags":[{}]"#, vec!["\"t\""; 100_000].join(","));
    assert_eq!(of_json(&again), [(ItemField::Tags(0), set(&["t"]))], "a set");
    let groups = (0..50_000).map(|n| format!("\"g{n}\":[]")).collect::<Vec<_>>().join(",");
    assert_eq!(code(&format!(r#""tags":{{{groups}}}"#)), "unknown_tag_group");
    let same = vec!["\"size\":\"M\""; 50_000].join(",");
    assert_eq!(of_json(&format!(r#""tags":{{{same}}}"#)), [(ItemField::Tags(1), set(&["M"]))]);
    for (open, close) in [("[", "]"), ("{\"size\":", "}")] {
        let deep = |inner: &str| format!("{}{inner}{}", open.repeat(50_000), close.repeat(50_000));
        for field in ["title", "category", "tags", "price", "other", "item"] {
            let outcome = json(format!(r#"{{"item":"p1","{field}":{}}}"#, deep("1")));
            assert_eq!(outcome.lines, [1], "{field}");
            assert_eq!(outcome.records.len(), usize::from(field == "other"), "{field}");
        }
    }
}

#[test]
fn the_columns_of_a_record_can_have_other_names() {
    let mut options = options();
    let columns =
        "item=sku,title=name,category=product.types,tags=product.words,tags:size=product.words.sizes,room=live.id";
    options.set_of_catalogue("columns", columns).unwrap();
    let line = r#"{"sku":"p1","item":"x","name":"N","product":{"types":["A"],"words":{"colour":["red"],"sizes":["M"]}},
        "live.id":[1,2]}"#
        .replace('\n', "");
    // A group of `tags` that has no such name rejects the record, whatever a column names.
    assert_eq!(read(&line, Format::JsonLines, &options).codes(), ["unknown_tag_group"]);
    let line = line.replace("sizes", "size");
    options.set_of_catalogue("tags:size", "product.words.size").unwrap();
    let outcome = read(&line, Format::JsonLines, &options);
    assert_eq!(outcome.records[0].item, "p1");
    let expected = [
        (ItemField::Title, text("N")),
        (ItemField::Category, set(&["A"])),
        (ItemField::Room, set(&["1", "2"])),
        (ItemField::Tags(1), set(&["M"])),
        (ItemField::Tags(2), set(&["red"])),
    ];
    assert_eq!(fields(outcome), expected);
    options.set_of_catalogue("columns", "item=variants[].sku,price=variants[].price,title=name").unwrap();
    let line = r#"{"name":"N","variants":[{"sku":"a","price":1},{"sku":"b","price":"2.5"},{"price":3}]}"#;
    let outcome = read(line, Format::JsonLines, &options);
    assert_eq!(outcome.records.iter().map(|record| record.item.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(outcome.codes(), ["missing:variants[].sku"]);
    options.set_of_catalogue("columns", "tags:shape=x").unwrap();
    let error = open("", Format::JsonLines, &options).err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("no such tag group"), "{error}");
}

/// The text of the code blocks of a kind in the documentation.
fn blocks(kind: &str) -> Vec<&'static str> {
    let page = include_str!("../../../docs/catalogue.md");
    page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n')).collect()
}

#[test]
fn the_examples_of_the_documentation_are_valid() {
    let tag_groups = ["default", "colour", "finish", "size"].map(str::to_owned).into();
    let options = InputOptions { tag_groups, ..options() };
    for (kind, format, records) in [("json", Format::JsonLines, 6), ("csv", Format::Csv, 2)] {
        let outcomes: Vec<Outcome> = blocks(kind).into_iter().map(|text| read(text, format, &options)).collect();
        assert!(outcomes.iter().all(|outcome| outcome.reasons.is_empty()), "{outcomes:?}");
        assert_eq!(outcomes.iter().map(|outcome| outcome.records.len()).sum::<usize>(), records);
    }
}

#[test]
fn a_source_resumes_at_a_record() {
    let lines = "{\"item\":\"p1\"}\n{\"item\":\"p2\"}\n{\"item\":\"p3\"}\n";
    let mut first = open(lines, Format::JsonLines, &options()).unwrap();
    let mut batch = Batch::default();
    while first.poll(&mut batch).unwrap() != Polled::Finished {}
    let position = first.position(&batch, 1);
    assert_eq!(batch.position(1), Some(Position::Line { line: 2, byte: 14 }));
    let mut second = open(lines, Format::JsonLines, &options()).unwrap();
    second.resume_at(&position).unwrap();
    assert_eq!(drain(second).records.iter().map(|record| record.item.as_str()).collect::<Vec<_>>(), ["p2", "p3"]);
}
