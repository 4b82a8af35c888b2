//! Controls of users: what fields mean in each format, and each reason of a rejection.

mod files;
mod properties;

use std::io::Cursor;

use connectors::{Batch, Compression, ControlRecords, Format, InputOptions, OpenError, Polled, Source, source_from};
use schema::{Control, ControlScope, Reason, Switch, Wish};

use crate::support::line_of;

/// A record with its own text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    user: String,
    ts: u64,
    control: Control,
    id: Option<String>,
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

fn drain(mut source: Box<dyn Source<ControlRecords>>) -> Outcome {
    let (mut outcome, mut batch) = (Outcome::default(), Batch::default());
    loop {
        batch.clear();
        let polled = source.poll(&mut batch).unwrap();
        for index in 0..batch.len() {
            let record = batch.get(index).unwrap();
            assert_eq!(Some(record.position), batch.position(index));
            outcome.lines.push(line_of(record.position));
            let (user, id) = (record.user.to_owned(), record.id.map(str::to_owned));
            outcome.records.push(Owned { user, ts: record.ts, control: record.control.clone(), id });
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

fn open(
    text: impl AsRef<[u8]>,
    format: Format,
    options: &InputOptions,
) -> Result<Box<dyn Source<ControlRecords>>, OpenError> {
    source_from("in", Cursor::new(text.as_ref().to_vec()), format, Compression::Plain, options)
}

fn read(text: impl AsRef<[u8]>, format: Format, options: &InputOptions) -> Outcome {
    drain(open(text, format, options).unwrap())
}

fn json(text: impl AsRef<[u8]>) -> Outcome {
    read(text, Format::JsonLines, &InputOptions::default())
}

fn csv(text: impl AsRef<[u8]>) -> Outcome {
    read(text, Format::Csv, &InputOptions::default())
}

fn switch(wish: Wish, scope: ControlScope, target: &str, on: bool) -> Control {
    Control::Switch { switch: Switch { wish, scope, target: target.into() }, on }
}

fn not_interested(scope: ControlScope, target: &str) -> Control {
    switch(Wish::NotInterested, scope, target, true)
}

fn forget(item: Option<&str>) -> Control {
    Control::Forget { item: item.map(Into::into) }
}

/// What a record with these members besides its user and its time says.
fn of_json(members: &str) -> Control {
    let mut outcome = json(format!(r#"{{"user":"u1","ts":7,{members}}}"#));
    assert!(outcome.reasons.is_empty(), "{members}: {:?}", outcome.reasons);
    outcome.records.remove(0).control
}

/// The code of the reason why such a record is rejected, and its message.
fn rejected(members: &str) -> (String, String) {
    let mut outcome = json(format!(r#"{{"user":"u1","ts":7,{members}}}"#));
    assert!(outcome.records.is_empty(), "{members}: {:?}", outcome.records);
    let reason = outcome.reasons.remove(0);
    (reason.code(), reason.to_string())
}

#[test]
fn a_switch_has_a_scope_and_a_target() {
    use ControlScope::{Brand, Category, Host, Item, Room, Tag};
    assert_eq!(of_json(r#""control":"not_interested","target":"p9""#), not_interested(Item, "p9"));
    assert_eq!(
        of_json(r#""control":"not_interested","scope":null,"target":9.0,"undo":null"#),
        not_interested(Item, "9")
    );
    for (scope, target) in [(Item, "p9"), (Room, "r1"), (Host, "h1"), (Brand, "b"), (Tag, "new"), (Category, "A > B")] {
        let members =
            |control: &str| format!(r#""control":"{control}","scope":"{}","target":"{target}""#, scope.name());
        assert_eq!(of_json(&members("not_interested")), not_interested(scope, target));
        if Wish::Less.allows(scope) {
            assert_eq!(of_json(&members("less")), switch(Wish::Less, scope, target, true));
        }
    }
    let undone = r#""control":"less","scope":"host","target":"h1","undo":true"#;
    assert_eq!(of_json(undone), switch(Wish::Less, Host, "h1", false));
    let undone = r#""control":"not_interested","target":"p9","undo":false"#;
    assert_eq!(of_json(undone), not_interested(Item, "p9"));
}

#[test]
fn a_category_is_a_path_and_every_other_target_is_as_it_is() {
    let category = |path: &str| of_json(&format!(r#""control":"less","scope":"category","target":{path}"#));
    for (path, canonical) in [(r#""A>B""#, "A > B"), (r#"" A  >  B C ""#, "A > B C"), ("17", "17")] {
        assert_eq!(category(path), switch(Wish::Less, ControlScope::Category, canonical, true), "{path}");
    }
    let brand = of_json(r#""control":"less","scope":"brand","target":" A>B ""#);
    assert_eq!(brand, switch(Wish::Less, ControlScope::Brand, " A>B ", true));
    for (path, code) in [
        ("\"A > \"".to_owned(), "wrong_type:target"),
        ("\"\"".to_owned(), "wrong_type:target"),
        ("[\"A\"]".to_owned(), "wrong_type:target"),
        (format!("\"{}A\"", "A>".repeat(8)), "wrong_type:target"),
        (format!("\"{}\"", "A".repeat(4_097)), "long_text:target"),
    ] {
        let (found, message) = rejected(&format!(r#""control":"less","scope":"category","target":{path}"#));
        assert_eq!(found, code, "{message}");
    }
}

#[test]
fn forget_is_of_an_item_or_of_everything() {
    assert_eq!(of_json(r#""control":"forget","target":"p9""#), forget(Some("p9")));
    assert_eq!(of_json(r#""control":"forget","scope":"item","target":17"#), forget(Some("17")));
    assert_eq!(of_json(r#""control":"forget","scope":"all""#), forget(None));
    assert_eq!(of_json(r#""control":"forget","scope":"all","target":null"#), forget(None));
    // What was probably meant to name an item does not forget everything.
    for (members, code, part) in [
        (r#""scope":"item""#, "no_target", "to forget everything write the scope `all`"),
        (r#""scope":null"#, "no_target", "name the item in `target`"),
        (r#""item":"p9""#, "no_target", "name the item in `target`"),
        (r#""target":null"#, "no_target", "name the item in `target`"),
        (r#""scope":"all","target":"p9""#, "target_not_allowed", "leave `target` out"),
        (r#""target":"""#, "missing:target", "field `target` is empty"),
        (r#""target":"NULL""#, "missing:target", "stands for no value"),
        (r#""target":[]"#, "wrong_type:target", "expected a string or an integer"),
    ] {
        let (found, message) = rejected(&format!(r#""control":"forget",{members}"#));
        assert_eq!(found, code, "{message}");
        assert!(message.contains(part), "{message}");
    }
    for scope in ["host", "brand", "category", "room", "tag"] {
        let (code, message) = rejected(&format!(r#""control":"forget","scope":"{scope}","target":"x""#));
        assert_eq!(code, "forget_needs_items");
        assert!(message.contains("one record for each item"), "{message}");
    }
}

#[test]
fn what_has_no_target_is_undone_by_its_opposite() {
    let all = [Control::Pause, Control::Resume, Control::PersonalOff, Control::PersonalOn];
    for control in all {
        let name = control.name();
        assert_eq!(of_json(&format!(r#""control":"{name}","undo":false"#)), control);
        assert_eq!(of_json(&format!(r#""control":"{name}","undo":true"#)), control.clone().undone().unwrap());
        assert_eq!(rejected(&format!(r#""control":"{name}","target":"p1""#)).0, "target_not_allowed");
        assert_eq!(rejected(&format!(r#""control":"{name}","scope":"item""#)).0, "scope_not_allowed");
    }
}

#[test]
fn each_mistake_has_its_reason_and_its_remedy() {
    for (members, code, part) in [
        (
            r#""control":"more","scope":"host","target":"h""#,
            "unknown_control",
            "`more`: use not_interested, less, forget",
        ),
        (r#""control":"erase""#, "unknown_control", "`erase`: use"),
        (r#""control":"remove_tag","target":"x""#, "unknown_control", "`remove_tag`: use"),
        (r#""control":"Pause""#, "unknown_control", "pause, resume, personal_off or personal_on"),
        (r#""control":"""#, "missing:control", "is empty"),
        (r#""control":true"#, "wrong_type:control", "expected a string"),
        (r#""target":"p1""#, "missing:control", "`control` is missing"),
        (r#""control":"less","scope":"shop","target":"x""#, "unknown_scope", "`shop`: use item, room, host, brand"),
        (r#""control":"less","scope":7,"target":"x""#, "unknown_scope", "`7`"),
        (r#""control":"less","scope":"room","target":"x""#, "scope_not_allowed", "use host, brand, category or tag"),
        (r#""control":"less","target":"x""#, "scope_not_allowed", "`item` (the default): use host"),
        (r#""control":"not_interested""#, "no_target", "name the item in `target`"),
        (r#""control":"less","scope":"tag","target":null"#, "no_target", "name the tag in `target`"),
        (r#""control":"not_interested","target":"""#, "missing:target", "is empty"),
        (r#""control":"not_interested","target":{}"#, "wrong_type:target", "found an object"),
        (
            r#""control":"less","scope":"tag","target":"host:h1""#,
            "reserved_tag",
            "use the scope host and the target `h1`",
        ),
        (
            r#""control":"less","scope":"tag","target":"brand:b""#,
            "reserved_tag",
            "use the scope brand and the target `b`",
        ),
        (r#""control":"less","scope":"tag","target":"category:A > B""#, "reserved_tag", "the scope category"),
        (r#""control":"less","scope":"tag","target":"stage:new""#, "reserved_tag", "are reserved"),
        (r#""control":"forget","scope":"all","undo":true"#, "cannot_be_undone", "leave `undo` out"),
        (r#""control":"forget","target":"p1","undo":true"#, "cannot_be_undone", "cannot be undone"),
        (r#""control":"pause","undo":"true""#, "wrong_type:undo", "expected true or false, found the string `true`"),
        (r#""control":"pause","undo":1"#, "wrong_type:undo", "expected true or false, found 1"),
        (r#""control":"pause","id":"""#, "missing:id", "is empty"),
        (r#""control":"pause","id":[1]"#, "wrong_type:id", "a string or an integer"),
    ] {
        let (found, message) = rejected(members);
        assert_eq!(found, code, "{members}: {message}");
        assert!(message.contains(part), "{members}: {message}");
    }
    let long = "x".repeat(513);
    assert_eq!(rejected(&format!(r#""control":"not_interested","target":"{long}""#)).0, "long_name:target");
    assert_eq!(rejected(&format!(r#""control":"pause","id":"{long}""#)).0, "long_name:id");
    assert_eq!(rejected(&format!(r#""control":"{long}""#)).0, "long_name:control");
}

#[test]
fn a_control_needs_a_user_and_a_time() {
    let outcome = json(
        r#"{"user":7,"control":"pause","ts":"2025-11-23T12:13:20Z","id":17}
           {"control":"pause","ts":1}
           {"user":"NULL","control":"pause","ts":1}
           {"user":"u1","control":"pause"}
           {"user":"u1","control":"pause","ts":null}
           {"user":"u1","control":"pause","ts":""}
           {"user":"u1","control":"pause","ts":-1}
           {"user":"u1","control":"pause","ts":"soon"}"#,
    );
    let first = Owned { user: "7".into(), ts: 1_763_900_000_000, control: Control::Pause, id: Some("17".into()) };
    assert_eq!(outcome.records, [first]);
    let codes = ["missing:user", "missing:user", "missing:ts", "missing:ts", "wrong_type:ts", "time_out_of_range"];
    assert_eq!(outcome.codes(), codes.into_iter().chain(["wrong_type:ts"]).collect::<Vec<_>>());
}

#[test]
fn columns_and_conditions_are_those_of_the_options() {
    let mut options = InputOptions::default();
    for (name, value) in [("columns", "user=who.id,target=what[].sku"), ("ts", "at:s"), ("where", "app=shop")] {
        options.set_of_controls(name, value).unwrap();
    }
    let outcome = read(
        r#"{"who":{"id":"u1"},"control":"forget","what":[{"sku":"a"},{"sku":"b"}],"at":7,"app":"shop"}
           {"who":{"id":"u1"},"control":"pause","at":"8.5","app":"shop"}
           {"who":{"id":"u1"},"control":"forget","what":[],"at":9,"app":"shop"}
           {"who":{"id":"u1"},"control":"pause","at":9,"app":"test"}"#,
        Format::JsonLines,
        &options,
    );
    let found: Vec<_> = outcome.records.into_iter().map(|record| (record.ts, record.control)).collect();
    let expected = [(7_000, forget(Some("a"))), (7_000, forget(Some("b"))), (8_500, Control::Pause)];
    assert_eq!(found, expected);
    assert_eq!(outcome.reasons.iter().map(Reason::code).collect::<Vec<_>>(), ["no_target", "filtered:app=shop"]);
}
