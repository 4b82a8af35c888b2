//! The records of an output: their format, their sequence and when they are emitted.

use std::collections::{BTreeMap, HashSet};

use schema::ListKey;

use super::{TestDir, assert_lists_eq, changes, final_lists, oracle_events, two_shoppers, without_scores};
use crate::support::oracle::{self, OracleEvent, Params};

const MINUTE: u64 = 60_000;

#[test]
fn a_record_is_one_json_line_with_its_fields_in_order() {
    let dir = TestDir::new();
    let at = 1_763_900_000_000;
    let ev = |user, item, level| OracleEvent::new(user, item, level, at);
    let events = [ev("ann", "bread", 6), ev("ann", "butter", 6), ev("bob", "bread", 1)];
    let score = oracle::lists(&events, &Params::default(), at)["bob"][0].1;
    let done = dir.run_with_stdin("", two_shoppers(at).as_bytes()).assert_success();
    assert_eq!(
        done.stdout,
        format!(
            "{{\"user\":\"bob\",\"at\":{at},\"items\":[{{\"item\":\"butter\",\"score\":{score}}}],\
             \"entered\":[\"butter\"],\"left\":[]}}\n"
        )
    );
}

#[test]
fn a_list_that_becomes_empty_is_emitted_as_an_empty_list() {
    let dir = TestDir::new();
    // When eve arrives, half an hour later, bob has left the audience.
    let input = two_shoppers(1000) + &super::event("eve", "tea", "view", 1000 + 31 * MINUTE);
    let done = dir.run_with_stdin("--set input.batch=1", input.as_bytes()).assert_success();
    let last = done.stdout.lines().last().unwrap();
    let at = 1000 + 30 * MINUTE;
    assert_eq!(last, format!("{{\"user\":\"bob\",\"at\":{at},\"items\":[],\"entered\":[],\"left\":[\"butter\"]}}"));
}

#[test]
fn entered_and_left_of_every_record_follow_from_the_record_before() {
    let dir = TestDir::new();
    dir.deltarec(&["generate", "events=6000,users=300,items=200,seed=9,rate=5", "--output", "x.jsonl"])
        .assert_success();
    let done = dir
        .run(
            "--input x.jsonl --set input.batch=1 --set graph.refresh=0ms --set graph.audience=2m \
             --set graph.retention=5m --set graph.k=7",
        )
        .assert_success();
    let records = changes(&done.stdout);
    assert!(records.len() > 3_000, "only {} records", records.len());

    let mut lists: BTreeMap<&ListKey, Vec<&str>> = BTreeMap::new();
    let (mut at, mut emptied, mut reordered) = (0, 0, 0);
    for record in &records {
        assert!(record.at >= at, "{} follows {at}", record.at);
        at = record.at;
        let new: Vec<&str> = record.items.iter().map(|scored| scored.item.as_str()).collect();
        let old = lists.insert(&record.key, new.clone()).unwrap_or_default();
        assert_ne!(old, new, "{record:?}");
        assert!(new.len() <= 7, "{record:?}");
        assert_eq!(new.iter().collect::<HashSet<_>>().len(), new.len(), "{record:?}");
        assert!(record.items.is_sorted_by(|a, b| a.score >= b.score && b.score > 0), "{record:?}");
        let entered: Vec<&str> = new.iter().copied().filter(|item| !old.contains(item)).collect();
        let left: Vec<&str> = old.iter().copied().filter(|item| !new.contains(item)).collect();
        assert_eq!(record.entered, entered, "{record:?}");
        assert_eq!(record.left, left, "{record:?}");
        emptied += usize::from(new.is_empty());
        reordered += usize::from(entered.is_empty() && left.is_empty());
    }
    println!("{} records, {emptied} emptied lists, {reordered} reordered", records.len());
    assert!(emptied > 50 && reordered > 50);

    // At any time the records add up to the oracle's lists.
    let events: Vec<_> = dir.read("x.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = oracle_events(&events);
    let params = Params { k: 7, audience: Some(2 * MINUTE), retention: 5 * MINUTE, ..Params::default() };
    let (first, last) = (events[0].ts, events[events.len() - 1].ts);
    for part in 1..=8 {
        let t = first + (last - first) * part / 8;
        let found = final_lists(records.iter().take_while(|record| record.at <= t));
        assert_lists_eq(&format!("part {part}"), &found, &without_scores(oracle::lists(&events, &params, t)), 10);
    }
}

#[test]
fn repeated_events_emit_nothing() {
    let dir = TestDir::new();
    dir.deltarec(&["generate", "events=2000,users=100,items=100,seed=3", "--output", "x.jsonl"]).assert_success();
    dir.write("twice.jsonl", dir.read("x.jsonl").repeat(2));
    let once = dir.run("--input x.jsonl --set input.batch=1").assert_success();
    let twice = dir.run("--input twice.jsonl --set input.batch=1").assert_success();
    assert_eq!((once.summary().events, twice.summary().events), (2_000, 4_000));
    assert!(once.summary().changes > 500);
    assert!(once.stdout == twice.stdout, "the repeated events emitted changes");
}
