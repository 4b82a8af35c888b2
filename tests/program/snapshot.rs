//! `deltarec snapshot`: listing, verifying, exporting and pruning.

use std::fs;

use schema::{Effect, Event, Levels, catalogue_group, id64, key_group};
use snapshots::{Depth, GraphTime, Interactions, Manifest, RunId, StatementRows, Store};

use super::{TestDir, changes, event, final_lists};

const RUN: RunId = RunId(0x1f00_c0de);

/// Takes a snapshot of these events.
fn take(dir: &TestDir, sequence: u64, events: &str) -> Manifest {
    let store = Store::create(dir.path("state").to_str().unwrap()).unwrap();
    let mut groups: Vec<Interactions> = (0..=255).map(|_| Interactions::default()).collect();
    for line in events.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        let Effect::Counts(level) = Levels::default().effect(&event.action, None).unwrap() else { continue };
        let user = id64(&event.user);
        groups[usize::from(key_group(user))].push(
            (user, &event.user),
            (id64(&event.item), &event.item),
            event.ts,
            Effect::Counts(level),
        );
    }
    let groups = (0..=255).zip(&groups).filter(|(_, rows)| !rows.is_empty());
    let groups: Vec<_> = groups.map(|(group, rows)| store.put_group(sequence, RUN, group, rows).unwrap()).collect();
    let manifest = Manifest {
        version: Manifest::VERSION_WITHOUT_CONTROLS,
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
        catalogue: Vec::new(),
        catalogue_inputs: Vec::new(),
        controls: Vec::new(),
        control_inputs: Vec::new(),
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
    let dir = TestDir::new();
    dir.write("in.jsonl", shoppers());
    let manifest = take(&dir, 1, &shoppers());
    let expected = final_lists(&changes(&dir.run("--input in.jsonl").assert_success().stdout));
    assert!(expected.len() > 50, "{}", expected.len());
    for output in ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"] {
        let done = dir.deltarec(&["snapshot", "export", "--state", "state", "--output", output]).assert_success();
        assert!(done.stdout.is_empty() && done.stderr.contains("snapshot 1: 600 events"), "{}", done.stderr);
        let lists = final_lists(&changes(&dir.run(&format!("--input {output}")).assert_success().stdout));
        assert_eq!(lists, expected);
    }
    let piped = dir.deltarec(&["snapshot", "export", "--state", "state", "--output", "-"]).assert_success();
    assert_eq!((piped.stdout.lines().count() as u64, &piped.stdout), (manifest.rows, &dir.read("out.jsonl")));
    let line: serde_json::Value = serde_json::from_str(piped.stdout.lines().next().unwrap()).unwrap();
    let fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["action", "item", "level", "ts", "user"]);
}

#[test]
fn lists_snapshots_newest_first_with_damage() {
    let dir = TestDir::new();
    fs::create_dir(dir.path("state")).unwrap();
    let empty = dir.deltarec(&["snapshot", "list", "--state", "state"]).assert_success();
    assert!(empty.stdout.is_empty() && empty.stderr.contains("state: no snapshots"), "{}", empty.stderr);
    take(&dir, 1, &shoppers());
    let lost = take(&dir, 2, &shoppers());
    fs::remove_file(dir.path("state").join(&lost.groups[0].file)).unwrap();
    dir.write("state/manifests/0000000003.json", "{");
    let list = dir.deltarec(&["snapshot", "list", "--state", "state"]).assert_success().stdout;
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["sequence", "taken", "time", "rows", "statements", "controls", "bytes", "groups", "state"]);
    assert_eq!(rows[2], ["3", "?", "?", "?", "?", "?", "?", "?", "damaged"]);
    assert_eq!(rows[3][..6], ["2", "2026-11-24T04:00:00Z", "2025-11-23T12:13:20.123Z", "600", "0", "0"]);
    assert_eq!((rows[3][8], rows[4][0], rows[4][8], rows.len()), ("damaged", "1", "whole", 5));
}

