//! Time of a run: by the timestamps of events and by the clock of the machine.

use std::thread;
use std::time::Duration;

use schema::{TRENDING, trending_in};

use super::{TestDir, changes, event, now, two_shoppers};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn emits_changes_while_the_input_stays_open() {
    let dir = TestDir::new();
    for clock in ["wall", "event"] {
        let mut running = dir.start(&["run", "--clock", clock]);
        running.send(&two_shoppers(now()));
        let took = running.wait_for_output(SOON, "the first change", |out| out.contains("\"entered\":[\"butter\"]"));
        running.send(&(event("ann", "tea", "view", now()) + &event("eve", "tea", "view", now())));
        let again = running.wait_for_output(SOON, "the second change", |out| out.contains("\"user\":\"eve\""));
        println!("{clock} clock: {took:?} from the start, then {again:?}");
        let done = running.finish().assert_success();
        assert_eq!(done.summary().events, 5);
    }
}

#[test]
fn wall_clock_expires_lists_without_events() {
    let dir = TestDir::new();
    let mut running =
        dir.start(&["run", "--clock", "wall", "--set", "graph.retention=2s", "--set", "graph.audience=1s"]);
    running.send(&two_shoppers(now()));
    running.wait_for_output(SOON, "the list", |out| out.contains("butter"));
    let took = running.wait_for_output(2 * SOON, "its end", |out| {
        out.contains("\"user\":\"bob\",\"at\":") && out.contains("\"items\":[]")
    });
    assert!(took > Duration::from_millis(500), "it ended after {took:?}");
    let done = running.finish().assert_success();
    assert_eq!(done.stdout.lines().count(), 2, "{}", done.stdout);
}

#[test]
fn wall_clock_updates_trending_lists_without_events() {
    const BUCKET: u64 = 1_000;
    let dir = TestDir::new();
    let sets = ["trending.k=3", "trending.bucket=1s", "trending.buckets=3"].map(|set| ["--set", set]);
    let mut running = dir.start(&[&["run", "--clock", "wall"], sets.as_flattened()].concat());
    // The bucket of an event follows from its timestamp, however late it is read.
    let first = now() / BUCKET;
    running.send(&two_shoppers(first * BUCKET));
    running.wait_for_output(2 * SOON, "bread", |out| out.contains(TRENDING));
    let tea = event("eve", "tea", "view", (first + 1) * BUCKET);
    running.send(&tea.replace('}', ",\"room\":\"r7\"}"));
    // The list of the whole shop, and that of the room.
    running.wait_for_output(4 * SOON, "their ends", |out| {
        let ends = |line: &&str| line.contains(TRENDING) && line.contains("\"items\":[]");
        out.ends_with('\n') && out.lines().filter(ends).count() == 2
    });
    let done = running.finish().assert_success();
    let lists = |key: &str| -> Vec<(u64, Vec<String>)> {
        let of_key = changes(&done.stdout).into_iter().filter(|change| change.key.to_string() == key);
        let items = |change: schema::Change| change.items.into_iter().map(|scored| scored.item).collect();
        of_key.map(|change| (change.at / BUCKET - first, items(change))).collect()
    };
    let expected = |lists: &[(u64, &[&str])]| -> Vec<(u64, Vec<String>)> {
        lists.iter().map(|(at, items)| (*at, items.iter().map(ToString::to_string).collect())).collect()
    };
    assert_eq!(
        lists(TRENDING),
        expected(&[(1, &["bread", "butter"]), (2, &["bread", "butter", "tea"]), (4, &["tea"]), (5, &[])])
    );
    assert_eq!(lists(&trending_in("r7")), expected(&[(2, &["tea"]), (5, &[])]));
}

/// A pipe may stay open for days, so its records are compared with the time of their arrival, not with the start of the run.
#[test]
fn future_records_of_a_pipe_are_judged_at_arrival() {
    let dir = TestDir::new();
    for clock in ["wall", "event"] {
        let mut running = dir.start(&["run", "--clock", clock, "--set", "input.max_skew=100ms"]);
        running.send(&event("eve", "tea", "view", now()));
        thread::sleep(Duration::from_millis(500));
        running.send(&two_shoppers(now()));
        running.wait_for_output(SOON, "the change", |out| out.contains("butter"));
        running.send(&event("eve", "bread", "view", now() + 60_000));
        let done = running.finish().assert_success().assert_stderr(&["-:5: timestamp", "in the future"]);
        assert_eq!((done.summary().events, done.summary().rejected), (4, 1));
    }
}

#[test]
fn writes_rejected_records_while_the_input_stays_open() {
    let dir = TestDir::new();
    let mut running = dir.start(&["run", "--rejects", "rejects.jsonl"]);
    running.send(&format!("nonsense\n{}", two_shoppers(5)));
    running.wait_for_output(SOON, "the change", |out| out.contains("butter"));
    let is_written = |_: &str| dir.read("rejects.jsonl").contains("nonsense");
    running.wait_for_output(SOON, "the rejected record", is_written);
    running.finish().assert_success();
}

#[test]
fn uses_no_processor_time_while_idle() {
    let dir = TestDir::new();
    for args in [&["run", "--clock", "wall", "--workers", "2"][..], &["run"]] {
        let mut running = dir.start(args);
        running.send(&two_shoppers(now()));
        running.wait_for_output(SOON, "the first change", |out| out.contains("butter"));
        // The boundaries that follow a change.
        thread::sleep(Duration::from_millis(1_100));
        let before = running.cpu_ticks();
        thread::sleep(Duration::from_secs(1));
        let used = running.cpu_ticks() - before;
        println!("{}: {used} % of a core", args.join(" "));
        assert!(used < 3, "{}: {used} % of a core", args.join(" "));
        running.finish().assert_success();
    }
}
