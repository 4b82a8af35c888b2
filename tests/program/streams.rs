//! Similar items and similar users as outputs of their own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use schema::{Event, ItemName, Similar, UserName, id64};
use serde::de::DeserializeOwned;

use super::{TestDir, latest_ts, oracle_events};
use crate::support::oracle::catalogue::Eligible;
use crate::support::oracle::measures::Measure;
use crate::support::oracle::users::similar_users;
use crate::support::oracle::{Params, audience, history, similar_items};

type Rows = BTreeMap<String, Vec<(String, u64)>>;

/// The last row of each name, and the number of lines. Consecutive rows of a name differ.
fn last_rows<N: DeserializeOwned>(lines: &str, name: impl Fn(N) -> String) -> (Rows, usize) {
    let mut rows = Rows::new();
    for line in lines.lines() {
        let row: Similar<N> = serde_json::from_str(line).unwrap();
        let similar = row.similar.into_iter().map(|similar| (name(similar.name), u64::from(similar.similarity)));
        let (of, similar): (String, Vec<_>) = (name(row.of), similar.collect());
        assert_ne!(rows.get(&of).unwrap_or(&Vec::new()), &similar, "{of}");
        rows.insert(of, similar);
    }
    rows.retain(|_, similar| !similar.is_empty());
    (rows, lines.lines().count())
}

/// The most similar first, ties by id64.
fn in_order(rows: Rows) -> Rows {
    let sorted = |mut row: Vec<(String, u64)>| {
        row.sort_by_key(|(name, similarity)| (Reverse(*similarity), id64(name)));
        row
    };
    rows.into_iter().map(|(of, row)| (of, sorted(row))).collect()
}

#[test]
fn the_last_rows_equal_those_of_the_oracle() {
    let dir = TestDir::new();
    dir.deltarec(&["generate", "events=4000,users=200,items=150,seed=3,rate=1", "--output", "x.jsonl"])
        .assert_success();
    let events: Vec<Event> = dir.read("x.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = oracle_events(&events);
    let now = latest_ts(&events);
    let short = Params { retention: 40 * 60_000, ..Params::default() };
    let history = history(&events, &short, now);
    let items_by = |similarity| {
        in_order(similar_items(&history, &Eligible::everything(), &Params { similarity, ..short.clone() }))
    };
    let viewers: BTreeSet<&str> = audience(&events, &history, &short, now);
    let users = in_order(similar_users(&history, &viewers, &short));
    let cases = [
        (1, 1_000, 1, "cosine", Measure::Cosine),
        (2, 70, 0, "cosine", Measure::Cosine),
        (1, 1_000, 0, "jaccard", Measure::Jaccard),
        (2, 70, 1, "llr", Measure::Llr),
        (2, 500, 0, "count", Measure::Count),
    ];
    for (workers, batch, weight, name, measure) in cases {
        let items = items_by(measure);
        assert!(items.len() > 50 && users.len() > 20, "{} items and {} users", items.len(), users.len());
        let streams = "--output-similar-items items.jsonl --output-similar-users users.jsonl --output lists.jsonl";
        let settings = format!(
            "--set graph.retention=40m --set input.batch={batch} --set graph.sources.users={weight} --set graph.similarity={name}"
        );
        dir.run(&format!("--input x.jsonl {streams} {settings} --workers {workers}")).assert_success();
        let (found, lines) = last_rows(&dir.read("items.jsonl"), |name: ItemName| name.item);
        assert_eq!(found, items, "{name}, {workers} workers");
        assert!(lines > items.len(), "only {lines} lines");
        let (found, lines) = last_rows(&dir.read("users.jsonl"), |name: UserName| name.user);
        assert_eq!(found, users, "{workers} workers");
        assert!(lines > users.len(), "only {lines} lines");
    }
}

#[test]
fn rejects_two_outputs_in_the_same_place() {
    let dir = TestDir::new();
    dir.write("x.jsonl", "");
    let same = "--input x.jsonl --output y.jsonl --output-similar-items ./y.jsonl";
    dir.run(same).assert_failure(2, &["--output-similar-items and --output are the same"]);
    dir.run("--input x.jsonl --output - --output-similar-users -").assert_failure(2, &["are the same"]);
    let input = "--input x.jsonl --output y.jsonl --output-similar-users x.jsonl";
    dir.run(input).assert_failure(2, &["--output-similar-users x.jsonl is also input 1"]);
}
