//! Many viewers of one item and nothing else: their lists are those of the oracle, and the work is for the cohorts, not for
//! each viewer.

use std::sync::LazyLock;

use dataflows::gauges::STAGES;
use dataflows::{Config, Driver, Event};
use proptest::prelude::*;
use schema::{id64, spread};

use crate::support::graph::{Pace, config, run_with, ticks};
use crate::support::logs::params;
use crate::support::oracle::changes::coalesced_changes;
use crate::support::oracle::{OracleEvent, Params};

/// Users of two phases: with names at random, sixty users would hardly have a phase in common.
static CROWD: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..).map(|n| format!("u{n}")).filter(|name| id64(name) % 64 < 2).take(60).collect());

/// A log in which most users have the hot item only. Some come with another one, some follow later, some come back late.
fn hot_log(length: usize) -> impl Strategy<Value = Vec<OracleEvent>> {
    let shape = (prop::sample::select(vec![5_usize, 20, 60]), 1_u64..5, prop::sample::select(vec![0_u64, 1, 4]));
    let event = (0..1_000_usize, 0..100_u64, 1..4_u8, 0..100_u64);
    (shape, prop::collection::vec(event, 1..length)).prop_map(|((users, pace, others), drawn)| {
        let mut clock = 1_000;
        let event = |(user, kind, level, step): (usize, u64, u8, u64)| {
            let ts = if step < 5 { clock - 6 * step } else { clock + u64::from(step % 6 < pace) * (step / 40) };
            clock = clock.max(ts);
            let item = if kind < 8 * others { 1 + kind % others } else { 0 };
            OracleEvent { user: CROWD[user % users].clone(), item: format!("p{item}"), level, ts }
        };
        drawn.into_iter().map(event).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_change_of_a_crowd_equals_the_oracle(
        params in params(),
        users_weight in prop::sample::select(vec![1_i64, 1, 4, 30]),
        log in hot_log(250),
        workers in 1_usize..3,
        size in prop::sample::select(vec![1_usize, 2, 7, 40]),
        slice in prop::sample::select(vec![1_usize, 20, 10_000]),
        rush in any::<bool>(),
    ) {
        let params = Params { users_weight, ..params };
        let pace = if rush { Pace::Rush } else { Pace::Wait };
        let ticks = ticks(&log, size);
        let expected: Vec<_> = ticks.iter().map(|tick| (tick.since, tick.at, tick.events.clone())).collect();
        let expected = coalesced_changes(&expected, &params);
        prop_assert_eq!(run_with(&Config { slice, ..config(&params) }, params.ids, &ticks, workers, pace), expected);
    }
}

/// Work of the stages behind the samples for `viewers` who come one after the other with the same item. Ten of them have
/// another item too, so that there are lists.
fn work_for(viewers: u64, workers: usize) -> u64 {
    let work = Driver::run(&Config::default(), workers, move |driver| {
        let event = |n: u64, item| Event { user: spread(n + 1), item, ts: 1_000 + n, level: 1, scope: None };
        let events: Vec<Event> = (0..viewers).map(|n| event(n, 7)).collect();
        driver.tick(&(0..10).map(|n| event(n, 9)).collect::<Vec<_>>());
        for events in events.chunks(100) {
            driver.tick(events);
        }
        assert_eq!(driver.state_size().audience, viewers);
        driver.work()
    });
    let work: Vec<_> = STAGES.into_iter().zip(work.unwrap()).collect();
    println!("{viewers} viewers, {workers} workers: {work:?}");
    let counted = |stage: &str| work.iter().find(|(name, _)| *name == stage).unwrap().1;
    assert!(counted("lists") >= viewers - 10, "every viewer of the hot item alone has a list: {work:?}");
    ["shared", "alike", "totals", "rescans"].map(counted).iter().sum()
}

/// A viewer who is ranked alone is compared with the whole sample, and again whenever the sample changes: 300 times on
/// average here. In a cohort only its representative is.
#[test]
fn ten_times_the_viewers_of_one_item_take_a_fraction_of_ten_times_the_work() {
    for workers in [1, 2] {
        let (few, many) = (work_for(2_000, workers), work_for(20_000, workers));
        assert!(many < 5 * few, "{few} units of work, and {many} for ten times the viewers");
        assert!(many < 50 * 20_000, "{many} units of work for 20,000 viewers");
    }
}
