//! Arbitrary records.

use connectors::{Format, InputOptions};
use proptest::prelude::*;
use schema::{Control, ControlScope, Switch, Wish};
use serde_json::{Value, json};

use super::{Owned, read};

/// A record as JSON in its plainest form.
fn canonical(record: &Owned) -> Value {
    let mut object = json!({ "user": record.user, "ts": record.ts, "control": record.control.name() });
    match &record.control {
        Control::Switch { switch: Switch { scope, target, .. }, on } => {
            object["scope"] = scope.name().into();
            object["target"] = json!(target);
            object["undo"] = (!on).into();
        }
        Control::Forget { item: Some(item) } => object["target"] = json!(item),
        Control::Forget { item: None } => object["scope"] = json!("all"),
        _ => {}
    }
    if let Some(id) = &record.id {
        object["id"] = id.as_str().into();
    }
    object
}

/// A name that is a valid tag too: without a colon.
fn name() -> impl Strategy<Value = String> {
    let name = "\\PC{1,12}|[\\x00-\\x7f]{1,6}".prop_map(|name| name.replace(':', ";"));
    name.prop_filter("a word for no value", |name| !InputOptions::NULLS.contains(&name.as_str()))
}

fn control() -> impl Strategy<Value = Control> {
    let level = "[a-zA-Z\u{54c1} |]{0,5}[a-z ]?x";
    let path = prop::collection::vec(level, 1..=8).prop_map(|levels| schema::canonical_category(&levels.join(">")));
    let target = (prop::sample::select(&ControlScope::ALL[..]), name(), path).prop_map(|(scope, name, path)| {
        let target = if scope == ControlScope::Category { path.unwrap() } else { name };
        (scope, target.into_boxed_str())
    });
    let switch = (prop::sample::select(&Wish::ALL[..]), target, any::<bool>());
    let switch = switch.prop_filter("a scope that the control has", |(wish, (scope, _), _)| wish.allows(*scope));
    let switch =
        switch.prop_map(|(wish, (scope, target), on)| Control::Switch { switch: Switch { wish, scope, target }, on });
    let others = [Control::Pause, Control::Resume, Control::PersonalOff, Control::PersonalOn];
    prop_oneof![
        4 => switch,
        2 => prop::option::of(name()).prop_map(|item| Control::Forget { item: item.map(Into::into) }),
        2 => prop::sample::select(others.to_vec()),
    ]
}

fn record() -> impl Strategy<Value = Owned> {
    let record = (name(), 0..=schema::MAX_TS, control(), prop::option::of(name()));
    record.prop_map(|(user, ts, control, id)| Owned { user, ts, control, id })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_in_canonical_json_reads_back_equal(records in prop::collection::vec(record(), 1..4)) {
        let lines: Vec<String> = records.iter().map(|record| canonical(record).to_string()).collect();
        let outcome = read(lines.join("\n"), Format::JsonLines, &InputOptions::default());
        prop_assert_eq!(outcome.reasons, []);
        prop_assert_eq!(outcome.records, records);
    }

    #[test]
    fn fuzz_control_record(
        lines in prop::collection::vec(
            "(\\{\"user\":(1|\"u\"|null)(,\"control\":\"(less|forget|pause|more)\")?(,\"(ts|scope|target|undo|id)\":\
             (1|-1|1e9|true|\"\"|\"item\"|\"host\"|\"category\"|\"a>b\"|\"tag\"|\"host:x\"|\\[\\]|\\[1,\"x\"\\]|null|NaN|\
             \\{\"x\":1\\})){0,5}\\}?)|\\PC{0,30}",
            0..8,
        ),
        csv in prop::collection::vec("[a-z0-9,|>\" ]{0,24}", 0..8),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let blank = |line: &&String| line.trim_ascii().is_empty();
        let outcome = super::json(format!("\n\n{}", lines.join("\n")));
        let expected = lines.len() - lines.iter().filter(blank).count();
        prop_assert_eq!(outcome.records.len() + outcome.reasons.len(), expected);
        let header = "user,control,scope,target,ts,undo\n";
        let mut lines = super::csv(format!("{header}{}", csv.join("\n"))).lines;
        lines.sort_unstable();
        prop_assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "each line once: {:?}", lines);
        super::json(&bytes);
        super::csv([header.as_bytes(), &bytes].concat());
    }
}
