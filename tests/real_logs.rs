//! The graph against the oracle on real logs, at several times. If a log is not available, its test prints so and passes.

use std::collections::BTreeMap;
use std::path::Path;

use connectors::{Batch, InputOptions, Polled, open_source};
use schema::Levels;

use crate::support::graph::{Pace, Tick, lists_at, run, ticks};
use crate::support::logs::real_log;
use crate::support::oracle::{OracleEvent, Params, lists, without_scores};

/// Reads a log as `deltarec run` does.
fn read(file: &Path, options: &InputOptions) -> Vec<OracleEvent> {
    let uri = file.to_str().unwrap().parse().unwrap();
    let mut source = open_source::<schema::Event>(&uri, options).unwrap();
    let levels = Levels::default();
    let mut batch = Batch::default();
    while source.poll(&mut batch).unwrap() != Polled::Finished {}
    (0..batch.len())
        .filter_map(|index| {
            let event = batch.get(index)?;
            let effect = levels.effect(event.action, event.dwell_ms).unwrap();
            Some(OracleEvent::of(event.user, event.item, effect, event.ts))
        })
        .collect()
}

/// Runs the graph on a log in `cuts` ticks and compares the lists after each with the oracle's.
/// More than `minimum` non-empty lists must have been compared.
fn compare_lists(name: &str, log: &[OracleEvent], params: &Params, cuts: usize, workers: usize, minimum: usize) {
    let ticks = ticks(log, log.len().div_ceil(cuts));
    let records = run(params, &ticks, workers, Pace::Rush);
    let mut arrived = Vec::new();
    let mut compared = 0;
    let mut ends: BTreeMap<u64, usize> = BTreeMap::new();
    for tick in &ticks {
        arrived.extend(tick.events.iter().cloned());
        ends.insert(tick.at, arrived.len());
    }
    for (at, length) in ends {
        let expected = without_scores(lists(&arrived[..length], params, at));
        compared += expected.len();
        let found = without_scores(lists_at(&records, at));
        if found != expected {
            let differing = expected.iter().find(|(user, list)| found.get(*user) != Some(list));
            let unexpected = found.keys().find(|user| !expected.contains_key(*user));
            panic!(
                "{name} at {at}: expected {differing:?}, found {:?}; list of {unexpected:?} not expected",
                differing.map(|(user, _)| found.get(user))
            );
        }
    }
    println!("{name}: {compared} non-empty lists compared at {cuts} times, {workers} workers");
    assert!(compared > minimum, "{name}: only {compared} non-empty lists compared");
}

#[test]
fn lists_of_taobao_equal_the_oracle() {
    let Some(file) = real_log("taobao_userbehavior_slice.csv.gz") else { return };
    let options = InputOptions {
        columns: "user=user_id,item=item_id,action=behavior,ts=timestamp:s".parse().unwrap(),
        ..InputOptions::default()
    };
    let log = read(&file, &options);
    assert_eq!(log.len(), 110_300);
    compare_lists("Taobao, audience 30 min", &log, &Params::default(), 20, 1, 50_000);
    compare_lists("Taobao, audience all", &log, &Params { audience: None, ..Params::default() }, 2, 4, 20_000);
}

#[test]
fn lists_of_online_retail_equal_the_oracle() {
    let Some(file) = real_log("online_retail_events.csv.gz") else { return };
    let options = InputOptions {
        columns: "user=customer_id,item=item_id,ts=invoice_time:%Y-%m-%d %H:%M:%S".parse().unwrap(),
        action: Some("purchase".into()),
        filters: vec!["quantity>0".parse().unwrap()],
        ..InputOptions::default()
    };
    let log = read(&file, &options);
    assert_eq!(log.len(), 397_924);
    let day = 24 * 60 * 60 * 1_000;
    let params = Params { retention: 60 * day, audience: Some(30 * day), ..Params::default() };
    compare_lists("Online Retail", &log, &params, 4, 2, 2_000);
}

#[test]
fn lists_of_movielens_equal_the_oracle() {
    let Some(file) = real_log("movielens_small_ratings.csv.gz") else { return };
    let options = InputOptions {
        columns: "user=userId,item=movieId,ts=timestamp:s".parse().unwrap(),
        action: Some("like".into()),
        ..InputOptions::default()
    };
    // The log is sorted by user, not by time, so nearly every event is late.
    let log = read(&file, &options);
    assert_eq!(log.len(), 100_836);
    let params = Params { retention: u64::MAX >> 21, audience: None, ..Params::default() };
    let at = log.iter().map(|event| event.ts).max().unwrap();
    let whole = vec![Tick::of_events(at, at, &log)];
    let records = run(&params, &whole, 2, Pace::Wait);
    assert_eq!(lists_at(&records, at), lists(&log, &params, at));
    compare_lists("MovieLens, in the order of the file", &log, &params, 3, 1, 600);
}
