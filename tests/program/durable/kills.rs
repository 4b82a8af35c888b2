//! kill -9 at random moments, with varying numbers of workers.

use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::{id64, key_group};
use snapshots::Store;

use super::super::{final_lists, latest_ts, oracle_events, without_scores};
use super::*;
use crate::support::oracle::{self, Params};

const EVENTS: usize = 3_000;

/// Input and expected output of the rounds.
struct Log {
    events: Vec<Event>,
    expected: String,
    /// Duration of a run with state.
    duration: Duration,
}

/// Makes the output of an uninterrupted run, and compares its last lists with the oracle.
fn uninterrupted(seed: u64) -> Log {
    let dir = TestDir::new();
    let events = log(&dir, EVENTS, seed);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&arguments("out.jsonl", None, 1)).finish().assert_success();
    let expected = dir.read("out.jsonl");
    let found = changes(&expected);
    let oracle_events = oracle_events(&events);
    let params = Params { history: 12, audience: Some(AUDIENCE), retention: RETENTION, ..Params::default() };
    let lists = without_scores(oracle::lists(&oracle_events, &params, latest_ts(&oracle_events)));
    super::super::assert_lists_eq("uninterrupted", &final_lists(&found), &lists, 20);
    assert!(found.iter().any(|change| change.items.is_empty()), "no viewer ever leaves");
    let started = Instant::now();
    dir.begin(&arguments("durable.jsonl", Some("state"), 1)).finish().assert_success();
    assert_same_stream("with snapshots", &dir.read("durable.jsonl"), &expected);
    Log { events, expected, duration: started.elapsed() }
}

/// Kills a run a few times, at moments drawn from the seed, and runs the last one to its end.
fn round(log: &Log, seed: u8) {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut draw = |below: u64| random.next_u64() % below;
    let dir = TestDir::new();
    dir.write("in.jsonl", lines(&log.events));
    let mut killed = 0;
    for _ in 0..3 {
        let workers = [1, 2, 4][draw(3) as usize];
        let running = dir.begin(&arguments("out.jsonl", Some("state"), workers));
        thread::sleep(log.duration * draw(1_000) as u32 / 1_000);
        running.signal("KILL");
        killed += u32::from(running.finish_within(super::super::RUN_TIMEOUT).code.is_none());
    }
    let workers = [1, 2, 4][draw(3) as usize];
    let done = dir.begin(&arguments("out.jsonl", Some("state"), workers)).finish().assert_success();
    println!("round {seed}: killed {killed} times; {}", done.stderr.lines().next().unwrap_or_default());
    assert_same_stream(&format!("round {seed}"), &dir.read("out.jsonl"), &log.expected);
    // Leftovers of the last kill are deleted.
    let state = listed(&dir, "state");
    assert!((1..=3).contains(&state.len()) && state.iter().all(|(_, what)| what == "whole"), "{state:?}");
    dir.deltarec(&["snapshot", "verify", "--state", "state"]).assert_success();
}

#[test]
fn random_kills_do_not_change_the_output() {
    let log = uninterrupted(11);
    for seed in 0..3 {
        round(&log, seed);
    }
}

#[test]
#[ignore = "long: scripts/long_tests"]
fn fifty_random_kills_do_not_change_the_output() {
    for seed in 0..50 {
        round(&uninterrupted(100 + u64::from(seed) / 10), seed);
    }
}

/// A clean stop after each part, with one, two and four workers in different orders.
#[test]
fn resumes_with_any_number_of_workers() {
    let events = uninterrupted(12).events;
    let whole = TestDir::new();
    whole.write("in.jsonl", lines(&events));
    whole.begin(&at_every_tick(arguments("out.jsonl", None, 1))).finish().assert_success();
    let expected = whole.read("out.jsonl");
    for workers in [[1, 2, 4], [4, 1, 2], [2, 4, 1]] {
        let dir = TestDir::new();
        for (part, workers) in workers.into_iter().enumerate() {
            // The input has grown meanwhile.
            dir.write("in.jsonl", lines(&events[..(part + 1) * EVENTS / 3]));
            dir.begin(&at_every_tick(arguments("out.jsonl", Some("state"), workers))).finish().assert_success();
        }
        assert_same_stream(&format!("{workers:?}"), &dir.read("out.jsonl"), &expected);
    }
}

/// Compressed files are continued by compressing them again.
#[test]
fn continues_a_compressed_output() {
    let log = uninterrupted(13);
    for output in ["out.jsonl.gz", "out.jsonl.zst"] {
        let dir = TestDir::new();
        dir.write("in.jsonl", lines(&log.events));
        let running = dir.begin(&arguments(output, Some("state"), 1));
        thread::sleep(log.duration / 2);
        running.signal("KILL");
        running.finish_within(super::super::RUN_TIMEOUT);
        dir.begin(&arguments(output, Some("state"), 2)).finish().assert_success();
        let bytes = fs::read(dir.path(output)).unwrap();
        let text = if output.ends_with("gz") {
            super::super::gunzip(&bytes)
        } else {
            zstd::decode_all(bytes.as_slice()).unwrap()
        };
        assert_same_stream(output, std::str::from_utf8(&text).unwrap(), &log.expected);
    }
}

/// The first snapshot after a restart writes the groups that changed since the one it resumed from, and names the other
/// files again.
#[test]
fn unchanged_groups_keep_their_files_over_a_restart() {
    let dir = TestDir::new();
    let events = log(&dir, 600, 8);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&at_every_tick(single_snapshot_arguments("whole.jsonl", None, 1))).finish().assert_success();
    let mut files = Vec::new();
    for (upto, workers) in [(400, 1), (401, 2), (600, 1)] {
        dir.write("in.jsonl", lines(&events[..upto]));
        dir.begin(&at_every_tick(single_snapshot_arguments("out.jsonl", Some("state"), workers)))
            .finish()
            .assert_success();
        let store = Store::open(dir.path("state").to_str().unwrap()).unwrap();
        files.push(store.newest().unwrap().manifest.expect("a snapshot").groups);
    }
    let changed = |at: usize| files[at].iter().filter(|file| !files[at - 1].contains(file)).count();
    assert!((1..=10).contains(&changed(1)), "{} of {}", changed(1), files[1].len());
    let of_the_event = key_group(id64(&events[400].user));
    assert!(files[1].iter().any(|file| file.group == of_the_event && !files[0].contains(file)));
    assert!(changed(2) > 10, "{} of {}", changed(2), files[2].len());
    assert_same_stream("three runs", &dir.read("out.jsonl"), &dir.read("whole.jsonl"));
}
