//! The controls in files of a snapshot: records of the graph become rows with the name of the user, the control and its target
//! as texts, and rows become records again.

use std::borrow::Cow;

use dataflows::ControlRecord;
use schema::{Control, ControlScope, IdKey, Switch, Wish, shown};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snapshots::{Manifest, StatementRow, StatementRows, Store, StoreError};

/// Control whose value is the item, or none for all items.
const FORGET: &str = "forget";

/// Controls without a value.
const PLAIN: [Control; 4] = [Control::Pause, Control::Resume, Control::PersonalOff, Control::PersonalOn];

/// A control with the name of its user.
pub(in crate::engine) type NamedControl = (Box<str>, ControlRecord);

/// The value of a switch, whose wish and scope are the name of the control.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchValue<'t> {
    target: Cow<'t, str>,
    on: bool,
}

/// Adds the row of a control.
pub(super) fn append(rows: &mut StatementRows, user: &str, ControlRecord { ts, control, .. }: &ControlRecord) {
    match control {
        Control::Switch { switch: Switch { wish, scope, target }, on } => {
            let value = SwitchValue { target: Cow::Borrowed(target), on: *on };
            let value = serde_json::to_string(&value).expect("a text and a flag are JSON");
            rows.push(user, &format!("{} {}", wish.name(), scope.name()), *ts, Some(&value));
        }
        Control::Forget { item } => {
            let value = item.as_deref().map(|item| Value::from(item).to_string());
            rows.push(user, FORGET, *ts, value.as_deref());
        }
        plain => rows.push(user, plain.name(), *ts, None),
    }
}

/// The records of the rows of a file.
fn records(rows: &StatementRows, ids: IdKey) -> Result<Vec<NamedControl>, String> {
    let mut records: Vec<NamedControl> = Vec::with_capacity(rows.len());
    for StatementRow { owner: user, field, ts, value } in rows.iter() {
        let control = parse(field, value).map_err(|what| {
            let (user, field) = (shown(user), shown(field));
            match value {
                Some(value) => format!("user {user}: control {field} has the value {}: {what}", shown(value)),
                None => format!("user {user}: control {field} without a value: {what}"),
            }
        })?;
        let last = records.last().filter(|(name, _)| **name == *user);
        let id = last.map_or_else(|| ids.id64(user), |(_, record)| record.user);
        let item = control.item().map(|item| ids.id64(item));
        records.push((user.into(), ControlRecord { user: id, ts, control, item }));
    }
    Ok(records)
}

/// Reads the controls of a snapshot, file by file.
pub(in crate::engine) fn read_controls(
    store: &Store,
    manifest: &Manifest,
    ids: IdKey,
) -> impl Iterator<Item = Result<Vec<NamedControl>, StoreError>> {
    manifest.controls.iter().map(move |file| {
        let records = records(&store.read_controls(file)?, ids);
        records.map_err(|reason| StoreError::Damaged { place: store.place_of(file), reason })
    })
}

/// The control of a row.
fn parse(name: &str, value: Option<&str>) -> Result<Control, &'static str> {
    if let Some(plain) = PLAIN.into_iter().find(|plain| plain.name() == name) {
        return if value.is_none() { Ok(plain) } else { Err("it has no value") };
    }
    if name == FORGET {
        let item: Option<Box<str>> = match value {
            Some(text) => Some(serde_json::from_str(text).map_err(|_| NO_NAME)?),
            None => None,
        };
        return if item.as_deref() == Some("") { Err(NO_NAME) } else { Ok(Control::Forget { item }) };
    }
    let (wish, scope) = name.split_once(' ').ok_or(UNKNOWN)?;
    let wish = Wish::ALL.into_iter().find(|known| known.name() == wish).ok_or(UNKNOWN)?;
    let scope = ControlScope::ALL.into_iter().find(|known| known.name() == scope).ok_or(UNKNOWN)?;
    if !wish.allows(scope) {
        return Err(UNKNOWN);
    }
    let value: Option<SwitchValue<'_>> = value.and_then(|text| serde_json::from_str(text).ok());
    let SwitchValue { target, on } = value.filter(|value| !value.target.is_empty()).ok_or(NO_SWITCH)?;
    Ok(Control::Switch { switch: Switch { wish, scope, target: target.into() }, on })
}

