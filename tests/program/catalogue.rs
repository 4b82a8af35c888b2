//! A run with a catalogue, from outside: what the outputs hold follows from the inputs alone.

use std::collections::{BTreeMap, BTreeSet};

use schema::Change;

use super::cluster::Cluster;
use super::{TestDir, changes, event};

const START: u64 = 1_700_000_000_000;
const ITEMS: u64 = 240;
const USERS: u64 = 40;

/// Random numbers that do not change with a library.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Events of a shop, some per second, of viewers with two tastes.
fn events(number: u64, seconds: u64) -> Vec<(u64, String)> {
    let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
    let one = |n: u64| {
        let ts = START + n * seconds * 1_000 / number + draw.below(50);
        let user = draw.below(USERS);
        let item = draw.below(ITEMS / 2) * 2 + user % 2;
        let action = ["view", "click", "like", "cart"][draw.below(4) as usize];
        (ts, event(&format!("u{user}"), &format!("p{item}"), action, ts))
    };
    (0..number).map(one).collect()
}

/// What a catalogue record states in these tests.
#[derive(Clone, Debug)]
enum State {
    Available(bool),
    Within(u64, u64),
    Deleted,
    Created,
}

/// A catalogue log: all items at the start but a few, then changes all over the time.
fn catalogue(number: u64, seconds: u64) -> Vec<(u64, u64, State)> {
    let mut draw = Draw(0x2545_F491_4F6C_DD1D);
    let mut log: Vec<(u64, u64, State)> =
        (0..ITEMS).filter(|item| item % 11 != 5).map(|item| (0, item, State::Created)).collect();
    for _ in 0..number {
        let (ts, item) = (START + draw.below(seconds * 1_000), draw.below(ITEMS));
        let state = match draw.below(12) {
            0 => State::Deleted,
            1 | 2 => State::Created,
            3 => State::Within(ts + draw.below(3_000), ts + draw.below(60_000)),
            4..=7 => State::Available(false),
            _ => State::Available(true),
        };
        log.push((ts, item, state));
    }
    log.sort_by_key(|(ts, item, _)| (*ts, *item));
    // One statement of an item at a time: which of two holds is for the tests of the rule.
    log.dedup_by_key(|(ts, item, _)| (*ts, *item));
    log
}

fn lines(log: &[(u64, u64, State)]) -> String {
    let line = |(ts, item, state): &(u64, u64, State)| {
        let fields = match state {
            State::Available(available) => format!("\"available\":{available}"),
            State::Within(from, until) => format!("\"from\":{from},\"until\":{until}"),
            State::Deleted => "\"deleted\":true".to_owned(),
            State::Created => "\"title\":\"a thing\",\"from\":null,\"until\":null".to_owned(),
        };
        format!("{{\"item\":\"p{item}\",\"ts\":{ts},{fields}}}\n")
    };
    log.iter().map(line).collect()
}

/// Whether items are eligible, by time: read off the log, record by record.
struct Shop(BTreeMap<u64, Vec<(u64, State)>>);

impl Shop {
    fn new(log: &[(u64, u64, State)]) -> Self {
        let mut items: BTreeMap<u64, Vec<(u64, State)>> = BTreeMap::new();
        for (ts, item, state) in log {
            items.entry(*item).or_default().push((*ts, state.clone()));
        }
        Shop(items)
    }

    fn is_eligible(&self, item: &str, at: u64) -> bool {
        let number = item.strip_prefix('p').unwrap().parse::<u64>().unwrap();
        let (mut exists, mut available, mut from, mut until) = (false, true, 0, u64::MAX);
        for (_, state) in self.0.get(&number).into_iter().flatten().take_while(|(ts, _)| *ts <= at) {
            match state {
                State::Available(is) => available = *is,
                State::Within(begin, end) => (from, until) = (*begin, *end),
                State::Deleted => (exists, available, from, until) = (false, true, 0, u64::MAX),
                State::Created => (exists, from, until) = (true, 0, u64::MAX),
            }
        }
        exists && available && from <= at && at < until
    }
}

