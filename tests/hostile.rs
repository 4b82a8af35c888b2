//! Extreme shapes of logs and parameters, against the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use dataflows::types::Forgotten;
use dataflows::{Config, GraphInput, SnapshotSinks, recommendations};
use proptest::prelude::*;
use schema::{IdKey, id64};
use timely::dataflow::operators::{Inspect as _, Probe as _};

use crate::support::graph::{Pace, Tick, config, drive, run_with};
use crate::support::logs::{baskets, measures, near};
use crate::support::oracle::changes::coalesced_changes;
use crate::support::oracle::diversity::Caps;
use crate::support::oracle::evaluations::CoalescedTick;
use crate::support::oracle::{OracleEvent, Params, lists};

/// Extreme parameters: no shrinkage and one step per doubling, so that all scores tie; lists and rows of one item or longer than
/// the catalogue; stairs of one step or longer than the history; an audience far shorter than the retention.
fn params() -> impl Strategy<Value = Params> {
    let lengths = (
        prop::sample::select(vec![1_usize, 2, 5, 9, 20, 50]),
        prop::sample::select(vec![1_usize, 1, 2, 3, 6, 100]),
        prop::sample::select(vec![1_usize, 1, 2, 3, 6, 100]),
    );
    let spans = (prop::sample::select(vec![3_u64, 10, 40, 150, 1_000]), prop::option::weighted(0.85, 1_u64..30));
    let stairs = prop::sample::select(vec![
        vec![1],
        vec![3],
        vec![2, 4, 8, 16],
        vec![1, 2, 4, 24],
        vec![1, 2, 3, 4, 5, 6, 7, 100],
    ]);
    let pairs = (
        measures(),
        near(),
        prop::sample::select(vec![1_u64, 1, 1, 2, 5]),
        prop::sample::select(vec![0_u64, 0, 1, 20]),
    );
    let resolution = || prop::sample::select(vec![1_u32, 1, 1, 2, 4, 16]);
    let items_weight = prop::sample::select(vec![4_i64, 4, 4, 1, 1_000_000, 0]);
    let users = (
        prop::sample::select(vec![1_usize, 2, 3, 5, 100]),
        prop::sample::select(vec![1_usize, 1, 2, 4, 30]),
        prop::sample::select(vec![0_i64, 1, 1, 7, 1_000_000]),
    );
    (lengths, spans, (baskets(), stairs), pairs, (resolution(), resolution()), items_weight, users).prop_map(
        |(
            (history, neighbours, k),
            (retention, audience),
            (basket, stairs),
            (similarity, near, min_cooccurrence, shrink),
            (resolution, user_resolution),
            items_weight,
            (sample, similar_users, users_weight),
        )| Params {
            ids: IdKey::default(),
            history,
            basket,
            neighbours,
            k,
            retention,
            audience: audience.map(|audience| audience.min(retention)),
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

/// A log of few or many users and items, with a catalogue that drifts with the clock or not, jumps at which everything expires
/// at once, and levels that rise and fall.
fn log(length: usize) -> impl Strategy<Value = Vec<OracleEvent>> {
    let shape = (
        prop::sample::select(vec![2_u64, 5, 12, 30]),
        prop::sample::select(vec![2_u64, 4, 10, 40, 90]),
        prop::sample::select(vec![0_u64, 0, 1, 3]),
        prop::sample::select(vec![1_u8, 6, 15]),
        prop::sample::select(vec![1_u64, 2, 6]),
    );
    let event = (0..1_000_u64, (0..1_000_u64, 0..1_000_u64), 0..15_u8, (0..100_u64, 0..400_u64));
    (shape, prop::collection::vec(event, 1..length)).prop_map(|((users, items, drift, levels, pace), steps)| {
        let mut clock = 1_000;
        let mut events: Vec<OracleEvent> = Vec::new();
        for (user, (item, skew), level, (kind, step)) in steps {
            let ts = match kind {
                0 => clock + step,
                1..=5 => clock - step / 8,
                6..=12 => clock + step % (8 * pace),
                _ => clock + u64::from(step % 8 < pace),
            };
            clock = clock.max(ts);
            let item = (item % items) * (skew % items) / items + drift * (clock / 16);
            events.push(OracleEvent::new(format!("u{}", user % users), format!("p{item}"), 1 + level % levels, ts));
        }
        events
    })
}

/// Cuts a log into ticks of the given sizes, repeated.
fn cut(log: &[OracleEvent], sizes: &[usize]) -> Vec<Tick> {
    let (mut rest, mut clock, mut cut) = (log, 0, Vec::new());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (events, later) = rest.split_at((*size).min(rest.len()));
        let since = u64::max(clock, events[0].ts);
        clock = events.iter().map(|event| event.ts).fold(clock, u64::max);
        cut.push(Tick::of_events(since, clock, events));
        rest = later;
    }
    cut
}

fn with_slice(params: &Params, slice: usize) -> Config {
    Config { slice, ..config(params) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn extreme_shapes_give_the_records_of_the_oracle(
        params in params(),
        log in log(400),
        workers in 1_usize..5,
        sizes in prop::collection::vec(prop::sample::select(vec![1_usize, 1, 2, 5, 30, 200]), 1..4),
        slice in prop::sample::select(vec![1_usize, 1, 3, 20, 10_000]),
        rush in any::<bool>(),
    ) {
        let pace = if rush { Pace::Rush } else { Pace::Wait };
        let ticks = cut(&log, &sizes);
        let expected: Vec<_> = ticks.iter().map(|tick| CoalescedTick::of_events(tick.since, tick.at, tick.events.clone())).collect();
        let expected = coalesced_changes(&expected, &params);
        prop_assert_eq!(run_with(&with_slice(&params, slice), params.ids, &ticks, workers, pace), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, ..ProptestConfig::default() })]

    /// Long enough that most state is dropped and rebuilt many times.
    #[test]
    fn lists_of_long_logs_equal_the_oracle_after_every_tick(
        params in params(),
        log in log(2_000),
        workers in 1_usize..5,
        sizes in prop::collection::vec(prop::sample::select(vec![1_usize, 2, 5, 30]), 1..4),
        slice in prop::sample::select(vec![1_usize, 20, 10_000]),
    ) {
        let ticks = cut(&log, &sizes);
        let mut records = run_with(&with_slice(&params, slice), params.ids, &ticks, workers, Pace::Rush).into_iter().peekable();
        let mut arrived: Vec<OracleEvent> = Vec::new();
        let mut got: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
        for (index, tick) in ticks.iter().enumerate() {
            arrived.extend(tick.events.iter().cloned());
            arrived.retain(|event| event.ts + params.retention > tick.at);
            if ticks.get(index + 1).is_some_and(|next| next.at == tick.at) {
                continue;
            }
            while let Some(record) = records.next_if(|record| record.at <= tick.at) {
                got.insert(record.user, record.items);
            }
            got.retain(|_, items| !items.is_empty());
            let expected = lists(&arrived, &params, tick.at);
            let items = |lists: &BTreeMap<String, Vec<(String, i64)>>| -> BTreeMap<String, Vec<String>> {
                let items = |list: &Vec<(String, i64)>| list.iter().map(|(item, _)| item.clone()).collect();
                lists.iter().map(|(user, list)| (user.clone(), items(list))).collect()
            };
            prop_assert_eq!(items(&got), items(&expected), "at {}", tick.at);
        }
        prop_assert!(records.next().is_none());
    }
}

/// An event that is too old to count still interns two names, which no other event may have.
#[test]
fn forgets_the_names_of_events_without_effect() {
    for workers in [1, 3] {
        let config = Config { retention: 100, ..Config::default() };
        let forgotten: Arc<Mutex<BTreeSet<Forgotten>>> = Arc::default();
        let collected = Arc::clone(&forgotten);
        timely::execute(timely::Config::process(workers), move |worker| {
            let collected = Arc::clone(&collected);
            let (mut input, probe) = worker.dataflow(|scope| {
                let (input, streams) = GraphInput::new(scope, &config, false);
                let recommendations = recommendations(streams, &config, SnapshotSinks::default());
                recommendations.forgotten.inspect(move |name| {
                    collected.lock().unwrap().insert(*name);
                });
                let (probe, _) = recommendations.changes.probe();
                (input, probe)
            });
            if worker.index() == 0 {
                let ev = |user, item, ts| OracleEvent::new(user, item, 1, ts);
                let log = [ev("u", "p", 1_000), ev("late", "gone", 800), ev("u", "old", 900), ev("late", "p", 1)];
                drive(worker, &mut input, &probe, IdKey::default(), &cut(&log, &[1]), Pace::Wait);
            }
        })
        .unwrap();
        let expected = [Forgotten::User(id64("late")), Forgotten::Item(id64("gone")), Forgotten::Item(id64("old"))];
        assert_eq!(*forgotten.lock().unwrap(), BTreeSet::from(expected), "{workers} workers");
    }
}
