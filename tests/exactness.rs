use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::support::graph::{Pace, Tick, lists_at, run, ticks};
use crate::support::logs::{log, params};
use crate::support::oracle::changes::{changes, changes_together};
use crate::support::oracle::{Ev, Params, lists};

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

    /// The stream of changes is the oracle's, record for record, one event a tick or several taken together.
    #[test]
    fn every_change_equals_the_oracle(
        params in params(),
        log in log(60),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 1, 2, 7, 1000]),
        rush in any::<bool>(),
    ) {
        let pace = if rush { Pace::Rush } else { Pace::Wait };
        let ticks = ticks(&log, size);
        let expected: Vec<_> = ticks.iter().map(|tick| (tick.since, tick.at, tick.events.clone())).collect();
        prop_assert_eq!(run(&params, &ticks, workers, pace), changes_together(&expected, &params));
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

/// A busy little shop of 40 viewers over an hour, with long pauses, late and repeated events.
fn shop(events: usize) -> Vec<Ev> {
    // A small generator of its own: the log must not change with a library.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut clock = 1_700_000_000_000;
    let mut log: Vec<Ev> = Vec::new();
    while log.len() < events {
        clock += if draw(50) == 0 { draw(200_000) } else { draw(3_000) };
        if draw(25) == 0 && !log.is_empty() {
            let again = log[draw(log.len() as u64) as usize].clone();
            log.push(again);
            continue;
        }
        let late = if draw(12) == 0 { draw(400_000) } else { 0 };
        let (user, item) = (draw(40), draw(8) * draw(9));
        log.push(Ev {
            user: format!("viewer {user}"),
            item: format!("品牌{item}"),
            level: 1 + draw(6) as u8,
            ts: clock - late,
        });
    }
    log
}

/// DESIGN's own words: one event a tick, 2,000 events, record for record.
#[test]
fn two_thousand_events_one_a_tick_record_for_record() {
    let log = shop(2_000);
    let params = Params {
        history: 12,
        neighbours: 6,
        k: 5,
        retention: 1_200_000,
        audience: Some(240_000),
        shrink: 2,
        ..Params::default()
    };
    let ticks = ticks(&log, 1);
    let expected: Vec<_> = ticks.iter().map(|tick| (tick.at, tick.events.clone())).collect();
    let expected = changes(&expected, &params);
    let emptied = expected.iter().filter(|record| record.items.is_empty()).count();
    println!("{} records, {emptied} of them empty a list", expected.len());
    assert!(expected.len() > 4_000 && emptied > 200, "too little to compare");
    for workers in [1, 2] {
        let got = run(&params, &ticks, workers, Pace::Wait);
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!(got, expected, "{workers} workers");
        }
        assert_eq!(got.len(), expected.len(), "{workers} workers");
    }
}

/// The default parameters, lists compared at many times, whatever the batch.
#[test]
fn defaults_at_intermediate_times() {
    let log = shop(3_000);
    let mut compared = 0;
    for (workers, size) in [(1, 100), (2, 150), (4, 1000)] {
        compared += check_lists(&Params::default(), &ticks(&log, size), workers, Pace::Rush).unwrap();
    }
    println!("{compared} non-empty lists compared");
    assert!(compared > 1_000, "only {compared} non-empty lists compared");
}
