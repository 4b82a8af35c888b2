//! Real logs against the oracle, at many cut times, graph alone. Where they are not at hand these tests say so and pass.

use std::collections::BTreeMap;
use std::path::Path;

use connectors::{Batch, InputOptions, Polled, open_source};
use schema::{Effect, Levels};

use crate::support::graph::{Pace, Tick, lists_at, run, ticks};
use crate::support::logs::real;
use crate::support::oracle::{Ev, Params, lists};

/// Reads a log as `deltarec run` would.
fn read(file: &Path, options: &InputOptions) -> Vec<Ev> {
    let uri = file.to_str().unwrap().parse().unwrap();
    let mut source = open_source::<schema::Event>(&uri, options).unwrap();
    let levels = Levels::default();
    let mut batch = Batch::default();
    while source.poll(&mut batch).unwrap() != Polled::Finished {}
    (0..batch.len())
        .filter_map(|at| {
            let event = batch.get(at)?;
            match levels.effect(event.action, event.dwell_ms).unwrap() {
                Effect::Counts(level) => {
                    Some(Ev { user: event.user.to_owned(), item: event.item.to_owned(), level, ts: event.ts })
                }
                Effect::Ignored => None,
            }
        })
        .collect()
}

fn check(name: &str, log: &[Ev], params: &Params, cuts: usize, workers: usize, floor: usize) {
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
        let items = |lists: BTreeMap<String, Vec<(String, i64)>>| -> BTreeMap<String, Vec<String>> {
            lists.into_iter().map(|(user, list)| (user, list.into_iter().map(|(item, _)| item).collect())).collect()
        };
        let expected = items(lists(&arrived[..length], params, at));
        compared += expected.len();
        let got = items(lists_at(&records, at));
        if got != expected {
            let differs = expected.iter().find(|(user, list)| got.get(*user) != Some(list));
            let extra = got.keys().find(|user| !expected.contains_key(*user));
            panic!(
                "{name} at {at}: expected {differs:?}, got {:?}; extra {extra:?}",
                differs.map(|(user, _)| got.get(user))
            );
        }
    }
    println!("{name}: {compared} non-empty lists compared at {cuts} times, {workers} workers");
    assert!(compared > floor, "{name}: only {compared} non-empty lists compared");
}

#[test]
fn taobao_at_twenty_times_for_the_default_audience() {
    let Some(file) = real("taobao_userbehavior_slice.csv.gz") else { return };
    let options = InputOptions {
        columns: "user=user_id,item=item_id,action=behavior,ts=timestamp:s".parse().unwrap(),
        ..InputOptions::default()
    };
    let log = read(&file, &options);
    assert_eq!(log.len(), 110_300);
    check("Taobao, audience 30 min", &log, &Params::default(), 20, 1, 50_000);
    check("Taobao, all", &log, &Params { audience: None, ..Params::default() }, 2, 4, 20_000);
}

#[test]
fn online_retail_is_exact() {
    let Some(file) = real("online_retail_events.csv.gz") else { return };
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
    check("Online Retail", &log, &params, 4, 2, 2_000);
}

#[test]
fn movielens_is_exact() {
    let Some(file) = real("movielens_small_ratings.csv.gz") else { return };
    let options = InputOptions {
        columns: "user=userId,item=movieId,ts=timestamp:s".parse().unwrap(),
        action: Some("like".into()),
        ..InputOptions::default()
    };
    // Sorted by user, not by time: nearly every event is late.
    let log = read(&file, &options);
    assert_eq!(log.len(), 100_836);
    let params = Params { retention: u64::MAX >> 21, audience: None, ..Params::default() };
    let at = log.iter().map(|event| event.ts).max().unwrap();
    let whole = vec![Tick { at, since: at, events: log.clone() }];
    let records = run(&params, &whole, 2, Pace::Wait);
    assert_eq!(lists_at(&records, at), lists(&log, &params, at));
    check("MovieLens, as it lies", &log, &params, 3, 1, 600);
}
