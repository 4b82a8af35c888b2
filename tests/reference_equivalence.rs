//! Each operator of the graph next to its reference implementation in one dataflow. Their difference must be empty at
//! every time, also while events expire and viewers come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dataflows::{
    Config, Input, SimilarUsers, Subscription, Trending, activity, histories, interactions, interest, interest_in,
    lists, rank_similar_users, samples, similar_items, trending,
};
use differential_dataflow::AsCollection;
use proptest::prelude::*;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::Map as _;
use timely::dataflow::operators::{Exchange as _, Input as _, Probe};

use crate::support::graph::{Pace, Tick, config, drive, ticks};
use crate::support::logs::{log, params};
use crate::support::oracle::Params;
use crate::support::oracle::exact::fine_log;
use crate::support::reference;

type Differences = Arc<Mutex<Vec<String>>>;

/// Number of compared updates by stage.
type Agreed = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// Runs both. Returns their differences, and the number of compared updates by stage.
fn disagreements(
    params: &Params,
    trends: Trending,
    ticks: &[Tick],
    workers: usize,
) -> (Vec<String>, BTreeMap<&'static str, usize>) {
    let differences = Differences::default();
    let agreed = Agreed::default();
    let (found, counted) = (Arc::clone(&differences), Arc::clone(&agreed));
    let (params, ticks) = (params.clone(), ticks.to_vec());
    timely::execute(timely::Config::process(workers), move |worker| {
        let (found, counted) = (Arc::clone(&found), Arc::clone(&counted));
        let (mut input, probe) = worker.dataflow(|scope| {
            let (input, events) = scope.new_input();
            let config = Config { trending: Some(trends), ..config(&params) };
            let gauges = Arc::default();
            let of_users = interactions(events.map(in_a_room), &config, &ProbeHandle::new(), &gauges, None);
            let subscriptions = interest(of_users.profiles.clone());

            // Co-occurrence: the self-join of the interactions operator, and arrange and join.
            let pairs = of_users.cooccurrence.clone().negate().concat(reference::cooccurrence(of_users.history.clone()));
            report(pairs, "co-occurrence", &found);

            // Subscriptions: a counter that emits the first and the last, and distinct.
            let worker = of_users.profiles.inner.scope().index() as u64;
            let expected = door
                .profiles
                .clone()
                .flat_map(move |(_, (item, weight))| (weight > 0).then_some(Subscription { row: item, worker }))
                .threshold_named("interest", |_, _| 1);
            report(subscriptions.clone().negate().concat(expected), "interest", &found);

            // Similar items: the pair index, and joins and reduce, for subscribers.
            let (pairs, history) = (of_users.cooccurrence.clone(), of_users.history.clone());
            let neighbours = similar_items(pairs, history, subscriptions.clone(), of_users.loading, &config, &gauges).neighbours;
            let rows =
                reference::similar_items(of_users.cooccurrence, of_users.history.clone(), &params).arrange_by_key_named("rows");
            let subscriptions =
                subscriptions.map(|Subscription { row, worker }| (row, worker)).arrange_by_key_named("subscriptions by item");
            let expected = subscriptions.join_core(rows, |item, worker, (j, v)| Some((*item, *worker, *j, *v)));
            let emitted = neighbours.clone().map(|(at, row)| (at.row, at.worker, row.item, u32::from(row.similarity)));
            let emitted = emitted.inspect(count("similar items", &counted));
            report(emitted.negate().concat(expected), "similar items", &found);

            // Histories of the audience: those of the interactions operator, and the items of its profiles.
            let watched = of_users.watching.clone().map(|(user, (item, _))| (user, item));
            if params.users_weight > 0 {
                let expected = of_users.profiles.clone().map(|(user, (item, _))| (user, item));
                report(watched.negate().concat(expected), "audience's histories", &found);
            }

            // Samples: replicated tables of the users of an item, and reduce and join.
            let watching = of_users.watching.clone();
            let subscriptions = interest_in(watching.clone(), "watched", |(_, (item, _))| *item);
            let expected = watching.clone().map(move |(_, (item, _))| Subscription { row: item, worker });
            report(
                subscriptions.clone().negate().concat(expected.threshold_named("watched", |_, _| 1)),
                "interest in items",
                &found,
            );
            let (members, weights) = samples(of_users.history.clone(), subscriptions.clone(), &config);
            let rows = reference::samples(of_users.history.clone(), &params);
            let emitted = members
                .clone()
                .map(|(at, member)| ((at.row, at.worker), (member.user, member.level, u64::from(member.rarity))));
            let expected = for_subscribers(rows, subscriptions);
            report(emitted.negate().concat(expected), "samples", &found);

            // Activity: replicated sums, and join and count.
            let on_workers = members.inner.exchange(|update| update.0.0.worker).as_collection();
            let sampled = on_workers.clone().map(|(_, member)| member.user);
            let of_users = watching.clone().map(|(user, _)| user).concat(sampled);
            let subscriptions = interest_in(of_users, "compared", |user| *user);
            let active = activity(weights, subscriptions.clone(), &config);
            let resolution = params.resolution;
            let rows = reference::activity(of_users.history.clone()).map(move |(user, activity)| {
                (user, u32::try_from(fine_log(activity, resolution)).expect("a small number"))
            });
            let emitted = active.clone().map(|(at, fine)| ((at.row, at.worker), fine));
            report(emitted.negate().concat(for_subscribers(rows, subscriptions)), "activity", &found);

            // Similar users: the ranking over cached rows, and joins and reduce.
            let similar = rank_similar_users(watching.clone(), on_workers.clone(), active, &config, &gauges);
            let everywhere = on_workers
                .map(|(at, member)| (at.row, (member.user, member.level, u64::from(member.rarity))))
                .threshold_named("one sample each", |_, _| 1);
            let expected = reference::similar_users(watching, everywhere, reference::activity(of_users.history.clone()), &params);
            let emitted = similar.clone().map(|(user, like)| (user, (like.user, u32::from(like.similarity))));
            let emitted = emitted.inspect(count("similar users", &counted));
            report(emitted.negate().concat(expected), "similar users", &found);

            // Histories of similar users, for subscribers.
            let subscriptions = interest_in(similar.clone(), "followed", |(_, like)| like.user);
            let followed = histories(of_users.history.clone(), subscriptions.clone(), &config);
            let emitted = followed.clone().map(|(at, of)| ((at.row, at.worker), of));
            report(emitted.negate().concat(for_subscribers(of_users.history.clone(), subscriptions)), "histories", &found);

            // Lists: totals over cached rows, and join and reduce. Scores are not compared: the operator keeps those of
            // the last emitted list.
            let rows = neighbours.clone().filter(|(at, _)| at.worker < u64::MAX);
            let rows = rows
                .map(|(at, row)| (at.row, (row.item, u32::from(row.similarity))))
                .threshold_named("one row each", |_, _| 1);
            let users = similar.clone().map(|(user, like)| (user, (like.user, u32::from(like.similarity))));
            let contributions = reference::of_items(of_users.profiles.clone(), rows, params.items_weight)
                .concat(reference::of_users(users, of_users.history, params.users_weight));
            let expected = reference::lists(of_users.profiles.clone(), contributions, params.k);
            let expected =
                expected.map(|(user, list)| (user, list.into_iter().map(|(item, _)| item).collect::<Vec<_>>()));
            let users = (params.users_weight > 0).then_some(SimilarUsers { similar, histories: followed });
            let emitted = lists(of_users.profiles, neighbours, users, &config, &gauges);
            let emitted = emitted.map(|(user, list)| (user, list.iter().map(|scored| scored.item).collect()));
            let emitted = emitted.inspect(count("lists", &counted));
            let lists = report(emitted.negate().concat(expected), "lists", &found);

            let trending = compare_trending(of_users.trends.expect("the configuration asks for trends"), trends.k, &found, &counted);
            let (probe, _) = lists.map(drop).concat(trending).inner.probe();
            (input, probe)
        });
        if worker.index() == 0 {
            drive(worker, &mut input, &probe, &ticks, Pace::Rush);
        }
    })
    .unwrap();
    let found = differences.lock().unwrap().clone();
    let agreed = agreed.lock().unwrap().clone();
    (found, agreed)
}

