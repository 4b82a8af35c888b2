//! The lists that a run leaves are the oracle's, however the events come in.

use std::fmt::Write as _;
use std::fs;
use std::sync::OnceLock;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::Event;

use super::{Lists, Place, assert_same, changes, judged, last_lists, latest, unpacked, unscored};
use crate::support::oracle::{self, Params};

const SIMULATION: &str = "events=20000,users=500,items=300,seed=5";

/// A simulated log, in `x.jsonl.gz` and in memory, and what the oracle says of it.
struct Simulated {
    place: Place,
    events: Vec<Event>,
    everybody: Lists,
    present: Lists,
}

fn simulated() -> &'static Simulated {
    static SIMULATED: OnceLock<Simulated> = OnceLock::new();
    SIMULATED.get_or_init(|| {
        let place = Place::new();
        place.deltarec(&["generate", SIMULATION, "--output", "x.jsonl.gz"]).well();
        let events = read(&unpacked(&fs::read(place.path("x.jsonl.gz")).unwrap()));
        assert_eq!(events.len(), 20_000);
        let judged = judged(&events);
        let now = latest(&judged);
        let everybody = unscored(oracle::lists(&judged, &Params { audience: None, ..Params::default() }, now));
        let present = unscored(oracle::lists(&judged, &Params::default(), now));
        Simulated { place, events, everybody, present }
    })
}

fn read(lines: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(lines).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(events: &[Event]) -> String {
    events.iter().fold(String::new(), |mut text, event| {
        writeln!(text, "{}", serde_json::to_string(event).unwrap()).unwrap();
        text
    })
}

/// The lists after a run with these inputs, for everybody.
fn lists_of(place: &Place, inputs: &str) -> Lists {
    let done = place.run(&format!("{inputs} --set graph.audience=all")).well();
    last_lists(&changes(&done.out))
}

#[test]
fn the_last_lists_of_a_simulated_log_are_the_oracles() {
    let log = simulated();
    let done = log.place.run("--input x.jsonl.gz --output all.jsonl --set graph.audience=all").well();
    let found = changes(&log.place.read("all.jsonl"));
    assert_same("everybody", &last_lists(&found), &log.everybody, 400);
    let summary = done.summary();
    assert_eq!((summary.events, summary.rejected, summary.changes), (20_000, 0, found.len() as u64));

    let done = log.place.run("--input x.jsonl.gz").well();
    assert_same("present", &last_lists(&changes(&done.out)), &log.present, 300);
}

#[test]
fn who_has_left_the_audience_has_no_list() {
    // At one event a second the log lasts hours, and half an hour is a small part of it.
    let place = Place::new();
    place.deltarec(&["generate", "events=6000,users=500,items=300,seed=6,rate=1", "--output", "x.jsonl"]).well();
    let events = judged(&read(place.read("x.jsonl").as_bytes()));
    let present = unscored(oracle::lists(&events, &Params::default(), latest(&events)));
    let everybody = unscored(oracle::lists(&events, &Params { audience: None, ..Params::default() }, latest(&events)));
    assert!(present.len() + 100 < everybody.len(), "{} of {} are present", present.len(), everybody.len());
    let done = place.run("--input x.jsonl --set input.batch=100").well();
    assert_same("present", &last_lists(&changes(&done.out)), &present, 30);
}

#[test]
fn any_number_of_workers_gives_the_same_lists() {
    let log = simulated();
    for workers in [2, 4] {
        let found = lists_of(&log.place, &format!("--input x.jsonl.gz --workers {workers}"));
        assert_same(&format!("{workers} workers"), &found, &log.everybody, 400);
    }
}

#[test]
fn order_and_repetition_of_the_events_make_no_difference() {
    let log = simulated();
    let mut shuffled = log.events.clone();
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for end in (1..shuffled.len()).rev() {
        let other = usize::try_from(random.next_u64() % (end as u64 + 1)).unwrap();
        shuffled.swap(end, other);
    }
    log.place.write("shuffled.jsonl", lines(&shuffled));
    for inputs in [
        "--input shuffled.jsonl",
        "--input shuffled.jsonl --set input.batch=1000 --workers 2",
        "--input x.jsonl.gz --input x.jsonl.gz",
        "--input x.jsonl.gz --input shuffled.jsonl",
    ] {
        assert_same(inputs, &lists_of(&log.place, inputs), &log.everybody, 400);
    }
}

#[test]
fn the_packing_and_the_format_of_the_input_make_no_difference() {
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
        assert_same(inputs, &lists_of(&log.place, inputs), &log.everybody, 400);
    }
    let piped = log.place.run_with("--set graph.audience=all", text.as_bytes()).well();
    assert_same("stdin", &last_lists(&changes(&piped.out)), &log.everybody, 400);
}

