//! The graph against the oracle: every change, at every time, for any number of workers.

use std::collections::BTreeMap;

use dataflows::Config;
use dataflows::config::Outputs;
use proptest::prelude::*;

use crate::support::graph::{Emitted, Pace, Tick, config, emitted, lists_at, run, ticks};
use crate::support::logs::{ids, log, params};
use crate::support::oracle::changes::{changes, changes_to_the_end, coalesced_changes, similar_user_rows};
use crate::support::oracle::evaluations::Run;
use crate::support::oracle::{OracleEvent, Params, lists, without_scores};

/// Compares the lists at the end of every tick with the oracle's. Returns the number of lists compared.
fn compare_lists(params: &Params, ticks: &[Tick], workers: usize, pace: Pace) -> Result<usize, TestCaseError> {
    let records = run(params, ticks, workers, pace);
    let mut arrived = Vec::new();
    let mut compared = 0;
    let mut ends: BTreeMap<u64, Vec<OracleEvent>> = BTreeMap::new();
    for tick in ticks {
        arrived.extend(tick.events.iter().cloned());
        ends.insert(tick.at, arrived.clone());
    }
    for (at, arrived) in ends {
        let expected = without_scores(lists(&arrived, params, at));
        let found = without_scores(lists_at(&records, at));
        compared += expected.len();
        prop_assert_eq!(found, expected, "at {}", at);
    }
    Ok(compared)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// With one event per tick or several, with or without a key, whether the input ends or not, the streams of changes and of
    /// rows of similar users equal the oracle's, record by record.
    #[test]
    fn every_change_equals_the_oracle(
        params in params(),
        ids in ids(),
        log in log(60),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 1, 2, 7, 1000]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let params = Params { ids, ..params };
        let pace = if rush { Pace::Rush } else { Pace::Wait };
        let ticks = ticks(&log, size);
        let coalesced: Vec<_> = ticks.iter().map(Tick::coalesced).collect();
        let outputs = Outputs { similar_users: true, ..Outputs::default() };
        let Emitted { changes, similar_users } =
            emitted(&Config { outputs, ..config(&params) }, ids, &ticks, workers, pace, ends);
        let expected = if ends { changes_to_the_end(&coalesced, &params) } else { coalesced_changes(&coalesced, &params) };
        prop_assert_eq!(changes, expected);
        prop_assert_eq!(similar_users, similar_user_rows(&Run { resumed: None, ticks: &coalesced, ends }, &params));
    }

    /// For any number of events per tick and of workers, whether the driver waits for each tick or not.
    #[test]
    fn lists_equal_the_oracle_at_the_end_of_every_tick(
        params in params(),
        ids in ids(),
        log in log(120),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 7, 1000]),
        rush in any::<bool>(),
    ) {
        let params = Params { ids, refresh: 0, membership: false, ..params };
        let pace = if rush { Pace::Rush } else { Pace::Wait };
        compare_lists(&params, &ticks(&log, size), workers, pace)?;
    }
}

/// A log of 40 viewers over an hour, with long pauses, late and repeated events.
fn shop_log(events: usize) -> Vec<OracleEvent> {
    // A generator written out here, so that the log does not change with a library.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut clock = 1_700_000_000_000;
    let mut log: Vec<OracleEvent> = Vec::new();
    while log.len() < events {
        clock += if draw(50) == 0 { draw(200_000) } else { draw(3_000) };
        if draw(25) == 0 && !log.is_empty() {
            let repeated = log[draw(log.len() as u64) as usize].clone();
            log.push(repeated);
            continue;
        }
        let lateness = if draw(12) == 0 { draw(400_000) } else { 0 };
        let (user, item) = (draw(40), draw(8) * draw(9));
        let level = 1 + draw(6) as u8;
        log.push(OracleEvent::new(format!("viewer {user}"), format!("品牌{item}"), level, clock - lateness));
    }
    log
}

#[test]
fn every_change_equals_the_oracle_for_2000_events_with_one_event_per_tick() {
    let log = shop_log(2_000);
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
    println!("{} changes, {emptied} of them empty a list", expected.len());
    assert!(expected.len() > 4_000 && emptied > 200, "too few changes to compare");
    for workers in [1, 2] {
        let found = run(&params, &ticks, workers, Pace::Wait);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{workers} workers");
        }
        assert_eq!(found.len(), expected.len(), "{workers} workers");
    }
}

#[test]
fn lists_equal_the_oracle_at_intermediate_times_with_default_parameters() {
    let log = shop_log(3_000);
    let mut compared = 0;
    for (workers, size) in [(1, 100), (2, 150), (4, 1000)] {
        compared += compare_lists(&Params::default(), &ticks(&log, size), workers, Pace::Rush).unwrap();
    }
    println!("{compared} non-empty lists compared");
    assert!(compared > 1_000, "only {compared} non-empty lists compared");
}
