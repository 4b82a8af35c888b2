//! `deltarec evaluate`: its metrics equal those of the oracle's lists, and they distinguish good lists from bad ones.

#![allow(clippy::cast_precision_loss)]

mod baselines;
mod splits;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use schema::{Event, Levels, TRENDING, id64};
use serde_json::Value;

use super::{TestDir, event, oracle_events, without_scores};
use crate::support::oracle::catalogue::Eligible;
use crate::support::oracle::trending::{Trending, lists as expected_trending};
use crate::support::oracle::{self, OracleEvent, Params};

const K: [usize; 2] = [3, 10];

/// A limit keeps the earliest events, whatever the order of the lines, also among events of the same time.
#[test]
fn a_limit_does_not_depend_on_the_order_of_lines() {
    let dir = TestDir::new();
    let mut lines: Vec<String> = (0..600_u64)
        .map(|n| event(&format!("u{}", n % 40), &format!("p{}", n * n % 31), "cart", 1_763_900_000_000 + n / 50))
        .collect();
    let mut results = BTreeSet::new();
    for _ in 0..4 {
        dir.write("x.jsonl", lines.concat());
        let args = "evaluate --quiet --json out.json --input x.jsonl --events 330 --k 3,10";
        let done = dir.deltarec(&args.split(' ').collect::<Vec<_>>()).assert_success();
        done.assert_stderr(&["only the earliest are used"]);
        results.insert(dir.read("out.json"));
        lines.rotate_left(77);
        lines.reverse();
        lines.swap(3, 401);
    }
    assert_eq!(results.len(), 1);
}

/// Parameters without expiry, with a list for all users.
fn without_expiry() -> Params {
    Params { retention: u64::MAX >> 21, audience: None, ..Params::default() }
}

fn evaluate(dir: &TestDir, args: &str) -> Value {
    let args = format!("evaluate --quiet --json out.json {args}");
    let done = dir.deltarec(&args.split_whitespace().collect::<Vec<_>>()).assert_success();
    println!("{}", done.stdout);
    assert_eq!(done.stderr, "");
    serde_json::from_str(&dir.read("out.json")).unwrap()
}

/// Writes simulated events with a level to `x.jsonl` and returns them, ordered by time. No two have the same time, so
/// nothing is drawn by the seed.
fn simulated(dir: &TestDir, simulation: &str) -> Vec<OracleEvent> {
    dir.deltarec(&["generate", simulation, "--output", "x.jsonl"]).assert_success();
    let text = dir.read("x.jsonl");
    let mut events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    events.retain(|event| Levels::default().effect(&event.action, event.dwell_ms).unwrap().level().is_some());
    let mut last = 0;
    for event in &mut events {
        event.ts = event.ts.max(last + 1);
        last = event.ts;
    }
    dir.write("x.jsonl", events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect::<String>());
    oracle_events(&events)
}

/// Sums of hit rate, recall, NDCG and MRR at each k, and the number of lists.
struct Expected {
    ks: &'static [usize],
    sums: BTreeMap<String, f64>,
    lists: u64,
}

impl Default for Expected {
    fn default() -> Self {
        Expected::at(&K)
    }
}

impl Expected {
    fn at(ks: &'static [usize]) -> Self {
        Expected { ks, sums: BTreeMap::new(), lists: 0 }
    }

    fn add(&mut self, list: &[String], relevant: &BTreeSet<String>) {
        self.lists += 1;
        for &k in self.ks {
            let hits: Vec<usize> = (0..list.len().min(k)).filter(|rank| relevant.contains(&list[*rank])).collect();
            let gain = |ranks: &[usize]| ranks.iter().map(|rank| 1.0 / (2.0 + *rank as f64).log2()).sum::<f64>();
            let ideal: Vec<usize> = (0..relevant.len().min(k)).collect();
            let values = [
                ("hit_rate", if hits.is_empty() { 0.0 } else { 1.0 }),
                ("recall", hits.len() as f64 / relevant.len() as f64),
                ("ndcg", gain(&hits) / gain(&ideal)),
                ("mrr", hits.first().map_or(0.0, |rank| 1.0 / (1.0 + *rank as f64))),
            ];
            for (name, value) in values {
                *self.sums.entry(format!("{name}@{k}")).or_default() += value;
            }
        }
    }

