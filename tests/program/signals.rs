//! Runs that end by a signal.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::{Place, Running, changes, two_shoppers, unpacked};

const A_FEW_SECONDS: Duration = Duration::from_secs(8);

/// A run of many events that has started to write.
fn long_run(place: &Place, output: &str) -> Running {
    let input = "generate:events=50000000,users=2000,items=500";
    let running =
        place.start(&["run", "--input", input, "--output", output, "--set", "input.batch=500", "--workers", "2"]);
    let asked = Instant::now();
    while fs::metadata(place.path(output)).map_or(0, |file| file.len()) < 100_000 {
        assert!(asked.elapsed() < A_FEW_SECONDS, "nothing is written");
        thread::sleep(Duration::from_millis(5));
    }
    running
}

#[test]
fn a_signal_drains_the_events_already_read() {
    let place = Place::new();
    for (signal, output) in [("INT", "out.jsonl"), ("TERM", "out.jsonl.gz")] {
        let running = long_run(&place, output);
        running.signal(signal);
        let asked = Instant::now();
        let done = running.end_within(A_FEW_SECONDS).well().said(&["shutting down: draining in-flight events"]);
        println!("SIG{signal}: ended after {:?}", asked.elapsed());
        let bytes = fs::read(place.path(output)).unwrap();
        let text = if output.ends_with("gz") { unpacked(&bytes) } else { bytes };
        let found = changes(std::str::from_utf8(&text).unwrap());
        assert_eq!(done.summary().changes, found.len() as u64);
        assert!(found.len() > 100);
    }
}

#[test]
fn a_signal_ends_a_run_that_waits_for_input() {
    let place = Place::new();
    for signal in ["INT", "TERM"] {
        for clock in ["event", "wall"] {
            let mut running = place.start(&["run", "--clock", clock, "--rejects", "rejects.jsonl.gz"]);
            running.send(&format!("nonsense\n{}", two_shoppers(super::now())));
            running.until(A_FEW_SECONDS, "the change", |out| out.contains("butter"));
            running.signal(signal);
            let done = running.end_within(A_FEW_SECONDS).well().said(&["shutting down: draining in-flight events"]);
            assert_eq!(changes(&done.out).len(), 1);
            let summary = done.summary();
            assert_eq!((summary.events, summary.rejected, summary.changes), (3, 1, 1));
            assert_eq!(summary.rejected_by.get("malformed"), Some(&1), "{}", done.err);
            // A compressed file has the record only if it was closed.
            let rejects = unpacked(&fs::read(place.path("rejects.jsonl.gz")).unwrap());
            assert!(String::from_utf8(rejects).unwrap().contains("nonsense"));
        }
    }
}

#[test]
fn a_signal_leaves_whole_lines_of_a_simulation() {
    let place = Place::new();
    let running = place.start(&["generate", "events=500000000", "--output", "x.jsonl"]);
    let asked = Instant::now();
    while fs::metadata(place.path("x.jsonl")).map_or(0, |file| file.len()) < 100_000 {
        assert!(asked.elapsed() < A_FEW_SECONDS, "nothing is written");
        thread::sleep(Duration::from_millis(2));
    }
    running.signal("INT");
    running.end_within(A_FEW_SECONDS).well();
    let text = place.read("x.jsonl");
    assert!(text.ends_with('\n'));
    assert!(text.lines().all(|line| serde_json::from_str::<schema::Event>(line).is_ok()));
}

#[test]
fn a_killed_run_leaves_whole_lines_except_the_last() {
    let place = Place::new();
    let running = long_run(&place, "out.jsonl");
    running.signal("KILL");
    assert_eq!(running.end_within(A_FEW_SECONDS).code, None);
    let text = place.read("out.jsonl");
    let found = changes(&text[..=text.rfind('\n').unwrap()]);
    assert!(found.len() > 100);
}
