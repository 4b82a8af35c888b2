//! Each operator of the graph next to its reference implementation in one dataflow. Their difference must be empty at
//! every time, also while events expire and viewers come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dataflows::config::{Outputs, Trending};
use dataflows::operators::{
    ComparedUsers, Evaluation, Evaluations, ListInputs, Subscriber, Subscription, Touched, histories, interactions,
    lists, profile_subscriptions, row_subscriptions, samples, similar_items, trending,
};
use dataflows::time::{Time, first_of, next};
use dataflows::types::ProfileItem;
use dataflows::{Config, Event, GraphInput, ListKey, Scope};
use differential_dataflow::AsCollection;
use proptest::prelude::*;
use schema::{IdKey, id64};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator as _;
use timely::dataflow::operators::vec::{Map as _, ToStream as _};
use timely::dataflow::operators::{Exchange as _, Probe};
use timely::dataflow::{ProbeHandle, Scope as TimelyScope, Stream};

use crate::support::graph::{Pace, Tick, config, drive, ticks};
use crate::support::logs::{log, params};
use crate::support::oracle::Params;
use crate::support::reference;

type Differences = Arc<Mutex<Vec<String>>>;

/// Number of compared updates by stage.
type Agreed = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// Runs both. Returns their differences, and the number of compared updates by stage.
#[expect(clippy::too_many_lines, reason = "one report a stage, in the order of the graph")]
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
            let outputs = Outputs { similar_users: true, ..Outputs::default() };
            // Every tick evaluates all, so that what is evaluated is what holds.
            let config = Config { trending: Some(trends), outputs, refresh: 0, ..config(&params) };
            let (input, streams) = GraphInput::new(scope, &config, false);
            let barriers = streams.barriers.clone();
            // Each worker has the events; one of them is enough.
            let inputs = Inputs::new(scope, if scope.index() == 0 { &ticks } else { &[] }, &params);
            let gauges = Arc::default();
            let output = interactions(
                streams.events.map(in_a_room),
                None,
                streams.barriers,
                &config,
                &ProbeHandle::new(),
                &gauges,
                None,
            );
            let subscriptions = profile_subscriptions(output.profiles.clone());

            // Histories and profiles: the interactions operator, and a reduce over the events.
            let emitted = output.history.clone().inspect(count("histories", &counted));
            report(emitted.negate().concat(inputs.history), "histories", &found);
            let emitted = output.profiles.clone().map(weight).inspect(count("profiles", &counted));
            report(emitted.negate().concat(reference::weights(inputs.profiles.clone())), "profiles", &found);

            // Co-occurrence: the self-join of the interactions operator, and arrange and join.
            let emitted = output.cooccurrence.clone().inspect(count("co-occurrence", &counted));
            report(emitted.negate().concat(inputs.cooccurrence), "co-occurrence", &found);

            // Subscriptions: a counter that emits the first and the last, and distinct.
            let subscriber = Subscriber::worker(output.profiles.inner.scope().index());
            let expected = output
                .profiles
                .clone()
                .flat_map(move |(_, ProfileItem { item, stair, .. })| {
                    (stair > 0).then_some(Subscription { row: item, subscriber })
                })
                .threshold_named("subscriptions to profiles", |_, _| 1);
            report(subscriptions.clone().negate().concat(expected), "subscriptions to profiles", &found);

            // Similar items: the pair index, and joins and reduce, for subscribers.
            let (cooccurrence, history) = (output.cooccurrence.clone(), output.history.clone());
            let touched = Touched { cooccurrence, history, traces: output.traces };
            let neighbours =
                similar_items(touched, None, subscriptions.clone(), output.loading, &config, &gauges).neighbours;
            let rows = reference::similar_items(output.cooccurrence, output.history.clone(), &params)
                .arrange_by_key_named("rows");
            let by_item =
                subscriptions.clone().map(|to| (to.row, to.worker())).arrange_by_key_named("subscriptions by item");
            let expected = by_item.join_core(rows, |item, worker, (j, v)| Some((*item, *worker, *j, *v)));
            let emitted =
                neighbours.clone().map(|(at, row)| (at.row, at.worker(), row.item, u32::from(row.similarity)));
            let emitted = emitted.inspect(count("similar items", &counted));
            report(emitted.negate().concat(expected), "similar items", &found);

            // Samples: replicated tables of the users of an item, and reduce and join.
            let members = samples(output.history.clone(), subscriptions.clone(), &config);
            let rows = reference::samples(output.history.clone(), &params);
            let emitted = members.clone().map(|(at, member)| ((at.row, at.worker()), (member.user, member.level)));
            let expected = for_subscribers(rows, subscriptions);
            report(emitted.negate().concat(expected), "samples", &found);

            // Histories of the sampled users, for subscribers.
            let on_workers = members.inner.exchange(|update| update.0.0.worker()).as_collection();
            let sampled = on_workers.clone().map(|(_, member)| member.user);
            let subscriptions = row_subscriptions(subscriber, sampled, "compared users", |user| Some(*user));
            let compared = histories(output.history.clone(), subscriptions.clone(), &config);
            let emitted = compared.clone().map(|(at, interaction)| ((at.row, at.worker()), interaction));
            report(
                emitted.negate().concat(for_subscribers(output.history.clone(), subscriptions)),
                "histories of compared users",
                &found,
            );

            // Similar users and lists: evaluations over cached rows, and joins and reduce. Scores are compared too, as each
            // change of one is an evaluation.
            let rows = neighbours
                .clone()
                .map(|(at, row)| (at.row, (row.item, u32::from(row.similarity))))
                .threshold_named("one row each", |_, _| 1);
            let everywhere = on_workers
                .clone()
                .map(|(at, member)| (at.row, (member.user, member.level)))
                .threshold_named("one sample each", |_, _| 1);
            let activities = reference::activity(output.history.clone(), &params);
            let similar = reference::similar_users(inputs.profiles, everywhere, activities, &params);
            let weights = output.profiles.clone().map(weight);
            let contributions = reference::of_items(weights.clone(), rows, params.items_weight)
                .concat(reference::of_users(similar.clone(), output.history, params.users_weight));
            let expected = reference::lists(weights, contributions, params.k);
            let inputs = ListInputs {
                preferences: None,
                profiles: output.profiles,
                actions: output.actions,
                neighbours,
                users: Some(ComparedUsers { members: on_workers, histories: compared }),
                items: None,
                barriers,
                reconcile: None,
            };
            let Evaluations { lists, similar_users } = lists(inputs, &config, &gauges);
            let emitted = latest(similar_users).flat_map(|(user, row)| {
                row.into_iter().map(move |(other, similarity)| (user, (other, u32::from(similarity))))
            });
            let emitted = emitted.inspect(count("similar users", &counted));
            report(emitted.negate().concat(similar), "similar users", &found);
            let lists = lists.map(|Evaluation { key, list, .. }| (key, list));
            let emitted = latest(lists).map(|(key, list)| {
                let ListKey::User(user) = key else { unreachable!("trending lists are not evaluated") };
                (user, list.iter().map(|scored| (scored.item, scored.score)).collect::<Vec<_>>())
            });
            let emitted = emitted.inspect(count("lists", &counted));
            let lists = report(emitted.negate().concat(expected), "lists", &found);

            let trending =
                compare_trending(output.trends.expect("the configuration asks for trends"), trends.k, &found, &counted);
            let (probe, _) = lists.map(drop).concat(trending).inner.probe();
            (input, probe)
        });
        if worker.index() == 0 {
            drive(worker, &mut input, &probe, IdKey::default(), &ticks, Pace::Rush);
        }
    })
    .unwrap();
    let found = differences.lock().unwrap().clone();
    let agreed = agreed.lock().unwrap().clone();
    (found, agreed)
}

