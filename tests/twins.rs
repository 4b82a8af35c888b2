//! Each operator of ours beside its plain twin in one dataflow: what one says and the other does not must be nothing,
//! at every time, also while things expire and viewers come and go.

use std::sync::{Arc, Mutex};

use dataflows::{
    Interest, SimilarUsers, activity, histories, interactions, interest, interest_in, lists, look_up, samples,
    similar_items,
};
use differential_dataflow::AsCollection;
use proptest::prelude::*;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Exchange as _, Input as _, Probe};

use crate::support::graph::{Pace, Tick, config, drive, ticks};
use crate::support::logs::{log, params};
use crate::support::oracle::Params;
use crate::support::oracle::exact::fine_log;
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
            let wanted = interest(door.profiles.clone());

            // Co-occurrence: the door's own self-join, and arrange and join.
            let pairs = door.cooccurrence.clone().negate().concat(plain::cooccurrence(door.history.clone()));
            report(pairs, "co-occurrence", &found);

            // Interest: a counter that tells first and last, and distinct.
            let worker = door.profiles.inner.scope().index() as u64;
            let plainly = door
                .profiles
                .clone()
                .flat_map(move |(_, (item, weight))| (weight > 0).then_some(Interest { row: item, worker }))
                .threshold_named("interest", |_, _| 1);
            report(wanted.clone().negate().concat(plainly), "interest", &found);

            // Similar items: the pair index, and joins and reduce, where they are wanted.
            let (pairs, history) = (door.cooccurrence.clone(), door.history.clone());
            let ours = similar_items(pairs, history, wanted.clone(), door.loading, &config, &gauges).neighbours;
            let rows =
                plain::similar_items(door.cooccurrence, door.history.clone(), &params).arrange_by_key_named("rows");
            let wanted = wanted.map(|Interest { row, worker }| (row, worker)).arrange_by_key_named("wanted by item");
            let plainly = wanted.join_core(rows, |item, worker, (j, v)| Some((*item, *worker, *j, *v)));
            let told = ours.clone().map(|(at, row)| (at.row, at.worker, row.item, u32::from(row.similarity)));
            let counter = Arc::clone(&counted);
            let told = told.inspect(move |_| *counter.lock().unwrap() += 1);
            report(told.negate().concat(plainly), "similar items", &found);

            // The audience's histories: the door's own, and its profiles' items.
            let watched = door.watching.clone().map(|(user, (item, _))| (user, item));
            if params.users_weight > 0 {
                let plainly = door.profiles.clone().map(|(user, (item, _))| (user, item));
                report(watched.negate().concat(plainly), "audience's histories", &found);
            }

            // Samples: a table of holders told where it is wanted, and reduce and join.
            let watching = door.watching.clone();
            let wanted = interest_in(watching.clone(), "watched", |(_, (item, _))| *item);
            let plainly = watching.clone().map(move |(_, (item, _))| Interest { row: item, worker });
            report(
                wanted.clone().negate().concat(plainly.threshold_named("watched", |_, _| 1)),
                "interest in items",
                &found,
            );
            let (members, weights) = samples(door.history.clone(), wanted.clone(), &config);
            let rows = plain::samples(door.history.clone(), &params);
            let told = members
                .clone()
                .map(|(at, member)| ((at.row, at.worker), (member.user, member.level, u64::from(member.rarity))));
            let plainly = where_wanted(rows, wanted);
            report(told.negate().concat(plainly), "samples", &found);

            // Activity: sums moved along, and join and count.
            let on_workers = members.inner.exchange(|update| update.0.0.worker).as_collection();
            let sampled = on_workers.clone().map(|(_, member)| member.user);
            let of_users = watching.clone().map(|(user, _)| user).concat(sampled);
            let wanted = interest_in(of_users, "compared", |user| *user);
            let active = activity(weights, wanted.clone(), &config);
            let resolution = params.resolution;
            let rows = plain::activity(door.history.clone()).map(move |(user, activity)| {
                (user, u32::try_from(fine_log(activity, resolution)).expect("a small number"))
            });
            let told = active.clone().map(|(at, fine)| ((at.row, at.worker), fine));
            report(told.negate().concat(where_wanted(rows, wanted)), "activity", &found);

            // Similar users: the look-up, and joins and reduce.
            let similar = look_up(watching.clone(), on_workers.clone(), active, &config, &gauges);
            let everywhere = on_workers
                .map(|(at, member)| (at.row, (member.user, member.level, u64::from(member.rarity))))
                .threshold_named("one sample each", |_, _| 1);
            let plainly = plain::similar_users(watching, everywhere, plain::activity(door.history.clone()), &params);
            let counter = Arc::clone(&counted);
            let told = similar.clone().map(|(user, like)| (user, (like.user, u32::from(like.similarity))));
            let told = told.inspect(move |_| *counter.lock().unwrap() += 1);
            report(told.negate().concat(plainly), "similar users", &found);

            // Histories of similar users, where they are wanted.
            let wanted = interest_in(similar.clone(), "followed", |(_, like)| like.user);
            let followed = histories(door.history.clone(), wanted.clone(), &config);
            let told = followed.clone().map(|(at, of)| ((at.row, at.worker), of));
            report(told.negate().concat(where_wanted(door.history.clone(), wanted)), "histories", &found);

            // Lists: the look-up, and join and reduce; ours keeps the scores of the last list sent.
            let rows = ours.clone().filter(|(at, _)| at.worker < u64::MAX);
            let rows = rows
                .map(|(at, row)| (at.row, (row.item, u32::from(row.similarity))))
                .threshold_named("one row each", |_, _| 1);
            let users = similar.clone().map(|(user, like)| (user, (like.user, u32::from(like.similarity))));
            let contributions = plain::of_items(door.profiles.clone(), rows, params.items_weight)
                .concat(plain::of_users(users, door.history, params.users_weight));
            let plainly = plain::lists(door.profiles.clone(), contributions, params.k);
            let plainly =
                plainly.map(|(user, list)| (user, list.into_iter().map(|(item, _)| item).collect::<Vec<_>>()));
            let users = (params.users_weight > 0).then_some(SimilarUsers { similar, histories: followed });
            let looked_up = lists(door.profiles, ours, users, &config, &gauges);
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

/// Rows joined with who wants them, plainly.
fn where_wanted<'scope, V: differential_dataflow::ExchangeData + differential_dataflow::Hashable>(
    rows: plain::Rows<'scope, (u64, V)>,
    wanted: plain::Rows<'scope, Interest>,
) -> plain::Rows<'scope, ((u64, u64), V)> {
    let wanted = wanted.map(|Interest { row, worker }| (row, worker)).arrange_by_key_named("wanted by row");
    let rows = rows.arrange_by_key_named("rows");
    wanted.join_core(rows, |row, worker, value| Some(((*row, *worker), value.clone())))
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
