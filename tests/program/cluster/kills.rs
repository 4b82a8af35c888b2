//! Processes are killed at random moments and all are started again until the input is processed. No change is lost or
//! emitted twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::ListKey;

use super::{Cluster, RUN_TIMEOUT, simulated};
use crate::program::{Lists, TestDir, assert_lists_eq, changes, final_lists};

/// One round: two processes replay a log, and each is restarted when it fails, as a supervisor does. Up to four times one of
/// them is killed, also before they are linked.
fn round(seed: u8, log: &str, expected: &Lists) {
    let dir = TestDir::new();
    dir.write("x.jsonl", log);
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut draw = |below: u64| random.next_u64() % below;
    let cluster = Cluster::new(&dir, 2, 1 + draw(2) as usize);
    // Snapshots follow each other at once, so that many kills fall into one.
    let args = "--input x.jsonl --output out.jsonl --state state --set state.interval=1ms --set graph.audience=all \
                --set input.batch=20";
    let mut running: Vec<_> = cluster.start_all(args).into_iter().map(Some).collect();
    let (mut kills, mut killed_at) = (0, Instant::now());
    let mut next = Duration::from_millis(150 + draw(900));
    let started = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(3));
        assert!(started.elapsed() < 3 * RUN_TIMEOUT, "round {seed} does not end");
        if kills < 4
            && killed_at.elapsed() >= next
            && let Some(victim) = &running[draw(2) as usize]
        {
            victim.signal("KILL");
            (kills, killed_at, next) = (kills + 1, Instant::now(), Duration::from_millis(150 + draw(900)));
        }
        let mut over = false;
        for (process, slot) in running.iter_mut().enumerate() {
            let Some(done) = slot.take_if(|running| running.child.try_wait().unwrap().is_some()) else { continue };
            let done = done.finish_within(RUN_TIMEOUT);
            assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
            match done.code {
                Some(0) if process == 0 => over = true,
                // Process 0 is about to end, or is killed before.
                Some(0) => {}
                Some(3) | None => *slot = Some(cluster.start(process, args)),
                other => panic!("process {process} ended with {other:?}: {}", done.stderr),
            }
        }
        if over {
            break;
        }
        if running[1].is_none() && running[0].is_some() && killed_at.elapsed() < Duration::from_millis(100) {
            running[1] = Some(cluster.start(1, args));
        }
    }
    let written = dir.read("out.jsonl");
    let found = changes(&written);
    assert_lists_eq(&format!("round {seed}, {kills} kills"), &final_lists(&found), expected, 100);
    let mut lists: BTreeMap<&ListKey, Vec<&str>> = BTreeMap::new();
    for change in &found {
        let items: Vec<&str> = change.items.iter().map(|scored| scored.item.as_str()).collect();
        let before = lists.insert(&change.key, items.clone()).unwrap_or_default();
        assert_ne!(before, items, "round {seed}: the list of {} is emitted again", change.key);
    }
}

fn rounds(seeds: std::ops::Range<u8>) {
    let dir = TestDir::new();
    let (_, expected) = simulated(&dir, "events=6000,users=150,items=100,seed=4");
    let log = dir.read("x.jsonl");
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
