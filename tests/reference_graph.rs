//! The reference graph against the oracle, after every tick of random small logs.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use differential_dataflow::input::Input;
use proptest::prelude::*;
use schema::{IdKey, id64};
use timely::dataflow::operators::probe::Handle;

use crate::support::logs::measures;
use crate::support::oracle::diversity::Caps;
use crate::support::oracle::{self, OracleEvent, Params};
use crate::support::reference;

/// The lists of all users, by id.
type Lists = BTreeMap<u64, Vec<(u64, i64)>>;

/// The lists of the graph after each tick.
fn lists_of_the_graph(ticks: &[Vec<OracleEvent>], params: &Params) -> Vec<Lists> {
    let (ticks, params) = (ticks.to_vec(), params.clone());
    timely::execute_directly(move |worker| {
        let standing = Rc::new(RefCell::new(HashMap::new()));
        let changed = Rc::clone(&standing);
        let probe = Handle::new();
        let mut input = worker.dataflow(|scope| {
            let (input, events) = scope.new_collection();
            let interactions = reference::interactions(events, params.history);
            let history = reference::history(interactions.clone());
            let profiles = reference::profiles(interactions.clone(), &params);
            let weights = reference::weights(profiles.clone());
            let pairs = reference::cooccurrence(interactions, &params);
            let similar = reference::similar_items(pairs, history.clone(), &params);
            let samples = reference::samples(history.clone(), &params);
            let activity = reference::activity(history.clone(), &params);
            let users = reference::similar_users(profiles, samples, activity, &params);
            let contributions = reference::of_items(weights.clone(), similar, params.items_weight)
                .concat(reference::of_users(users, history, params.users_weight));
            reference::lists(weights, contributions, params.k)
                .inspect(move |(list, _, diff)| *changed.borrow_mut().entry(list.clone()).or_insert(0) += diff)
                .probe_with(&probe);
            input
        });
        let mut after_ticks = Vec::new();
        for (tick, events) in (1..).zip(ticks) {
            for event in events {
                input.insert((id64(&event.user), (id64(&event.item), event.ts, event.level().unwrap())));
            }
            input.advance_to(tick);
            input.flush();
            worker.step_while(|| probe.less_than(input.time()));
            let mut lists = Lists::new();
            for ((user, list), count) in standing.borrow().iter().filter(|(_, count)| **count != 0) {
                assert_eq!(*count, 1, "one list a user");
                assert!(lists.insert(*user, list.clone()).is_none(), "one list a user");
            }
            after_ticks.push(lists);
        }
        after_ticks
    })
}

fn lists_of_the_oracle(events: &[OracleEvent], params: &Params) -> Lists {
    let last = events.iter().map(|event| event.ts).max().unwrap_or(0);
    let by_id = |(item, total): (String, i64)| (id64(&item), total);
    oracle::lists(events, params, last)
        .into_iter()
        .map(|(user, list)| (id64(&user), list.into_iter().map(by_id).collect()))
        .collect()
}

fn log() -> impl Strategy<Value = Vec<Vec<OracleEvent>>> {
    let event = (0..8_u8, 0..12_u8, 1..=6_u8, 0..50_u64)
        .prop_map(|(user, item, level, ts)| OracleEvent::new(format!("u{user}"), format!("i{item}"), level, ts));
    proptest::collection::vec(proptest::collection::vec(event, 0..12), 1..8)
}

/// Unlimited retention and audience; the other parameters are small enough to have an effect.
fn params() -> impl Strategy<Value = Params> {
    let caps = (1..8_usize, 1..5_usize, 1..4_usize);
    let pairs = (measures(), 0..30_u64, 1..4_u64, 0..30_u64);
    let logarithm = (1..=16_u32, 1..=16_u32);
    let profile = (0..12_u64, proptest::sample::subsequence(vec![1, 2, 3, 5, 8], 1..=5));
    let users = (1..6_usize, 1..5_usize);
    (caps, pairs, logarithm, profile, users, (0..5_i64, 0..5_i64)).prop_map(
        |(
            (history, neighbours, k),
            (similarity, near, min_cooccurrence, shrink),
            (resolution, user_resolution),
            (basket, stairs),
            (sample, similar_users),
            (items_weight, users_weight),
        )| Params {
            ids: IdKey::default(),
            history,
            basket,
            neighbours,
            k,
            retention: u64::MAX,
            audience: None,
            skipped: 3_600_000,
            similarity,
            near,
            min_cooccurrence,
            shrink,
            stairs,
            resolution,
            items_weight,
            user_resolution,
            sample,
            similar_users,
            users_weight,
            refresh: 0,
            membership: false,
            catalogue: None,
            diversity: 0,
            caps: Caps::default(),
            why: 0,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_reference_graph_equals_the_oracle_after_every_tick(ticks in log(), params in params()) {
        let mut arrived = Vec::new();
        for (tick, lists) in lists_of_the_graph(&ticks, &params).into_iter().enumerate() {
            arrived.extend_from_slice(&ticks[tick]);
            prop_assert_eq!(lists, lists_of_the_oracle(&arrived, &params), "after tick {}", tick);
        }
    }
}
