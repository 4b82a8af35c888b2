//! Names and their ids: two names are never merged, with a key nobody can craft them, and a state belongs to its key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use schema::{Event, IdKey};

use super::cluster::{Cluster, write_secret};
use super::{
    ProcessOutput, TestDir, assert_lists_eq, changes, event, final_lists, latest_ts, oracle_events, without_scores,
};
use crate::support::crafted::twins;
use crate::support::oracle::{self, Params};

const KEY: &str = "b1946ac92492d2347c6235b4d2611184";

/// Six shoppers who bought a knife and a rope, and then `rest`: (user, item).
fn shop(rest: &[(&str, &str)]) -> String {
    let mut log = String::new();
    let shoppers: Vec<String> = (0..6).map(|shopper| format!("x{shopper}")).collect();
    let bought = shoppers.iter().flat_map(|shopper| [(shopper.as_str(), "knife"), (shopper.as_str(), "rope")]);
    for (ts, (user, item)) in (1..).zip(bought.chain(rest.iter().copied())) {
        write!(log, "{}", event(user, item, "purchase", ts)).unwrap();
    }
    log
}

/// A run with `DELTAREC_IDENTITY_KEY` set.
fn run_with_key(dir: &TestDir, key: &str, args: &str) -> ProcessOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltarec"));
    command.arg("run").args(args.split_whitespace()).env_remove("RUST_LOG").env("DELTAREC_IDENTITY_KEY", key);
    dir.spawn(command).finish()
}

#[test]
fn the_later_of_two_names_with_one_id_is_rejected() {
    let dir = TestDir::new();
    let ((item, item_twin), (other, other_twin)) = (twins("item"), twins("u"));
    let (item, item_twin, other, other_twin) = (&*item, &*item_twin, &*other, &*other_twin);
    let victim = [("u13758", "knife"), (other, item), ("x0", item), ("x1", item)];
    let attacks = [("=,CGPL9A", "pen"), (other_twin, "rope"), ("x2", item_twin), ("=,CGPL9A", item_twin)];
    dir.write("honest.jsonl", shop(&victim));
    dir.write("x.jsonl", shop(&[&victim[..], &attacks[..]].concat()));
    let expected = final_lists(&changes(&dir.run("--input honest.jsonl").assert_success().stdout));
    assert_eq!(expected["u13758"][0], "rope");
    for args in ["", "--set input.batch=1", "--workers 2", "--workers 4 --set input.batch=3", "--set trending.k=3"] {
        let done = dir.run(&format!("--input x.jsonl --rejects rejects.jsonl {args}")).assert_success();
        let parts = ["`=,CGPL9A` has the same id as `u13758`", "identity.key"];
        let done = done.assert_stderr(&parts);
        assert_eq!(done.summary().rejected_by, BTreeMap::from([("name_collision".to_owned(), 4)]), "{args}");
        let mut found = final_lists(&changes(&done.stdout));
        found.retain(|list, _| !list.starts_with("deltarec:"));
        assert_lists_eq(args, &found, &expected, 5);
        let rejects = dir.read("rejects.jsonl");
        let line = rejects.lines().next().unwrap();
        assert!(line.contains("\"reason\":\"name_collision\"") && line.contains("=,CGPL9A"), "{line}");
        assert!(rejects.contains(&format!("item `{item_twin}` has the same id as `{item}`")), "{rejects}");
    }
    let cluster = Cluster::new(&dir, 2, 2);
    let found = final_lists(&changes(&cluster.run("--input x.jsonl")));
    assert_lists_eq("two processes", &found, &expected, 5);
}