/// What the interactions operator must emit, from the retained events. The other stages are compared given the output of
/// the stages before them.
struct Inputs<'scope> {
    /// All histories.
    history: reference::Rows<'scope, (u64, (u64, u8))>,
    /// All co-occurrences.
    cooccurrence: reference::Rows<'scope, (u64, u64)>,
    /// The profiles of the audience.
    profiles: reference::Rows<'scope, (u64, (u64, u8, u32))>,
}

impl<'scope> Inputs<'scope> {
    fn new(scope: TimelyScope<'scope, Time>, ticks: &[Tick], params: &Params) -> Self {
        let events = |lifetime| lifetimes(ticks, lifetime).to_stream(scope).as_collection();
        let interactions = reference::interactions(events(params.retention), params.history);
        let audience = events(params.audience.unwrap_or(params.retention))
            .map(|(user, _)| user)
            .threshold_named("audience", |_, _| 1)
            .arrange_by_self_named("audience");
        let profiles = reference::profiles(interactions.clone(), params)
            .arrange_by_key_named("profiles")
            .join_core(audience, |user, interaction, ()| Some((*user, *interaction)));
        Inputs {
            history: reference::history(interactions.clone()),
            cooccurrence: reference::cooccurrence(interactions, params),
            profiles,
        }
    }
}

