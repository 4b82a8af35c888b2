//! kill -9 at random moments, with varying numbers of workers.

use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::id64;
use snapshots::{Store, group_of};

use super::super::{judged, last_lists, latest, unscored};
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
    let place = Place::new();
    let events = log(&place, EVENTS, seed);
    place.write("in.jsonl", lines(&events));
    place.begin(&arguments("out.jsonl", None, 1)).end().well();
    let expected = place.read("out.jsonl");
    let found = changes(&expected);
    let judged = judged(&events);
    let params = Params { history: 12, audience: Some(AUDIENCE), retention: RETENTION, ..Params::default() };
    let lists = unscored(oracle::lists(&judged, &params, latest(&judged)));
    super::super::assert_same("uninterrupted", &last_lists(&found), &lists, 20);
    assert!(found.iter().any(|change| change.items.is_empty()), "no viewer ever leaves");
    let started = Instant::now();
    place.begin(&arguments("durable.jsonl", Some("state"), 1)).end().well();
    assert_same_stream("with snapshots", &place.read("durable.jsonl"), &expected);
    Log { events, expected, duration: started.elapsed() }
}

/// Kills a run a few times, at moments drawn from the seed, and runs the last one to its end.
fn round(log: &Log, seed: u8) {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut draw = |below: u64| random.next_u64() % below;
    let place = Place::new();
    place.write("in.jsonl", lines(&log.events));
    let mut killed = 0;
    for _ in 0..3 {
        let workers = [1, 2, 4][draw(3) as usize];
        let running = place.begin(&arguments("out.jsonl", Some("state"), workers));
        thread::sleep(log.duration * draw(1_000) as u32 / 1_000);
        running.signal("KILL");
        killed += u32::from(running.end_within(super::super::PATIENCE).code.is_none());
    }
    let workers = [1, 2, 4][draw(3) as usize];
    let done = place.begin(&arguments("out.jsonl", Some("state"), workers)).end().well();
    println!("round {seed}: killed {killed} times; {}", done.err.lines().next().unwrap_or_default());
    assert_same_stream(&format!("round {seed}"), &place.read("out.jsonl"), &log.expected);
    // Leftovers of the last kill are deleted.
    let state = listed(&place, "state");
    assert!((1..=3).contains(&state.len()) && state.iter().all(|(_, what)| what == "whole"), "{state:?}");
    place.deltarec(&["snapshot", "verify", "--state", "state"]).well();
}

#[test]
fn random_kills_do_not_change_the_output() {
    let log = uninterrupted(11);
    for seed in 0..5 {
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
    let log = uninterrupted(12);
    for workers in [[1, 2, 4], [4, 1, 2], [2, 4, 1]] {
        let place = Place::new();
        for (part, workers) in workers.into_iter().enumerate() {
            // The input has grown meanwhile.
            place.write("in.jsonl", lines(&log.events[..(part + 1) * EVENTS / 3]));
            place.begin(&arguments("out.jsonl", Some("state"), workers)).end().well();
        }
        assert_same_stream(&format!("{workers:?}"), &place.read("out.jsonl"), &log.expected);
    }
}

/// Compressed files are continued by compressing them again.
#[test]
fn continues_a_compressed_output() {
    let log = uninterrupted(13);
    for output in ["out.jsonl.gz", "out.jsonl.zst"] {
        let place = Place::new();
        place.write("in.jsonl", lines(&log.events));
        let running = place.begin(&arguments(output, Some("state"), 1));
        thread::sleep(log.duration / 2);
        running.signal("KILL");
        running.end_within(super::super::PATIENCE);
        place.begin(&arguments(output, Some("state"), 2)).end().well();
        let bytes = fs::read(place.path(output)).unwrap();
        let text = if output.ends_with("gz") {
            super::super::unpacked(&bytes)
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
    let place = Place::new();
    let events = log(&place, 600, 8);
    place.write("in.jsonl", lines(&events));
    place.begin(&single_snapshot_arguments("whole.jsonl", None, 1)).end().well();
    let mut files = Vec::new();
    for (upto, workers) in [(400, 1), (401, 2), (600, 1)] {
        place.write("in.jsonl", lines(&events[..upto]));
        place.begin(&single_snapshot_arguments("out.jsonl", Some("state"), workers)).end().well();
        let store = Store::open(place.path("state").to_str().unwrap()).unwrap();
        files.push(store.newest().unwrap().manifest.expect("a snapshot").groups);
    }
    let changed = |at: usize| files[at].iter().filter(|file| !files[at - 1].contains(file)).count();
    assert!((1..=10).contains(&changed(1)), "{} of {}", changed(1), files[1].len());
    let of_the_event = group_of(id64(&events[400].user));
    assert!(files[1].iter().any(|file| file.group == of_the_event && !files[0].contains(file)));
    assert!(changed(2) > 10, "{} of {}", changed(2), files[2].len());
    assert_same_stream("three runs", &place.read("out.jsonl"), &place.read("whole.jsonl"));
}