#[test]
fn with_a_key_both_names_are_users_of_their_own() {
    let dir = TestDir::new();
    dir.write("x.jsonl", shop(&[("u13758", "knife"), ("=,CGPL9A", "rope")]));
    write_secret(&dir, "key", &format!("{KEY}\n"));
    let by_file = dir.run("--input x.jsonl --set identity.key=file:key").assert_success();
    let by_variable = run_with_key(&dir, KEY, "--input x.jsonl").assert_success();
    for done in [&by_file, &by_variable] {
        assert_eq!(done.summary().rejected, 0);
        let lists = final_lists(&changes(&done.stdout));
        assert_eq!((&lists["u13758"][..], &lists["=,CGPL9A"][..]), (&["rope".into()][..], &["knife".into()][..]));
        assert!(!done.stderr.contains(KEY));
    }
    assert_eq!(by_file.stdout, by_variable.stdout);
}

#[test]
fn lists_with_a_key_equal_the_oracles() {
    let dir = TestDir::new();
    dir.deltarec(&["generate", "events=4000,users=150,items=120,seed=8", "--output", "x.jsonl"]).assert_success();
    let log = dir.read("x.jsonl");
    let events: Vec<Event> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = oracle_events(&events);
    let lists_of = |ids| {
        let params = Params { ids, audience: None, ..Params::default() };
        without_scores(oracle::lists(&events, &params, latest_ts(&events)))
    };
    let expected = lists_of(IdKey::new(KEY.as_bytes()).unwrap());
    assert_ne!(expected, lists_of(IdKey::default()), "the key decides ties");
    for workers in [1, 2, 4] {
        let done = run_with_key(&dir, KEY, &format!("--input x.jsonl --set graph.audience=all --workers {workers}"));
        let found = final_lists(&changes(&done.assert_success().stdout));
        assert_lists_eq(&format!("{workers} workers"), &found, &expected, 100);
    }
}

#[test]
fn the_first_name_keeps_its_id_over_a_restart() {
    let dir = TestDir::new();
    let (item, item_twin) = twins("item");
    let args = "--input x.jsonl --output out.jsonl --state state --set trending.k=3";
    let (item, item_twin) = (&*item, &*item_twin);
    let victim = [("u13758", "knife"), ("u13758", item)];
    dir.write("x.jsonl", shop(&victim));
    dir.run(args).assert_success();
    let attacks = [("=,CGPL9A", "rope"), ("x3", item_twin)];
    dir.write("x.jsonl", shop(&[&victim[..], &attacks[..]].concat()));
    let done = dir.run(args).assert_success().assert_stderr(&["resuming from snapshot"]);
    assert_eq!(done.summary().rejected_by, BTreeMap::from([("name_collision".to_owned(), 2)]));
    let lists = final_lists(&changes(&dir.read("out.jsonl")));
    assert_eq!((&lists["u13758"][..], lists.get("=,CGPL9A")), (&["rope".into()][..], None));
}

#[test]
fn a_name_frees_its_id_when_its_last_event_has_expired_however_the_log_is_cut() {
    let dir = TestDir::new();
    let (item, item_twin) = twins("item");
    for refresh in [0, 1_500] {
        // The first name expires at 60,006, and is in no list `refresh` later. Nothing else is in its way: not a millisecond
        // earlier.
        let free = 60_006 + refresh;
        let mut log = String::new();
        for (user, item, ts) in [
            ("u13758", item.as_str(), 5),
            ("u13758", item.as_str(), 6),
            ("ann", "rope", free - 2),
            ("=,CGPL9A", "rope", free - 1),
            ("ann", item_twin.as_str(), free - 1),
            ("ann", "knife", free - 1),
            ("=,CGPL9A", item_twin.as_str(), free),
            ("=,CGPL9A", "rope", free),
            ("u13758", "rope", free + 1),
            ("bob", "rope", free + 2),
        ] {
            log += &event(user, item, "purchase", ts);
        }
        dir.write("x.jsonl", &log);
        for trending in ["", "--set trending.k=2 --set trending.bucket=1s --set trending.buckets=2"] {
            let mut expected = None;
            for args in ["--set input.batch=1", "--set input.batch=3", "", "--workers 2", "--state state --workers 4"] {
                let spans = format!("--set graph.retention=1m --set graph.audience=1m --set graph.refresh={refresh}ms");
                let done = dir.run(&format!("--input x.jsonl {spans} {trending} {args}")).assert_success();
                let rejected = done.summary().rejected_by;
                let context = format!("{spans} {trending} {args}");
                assert_eq!(rejected, BTreeMap::from([("name_collision".to_owned(), 3)]), "{context}");
                let lists = final_lists(&changes(&done.stdout));
                let mut list = lists["bob"].clone();
                list.sort_unstable_by_key(|item| item != "knife");
                assert_eq!(list, ["knife", item_twin.as_str()], "{context}");
                assert_eq!(lists, *expected.get_or_insert_with(|| lists.clone()), "{context}");
            }
            std::fs::remove_dir_all(dir.path("state")).unwrap();
        }
    }
}

