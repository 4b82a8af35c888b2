//! The final lists of a run equal the oracle's, for any order, format and number of inputs and workers.

use std::fmt::Write as _;
use std::fs;
use std::sync::OnceLock;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::Event;

use super::{Lists, Place, assert_same, changes, judged, last_lists, latest, unpacked, unscored};
use crate::support::oracle::{self, Params};

const SIMULATION: &str = "events=20000,users=500,items=300,seed=5";

/// A simulated log, in `x.jsonl.gz` and in memory, with the oracle's final lists.
struct Simulated {
    place: Place,
    events: Vec<Event>,
    /// Lists with `graph.audience = "all"`.
    everyone: Lists,
    /// Lists with the default audience.
    present: Lists,
}

fn simulated() -> &'static Simulated {
    static SIMULATED: OnceLock<Simulated> = OnceLock::new();
    SIMULATED.get_or_init(|| {
        let place = Place::new();
        place.deltarec(&["generate", SIMULATION, "--output", "x.jsonl.gz"]).well();
        let events = parse(&unpacked(&fs::read(place.path("x.jsonl.gz")).unwrap()));
        assert_eq!(events.len(), 20_000);
        let judged = judged(&events);
        let now = latest(&judged);
        let everyone = unscored(oracle::lists(&judged, &Params { audience: None, ..Params::default() }, now));
        let present = unscored(oracle::lists(&judged, &Params::default(), now));
        Simulated { place, events, everyone, present }
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
fn lists_after_run(place: &Place, inputs: &str) -> Lists {
    let done = place.run(&format!("{inputs} --set graph.audience=all")).well();
    last_lists(&changes(&done.out))
}

#[test]
fn final_lists_of_a_simulated_log_equal_the_oracle() {
    let log = simulated();
    let done = log.place.run("--input x.jsonl.gz --output all.jsonl --set graph.audience=all").well();
    let found = changes(&log.place.read("all.jsonl"));
    assert_same("audience all", &last_lists(&found), &log.everyone, 400);
    let summary = done.summary();
    assert_eq!((summary.events, summary.rejected, summary.changes), (20_000, 0, found.len() as u64));

    let done = log.place.run("--input x.jsonl.gz").well();
    assert_same("default audience", &last_lists(&changes(&done.out)), &log.present, 300);
}

#[test]
fn users_who_left_the_audience_have_no_list() {
    // At one event per second the log lasts hours, so the audience of half an hour is a small part of its users.
    let place = Place::new();
    place.deltarec(&["generate", "events=6000,users=500,items=300,seed=6,rate=1", "--output", "x.jsonl"]).well();
    let events = judged(&parse(place.read("x.jsonl").as_bytes()));
    let present = unscored(oracle::lists(&events, &Params::default(), latest(&events)));
    let everyone = unscored(oracle::lists(&events, &Params { audience: None, ..Params::default() }, latest(&events)));
    assert!(present.len() + 100 < everyone.len(), "{} of {} are present", present.len(), everyone.len());
    let done = place.run("--input x.jsonl --set input.batch=100").well();
    assert_same("default audience", &last_lists(&changes(&done.out)), &present, 30);
}

#[test]
fn lists_do_not_depend_on_the_number_of_workers() {
    let log = simulated();
    for workers in [2, 4] {
        let found = lists_after_run(&log.place, &format!("--input x.jsonl.gz --workers {workers}"));
        assert_same(&format!("{workers} workers"), &found, &log.everyone, 400);
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
    log.place.write("shuffled.jsonl", lines(&shuffled));
    for inputs in [
        "--input shuffled.jsonl",
        "--input shuffled.jsonl --set input.batch=1000 --workers 2",
        "--input x.jsonl.gz --input x.jsonl.gz",
        "--input x.jsonl.gz --input shuffled.jsonl",
    ] {
        assert_same(inputs, &lists_after_run(&log.place, inputs), &log.everyone, 400);
    }
}

#[test]
fn lists_do_not_depend_on_compression_or_format_of_the_input() {
    let log = simulated();
    let text = lines(&log.events);
    log.place.write("plain.jsonl", &text);
    log.place.write("packed.jsonl.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    let mut csv = String::from("room,when,what,who,did,watched\n");
    for Event { user, item, action, ts, dwell_ms, room, .. } in &log.events {
        let dwell = dwell_ms.map_or(String::new(), |dwell| dwell.to_string());
        let room = room.as_deref().unwrap_or_default();
        writeln!(csv, "\"{room}, live\",{}.{:03},{item},{user},{action},{dwell}", ts / 1000, ts % 1000).unwrap();
    }
    log.place.write("other.csv", csv);
    for inputs in [
        "--input plain.jsonl",
        "--input packed.jsonl.zst",
        "--input other.csv --columns user=who,item=what,action=did,ts=when:s,dwell_ms=watched",
    ] {
        assert_same(inputs, &lists_after_run(&log.place, inputs), &log.everyone, 400);
    }
    let piped = log.place.run_with("--set graph.audience=all", text.as_bytes()).well();
    assert_same("stdin", &last_lists(&changes(&piped.out)), &log.everyone, 400);
}

#[test]
fn a_generated_input_equals_the_generated_file() {
    let log = simulated();
    let from_file = log.place.run("--input x.jsonl.gz --set graph.audience=all").well();
    let directly = log.place.run(&format!("--input generate:{SIMULATION} --set graph.audience=all")).well();
    assert!(changes(&directly.out).len() > 500);
    assert!(from_file.out == directly.out, "the outputs differ");
}

#[test]
fn a_compressed_output_holds_the_same_records() {
    let log = simulated();
    let plain = log.place.run("--input x.jsonl.gz").well().out;
    log.place.run("--input x.jsonl.gz --output out.jsonl.gz").well();
    log.place.run("--input x.jsonl.gz --output out.jsonl.zst").well();
    assert!(unpacked(&fs::read(log.place.path("out.jsonl.gz")).unwrap()) == plain.as_bytes());
    assert!(zstd::decode_all(&*fs::read(log.place.path("out.jsonl.zst")).unwrap()).unwrap() == plain.as_bytes());
}

/// Memory depends on the retained events, not on the number of events read.
#[test]
fn memory_is_bounded_over_a_million_events() {
    const EVENTS: u64 = 1_000_000;
    let place = Place::new();
    let input = format!("--input generate:events={EVENTS},users=20000,items=5000");
    let small = "--set graph.retention=10s --set graph.audience=5s --set graph.history=20 --output out.jsonl";
    let summary = place.run(&format!("{input} {small}")).well().summary();
    println!("{} events, {} changes, peak {} MiB", summary.events, summary.changes, summary.peak_mib);
    assert_eq!(summary.events, EVENTS);
    assert!(summary.changes > 1_000);
    assert!(summary.peak_mib < 200, "peak memory {} MiB", summary.peak_mib);
}

/// After a jump of forty days every user falls due, each at their own millisecond. When the interactions operator did not
/// limit the ticks in flight, 50,000 of them took 2 GiB.
#[test]
fn a_jump_in_time_does_not_raise_peak_memory() {
    let place = Place::new();
    let simulated = place.deltarec(&["generate", "events=15000,users=15000,items=3000"]).well().out;
    let after_jump = 40 * 24 * 60 * 60 * 1_000 + 1_762_862_400_000 + 60_000;
    place.write("x.jsonl", simulated + &super::event("late", "p1", "view", after_jump));
    let args = "--input x.jsonl --output out.jsonl --set input.batch=1 --set graph.neighbours=3";
    for workers in ["", "--workers 2"] {
        let summary = place.run(&format!("{args} {workers}")).well().summary();
        println!("{} events, {} changes, peak {} MiB", summary.events, summary.changes, summary.peak_mib);
        assert_eq!(summary.events, 15_001);
        let lists = last_lists(&changes(&place.read("out.jsonl")));
        assert!(lists.values().all(Vec::is_empty), "a list is not empty");
        assert!(summary.peak_mib < 200, "peak memory {} MiB", summary.peak_mib);
    }
}