/// No list has an item that is not eligible: neither in the record of a change nor, if each time has a tick of its own, while it
/// stands. Returns the number of lists that a loss has changed.
fn check(changes: &[Change], shop: &Shop, log: &[(u64, u64, State)], is_exact: bool) -> usize {
    let (mut standing, mut losses): (BTreeMap<String, Vec<String>>, usize) = (BTreeMap::new(), 0);
    let mut times: BTreeSet<u64> = log
        .iter()
        .flat_map(|(ts, _, state)| match state {
            State::Within(from, until) => vec![*ts, *from, *until],
            _ => vec![*ts],
        })
        .collect();
    let mut left = changes.iter().peekable();
    times.extend(changes.iter().map(|change| change.at));
    let end = changes.iter().map(|change| change.at).max().unwrap_or(0);
    for at in times.into_iter().filter(|at| *at <= end) {
        while let Some(change) = left.next_if(|change| change.at <= at) {
            let items: Vec<String> = change.items.iter().map(|item| item.item.clone()).collect();
            for item in &items {
                assert!(shop.is_eligible(item, change.at), "{item} at {}: {change:?}", change.at);
            }
            losses += usize::from(change.left.iter().any(|item| !shop.is_eligible(item, change.at)));
            standing.insert(change.key.to_string(), items);
        }
        for (user, items) in standing.iter().filter(|_| is_exact) {
            for item in items {
                assert!(shop.is_eligible(item, at), "{item} stands in the list of {user} at {at}");
            }
        }
    }
    losses
}

fn sorted(changes: &[Change]) -> Vec<String> {
    let mut lines: Vec<String> = changes.iter().map(|change| serde_json::to_string(change).unwrap()).collect();
    lines.sort_unstable();
    lines
}

const SETTINGS: &str = "--set graph.k=5 --set graph.retention=10m --set graph.audience=5m --set graph.refresh=2s \
                        --set trending.k=4 --set trending.bucket=20s --set trending.buckets=3";

#[test]
fn nothing_unavailable_is_ever_shown() {
    let dir = TestDir::new();
    let log = catalogue(2_000, 600);
    let shop = Shop::new(&log);
    dir.write("events.jsonl", events(4_000, 600).into_iter().map(|(_, line)| line).collect::<String>());
    dir.write("shop.jsonl", lines(&log));
    for batch in [1, 7, 1_000] {
        let args = format!(
            "--input events.jsonl --catalogue shop.jsonl --output out.jsonl --set input.batch={batch} {SETTINGS}"
        );
        let mut expected: Option<Vec<String>> = None;
        for (processes, workers) in [(1, 1), (1, 2), (1, 4), (2, 2)] {
            if (processes, batch) == (2, 1) {
                continue; // A tick of a cluster takes a while.
            }
            Cluster::new(&dir, processes, workers).run(&args);
            let changes = changes(&dir.read("out.jsonl"));
            let losses = check(&changes, &shop, &log, batch == 1);
            assert!(losses > 300 || batch > 1, "{losses} lists lost an item");
            // Some 40 items of each taste are eligible, and a viewer has touched half of them.
            let is_late = |change: &&Change| change.at > START + 300_000 && change.key.to_string().starts_with('u');
            let late: Vec<_> = changes.iter().filter(is_late).filter(|change| !change.items.is_empty()).collect();
            let full = late.iter().filter(|change| change.items.len() == 5).count();
            assert!(full * 100 > late.len() * 98, "{full} of {} lists are full", late.len());
            let found = sorted(&changes);
            let expected = expected.get_or_insert_with(|| found.clone());
            assert_eq!(*expected, found, "{processes} processes of {workers} workers");
        }
    }
}

/// In any order within a file, split over files, and with repetitions: the records of the past state the same.
#[test]
fn the_order_of_the_records_of_the_past_does_not_matter() {
    let dir = TestDir::new();
    let log = catalogue(300, 60);
    let seconds_later =
        |(ts, line): (u64, String)| (ts + 60_000, line.replace(&ts.to_string(), &(ts + 60_000).to_string()));
    let events = events(1_000, 60).into_iter().map(seconds_later);
    dir.write("events.jsonl", events.map(|(_, line)| line).collect::<String>());
    let text = lines(&log);
    let mut shuffled: Vec<&str> = text.lines().collect();
    let mut draw = Draw(7);
    for at in (1..shuffled.len()).rev() {
        shuffled.swap(at, draw.below(at as u64 + 1) as usize);
    }
    let (first, second) = shuffled.split_at(shuffled.len() / 3);
    let repeated: Vec<&str> = second.iter().chain(&first[..20]).copied().collect();
    dir.write("shop.jsonl", &text);
    dir.write("a.jsonl", first.join("\n"));
    dir.write("b.jsonl", repeated.join("\n"));
    let run = |catalogue: &str| {
        let args = format!("--input events.jsonl {catalogue} --output out.jsonl --set input.batch=1 {SETTINGS}");
        dir.run(&args).assert_success();
        changes(&dir.read("out.jsonl"))
    };
    let expected = run("--catalogue shop.jsonl");
    assert!(expected.len() > 200);
    assert_eq!(run("--catalogue a.jsonl --catalogue b.jsonl"), expected);
}

