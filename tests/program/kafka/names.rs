//! Topics whose names mean the same, collide, or come to mean something else; records that no topic takes.

use std::fs;

use connectors::{InputOptions, SourcePosition, open_source};

use super::broker::{Broker, TOPIC_TIMEOUT, real_broker, real_or_mock_broker};
use super::{TestDir, simulated, start, stop, wait_for_backfill};

/// Another name of the broker's host.
fn alias(broker: &Broker) -> Option<Broker> {
    broker.address.strip_prefix("127.0.0.1:").map(|port| Broker::at(format!("localhost:{port}")))
}

#[test]
fn one_topic_by_two_names_of_its_broker_is_refused() {
    let broker = real_or_mock_broker();
    let Some(alias) = alias(&broker) else { return };
    let dir = TestDir::new();
    let topic = broker.topic("events", 1, &[]);
    broker.send(&topic, [(None, Some(&b"bad"[..]))]);
    dir.write("lists.jsonl", "precious\n");
    let (uri, other) = (broker.uri(&topic), alias.uri(&topic));
    let two = format!("kafka://{},{}/{topic}", alias.address, broker.address);
    for args in [
        format!("--input {uri} --output {other}"),
        format!("--input {uri} --output {two}"),
        format!("--input {uri} --output lists.jsonl --rejects {other}"),
        format!("--input {two} --output lists.jsonl --rejects {uri}"),
        format!("--input generate:events=5 --output {other} --rejects {uri}"),
        format!("--input generate:events=5 --output lists.jsonl --rejects {uri} --output-similar-items {other}"),
    ] {
        dir.run(&args).assert_failure(2, &["same topic"]);
    }
    assert_eq!(dir.read("lists.jsonl"), "precious\n");
    assert_eq!(broker.read(&topic).len(), 1, "nothing was written");
}

#[test]
fn a_dead_letter_is_not_copied_again() {
    let broker = real_or_mock_broker();
    let dir = TestDir::new();
    let (input, output) = (broker.topic("events", 1, &[]), broker.topic("lists", 0, &[]));
    let rejects = broker.topic("rejects", 0, &[]);
    broker.send_with(&input, [(None, Some(&b"bad again"[..]))], &[("deltarec.reason", b"malformed")]);
    broker.send(&input, [(None, Some(&b"bad"[..]))]);
    let running = start(&dir, &broker, &input, &output, &format!("--rejects {}", broker.uri(&rejects)));
    running.stderr.wait_for("is not copied again", TOPIC_TIMEOUT);
    wait_for_backfill(&running);
    stop(running).assert_stderr(&["2 rejected", "offset 0 was rejected before"]);
    let copied: Vec<_> = broker.read(&rejects).into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(copied, [b"bad".to_vec()]);
}

#[test]
fn a_record_too_large_for_the_rejects_is_cut_and_keeps_its_position() {
    let broker = real_or_mock_broker();
    let dir = TestDir::new();
    let (input, output) = (broker.topic("events", 1, &[]), broker.topic("lists", 0, &[]));
    // The mock takes records of any size, so the limit is the client's there.
    let limit = if broker.is_mock() { "--set kafka.options.message.max.bytes=2000" } else { "" };
    let rejects = broker.topic("rejects", 1, &[("max.message.bytes", "2000")]);
    let large = [b"large ".repeat(2000), b"large ".repeat(3000)];
    let records = [&b"small"[..], &large[0], b"small too", &large[1], b""];
    broker.send_with(&input, records.map(|value| (Some(&b"key"[..]), Some(value))), &[("trace", b"7")]);
    let extra = format!("--rejects {} --set kafka.compression=none {limit}", broker.uri(&rejects));
    let running = start(&dir, &broker, &input, &output, &extra);
    wait_for_backfill(&running);
    stop(running).assert_stderr(&[
        "5 rejected",
        "malformed 4",
        "no_value 1",
        "first 512 bytes are kept",
        "18000 bytes",
    ]);
    let mut found = broker.read(&rejects);
    let header = |record: &super::broker::Record, name: &str| {
        record.headers.get(name).map(|value| String::from_utf8(value.clone()).unwrap())
    };
    found.sort_by_key(|record| header(record, "deltarec.offset"));
    assert_eq!(found.len(), 5);
    for (offset, (record, sent)) in found.iter().zip(records).enumerate() {
        assert_eq!(header(record, "deltarec.offset"), Some(offset.to_string()));
        assert_eq!(header(record, "deltarec.partition").as_deref(), Some("0"));
        let value = record.value.clone().unwrap_or_default();
        if sent.len() > 2000 {
            assert_eq!(header(record, "deltarec.cut"), Some(sent.len().to_string()));
            assert_eq!((value.len(), sent.starts_with(&value)), (512, true));
        } else {
            assert_eq!(
                (&value[..], record.key.as_deref(), header(record, "deltarec.cut")),
                (sent, Some(&b"key"[..]), None)
            );
            assert_eq!(header(record, "trace").as_deref(), Some("7"));
        }
    }
}

