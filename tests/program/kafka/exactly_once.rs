//! Kills, stops and old processes that wake up: whoever keeps the latest record of each key sees the lists of a run that
//! was never interrupted.

use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::Event;

use super::broker::{PATIENCE, Record, assert_no_repeats, real};
use super::{
    Lists, Place, Trending, assert_same, expected, from_file, full, set, simulated, start, start_telling, stop, trends,
};

/// Sends events in pieces, so that runs have something to do all the time.
fn pour(broker: super::Broker, topic: String, events: Vec<Event>, piece: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for some in events.chunks(piece) {
            broker.produce(&topic, some);
            thread::sleep(Duration::from_millis(20));
        }
    })
}

fn jsonl(events: &[Event]) -> String {
    events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect()
}

/// The most records that a run said were not acknowledged, in what it says from `since` on.
fn unacknowledged(said: &str, since: usize) -> usize {
    let told = |line: &str| line.strip_suffix(" records not acknowledged")?.rsplit_once(": ")?.1.parse().ok();
    said[since..].lines().filter_map(told).max().unwrap_or(0)
}

/// Each round some events come, and the run is killed at a random moment while a thousand records are written and not
/// acknowledged. The next run finds all of these events: its lists are those of an uninterrupted run, and whoever's list
/// is another gets it at once, without one that was there before.
fn killed(state: &str) {
    let Some(broker) = real("killed_ten_times_...") else { return };
    let place = Place::new();
    let count = if full() { 300_000 } else { 40_000 };
    let events = simulated(&place, &format!("events={count},users=3000,items=1000,seed=24"));
    let (input, output) = (broker.topic("events", 4, &[]), broker.topic("lists", 4, &[("cleanup.policy", "compact")]));
    // A record waits for so long: it can be killed meanwhile.
    let more = format!("{state} --set kafka.linger=150ms");
    let start = || start_telling(&place, "info,connectors::kafka::sink=debug", &broker, &input, &output, &more);
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut running = start();
    running.err.until("changes are sent from now on", PATIENCE);
    for (round, some) in events.chunks(count / 10).enumerate() {
        let producing = pour(broker.clone(), input.clone(), some.to_vec(), some.len() / 8);
        let since = running.err.text().len();
        let asked = Instant::now();
        while unacknowledged(&running.err.text(), since) < 1000 {
            assert!(asked.elapsed() < PATIENCE, "never a thousand records at once:\n{}", running.err.text());
            thread::sleep(Duration::from_millis(1));
        }
        let open = unacknowledged(&running.err.text(), since);
        let wait = Duration::from_millis(u64::from(random.next_u32() % 100));
        thread::sleep(wait);
        running.signal("KILL");
        println!("round {round}: killed {wait:?} after {open} records were said to be unacknowledged");
        drop(running);
        producing.join().unwrap();
        let mut ends = [-1; 4];
        for record in broker.read(&output) {
            let end = &mut ends[record.partition.unsigned_abs() as usize];
            *end = record.offset.max(*end);
        }
        place.write("events.jsonl", jsonl(&events[..some.len() * (round + 1)]));
        let expected = from_file(&place);
        running = start();
        let records = broker.until(&output, &expected, &format!("after kill {round}"));
        assert_no_repeats(&records);
        let is_new = |record: &&Record| record.offset > ends[record.partition.unsigned_abs() as usize];
        let mut users: Vec<String> = records.iter().filter(is_new).map(Record::user).collect();
        let sent = users.len();
        users.sort();
        users.dedup();
        assert_eq!(sent, users.len(), "after a restart each list that differs is sent once");
        assert_same(&format!("kill {round}"), &super::broker::lists(&records), &expected, 500);
    }
    stop(running);
    // And once more, with nothing new: not a single record.
    let records = broker.read(&output).len();
    let running = start();
    running.err.until("changes are sent from now on", PATIENCE);
    thread::sleep(Duration::from_millis(500));
    stop(running);
    assert_eq!(broker.read(&output).len(), records, "a restart without news sends nothing");
}

#[test]
fn killed_ten_times_without_a_state() {
    killed("--workers 2");
}

#[test]
fn killed_ten_times_with_snapshots() {
    killed("--workers 2 --state state --set state.interval=300ms");
}

/// Lists of nobody's are in the topic as users' are; a room that nobody is in any more has a tombstone, also where it became
/// empty while nobody ran.
#[test]
fn what_trends_is_in_the_topic_over_kills_too() {
    let Some(broker) = real("what_trends_is_in_the_topic_over_kills_too") else { return };
    let trending = Trending { k: 5, bucket: 1_000, buckets: 5 };
    for (seed, state) in [(34, ""), (35, "--state state --set state.interval=100ms")] {
        let place = Place::new();
        // A minute, of which each third has rooms of its own.
        let mut events = simulated(&place, &format!("events=3000,users=150,items=100,rooms=30,rate=50,seed={seed}"));
        for (at, event) in events.iter_mut().enumerate() {
            event.room = event.room.take().map(|room| format!("{}-{room}", at / 1000));
        }
        let expected = |events: &[Event]| -> Lists {
            let mut lists = expected(events);
            lists.extend(trends(events, trending));
            lists
        };
        let (first, all) = (expected(&events[..1000]), expected(&events));
        let (input, output) =
            (broker.topic("events", 2, &[]), broker.topic("lists", 2, &[("cleanup.policy", "compact")]));
        let more = format!("--workers 2 {} {state}", set(trending));
        let mut running = start(&place, &broker, &input, &output, &more);
        running.err.until("changes are sent from now on", PATIENCE);
        broker.produce(&input, &events[..1000]);
        let records = broker.until(&output, &first, "the first rooms");
        assert_no_repeats(&records);
        // Killed in the midst of the second third; the last one comes while nobody runs.
        let producing = pour(broker.clone(), input.clone(), events[1000..2000].to_vec(), 50);
        thread::sleep(Duration::from_millis(250));
        running.signal("KILL");
        drop(running);
        producing.join().unwrap();
        broker.produce(&input, &events[2000..]);
        running = start(&place, &broker, &input, &output, &more);
        let records = broker.until(&output, &all, "after the kill");
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
        // Nothing new: nothing is sent.
        running = start(&place, &broker, &input, &output, &more);
        running.err.until("changes are sent from now on", PATIENCE);
        thread::sleep(Duration::from_millis(300));
        stop(running);
        assert_eq!(broker.read(&output).len(), records.len(), "a restart without news sends nothing");
    }
}

