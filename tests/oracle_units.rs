//! The oracle against examples computed by hand.
//!
//! The id64s of the names used here are in the order p3 < p5 < p4 < p1 < p2. The phases used are (p1, p2) 21,
//! (p1, p3) 10 and (p3, p4) 50.

mod catalogue;
mod changes;
mod controls;
mod diversity;
mod freshness;
mod reasons;
mod taking_back;
mod users;

use std::collections::BTreeMap;

use proptest::prelude::*;
use schema::id64;

use crate::support::oracle::catalogue::Eligible;
use crate::support::oracle::changes::changes;
use crate::support::oracle::exact::{fine_log, floor_log2_times, log48, power, q, q_with_phase, similarity};
use crate::support::oracle::measures::{Measure, llr_rank, population};
use crate::support::oracle::users::{activity, profile_weight, samples, shared};
use crate::support::oracle::{
    OracleEvent, Params, ProfileEntry, audience, basket_ranks, cooccurrence, history, lists, popularity, profile,
    similar_items, without_scores,
};

const FOREVER: u64 = u64::MAX;

fn ev(user: &str, item: &str, level: u8, ts: u64) -> OracleEvent {
    OracleEvent::new(user, item, level, ts)
}

/// Default parameters with the source `items` only.
fn items_only() -> Params {
    Params { users_weight: 0, ..Params::default() }
}

/// The source `items` only; every user with an interaction has a list, and nothing expires.
fn without_expiry() -> Params {
    Params { retention: FOREVER, audience: None, ..items_only() }
}

/// The history of the user `u` as `(item, level, touched)`.
fn history_of_u(events: &[OracleEvent], params: &Params, t: u64) -> Vec<(String, u8, u64)> {
    history(events, params, t).remove("u").unwrap_or_default()
}

fn interactions(expected: &[(&str, u8, u64)]) -> Vec<(String, u8, u64)> {
    expected.iter().map(|(item, level, touched)| ((*item).to_owned(), *level, *touched)).collect()
}

/// The items of a profile with their `p_ui`.
fn weights(profile: &[ProfileEntry]) -> Vec<(&str, u64)> {
    profile.iter().map(|entry| (entry.item.as_str(), entry.weight())).collect()
}

fn names(list: &[(String, i64)]) -> Vec<&str> {
    list.iter().map(|(item, _)| item.as_str()).collect()
}

#[test]
fn id64_and_phases_equal_the_documented_values() {
    assert_eq!(id64("p3"), 12_118_151_613_335_125_742);
    assert_eq!(id64("品牌1758"), 1_736_002_122_885_404_101);
    let mut items = ["p1", "p2", "p3", "p4", "p5"];
    items.sort_by_key(|item| id64(item));
    assert_eq!(items, ["p3", "p5", "p4", "p1", "p2"]);
    let phase = |a, b| (id64(a) ^ id64(b)) % 64;
    assert_eq!([phase("p1", "p2"), phase("p1", "p3"), phase("p3", "p4")], [21, 10, 50]);
}

#[test]
fn q_is_the_exact_floor_of_the_logarithm() {
    // 4 * log2 of 1..=9: 0, 4, 6.34, 8, 9.29, 10.34, 11.23, 12, 12.68
    assert_eq!([1, 2, 3, 4, 5, 6, 7, 8, 9].map(|x| q(x, 4)), [0, 4, 6, 8, 9, 10, 11, 12, 12]);
    assert_eq!([1, 2, 3, 4].map(|x| q(x, 1)), [0, 1, 1, 2]);
    // 2^63 is the last power of two; the largest u64 is just below the next one.
    assert_eq!([q(1 << 63, 16), q(u64::MAX, 16)], [63 * 16, 64 * 16 - 1]);
    assert_eq!(floor_log2_times(1024, u64::MAX), 64 * 1024 - 1);
    for x in 1..5_000_u64 {
        // x^4 fits into 128 bits, so 2^q <= x^4 < 2^(q+1) checks the definition with other arithmetic.
        let power = u128::from(x).pow(4);
        assert!(1 << q(x, 4) <= power && power < 1 << (q(x, 4) + 1), "q({x})");
    }
}

