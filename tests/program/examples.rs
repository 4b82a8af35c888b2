//! The programs in `examples/` print what `deltarec run` writes for the same events.

#[path = "../../examples/custom_source.rs"]
#[allow(dead_code, reason = "the tests call what `main` calls")]
mod custom_source;
#[path = "../../examples/embed.rs"]
#[allow(dead_code, reason = "the tests call what `main` calls")]
mod embed;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use schema::Event;
use serde_json::Value;

use super::{
    Lists, TestDir, assert_lists_eq, changes, event, final_lists, latest_ts, oracle_events, two_shoppers,
    without_scores,
};
use crate::support::oracle::{self, Params};

const MINUTE: u64 = 60_000;

/// A command that runs an example with this interpreter; `None`, with a note, if it is not installed.
fn script(interpreter: &str, example: &str) -> Option<Command> {
    let version = Command::new(interpreter).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        println!("skipped: examples/{example} needs {interpreter}");
        return None;
    }
    let mut command = Command::new(interpreter);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example));
    Some(command)
}

/// The lists that `examples/consumer.py` prints.
fn printed_lists(stdout: &str) -> Lists {
    let list = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let items = line["items"].as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect();
        (line["user"].as_str().unwrap().to_owned(), items)
    };
    stdout.lines().map(list).collect()
}

#[test]
fn embed_prints_the_changes_of_a_run() {
    let mut lines = embed::changed_lists().unwrap();
    let mut input = String::new();
    for (second, tick) in (0..).zip(embed::TICKS) {
        for (user, item, level) in tick {
            let action = if level == 1 { "view" } else { "purchase" };
            input += &event(user, item, action, embed::START + second * 1_000);
        }
    }
    // The example ends by advancing the time. In a run an event does that; a single event yields no list.
    input += &event("eve", "salt", "view", embed::START + 60 * MINUTE);
    let dir = TestDir::new();
    dir.write("events.jsonl", input);
    let done = dir.run("--input events.jsonl --set input.batch=3").assert_success();
    let mut expected: Vec<String> = changes(&done.stdout)
        .iter()
        .map(|change| {
            let items: Vec<&str> = change.items.iter().map(|scored| scored.item.as_str()).collect();
            format!("{} {}: {}", change.at, change.key, items.join(", "))
        })
        .collect();
    // The order within a tick is not defined.
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert!(lines.iter().any(|line| line.contains(" ben: butter")), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with(" ben: ")), "{lines:?}");
}

#[test]
fn custom_source_ends_with_the_lists_of_a_run() {
    let mut found = Vec::new();
    let summary = custom_source::recommend(custom_source::log(), |change| found.push(change)).unwrap();
    assert_eq!((summary.events, summary.rejected, summary.changes), (500, 0, found.len() as u64));
    let done = TestDir::new().run("--input generate:events=500,users=20,items=30").assert_success();
    assert_lists_eq("custom source", &final_lists(&found), &final_lists(&changes(&done.stdout)), 10);
}

#[test]
fn custom_source_rejects_invalid_names_and_timestamps() {
    let events = custom_source::log().take(3).zip(0..).map(|(event, number)| match number {
        0 => Event { user: String::new(), ..event },
        1 => Event { ts: u64::MAX, ..event },
        _ => event,
    });
    let events: Vec<Event> = events.collect();
    let summary = custom_source::recommend(events.into_iter(), |_| {}).unwrap();
    let rejected = summary.rejected_by.iter().map(|(code, count)| (code.as_str(), *count)).collect::<Vec<_>>();
    assert_eq!((summary.events, rejected), (1, vec![("missing:user", 1), ("time_out_of_range", 1)]));
}

#[test]
fn consumer_keeps_the_lists_of_the_producer() {
    let dir = TestDir::new();
    let Some(mut producer) = script("node", "producer.mjs") else { return };
    producer.args(["400", "2000"]);
    let log = dir.spawn(producer).finish().assert_success().stdout;
    let events: Vec<Event> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 400);

    let done = dir.run_with_stdin("--clock wall", log.as_bytes()).assert_success();
    let summary = done.summary();
    assert_eq!((summary.events, summary.rejected), (400, 0));
    let events = oracle_events(&events);
    let expected = without_scores(oracle::lists(&events, &Params::default(), latest_ts(&events)));
    assert_lists_eq("producer", &final_lists(&changes(&done.stdout)), &expected, 10);

    dir.write("changes.jsonl", &done.stdout);
    let Some(mut consumer) = script("python3", "consumer.py") else { return };
    consumer.arg("changes.jsonl");
    let printed = dir.spawn(consumer).finish().assert_success().stdout;
    assert_lists_eq("consumer", &printed_lists(&printed), &expected, 10);
}