    /// Compares with a group of the report. `floor`: a hit rate that shows that the comparison is not trivial.
    #[track_caller]
    fn assert_equals(&self, group: &Value, floor: f64) {
        assert_eq!(group["lists"].as_u64(), Some(self.lists));
        for (name, sum) in &self.sums {
            let (found, expected) = (group["metrics"][name]["mean"].as_f64().unwrap(), sum / self.lists as f64);
            assert!((found - expected).abs() < 1e-12, "{name}: {found}, not {expected}");
        }
        let hit_rate = self.sums["hit_rate@10"] / self.lists as f64;
        assert!(hit_rate > floor, "a hit rate of only {hit_rate}");
    }
}

fn touched<'e>(events: &'e [OracleEvent], user: &str) -> BTreeSet<&'e str> {
    events.iter().filter(|event| event.user == user).map(|event| event.item.as_str()).collect()
}

#[test]
fn last_scores_the_oracles_lists() {
    let dir = TestDir::new();
    let events = simulated(&dir, "events=3000,users=300,items=120,rooms=4,seed=3");
    let last: BTreeMap<&str, usize> = events.iter().enumerate().map(|(at, event)| (&*event.user, at)).collect();
    let is_held_out = |at: usize| {
        let user = &events[at].user;
        last[&**user] == at && events.iter().filter(|event| event.user == *user).count() > 1
    };
    let train: Vec<OracleEvent> =
        (0..events.len()).filter(|at| !is_held_out(*at)).map(|at| events[at].clone()).collect();
    let lists = without_scores(oracle::lists(&train, &Params { k: 10, ..without_expiry() }, train.last().unwrap().ts));
    let (mut new, mut repeats) = (Expected::default(), Expected::default());
    for event in (0..events.len()).filter(|at| is_held_out(*at)).map(|at| &events[at]) {
        let list = lists.get(&event.user).cloned().unwrap_or_default();
        let repeat = touched(&train, &event.user).contains(&*event.item);
        if repeat { &mut repeats } else { &mut new }.add(&list, &BTreeSet::from([event.item.clone()]));
    }
    let report = evaluate(&dir, "--input x.jsonl --k 3,10 --resamples 50 --workers 2");
    let items = &report["systems"][0]["items"];
    new.assert_equals(&items["new"], 0.1);
    assert_eq!(items["repeats"]["lists"].as_u64(), Some(repeats.lists));
    assert!(repeats.lists > 10 && repeats.sums["hit_rate@10"] == 0.0);
    assert_eq!(report["log"]["events"].as_u64(), Some(events.len() as u64));

    // Another number of workers gives the same bytes.
    let before = dir.read("out.json");
    evaluate(&dir, "--input x.jsonl --k 3,10 --resamples 50 --workers 1");
    assert_eq!(dir.read("out.json"), before);
}

#[test]
fn prequential_scores_the_oracles_lists_just_before_each_event() {
    let dir = TestDir::new();
    // 25 seconds, of which 10 are retained.
    let events = simulated(&dir, "events=600,users=40,items=30,rooms=2,rate=20,seed=11");
    let params = Params { k: 10, retention: 10_000, audience: None, shrink: 2, ..Params::default() };
    let from = events.partition_point(|event| event.ts < events[(events.len() as f64 * 0.2).round() as usize].ts);
    let (mut new, mut cold_users) = (Expected::default(), 0);
    for (at, event) in events.iter().enumerate().skip(from) {
        let before = &events[..at];
        let now = (event.ts - 1).max(before.last().unwrap().ts);
        let list = without_scores(oracle::lists(before, &params, now)).remove(&event.user).unwrap_or_default();
        if !touched(before, &event.user).contains(&*event.item) {
            new.add(&list, &BTreeSet::from([event.item.clone()]));
            cold_users += u64::from(touched(before, &event.user).is_empty());
        }
    }
    let sets = "--set graph.retention=10s --set graph.shrink=2";
    let report =
        evaluate(&dir, &format!("--protocol prequential --from 20% --input x.jsonl --k 3,10 --resamples 0 {sets}"));
    let items = &report["systems"][0]["items"];
    new.assert_equals(&items["new"], 0.1);
    assert_eq!(items["cold_users"]["lists"].as_u64(), Some(cold_users));
    let answered = report["systems"][0]["lists"]["answered"]["mean"].as_f64().unwrap();

    // Users outside the audience have no list.
    let report =
        evaluate(&dir, &format!("--protocol prequential --input x.jsonl --set graph.audience=100ms {sets} --tick 7"));
    assert!(report["systems"][0]["lists"]["answered"]["mean"].as_f64().unwrap() < 0.7 * answered);
}

