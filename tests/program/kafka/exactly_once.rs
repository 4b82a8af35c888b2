//! Kills, restarts and zombie processes. A consumer that keeps the last record of each key sees the lists of an
//! uninterrupted run.

use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::Event;

use super::broker::{Record, TOPIC_TIMEOUT, assert_no_repeats, real_broker};
use super::{
    Lists, TestDir, Trending, assert_lists_eq, expected_lists, expected_trending, full_size, lists_from_file,
    simulated, start, start_with_log, stop, trending_args, wait_for_backfill,
};

/// Appends events in chunks from a thread, so that a run has work all the time.
fn produce_in_chunks(broker: super::Broker, topic: String, events: Vec<Event>, size: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for chunk in events.chunks(size) {
            broker.produce(&topic, chunk);
            thread::sleep(Duration::from_millis(20));
        }
    })
}

fn jsonl(events: &[Event]) -> String {
    events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect()
}

/// The largest number of unacknowledged records that a run logged, from byte `since` of its stderr on.
fn unacknowledged(stderr: &str, since: usize) -> usize {
    let count = |line: &str| {
        line.split_once("waiting for acknowledgements")?
            .1
            .split_once("in_flight=")?
            .1
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    stderr[since..].lines().filter_map(count).max().unwrap_or(0)
}

/// In each round some events arrive, and the run is killed at a random time while `least` records or more are written but not
/// acknowledged. The next run reads the rest of the events. Its lists must equal those of an uninterrupted run, and every
/// list that differs from the one in the topic must be written exactly once.
fn assert_lists_survive_ten_kills(state: &str, least: usize) {
    let Some(broker) = real_broker("lists_survive_ten_kills_...") else { return };
    let dir = TestDir::new();
    let count = if full_size() { 300_000 } else { 40_000 };
    let events = simulated(&dir, &format!("events={count},users=3000,items=1000,seed=24"));
    let (input, output) = (broker.topic("events", 4, &[]), broker.topic("lists", 4, &[("cleanup.policy", "compact")]));
    // The producer delays a batch for so long, which leaves time for a kill.
    let more = format!("{state} --set kafka.linger=150ms");
    let start = || start_with_log(&dir, "info,connectors::kafka::sink=debug", &broker, &input, &output, &more);
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut running = start();
    wait_for_backfill(&running);
    for (round, chunk) in events.chunks(count / 10).enumerate() {
        let producer = produce_in_chunks(broker.clone(), input.clone(), chunk.to_vec(), chunk.len() / 8);
        let since = running.stderr.text().len();
        let start_of_wait = Instant::now();
        while unacknowledged(&running.stderr.text(), since) < least {
            let waited = start_of_wait.elapsed();
            assert!(waited < TOPIC_TIMEOUT, "never {least} unacknowledged records:\n{}", running.stderr.text());
            thread::sleep(Duration::from_millis(1));
        }
        let in_flight = unacknowledged(&running.stderr.text(), since);
        let delay = Duration::from_millis(u64::from(rng.next_u32() % 100));
        thread::sleep(delay);
        running.signal("KILL");
        println!("round {round}: killed {delay:?} after {in_flight} records were unacknowledged");
        drop(running);
        producer.join().unwrap();
        let mut ends = [-1; 4];
        for record in broker.read(&output) {
            let end = &mut ends[record.partition.unsigned_abs() as usize];
            *end = record.offset.max(*end);
        }
        dir.write("events.jsonl", jsonl(&events[..chunk.len() * (round + 1)]));
        let expected = lists_from_file(&dir);
        running = start();
        let records = broker.wait_for_lists(&output, &expected, &format!("after kill {round}"));
        assert_no_repeats(&records);
        let is_new = |record: &&Record| record.offset > ends[record.partition.unsigned_abs() as usize];
        let mut users: Vec<String> = records.iter().filter(is_new).map(Record::user).collect();
        let written = users.len();
        users.sort();
        users.dedup();
        assert_eq!(written, users.len(), "after a restart each list that differs is written once");
        assert_lists_eq(&format!("kill {round}"), &super::broker::lists(&records), &expected, 500);
    }
    stop(running);
    // A restart without new events must not write a record.
    let records = broker.read(&output).len();
    let running = start();
    wait_for_backfill(&running);
    thread::sleep(Duration::from_millis(500));
    stop(running);
    assert_eq!(broker.read(&output).len(), records, "a restart without new events writes nothing");
}

#[test]
fn lists_survive_ten_kills_without_a_state() {
    assert_lists_survive_ten_kills("--workers 2", 1_000);
}

#[test]
fn lists_survive_ten_kills_with_snapshots() {
    // With boundaries, and so with fewer records. After the backfill that follows a kill all lists are evaluated.
    assert_lists_survive_ten_kills("--workers 2 --state state --set state.interval=300ms --set graph.refresh=1s", 200);
}

/// The list of a room without recent events must end in a tombstone, even if the list became empty while no run was up.
#[test]
fn trending_lists_survive_a_kill() {
    let Some(broker) = real_broker("trending_lists_survive_a_kill") else { return };
    let trending = Trending { k: 5, bucket: 1_000, buckets: 5 };
    for (seed, state) in [(34, ""), (35, "--state state --set state.interval=100ms")] {
        let dir = TestDir::new();
        // The log lasts a minute. Each third of it has its own rooms.
        let mut events = simulated(&dir, &format!("events=3000,users=150,items=100,rooms=30,rate=50,seed={seed}"));
        for (index, event) in events.iter_mut().enumerate() {
            event.room = event.room.take().map(|room| format!("{}-{room}", index / 1000));
        }
        let expected = |events: &[Event]| -> Lists {
            let mut lists = expected_lists(events);
            lists.extend(expected_trending(events, trending));
            lists
        };
        let (first, all) = (expected(&events[..1000]), expected(&events));
        let (input, output) =
            (broker.topic("events", 2, &[]), broker.topic("lists", 2, &[("cleanup.policy", "compact")]));
        let more = format!("--workers 2 {} {state}", trending_args(trending));
        let mut running = start(&dir, &broker, &input, &output, &more);
        wait_for_backfill(&running);
        broker.produce(&input, &events[..1000]);
        let records = broker.wait_for_lists(&output, &first, "the first rooms");
        assert_no_repeats(&records);
        // The run is killed in the middle of the second third. The last third arrives while no run is up.
        let producer = produce_in_chunks(broker.clone(), input.clone(), events[1000..2000].to_vec(), 50);
        thread::sleep(Duration::from_millis(250));
        running.signal("KILL");
        drop(running);
        producer.join().unwrap();
        broker.produce(&input, &events[2000..]);
        running = start(&dir, &broker, &input, &output, &more);
        let records = broker.wait_for_lists(&output, &all, "after the kill");
        assert_no_repeats(&records);
        stop(running);
        let mut rooms = [0; 3];
        for room in 0..90 {
            let key = schema::trending_in(&format!("{}-room{}", room / 30, room % 30));
            let last = records.iter().rfind(|record| record.key.as_deref() == Some(key.as_bytes()));
            let Some(last) = last else { continue };
            rooms[room / 30] += 1;
            assert!(room >= 60 || last.value.is_none(), "{key} has no tombstone");
        }
        println!("rooms with records, by thirds: {rooms:?}");
        assert!(rooms[0] > 5 && rooms[2] > 5, "{rooms:?}");
        // A restart without new events must not write a record.
        running = start(&dir, &broker, &input, &output, &more);
        wait_for_backfill(&running);
        thread::sleep(Duration::from_millis(300));
        stop(running);
        assert_eq!(broker.read(&output).len(), records.len(), "a restart without new events writes nothing");
    }
}

#[test]
fn a_zombie_process_is_fenced_off() {
    let Some(broker) = real_broker("a_zombie_process_is_fenced_off") else { return };
    for round in 0..2 {
        let dir = TestDir::new();
        let events = simulated(&dir, &format!("events=12000,users=400,items=200,seed={}", 30 + round));
        let expected = expected_lists(&events);
        let (input, output) =
            (broker.topic("events", 2, &[]), broker.topic("lists", 2, &[("cleanup.policy", "compact")]));
        let (early, late) = events.split_at(6000);
        broker.produce(&input, early);
        let old = start(&dir, &broker, &input, &output, "");
        wait_for_backfill(&old);
        // The old process has records in flight when it is suspended.
        let producer = produce_in_chunks(broker.clone(), input.clone(), late.to_vec(), 300);
        thread::sleep(Duration::from_millis(150));
        old.signal("STOP");
        let new = start(&dir, &broker, &input, &output, "");
        wait_for_backfill(&new);
        old.signal("CONT");
        producer.join().unwrap();
        let records = broker.wait_for_lists(&output, &expected, "with a zombie process");
        old.finish_within(Duration::from_secs(60)).assert_failure(1, &["has fenced off this one"]);
        stop(new);
        thread::sleep(Duration::from_millis(300));
        assert_no_repeats(&records);
        assert_lists_eq("zombie process", &broker.lists(&output), &expected, 300);
    }
}

#[test]
fn a_restart_writes_tombstones_and_new_lists_but_no_equal_lists() {
    let Some(broker) = real_broker("a_restart_writes_tombstones_and_new_lists_but_no_equal_lists") else { return };
    let dir = TestDir::new();
    let ts = 1_763_900_000_000;
    let event = |user: &str, item: &str, action: &str, ts| Event {
        user: user.into(),
        item: item.into(),
        action: action.into(),
        ts,
        dwell_ms: None,
        room: None,
        text: None,
        id: None,
    };
    let (input, output) = (broker.topic("events", 2, &[]), broker.topic("lists", 1, &[("cleanup.policy", "compact")]));
    let (input_uri, output_uri) = (broker.uri(&input), broker.uri(&output));
    let args =
        ["run", "--input", &input_uri, "--output", &output_uri, "--clock", "event", "--set", "graph.audience=10m"];
    broker.produce(
        &input,
        &[event("ann", "bread", "buy", ts), event("ann", "butter", "buy", ts), event("bob", "bread", "view", ts)],
    );
    let running = dir.start(&args);
    let expected = Lists::from([("bob".to_owned(), vec!["butter".to_owned()])]);
    broker.wait_for_lists(&output, &expected, "bob's list");
    stop(running);
    // While no run is up, bob leaves the audience and cem arrives. Another program writes two records that are no lists.
    let later = ts + 11 * 60_000;
    broker.produce(&input, &[event("cem", "butter", "view", later)]);
    let not_utf8: &[u8] = b"\xff";
    broker.send(
        &output,
        [(Some(b"dan".as_slice()), Some(b"no list".as_slice())), (Some(not_utf8), Some(b"{}".as_slice()))],
    );
    let running = dir.start(&args);
    let expected = Lists::from([("cem".to_owned(), vec!["bread".to_owned()])]);
    let records = broker.wait_for_lists(&output, &expected, "cem's list and bob's tombstone");
    stop(running).assert_stderr(&["foreign=2", "not a list of deltarec"]);
    let records_of =
        |user: &str| records.iter().filter(|record| record.key.as_deref() == Some(user.as_bytes())).collect::<Vec<_>>();
    assert_eq!(records_of("bob").len(), 2);
    assert_eq!(records_of("bob")[1].value, None, "a tombstone");
    assert_eq!((records_of("cem").len(), records_of("ann").len(), records_of("dan").len()), (1, 0, 1));
    // Another restart writes nothing.
    let running = dir.start(&args);
    wait_for_backfill(&running);
    stop(running);
    assert_eq!(broker.read(&output).len(), records.len());
}

#[test]
fn a_restart_continues_a_compacted_topic() {
    let Some(broker) = real_broker("a_restart_continues_a_compacted_topic") else { return };
    let dir = TestDir::new();
    let events = simulated(&dir, "events=12000,users=200,items=100,seed=33");
    let expected = expected_lists(&events);
    let input = broker.topic("events", 2, &[]);
    let fast_compaction = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "1000"),
        ("delete.retention.ms", "100"),
    ];
    let output = broker.topic("lists", 1, &fast_compaction);
    let running = start(&dir, &broker, &input, &output, "");
    wait_for_backfill(&running);
    for chunk in events.chunks(500) {
        broker.produce(&input, chunk);
        thread::sleep(Duration::from_millis(100));
    }
    let before = broker.wait_for_lists(&output, &expected, "before compaction");
    stop(running);
    // Records of the program, without the padding below.
    let count = || broker.read(&output).iter().filter(|record| record.key.as_deref() != Some(b"padding")).count();
    let start_of_wait = Instant::now();
    let mut compacted = before.len();
    while compacted >= before.len() && start_of_wait.elapsed() < Duration::from_secs(60) {
        // Only closed segments are compacted. A record written after `segment.ms` closes the current one.
        thread::sleep(Duration::from_secs(2));
        broker.send(&output, [(Some("padding".as_bytes()), None)]);
        compacted = count();
    }
    println!("compaction left {compacted} of {} records", before.len());
    assert!(compacted < before.len(), "nothing was compacted within a minute");
    let running = start(&dir, &broker, &input, &output, "");
    wait_for_backfill(&running);
    thread::sleep(Duration::from_millis(500));
    stop(running);
    let after = count();
    assert!(after <= compacted, "equal lists are not written again: {after} records, {compacted} before");
    assert_lists_eq("compacted", &broker.lists(&output), &expected, 100);
}
