//! The final lists of a run equal the oracle's, for any order, format and number of inputs and workers.

use std::fmt::Write as _;
use std::fs;
use std::sync::OnceLock;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::Event;

use super::{Lists, TestDir, assert_lists_eq, changes, final_lists, gunzip, latest_ts, oracle_events, without_scores};
use crate::support::oracle::{self, Params};

const SIMULATION: &str = "events=20000,users=500,items=300,seed=5";

/// A simulated log, in `x.jsonl.gz` and in memory, with the oracle's final lists.
struct Simulated {
    dir: TestDir,
    events: Vec<Event>,
    /// Lists with `graph.audience = "all"`.
    everyone: Lists,
    /// Lists with the default audience.
    present: Lists,
}

fn simulated() -> &'static Simulated {
    static SIMULATED: OnceLock<Simulated> = OnceLock::new();
    SIMULATED.get_or_init(|| {
        let dir = TestDir::new();
        dir.deltarec(&["generate", SIMULATION, "--output", "x.jsonl.gz"]).assert_success();
        let events = parse(&gunzip(&fs::read(dir.path("x.jsonl.gz")).unwrap()));
        assert_eq!(events.len(), 20_000);
        let oracle_events = oracle_events(&events);
        let now = latest_ts(&oracle_events);
        let everyone =
            without_scores(oracle::lists(&oracle_events, &Params { audience: None, ..Params::default() }, now));
        let present = without_scores(oracle::lists(&oracle_events, &Params::default(), now));
        Simulated { dir, events, everyone, present }
    })
}