#[test]
fn groups_and_topics_whose_names_join_to_the_same_do_not_fence_each_other_off() {
    let broker = real_or_mock_broker();
    let dir = TestDir::new();
    let events = simulated(&dir, "events=600,users=40,items=30,seed=47");
    let expected = super::expected_lists(&events);
    let input = broker.topic("events", 1, &[]);
    let lists = broker.topic("lists", 0, &[]);
    let european = format!("eu-{lists}");
    let first = start(&dir, &broker, &input, &european, "--set kafka.group=shop --set kafka.partitions=1");
    wait_for_backfill(&first);
    let second = start(&dir, &broker, &input, &lists, "--set kafka.group=shop-eu --set kafka.partitions=1");
    wait_for_backfill(&second);
    broker.produce(&input, &events);
    for topic in [&lists, &european] {
        broker.wait_for_lists(topic, &expected, topic);
    }
    stop(first);
    stop(second);
}

#[test]
fn a_topic_is_continued_with_its_options_beside_a_rotated_file() {
    let broker = real_or_mock_broker();
    let dir = TestDir::new();
    let events = simulated(&dir, "events=400,users=60,items=40,seed=49");
    let topic = broker.topic("events", 2, &[]);
    let arguments = |files: &str, action: &str| {
        let topic = broker.uri(&topic);
        format!("run {files} --input {topic}?action={action} --clock event --output lists.jsonl --state state")
    };
    let start = |files, action| dir.start(&arguments(files, action).split_whitespace().collect::<Vec<_>>());
    let read = |files| {
        let running = start(files, "view");
        wait_for_backfill(&running);
        stop(running).summary().events
    };
    fs::rename(dir.path("events.jsonl"), dir.path("day")).unwrap();
    broker.produce(&topic, &events[..300]);
    assert_eq!(read("--input day?format=json"), 700);
    fs::rename(dir.path("day"), dir.path("day.1")).unwrap();
    fs::write(dir.path("day"), serde_json::to_string(&events[399]).unwrap() + "\n").unwrap();
    broker.produce(&topic, &events[300..]);
    let rotated = "--input day.1?format=json --input day?format=json";
    assert_eq!(read(rotated), 101);
    let changed = format!("{}?action=cart`", broker.uri(&topic));
    start(rotated, "cart").finish_within(TOPIC_TIMEOUT).assert_failure(2, &["?action=view` and is", &changed]);
}

#[test]
fn a_position_in_another_topic_of_the_name_is_refused() {
    let broker = real_or_mock_broker();
    let topic = broker.topic("events", 2, &[]);
    let open = || open_source::<schema::Event>(&broker.uri(&topic).parse().unwrap(), &InputOptions::default()).unwrap();
    let position = open().position(&connectors::Batch::default(), 0);
    let SourcePosition::Partitions { offsets, topic: id } = position.clone() else { panic!("{position:?}") };
    assert!(id.is_some(), "the broker has ids of topics");
    open().resume_at(&position).unwrap();
    let of =
        |topic: Option<&str>| SourcePosition::Partitions { offsets: offsets.clone(), topic: topic.map(Into::into) };
    open().resume_at(&of(None)).unwrap();
    let error = open().resume_at(&of(Some("another"))).unwrap_err().to_string();
    assert!(error.contains("deleted and created again") && error.contains("--rebuild"), "{error}");
}

#[test]
fn a_topic_that_is_deleted_and_created_again_is_noticed() {
    let Some(broker) = real_broker("a_topic_that_is_deleted_and_created_again_is_noticed") else { return };
    let dir = TestDir::new();
    let events = simulated(&dir, "events=2000,users=60,items=40,seed=48");
    let (input, output) = (broker.topic("events", 1, &[]), broker.topic("lists", 0, &[]));
    broker.produce(&input, &events[..500]);
    let extra = "--state state --set kafka.refresh=300ms";
    let running = start(&dir, &broker, &input, &output, extra);
    wait_for_backfill(&running);
    stop(running);
    // Between two runs, with more records than before.
    broker.recreate(&input, 1);
    broker.produce(&input, &events);
    let running = start(&dir, &broker, &input, &output, extra);
    running.finish_within(TOPIC_TIMEOUT).assert_failure(2, &["deleted and created again", "--rebuild"]);
    let running = start(&dir, &broker, &input, &output, &format!("{extra} --rebuild"));
    broker.wait_for_lists(&output, &super::expected_lists(&events), "rebuilt");
    // While it runs.
    broker.recreate(&input, 1);
    broker.produce(&input, &events);
    running.finish_within(TOPIC_TIMEOUT).assert_failure(1, &["deleted"]);
}

#[test]
fn the_lag_of_a_topic_with_transactions_goes_to_nothing() {
    let Some(broker) = real_broker("the_lag_of_a_topic_with_transactions_goes_to_nothing") else { return };
    let dir = TestDir::new();
    let events = simulated(&dir, "events=300,users=30,items=20,seed=49");
    let (input, output) = (broker.topic("events", 1, &[]), broker.topic("lists", 0, &[]));
    broker.produce_in_transaction(&input, &events);
    let running = start(&dir, &broker, &input, &output, "");
    wait_for_backfill(&running);
    // The commit of the transaction has an offset of its own. The progress is logged every ten seconds.
    running.stderr.wait_for("lag 0", TOPIC_TIMEOUT);
    stop(running);
}
