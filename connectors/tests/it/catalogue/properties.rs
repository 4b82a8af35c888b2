//! Arbitrary records.

use connectors::{Format, InputOptions};
use proptest::prelude::*;
use schema::{Availability, FieldValue, ItemField, Statement};
use serde_json::{Value, json};

use super::{Owned, available, number, options, read};

/// A record as JSON in its plainest form.
fn canonical(record: &Owned, groups: &[String]) -> Value {
    let mut object = json!({ "item": record.item, "ts": record.ts });
    let value = |field: ItemField, value: &Option<FieldValue>| match value {
        None => Value::Null,
        Some(FieldValue::Text(text)) => json!(text),
        Some(FieldValue::Set(texts)) => json!(texts),
        Some(FieldValue::Number(number)) if field == ItemField::Price => {
            json!(format!("{}.{:04}", number / 10_000, number % 10_000))
        }
        Some(FieldValue::Number(number)) => json!(number),
        Some(FieldValue::Availability(availability)) => json!(availability.word()),
    };
    match &record.statement {
        Statement::Deleted => object["deleted"] = true.into(),
        Statement::Fields(fields) => {
            for (field, stated) in fields {
                match field {
                    ItemField::Tags(group) => object["tags"][&groups[usize::from(*group)]] = value(*field, stated),
                    field => object[field.name().unwrap()] = value(*field, stated),
                }
            }
        }
    }
    object
}

/// A name that is a valid tag too: without a colon.
fn name() -> impl Strategy<Value = String> {
    let name = "\\PC{1,12}|[\\x00-\\x7f]{1,6}".prop_map(|name| name.replace(':', ";"));
    name.prop_filter("a word for no value", |name| !InputOptions::NULLS.contains(&name.as_str()))
}

/// A field with a value, or with none.
fn stated(field: ItemField) -> BoxedStrategy<Option<FieldValue>> {
    let set = |text: BoxedStrategy<String>, limit: usize| {
        prop::collection::vec(text, 0..=limit).prop_map(FieldValue::set).boxed()
    };
    let texts = |texts: BoxedStrategy<String>| texts.prop_map(|text| Some(FieldValue::Text(text.into()))).boxed();
    let level = "[a-zA-Z\u{54c1} |]{0,5}[a-z ]?x";
    let path = prop::collection::vec(level, 1..=8).prop_map(|levels| schema::canonical_category(&levels.join(">")));
    let value = match field {
        ItemField::Kind | ItemField::Group | ItemField::Host | ItemField::Brand => texts(name().boxed()),
        ItemField::Title | ItemField::Image | ItemField::Url => texts("\\PC{1,40}".boxed()),
        ItemField::Category => set(path.prop_map(Option::unwrap).boxed(), 8),
        ItemField::Room => set(name().boxed(), 8),
        ItemField::Price => (0..=schema::MAX_PRICE).prop_map(number).boxed(),
        ItemField::Currency => texts("[A-Z]{3}".boxed()),
        ItemField::Availability => prop::sample::select(&Availability::ALL[..]).prop_map(available).boxed(),
        ItemField::From | ItemField::Until => (0..=schema::MAX_TS).prop_map(number).boxed(),
        ItemField::Tags(_) => set(name().boxed(), 32),
    };
    prop_oneof![3 => value, 1 => Just(None)].boxed()
}

fn record() -> impl Strategy<Value = Owned> {
    let all = ItemField::ALL.into_iter().chain((0..3).map(ItemField::Tags));
    let fields: Vec<_> = all.map(|field| (Just(field), prop::option::of(stated(field)))).collect();
    let fields = fields.prop_map(|fields: Vec<(ItemField, Option<Option<FieldValue>>)>| {
        Statement::Fields(fields.into_iter().filter_map(|(field, stated)| Some((field, stated?))).collect())
    });
    let statement = prop_oneof![9 => fields, 1 => Just(Statement::Deleted)];
    (name(), 0..=schema::MAX_TS, statement).prop_map(|(item, ts, statement)| Owned { item, ts, statement })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_in_canonical_json_reads_back_equal(records in prop::collection::vec(record(), 1..4)) {
        let options = InputOptions { default_ts: None, ..options() };
        let lines: Vec<String> =
            records.iter().map(|record| canonical(record, &options.tag_groups).to_string()).collect();
        let outcome = read(lines.join("\n"), Format::JsonLines, &options);
        prop_assert_eq!(outcome.reasons, []);
        prop_assert_eq!(outcome.records, records);
    }

    #[test]
    fn fuzz_catalogue_record(
        lines in prop::collection::vec(
            "(\\{\"item\":(1|\"p\"|null)(,\"(ts|from|tags|category|room|price|deleted|available|availability)\":\
             (1|-1|1e9|true|\"\"|\"a>b|c\"|\\[\\]|\\[1,\"x\"\\]|\\{\"size\":\\[1\\]\\}|\\{\"x\":1\\}|\
             null|NaN|\\[\\{\\}\\])){0,4}\\}?)|\\PC{0,30}",
            0..8,
        ),
        csv in prop::collection::vec("[a-z0-9,|>\" ]{0,24}", 0..8),
    ) {
        let blank = |line: &&String| line.trim_ascii().is_empty();
        let outcome = super::json(format!("\n\n{}", lines.join("\n")));
        let expected = lines.len() - lines.iter().filter(blank).count();
        prop_assert_eq!(outcome.records.len() + outcome.reasons.len(), expected);
        let text = format!("item,category,tags,price,available\n{}", csv.join("\n"));
        let mut lines = super::csv(text).lines;
        lines.sort_unstable();
        prop_assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "each line once: {:?}", lines);
    }
}
