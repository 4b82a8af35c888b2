//! Each operator of ours beside its plain twin in one dataflow: what one says and the other does not must be nothing,
//! at every time, also while things expire and viewers come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dataflows::config::Trending;
use dataflows::operators::{
    SimilarUsers, Subscriber, Subscription, activity, histories, interactions, lists, look_up, profile_subscriptions,
    row_subscriptions, samples, similar_items, trending,
};
use dataflows::{Config, Event, GraphInput, ListKey, Scope};
use differential_dataflow::AsCollection;
use proptest::prelude::*;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::Map as _;
use timely::dataflow::operators::{Exchange as _, Probe};

use crate::support::graph::{Pace, Tick, config, drive, ticks};
use crate::support::logs::{log, params};
use crate::support::oracle::Params;
use crate::support::oracle::exact::fine_log;
use crate::support::plain;

type Differences = Arc<Mutex<Vec<String>>>;

/// How many updates were compared, by what they are of.
type Agreed = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// Runs both and returns what they disagree on, and how many neighbours and lists they agreed on.
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
            let (input, streams) = GraphInput::new(scope, false);
            let config = Config { trending: Some(trends), ..config(&params) };
            let gauges = Arc::default();
            let door = interactions(
                streams.events.map(in_a_room),
                streams.barriers,
                &config,
                &ProbeHandle::new(),
                &gauges,
                None,
            );
            let wanted = profile_subscriptions(door.profiles.clone());

            // Co-occurrence: the door's own self-join, and arrange and join.
            let pairs = door.cooccurrence.clone().negate().concat(plain::cooccurrence(door.history.clone()));
            report(pairs, "co-occurrence", &found);

            // Subscription: a counter that tells first and last, and distinct.
            let subscriber = Subscriber::worker(door.profiles.inner.scope().index());
            let plainly = door
                .profiles
                .clone()
                .flat_map(move |(_, (item, weight))| (weight > 0).then_some(Subscription { row: item, subscriber }))
                .threshold_named("interest", |_, _| 1);
            report(wanted.clone().negate().concat(plainly), "interest", &found);

            // Similar items: the pair index, and joins and reduce, where they are wanted.
            let (pairs, history) = (door.cooccurrence.clone(), door.history.clone());
            let ours = similar_items(pairs, history, wanted.clone(), door.loading, &config, &gauges).neighbours;
            let rows =
                plain::similar_items(door.cooccurrence, door.history.clone(), &params).arrange_by_key_named("rows");
            let wanted = wanted.map(|to| (to.row, to.worker())).arrange_by_key_named("wanted by item");
            let plainly = wanted.join_core(rows, |item, worker, (j, v)| Some((*item, *worker, *j, *v)));
            let told = ours.clone().map(|(at, row)| (at.row, at.worker(), row.item, u32::from(row.similarity)));
            let told = told.inspect(count("similar items", &counted));
            report(told.negate().concat(plainly), "similar items", &found);

            // The audience's histories: the door's own, and its profiles' items.
            let watched = door.audience_histories.clone().map(|(user, (item, _))| (user, item));
            if params.users_weight > 0 {
                let plainly = door.profiles.clone().map(|(user, (item, _))| (user, item));
                report(watched.negate().concat(plainly), "audience's histories", &found);
            }

            // Samples: a table of holders told where it is wanted, and reduce and join.
            let watching = door.audience_histories.clone();
            let wanted = row_subscriptions(watching.clone(), "watched", |(_, (item, _))| *item);
            let plainly = watching.clone().map(move |(_, (item, _))| Subscription { row: item, subscriber });
            report(
                wanted.clone().negate().concat(plainly.threshold_named("watched", |_, _| 1)),
                "interest in items",
                &found,
            );
            let (members, weights) = samples(door.history.clone(), wanted.clone(), &config);
            let rows = plain::samples(door.history.clone(), &params);
            let told = members
                .clone()
                .map(|(at, member)| ((at.row, at.worker()), (member.user, member.level, u64::from(member.rarity))));
            let plainly = where_wanted(rows, wanted);
            report(told.negate().concat(plainly), "samples", &found);

            // Activity: sums moved along, and join and count.
            let on_workers = members.inner.exchange(|update| update.0.0.worker()).as_collection();
            let sampled = on_workers.clone().map(|(_, member)| member.user);
            let of_users = watching.clone().map(|(user, _)| user).concat(sampled);
            let wanted = row_subscriptions(of_users, "compared", |user| *user);
            let active = activity(weights, wanted.clone(), &config);
            let resolution = params.resolution;
            let rows = plain::activity(door.history.clone()).map(move |(user, activity)| {
                (user, u32::try_from(fine_log(activity, resolution)).expect("a small number"))
            });
            let told = active.clone().map(|(at, fine)| ((at.row, at.worker()), fine));
            report(told.negate().concat(where_wanted(rows, wanted)), "activity", &found);

            // Similar users: the look-up, and joins and reduce.
            let similar = look_up(watching.clone(), on_workers.clone(), active, &config, &gauges);
            let everywhere = on_workers
                .map(|(at, member)| (at.row, (member.user, member.level, u64::from(member.rarity))))
                .threshold_named("one sample each", |_, _| 1);
            let plainly = plain::similar_users(watching, everywhere, plain::activity(door.history.clone()), &params);
            let told = similar.clone().map(|(user, like)| (user, (like.user, u32::from(like.similarity))));
            let told = told.inspect(count("similar users", &counted));
            report(told.negate().concat(plainly), "similar users", &found);

            // Histories of similar users, where they are wanted.
            let wanted = row_subscriptions(similar.clone(), "followed", |(_, like)| like.user);
            let followed = histories(door.history.clone(), wanted.clone(), &config);
            let told = followed.clone().map(|(at, of)| ((at.row, at.worker()), of));
            report(told.negate().concat(where_wanted(door.history.clone(), wanted)), "histories", &found);

            // Lists: the look-up, and join and reduce; ours keeps the scores of the last list sent.
            let rows = ours.clone();
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
            let looked_up = looked_up.inspect(count("lists", &counted));
            let lists = report(looked_up.negate().concat(plainly), "lists", &found);

            let trending = what_trends(door.trends.expect("it is asked for"), trends.k, &found, &counted);
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