const UNKNOWN: &str = "this deltarec does not know the control";
const NO_NAME: &str = "it is not a name";
const NO_SWITCH: &str = "it is not a target that is on or off";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schema::{KEY_GROUPS, MAX_TS, id64, key_group};
    use snapshots::{Depth, Kind, RunId};

    use super::*;
    use crate::engine::snapshot::{Files, Shard, manifest};

    const RUN: RunId = RunId(7);

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        (folder, store)
    }

    fn record(user: &str, ts: u64, control: Control) -> ControlRecord {
        let item = control.item().map(id64);
        ControlRecord { user: id64(user), ts, control, item }
    }

    fn switch(wish: Wish, scope: ControlScope, target: &str, on: bool) -> Control {
        Control::Switch { switch: Switch { wish, scope, target: target.into() }, on }
    }

    fn any_control() -> impl Strategy<Value = Control> {
        let kinds = Wish::ALL.into_iter().flat_map(|wish| ControlScope::ALL.map(|scope| (wish, scope)));
        let kinds: Vec<(Wish, ControlScope)> = kinds.filter(|(wish, scope)| wish.allows(*scope)).collect();
        let name = || prop_oneof!["[a-c]", ".{1,30}", "\\PC{1,4}"];
        prop_oneof![
            4 => (prop::sample::select(kinds), name(), any::<bool>())
                .prop_map(|((wish, scope), target, on)| switch(wish, scope, &target, on)),
            1 => prop::option::of(name())
                .prop_map(|item| Control::Forget { item: item.map(String::into_boxed_str) }),
            1 => prop::sample::select(PLAIN.to_vec()),
        ]
    }

    fn any_records() -> impl Strategy<Value = Vec<(String, ControlRecord)>> {
        let user = prop_oneof!["[a-d]", "\\PC{1,8}"];
        let row = (user, prop_oneof![0..3_u64, 0..=MAX_TS], any_control());
        prop::collection::vec(
            row.prop_map(|(user, ts, control)| {
                let record = record(&user, ts, control);
                (user, record)
            }),
            0..20,
        )
    }

    /// Stores records as the coordinator does, and returns the manifest of a snapshot of them.
    fn take(store: &Store, records: &[(String, ControlRecord)]) -> Manifest {
        let mut groups: Vec<StatementRows> = vec![StatementRows::default(); KEY_GROUPS];
        for (name, record) in records {
            append(&mut groups[usize::from(key_group(record.user))], name, record);
        }
        let groups = (0..=u8::MAX).zip(&groups).filter(|(_, rows)| !rows.is_empty());
        let files: Files = groups
            .map(|(group, rows)| {
                let shard = Shard { kind: Kind::Controls, group };
                (shard, store.put_controls(1, RUN, group, rows).unwrap())
            })
            .collect();
        manifest((1, RUN), 0, serde_json::Map::default(), Vec::new(), 1, files)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn controls_round_trip_through_a_snapshot(records in any_records()) {
            let (_folder, store) = store();
            let taken = take(&store, &records);
            prop_assert_eq!(taken.control_count(), records.len() as u64);
            let version = if records.is_empty() { Manifest::VERSION_WITHOUT_CONTROLS } else { Manifest::VERSION };
            prop_assert_eq!(taken.version, version);
            store.publish(&taken).unwrap();
            prop_assert!(store.inspect(1, Depth::Rows).unwrap().is_sound());
            let read: Result<Vec<_>, _> = read_controls(&store, &taken, IdKey::default()).collect();
            let mut read: Vec<(String, ControlRecord)> =
                read.unwrap().into_iter().flatten().map(|(name, record)| (name.into(), record)).collect();
            let mut given = records;
            read.sort();
            given.sort();
            prop_assert_eq!(read, given);
        }
    }

    #[test]
    fn a_row_is_readable_text() {
        let mut rows = StatementRows::default();
        for (ts, control) in (5..).zip([
            switch(Wish::NotInterested, ControlScope::Host, "h\"3", true),
            switch(Wish::Less, ControlScope::Category, "Beauty > Face", false),
            Control::Forget { item: Some("bread".into()) },
            Control::Forget { item: None },
            Control::Pause,
            Control::Resume,
            Control::PersonalOff,
            Control::PersonalOn,
        ]) {
            append(&mut rows, "ann", &record("ann", ts, control));
        }
        let texts: Vec<_> = rows.iter().map(|row| (row.field, row.ts, row.value)).collect();
        assert_eq!(
            texts,
            [
                ("not_interested host", 5, Some(r#"{"target":"h\"3","on":true}"#)),
                ("less category", 6, Some(r#"{"target":"Beauty > Face","on":false}"#)),
                ("forget", 7, Some(r#""bread""#)),
                ("forget", 8, None),
                ("pause", 9, None),
                ("resume", 10, None),
                ("personal_off", 11, None),
                ("personal_on", 12, None),
            ]
        );
    }

    #[test]
    fn a_wrong_row_is_damage_that_names_the_file_and_the_user() {
        let (_folder, store) = store();
        let group = key_group(id64("ann"));
        for (control, value, words) in [
            ("silence", None, "does not know the control"),
            ("not_interested", Some(r#"{"target":"h","on":true}"#), "does not know the control"),
            ("not_interested stage", Some(r#"{"target":"h","on":true}"#), "does not know the control"),
            ("less item", Some(r#"{"target":"h","on":true}"#), "does not know the control"),
            ("less  tag", Some(r#"{"target":"h","on":true}"#), "does not know the control"),
            ("less tag", None, "not a target that is on or off"),
            ("less tag", Some(r#"{"target":"","on":true}"#), "not a target that is on or off"),
            ("less tag", Some(r#"{"target":"h"}"#), "not a target that is on or off"),
            ("less tag", Some(r#"{"target":"h","on":true,"until":5}"#), "not a target that is on or off"),
            ("forget", Some("bread"), "not a name"),
            ("forget", Some("null"), "not a name"),
            ("forget", Some(r#""""#), "not a name"),
            ("pause", Some("true"), "it has no value"),
            ("personal_on", Some(""), "it has no value"),
        ] {
            let mut rows = StatementRows::default();
            rows.push("ann", control, 5, value);
            let file = store.put_controls(1, RUN, group, &rows).unwrap();
            let place = store.place_of(&file);
            let files = Files::from([(Shard { kind: Kind::Controls, group }, file)]);
            let taken = manifest((1, RUN), 0, serde_json::Map::default(), Vec::new(), 1, files);
            let error = read_controls(&store, &taken, IdKey::default()).next().unwrap().unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, StoreError::Damaged { .. }) && text.starts_with(&place), "{text}");
            assert!([words, "ann", control].iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
