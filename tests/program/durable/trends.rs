//! What trends survives as lists do: it is in the snapshots, with the rooms.

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

/// Even, so that a bucket never ends where an event is.
const BUCKET: u64 = 60 * SECOND;

const WITH_TRENDS: Trending = Trending { k: 4, bucket: BUCKET, buckets: 5 };

fn with_trends(mut arguments: Vec<String>) -> Vec<String> {
    arguments.extend(set(WITH_TRENDS).split_whitespace().map(str::to_owned));
    arguments
}

/// The lists that nobody's are, not empty.
fn nobodys(output: &str) -> BTreeMap<String, Vec<String>> {
    let mut lists = last_lists(&changes(output));
    lists.retain(|key, items| key.starts_with(RESERVED) && !items.is_empty());
    lists
}

#[test]
fn what_trends_is_the_oracles_and_users_have_the_lists_they_had() {
    let place = Place::new();
    let events = log(&place, EVENTS, 31);
    place.write("in.jsonl", lines(&events));
    place.begin(&arguments("plain.jsonl", None, 1)).end().well();
    for workers in [1, 2, 4] {
        place.begin(&with_trends(arguments("out.jsonl", None, workers))).end().well();
        let found = nobodys(&place.read("out.jsonl"));
        assert_eq!(found, trends(&events, WITH_TRENDS), "{workers} workers");
        assert!(found.len() > 3 && found.contains_key(TRENDING), "{found:?}");
        let users: Vec<Change> = ordered(&place.read("out.jsonl"));
        let users: Vec<_> = users.into_iter().filter(|change| matches!(change.key, ListKey::User(_))).collect();
        assert!(users == ordered(&place.read("plain.jsonl")), "{workers} workers: users' lists are others");
    }
}

#[test]
fn killed_at_random_what_trends_goes_on() {
    let place = Place::new();
    let events = log(&place, EVENTS, 32);
    place.write("in.jsonl", lines(&events));
    place.begin(&with_trends(arguments("expected.jsonl", None, 1))).end().well();
    let expected = place.read("expected.jsonl");
    let started = Instant::now();
    place.begin(&with_trends(arguments("durable.jsonl", Some("whole"), 1))).end().well();
    let took = started.elapsed();
    assert_same_stream("with snapshots", &place.read("durable.jsonl"), &expected);
    for (round, codec) in ["parquet", "records", "parquet"].into_iter().enumerate() {
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[round as u8; 32]);
        let mut draw = |below: u64| random.next_u64() % below;
        let (output, state) = (format!("out{round}.jsonl"), format!("state{round}"));
        let run = |workers: usize| {
            let mut arguments = with_trends(arguments(&output, Some(&state), workers));
            arguments.extend(["--set".into(), format!("state.codec={codec}")]);
            place.begin(&arguments)
        };
        for _ in 0..3 {
            let running = run([1, 2, 4][draw(3) as usize]);
            thread::sleep(took * draw(1_000) as u32 / 1_000);
            running.signal("KILL");
            running.end_within(super::super::PATIENCE);
        }
        run([1, 2, 4][draw(3) as usize]).end().well();
        assert_same_stream(&format!("round {round}"), &place.read(&output), &expected);
        place.deltarec(&["snapshot", "verify", "--state", &state]).well();
    }
}

/// A stop after each part, so that a snapshot falls amidst every window, with other numbers of workers.
#[test]
fn stopped_and_started_what_trends_goes_on() {
    let place = Place::new();
    let events = log(&place, EVENTS, 33);
    place.write("in.jsonl", lines(&events));
    place.begin(&with_trends(arguments("expected.jsonl", None, 1))).end().well();
    for part in 1..=6 {
        place.write("in.jsonl", lines(&events[..part * events.len() / 6]));
        place.begin(&with_trends(calm("out.jsonl", Some("state"), [1, 2, 4][part % 3]))).end().well();
    }
    assert_same_stream("in six parts", &place.read("out.jsonl"), &place.read("expected.jsonl"));
    let exported = place.deltarec(&["snapshot", "export", "--state", "state", "--output", "-"]).well().out;
    assert!(exported.lines().any(|line| line.contains("\"room\":")), "rooms are in the snapshot");
    // What was not kept cannot trend, and what is switched off ends.
    let arguments = |sets: &[&str]| {
        let mut all = calm("out.jsonl", Some("state"), 1);
        all.extend(sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
        all
    };
    let longer = arguments(&["trending.k=4", "trending.bucket=60s", "trending.buckets=9"]);
    place.begin(&longer).end().failed(2, &["[trending] was", "--rebuild"]);
    place.begin(&arguments(&[])).end().well();
    assert_eq!(nobodys(&place.read("out.jsonl")), BTreeMap::new());
    place.begin(&with_trends(calm("out.jsonl", Some("state"), 1))).end().failed(2, &["[trending] was null"]);
}

#[test]
fn a_reserved_name_is_no_user_while_something_trends() {
    let place = Place::new();
    let event = |user: &str| format!("{{\"user\":\"{user}\",\"item\":\"p\",\"action\":\"view\",\"ts\":{START}}}\n");
    place.write("in.jsonl", event("deltarec:trending") + &event("deltarec") + &event("deltarec:x"));
    let done = place.begin(&with_trends(arguments("out.jsonl", None, 1))).end().well();
    done.said(&["2 rejected (reserved_name 2)"]);
    place.begin(&arguments("out.jsonl", None, 1)).end().well().said(&[" 0 rejected"]);
}