#[test]
fn producer_refuses_invalid_events() {
    let Some(_) = script("node", "producer.mjs") else { return };
    let dir = TestDir::new();
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/producer.mjs");
    for (fields, error) in [
        ("", None),
        ("user: '品'.repeat(170)", None),
        ("action: 'watch', dwell_ms: 0", None),
        ("user: ''", Some("user: 0 bytes, must be 1 to 512")),
        ("item: '品'.repeat(171)", Some("item: 513 bytes, must be 1 to 512")),
        ("user: 7", Some("user: not a Unicode string")),
        ("item: '\\ud800'", Some("item: not a Unicode string")),
        ("user: 'deltarec:trending'", Some("user: the prefix deltarec: is reserved")),
        ("ts: -1", Some("ts: -1 is not a time in ms")),
        ("ts: 2 ** 53", Some("ts: 9007199254740992 is not a time in ms")),
        ("ts: 1.5", Some("ts: 1.5 is not a time in ms")),
        ("action: 'watch'", Some("dwell_ms: a watch needs its duration in ms")),
    ] {
        let mut node = Command::new("node");
        let code = format!(
            "process.argv.push('producer.mjs', '0'); const {{ toLine }} = await import('{}');
             process.stdout.write(toLine({{ user: 'u', item: 'i', action: 'view', ts: 0, {fields} }}));",
            module.display()
        );
        node.args(["--input-type=module", "--eval", &code]);
        let done = dir.spawn(node).finish();
        match error {
            None => assert_eq!(done.assert_success().stdout.lines().count(), 1, "{fields}"),
            Some(error) => assert!(done.code != Some(0) && done.stderr.contains(error), "{fields}: {}", done.stderr),
        }
    }
}

#[test]
fn consumer_removes_empty_lists_and_falls_back_to_trending_lists() {
    let dir = TestDir::new();
    let sets = "--set input.batch=1 --set trending.k=5";
    let in_room = r#"{"user":"ann","item":"tea","action":"view","ts":1000,"room":"r7"}"#;
    // Half an hour later ben has left the audience, and his list is empty. The buckets of trending have ended too, so they
    // are long enough to last.
    let input = format!("{in_room}\n{}{}", two_shoppers(1_000), event("eve", "salt", "view", 1_000 + 31 * MINUTE));
    let done = dir.run_with_stdin(&format!("{sets} --set trending.bucket=20m"), input.as_bytes()).assert_success();
    assert!(done.stdout.contains(r#""user":"bob""#) && done.stdout.contains("deltarec:trending:room:r7"));
    let expected = final_lists(&changes(&done.stdout));
    assert!(!expected.contains_key("bob"), "{expected:?}");

    let Some(mut consumer) = script("python3", "consumer.py") else { return };
    consumer.args(["--user", "bob", "--user", "deltarec:trending"]);
    let mut consumer = dir.spawn(consumer);
    consumer.send(&done.stdout);
    let everywhere = &expected["deltarec:trending"];
    let lists = printed_lists(&consumer.finish().assert_success().stdout);
    assert_eq!((&lists["bob"], &lists["deltarec:trending"]), (everywhere, everywhere));

    // Over HTTP, while changes still arrive.
    let mut consumer = script("python3", "consumer.py").unwrap();
    consumer.args(["--serve", "0"]);
    let mut consumer = dir.spawn(consumer);
    consumer.send(&done.stdout);
    let limit = Duration::from_secs(20);
    consumer.stderr.wait_for("/USER?room=ROOM", limit);
    let stderr = consumer.stderr.text();
    let address = stderr.split_once("http://").unwrap().1.split_once('/').unwrap().0;
    let look_up = |target: &str| -> Value {
        let mut connection = TcpStream::connect(address).unwrap();
        write!(connection, "GET {target} HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).unwrap();
        serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let start = Instant::now();
    while look_up("/bob?room=r7") != serde_json::json!(expected["deltarec:trending:room:r7"]) {
        assert!(start.elapsed() < limit, "{}", look_up("/bob?room=r7"));
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(look_up("/bob"), serde_json::json!(everywhere));
}