#[test]
fn a_process_that_wakes_up_is_shut_out() {
    let Some(broker) = real("a_process_that_wakes_up_is_shut_out") else { return };
    for round in 0..2 {
        let place = Place::new();
        let events = simulated(&place, &format!("events=12000,users=400,items=200,seed={}", 30 + round));
        let expected = expected(&events);
        let (input, output) =
            (broker.topic("events", 2, &[]), broker.topic("lists", 2, &[("cleanup.policy", "compact")]));
        let (early, late) = events.split_at(6000);
        broker.produce(&input, early);
        let old = start(&place, &broker, &input, &output, "");
        old.err.until("changes are sent from now on", PATIENCE);
        // It has something under way when it is stopped.
        let producing = pour(broker.clone(), input.clone(), late.to_vec(), 300);
        thread::sleep(Duration::from_millis(150));
        old.signal("STOP");
        let new = start(&place, &broker, &input, &output, "");
        new.err.until("changes are sent from now on", PATIENCE);
        old.signal("CONT");
        producing.join().unwrap();
        let records = broker.until(&output, &expected, "with an old process that woke up");
        old.end_within(Duration::from_secs(60)).failed(1, &["has fenced off this one"]);
        stop(new);
        thread::sleep(Duration::from_millis(300));
        assert_no_repeats(&records);
        assert_same("an old process woke up", &broker.lists(&output), &expected, 300);
    }
}

#[test]
fn who_left_during_the_stop_gets_a_tombstone_and_what_is_equal_is_not_sent() {
    let Some(broker) = real("who_left_during_the_stop_gets_a_tombstone_and_what_is_equal_is_not_sent") else { return };
    let place = Place::new();
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
    let running = place.start(&args);
    let told = Lists::from([("bob".to_owned(), vec!["butter".to_owned()])]);
    broker.until(&output, &told, "bob's list");
    stop(running);
    // While nobody runs, bob's time is up, and cem comes; dan's list is what somebody else wrote, and is no list.
    let later = ts + 11 * 60_000;
    broker.produce(&input, &[event("cem", "butter", "view", later)]);
    let nobody: &[u8] = b"\xff";
    broker.send(
        &output,
        [(Some(b"dan".as_slice()), Some(b"no list".as_slice())), (Some(nobody), Some(b"{}".as_slice()))],
    );
    let running = place.start(&args);
    let told = Lists::from([("cem".to_owned(), vec!["bread".to_owned()])]);
    let records = broker.until(&output, &told, "cem's list and bob's end");
    stop(running).said(&["foreign=2", "not a list of deltarec"]);
    let of =
        |user: &str| records.iter().filter(|record| record.key.as_deref() == Some(user.as_bytes())).collect::<Vec<_>>();
    assert_eq!(of("bob").len(), 2);
    assert_eq!(of("bob")[1].value, None, "a tombstone");
    assert_eq!((of("cem").len(), of("ann").len(), of("dan").len()), (1, 0, 1));
    // And a third time: nothing.
    let running = place.start(&args);
    running.err.until("changes are sent from now on", PATIENCE);
    stop(running);
    assert_eq!(broker.read(&output).len(), records.len());
}

#[test]
fn a_compacted_topic_is_continued_as_well() {
    let Some(broker) = real("a_compacted_topic_is_continued_as_well") else { return };
    let place = Place::new();
    let events = simulated(&place, "events=12000,users=200,items=100,seed=33");
    let expected = expected(&events);
    let input = broker.topic("events", 2, &[]);
    let quick = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "1000"),
        ("delete.retention.ms", "100"),
    ];
    let output = broker.topic("lists", 1, &quick);
    let running = start(&place, &broker, &input, &output, "");
    running.err.until("changes are sent from now on", PATIENCE);
    for some in events.chunks(500) {
        broker.produce(&input, some);
        thread::sleep(Duration::from_millis(100));
    }
    let before = broker.until(&output, &expected, "before compaction");
    stop(running);
    let asked = Instant::now();
    let mut left = before.len();
    while left >= before.len() && asked.elapsed() < Duration::from_secs(60) {
        // A new segment begins with a record that comes late enough; only closed ones are compacted.
        thread::sleep(Duration::from_secs(2));
        broker.send(&output, [(Some("nobody".as_bytes()), None)]);
        left = broker.read(&output).iter().filter(|record| record.key.as_deref() != Some(b"nobody")).count();
    }
    println!("compaction left {left} of {} records", before.len());
    assert!(left < before.len(), "nothing was compacted within a minute");
    let running = start(&place, &broker, &input, &output, "");
    running.err.until("changes are sent from now on", PATIENCE);
    thread::sleep(Duration::from_millis(500));
    stop(running);
    let after = broker.read(&output).iter().filter(|record| record.key.as_deref() != Some(b"nobody")).count();
    assert!(after <= left, "equal lists are not sent again: {after} records, {left} before");
    assert_same("compacted", &broker.lists(&output), &expected, 100);
}