#[test]
fn shows_the_statements_of_a_catalogue_and_the_controls() {
    let dir = TestDir::new();
    let taken = take(&dir, 1, &shoppers());
    let store = Store::open(dir.path("state").to_str().unwrap()).unwrap();
    let mut statements = StatementRows::default();
    for item in (0..).map(|n| format!("p{n}")).filter(|item| catalogue_group(id64(item)) == 3).take(5) {
        statements.push(&item, "title", 1_763_900_000_000, Some("\"Bread\""));
    }
    let catalogue = vec![store.put_catalogue(2, RUN, 3, &statements).unwrap()];
    let mut rows = StatementRows::default();
    rows.push("ann", "forget", 1_763_900_000_000, None);
    rows.push("ann", "pause", 1_763_900_000_001, None);
    let controls = vec![store.put_controls(2, RUN, key_group(id64("ann")), &rows).unwrap()];
    let version = Manifest::VERSION;
    store.publish(&Manifest { version, sequence: 2, catalogue, controls, ..taken.clone() }).unwrap();
    let list = dir.deltarec(&["snapshot", "list", "--state", "state"]).assert_success().stdout;
    let row: Vec<&str> = list.lines().nth(2).unwrap().split_whitespace().collect();
    let groups = (taken.groups.len() + 2).to_string();
    assert_eq!((&row[3..6], row[7], row[8]), (["600", "5", "2"].as_slice(), groups.as_str(), "whole"), "{list}");
    let verify = dir.deltarec(&["snapshot", "verify", "--state", "state"]).assert_success().stdout;
    let lines: Vec<&str> = verify.lines().collect();
    assert!(
        lines[0].ends_with(" 600 rows, 5 statements of the catalogue, 2 controls") && lines[1].ends_with(" 600 rows"),
        "{verify}"
    );
    // The interactions alone.
    dir.deltarec(&["snapshot", "export", "--state", "state", "--output", "out.jsonl"])
        .assert_success()
        .assert_stderr(&["snapshot 2: 600 events, without the 2 controls of users"]);
}

#[test]
fn verify_names_each_damaged_file_and_exits_with_1() {
    let dir = TestDir::new();
    take(&dir, 1, &shoppers());
    let harmed = take(&dir, 2, &shoppers());
    let verify = |more: &[&str]| dir.deltarec(&[&["snapshot", "verify", "--state", "state"], more].concat());
    let good = verify(&[]).assert_success().stdout;
    assert!(good.contains("snapshot 2: sound") && good.contains("snapshot 1: sound") && good.contains("600 rows"));
    let [first, second] = [0, 1].map(|at| dir.path("state").join(&harmed.groups[at].file));
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&first, bytes).unwrap();
    fs::write(&second, "").unwrap();
    // The size is right, so only the checksum shows the change.
    let done = verify(&[]).assert_failure(1, &["1 of 2 snapshots damaged", "delete those manifests"]);
    for (group, word) in [(0, "checksum"), (1, "0 bytes instead of")] {
        let file = &harmed.groups[group].file;
        assert!(done.stdout.lines().any(|line| line.contains(file) && line.contains(word)), "{}", done.stdout);
    }
    verify(&["--sequence", "1"]).assert_success();
    verify(&["--sequence", "2"]).assert_failure(1, &["1 of 1 snapshots damaged"]);
    assert!(verify(&["--sequence", "9"]).assert_failure(1, &[]).stdout.contains("0000000009.json: it is missing"));
    // Exports the newest sound snapshot, never a damaged one.
    let export = |more: &[&str]| {
        dir.deltarec(&[&["snapshot", "export", "--state", "state", "--output", "out.jsonl"], more].concat())
    };
    export(&[]).assert_success().assert_stderr(&["snapshot 1: 600 events", &harmed.groups[0].file, "checksum"]);
    dir.write("out.jsonl", "as before\n");
    export(&["--sequence", "2"]).assert_failure(1, &["snapshot 2 is not sound", "deltarec snapshot list"]);
    fs::remove_file(dir.path("state/manifests/0000000001.json")).unwrap();
    export(&[]).assert_failure(1, &["no sound snapshot"]);
    assert_eq!(dir.read("out.jsonl"), "as before\n");
}

#[test]
fn prune_keeps_the_newest() {
    let dir = TestDir::new();
    for sequence in 1..=4 {
        take(&dir, sequence, &shoppers());
    }
    let done = dir.deltarec(&["snapshot", "prune", "--state", "state", "--keep", "2"]).assert_success();
    assert!(done.stdout.starts_with("deleted 2 snapshots, "), "{}", done.stdout);
    let store = Store::open(dir.path("state").to_str().unwrap()).unwrap();
    let left: Vec<u64> = store.list(Depth::Rows).unwrap().iter().map(|snapshot| snapshot.sequence).collect();
    assert_eq!(left, [4, 3]);
}

#[test]
fn usage_errors_say_what_is_right() {
    let dir = TestDir::new();
    dir.write("file", "x");
    take(&dir, 1, &shoppers());
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
        let done = dir.deltarec(args).assert_failure(*code, parts);
        assert_eq!(done.stdout, "");
    }
    assert!(!dir.path("none").exists(), "reading creates nothing");
    let help = dir.deltarec(&["snapshot", "--help"]).assert_success().stdout;
    assert!(help.contains("Examples:") && help.contains("deltarec snapshot prune --state"), "{help}");
    for command in ["list", "verify", "export", "prune"] {
        assert!(dir.deltarec(&["snapshot", command, "--help"]).assert_success().stdout.contains("--state <URI>"));
    }
}
