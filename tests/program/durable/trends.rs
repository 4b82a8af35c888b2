//! Trending lists survive restarts: snapshots hold their events, with the rooms.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::{ListKey, RESERVED, TRENDING};

use super::super::{expected_trending, final_lists, trending_args};
use super::*;
use crate::support::oracle::trending::Trending;

const EVENTS: usize = 3_000;

/// Length of a bucket: even, so that no bucket ends at the time of an event.
const BUCKET: u64 = 60 * SECOND;

const TRENDING_PARAMETERS: Trending = Trending { k: 4, bucket: BUCKET, buckets: 5 };

fn with_trending(mut arguments: Vec<String>) -> Vec<String> {
    arguments.extend(trending_args(TRENDING_PARAMETERS).split_whitespace().map(str::to_owned));
    arguments
}

/// The shared lists that are not empty.
fn shared_lists(output: &str) -> BTreeMap<String, Vec<String>> {
    let mut lists = final_lists(&changes(output));
    lists.retain(|key, items| key.starts_with(RESERVED) && !items.is_empty());
    lists
}

#[test]
fn trending_lists_match_the_oracle_and_leave_user_lists_alone() {
    let dir = TestDir::new();
    let events = log(&dir, EVENTS, 31);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&arguments("plain.jsonl", None, 1)).finish().assert_success();
    for workers in [1, 2, 4] {
        dir.begin(&with_trending(arguments("out.jsonl", None, workers))).finish().assert_success();
        let found = shared_lists(&dir.read("out.jsonl"));
        assert_eq!(found, expected_trending(&events, TRENDING_PARAMETERS), "{workers} workers");
        assert!(found.len() > 3 && found.contains_key(TRENDING), "{found:?}");
        let users: Vec<Change> = ordered(&dir.read("out.jsonl"));
        let users: Vec<_> = users.into_iter().filter(|change| matches!(change.key, ListKey::User(_))).collect();
        assert!(users == ordered(&dir.read("plain.jsonl")), "{workers} workers: the lists of users differ");
    }
}

#[test]
fn random_kills_do_not_change_trending_lists() {
    let dir = TestDir::new();
    let events = log(&dir, EVENTS, 32);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&with_trending(arguments("expected.jsonl", None, 1))).finish().assert_success();
    let expected = dir.read("expected.jsonl");
    let started = Instant::now();
    dir.begin(&with_trending(arguments("durable.jsonl", Some("whole"), 1))).finish().assert_success();
    let duration = started.elapsed();
    assert_same_stream("with snapshots", &dir.read("durable.jsonl"), &expected);
    for (round, codec) in ["parquet", "records", "parquet"].into_iter().enumerate() {
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[round as u8; 32]);
        let mut draw = |below: u64| random.next_u64() % below;
        let (output, state) = (format!("out{round}.jsonl"), format!("state{round}"));
        let run = |workers: usize| {
            let mut arguments = with_trending(arguments(&output, Some(&state), workers));
            arguments.extend(["--set".into(), format!("state.codec={codec}")]);
            dir.begin(&arguments)
        };
        for _ in 0..3 {
            let running = run([1, 2, 4][draw(3) as usize]);
            thread::sleep(duration * draw(1_000) as u32 / 1_000);
            running.signal("KILL");
            running.finish_within(super::super::RUN_TIMEOUT);
        }
        run([1, 2, 4][draw(3) as usize]).finish().assert_success();
        assert_same_stream(&format!("round {round}"), &dir.read(&output), &expected);
        dir.deltarec(&["snapshot", "verify", "--state", &state]).assert_success();
    }
}

/// A stop after each part, so that there is a snapshot within every window, with varying numbers of workers.
#[test]
fn restarts_do_not_change_trending_lists() {
    let dir = TestDir::new();
    let events = log(&dir, EVENTS, 33);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&with_trending(arguments("expected.jsonl", None, 1))).finish().assert_success();
    for part in 1..=6 {
        dir.write("in.jsonl", lines(&events[..part * events.len() / 6]));
        dir.begin(&with_trending(single_snapshot_arguments("out.jsonl", Some("state"), [1, 2, 4][part % 3])))
            .finish()
            .assert_success();
    }
    // Each part ends with an evaluation of all viewers, so the lists of viewers are sent at other times.
    let of_all = |file: &str| -> Vec<Change> {
        ordered(&dir.read(file)).into_iter().filter(|change| !matches!(change.key, ListKey::User(_))).collect()
    };
    assert_eq!(of_all("out.jsonl"), of_all("expected.jsonl"));
    let exported = dir.deltarec(&["snapshot", "export", "--state", "state", "--output", "-"]).assert_success().stdout;
    assert!(exported.lines().any(|line| line.contains("\"room\":")), "rooms are in the snapshot");
    // An event that a history and the trending lists retain is one row.
    let events = exported.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        ["user", "item", "ts", "level"].map(|field| event[field].to_string())
    });
    let distinct: std::collections::BTreeSet<_> = events.clone().collect();
    assert_eq!(events.count(), distinct.len());
    // Dropped events cannot trend, and switching trending off ends its lists.
    let arguments = |sets: &[&str]| {
        let mut all = single_snapshot_arguments("out.jsonl", Some("state"), 1);
        all.extend(sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
        all
    };
    let longer = arguments(&["trending.k=4", "trending.bucket=60s", "trending.buckets=9"]);
    dir.begin(&longer).finish().assert_failure(2, &["[trending] was", "--rebuild"]);
    dir.begin(&arguments(&[])).finish().assert_success();
    assert_eq!(shared_lists(&dir.read("out.jsonl")), BTreeMap::new());
    dir.begin(&with_trending(single_snapshot_arguments("out.jsonl", Some("state"), 1)))
        .finish()
        .assert_failure(2, &["[trending] was null"]);
}

#[test]
fn rejects_reserved_names_of_users_while_trending_is_on() {
    let dir = TestDir::new();
    let event = |user: &str| format!("{{\"user\":\"{user}\",\"item\":\"p\",\"action\":\"view\",\"ts\":{START}}}\n");
    dir.write("in.jsonl", event("deltarec:trending") + &event("deltarec") + &event("deltarec:x"));
    let done = dir.begin(&with_trending(arguments("out.jsonl", None, 1))).finish().assert_success();
    done.assert_stderr(&["2 rejected (reserved_name 2)"]);
    dir.begin(&arguments("out.jsonl", None, 1)).finish().assert_success().assert_stderr(&[" 0 rejected"]);
}
