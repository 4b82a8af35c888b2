//! Stores that are in use, full, missing, or written by another program or version.

use std::time::{Duration, Instant};

use super::super::disk::Disk;
use super::super::{RUN_TIMEOUT, assert_lists_eq, final_lists, now, two_shoppers};
use super::*;

/// Waits until something holds.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let asked = Instant::now();
    while !holds() {
        assert!(asked.elapsed() < RUN_TIMEOUT, "{what}: not within {RUN_TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn newest(dir: &TestDir) -> u64 {
    let names = fs::read_dir(dir.path("state/manifests")).into_iter().flatten();
    let numbers = names.filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.parse().ok());
    numbers.max().unwrap_or(0)
}

const LIVE: [&str; 7] = ["run", "--output", "out.jsonl", "--state", "state", "--set", "state.interval=1ms"];

#[test]
fn a_state_is_used_by_one_run_at_a_time() {
    let dir = TestDir::new();
    let mut first = dir.start(&LIVE);
    first.send(&two_shoppers(5));
    until("the first snapshot", || newest(&dir) > 1);
    let second = dir.deltarec(&LIVE).assert_failure(1, &["another run uses this state", "lock"]);
    assert_eq!(second.stdout, "");
    // A paused process still holds the lock.
    first.signal("STOP");
    dir.deltarec(&LIVE).assert_failure(1, &["another run uses this state"]);
    first.signal("CONT");
    first.send(&super::super::event("eve", "bread", "view", 6));
    first.finish().assert_success();
    assert_eq!(changes(&dir.read("out.jsonl")).len(), 2);
    // A killed process releases it.
    let mut third = dir.start(&LIVE);
    third.send(&super::super::event("joe", "bread", "view", 7));
    until("the third", || dir.read("out.jsonl").lines().count() == 3);
    third.signal("KILL");
    third.finish_within(RUN_TIMEOUT);
    dir.deltarec(&LIVE).assert_success();
}

#[test]
fn a_newer_manifest_stops_the_run_before_anything_is_written() {
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(5));
    dir.begin(&arguments("out.jsonl", Some("state"), 1)).finish().assert_success();
    let before = dir.read("out.jsonl");
    let text = r#"{"version":4,"what":"nobody knows yet"}"#;
    let checksum = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    dir.write("state/manifests/0000000099.json", format!("{{\"xxh3\":\"{checksum:016x}\",\"manifest\":{text}}}\n"));
    dir.begin(&arguments("out.jsonl", Some("state"), 1)).finish().assert_failure(1, &["format 4", "0000000099.json"]);
    assert_eq!(dir.read("out.jsonl"), before);
}

#[test]
fn leaves_foreign_files_in_the_folder_alone() {
    let dir = TestDir::new();
    let strange = ["state/readme.txt", "state/groups/0000000001.txt", "state/manifests/notes.json", "state/groups/x#1"];
    for name in strange {
        fs::create_dir_all(dir.path(name).parent().unwrap()).unwrap();
        dir.write(name, "mine");
    }
    let events = log(&dir, 400, 3);
    dir.write("in.jsonl", lines(&events));
    for _ in 0..2 {
        dir.begin(&arguments("out.jsonl", Some("state"), 2)).finish().assert_success();
    }
    for name in strange {
        assert_eq!(dir.read(name), "mine");
    }
}

/// The files of older snapshots are deleted during a run: the next snapshot that would have named them writes all groups.
#[test]
fn rewrites_all_groups_after_files_were_deleted() {
    let dir = TestDir::new();
    let mut running = dir.start(&LIVE);
    let shop = |n: u64| two_shoppers(n).replace("ann", &format!("ann{n}")).replace("bob", &format!("bob{n}"));
    for n in 0..50 {
        running.send(&shop(n));
    }
    until("a snapshot", || newest(&dir) > 1 && fs::read_dir(dir.path("state/groups")).unwrap().count() > 50);
    until("no snapshot under way", || {
        let then = newest(&dir);
        std::thread::sleep(Duration::from_millis(300));
        newest(&dir) == then
    });
    let then = newest(&dir);
    fs::remove_dir_all(dir.path("state/groups")).unwrap();
    running.send(&shop(50));
    until("a snapshot that names what is there", || newest(&dir) > then);
    running.finish().assert_success().assert_stderr(&["it is missing"]);
    let list = listed(&dir, "state");
    assert_eq!(list[0].1, "whole", "{list:?}");
    let export = dir.deltarec(&["snapshot", "export", "--state", "state", "--output", "-"]).assert_success();
    assert_eq!(export.stdout.lines().count(), 51 * 3);
}

