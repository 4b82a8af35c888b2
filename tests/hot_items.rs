//! Many viewers of one item and nothing else: their lists are those of the oracle, and the work grows with the viewers, not
//! with its square.

use std::sync::LazyLock;

use dataflows::gauges::STAGES;
use dataflows::{Config, Driver, Effect, Event};
use proptest::prelude::*;
use schema::{id64, spread};

use crate::support::graph::{Pace, config, run_with, ticks};
use crate::support::logs::params;
use crate::support::oracle::changes::coalesced_changes;
use crate::support::oracle::evaluations::CoalescedTick;
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
            OracleEvent::new(CROWD[user % users].as_str(), format!("p{item}"), level, ts)
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
        let expected: Vec<_> = ticks.iter().map(|tick| CoalescedTick::of_events(tick.since, tick.at, tick.events.clone())).collect();
        let expected = coalesced_changes(&expected, &params);
        prop_assert_eq!(run_with(&Config { slice, ..config(&params) }, params.ids, &ticks, workers, pace), expected);
    }
}

/// Lists evaluated for `viewers` who come within 20 seconds with the same item. Ten of them have another item too, so that
/// there are lists.
fn evaluations_for(viewers: u64, workers: usize) -> u64 {
    let work = Driver::run(&Config::default(), workers, move |driver| {
        let event = |n: u64, item| Event {
            user: spread(n + 1),
            item,
            ts: 1_000 + n * 20_000 / viewers,
            effect: Effect::Counts(1),
            scope: None,
        };
        let events: Vec<Event> = (0..viewers).map(|n| event(n, 7)).collect();
        driver.tick(&(0..10).map(|n| event(n, 9)).collect::<Vec<_>>());
        for events in events.chunks(100) {
            driver.tick(events);
        }
        driver.evaluate_all();
        assert_eq!(driver.state_size().audience, viewers);
        driver.work()
    });
    let work: Vec<_> = STAGES.into_iter().zip(work.unwrap()).collect();
    println!("{viewers} viewers, {workers} workers: {work:?}");
    let counted = |stage: &str| work.iter().find(|(name, _)| *name == stage).unwrap().1;
    assert!(counted("lists") >= viewers - 10, "every viewer of the hot item alone has a list: {work:?}");
    counted("evaluated")
}

/// A change of the hot item is no work for its viewers: each is evaluated when it acts, and then once in a second.
#[test]
fn a_viewer_of_a_hot_item_is_evaluated_once_within_the_refresh_time() {
    for workers in [1, 2] {
        for viewers in [2_000, 20_000] {
            let evaluations = evaluations_for(viewers, workers);
            // They come evenly within 20 seconds, so each is there for ten on average.
            assert!(evaluations < 13 * viewers, "{evaluations} evaluations of {viewers} viewers");
        }
    }
}
