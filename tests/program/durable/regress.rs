//! Moments at which older state could overwrite newer output, or partial state could be taken for a whole one.

use std::time::Duration;

use schema::{Effect, id64, key_group};
use snapshots::{GraphTime, Interactions, Manifest, RunId, Store};

use super::super::event;
use super::*;

/// A kill after the ends of lists were written, and before the event that made time pass was complete. The run that resumes
/// from earlier must not send those lists again.
#[test]
fn ended_lists_do_not_come_back_after_a_kill() {
    let dir = TestDir::new();
    let before: String = (0..6)
        .map(|n| {
            event(&format!("u{n}"), "bread", "purchase", START + 2 * n)
                + &event(&format!("u{n}"), &format!("p{n}"), "cart", START + 2 * n)
        })
        .collect();
    dir.write("in.jsonl", &before);
    dir.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).finish().assert_success();
    copy(&dir.path("state"), &dir.path("state-then"));
    // All users leave the audience one after the other, long before the next event.
    let after = before + &event("eve", "bread", "view", START + 3 * AUDIENCE);
    dir.write("in.jsonl", &after);
    dir.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).finish().assert_success();
    let whole = dir.read("out.jsonl");
    let ends = changes(&whole).iter().filter(|change| change.items.is_empty()).count();
    assert!(ends >= 4, "{whole}");
    // As if the run had been killed after any of these records.
    let records: Vec<&str> = whole.split_inclusive('\n').collect();
    let first_end = records.iter().position(|record| record.contains("\"items\":[]")).unwrap();
    for written in first_end + 1..=records.len() {
        fs::remove_dir_all(dir.path("state")).unwrap();
        copy(&dir.path("state-then"), &dir.path("state"));
        dir.write("out.jsonl", records[..written].concat());
        dir.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).finish().assert_success();
        assert_same_stream(&format!("{written} records"), &dir.read("out.jsonl"), &whole);
    }
}

/// A stop while the run recomputes what the output already holds. No list of the past is written.
#[test]
fn sends_nothing_before_it_has_caught_up_with_the_output() {
    let dir = TestDir::new();
    let events = log(&dir, 4_000, 5);
    dir.write("in.jsonl", lines(&events[..100]));
    dir.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).finish().assert_success();
    fs::rename(dir.path("state"), dir.path("state-then")).unwrap();
    dir.write("in.jsonl", lines(&events));
    dir.begin(&single_snapshot_arguments("out.jsonl", None, 1)).finish().assert_success();
    let whole = dir.read("out.jsonl");
    // The same output with an old state, stopped later and later until the run ends by itself.
    let mut half_way = 0;
    for after in (0..).map(|n| n * 20) {
        if dir.path("state").exists() {
            fs::remove_dir_all(dir.path("state")).unwrap();
        }
        copy(&dir.path("state-then"), &dir.path("state"));
        let running = dir.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1));
        let resumes = |_: &str| running.stderr.text().contains("resuming from snapshot");
        running.wait_for_output(super::super::RUN_TIMEOUT, "it resumes", resumes);
        std::thread::sleep(Duration::from_millis(after));
        running.signal("TERM");
        let done = running.finish_within(super::super::RUN_TIMEOUT).assert_success();
        assert_eq!(dir.read("out.jsonl"), whole, "stopped after {after} ms");
        let events = done.summary().events;
        half_way += u32::from((1..3_800).contains(&events));
        if events > 3_800 || half_way == 6 {
            break;
        }
    }
    println!("stopped half way {half_way} times");
    // A run that resumes from there does not notice.
    dir.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).finish().assert_success();
    assert_eq!(dir.read("out.jsonl"), whole);
}

/// A state with `rows` interactions, made without a run.
fn large_state(dir: &TestDir, rows: u64) -> Manifest {
    let store = Store::create(dir.path("state").to_str().unwrap()).unwrap();
    let mut groups: Vec<Interactions> = (0..=255).map(|_| Interactions::default()).collect();
    for n in 0..rows {
        let (user, item) = (format!("u{}", n / 20), format!("p{}", n * 7 % 1_000));
        let group = usize::from(key_group(id64(&user)));
        groups[group].push((id64(&user), &user), (id64(&item), &item), START + n, Effect::Counts(1));
    }
    let run = RunId(7);
    let groups: Vec<_> =
        (0..=255).zip(&groups).map(|(group, rows)| store.put_group(1, run, group, rows).unwrap()).collect();
    let manifest = Manifest {
        version: Manifest::VERSION_WITHOUT_CONTROLS,
        deltarec: "0.1.0".into(),
        sequence: 1,
        run,
        taken: "2026-11-24T04:00:00Z".parse().unwrap(),
        time: GraphTime { ms: START + rows, sequence: 1 },
        compatibility: serde_json::Map::default(),
        inputs: vec![],
        output: None,
        workers: 1,
        rows,
        groups,
        catalogue: Vec::new(),
        catalogue_inputs: Vec::new(),
        controls: Vec::new(),
        control_inputs: Vec::new(),
    };
    store.publish(&manifest).unwrap();
    manifest
}

/// A run that is stopped while it loads a snapshot does not save the part as a whole.
#[test]
fn a_stop_while_loading_loses_nothing() {
    let dir = TestDir::new();
    let manifest = large_state(&dir, 200_000);
    for after in [0, 40, 150, 400] {
        let running = dir.start(&["run", "--output", "out.jsonl", "--state", "state", "--set", "state.interval=1ms"]);
        let loads = |_: &str| running.stderr.text().contains("resuming from snapshot");
        running.wait_for_output(super::super::RUN_TIMEOUT, "it loads", loads);
        std::thread::sleep(Duration::from_millis(after));
        running.signal("TERM");
        running.finish_within(super::super::RUN_TIMEOUT).assert_success();
        let store = Store::open(dir.path("state").to_str().unwrap()).unwrap();
        assert_eq!(store.newest().unwrap().manifest.unwrap().rows, manifest.rows, "after {after} ms");
    }
}

/// A file that passed the checks and cannot be decoded. The run fails, and takes no snapshot of the part.
#[test]
fn a_failed_load_leaves_the_state_unchanged() {
    let dir = TestDir::new();
    let manifest = large_state(&dir, 50_000);
    let store = Store::open(dir.path("state").to_str().unwrap()).unwrap();
    // Sound bytes with users of another group: only decoding finds that.
    let mut misplaced = Interactions::default();
    let user = (0..10_000).map(|n| format!("u{n}")).find(|user| key_group(id64(user)) != 200).unwrap();
    misplaced.push((id64(&user), &user), (1, "p"), START, Effect::Counts(1));
    let mut wrong = Manifest { sequence: 2, ..manifest.clone() };
    let file = store.put_group(2, RunId(7), 200, &misplaced).unwrap();
    wrong.rows = wrong.rows - wrong.groups[200].rows + file.rows;
    wrong.groups[200] = file;
    store.publish(&wrong).unwrap();
    let done = dir
        .deltarec(&["run", "--output", "out.jsonl", "--state", "state"])
        .assert_failure(1, &["belongs to another group", "0000000002-00000007-0c8"]);
    assert!(!done.stderr.contains("panicked"));
    let listed: Vec<u64> = listed(&dir, "state").into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(listed, [2, 1], "no snapshot of a part");
    assert_eq!(dir.read("out.jsonl"), "");
}