#[test]
fn a_simulation_is_the_same_as_an_input_and_as_a_file() {
    let log = simulated();
    let from_file = log.place.run("--input x.jsonl.gz --set graph.audience=all").well();
    let directly = log.place.run(&format!("--input generate:{SIMULATION} --set graph.audience=all")).well();
    assert!(changes(&directly.out).len() > 500);
    assert!(from_file.out == directly.out, "the outputs differ");
}

#[test]
fn packed_outputs_hold_the_same_records() {
    let log = simulated();
    let plain = log.place.run("--input x.jsonl.gz").well().out;
    log.place.run("--input x.jsonl.gz --output out.jsonl.gz").well();
    log.place.run("--input x.jsonl.gz --output out.jsonl.zst").well();
    assert!(unpacked(&fs::read(log.place.path("out.jsonl.gz")).unwrap()) == plain.as_bytes());
    assert!(zstd::decode_all(&*fs::read(log.place.path("out.jsonl.zst")).unwrap()).unwrap() == plain.as_bytes());
}

/// What a run holds follows what is retained, not what has passed.
#[test]
fn memory_stays_bounded_however_much_passes() {
    let place = Place::new();
    let run = |events: u64| {
        let input = format!("--input generate:events={events},users=20000,items=5000");
        let small = "--set graph.retention=10s --set graph.audience=5s --set graph.history=20 --output out.jsonl";
        place.run(&format!("{input} {small}")).well().summary()
    };
    let summary = run(MANY);
    println!("{} events, {} changes, peak {} MiB", summary.events, summary.changes, summary.peak_mib);
    assert_eq!(summary.events, MANY);
    assert!(summary.changes > 1_000);
    assert!(summary.peak_mib < 200, "peak memory {} MiB", summary.peak_mib);
}

const MANY: u64 = 1_000_000;

/// Forty silent days make everybody due, each at their own millisecond. The door waited for nobody at first: 50,000 ticks
/// under way took 2 GiB.
#[test]
fn a_jump_in_time_takes_no_more_memory_than_the_time_before() {
    let place = Place::new();
    let simulated = place.deltarec(&["generate", "events=15000,users=15000,items=3000"]).well().out;
    let later = 40 * 24 * 60 * 60 * 1_000 + 1_762_862_400_000 + 60_000;
    place.write("x.jsonl", simulated + &super::event("late", "p1", "view", later));
    let run = |more: &str| {
        place
            .run(&format!("--input x.jsonl --output out.jsonl --set input.batch=1 --set graph.neighbours=3 {more}"))
            .well()
    };
    for workers in ["", "--workers 2"] {
        let summary = run(workers).summary();
        println!("{} events, {} changes, peak {} MiB", summary.events, summary.changes, summary.peak_mib);
        assert_eq!(summary.events, 15_001);
        assert!(
            last_lists(&changes(&place.read("out.jsonl"))).values().all(Vec::is_empty),
            "somebody still has a list"
        );
        assert!(summary.peak_mib < 200, "peak memory {} MiB", summary.peak_mib);
    }
}