/// Trending lists: boards that are rescanned where an item fell, and reduce. Scores are not compared: the operator keeps
/// those of the last emitted list.
fn compare_trending<'scope>(
    weights: reference::Rows<'scope, (u64, u64)>,
    k: usize,
    found: &Differences,
    counted: &Agreed,
) -> reference::Rows<'scope, ()> {
    let expected = reference::trending(weights.clone(), k);
    let expected = expected.map(|(scope, list)| (scope, list.into_iter().map(|(item, _)| item).collect::<Vec<_>>()));
    let emitted = trending(weights, k).map(|(scope, list)| (scope, list.iter().map(|scored| scored.item).collect()));
    let emitted = emitted.inspect(count("trending", counted));
    report(emitted.negate().concat(expected), "trending", found).map(drop)
}

/// Puts three quarters of the users into one of three rooms, so that there are several scopes.
fn in_a_room(input: Input) -> Input {
    match input {
        Input::Event(event) if event.user % 4 < 3 => {
            let dataflows::Event { user, item, ts, level } = event;
            Input::InRoom { user, item, ts, level, room: user % 4 }
        }
        other => other,
    }
}

/// Counts the updates of a stage.
fn count<D>(stage: &'static str, agreed: &Agreed) -> impl FnMut(&D) + use<D> {
    let agreed = Arc::clone(agreed);
    move |_| *agreed.lock().unwrap().entry(stage).or_default() += 1
}