#[test]
fn reads_a_csv_with_other_columns_and_without_times() {
    let dir = TestDir::new();
    dir.write(
        "events.jsonl",
        ["a p1 1", "a p2 2", "a p3 3", "b p1 4"]
            .map(|text| {
                let parts: Vec<&str> = text.split(' ').collect();
                event(parts[0], parts[1], "cart", START + parts[2].parse::<u64>().unwrap())
            })
            .concat(),
    );
    dir.write(
        "shop.csv",
        "sku,name,type,stock,unused\np1,One,A > B,InStock,x\np2,Two,A,SoldOut,\np3,Three,A|C > D,,\n",
    );
    let args = "--input events.jsonl --output out.jsonl --set input.batch=1 --catalogue shop.csv \
                --catalogue-columns item=sku,title=name,category=type,availability=stock";
    dir.run(args).assert_success();
    let lists: Vec<Vec<String>> = changes(&dir.read("out.jsonl"))
        .iter()
        .map(|change| change.items.iter().map(|item| item.item.clone()).collect())
        .collect();
    assert_eq!(lists, [["p3"]]);
}

#[test]
fn bad_records_are_counted_by_reason_and_kept_with_their_place() {
    let dir = TestDir::new();
    dir.write("events.jsonl", event("a", "p1", "view", START));
    let tags: Vec<String> = (0..100_000).map(|n| format!("\"t{n}\"")).collect();
    let bad = [
        (r#"{"item":"p1","availability":"maybe"}"#.to_owned(), "unknown_availability"),
        (r#"{"item":"p1","price":"cheap"}"#.to_owned(), "wrong_type:price"),
        (format!(r#"{{"item":"p1","tags":[{}]}}"#, tags.join(",")), "too_many_values:tags"),
        (r#"{"item":"p1","tags":["host:h1"]}"#.to_owned(), "reserved_tag"),
        (r#"{"item":"p1","tags":{"sound":["loud"]}}"#.to_owned(), "unknown_tag_group"),
        (r#"{"item":"p1","available":true,"availability":"in_stock"}"#.to_owned(), "availability_twice"),
        (r#"{"title":"no item"}"#.to_owned(), "missing:item"),
        (r#"{"item":"p1","ts":99999999999999}"#.to_owned(), "future"),
        (format!(r#"{{"item":"p1","title":"{}"}}"#, "x".repeat(2 << 20)), "too_long"),
        (format!(r#"{{"item":"p1","title":"{}"}}"#, "x".repeat(5_000)), "long_text:title"),
        ("{".to_owned(), "malformed"),
    ];
    let lines: Vec<&str> = bad.iter().map(|(line, _)| line.as_str()).collect();
    dir.write("shop.jsonl", lines.join("\n"));
    let done = dir
        .run("--input events.jsonl --catalogue shop.jsonl --output out.jsonl --rejects rejects.jsonl")
        .assert_success();
    let rejects = dir.read("rejects.jsonl");
    let rejected_by = done.summary().rejected_by;
    for (line, code) in (1..).zip(bad.map(|(_, code)| code)) {
        assert_eq!(rejected_by.get(code), Some(&1), "{code}: {}", done.stderr);
        let place = format!("\"line\":{line},");
        let record =
            rejects.lines().find(|record| record.contains(&place)).unwrap_or_else(|| panic!("{code}: {rejects}"));
        assert!(record.contains(&format!("\"reason\":\"{code}\"")) && record.contains("shop.jsonl"), "{record}");
    }
    for (args, part) in [
        ("--catalogue-time 0", "--catalogue"),
        ("--catalogue shop.jsonl --catalogue-time soon", "--catalogue-time soon"),
        ("--catalogue shop.jsonl --catalogue-columns sku=item", "sku"),
        ("--catalogue events.jsonl", "is also an --input"),
        ("--catalogue missing.jsonl", "missing.jsonl"),
        ("--catalogue shop.jsonl --set catalogue.unknown=maybe", "catalogue.unknown"),
        ("--catalogue shop.jsonl --set catalogue.tag_groups=[\"a\",\"a\"]", "catalogue.tag_groups"),
    ] {
        let done = dir.run(&format!("--input events.jsonl --output out.jsonl {args}"));
        assert!(matches!(done.code, Some(1 | 2)), "{args}: {}", done.stderr);
        done.assert_stderr(&[part]);
    }
}

#[test]
fn a_catalogue_of_the_future_is_warned_of_and_can_be_set_at_the_beginning() {
    let dir = TestDir::new();
    let log = ["a p1 1", "a p2 2", "b p1 3"].map(|text| {
        let parts: Vec<&str> = text.split(' ').collect();
        event(parts[0], parts[1], "cart", START + parts[2].parse::<u64>().unwrap())
    });
    dir.write("events.jsonl", log.concat());
    dir.write("shop.jsonl", format!("{{\"item\":\"p2\",\"kind\":\"product\",\"ts\":{}}}\n", START + 10_000));
    let args = "--input events.jsonl --catalogue shop.jsonl --output out.jsonl";
    dir.run(args).assert_success().assert_stderr(&["the whole catalogue lies after the last event"]);
    // It acts for the lists of the end.
    let lists = |output: &str| changes(output).iter().map(|change| (change.at, change.items.len())).collect::<Vec<_>>();
    assert_eq!(lists(&dir.read("out.jsonl")), [(START + 3, 1)]);
    let done = dir.run(&format!("{args} --catalogue-time 0 --set input.batch=1")).assert_success();
    assert!(!done.stderr.contains("the whole catalogue"), "{}", done.stderr);
    assert_eq!(lists(&dir.read("out.jsonl")), [(START + 3, 1)]);
}

/// Both logs up to a time, as files that grow.
fn write_until(dir: &TestDir, events: &[(u64, String)], log: &[(u64, u64, State)], end: u64) {
    dir.write(
        "events.jsonl",
        events.iter().filter(|(ts, _)| *ts <= end).map(|(_, line)| line.as_str()).collect::<String>(),
    );
    dir.write("shop.jsonl", lines(&log.iter().filter(|(ts, ..)| *ts <= end).cloned().collect::<Vec<_>>()));
}

/// With a state, in parts, on another number of workers each time: the catalogue is in the snapshots, and its inputs continue.
#[test]
fn a_run_in_parts_equals_a_run_in_one() {
    let dir = TestDir::new();
    let mut events = events(1_500, 300);
    events.sort();
    let log = catalogue(900, 300);
    let args = |output: &str, more: &str| {
        format!("--input events.jsonl --output {output} --set input.batch=1 {SETTINGS} --set graph.refresh=0ms {more}")
    };
    // Times of events, so that no record of the catalogue is ahead of the clock at an end.
    let ends = [100, 400, 401, 900, 1_300, 1_499].map(|at: usize| events[at].0);
    write_until(&dir, &events, &log, ends[5]);
    dir.run(&args("expected.jsonl", "--catalogue shop.jsonl")).assert_success();
    let expected = changes(&dir.read("expected.jsonl"));
    assert!(expected.len() > 2_000, "{} changes", expected.len());
    for (end, workers) in ends.into_iter().zip([1, 2, 4, 1, 2, 1]) {
        write_until(&dir, &events, &log, end);
        let more = format!("--catalogue shop.jsonl --state state --workers {workers}");
        dir.run(&args("out.jsonl", &more)).assert_success();
    }
    assert_eq!(sorted(&changes(&dir.read("out.jsonl"))), sorted(&expected));
    // The catalogue holds without its input, and a replaced one is read from its start.
    let after = events[1_499].0 + 1;
    let more = |n: u64| event(&format!("u{}", n % USERS), &format!("p{}", n % ITEMS), "view", after + n);
    dir.write("events.jsonl", dir.read("events.jsonl") + &(0..200).map(more).collect::<String>());
    dir.run(&args("out.jsonl", "--state state")).assert_success();
    let found = changes(&dir.read("out.jsonl"));
    assert!(found.len() > expected.len() + 50);
    check(&found, &Shop::new(&log.iter().filter(|(ts, ..)| *ts <= ends[5]).cloned().collect::<Vec<_>>()), &[], false);
    dir.write("shop.jsonl", "{\"item\":\"p2\",\"deleted\":true,\"ts\":1900000000000}\n".repeat(2));
    let done = dir.run(&args("out.jsonl", "--catalogue shop.jsonl --state state"));
    done.assert_success().assert_stderr(&["reading the catalogue from the start"]);
}
