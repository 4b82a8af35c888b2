//! Between topics: a real broker where `DELTAREC_KAFKA` names one, else what librdkafka's mock cluster can do.
//!
//! Sizes are for every change; `DELTAREC_KAFKA_FULL=1` takes those that a release is measured by (a million events, ten
//! million records behind a slow run, a broker that is away for half a minute).

mod broker;
mod exactly_once;
mod operations;
mod rows;

use std::fs;
use std::time::{Duration, Instant};

use schema::Event;

use self::broker::{Broker, any, assert_no_repeats, real};
use super::{Lists, Place, Running, assert_same, changes, judged, last_lists, latest, set, trends, unscored};
use crate::support::oracle::trending::Trending;
use crate::support::oracle::{self, Params};

/// Whether sizes are those of a release.
fn full() -> bool {
    std::env::var_os("DELTAREC_KAFKA_FULL").is_some()
}

/// Simulated events, in order.
fn simulated(place: &Place, simulation: &str) -> Vec<Event> {
    place.deltarec(&["generate", simulation, "--output", "events.jsonl"]).well();
    place.read("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the oracle says: lists for everybody.
fn expected(events: &[Event]) -> Lists {
    let events = judged(events);
    unscored(oracle::lists(&events, &Params { audience: None, ..Params::default() }, latest(&events)))
}

/// What the program says when the same events come out of a file: for logs that are too long for the oracle.
fn from_file(place: &Place) -> Lists {
    let done = place.run("--input events.jsonl --output file.jsonl --set graph.audience=all --set input.batch=100000");
    assert!(done.well().err.contains("events/s"));
    last_lists(&changes(&fs::read_to_string(place.path("file.jsonl")).unwrap()))
}

/// Starts a run between two topics by the clock of the events, with lists for everybody.
fn start(place: &Place, broker: &Broker, input: &str, output: &str, more: &str) -> Running {
    start_telling(place, "", broker, input, output, more)
}

/// The same with a `RUST_LOG`.
fn start_telling(place: &Place, log: &str, broker: &Broker, input: &str, output: &str, more: &str) -> Running {
    let (input, output) = (broker.uri(input), broker.uri(output));
    let args = format!("run --input {input} --output {output} --clock event --set graph.audience=all {more}");
    place.start_telling(log, &args.split_whitespace().collect::<Vec<_>>())
}

/// Stops a run as an operator does.
fn stop(running: Running) -> super::Done {
    running.signal("TERM");
    running.end_within(Duration::from_secs(60)).well()
}

#[test]
fn the_lists_in_the_topic_are_the_oracles_for_any_number_of_workers() {
    let broker = any();
    let place = Place::new();
    let events = simulated(&place, "events=8000,users=300,items=200,seed=21");
    let expected = expected(&events);
    let input = broker.topic("events", 8, &[]);
    broker.produce(&input, &events);
    for workers in [1, 2, 4] {
        for delivery in ["transactional", "idempotent"] {
            // The mock acknowledges one batch after the other: a quarter of a minute for each run.
            if broker.is_mock() && (workers == 4 || (workers == 1) != (delivery == "transactional")) {
                continue;
            }
            let output = broker.topic("lists", 0, &[]);
            let more = format!("--workers {workers} --set kafka.delivery={delivery} --set kafka.partitions=3");
            let running = start(&place, &broker, &input, &output, &more);
            let records = broker.until(&output, &expected, &format!("{workers} workers, {delivery}"));
            stop(running).said(&["8,000 events"]);
            assert_eq!(records.len(), expected.len(), "nothing is sent before everything is read: one record a list");
            assert_no_repeats(&records);
            assert_same("topic", &broker.lists(&output), &expected, 200);
        }
    }
}

#[test]
fn a_million_events_over_eight_partitions() {
    let Some(broker) = real("a_million_events_over_eight_partitions") else { return };
    let place = Place::new();
    let count = if full() { 1_000_000 } else { 60_000 };
    let events = simulated(&place, &format!("events={count},users=20000,items=5000,seed=22"));
    let expected = from_file(&place);
    let input = broker.topic("events", 8, &[]);
    broker.produce(&input, &events);
    for workers in [1, 2, 4] {
        let output = broker.topic("lists", 0, &[]);
        let begun = Instant::now();
        let running = start(&place, &broker, &input, &output, &format!("--workers {workers}"));
        let records = broker.until(&output, &expected, &format!("{workers} workers"));
        println!("{count} events, {workers} workers: {:?}", begun.elapsed());
        assert_no_repeats(&records);
        stop(running);
    }
}

#[test]
fn a_file_and_topics_together_are_backfill_and_then_live() {
    let Some(broker) = real("a_file_and_topics_together_are_backfill_and_then_live") else { return };
    let place = Place::new();
    let events = simulated(&place, "events=6000,users=200,items=150,seed=23");
    let expected = expected(&events);
    let (filed, rest) = events.split_at(3000);
    let (first, second) = rest.split_at(1500);
    let text: String = filed.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    place.write("history.jsonl", text);
    let topics = [broker.topic("events", 3, &[]), broker.topic("events", 2, &[]), broker.topic("silent", 1, &[])];
    broker.produce(&topics[0], first);
    broker.produce(&topics[1], second);
    let inputs: Vec<String> = topics.iter().map(|topic| format!("--input {}", broker.uri(topic))).collect();
    let args = format!("run --input history.jsonl {} --clock event --set graph.audience=all", inputs.join(" "));
    let running = place.start(&args.split_whitespace().collect::<Vec<_>>());
    running.until(Duration::from_secs(60), "all lists", |out| {
        out.is_empty() || !out.ends_with('\n') || last_lists(&changes(out)) == expected
    });
    running.until(Duration::from_secs(60), "a list", |out| out.ends_with('\n'));
    let done = stop(running);
    let sent = changes(&done.out);
    assert_eq!(sent.len(), expected.len(), "one comparison when everything is read, no flood before");
    assert_same("history and topics", &last_lists(&sent), &expected, 100);
}

#[test]
fn an_event_in_a_topic_shows_within_the_second_by_the_wall_clock() {
    let broker = any();
    let place = Place::new();
    let (input, output) = (broker.topic("events", 2, &[]), broker.topic("lists", 0, &[]));
    let uris = (broker.uri(&input), broker.uri(&output));
    let running = place.start(&["run", "--input", &uris.0, "--output", &uris.1, "--set", "kafka.partitions=1"]);
    let shoppers: Vec<Event> =
        super::two_shoppers(super::now()).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    broker.produce(&input, &shoppers);
    let expected = Lists::from([("bob".to_owned(), vec!["butter".to_owned()])]);
    broker.until(&output, &expected, "bob's list");
    // Later than the record says, by far more than clocks may differ: rejected whenever it is read.
    let mut ahead = shoppers[0].clone();
    ahead.ts += 3_600_000;
    broker.produce(&input, &[ahead]);
    // The reader of a silent topic sleeps.
    std::thread::sleep(Duration::from_millis(500));
    let before = running.ticks();
    std::thread::sleep(Duration::from_secs(2));
    let used = running.ticks() - before;
    println!("idle: {used} hundredths of a second in two seconds");
    assert!(used <= 20, "{used} hundredths of a second of processor time in two idle seconds");
    stop(running).said(&["1 rejected (future 1)"]);
}
