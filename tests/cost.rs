//! The COST program of `benches/cost.rs` is a valid baseline only if its lists equal the oracle's.

use std::collections::{BTreeMap, HashMap};

use dataflows::types::Scored;
use dataflows::{Effect, Event};
use proptest::prelude::*;
use schema::id64;

use crate::support::graph::{config, ticks};
use crate::support::logs::{log, params};
use crate::support::oracle::measures::Measure;
use crate::support::oracle::{OracleEvent, Params, lists};

#[path = "../benches/cost/mod.rs"]
#[allow(dead_code, reason = "its counters are for the benchmark")]
mod program;

/// Runs COST and the oracle on the same batches, and compares all lists after each batch, with the scores of the changed
/// ones. Returns the number of compared lists.
fn check(params: &Params, log: &[OracleEvent], size: usize) -> usize {
    // COST has one source and one measure.
    let params = &Params { users_weight: 0, similarity: Measure::Cosine, ..params.clone() };
    let mut program = program::Cost::new(&config(params));
    let names: HashMap<u64, &str> =
        log.iter().flat_map(|ev| [&ev.user, &ev.item]).map(|name| (id64(name), name.as_str())).collect();
    let named = |list: &[Scored]| -> Vec<(String, i64)> {
        list.iter().map(|scored| (names[&scored.item].to_owned(), scored.score)).collect()
    };
    let items = |list: &[(String, i64)]| -> Vec<String> { list.iter().map(|(item, _)| item.clone()).collect() };
    let mut emitted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut compared = 0;
    let mut arrived = 0;
    for tick in ticks(log, size) {
        let event = |ev: &OracleEvent| Event {
            user: id64(&ev.user),
            item: id64(&ev.item),
            ts: ev.ts,
            effect: Effect::Counts(ev.level().unwrap()),
            scope: None,
        };
        let events: Vec<Event> = tick.events.iter().map(event).collect();
        arrived += events.len();
        let expected = lists(&log[..arrived], params, tick.at);
        for (user, list) in program.batch(&events) {
            let (user, list) = (names[user].to_owned(), named(list));
            assert_eq!(list, expected.get(&user).cloned().unwrap_or_default(), "{user} at {}", tick.at);
            let before = emitted.insert(user.clone(), items(&list)).unwrap_or_default();
            assert_ne!(before, items(&list), "an unchanged list of {user} was emitted at {}", tick.at);
        }
        emitted.retain(|_, list| !list.is_empty());
        let expected: BTreeMap<_, _> = expected.iter().map(|(user, list)| (user.clone(), items(list))).collect();
        assert_eq!(emitted, expected, "at {}", tick.at);
        compared += expected.len();
    }
    compared
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Short histories and rows, equal and late timestamps, expiry within the log.
    #[test]
    fn small_random_logs_match_the_oracle(
        params in params(),
        log in log(120),
        size in prop::sample::select(vec![1_usize, 2, 7, 40, 1000]),
    ) {
        check(&params, &log, size);
    }
}

/// A random log, much longer than the retention.
fn random_log(seed: u64, events: usize, users: u64, items: u64) -> Vec<OracleEvent> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) % below
    };
    let mut clock = 1_700_000_000_000;
    let one = |_| {
        clock += draw(2_000);
        let late = if draw(20) == 0 { draw(60_000) } else { 0 };
        // The minimum of two draws makes some items popular.
        let item = draw(items).min(draw(items));
        OracleEvent::new(format!("u{}", draw(users)), format!("p{item}"), 1 + draw(6) as u8, clock - late)
    };
    (0..events).map(one).collect()
}

#[test]
fn short_histories_and_rows_match_under_expiry() {
    for seed in 1..=6 {
        let params = Params {
            history: 3,
            neighbours: 2,
            k: 2,
            retention: 120_000,
            audience: (seed % 2 == 0).then_some(40_000),
            ..Params::default()
        };
        assert!(check(&params, &random_log(seed, 1_500, 20, 60), 25) > 200);
    }
}

#[test]
fn default_parameters_match_under_expiry() {
    for seed in 1..=3 {
        let params = Params { retention: 400_000, audience: Some(100_000), ..Params::default() };
        assert!(check(&params, &random_log(seed, 2_000, 25, 400), 100) > 200);
    }
}

#[test]
fn short_rows_match_with_a_large_catalogue() {
    // Rows with many counts and few neighbours exercise cuts, reserves and rescans.
    for seed in 1..=3 {
        let params = Params { neighbours: 3, retention: 300_000, audience: None, ..Params::default() };
        assert!(check(&params, &random_log(seed, 2_000, 30, 150), 50) > 200);
    }
}