#[test]
fn the_phase_shifts_the_thresholds_of_q() {
    // 256 * log2(24) = 1173.75 and 1173 = 18 * 64 + 21, so q is 19 with a phase of 43 or more.
    assert_eq!(fine_log(24, 4), 1173);
    assert_eq!(q_with_phase(1173, id64("p1"), id64("p2")), 18);
    assert_eq!(q_with_phase(1173, id64("p3"), id64("p4")), 19);
    assert_eq!([42, 43].map(|phase| q_with_phase(1173, 64 + phase, 128)), [18, 19]);
    // Equal ids have the phase 0.
    assert!((1..2_000).all(|x| q_with_phase(fine_log(x, 4), 7, 7) == q(x, 4)));
}

#[test]
fn similarity_equals_the_formula() {
    // With s = 4 eight steps halve the similarity. 1024 * 2^(-1/2) = 724.08; 1024 * 2^(-28/8) = 90.51, rounded up.
    assert_eq!([5, 0, -4, -8, -28].map(|e| similarity(e, 4)), [1024, 1024, 724, 512, 91]);
    // 2^(-11) * 1024 is exactly a half and rounds up to 1. The minimum is 1.
    assert_eq!([-80, -88, -89, -500].map(|e| similarity(e, 4)), [1, 1, 1, 1]);
    for s in 1..=16 {
        for exponent in -500..=50_i16 {
            let float = 0.5 + 1024.0 * (f64::from(exponent) / f64::from(2 * s)).exp2();
            let exact = similarity(exponent.into(), s);
            if (float - float.round()).abs() > 1e-9 {
                let float = float.floor().clamp(1.0, 1024.0);
                assert!((f64::from(u32::try_from(exact).unwrap()) - float).abs() < 0.1, "exponent {exponent}, s {s}");
            }
        }
    }
}

#[test]
fn history_is_sorted_newest_first_then_by_id64() {
    let events = [ev("u", "p1", 1, 10), ev("u", "p2", 2, 30), ev("u", "p3", 3, 10), ev("u", "p1", 4, 5)];
    let expected = interactions(&[("p2", 2, 30), ("p3", 3, 10), ("p1", 4, 10)]);
    assert_eq!(history_of_u(&events, &without_expiry(), 30), expected);
}

#[test]
fn the_highest_level_counts_among_events_of_equal_user_item_and_ts() {
    let events = [ev("u", "p1", 1, 10), ev("u", "p1", 6, 10), ev("u", "p1", 2, 10)];
    for history in [1, 50] {
        let params = Params { history, ..without_expiry() };
        assert_eq!(history_of_u(&events, &params, 10), interactions(&[("p1", 6, 10)]));
    }
}

#[test]
fn an_event_counts_from_its_time_until_its_retention_ends() {
    let params = Params { retention: 100, audience: Some(40), ..Params::default() };
    let events = [ev("u", "p1", 1, 1_000)];
    assert!(history_of_u(&events, &params, 999).is_empty(), "event of the future");
    assert_eq!(history_of_u(&events, &params, 1_000).len(), 1);
    assert_eq!(history_of_u(&events, &params, 1_099).len(), 1, "1000 + 100 > 1099");
    assert!(history_of_u(&events, &params, 1_100).is_empty(), "1000 + 100 > 1100 does not hold");

    let in_audience = |params: &Params, t| {
        let history = history(&events, params, t);
        audience(&events, &history, params, t).contains("u")
    };
    assert_eq!([999, 1_000, 1_039, 1_040].map(|t| in_audience(&params, t)), [false, true, true, false]);
    let all = Params { audience: None, ..params };
    assert_eq!([999, 1_000, 1_099, 1_100].map(|t| in_audience(&all, t)), [false, true, true, false]);
}

