//! Stored snapshots come back as they were, or the damage is reported.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue should fail")]

mod catalogue;
mod codecs;
mod controls;
mod damage;
mod fuzz;
mod hostile;
mod prune;
mod store;

use proptest::prelude::*;
use schema::{Effect, MAX_LEVEL, MAX_TS, id64, key_group};
use serde_json::json;
use snapshots::{GraphTime, GroupFile, InputPosition, Interactions, Manifest, RunId, Store};

/// A row that owns its names, with the code of its effect.
pub(crate) type Row = (String, String, u64, u8);

pub(crate) fn rows(rows: &[Row]) -> Interactions {
    let mut interactions = Interactions::default();
    for (user, item, ts, level) in rows {
        interactions.push((id64(user), user), (id64(item), item), *ts, effect(*level));
    }
    interactions
}

pub(crate) fn effect(code: u8) -> Effect {
    Effect::from_code(code).unwrap()
}

pub(crate) fn owned(rows: &Interactions) -> Vec<Row> {
    rows.iter().map(|row| (row.user.to_owned(), row.item.to_owned(), row.ts, row.effect.code())).collect()
}

/// A few rows with unusual names and extreme values.
pub(crate) fn few() -> Vec<Row> {
    [
        ("ann", "bread", 1_763_900_000_000, 6),
        ("ann", "品牌1758", MAX_TS, MAX_LEVEL),
        ("u\"1\n", "bread", 0, 1),
        ("bob", "ann", 1_763_900_000_001, 2),
        ("bob", "bread", 1_763_900_000_002, Effect::Retracts { of: 15, leaves: 0 }.code()),
        ("bob", "bread", 1_763_900_000_003, Effect::Skips.code()),
        ("bob", "bread", 1_763_900_000_003, Effect::Attends.code()),
    ]
    .map(|(user, item, ts, level)| (user.to_owned(), item.to_owned(), ts, level))
    .into()
}

/// Rows of users of one group.
pub(crate) fn of_group(group: u8, count: usize) -> Vec<Row> {
    let users = (0..).map(|n| format!("u{n}")).filter(|user| key_group(id64(user)) == group);
    users
        .zip(0..)
        .take(count)
        .map(|(user, n)| (user, format!("p{}", n % 3), 1_763_900_000_000 + n, 1 + (n % 6) as u8))
        .collect()
}

pub(crate) fn any_rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let name = || prop_oneof!["[a-c]", "\\PC{1,20}", ".{1,40}", "x{512}", "品{1,170}"];
    let code = (0..=u8::MAX).prop_filter("an effect", |code| Effect::from_code(*code).is_some());
    prop::collection::vec((name(), name(), prop_oneof![0..=MAX_TS, 0..5_u64], code), 0..most)
}

pub(crate) const RUN: RunId = RunId(0x1f00_c0de);

pub(crate) fn manifest(sequence: u64, run: RunId, groups: Vec<GroupFile>) -> Manifest {
    Manifest {
        version: Manifest::VERSION_WITHOUT_CONTROLS,
        deltarec: "0.1.0".into(),
        sequence,
        run,
        taken: "2026-11-24T04:00:00Z".parse().unwrap(),
        time: GraphTime { ms: 1_763_900_000_000, sequence: 7 },
        compatibility: json!({"history": 50, "audience": "all"}).as_object().unwrap().clone(),
        inputs: vec![InputPosition { name: "in.jsonl".into(), position: json!({"line": 3, "offset": u64::MAX}) }],
        output: Some(json!({"at": 5})),
        workers: 2,
        rows: groups.iter().map(|group| group.rows).sum(),
        groups,
        catalogue: Vec::new(),
        catalogue_inputs: Vec::new(),
        controls: Vec::new(),
        control_inputs: Vec::new(),
    }
}

/// Takes a snapshot of three groups.
pub(crate) fn take(store: &Store, sequence: u64, run: RunId) -> Manifest {
    let groups = [3, 77, 255].map(|group| store.put_group(sequence, run, group, &rows(&of_group(group, 4))).unwrap());
    let manifest = manifest(sequence, run, groups.into());
    store.publish(&manifest).unwrap();
    manifest
}
