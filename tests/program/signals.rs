//! Runs that end by a signal.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{RunningProcess, TestDir, changes, gunzip, two_shoppers};

const A_FEW_SECONDS: Duration = Duration::from_secs(60);

/// A run of many events that has started to write.
fn long_run(dir: &TestDir, output: &str) -> RunningProcess {
    let input = "generate:events=50000000,users=2000,items=500";
    let running =
        dir.start(&["run", "--input", input, "--output", output, "--set", "input.batch=500", "--workers", "2"]);
    let asked = Instant::now();
    while fs::metadata(dir.path(output)).map_or(0, |file| file.len()) < 100_000 {
        assert!(asked.elapsed() < A_FEW_SECONDS, "nothing is written");
        thread::sleep(Duration::from_millis(5));
    }
    running
}

#[test]
fn a_signal_drains_the_events_already_read() {
    let dir = TestDir::new();
    for (signal, output) in [("INT", "out.jsonl"), ("TERM", "out.jsonl.gz")] {
        let running = long_run(&dir, output);
        running.signal(signal);
        let asked = Instant::now();
        let done = running
            .finish_within(A_FEW_SECONDS)
            .assert_success()
            .assert_stderr(&["shutting down: draining in-flight events"]);
        println!("SIG{signal}: ended after {:?}", asked.elapsed());
        let bytes = fs::read(dir.path(output)).unwrap();
        let text = if output.ends_with("gz") { gunzip(&bytes) } else { bytes };
        let found = changes(std::str::from_utf8(&text).unwrap());
        assert_eq!(done.summary().changes, found.len() as u64);
        assert!(found.len() > 100);
    }
}

#[test]
fn a_signal_ends_a_run_that_waits_for_input() {
    let dir = TestDir::new();
    for signal in ["INT", "TERM", "HUP"].into_iter().filter(|signal| *signal != "HUP" || !is_hup_ignored()) {
        for clock in ["event", "wall"] {
            let mut running = dir.start(&["run", "--clock", clock, "--rejects", "rejects.jsonl.gz"]);
            running.send(&format!("nonsense\n{}", two_shoppers(super::now())));
            running.wait_for_output(A_FEW_SECONDS, "the change", |out| out.contains("butter"));
            running.signal(signal);
            let done = running
                .finish_within(A_FEW_SECONDS)
                .assert_success()
                .assert_stderr(&["shutting down: draining in-flight events"]);
            assert_eq!(changes(&done.stdout).len(), 1);
            let summary = done.summary();
            assert_eq!((summary.events, summary.rejected, summary.changes), (3, 1, 1));
            assert_eq!(summary.rejected_by.get("malformed"), Some(&1), "{}", done.stderr);
            // A compressed file has the record only if it was closed.
            let rejects = gunzip(&fs::read(dir.path("rejects.jsonl.gz")).unwrap());
            assert!(String::from_utf8(rejects).unwrap().contains("nonsense"));
        }
    }
}

/// Whether these tests run under `nohup`: then what they start ignores SIGHUP too.
pub(super) fn is_hup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

/// `nohup` ignores SIGHUP, and so does the program that it starts.
#[test]
fn sighup_stays_ignored_where_it_was() {
    if !Path::new("/proc/self/status").exists() {
        println!("skipped: what is ignored is read from /proc");
        return;
    }
    let dir = TestDir::new();
    let mut command = Command::new("bash");
    command.args(["-c", &format!("trap '' HUP; exec {} run --clock wall", env!("CARGO_BIN_EXE_deltarec"))]);
    let mut running = dir.spawn(command);
    running.send(&two_shoppers(super::now()));
    running.wait_for_output(A_FEW_SECONDS, "the change", |out| out.contains("butter"));
    running.signal("HUP");
    running.send(&super::event("eve", "bread", "view", super::now()));
    running.wait_for_output(A_FEW_SECONDS, "another change", |out| out.contains("eve"));
    let done = running.finish().assert_success();
    assert!(!done.stderr.contains("shutting down"), "{}", done.stderr);
}

#[test]
fn a_signal_leaves_whole_lines_of_a_simulation() {
    let dir = TestDir::new();
    let running = dir.start(&["generate", "events=500000000", "--output", "x.jsonl"]);
    let asked = Instant::now();
    while fs::metadata(dir.path("x.jsonl")).map_or(0, |file| file.len()) < 100_000 {
        assert!(asked.elapsed() < A_FEW_SECONDS, "nothing is written");
        thread::sleep(Duration::from_millis(2));
    }
    running.signal("INT");
    running.finish_within(A_FEW_SECONDS).assert_success();
    let text = dir.read("x.jsonl");
    assert!(text.ends_with('\n'));
    assert!(text.lines().all(|line| serde_json::from_str::<schema::Event>(line).is_ok()));
}

#[test]
fn a_killed_run_leaves_whole_lines_except_the_last() {
    let dir = TestDir::new();
    let running = long_run(&dir, "out.jsonl");
    running.signal("KILL");
    assert_eq!(running.finish_within(A_FEW_SECONDS).code, None);
    let text = dir.read("out.jsonl");
    let found = changes(&text[..=text.rfind('\n').unwrap()]);
    assert!(found.len() > 100);
}
