//! Processes are killed at random moments and all are started again until the input is processed. No change is lost or
//! emitted twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::ListKey;

use super::{Cluster, PATIENCE, simulated};
use crate::program::{Lists, Place, assert_same, changes, last_lists};

/// One round: two processes replay a log, and each is restarted when it fails, as a supervisor does. Up to four times one of
/// them is killed, also before they are linked.
fn round(seed: u8, log: &str, expected: &Lists) {
    let place = Place::new();
    place.write("x.jsonl", log);
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut draw = |below: u64| random.next_u64() % below;
    let cluster = Cluster::new(&place, 2, 1 + draw(2) as usize);
    // Snapshots follow each other at once, so that many kills fall into one.
    let args = "--input x.jsonl --output out.jsonl --state state --set state.interval=1ms --set graph.audience=all \
                --set input.batch=20";
    let mut running: Vec<_> = cluster.start_all(args).into_iter().map(Some).collect();
    let (mut kills, mut killed_at) = (0, Instant::now());
    let mut next = Duration::from_millis(150 + draw(900));
    let started = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(3));
        assert!(started.elapsed() < 3 * PATIENCE, "round {seed} does not end");
        if kills < 4
            && killed_at.elapsed() >= next
            && let Some(victim) = &running[draw(2) as usize]
        {
            victim.signal("KILL");
            (kills, killed_at, next) = (kills + 1, Instant::now(), Duration::from_millis(150 + draw(900)));
        }
        let mut over = false;
        for (process, place) in running.iter_mut().enumerate() {
            let Some(done) = place.take_if(|running| running.child.try_wait().unwrap().is_some()) else { continue };
            let done = done.end_within(PATIENCE);
            assert!(!done.err.contains("panicked"), "{}", done.err);
            match done.code {
                Some(0) if process == 0 => over = true,
                // Process 0 is about to end, or is killed before.
                Some(0) => {}
                Some(3) | None => *place = Some(cluster.start(process, args)),
                other => panic!("process {process} ended with {other:?}: {}", done.err),
            }
        }
        if over {
            break;
        }
        if running[1].is_none() && running[0].is_some() && killed_at.elapsed() < Duration::from_millis(100) {
            running[1] = Some(cluster.start(1, args));
        }
    }
    let written = place.read("out.jsonl");
    let found = changes(&written);
    assert_same(&format!("round {seed}, {kills} kills"), &last_lists(&found), expected, 100);
    let mut lists: BTreeMap<&ListKey, Vec<&str>> = BTreeMap::new();
    for change in &found {
        let items: Vec<&str> = change.items.iter().map(|scored| scored.item.as_str()).collect();
        let before = lists.insert(&change.key, items.clone()).unwrap_or_default();
        assert_ne!(before, items, "round {seed}: the list of {} is emitted again", change.key);
    }
}

fn rounds(seeds: std::ops::Range<u8>) {
    let place = Place::new();
    let (_, expected) = simulated(&place, "events=6000,users=150,items=100,seed=4");
    let log = place.read("x.jsonl");
    seeds.for_each(|seed| round(seed, &log, &expected));
}

#[test]
fn a_cluster_recovers_from_kills_at_any_moment() {
    rounds(0..5);
}

/// `cargo test --test deltarec -- --ignored a_cluster_recovers_in_fifty_rounds`
#[test]
#[ignore = "takes minutes"]
fn a_cluster_recovers_in_fifty_rounds() {
    rounds(5..55);
}
