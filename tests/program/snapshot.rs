//! `deltarec snapshot`: listing, verifying, exporting and pruning.

use std::fs;

use schema::{Effect, Event, Levels, id64};
use snapshots::{Depth, GraphTime, Interactions, Manifest, RunId, Store, group_of};

use super::{Place, changes, event, last_lists};

const RUN: RunId = RunId(0x1f00_c0de);

/// Takes a snapshot of these events.
fn take(place: &Place, sequence: u64, events: &str) -> Manifest {
    let store = Store::create(place.path("state").to_str().unwrap()).unwrap();
    let mut groups: Vec<Interactions> = (0..=255).map(|_| Interactions::default()).collect();
    for line in events.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        let Effect::Counts(level) = Levels::default().effect(&event.action, None).unwrap() else { continue };
        let user = id64(&event.user);
        groups[usize::from(group_of(user))].push(
            (user, &event.user),
            (id64(&event.item), &event.item),
            event.ts,
            level,
        );
    }
    let groups = (0..=255).zip(&groups).filter(|(_, rows)| !rows.is_empty());
    let groups: Vec<_> = groups.map(|(group, rows)| store.put_group(sequence, RUN, group, rows).unwrap()).collect();
    let manifest = Manifest {
        version: Manifest::VERSION,
        deltarec: "0.1.0".into(),
        sequence,
        run: RUN,
        taken: "2026-11-24T04:00:00Z".parse().unwrap(),
        time: GraphTime { ms: 1_763_900_000_123, sequence: 1 },
        compatibility: serde_json::Map::default(),
        inputs: vec![],
        output: None,
        workers: 1,
        rows: groups.iter().map(|group| group.rows).sum(),
        groups,
    };
    store.publish(&manifest).unwrap();
    manifest
}

/// Shoppers with common items, one interaction per user and item.
fn shoppers() -> String {
    let actions = ["view", "click", "like", "share", "cart", "purchase"];
    let events = (0..600_u64).map(|n| {
        let (user, item) = (n % 60, (n / 60 * 7 + n % 60 / 3) % 23);
        event(&format!("u{user}"), &format!("p{item}"), actions[(n % 6) as usize], 1_763_900_000_000 + n)
    });
    events.collect()
}

#[test]
fn an_exported_snapshot_replays_to_the_same_lists() {
    let place = Place::new();
    place.write("in.jsonl", shoppers());
    let manifest = take(&place, 1, &shoppers());
    let expected = last_lists(&changes(&place.run("--input in.jsonl").well().out));
    assert!(expected.len() > 50, "{}", expected.len());
    for output in ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"] {
        let done = place.deltarec(&["snapshot", "export", "--state", "state", "--output", output]).well();
        assert!(done.out.is_empty() && done.err.contains("snapshot 1: 600 events"), "{}", done.err);
        let lists = last_lists(&changes(&place.run(&format!("--input {output}")).well().out));
        assert_eq!(lists, expected);
    }
    let piped = place.deltarec(&["snapshot", "export", "--state", "state", "--output", "-"]).well();
    assert_eq!((piped.out.lines().count() as u64, &piped.out), (manifest.rows, &place.read("out.jsonl")));
    let line: serde_json::Value = serde_json::from_str(piped.out.lines().next().unwrap()).unwrap();
    let fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["action", "item", "level", "ts", "user"]);
}

#[test]
fn lists_snapshots_newest_first_with_damage() {
    let place = Place::new();
    fs::create_dir(place.path("state")).unwrap();
    let empty = place.deltarec(&["snapshot", "list", "--state", "state"]).well();
    assert!(empty.out.is_empty() && empty.err.contains("state: no snapshots"), "{}", empty.err);
    take(&place, 1, &shoppers());
    let lost = take(&place, 2, &shoppers());
    fs::remove_file(place.path("state").join(&lost.groups[0].file)).unwrap();
    place.write("state/manifests/0000000003.json", "{");
    let list = place.deltarec(&["snapshot", "list", "--state", "state"]).well().out;
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["sequence", "taken", "time", "rows", "bytes", "groups", "state"]);
    assert_eq!(rows[2], ["3", "?", "?", "?", "?", "?", "damaged"]);
    assert_eq!(rows[3][..4], ["2", "2026-11-24T04:00:00Z", "2025-11-23T12:13:20.123Z", "600"]);
    assert_eq!((rows[3][6], rows[4][0], rows[4][6], rows.len()), ("damaged", "1", "whole", 5));
}

