use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::support::graph::{Pace, Tick, lists_at, run, ticks};
use crate::support::oracle::changes::changes;
use crate::support::oracle::{Ev, Params, lists};

/// Small numbers so that everything collides: histories overflow, times tie, lists compete.
fn params() -> impl Strategy<Value = Params> {
    (
        (1_usize..7, 1_usize..5, 1_usize..4),
        (5_u64..80, prop::option::of(1_u64..40)),
        (1_u64..3, 0_u64..4),
        prop::sample::select(vec![vec![1], vec![1, 2], vec![2, 4, 8], vec![1, 2, 3, 5, 9]]),
        1_u32..17,
    )
        .prop_map(
            |((history, neighbours, k), (retention, audience), (min_cooccurrence, shrink), stairs, resolution)| {
                Params {
                    history,
                    neighbours,
                    k,
                    retention,
                    audience: audience.map(|audience| audience.min(retention)),
                    min_cooccurrence,
                    shrink,
                    stairs,
                    resolution,
                    items_weight: 4,
                }
            },
        )
}

/// A log whose clock moves on with every event and whose events come late, twice and at equal times.
fn log(length: usize) -> impl Strategy<Value = Vec<Ev>> {
    let event = (0..7_u8, 0..12_u8, 1..7_u8, 0..6_u64, prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    prop::collection::vec(event, 1..length).prop_map(|steps| {
        let mut clock = 1_000;
        let mut events: Vec<Ev> = Vec::new();
        for (user, item, level, step, late, twice) in steps {
            let ts = if late { clock - 7 * step } else { clock + step / 2 };
            clock = clock.max(ts);
            events.push(Ev { user: format!("u{user}"), item: format!("p{item}"), level, ts });
            if twice {
                events.push(events[events.len() / 2].clone());
            }
        }
        events
    })
}

/// What the oracle says of each tick's end.
fn check_lists(params: &Params, ticks: &[Tick], workers: usize, pace: Pace) -> Result<usize, TestCaseError> {
    let records = run(params, ticks, workers, pace);
    let mut arrived = Vec::new();
    let mut compared = 0;
    let mut ends: BTreeMap<u64, Vec<Ev>> = BTreeMap::new();
    for tick in ticks {
        arrived.extend(tick.events.iter().cloned());
        ends.insert(tick.at, arrived.clone());
    }
    for (at, arrived) in ends {
        let expected = lists(&arrived, params, at);
        let got = lists_at(&records, at);
        let got: BTreeMap<_, Vec<_>> =
            got.iter().map(|(user, list)| (user, list.iter().map(|(item, _)| item).collect())).collect();
        let items: BTreeMap<_, Vec<_>> =
            expected.iter().map(|(user, list)| (user, list.iter().map(|(item, _)| item).collect())).collect();
        prop_assert_eq!(got, items, "at {}", at);
        compared += expected.len();
    }
    Ok(compared)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// One event a tick: the stream of changes is the oracle's, record for record.
    #[test]
    fn every_change_equals_the_oracle(params in params(), log in log(60), workers in 1_usize..4) {
        let ticks = ticks(&log, 1);
        let expected: Vec<_> = ticks.iter().map(|tick| (tick.at, tick.events.clone())).collect();
        prop_assert_eq!(run(&params, &ticks, workers, Pace::Wait), changes(&expected, &params));
    }

    /// Any number of events a tick, any number of workers, waiting for each tick or not.
    #[test]
    fn lists_equal_the_oracle_at_the_end_of_every_tick(
        params in params(),
        log in log(120),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 7, 1000]),
        rush in any::<bool>(),
    ) {
        let pace = if rush { Pace::Rush } else { Pace::Wait };
        check_lists(&params, &ticks(&log, size), workers, pace)?;
    }
}