#[test]
fn a_retention_longer_than_the_time_does_not_underflow() {
    assert_eq!(history_of_u(&[ev("u", "p1", 1, 0)], &Params::default(), 5).len(), 1);
    assert_eq!(history_of_u(&[ev("u", "p1", 1, 5)], &without_expiry(), 5).len(), 1);
}

#[test]
fn a_51st_item_displaces_the_oldest() {
    let params = Params { history: 50, ..without_expiry() };
    let touched = |items: u64| (0..items).map(|n| ev("u", &format!("i{n}"), 1, n)).collect::<Vec<_>>();
    assert_eq!(history_of_u(&touched(50), &params, 1_000).len(), 50);
    let full = history_of_u(&touched(51), &params, 1_000);
    assert_eq!(full.len(), 50);
    assert!(full.iter().all(|(item, ..)| item != "i0"), "the oldest is displaced");

    let at_once: Vec<OracleEvent> = touched(51).into_iter().map(|event| OracleEvent { ts: 7, ..event }).collect();
    let last = at_once.iter().map(|event| &event.item).max_by_key(|item| id64(item)).unwrap();
    let full = history_of_u(&at_once, &params, 1_000);
    assert_eq!(full.len(), 50);
    assert!(full.iter().all(|(item, ..)| item != last), "of equal times, the largest id64 is displaced");
}

#[test]
fn the_level_drops_when_its_event_stops_counting() {
    let params = Params { history: 2, ..without_expiry() };
    let mut events = vec![ev("u", "p1", 6, 1), ev("u", "p1", 1, 5)];
    // One item was touched after (p1, 1): p1 itself.
    assert_eq!(history_of_u(&events, &params, 9), interactions(&[("p1", 6, 5)]));
    // Now two items were touched after it: p1 and p2.
    events.push(ev("u", "p2", 1, 6));
    assert_eq!(history_of_u(&events, &params, 9), interactions(&[("p2", 1, 6), ("p1", 1, 5)]));
    // The old event does not count again when p1 is touched again.
    events.push(ev("u", "p1", 2, 7));
    assert_eq!(history_of_u(&events, &params, 9), interactions(&[("p1", 2, 7), ("p2", 1, 6)]));

    // The same by expiry: at 101 the event at 1 has expired, the event at 5 has not.
    let params = Params { retention: 100, ..Params::default() };
    assert_eq!(history_of_u(&events[..2], &params, 100), interactions(&[("p1", 6, 5)]));
    assert_eq!(history_of_u(&events[..2], &params, 101), interactions(&[("p1", 1, 5)]));
}

#[test]
fn touched_after_compares_id64_at_equal_times() {
    // At equal times p3, which has the smaller id64, was touched after (p1, 5).
    let params = Params { history: 1, ..without_expiry() };
    let events = [ev("u", "p1", 6, 5), ev("u", "p3", 1, 5)];
    assert_eq!(history_of_u(&events, &params, 5), interactions(&[("p3", 1, 5)]));
}

#[test]
fn a_full_history_holds_the_most_recently_touched_items() {
    // p1 was touched first and last: only its first event stops counting.
    let params = Params { history: 2, ..without_expiry() };
    let events = [ev("u", "p1", 3, 1), ev("u", "p2", 2, 2), ev("u", "p3", 2, 3), ev("u", "p1", 1, 4)];
    assert_eq!(history_of_u(&events, &params, 4), interactions(&[("p1", 1, 4), ("p3", 2, 3)]));
}

/// The basket ranks of interactions that were last touched at these times, newest first.
fn basket_ranks_of(touched: &[u64], basket: u64) -> Vec<usize> {
    let interactions: Vec<_> = touched.iter().enumerate().map(|(n, at)| (format!("i{n}"), 1, *at)).collect();
    basket_ranks(&interactions, &Params { basket, ..without_expiry() })
}