fn parse(lines: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(lines).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(events: &[Event]) -> String {
    events.iter().fold(String::new(), |mut text, event| {
        writeln!(text, "{}", serde_json::to_string(event).unwrap()).unwrap();
        text
    })
}

/// The final lists of a run with these inputs and `graph.audience=all`.
fn lists_after_run(dir: &TestDir, inputs: &str) -> Lists {
    let done = dir.run(&format!("{inputs} --set graph.audience=all")).assert_success();
    final_lists(&changes(&done.stdout))
}

#[test]
fn final_lists_of_a_simulated_log_equal_the_oracle() {
    let log = simulated();
    let done = log.dir.run("--input x.jsonl.gz --output all.jsonl --set graph.audience=all").assert_success();
    let found = changes(&log.dir.read("all.jsonl"));
    assert_lists_eq("audience all", &final_lists(&found), &log.everyone, 400);
    let summary = done.summary();
    assert_eq!((summary.events, summary.rejected, summary.changes), (20_000, 0, found.len() as u64));

    let done = log.dir.run("--input x.jsonl.gz").assert_success();
    assert_lists_eq("default audience", &final_lists(&changes(&done.stdout)), &log.present, 300);
}

#[test]
fn users_who_left_the_audience_have_no_list() {
    // At one event per second the log lasts hours, so the audience of half an hour is a small part of its users.
    let dir = TestDir::new();
    dir.deltarec(&["generate", "events=6000,users=500,items=300,seed=6,rate=1", "--output", "x.jsonl"])
        .assert_success();
    let events = oracle_events(&parse(dir.read("x.jsonl").as_bytes()));
    let present = without_scores(oracle::lists(&events, &Params::default(), latest_ts(&events)));
    let everyone =
        without_scores(oracle::lists(&events, &Params { audience: None, ..Params::default() }, latest_ts(&events)));
    assert!(present.len() + 100 < everyone.len(), "{} of {} are present", present.len(), everyone.len());
    let done = dir.run("--input x.jsonl --set input.batch=100").assert_success();
    assert_lists_eq("default audience", &final_lists(&changes(&done.stdout)), &present, 30);
}

#[test]
fn lists_do_not_depend_on_the_number_of_workers() {
    let log = simulated();
    for workers in [2, 4] {
        let found = lists_after_run(&log.dir, &format!("--input x.jsonl.gz --workers {workers}"));
        assert_lists_eq(&format!("{workers} workers"), &found, &log.everyone, 400);
    }
}

#[test]
fn lists_do_not_depend_on_order_or_duplicates() {
    let log = simulated();
    let mut shuffled = log.events.clone();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for last in (1..shuffled.len()).rev() {
        let other = usize::try_from(rng.next_u64() % (last as u64 + 1)).unwrap();
        shuffled.swap(last, other);
    }
    log.dir.write("shuffled.jsonl", lines(&shuffled));
    for inputs in [
        "--input shuffled.jsonl",
        "--input shuffled.jsonl --set input.batch=1000 --workers 2",
        "--input x.jsonl.gz --input x.jsonl.gz",
        "--input x.jsonl.gz --input shuffled.jsonl",
    ] {
        assert_lists_eq(inputs, &lists_after_run(&log.dir, inputs), &log.everyone, 400);
    }
}

#[test]
fn lists_do_not_depend_on_compression_or_format_of_the_input() {
    let log = simulated();
    let text = lines(&log.events);
    log.dir.write("plain.jsonl", &text);
    log.dir.write("packed.jsonl.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    let mut csv = String::from("room,when,what,who,did,watched\n");
    for Event { user, item, action, ts, dwell_ms, room, .. } in &log.events {
        let dwell = dwell_ms.map_or(String::new(), |dwell| dwell.to_string());
        let room = room.as_deref().unwrap_or_default();
        writeln!(csv, "\"{room}, live\",{}.{:03},{item},{user},{action},{dwell}", ts / 1000, ts % 1000).unwrap();
    }
    log.dir.write("other.csv", csv);
    for inputs in [
        "--input plain.jsonl",
        "--input packed.jsonl.zst",
        "--input other.csv --columns user=who,item=what,action=did,ts=when:s,dwell_ms=watched",
    ] {
        assert_lists_eq(inputs, &lists_after_run(&log.dir, inputs), &log.everyone, 400);
    }
    let piped = log.dir.run_with_stdin("--set graph.audience=all", text.as_bytes()).assert_success();
    assert_lists_eq("stdin", &final_lists(&changes(&piped.stdout)), &log.everyone, 400);
}

#[test]
fn a_generated_input_equals_the_generated_file() {
    let log = simulated();
    let from_file = log.dir.run("--input x.jsonl.gz --set graph.audience=all").assert_success();
    let directly = log.dir.run(&format!("--input generate:{SIMULATION} --set graph.audience=all")).assert_success();
    assert!(changes(&directly.stdout).len() > 500);
    assert!(from_file.stdout == directly.stdout, "the outputs differ");
}

#[test]
fn a_compressed_output_holds_the_same_records() {
    let log = simulated();
    let plain = log.dir.run("--input x.jsonl.gz").assert_success().stdout;
    log.dir.run("--input x.jsonl.gz --output out.jsonl.gz").assert_success();
    log.dir.run("--input x.jsonl.gz --output out.jsonl.zst").assert_success();
    assert!(gunzip(&fs::read(log.dir.path("out.jsonl.gz")).unwrap()) == plain.as_bytes());
    assert!(zstd::decode_all(&*fs::read(log.dir.path("out.jsonl.zst")).unwrap()).unwrap() == plain.as_bytes());
}

/// Memory depends on the retained events, not on the number of events read.
#[test]
fn memory_is_bounded_over_a_million_events() {
    const EVENTS: u64 = 1_000_000;
    let dir = TestDir::new();
    let input = format!("--input generate:events={EVENTS},users=20000,items=5000");
    let small = "--set graph.retention=10s --set graph.audience=5s --set graph.history=20 --output out.jsonl";
    let summary = dir.run(&format!("{input} {small}")).assert_success().summary();
    println!("{} events, {} changes, peak {} MiB", summary.events, summary.changes, summary.peak_mib);
    assert_eq!(summary.events, EVENTS);
    assert!(summary.changes > 1_000);
    assert!(summary.peak_mib < 200, "peak memory {} MiB", summary.peak_mib);
}

/// After a jump of forty days every user falls due, each at their own millisecond. When the interactions operator did not
/// limit the ticks in flight, 50,000 of them took 2 GiB.
#[test]
fn a_jump_in_time_does_not_raise_peak_memory() {
    let dir = TestDir::new();
    let simulated = dir.deltarec(&["generate", "events=15000,users=15000,items=3000"]).assert_success().stdout;
    let after_jump = 40 * 24 * 60 * 60 * 1_000 + 1_762_862_400_000 + 60_000;
    dir.write("x.jsonl", simulated + &super::event("late", "p1", "view", after_jump));
    let args = "--input x.jsonl --output out.jsonl --set input.batch=1 --set graph.neighbours=3";
    for workers in ["", "--workers 2"] {
        let summary = dir.run(&format!("{args} {workers}")).assert_success().summary();
        println!("{} events, {} changes, peak {} MiB", summary.events, summary.changes, summary.peak_mib);
        assert_eq!(summary.events, 15_001);
        let lists = final_lists(&changes(&dir.read("out.jsonl")));
        assert!(lists.values().all(Vec::is_empty), "a list is not empty");
        assert!(summary.peak_mib < 200, "peak memory {} MiB", summary.peak_mib);
    }
}