fn report<'scope, D>(
    difference: reference::Rows<'scope, D>,
    stage: &'static str,
    found: &Differences,
) -> reference::Rows<'scope, D>
where
    D: differential_dataflow::ExchangeData + differential_dataflow::Hashable,
{
    let found = Arc::clone(found);
    difference.consolidate().inspect(move |update| found.lock().unwrap().push(format!("{stage}: {update:?}")))
}

/// Rows joined with their subscriptions.
fn for_subscribers<'scope, V: differential_dataflow::ExchangeData + differential_dataflow::Hashable>(
    rows: reference::Rows<'scope, (u64, V)>,
    subscriptions: reference::Rows<'scope, Subscription>,
) -> reference::Rows<'scope, ((u64, u64), V)> {
    let subscriptions = subscriptions.map(|Subscription { row, worker }| (row, worker)).arrange_by_key_named("subscriptions by row");
    let rows = rows.arrange_by_key_named("rows");
    subscriptions.join_core(rows, |row, worker, value| Some(((*row, *worker), value.clone())))
}

fn trends() -> impl Strategy<Value = Trending> {
    let everywhere = u64::MAX;
    (1_usize..4, 1_u64..9, 1_u32..6).prop_map(move |(k, bucket, buckets)| Trending { k, bucket, buckets, everywhere })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_operator_equals_its_reference(
        params in params(),
        trends in trends(),
        log in log(80),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 7, 1000]),
    ) {
        let (found, _) = disagreements(&params, trends, &ticks(&log, size), workers);
        prop_assert!(found.is_empty(), "{:#?}", found);
    }
}

/// The comparison above would also hold for empty collections.
#[test]
fn compares_many_updates() {
    let log: Vec<_> = (0..200_u64)
        .map(|n| crate::support::oracle::Ev {
            user: format!("u{}", n % 9),
            item: format!("p{}", n * n % 23),
            level: 1 + (n % 5) as u8,
            ts: 1_000 + n,
        })
        .collect();
    let params = Params { retention: 80, audience: Some(30), history: 6, shrink: 1, ..Params::default() };
    let trends = Trending { k: 3, bucket: 10, buckets: 3, everywhere: u64::MAX };
    let (found, agreed) = disagreements(&params, trends, &ticks(&log, 3), 2);
    assert!(found.is_empty(), "{found:#?}");
    println!("agreed on {agreed:?}");
    for (stage, floor) in [("similar items", 1_000), ("similar users", 1_000), ("lists", 300), ("trending", 100)] {
        assert!(agreed[stage] > floor, "only {} updates of {stage} were compared", agreed[stage]);
    }
}