#[test]
fn the_basket_rank_rises_where_two_successive_touches_are_a_basket_apart() {
    // The gaps are 500, 500, 1000, 999, 1000. The first three share a basket, although the third is 1000 from the first.
    let touched = [10_000, 9_500, 9_000, 8_000, 7_001, 6_001];
    assert_eq!(basket_ranks_of(&touched, 1_000), [0, 0, 0, 1, 1, 2]);
    assert_eq!(basket_ranks_of(&touched, 1_001), [0, 0, 0, 0, 0, 0]);
    assert_eq!(basket_ranks_of(&touched, 999), [0, 0, 0, 1, 2, 3]);
    // With 0 it is the rank, also at equal times; with 1 only equal times share a basket.
    assert_eq!(basket_ranks_of(&touched, 0), [0, 1, 2, 3, 4, 5]);
    assert_eq!(basket_ranks_of(&[7, 7, 7, 6], 0), [0, 1, 2, 3]);
    assert_eq!(basket_ranks_of(&[7, 7, 7, 6], 1), [0, 0, 0, 1]);
    assert_eq!(basket_ranks_of(&[(1 << 53) - 1, 0], u64::MAX), [0, 0]);
    assert!(basket_ranks_of(&[], 1_000).is_empty());
}

#[test]
fn a_late_event_joins_two_baskets_and_a_repeated_touch_splits_one() {
    let ranks = |events: &[OracleEvent]| {
        let history = history_of_u(events, &without_expiry(), 20_000);
        let names: Vec<String> = history.iter().map(|(item, ..)| item.clone()).collect();
        names.into_iter().zip(basket_ranks(&history, &without_expiry())).collect::<Vec<_>>()
    };
    let expected = |ranks: &[(&str, usize)]| {
        ranks.iter().map(|(item, rank)| ((*item).to_owned(), *rank)).collect::<Vec<(String, usize)>>()
    };
    // 1500 apart.
    let mut events = vec![ev("u", "p1", 1, 10_000), ev("u", "p2", 1, 8_500)];
    assert_eq!(ranks(&events), expected(&[("p1", 0), ("p2", 1)]));
    // 700 and 800 apart.
    events.push(ev("u", "p3", 1, 9_300));
    assert_eq!(ranks(&events), expected(&[("p1", 0), ("p3", 0), ("p2", 0)]));
    // Its last touch counts: p3 is the newest, and p1 and p2 are 1500 apart again.
    events.push(ev("u", "p3", 1, 20_000));
    assert_eq!(ranks(&events), expected(&[("p3", 0), ("p1", 1), ("p2", 2)]));
}

/// ann has p1 at level 2 and p2 at level 3, bob has p1 at level 1.
fn ann_and_bob() -> Vec<OracleEvent> {
    vec![ev("ann", "p1", 2, 1_000), ev("ann", "p2", 3, 2_000), ev("bob", "p1", 1, 3_000)]
}

#[test]
fn the_lists_of_two_users_equal_the_hand_computed_ones() {
    let events = ann_and_bob();
    let params = items_only();
    let history = history(&events, &params, 3_000);
    // N_1 = 2 + 1, N_2 = 3. ann touched them within a minute: C_12 = 2 * min(2, 3).
    assert_eq!(popularity(&history), BTreeMap::from([("p1", 3), ("p2", 3)]));
    let pairs = cooccurrence(&history, &params);
    assert_eq!((pairs["p1"]["p2"], pairs["p2"]["p1"]), (4, 4));
    // q(4) = 8. D = 2 * (3 + 20) and 256 * log2(46) = 1414.03, so q_12(46) = (1414 + 21) / 64 = 22.
    // v = floor(0.5 + 1024 * 2^((16 - 22 - 22) / 8)) = floor(0.5 + 90.51) = 91.
    let similar = similar_items(&history, &Eligible::everything(), &params);
    assert_eq!(similar["p1"], [("p2".to_owned(), 91)]);
    assert_eq!(similar["p2"], [("p1".to_owned(), 91)]);
    // ann's touches are a second apart, so p1 is in the second basket: 3 * 8 and 2 * 4.
    assert_eq!(weights(&profile(&history["ann"], &params)), [("p2", 24), ("p1", 8)]);
    // bob: p = 1 * 8, score = 8 * 91 = 728, times the weight 2. ann has both items in her history.
    let expected = BTreeMap::from([("bob".to_owned(), vec![("p2".to_owned(), 1_456)])]);
    assert_eq!(lists(&events, &params, 3_000), expected);
    // A weight of 0 disables the source.
    assert!(lists(&events, &Params { items_weight: 0, ..params }, 3_000).is_empty());
}