#[test]
fn a_folder_that_cannot_hold_snapshots_is_refused_before_anything_is_written() {
    let dir = TestDir::new();
    let events = log(&dir, 600, 4);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&arguments("expected.jsonl", None, 1)).finish().assert_success();
    fs::create_dir(dir.path("state")).unwrap();
    dir.write("state/groups", "a file where a folder should be");
    dir.write("out.jsonl", "what is there already\n");
    let done = dir.begin(&arguments("out.jsonl", Some("state"), 1)).finish();
    done.assert_failure(1, &["state/groups", "a file is where a folder should be"]);
    assert_eq!(dir.read("out.jsonl"), "what is there already\n");
    fs::remove_file(dir.path("out.jsonl")).unwrap();
    fs::remove_file(dir.path("state/groups")).unwrap();
    dir.begin(&arguments("out.jsonl", Some("state"), 1)).finish().assert_success();
    assert_same_stream("put right", &dir.read("out.jsonl"), &dir.read("expected.jsonl"));
}

#[test]
fn a_full_disk_costs_only_snapshots() {
    let dir = TestDir::new();
    let events = log(&dir, 1_500, 6);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&arguments("expected.jsonl", None, 1)).finish().assert_success();
    let state = dir.path("state");
    let Some(disk) = Disk::new(&state, "128k") else { return };
    let done = dir.begin(&arguments("out.jsonl", Some("state"), 1)).finish();
    let done = done.assert_failure(1, &["is not complete", "free some space"]);
    assert_eq!(done.summary().events, 1_500);
    assert_same_stream("full", &dir.read("out.jsonl"), &dir.read("expected.jsonl"));
    // The files of failed snapshots are deleted.
    let needed: u64 =
        fs::read_dir(state.join("groups")).into_iter().flatten().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    println!("{needed} bytes are left on the disk; {:?}", listed(&dir, "state"));
    disk.grow("64m");
    // A kill, and a run that resumes from what is stored.
    let running = dir.begin(&arguments("out.jsonl", Some("state"), 2));
    std::thread::sleep(Duration::from_millis(200));
    running.signal("KILL");
    running.finish_within(RUN_TIMEOUT);
    dir.begin(&arguments("out.jsonl", Some("state"), 2)).finish().assert_success();
    assert_same_stream("with room again", &dir.read("out.jsonl"), &dir.read("expected.jsonl"));
    assert_eq!(listed(&dir, "state")[0].1, "whole");
}

/// A snapshot holds interactions, not what was computed from them.
#[test]
fn resumes_with_another_similarity() {
    let dir = TestDir::new();
    let events = log(&dir, 1_200, 7);
    for (n, measure) in ["cosine", "jaccard", "llr", "count"].into_iter().enumerate() {
        // With more input each time, and in the end with nothing new.
        dir.write("in.jsonl", lines(&events[..[500, 800, 1_200, 1_200][n]]));
        let set = ["--set".to_owned(), format!("graph.similarity={measure}")];
        dir.begin(&[single_snapshot_arguments("alone.jsonl", None, 1), set.to_vec()].concat())
            .finish()
            .assert_success();
        let done = dir
            .begin(&[single_snapshot_arguments("out.jsonl", Some("state"), 2), set.to_vec()].concat())
            .finish()
            .assert_success();
        if n > 0 {
            done.assert_stderr(&["graph.similarity was", measure]);
        }
        let lists_of = |output: &str| final_lists(&changes(&dir.read(output)));
        assert_lists_eq(measure, &lists_of("out.jsonl"), &lists_of("alone.jsonl"), 10);
    }
}

#[test]
fn rejects_incompatible_settings() {
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(now()));
    let run = |more: &str| dir.run(&format!("--input in.jsonl --output out.jsonl --state state {more}"));
    run("").assert_success();
    let before = dir.read("out.jsonl");
    run("--set graph.history=101").assert_failure(2, &["graph.history was 100 and is 101", "--rebuild"]);
    run("--set levels.view=2").assert_failure(2, &["[levels]", "--rebuild"]);
    run("--where level>2").assert_failure(2, &["--where"]);
    run("--set state.codec=arrow").assert_failure(2, &["state.codec", "\"parquet\" or \"records\""]);
    assert_eq!(dir.read("out.jsonl"), before);
    run("--set graph.history=101 --rebuild").assert_success().assert_stderr(&["rereading the inputs"]);
    assert_eq!(dir.read("out.jsonl"), before, "equal lists are not sent again");
    run("--set graph.history=101 --set state.codec=records").assert_success();
}