#[test]
fn verify_names_each_damaged_file_and_exits_with_1() {
    let place = Place::new();
    take(&place, 1, &shoppers());
    let harmed = take(&place, 2, &shoppers());
    let verify = |more: &[&str]| place.deltarec(&[&["snapshot", "verify", "--state", "state"], more].concat());
    let good = verify(&[]).well().out;
    assert!(good.contains("snapshot 2: sound") && good.contains("snapshot 1: sound") && good.contains("600 rows"));
    let [first, second] = [0, 1].map(|at| place.path("state").join(&harmed.groups[at].file));
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&first, bytes).unwrap();
    fs::write(&second, "").unwrap();
    // The size is right, so only the checksum shows the change.
    let done = verify(&[]).failed(1, &["1 of 2 snapshots damaged", "delete those manifests"]);
    for (group, word) in [(0, "checksum"), (1, "0 bytes instead of")] {
        let file = &harmed.groups[group].file;
        assert!(done.out.lines().any(|line| line.contains(file) && line.contains(word)), "{}", done.out);
    }
    verify(&["--sequence", "1"]).well();
    verify(&["--sequence", "2"]).failed(1, &["1 of 1 snapshots damaged"]);
    assert!(verify(&["--sequence", "9"]).failed(1, &[]).out.contains("0000000009.json: it is missing"));
    // Exports the newest sound snapshot, never a damaged one.
    let export = |more: &[&str]| {
        place.deltarec(&[&["snapshot", "export", "--state", "state", "--output", "out.jsonl"], more].concat())
    };
    export(&[]).well().said(&["snapshot 1: 600 events", &harmed.groups[0].file, "checksum"]);
    place.write("out.jsonl", "as before\n");
    export(&["--sequence", "2"]).failed(1, &["snapshot 2 is not sound", "deltarec snapshot list"]);
    fs::remove_file(place.path("state/manifests/0000000001.json")).unwrap();
    export(&[]).failed(1, &["no sound snapshot"]);
    assert_eq!(place.read("out.jsonl"), "as before\n");
}

#[test]
fn prune_keeps_the_newest() {
    let place = Place::new();
    for sequence in 1..=4 {
        take(&place, sequence, &shoppers());
    }
    let done = place.deltarec(&["snapshot", "prune", "--state", "state", "--keep", "2"]).well();
    assert!(done.out.starts_with("deleted 2 snapshots, "), "{}", done.out);
    let store = Store::open(place.path("state").to_str().unwrap()).unwrap();
    let left: Vec<u64> = store.list(Depth::Rows).unwrap().iter().map(|snapshot| snapshot.sequence).collect();
    assert_eq!(left, [4, 3]);
}

#[test]
fn usage_errors_say_what_is_right() {
    let place = Place::new();
    place.write("file", "x");
    take(&place, 1, &shoppers());
    let cases: &[(i32, &[&str], &[&str])] = &[
        (2, &["snapshot"], &["list", "verify", "export", "prune"]),
        (2, &["snapshot", "list"], &["--state"]),
        (2, &["snapshot", "list", "--state", "ftp://host/x"], &["ftp://host/x", "name a folder"]),
        (2, &["snapshot", "prune", "--state", "state", "--keep", "0"], &["--keep"]),
        (2, &["snapshot", "prune", "--state", "state"], &["--keep"]),
        (2, &["snapshot", "export", "--state", "state", "--output", "x.txt"], &["x.txt", "PATH.jsonl"]),
        (2, &["snapshot", "export", "--state", "state", "--output", "x.csv"], &["x.csv", ".jsonl"]),
        (1, &["snapshot", "list", "--state", "none"], &["none", "check the path"]),
        (1, &["snapshot", "verify", "--state", "file"], &["file", "where a folder should be"]),
    ];
    for (code, args, parts) in cases {
        let done = place.deltarec(args).failed(*code, parts);
        assert_eq!(done.out, "");
    }
    assert!(!place.path("none").exists(), "reading creates nothing");
    let help = place.deltarec(&["snapshot", "--help"]).well().out;
    assert!(help.contains("Examples:") && help.contains("deltarec snapshot prune --state"), "{help}");
    for command in ["list", "verify", "export", "prune"] {
        assert!(place.deltarec(&["snapshot", command, "--help"]).well().out.contains("--state <URI>"));
    }
}