#[test]
fn the_other_measures_equal_the_hand_computed_values() {
    let history = history(&ann_and_bob(), &without_expiry(), 3_000);
    let of_p1 = |similarity: Measure, shrink| {
        similar_items(&history, &Eligible::everything(), &Params { similarity, shrink, ..without_expiry() })
            .get("p1")
            .map(|row| row[0].clone())
    };
    let p2 = |v| Some(("p2".to_owned(), v));
    assert_eq!(of_p1(Measure::Count, 20), p2(4), "C_12 = 4");
    // q(4) = 8 and q_12(46) = 22 as above, so a = b = 14. 1 / (2 * 2^(14 / 4) - 1) = 0.0463, times 1024 is 47.4.
    assert_eq!(of_p1(Measure::Jaccard, 20), p2(47));
    // 256 * log2(6) = 661.8, so q_12(6) = (661 + 21) / 64 = 10 and a = b = 2. 1 / (2 * 2^(2 / 4) - 1) = 0.547.
    assert_eq!(of_p1(Measure::Jaccard, 0), p2(560));
    // The highest level of ann is 3 and that of bob 1, so T = m = 8. c = 4 and n_1 = n_2 = 2^(10 / 4), so c m = 32 =
    // n_1 n_2: as often as by chance, but p rounds n down.
    assert_eq!(population(&history), 8);
    assert_eq!(of_p1(Measure::Llr, 20), p2(1));
}

#[test]
fn a_pair_counts_twice_if_its_last_touches_are_near() {
    let count = |events: &[OracleEvent], near| {
        let params = Params { near, ..without_expiry() };
        cooccurrence(&history(events, &params, 100_000), &params)["p1"]["p2"]
    };
    // 1000 apart, min(2, 3) = 2.
    let ann = [ev("ann", "p1", 2, 1_000), ev("ann", "p2", 3, 2_000)];
    assert_eq!([0, 1_000, 1_001, u64::MAX].map(|near| count(&ann, near)), [2, 2, 4, 4]);
    // The first touches are near, the last ones are not.
    let again = [ann.to_vec(), vec![ev("ann", "p1", 1, 5_000)]].concat();
    assert_eq!([1_001, 3_000, 3_001].map(|near| count(&again, near)), [2, 2, 4]);
    // The touches of two users: 2 * 2 + min(5, 4).
    let two = [ann.to_vec(), vec![ev("cid", "p2", 5, 7_000), ev("cid", "p1", 4, 9_000)]].concat();
    assert_eq!(count(&two, 1_500), 8);
    // With 0 not even equal times are near.
    let at_once = [ev("ann", "p1", 2, 1_000), ev("ann", "p2", 3, 1_000)];
    assert_eq!([0, 1].map(|near| count(&at_once, near)), [2, 4]);
}

#[test]
fn items_that_are_always_touched_together_have_a_similarity_of_1() {
    // Two users at level 2: N_1 = N_2 = 4 and D = 8 without shrinking. C_12 = 8 if they are near, else 4.
    let events = ["ann", "bob"].map(|user| [ev(user, "p1", 2, 1_000), ev(user, "p2", 2, 2_000)]).concat();
    let v = |similarity, near| {
        let params = Params { similarity, near, shrink: 0, ..without_expiry() };
        similar_items(&history(&events, &params, 2_000), &Eligible::everything(), &params)["p1"][0].1
    };
    assert_eq!([1_001, 1_000].map(|near| v(Measure::Cosine, near)), [1_024, 512]);
    // 4 / (8 + 8 - 4) = 1/3, times 1024 is 341.3.
    assert_eq!([1_001, 1_000].map(|near| v(Measure::Jaccard, near)), [1_024, 341]);
}

