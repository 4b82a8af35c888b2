//! Trending lists survive restarts: snapshots hold their events, with the rooms.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::{ListKey, RESERVED, TRENDING};

use super::super::{last_lists, set, trends};
use super::*;
use crate::support::oracle::trending::Trending;

const EVENTS: usize = 3_000;

/// Length of a bucket: even, so that no bucket ends at the time of an event.
const BUCKET: u64 = 60 * SECOND;

const TRENDING_PARAMETERS: Trending = Trending { k: 4, bucket: BUCKET, buckets: 5 };

fn with_trending(mut arguments: Vec<String>) -> Vec<String> {
    arguments.extend(set(TRENDING_PARAMETERS).split_whitespace().map(str::to_owned));
    arguments
}

/// The shared lists that are not empty.
fn shared_lists(output: &str) -> BTreeMap<String, Vec<String>> {
    let mut lists = last_lists(&changes(output));
    lists.retain(|key, items| key.starts_with(RESERVED) && !items.is_empty());
    lists
}

#[test]
fn trending_lists_match_the_oracle_and_leave_user_lists_alone() {
    let place = Place::new();
    let events = log(&place, EVENTS, 31);
    place.write("in.jsonl", lines(&events));
    place.begin(&arguments("plain.jsonl", None, 1)).end().well();
    for workers in [1, 2, 4] {
        place.begin(&with_trending(arguments("out.jsonl", None, workers))).end().well();
        let found = shared_lists(&place.read("out.jsonl"));
        assert_eq!(found, trends(&events, TRENDING_PARAMETERS), "{workers} workers");
        assert!(found.len() > 3 && found.contains_key(TRENDING), "{found:?}");
        let users: Vec<Change> = ordered(&place.read("out.jsonl"));
        let users: Vec<_> = users.into_iter().filter(|change| matches!(change.key, ListKey::User(_))).collect();
        assert!(users == ordered(&place.read("plain.jsonl")), "{workers} workers: the lists of users differ");
    }
}

#[test]
fn random_kills_do_not_change_trending_lists() {
    let place = Place::new();
    let events = log(&place, EVENTS, 32);
    place.write("in.jsonl", lines(&events));
    place.begin(&with_trending(arguments("expected.jsonl", None, 1))).end().well();
    let expected = place.read("expected.jsonl");
    let started = Instant::now();
    place.begin(&with_trending(arguments("durable.jsonl", Some("whole"), 1))).end().well();
    let duration = started.elapsed();
    assert_same_stream("with snapshots", &place.read("durable.jsonl"), &expected);
    for (round, codec) in ["parquet", "records", "parquet"].into_iter().enumerate() {
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[round as u8; 32]);
        let mut draw = |below: u64| random.next_u64() % below;
        let (output, state) = (format!("out{round}.jsonl"), format!("state{round}"));
        let run = |workers: usize| {
            let mut arguments = with_trending(arguments(&output, Some(&state), workers));
            arguments.extend(["--set".into(), format!("state.codec={codec}")]);
            place.begin(&arguments)
        };
        for _ in 0..3 {
            let running = run([1, 2, 4][draw(3) as usize]);
            thread::sleep(duration * draw(1_000) as u32 / 1_000);
            running.signal("KILL");
            running.end_within(super::super::PATIENCE);
        }
        run([1, 2, 4][draw(3) as usize]).end().well();
        assert_same_stream(&format!("round {round}"), &place.read(&output), &expected);
        place.deltarec(&["snapshot", "verify", "--state", &state]).well();
    }
}

/// A stop after each part, so that there is a snapshot within every window, with varying numbers of workers.
#[test]
fn restarts_do_not_change_trending_lists() {
    let place = Place::new();
    let events = log(&place, EVENTS, 33);
    place.write("in.jsonl", lines(&events));
    place.begin(&with_trending(arguments("expected.jsonl", None, 1))).end().well();
    for part in 1..=6 {
        place.write("in.jsonl", lines(&events[..part * events.len() / 6]));
        place
            .begin(&with_trending(single_snapshot_arguments("out.jsonl", Some("state"), [1, 2, 4][part % 3])))
            .end()
            .well();
    }
    assert_same_stream("in six parts", &place.read("out.jsonl"), &place.read("expected.jsonl"));
    let exported = place.deltarec(&["snapshot", "export", "--state", "state", "--output", "-"]).well().out;
    assert!(exported.lines().any(|line| line.contains("\"room\":")), "rooms are in the snapshot");
    // Dropped events cannot trend, and switching trending off ends its lists.
    let arguments = |sets: &[&str]| {
        let mut all = single_snapshot_arguments("out.jsonl", Some("state"), 1);
        all.extend(sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
        all
    };
    let longer = arguments(&["trending.k=4", "trending.bucket=60s", "trending.buckets=9"]);
    place.begin(&longer).end().failed(2, &["[trending] was", "--rebuild"]);
    place.begin(&arguments(&[])).end().well();
    assert_eq!(shared_lists(&place.read("out.jsonl")), BTreeMap::new());
    place
        .begin(&with_trending(single_snapshot_arguments("out.jsonl", Some("state"), 1)))
        .end()
        .failed(2, &["[trending] was null"]);
}

#[test]
fn rejects_reserved_names_of_users_while_trending_is_on() {
    let place = Place::new();
    let event = |user: &str| format!("{{\"user\":\"{user}\",\"item\":\"p\",\"action\":\"view\",\"ts\":{START}}}\n");
    place.write("in.jsonl", event("deltarec:trending") + &event("deltarec") + &event("deltarec:x"));
    let done = place.begin(&with_trending(arguments("out.jsonl", None, 1))).end().well();
    done.said(&["2 rejected (reserved_name 2)"]);
    place.begin(&arguments("out.jsonl", None, 1)).end().well().said(&[" 0 rejected"]);
}
