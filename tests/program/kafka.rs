//! Topics as inputs and outputs. The tests use the broker that `DELTAREC_KAFKA` names, or else librdkafka's mock cluster;
//! those that the mock does not support are skipped.
//!
//! The sizes suit a test run at every change. `DELTAREC_KAFKA_FULL=1` selects those of a release: a million events, ten
//! million records behind a slow run, a broker that is down for half a minute.

mod broker;
mod exactly_once;
mod names;
mod operations;
mod outage;
mod rows;

use std::fs;
use std::time::{Duration, Instant};

use schema::Event;

use self::broker::{Broker, TOPIC_TIMEOUT, assert_no_repeats, real_broker, real_or_mock_broker};
use super::{
    Lists, RunningProcess, TestDir, assert_lists_eq, changes, expected_trending, final_lists, latest_ts, oracle_events,
    trending_args, without_scores,
};
use crate::support::oracle::trending::Trending;
use crate::support::oracle::{self, Params};

/// Whether the sizes are those of a release.
fn full_size() -> bool {
    std::env::var_os("DELTAREC_KAFKA_FULL").is_some()
}

/// Simulated events, in `events.jsonl` and in memory.
fn simulated(dir: &TestDir, simulation: &str) -> Vec<Event> {
    dir.deltarec(&["generate", simulation, "--output", "events.jsonl"]).assert_success();
    dir.read("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The oracle's lists after all events with `graph.audience = "all"`.
fn expected_lists(events: &[Event]) -> Lists {
    let events = oracle_events(events);
    without_scores(oracle::lists(&events, &Params { audience: None, ..Params::default() }, latest_ts(&events)))
}

/// The program's lists when it reads `events.jsonl`: for logs that are too long for the oracle.
fn lists_from_file(dir: &TestDir) -> Lists {
    let done = dir.run("--input events.jsonl --output file.jsonl --set graph.audience=all --set input.batch=100000");
    assert!(done.assert_success().stderr.contains("events/s"));
    final_lists(&changes(&fs::read_to_string(dir.path("file.jsonl")).unwrap()))
}

/// Starts a run from one topic to another by the event clock, with `graph.audience=all` and the arguments `extra`. All lists are
/// evaluated in every tick: after the last event of a topic this clock stands still, and no boundary comes.
fn start(dir: &TestDir, broker: &Broker, input: &str, output: &str, extra: &str) -> RunningProcess {
    start_with_log(dir, "", broker, input, output, extra)
}

/// The same with `RUST_LOG` set to `log`.
fn start_with_log(dir: &TestDir, log: &str, broker: &Broker, input: &str, output: &str, extra: &str) -> RunningProcess {
    let (input, output) = (broker.uri(input), broker.uri(output));
    let args = format!(
        "run --input {input} --output {output} --clock event --set graph.audience=all --set graph.refresh=0ms {extra}"
    );
    dir.start_with_log(log, &args.split_whitespace().collect::<Vec<_>>())
}

/// Waits until a run has read what was in the inputs at its start.
fn wait_for_backfill(running: &RunningProcess) {
    running.stderr.wait_for("changes are emitted from now on", TOPIC_TIMEOUT);
}

/// Ends a run by SIGTERM.
fn stop(running: RunningProcess) -> super::ProcessOutput {
    running.signal("TERM");
    running.finish_within(Duration::from_secs(60)).assert_success()
}

#[test]
fn lists_in_the_topic_equal_the_oracle_for_any_number_of_workers() {
    let broker = real_or_mock_broker();
    let dir = TestDir::new();
    let events = simulated(&dir, "events=8000,users=300,items=200,seed=21");
    let expected = expected_lists(&events);
    let input = broker.topic("events", 8, &[]);
    broker.produce(&input, &events);
    for workers in [1, 2, 4] {
        for delivery in ["transactional", "idempotent"] {
            // The mock acknowledges one batch after the other, so each run takes a quarter of a minute.
            if broker.is_mock() && (workers == 4 || (workers == 1) != (delivery == "transactional")) {
                continue;
            }
            let output = broker.topic("lists", 0, &[]);
            let extra = format!("--workers {workers} --set kafka.delivery={delivery} --set kafka.partitions=3");
            let running = start(&dir, &broker, &input, &output, &extra);
            let records = broker.wait_for_lists(&output, &expected, &format!("{workers} workers, {delivery}"));
            stop(running).assert_stderr(&["8,000 events"]);
            assert_eq!(
                records.len(),
                expected.len(),
                "nothing is written before everything is read: one record per list"
            );
            assert_no_repeats(&records);
            assert_lists_eq("topic", &broker.lists(&output), &expected, 200);
        }
    }
}

#[test]
fn a_million_events_over_eight_partitions() {
    let Some(broker) = real_broker("a_million_events_over_eight_partitions") else { return };
    let dir = TestDir::new();
    let count = if full_size() { 1_000_000 } else { 60_000 };
    let events = simulated(&dir, &format!("events={count},users=20000,items=5000,seed=22"));
    let expected = lists_from_file(&dir);
    let input = broker.topic("events", 8, &[]);
    broker.produce(&input, &events);
    for workers in [1, 2, 4] {
        let output = broker.topic("lists", 0, &[]);
        let begin = Instant::now();
        let running = start(&dir, &broker, &input, &output, &format!("--workers {workers}"));
        let records = broker.wait_for_lists(&output, &expected, &format!("{workers} workers"));
        println!("{count} events, {workers} workers: {:?}", begin.elapsed());
        assert_no_repeats(&records);
        stop(running);
    }
}

#[test]
fn a_file_is_read_as_backfill_before_topics() {
    let Some(broker) = real_broker("a_file_is_read_as_backfill_before_topics") else { return };
    let dir = TestDir::new();
    let events = simulated(&dir, "events=6000,users=200,items=150,seed=23");
    let expected = expected_lists(&events);
    let (history, live) = events.split_at(3000);
    let (first, second) = live.split_at(1500);
    let text: String = history.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    dir.write("history.jsonl", text);
    let topics = [broker.topic("events", 3, &[]), broker.topic("events", 2, &[]), broker.topic("silent", 1, &[])];
    broker.produce(&topics[0], first);
    broker.produce(&topics[1], second);
    let inputs: Vec<String> = topics.iter().map(|topic| format!("--input {}", broker.uri(topic))).collect();
    let args = format!("run --input history.jsonl {} --clock event --set graph.audience=all", inputs.join(" "));
    let running = dir.start(&args.split_whitespace().collect::<Vec<_>>());
    running.wait_for_output(Duration::from_secs(60), "all lists", |stdout| {
        stdout.is_empty() || !stdout.ends_with('\n') || final_lists(&changes(stdout)) == expected
    });
    running.wait_for_output(Duration::from_secs(60), "a list", |stdout| stdout.ends_with('\n'));
    let done = stop(running);
    let emitted = changes(&done.stdout);
    assert_eq!(emitted.len(), expected.len(), "one change per list, once everything is read");
    assert_lists_eq("history and topics", &final_lists(&emitted), &expected, 100);
}

#[test]
fn by_the_wall_clock_an_event_in_a_topic_changes_a_list_and_an_idle_run_uses_no_cpu() {
    let broker = real_or_mock_broker();
    let dir = TestDir::new();
    let (input, output) = (broker.topic("events", 2, &[]), broker.topic("lists", 0, &[]));
    let uris = (broker.uri(&input), broker.uri(&output));
    let running = dir.start(&["run", "--input", &uris.0, "--output", &uris.1, "--set", "kafka.partitions=1"]);
    let shoppers: Vec<Event> =
        super::two_shoppers(super::now()).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    broker.produce(&input, &shoppers);
    let expected = Lists::from([("bob".to_owned(), vec!["butter".to_owned()])]);
    broker.wait_for_lists(&output, &expected, "bob's list");
    // An hour after the timestamp of the record, far beyond `input.max_skew`: rejected whenever it is read.
    let mut ahead = shoppers[0].clone();
    ahead.ts += 3_600_000;
    broker.produce(&input, &[ahead]);
    // The reader of an idle topic sleeps.
    std::thread::sleep(Duration::from_millis(500));
    let before = running.cpu_ticks();
    std::thread::sleep(Duration::from_secs(2));
    let used = running.cpu_ticks() - before;
    assert!(used <= 20, "{used}0 ms of CPU time in two idle seconds");
    stop(running).assert_stderr(&["1 rejected (future 1)"]);
}