#[test]
fn log_likelihood_ratios_equal_published_values() {
    for (table, expected) in
        [([110, 2_442, 111, 29_114], 270.72), ([29, 13, 123, 31_612], 263.90), ([9, 12, 429, 31_327], 48.94)]
    {
        let [both, one, other, neither] = table.map(|count: u64| count << 16);
        let rank = llr_rank(both, both + one, both + other, both + one + other + neither).unwrap();
        let ratio = f64::from(u32::try_from(rank).unwrap()) * std::f64::consts::LN_2 / 8.0;
        assert!(ratio <= expected + 0.005 && ratio > expected - 0.1, "{ratio}, published {expected}");
    }
    assert_eq!(llr_rank(1 << 16, 10 << 16, 10 << 16, 100 << 16), None, "as often as by chance");
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn power_and_log48_are_exact_floors() {
    for s in 1..=16 {
        for n in 0..=40 * i64::from(s) {
            let (p, float) = (power(n, s), (16.0 + n as f64 / f64::from(s)).exp2());
            assert!((p as f64 - float).abs() <= 1.0 + float * 1e-12, "n {n}, s {s}: {p}, {float}");
        }
        assert_eq!([0, i64::from(s), 40 * i64::from(s)].map(|n| power(n, s)), [1 << 16, 1 << 17, 1 << 56]);
    }
    for x in (1..3_000).chain((20..57).map(|bits| (1 << bits) + 12_345)) {
        let (log, float) = (log48(x), (x as f64).log2() * 48_f64.exp2());
        assert!((log as f64 - float).abs() <= 2.0 + float * 1e-14, "{x}: {log}, {float}");
    }
    assert_eq!(log48(1 << 20), 20 << 48);
}

#[test]
fn popularity_and_cooccurrence_include_users_outside_the_audience() {
    // At 1,802,500 ann has left the audience (2,000 + 30 min), bob has not. His list is unchanged.
    let without_ann = lists(&ann_and_bob(), &items_only(), 1_802_500);
    assert_eq!(without_ann["bob"], [("p2".to_owned(), 1_456)]);
    assert!(lists(&ann_and_bob(), &items_only(), 1_803_000).is_empty(), "bob has left the audience");
}

/// The `p_ui` of a user who touched items at level 3, so many milliseconds apart.
fn weights_of(items: u64, gap: u64, params: &Params) -> Vec<u64> {
    let events: Vec<OracleEvent> = (0..items).map(|n| ev("u", &format!("i{n:02}"), 3, 100_000 - gap * n)).collect();
    let profile = profile(&history_of_u(&events, params, 100_000), params);
    profile.iter().map(ProfileEntry::weight).collect()
}

#[test]
fn profile_weights_halve_at_each_stair() {
    let weights =
        |stairs: &[usize]| weights_of(20, 1, &Params { basket: 0, stairs: stairs.to_vec(), ..without_expiry() });
    let mut expected = vec![24, 24, 12, 12, 6, 6, 6, 6];
    expected.extend([3; 8]);
    assert_eq!(weights(&[2, 4, 8, 16]), expected);
    assert_eq!(weights(&[1]), [3]);
    assert_eq!(weights(&[1, 3, 4]), [12, 6, 6, 3]);
}

#[test]
fn the_items_of_a_basket_weigh_the_same_and_the_length_counts_items() {
    // The default stairs 1, 2, 4, 24 weigh 8, 4, 2, 1.
    let defaults = without_expiry();
    let mut each_its_own = vec![24, 12, 6, 6];
    each_its_own.extend([3; 20]);
    assert_eq!(weights_of(30, 1_000, &defaults), each_its_own);
    assert_eq!(weights_of(30, 999, &defaults), [24; 24], "one basket, but only 24 items");
    // Two in each basket: the gaps are 500 and 1500.
    let events = [10_000, 9_500, 8_000, 7_500, 6_000, 5_500].into_iter().zip(1..);
    let events: Vec<OracleEvent> = events.map(|(at, n)| ev("u", &format!("p{n}"), n, at)).collect();
    let two_each = profile(&history_of_u(&events, &defaults, 10_000), &defaults);
    let expected = [("p1", 8), ("p2", 2 * 8), ("p3", 3 * 4), ("p4", 4 * 4), ("p5", 5 * 2), ("p6", 6 * 2)];
    assert_eq!(weights(&two_each), expected);
    // The history ends before the stairs.
    assert_eq!(weights_of(30, 1_000, &Params { history: 3, ..defaults }), [24, 12, 6]);
}

#[test]
fn pairs_below_min_cooccurrence_are_not_similar() {
    let kept = |min_cooccurrence| {
        let params = Params { min_cooccurrence, ..without_expiry() };
        similar_items(&history(&ann_and_bob(), &params, 3_000), &Eligible::everything(), &params).len()
    };
    assert_eq!([1, 4, 5].map(kept), [2, 2, 0], "C_12 = 4");
}

/// Three users have p1 and one other item each, bob has p1 only.
fn pairs_with_p1() -> Vec<OracleEvent> {
    let mut events = vec![ev("bob", "p1", 1, 100)];
    for (user, item) in [("a", "p2"), ("b", "p3"), ("c", "p4")] {
        events.extend([ev(user, "p1", 1, 10), ev(user, item, 1, 20)]);
    }
    events
}

#[test]
fn neighbours_are_ranked_by_similarity_then_id64_and_truncated() {
    // D = 2 * (1 + 20) and 256 * log2(42) = 1380.43, 1380 = 21 * 64 + 36. Of the phases 21, 10 and 56 with p1 only that
    // of p4 gives q = 22. So p3 and p2 tie and are ordered by id64, and p4 is last.
    let similar_to_p1 = |neighbours| {
        let params = Params { neighbours, ..without_expiry() };
        let similar = similar_items(&history(&pairs_with_p1(), &params, 100), &Eligible::everything(), &params);
        similar["p1"].iter().map(|(item, _)| item.clone()).collect::<Vec<_>>()
    };
    assert_eq!(similar_to_p1(30), ["p3", "p2", "p4"]);
    assert_eq!(similar_to_p1(1), ["p3"]);
    // "Kept as similar" is not symmetric: p2 keeps p1, but p1 does not keep p2, so bob's list has no p2.
    let params = Params { neighbours: 1, ..without_expiry() };
    let similar = similar_items(&history(&pairs_with_p1(), &params, 100), &Eligible::everything(), &params);
    assert_eq!(similar["p2"][0].0, "p1");
    assert_eq!(names(&lists(&pairs_with_p1(), &params, 100)["bob"]), ["p3"]);
}

#[test]
fn lists_are_truncated_to_k() {
    let list = |k| lists(&pairs_with_p1(), &Params { k, ..without_expiry() }, 100)["bob"].clone();
    assert_eq!(names(&list(10)), ["p3", "p2", "p4"]);
    assert_eq!(names(&list(2)), ["p3", "p2"]);
    assert_eq!(list(10)[0].1, list(10)[1].1, "equal scores are ordered by id64");
}

#[test]
fn an_item_beyond_the_profile_is_not_recommended() {
    let params = Params { stairs: vec![1], ..without_expiry() };
    let mut events = pairs_with_p1();
    events.push(ev("bob", "p2", 1, 50));
    assert_eq!(basket_ranks(&history(&events, &params, 100)["bob"], &params), [0, 0]);
    assert_eq!(names(&lists(&events, &params, 100)["bob"]), ["p3", "p4"], "p2 is in the history, at rank 1");
}

#[test]
fn a_displaced_item_can_be_recommended() {
    let params = Params { history: 2, ..without_expiry() };
    let mut events = pairs_with_p1();
    events.extend([ev("bob", "p2", 1, 50), ev("bob", "p9", 1, 60)]);
    assert_eq!(names(&lists(&events, &params, 100)["bob"]), ["p3", "p2", "p4"]);
}

/// Events of few users and items within a short time, so that borders are hit often.
fn small_log() -> impl Strategy<Value = Vec<OracleEvent>> {
    let event = (0..5_u8, 0..7_u8, 1..=6_u8, 0..60_u64)
        .prop_map(|(user, item, level, ts)| ev(&format!("u{user}"), &format!("i{item}"), level, ts));
    proptest::collection::vec(event, 0..40)
}

/// Small limits for small logs.
fn small_limits() -> Params {
    Params {
        history: 3,
        neighbours: 3,
        k: 2,
        retention: 40,
        audience: Some(15),
        near: 10,
        basket: 5,
        stairs: vec![1, 2],
        ..Params::default()
    }
}

proptest! {
    #[test]
    fn lists_do_not_depend_on_order_or_duplicates(
        (log, shuffled) in small_log().prop_flat_map(|log| {
            let twice = [log.clone(), log.clone()].concat();
            (Just(log), Just(twice).prop_shuffle())
        }),
        t in 0..120_u64,
    ) {
        prop_assert_eq!(lists(&log, &small_limits(), t), lists(&shuffled, &small_limits(), t));
    }

    /// Counts and shared weights are not above what they are compared with, so no similarity is cut off at 1024.
    #[test]
    fn no_similarity_exceeds_1(log in small_log(), near in 0..60_u64, basket in 0..20_u64, t in 0..120_u64) {
        let params = Params { basket, near, ..small_limits() };
        let history = history(&log, &params, t);
        let popularity = popularity(&history);
        for (i, row) in cooccurrence(&history, &params) {
            for (j, count) in row {
                prop_assert!(count <= 2 * popularity[i].min(popularity[j]), "{} and {}", i, j);
            }
        }
        let (samples, activity) = (samples(&history, &params), activity(&history, &params));
        for (u, interactions) in &history {
            let profile = profile(interactions, &params);
            for (v, w) in shared(&profile, &samples) {
                prop_assert!(w <= activity[v] && w <= profile_weight(&profile), "{} and {}", u, v);
            }
        }
    }

    #[test]
    fn the_history_holds_the_most_recently_touched_items(log in small_log(), t in 0..120_u64) {
        let unbounded = history(&log, &Params { history: usize::MAX, ..small_limits() }, t);
        let bounded = history(&log, &small_limits(), t);
        prop_assert_eq!(unbounded.len(), bounded.len());
        for (user, all) in unbounded {
            let newest: Vec<(&str, u64)> = all.iter().take(3).map(|(item, _, at)| (item.as_str(), *at)).collect();
            let kept: Vec<(&str, u64)> = bounded[&user].iter().map(|(item, _, at)| (item.as_str(), *at)).collect();
            prop_assert_eq!(newest, kept);
        }
    }

    #[test]
    fn the_changes_add_up_to_the_final_lists(mut log in small_log(), chunk in 1..8_usize) {
        log.sort_by_key(|event| event.ts);
        let ticks: Vec<(u64, Vec<OracleEvent>)> =
            log.chunks(chunk).map(|events| (events.last().unwrap().ts, events.to_vec())).collect();
        let mut current: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in changes(&ticks, &small_limits()) {
            let items: Vec<String> = record.items.into_iter().map(|(item, _)| item).collect();
            let before = current.insert(record.user, items.clone()).unwrap_or_default();
            prop_assert_ne!(&before, &items);
            prop_assert!(record.entered.iter().all(|item| items.contains(item) && !before.contains(item)));
            prop_assert!(record.left.iter().all(|item| before.contains(item) && !items.contains(item)));
        }
        current.retain(|_, items| !items.is_empty());
        let last = log.last().map_or(0, |event| event.ts);
        prop_assert_eq!(current, without_scores(lists(&log, &small_limits(), last)));
    }
}