/// What trends: boards that are gone through where something fell, and reduce; ours keeps the scores of the last list sent.
fn what_trends<'scope>(
    weights: plain::Rows<'scope, (Option<Scope>, u64)>,
    k: usize,
    found: &Differences,
    counted: &Agreed,
) -> plain::Rows<'scope, ()> {
    let plainly = plain::trending(weights.clone().map(|(scope, item)| (scope_id(scope), item)), k);
    let plainly = plainly.map(|(scope, list)| (scope, list.into_iter().map(|(item, _)| item).collect::<Vec<_>>()));
    let told = trending(weights, k).map(|(key, list)| (key_id(key), list.iter().map(|scored| scored.item).collect()));
    let told = told.inspect(count("trending", counted));
    report(told.negate().concat(plainly), "trending", found).map(drop)
}

/// Users, but for a quarter of them, are in one of three rooms, so that there are several scopes.
fn in_a_room(event: Event) -> Event {
    let room = event.user % 4;
    Event { scope: (room < 3).then(|| Scope::new(room + 1)), ..event }
}

fn scope_id(scope: Option<Scope>) -> u64 {
    scope.map_or(0, Scope::id)
}

fn key_id(key: ListKey) -> u64 {
    match key {
        ListKey::Everywhere => 0,
        ListKey::Room(scope) => scope.id(),
        ListKey::User(_) => unreachable!("it is a trending list"),
    }
}

/// Counts the updates of a stage.
fn count<D>(stage: &'static str, agreed: &Agreed) -> impl FnMut(&D) + use<D> {
    let agreed = Arc::clone(agreed);
    move |_| *agreed.lock().unwrap().entry(stage).or_default() += 1
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
    wanted: plain::Rows<'scope, Subscription>,
) -> plain::Rows<'scope, ((u64, u64), V)> {
    let wanted = wanted.map(|to| (to.row, to.worker())).arrange_by_key_named("wanted by row");
    let rows = rows.arrange_by_key_named("rows");
    wanted.join_core(rows, |row, worker, value| Some(((*row, *worker), value.clone())))
}

fn trends() -> impl Strategy<Value = Trending> {
    (1_usize..4, 1_u64..9, 1_u32..6).prop_map(|(k, bucket, buckets)| Trending { k, bucket, buckets })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_operator_equals_its_plain_twin(
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
    let trends = Trending { k: 3, bucket: 10, buckets: 3 };
    let (found, agreed) = disagreements(&params, trends, &ticks(&log, 3), 2);
    assert!(found.is_empty(), "{found:#?}");
    println!("agreed on {agreed:?}");
    for (stage, floor) in [("similar items", 1_000), ("similar users", 1_000), ("lists", 300), ("trending", 100)] {
        assert!(agreed[stage] > floor, "only {} updates of {stage} were compared", agreed[stage]);
    }
}
