//! `input.max_jump`: one wrong timestamp does not move the clock for all other events.

use std::fs;

use super::{TestDir, event};

const START: u64 = 1_600_000_000_001;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// Events a minute apart. No user comes to know all items, so lists change to the end.
fn log(events: std::ops::Range<u64>) -> Vec<String> {
    let one = |n: u64| event(&format!("u{}", n % 9), &format!("p{}", n * n % 101), "cart", START + n * 60_000);
    events.map(one).collect()
}

/// An event with a wrong time.
fn wrong(ts: u64) -> String {
    event("eve", "p1", "cart", ts)
}

fn sorted(output: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    lines
}

/// Each end of an input is an evaluation of all lists, so that a log in parts has more of them, unless every tick is one.
fn args(output: &str, more: &str) -> String {
    format!(
        "--input in.jsonl --output {output} --set input.batch=1 --set graph.refresh=0ms --set graph.audience=601001ms \
         --set graph.retention=864000001ms {more}"
    )
}

#[test]
fn one_wrong_timestamp_is_rejected_and_all_other_events_count() {
    let dir = TestDir::new();
    let right = log(0..400);
    dir.write("in.jsonl", right.concat());
    dir.run(&args("expected.jsonl", "")).assert_success();
    let expected = dir.read("expected.jsonl");
    assert!(expected.lines().count() > 100);
    let mut lines = right.clone();
    // At the limit it is taken, a millisecond after it is not.
    let limit = HOUR;
    let at = |n: u64| START + n * 60_000;
    lines.insert(300, wrong(at(299) + 300 * DAY));
    lines.insert(200, wrong(at(199) + limit + 1));
    lines.insert(200, wrong(at(199) + 30 * DAY));
    dir.write("in.jsonl", lines.concat());
    for workers in [1, 2, 4] {
        let more = format!("--set input.max_jump=1h --rejects rejects.jsonl --workers {workers}");
        let done = dir.run(&args("out.jsonl", &more)).assert_success();
        assert_eq!(done.summary().rejected, 3, "{}", done.stderr);
        // Of several workers, changes at one time have no order.
        assert_eq!(sorted(&dir.read("out.jsonl")), sorted(&expected), "{workers} workers");
        let rejects = dir.read("rejects.jsonl");
        assert_eq!(rejects.matches("\"reason\":\"time_jump\"").count(), 3, "{rejects}");
        assert!(rejects.contains("input.max_jump") && rejects.contains("\"line\":201"), "{rejects}");
    }
    // Without the limit, the clock is a year ahead and everything after it has expired.
    dir.run(&args("out.jsonl", "")).assert_success().assert_stderr(&["time jumps from"]);
    assert_ne!(dir.read("out.jsonl"), expected);
    // An event at the limit is taken.
    let mut lines = right;
    lines.insert(200, wrong(at(199) + limit));
    dir.write("in.jsonl", lines.concat());
    assert_eq!(dir.run(&args("out.jsonl", "--set input.max_jump=1h")).assert_success().summary().rejected, 0);
}

/// The rule has no other state than the clock, which the snapshot has.
#[test]
fn a_restart_decides_as_an_uninterrupted_run() {
    let dir = TestDir::new();
    let mut lines = log(0..200);
    for at in [150, 100, 99, 50] {
        lines.insert(at, wrong(START + 300 * DAY));
    }
    dir.write("in.jsonl", lines.concat());
    dir.run(&args("expected.jsonl", "--set input.max_jump=1h")).assert_success();
    for cut in [50, 51, 99, 100, 101, 102, 153] {
        for name in ["state", "out.jsonl"] {
            let path = dir.path(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { drop(fs::remove_file(path)) }
        }
        let mut rejected = 0;
        for (part, workers) in [(&lines[..cut], 1), (&lines[..], 2)] {
            dir.write("in.jsonl", part.concat());
            let more = format!("--set input.max_jump=1h --state state --workers {workers}");
            rejected += dir.run(&args("out.jsonl", &more)).assert_success().summary().rejected;
        }
        assert_eq!(rejected, 4, "cut at {cut}");
        assert_eq!(sorted(&dir.read("out.jsonl")), sorted(&dir.read("expected.jsonl")), "cut at {cut}");
    }
}

#[test]
fn a_pause_that_is_longer_says_what_to_set() {
    let dir = TestDir::new();
    let late = |n: u64| event(&format!("u{}", n % 9), "p3", "cart", START + 5 * DAY + n);
    dir.write("in.jsonl", log(0..20).concat() + &(0..150).map(late).collect::<String>());
    let done = dir.run(&args("out.jsonl", "--set input.max_jump=1d")).assert_success();
    assert_eq!(done.summary().rejected, 150);
    done.assert_stderr(&["100 records in a row", "longer input.max_jump"]);
    dir.write("in.jsonl", log(0..20).concat() + &late(0));
    let done = dir.run(&args("out.jsonl", "--set input.max_jump=1d")).assert_success();
    done.assert_stderr(&["the last records, 1 in number", "longer input.max_jump"]);
    assert_eq!(dir.run(&args("out.jsonl", "--set input.max_jump=6d")).assert_success().summary().rejected, 0);
    // The first event has nothing before it.
    dir.write("in.jsonl", wrong(START + 300 * DAY));
    assert_eq!(dir.run(&args("out.jsonl", "--set input.max_jump=1d")).assert_success().summary().rejected, 0);
    dir.run(&args("out.jsonl", "--clock wall --set input.max_jump=1d"))
        .assert_success()
        .assert_stderr(&["input.max_jump has no effect"]);
}