/// The events, each from the tick in which it arrives until `ts + lifetime`. Those whose lifetime is over when they arrive
/// are absent, and those whose lifetime is not over in the last tick stay.
fn lifetimes(ticks: &[Tick], lifetime: u64) -> Vec<((u64, (u64, u64, u8)), Time, isize)> {
    let next_time = |last: &mut Time, tick: &Tick| {
        *last = next(*last, tick.at);
        Some(*last)
    };
    let times: Vec<Time> = ticks.iter().scan(0, next_time).collect();
    let mut updates = Vec::new();
    for (tick, arrival) in ticks.iter().zip(&times) {
        for event in tick.events.iter().filter(|event| event.ts + lifetime > tick.at) {
            let row = (id64(&event.user), (id64(&event.item), event.ts, event.level().unwrap()));
            updates.push((row, *arrival, 1));
            // A tick takes what falls due in the milliseconds that it stands for. Between ticks there is one for it.
            let end = event.ts + lifetime;
            if let Some(at) = ticks.iter().position(|tick| tick.at >= end) {
                updates.push((row, if ticks[at].since <= end { times[at] } else { first_of(end) }, -1));
            }
        }
    }
    updates
}

/// Trending lists: boards that are rescanned where an item fell, and reduce. Scores are not compared: the operator keeps
/// those of the last emitted list.
fn compare_trending<'scope>(
    weights: reference::Rows<'scope, (Option<Scope>, u64)>,
    k: usize,
    found: &Differences,
    counted: &Agreed,
) -> reference::Rows<'scope, ()> {
    let expected = reference::trending(weights.clone().map(|(scope, item)| (scope_id(scope), item)), k);
    let expected = expected.map(|(scope, list)| (scope, list.into_iter().map(|(item, _)| item).collect::<Vec<_>>()));
    let emitted = trending(weights, None, true, k)
        .map(|(key, list)| (key_id(key), list.iter().map(|scored| scored.item).collect()));
    let emitted = emitted.inspect(count("trending", counted));
    report(emitted.negate().concat(expected), "trending", found).map(drop)
}

/// The last row of each owner, without empty ones.
fn latest<'scope, K, V>(evaluated: Stream<'scope, Time, Vec<(K, Vec<V>)>>) -> reference::Rows<'scope, (K, Vec<V>)>
where
    K: Copy + Ord + 'static,
    V: Clone + 'static,
{
    evaluated
        .unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "Latest", |_, _| {
            let mut rows: BTreeMap<K, Vec<V>> = BTreeMap::new();
            move |input, output| {
                input.for_each(|capability, evaluated| {
                    let time = *capability.least().expect("a message with data has a time");
                    let retained = capability.retain_least(0).expect("a message with data has a time");
                    let updates = evaluated.drain(..).flat_map(|(key, row)| {
                        let old = rows.insert(key, row.clone()).unwrap_or_default();
                        let updates = [(old, -1), (row, 1)].into_iter().filter(|(row, _)| !row.is_empty());
                        updates.map(move |(row, diff)| ((key, row), time, diff)).collect::<Vec<_>>()
                    });
                    output.session(&retained).give_iterator(updates);
                });
            }
        })
        .as_collection()
}

/// An item of a profile with its weight.
fn weight((user, item): (u64, ProfileItem)) -> (u64, (u64, u32)) {
    (user, (item.item, item.weight()))
}

/// Puts three quarters of the users into one of three rooms, so that there are several scopes.
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
        ListKey::User(_) => unreachable!("only trending lists"),
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
    let subscriptions = subscriptions.map(|to| (to.row, to.worker())).arrange_by_key_named("subscriptions by row");
    let rows = rows.arrange_by_key_named("rows");
    subscriptions.join_core(rows, |row, worker, value| Some(((*row, *worker), value.clone())))
}

fn trends() -> impl Strategy<Value = Trending> {
    (1_usize..4, 1_u64..9, 1_u32..6).prop_map(|(k, bucket, buckets)| Trending { k, bucket, buckets })
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
        .map(|n| {
            let (user, item) = (format!("u{}", n % 9), format!("p{}", n * n % 23));
            crate::support::oracle::OracleEvent::new(user, item, 1 + (n % 5) as u8, 1_000 + n)
        })
        .collect();
    let params = Params { retention: 80, audience: Some(30), history: 6, shrink: 1, ..Params::default() };
    let trends = Trending { k: 3, bucket: 10, buckets: 3 };
    let (found, agreed) = disagreements(&params, trends, &ticks(&log, 3), 2);
    assert!(found.is_empty(), "{found:#?}");
    println!("agreed on {agreed:?}");
    let floors = [
        ("histories", 300),
        ("profiles", 300),
        ("co-occurrence", 1_000),
        ("similar items", 1_000),
        ("similar users", 1_000),
        ("lists", 300),
        ("trending", 100),
    ];
    for (stage, floor) in floors {
        assert!(agreed[stage] > floor, "only {} updates of {stage} were compared", agreed[stage]);
    }
}
