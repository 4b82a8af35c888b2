//! The program's lists against the oracle's on real logs. If a log is not available, its test prints so and passes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use schema::{Effect, Levels};

use super::{TestDir, assert_lists_eq, changes, final_lists, gunzip, latest_ts, without_scores};
use crate::support::logs;
use crate::support::oracle::{self, OracleEvent, Params};

const DAY: u64 = 86_400_000;

/// Path and text of a log; `None` if it is not available.
fn log(name: &str) -> Option<(PathBuf, String)> {
    let path = logs::real_log(name)?;
    let text = String::from_utf8(gunzip(&fs::read(&path).unwrap())).unwrap();
    Some((path, text))
}

/// The fields of each row of a CSV text without its header. The fields that the tests read are not quoted.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().skip(1).map(|row| row.split(',').collect())
}

/// Runs the program on the log and compares the final lists of all users with the oracle's.
/// There must be at least `minimum` lists.
fn compare_lists(
    path: &Path,
    args: &[&str],
    events: &[OracleEvent],
    params: &Params,
    minimum: usize,
) -> super::Summary {
    let dir = TestDir::new();
    let input = path.to_str().unwrap();
    let args = [&["run", "--input", input, "--output", "out.jsonl", "--set", "graph.audience=all"], args].concat();
    let done = dir.deltarec(&args).assert_success();
    println!("{}", done.stderr.lines().last().unwrap());
    let found = final_lists(&changes(&dir.read("out.jsonl")));
    let expected = without_scores(oracle::lists(events, params, latest_ts(events)));
    assert_lists_eq(path.file_name().unwrap().to_str().unwrap(), &found, &expected, minimum);
    done.summary()
}

#[test]
fn every_list_of_taobao_equals_the_oracle() {
    let Some((path, text)) = log("taobao_userbehavior_slice.csv.gz") else { return };
    let levels = Levels::default();
    let events: Vec<OracleEvent> = rows(&text)
        .map(|fields| {
            let Ok(Effect::Counts(level)) = levels.effect(fields[3], None) else { panic!("{fields:?}") };
            let ts = fields[4].parse::<u64>().unwrap() * 1000;
            OracleEvent::new(fields[0], fields[1], level, ts)
        })
        .collect();
    let params = Params { audience: None, ..Params::default() };
    let columns = "user=user_id,item=item_id,action=behavior,ts=timestamp:s";
    let summary = compare_lists(&path, &["--columns", columns, "--workers", "2"], &events, &params, 10_000);
    assert_eq!((summary.events, summary.rejected), (events.len() as u64, 0));
}

#[test]
fn every_list_of_online_retail_equals_the_oracle_and_its_rejected_rows_are_counted() {
    let Some((path, text)) = log("online_retail_events.csv.gz") else { return };
    let mut events = Vec::new();
    let mut rejected: BTreeMap<String, u64> = BTreeMap::new();
    for fields in rows(&text) {
        let (item, quantity, time, user) = (fields[1], fields[2], fields[3], fields[5]);
        if user.is_empty() {
            *rejected.entry("missing:customer_id".into()).or_default() += 1;
        } else if quantity.parse::<i64>().unwrap() <= 0 {
            *rejected.entry("filtered:quantity>0".into()).or_default() += 1;
        } else {
            let time: jiff::civil::DateTime = time.parse().unwrap();
            let ts = jiff::tz::Offset::UTC.to_timestamp(time).unwrap().as_millisecond();
            events.push(OracleEvent::new(user, item, 6, u64::try_from(ts).unwrap()));
        }
    }
    let params = Params { audience: None, retention: 400 * DAY, ..Params::default() };
    let columns = "user=customer_id,item=item_id,ts=invoice_time:%Y-%m-%d %H:%M:%S";
    let args = ["--columns", columns, "--action", "purchase", "--where", "quantity>0", "--set", "graph.retention=400d"];
    let summary = compare_lists(&path, &args, &events, &params, 4_000);
    assert_eq!(summary.events, events.len() as u64);
    assert_eq!(summary.rejected_by, rejected);
    assert_eq!(rejected["missing:customer_id"], 135_080);
}

/// The log is sorted by user, not by time, so nearly every event is late and many have expired when they arrive.
#[test]
fn every_list_of_movielens_equals_the_oracle() {
    let Some((path, text)) = log("movielens_small_ratings.csv.gz") else { return };
    let events: Vec<OracleEvent> = rows(&text)
        .map(|fields| {
            let ts = fields[3].parse::<u64>().unwrap() * 1000;
            OracleEvent::new(fields[0], fields[1], 1, ts)
        })
        .collect();
    let params = Params { audience: None, retention: 3650 * DAY, ..Params::default() };
    let columns = "user=userId,item=movieId,ts=timestamp:s";
    let args = ["--columns", columns, "--action", "view", "--set", "graph.retention=3650d"];
    let summary = compare_lists(&path, &args, &events, &params, 150);
    assert_eq!((summary.events, summary.rejected), (events.len() as u64, 0));
}