/// The blended list by the rule of `docs/trending.md`, without a room.
fn blended(
    user: &str,
    personal: &[String],
    trends: &[String],
    new: &[&str],
    explore: usize,
    seen: &BTreeSet<&str>,
) -> Vec<String> {
    let mut pick: Vec<&str> = new.iter().copied().filter(|item| !personal.iter().any(|other| other == item)).collect();
    pick.sort_by_key(|item| (id64(item) ^ id64(user) ^ SEED).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    pick.truncate(explore);
    let mut list: Vec<String> = Vec::new();
    for item in personal.iter().chain(trends.iter().filter(|item| !seen.contains(item.as_str()))) {
        if list.len() < 10 - pick.len() && !list.contains(item) {
            list.push(item.clone());
        }
    }
    list.extend(pick.into_iter().map(str::to_owned));
    list
}

const SEED: u64 = 5;

/// Unchanged lists, lists with trending items, and lists with new items at the last positions; also for cold users and cold
/// items alone.
#[test]
fn blended_lists_are_the_oracles_lists_blended_by_the_rule() {
    let dir = TestDir::new();
    let events = simulated(&dir, "events=600,users=120,items=60,rooms=2,rate=20,seed=12");
    let params = Params { k: 10, retention: 10_000, audience: None, ..Params::default() };
    let trending = Trending { k: 15, bucket: 1_000, buckets: 5 };
    let seen: Vec<_> = events.iter().map(|event| (event.clone(), None)).collect();
    let all: BTreeSet<&str> = events.iter().map(|event| event.item.as_str()).collect();
    // By system (unchanged, trending, one and two positions for new items), for all new items, cold users and cold items.
    let mut expected = [(); 4].map(|()| ["new", "cold_users", "cold_items"].map(|group| (group, Expected::at(&[10]))));
    for (at, event) in events.iter().enumerate() {
        let before = &events[..at];
        let seen_items = touched(before, &event.user);
        if seen_items.contains(&*event.item) {
            continue;
        }
        let now = before.last().map_or(0, |last| last.ts).max(event.ts - 1);
        let list = without_scores(oracle::lists(before, &params, now)).remove(&event.user).unwrap_or_default();
        let trends = without_scores(expected_trending(&seen[..at], &Eligible::everything(), trending, now))
            .remove(TRENDING)
            .unwrap_or_default();
        let old: BTreeSet<&str> = before.iter().map(|event| event.item.as_str()).collect();
        let new: Vec<&str> = all.difference(&old).copied().collect();
        let variants = [0, 1, 2].map(|explore| blended(&event.user, &list, &trends, &new, explore, &seen_items));
        let is_in = |group: &str| match group {
            "cold_users" => seen_items.is_empty(),
            "cold_items" => !old.contains(&*event.item),
            _ => true,
        };
        let relevant = BTreeSet::from([event.item.clone()]);
        for (list, groups) in [list].iter().chain(&variants).zip(&mut expected) {
            groups.iter_mut().filter(|(group, _)| is_in(group)).for_each(|(_, expected)| expected.add(list, &relevant));
        }
    }
    let sets = "--set graph.retention=10s --set trending.k=15 --set trending.bucket=1s --set trending.buckets=5";
    let args =
        format!("--protocol prequential --input x.jsonl --k 10 --explore 1,2 --seed {SEED} --resamples 0 {sets}");
    let report = evaluate(&dir, &args);
    let systems = report["systems"].as_array().unwrap();
    let names: Vec<&str> = systems[..4].iter().map(|system| system["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["deltarec", "deltarec filled", "deltarec explore=1", "deltarec explore=2"]);
    // Minimal hit rates; without positions for new items no cold item is found.
    let floors = [[0.05, -1.0, -1.0], [0.1, 0.1, -1.0], [0.1, 0.1, 0.03], [0.1, 0.1, 0.03]];
    for ((groups, system), floors) in expected.iter().zip(systems).zip(floors) {
        for ((group, expected), floor) in groups.iter().zip(floors) {
            expected.assert_equals(&system["items"][group], floor);
        }
    }
}

#[test]
fn time_scores_the_oracles_lists_at_the_cut() {
    let dir = TestDir::new();
    let events = simulated(&dir, "events=3000,users=200,items=120,rooms=4,rate=100,seed=4");
    let cut = events[events.len().div_ceil(2)].ts; // half of the events, rounded
    let (train, future) = events.split_at(events.partition_point(|event| event.ts < cut));
    let params = Params { k: 10, retention: 12_000, audience: None, ..Params::default() };
    let lists = without_scores(oracle::lists(train, &params, (cut - 1).max(train.last().unwrap().ts)));
    let mut new = Expected::default();
    for user in future.iter().map(|event| &event.user).collect::<BTreeSet<_>>() {
        let before = touched(train, user);
        let relevant = touched(future, user).into_iter().filter(|item| !before.contains(item));
        let relevant: BTreeSet<String> = relevant.map(str::to_owned).collect();
        if !relevant.is_empty() {
            new.add(&lists.get(user).cloned().unwrap_or_default(), &relevant);
        }
    }
    let report =
        evaluate(&dir, "--protocol time --from 50% --input x.jsonl --k 3,10 --resamples 0 --set graph.retention=12s");
    new.assert_equals(&report["systems"][0]["items"]["new"], 0.2);

    // Items without training events are in the catalogue only with --explore.
    let cut = events[events.len().div_ceil(20)].ts;
    let known = events.iter().filter(|event| event.ts < cut).map(|event| &event.item).collect::<BTreeSet<_>>().len();
    let all = events.iter().map(|event| &event.item).collect::<BTreeSet<_>>().len();
    let report = evaluate(&dir, "--protocol time --from 5% --input x.jsonl --k 10 --resamples 0 --explore 3");
    let coverage = |system: usize| report["systems"][system]["lists"]["coverage@10"].as_f64().unwrap();
    assert!(coverage(0) <= known as f64 / all as f64, "{} of {known} of {all}", coverage(0));
    assert!((known as f64 / all as f64..=1.0).contains(&coverage(1)), "{}", coverage(1));
    assert!(report["systems"][1]["items"]["cold_items"]["metrics"]["hit_rate@10"]["mean"].as_f64().unwrap() > 0.0);
}

/// A floor on quality. As a control, the same events with permuted items fall below it.
#[test]
fn lists_beat_popularity_and_permuted_items_do_not() {
    const SHOP: &str = "events=30000,users=2000,items=400,rooms=10,seed=7";
    const FLOOR: f64 = 0.12;
    let dir = TestDir::new();
    simulated(&dir, SHOP);
    let ndcg = |report: &Value, system: usize| -> f64 {
        report["systems"][system]["items"]["new"]["metrics"]["ndcg@10"]["mean"].as_f64().unwrap()
    };
    let above_popularity = |report: &Value| -> f64 {
        // The difference of popularity to the graph.
        assert_eq!(report["systems"][1]["name"], "popularity");
        -report["systems"][1]["difference_to_first"]["ndcg@10"]["high"].as_f64().unwrap()
    };
    let report = evaluate(&dir, "--input x.jsonl --resamples 200");
    println!("{} {}", ndcg(&report, 0), above_popularity(&report));
    assert!(ndcg(&report, 0) > FLOOR && above_popularity(&report) > 0.0);
    assert!(ndcg(&report, 0) > 3.0 * ndcg(&report, 3), "random");

    let text = dir.read("x.jsonl");
    let mut events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for at in (1..events.len()).rev() {
        let other = random.next_u64() as usize % (at + 1);
        let item = events[at].item.clone();
        events[at].item = std::mem::replace(&mut events[other].item, item);
    }
    let lines: Vec<String> = events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    dir.write("permuted.jsonl", lines.join("\n"));
    let permuted = evaluate(&dir, "--input permuted.jsonl --resamples 200");
    println!("permuted: {} {}", ndcg(&permuted, 0), above_popularity(&permuted));
    assert!(ndcg(&permuted, 0) < FLOOR && above_popularity(&permuted) < 0.0);
}

#[test]
fn compares_similarity_measures() {
    let dir = TestDir::new();
    simulated(&dir, "events=2000,users=150,items=80,rooms=3,seed=2");
    let sweep = "--sweep graph.similarity=cosine,jaccard,llr,count --set graph.sources.users=0";
    let report = evaluate(&dir, &format!("--input x.jsonl --resamples 0 {sweep}"));
    let systems = report["systems"].as_array().unwrap();
    let names: Vec<&str> = systems[..4].iter().map(|system| system["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cosine", "jaccard", "llr", "count"].map(|measure| format!("similarity={measure}")));
    let ndcg = |at: usize| systems[at]["items"]["new"]["metrics"]["ndcg@10"]["mean"].to_string();
    let found: BTreeSet<String> = (0..4).map(ndcg).collect();
    assert_eq!(found.len(), 4, "four different results: {found:?}");
}

#[test]
fn compares_settings_in_tables_json_and_a_chart() {
    let dir = TestDir::new();
    simulated(&dir, "events=2000,users=150,items=80,rooms=3,seed=2");
    let sweep = "--sweep graph.resolution=2,16 --sweep graph.stairs=[1],[2,4,8,16] --picture out.svg";
    let report = evaluate(&dir, &format!("--input x.jsonl --resamples 100 --seed 9 {sweep}"));
    let systems = report["systems"].as_array().unwrap();
    let names: Vec<&str> = systems.iter().map(|system| system["name"].as_str().unwrap()).collect();
    let settings = ["resolution=2 stairs=[1]", "resolution=2 stairs=[2,4,8,16]"];
    assert_eq!(names[..2], settings);
    assert_eq!(names[4..], ["popularity", "recency", "random"]);
    assert_eq!(systems[3]["set"], serde_json::json!(["graph.resolution=16", "graph.stairs=[2,4,8,16]"]));
    for system in systems {
        let estimate = &system["items"]["new"]["metrics"]["ndcg@10"];
        let [low, mean, high] = ["low", "mean", "high"].map(|part| estimate[part].as_f64().unwrap());
        assert!(low <= mean && mean <= high && low < high, "{estimate}");
        let lists = &system["lists"];
        for coverage in ["coverage@10", "coverage@20"].map(|name| &lists[name]) {
            assert!((0.0..=1.0).contains(&coverage.as_f64().unwrap()));
        }
        for mean in ["popularity@5", "diversity@10"].map(|name| &lists[name]["mean"]) {
            assert!((0.0..=1.0).contains(&mean.as_f64().unwrap()));
        }
    }
    let first = &systems[0]["difference_to_first"]["hit_rate@10"];
    assert_eq!(
        (first["mean"].as_f64(), first["low"].as_f64(), first["high"].as_f64()),
        (Some(0.0), Some(0.0), Some(0.0))
    );
    let picture = dir.read("out.svg");
    let picture = roxmltree::Document::parse(&picture).unwrap();
    let texts: Vec<&str> = picture.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    for text in ["hit rate at 10", "NDCG at 10", "popularity", settings[0], settings[1]] {
        assert!(texts.contains(&text), "{text:?} is missing in {texts:?}");
    }
}

#[test]
fn rejects_invalid_arguments_and_logs() {
    let dir = TestDir::new();
    dir.write("two.jsonl", event("a", "x", "view", 5) + &event("b", "x", "view", 6));
    dir.write("odd.jsonl", event("a", "x", "view", 5) + "garbage\n" + &event("a", "y", "view", 6));
    let cases: &[(&str, &[&str])] = &[
        ("--input two.jsonl", &["nothing to predict", "2 events of 2 users", "no user has two"]),
        ("--input two.jsonl --protocol time --from 2030-01-01", &["nothing to predict", "--from"]),
        ("--input two.jsonl --last 2", &["nothing to predict", "no user has more than 2", "--last"]),
        ("--input two.jsonl --protocol next-visit", &["nothing to predict", "no user has two visits", "--gap"]),
        ("--input two.jsonl --protocol sessions --from 0%", &["nothing to predict", "no user who begins", "--from"]),
        (
            "--input odd.jsonl --tick 5",
            &["--tick is for --protocol prequential or sessions, not for last: leave it out"],
        ),
        ("--input odd.jsonl --protocol time --tick 5", &["--tick is for", "not for time"]),
        ("--input odd.jsonl --from 5%", &["--from is for --protocol prequential or sessions or time, not for last"]),
        ("--input odd.jsonl --protocol next-visit --from 5%", &["--from is for", "not for next-visit"]),
        ("--input odd.jsonl --protocol sessions --last 3", &["--last is for --protocol last, not for sessions"]),
        ("--input odd.jsonl --protocol sessions --gap 1h", &["--gap is for --protocol next-visit, not for sessions"]),
        ("--input odd.jsonl --protocol next-visit --gap 90", &["--gap", "a duration from", "30m"]),
        ("--input odd.jsonl --last 0", &["--last"]),
        ("--input odd.jsonl --baselines popularity,luck", &["--baselines", "vmis-knn"]),
        (
            "--input odd.jsonl --k 10 --explore 1",
            &["--explore is for --protocol prequential or sessions or next-visit or time"],
        ),
        ("--input odd.jsonl --sweep graph.retention=1d", &["nothing expires", "another --protocol"]),
        ("--input odd.jsonl --protocol time --explore 1", &["--explore", "single --k"]),
        ("--input odd.jsonl --protocol time --from 80", &["--from", "80%"]),
        ("--input odd.jsonl --sweep graph.k=1,2", &["graph.k", "--k"]),
        ("--input odd.jsonl --sweep graph.hystory=1", &["did you mean graph.history"]),
        ("--input odd.jsonl --k 0", &["--k"]),
        ("--input odd.jsonl --json none/out.json", &["none/out.json", "folder that exists"]),
        ("--input kafka://broker:9092/events", &["no end"]),
    ];
    for (args, parts) in cases {
        let args = format!("evaluate {args}");
        dir.deltarec(&args.split_whitespace().collect::<Vec<_>>()).assert_failure(2, parts);
    }
    let done = dir
        .deltarec(&["evaluate", "--input", "odd.jsonl"])
        .assert_success()
        .assert_stderr(&["odd.jsonl:2", "malformed"]);
    assert!(
        done.stdout.contains("2 events of 1 users and 2 items") && done.stdout.contains("1 rejected"),
        "{}",
        done.stdout
    );
    assert!(!fs::exists(dir.path("out.json")).unwrap());
}

/// Writes lines in an order that a number selects.
fn shuffled(lines: &[String], seed: u8) -> String {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for at in (1..lines.len()).rev() {
        lines.swap(at, (random.next_u64() % (at as u64 + 1)) as usize);
    }
    lines.concat()
}

#[test]
fn the_order_of_lines_does_not_change_a_report() {
    let dir = TestDir::new();
    // Days instead of milliseconds: most events have the time of others, of the same user too.
    let lines: Vec<String> = (0..900_u64)
        .map(|n| {
            let action = ["view", "click", "cart"][(n % 3) as usize];
            event(
                &format!("u{}", n * 7 % 41),
                &format!("p{}", n * n % 37),
                action,
                1_763_900_000_000 + n / 90 * 86_400_000,
            )
        })
        .collect();
    for args in [
        "--protocol last",
        "--protocol prequential --from 20% --tick 3 --k 10 --explore 2 --set trending.k=5",
        "--protocol time --from 60% --k 5 --explore 1",
        "--last 4 --repeats --baselines vmis-knn,popularity",
        "--protocol sessions --from 3% --k 10 --baselines vmis-knn",
        "--protocol next-visit --gap 1d --repeats --baselines recency,random,vmis-knn",
        "--sweep graph.history=5,20",
    ] {
        let report = |seed: u8| {
            dir.write("x.jsonl", shuffled(&lines, seed));
            let args = format!("evaluate --quiet --json out.json --resamples 40 --input x.jsonl {args}");
            let done = dir.deltarec(&args.split_whitespace().collect::<Vec<_>>()).assert_success();
            done.assert_stderr(&["100.0% of the users have events on several items at one time"]).stdout
                + &dir.read("out.json")
        };
        let expected = report(1);
        for seed in 2..5 {
            assert!(report(seed) == expected, "{args}: another order of lines gives another report");
        }
    }
}

/// A list is evaluated when a prediction needs it, and its order at that moment counts, whatever a run would emit.
#[test]
fn a_report_does_not_depend_on_when_lists_are_evaluated_and_sent() {
    let dir = TestDir::new();
    simulated(&dir, "events=1500,users=80,items=60,rooms=3,rate=20,seed=5");
    for args in [
        "--protocol last",
        "--protocol prequential --from 20% --tick 7 --k 10 --explore 2 --set trending.k=5",
        "--protocol time --from 60% --set graph.retention=30s",
        "--protocol sessions --from 10%",
    ] {
        let report = |sets: &str| {
            let mut report = evaluate(&dir, &format!("--input x.jsonl --resamples 40 --workers 2 {args} {sets}"));
            report.as_object_mut().unwrap().remove("set").unwrap();
            let found = &report["systems"][0]["items"]["new"]["metrics"]["ndcg@10"]["mean"];
            assert!(found.as_f64().unwrap() > 0.02, "{args}: {found}");
            report
        };
        let expected = report("");
        for sets in [
            "--set graph.emit=membership",
            "--set graph.refresh=0ms",
            "--set graph.refresh=50ms",
            "--set graph.refresh=1h --set graph.emit=membership",
        ] {
            assert!(report(sets) == expected, "{args}: {sets} gives another report");
        }
    }
}