#[test]
fn a_state_is_refused_with_another_key_and_without_its_key() {
    let dir = TestDir::new();
    dir.write("x.jsonl", shop(&[("ann", "knife")]));
    let args = |state: &str| format!("--input x.jsonl --output {state}.jsonl --state {state}");
    let key = IdKey::new(KEY.as_bytes()).unwrap().fingerprint().unwrap().to_string();
    run_with_key(&dir, KEY, &args("keyed")).assert_success();
    let other = "an entirely different key";
    run_with_key(&dir, other, &args("keyed"))
        .assert_failure(2, &["identity.key", &key, "this run's key", "add --rebuild"]);
    dir.run(&args("keyed")).assert_failure(2, &["identity.key", &key, "this run has none", "add --rebuild"]);
    let done = run_with_key(&dir, KEY, &args("keyed")).assert_success().assert_stderr(&["resuming from snapshot"]);
    assert!(!done.stderr.contains(KEY));
    // Everything can be read from its start again, with another key.
    run_with_key(&dir, other, &format!("{} --rebuild", args("keyed"))).assert_success();
    run_with_key(&dir, other, &args("keyed")).assert_success().assert_stderr(&["resuming from snapshot"]);
    let lists = final_lists(&changes(&dir.read("keyed.jsonl")));
    assert_eq!(lists["ann"], ["rope"]);
    // The files can be verified and exported without the key.
    dir.deltarec(&["snapshot", "verify", "--state", "keyed"]).assert_success();
    let exported = dir.deltarec(&["snapshot", "export", "--state", "keyed", "--output", "-"]).assert_success().stdout;
    assert_eq!(exported.lines().count(), 13);

    dir.run(&args("plain")).assert_success();
    run_with_key(&dir, KEY, &args("plain")).assert_failure(2, &["identity.key", "taken without a key"]);
    dir.run(&args("plain")).assert_success();
}

#[test]
fn a_key_that_cannot_be_used_is_a_mistake_in_the_configuration() {
    let dir = TestDir::new();
    dir.write("x.jsonl", shop(&[]));
    write_secret(&dir, "short", "fifteen bytes..\n");
    for (key, parts) in [
        ("file:short", ["15 bytes, at least 16", "openssl rand -hex 32"]),
        ("file:./nowhere", ["identity.key", "file ./nowhere"]),
        ("env:DELTAREC_NO_SUCH", ["identity.key", "DELTAREC_NO_SUCH"]),
        ("0123456789abcdef0123456789abcdef", ["env:VARIABLE", "(hidden)"]),
    ] {
        let done = dir.run(&format!("--input x.jsonl --set identity.key={key}")).assert_failure(2, &parts);
        assert!(!done.stderr.contains("fifteen") && !done.stderr.contains("0123456789abcdef"), "{}", done.stderr);
    }
    run_with_key(&dir, "short", "--input x.jsonl").assert_failure(2, &["DELTAREC_IDENTITY_KEY", "5 bytes"]);
    run_with_key(&dir, "", "--input x.jsonl").assert_success();
}
