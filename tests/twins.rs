//! Each operator of ours beside its plain twin in one dataflow: what one says and the other does not must be nothing,
//! at every time, also while things expire and viewers come and go.

use std::sync::{Arc, Mutex};

use dataflows::{Interest, interactions, interest, lists, popularity, similar_items};
use proptest::prelude::*;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Input as _, Probe};

use crate::support::graph::{Pace, Tick, config, drive, ticks};
use crate::support::logs::{log, params};
use crate::support::oracle::Params;
use crate::support::plain;

type Differences = Arc<Mutex<Vec<String>>>;

/// Runs both and returns what they disagree on, and how many neighbours and lists they agreed on.
fn disagreements(params: &Params, ticks: &[Tick], workers: usize) -> (Vec<String>, usize) {
    let differences = Differences::default();
    let agreed: Arc<Mutex<usize>> = Arc::default();
    let (found, counted) = (Arc::clone(&differences), Arc::clone(&agreed));
    let (params, ticks) = (params.clone(), ticks.to_vec());
    timely::execute(timely::Config::process(workers), move |worker| {
        let (found, counted) = (Arc::clone(&found), Arc::clone(&counted));
        let (mut input, probe) = worker.dataflow(|scope| {
            let (input, events) = scope.new_input();
            let config = config(&params);
            let gauges = Arc::default();
            let door = interactions(events, &config, &ProbeHandle::new(), &gauges, None);
            let popular = popularity(door.history.clone());
            let wanted = interest(door.profiles.clone());

            // Co-occurrence: the door's own self-join, and arrange and join.
            let pairs = door.cooccurrence.clone().negate().concat(plain::cooccurrence(door.history.clone()));
            report(pairs, "co-occurrence", &found);

            // Interest: a counter that tells first and last, and distinct.
            let worker = door.profiles.inner.scope().index() as u64;
            let plainly = door
                .profiles
                .clone()
                .flat_map(move |(_, (item, weight))| (weight > 0).then_some(Interest { item, worker }))
                .threshold_named("interest", |_, _| 1);
            report(wanted.clone().negate().concat(plainly), "interest", &found);

            // Similar items: the pair index, and joins and reduce, where they are wanted.
            let ours =
                similar_items(door.cooccurrence.clone(), popular.clone(), wanted.clone(), &config, &gauges).neighbours;
            let rows = plain::similar_items(door.cooccurrence, popular, &params).arrange_by_key_named("rows");
            let wanted = wanted.map(|Interest { item, worker }| (item, worker)).arrange_by_key_named("wanted by item");
            let plainly = wanted.join_core(rows, |item, worker, (j, v)| Some((*item, *worker, *j, *v)));
            let told = ours.clone().map(|(at, row)| (at.item, at.worker, row.item, u32::from(row.similarity)));
            let counter = Arc::clone(&counted);
            let told = told.inspect(move |_| *counter.lock().unwrap() += 1);
            report(told.negate().concat(plainly), "similar items", &found);

            // Lists: the look-up, and join and reduce; ours keeps the scores of the last list sent.
            let rows = ours.clone().filter(|(at, _)| at.worker < u64::MAX);
            let rows = rows
                .map(|(at, row)| (at.item, (row.item, u32::from(row.similarity))))
                .threshold_named("one row each", |_, _| 1);
            let plainly = plain::lists(door.profiles.clone(), rows, params.k, params.items_weight);
            let plainly =
                plainly.map(|(user, list)| (user, list.into_iter().map(|(item, _)| item).collect::<Vec<_>>()));
            let looked_up = lists(door.profiles, ours, &config, &gauges);
            let looked_up = looked_up.map(|(user, list)| (user, list.iter().map(|scored| scored.item).collect()));
            let looked_up = looked_up.inspect(move |_| *counted.lock().unwrap() += 1);
            let (probe, _) = report(looked_up.negate().concat(plainly), "lists", &found).inner.probe();
            (input, probe)
        });
        if worker.index() == 0 {
            drive(worker, &mut input, &probe, &ticks, Pace::Rush);
        }
    })
    .unwrap();
    let found = differences.lock().unwrap().clone();
    let agreed = *agreed.lock().unwrap();
    (found, agreed)
}

fn report<'scope, D>(
    difference: plain::Rows<'scope, D>,
    stage: &'static str,
    found: &Differences,
) -> plain::Rows<'scope, D>
where
    D: differential_dataflow::ExchangeData + differential_dataflow::Hashable,
{
    let found = Arc::clone(found);
    difference.consolidate().inspect(move |update| found.lock().unwrap().push(format!("{stage}: {update:?}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_operator_equals_its_plain_twin(
        params in params(),
        log in log(80),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 7, 1000]),
    ) {
        let (found, _) = disagreements(&params, &ticks(&log, size), workers);
        prop_assert!(found.is_empty(), "{:#?}", found);
    }
}

/// The comparison above would also hold if nothing flowed.
#[test]
fn there_is_something_to_compare() {
    let log: Vec<_> = (0..200_u64)
        .map(|n| crate::support::oracle::Ev {
            user: format!("u{}", n % 9),
            item: format!("p{}", n * n % 23),
            level: 1 + (n % 5) as u8,
            ts: 1_000 + n,
        })
        .collect();
    let params = Params { retention: 80, audience: Some(30), history: 6, shrink: 1, ..Params::default() };
    let (found, agreed) = disagreements(&params, &ticks(&log, 3), 2);
    assert!(found.is_empty(), "{found:#?}");
    println!("agreed on {agreed} updates of neighbours and lists");
    assert!(agreed > 1_000, "only {agreed} updates were compared");
}
