//! Processes are killed at random moments; all are started again, until the work is done. Nothing is lost, nothing is
//! sent twice.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::{Cluster, PATIENCE, simulated};
use crate::program::{Lists, Place, assert_same, changes, last_lists};

/// One round: a log, played by two processes of which one is killed up to four times.
fn round(seed: u8, log: &str, expected: &Lists) {
    let place = Place::new();
    place.write("x.jsonl", log);
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut draw = |below: u64| random.next_u64() % below;
    let cluster = Cluster::new(&place, 2, 1 + draw(2) as usize);
    // Snapshots one after the other: many kills fall into one.
    let args = "--input x.jsonl --output out.jsonl --state state --set state.interval=1ms --set graph.audience=all \
                --set input.batch=20";
    let mut kills = 0;
    for attempt in 0.. {
        let running = cluster.start_all(args);
        let (killed, after) = (draw(2) as usize, Duration::from_millis(150 + draw(900)));
        if attempt < 4 {
            std::thread::sleep(after);
            running[killed].signal("KILL");
        }
        let done: Vec<_> = running.into_iter().map(|running| running.end_within(PATIENCE)).collect();
        let left = &done[1 - killed];
        assert!(!left.err.contains("panicked"), "{}", left.err);
        if done[killed].code == Some(0) && left.code == Some(0) {
            break;
        }
        assert!(attempt < 4, "nobody was killed, and {:?}", done);
        kills += 1;
        // At its very end a process may have seen no more of it.
        let code = left.code;
        assert!(code == Some(3) || (done[killed].code == Some(0)) || code == Some(0), "{}", left.err);
    }
    let written = place.read("out.jsonl");
    let found = changes(&written);
    assert_same(&format!("round {seed}, {kills} kills"), &last_lists(&found), expected, 100);
    let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for change in &found {
        let items: Vec<&str> = change.items.iter().map(|scored| scored.item.as_str()).collect();
        let before = lists.insert(&change.user, items.clone()).unwrap_or_default();
        assert_ne!(before, items, "round {seed}: the list of {} is sent again", change.user);
    }
}

fn rounds(seeds: std::ops::Range<u8>) {
    let place = Place::new();
    let (_, expected) = simulated(&place, "events=6000,users=150,items=100,seed=4");
    let log = place.read("x.jsonl");
    seeds.for_each(|seed| round(seed, &log, &expected));
}

#[test]
fn killed_at_any_moment_a_cluster_goes_on() {
    rounds(0..5);
}

/// `cargo test --test deltarec -- --ignored fifty_rounds`
#[test]
#[ignore = "takes minutes"]
fn killed_at_any_moment_fifty_rounds() {
    rounds(5..55);
}
