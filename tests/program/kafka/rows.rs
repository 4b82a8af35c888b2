//! Rows of similar items and similar users in topics.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::TestDir;
use super::broker::{Record, real_or_mock_broker};

/// Neighbours by the name of the item or user.
type Rows = BTreeMap<String, Value>;

/// The latest rows in a file that are not empty. `field`: `item` or `user`.
fn rows_in_file(lines: &str, field: &str) -> Rows {
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        (row[field].as_str().unwrap().to_owned(), row["similar"].take())
    };
    let mut rows: Rows = lines.lines().map(row).collect();
    rows.retain(|_, similar| *similar != json!([]));
    rows
}

/// The latest rows in a topic, and the number of tombstones.
fn rows_in_topic(records: &[Record], field: &str) -> (Rows, usize) {
    let (mut rows, mut tombstones) = (Rows::new(), 0);
    for record in records {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        let Some(value) = &record.value else {
            tombstones += 1;
            rows.remove(&key);
            continue;
        };
        let mut row: Value = serde_json::from_slice(value).unwrap();
        assert_eq!(row[field], *key);
        assert_ne!(row["similar"], json!([]), "an empty row is a tombstone");
        rows.insert(key, row["similar"].take());
    }
    (rows, tombstones)
}

#[test]
fn the_latest_rows_in_the_topics_are_those_of_files() {
    let broker = real_or_mock_broker();
    let dir = TestDir::new();
    dir.deltarec(&["generate", "events=2000,users=100,items=80,seed=3,rate=1", "--output", "x.jsonl"]).assert_success();
    let run = |items: &str, users: &str| {
        let outputs = format!("--output lists.jsonl --output-similar-items {items} --output-similar-users {users}");
        dir.run(&format!(
            "--input x.jsonl {outputs} --set graph.retention=10m --set graph.audience=10m --set input.batch=20 \
             --set kafka.partitions=3"
        ))
        .assert_success();
    };
    run("items.jsonl", "users.jsonl");
    let expected = [("item", dir.read("items.jsonl")), ("user", dir.read("users.jsonl"))];
    let topics = [broker.topic("items", 0, &[]), broker.topic("users", 0, &[])];
    // The second run emits all rows again.
    for _ in 0..2 {
        run(&broker.uri(&topics[0]), &broker.uri(&topics[1]));
        for ((field, lines), topic) in expected.iter().zip(&topics) {
            let expected = rows_in_file(lines, field);
            assert!(expected.len() > 5, "{} rows of {field}", expected.len());
            let (rows, tombstones) = rows_in_topic(&broker.read(topic), field);
            assert_eq!(rows, expected);
            assert!(tombstones > 0, "{field}");
        }
    }
}
