//! The oracle against examples computed by hand.
//!
//! The id64s of the names used here are in the order p3 < p5 < p4 < p1 < p2. The phases used are (p1, p2) 21,
//! (p1, p3) 10 and (p3, p4) 50.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use schema::id64;

use crate::support::oracle::changes::{OracleChange, changes};
use crate::support::oracle::exact::{fine_log, floor_log2_times, log48, power, q, q_with_phase, similarity};
use crate::support::oracle::measures::{Measure, llr_rank, population};
use crate::support::oracle::users::{activity, rarity, samples, similar_users};
use crate::support::oracle::{
    OracleEvent, Params, audience, cooccurrence, history, lists, popularity, profiles, similar_items, without_scores,
};

const FOREVER: u64 = u64::MAX;

fn ev(user: &str, item: &str, level: u8, ts: u64) -> OracleEvent {
    OracleEvent { user: user.into(), item: item.into(), level, ts }
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
    let touched = |items: u64| (0..items).map(|n| ev("u", &format!("i{n}"), 1, n)).collect::<Vec<_>>();
    assert_eq!(history_of_u(&touched(50), &without_expiry(), 1_000).len(), 50);
    let full = history_of_u(&touched(51), &without_expiry(), 1_000);
    assert_eq!(full.len(), 50);
    assert!(full.iter().all(|(item, ..)| item != "i0"), "the oldest is displaced");

    let at_once: Vec<OracleEvent> = touched(51).into_iter().map(|event| OracleEvent { ts: 7, ..event }).collect();
    let last = at_once.iter().map(|event| &event.item).max_by_key(|item| id64(item)).unwrap();
    let full = history_of_u(&at_once, &without_expiry(), 1_000);
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

/// ann has p1 at level 2 and p2 at level 3, bob has p1 at level 1.
fn ann_and_bob() -> Vec<OracleEvent> {
    vec![ev("ann", "p1", 2, 1_000), ev("ann", "p2", 3, 2_000), ev("bob", "p1", 1, 3_000)]
}

#[test]
fn the_lists_of_two_users_equal_the_hand_computed_ones() {
    let events = ann_and_bob();
    let params = items_only();
    let history = history(&events, &params, 3_000);
    // N_1 = 2 + 1, N_2 = 3; C_12 = min(2, 3).
    assert_eq!(popularity(&history), BTreeMap::from([("p1", 3), ("p2", 3)]));
    let pairs = cooccurrence(&history);
    assert_eq!((pairs["p1"]["p2"], pairs["p2"]["p1"]), (2, 2));
    // q(2) = 4. 256 * log2(23) = 1158.03, so q_12(3 + 20) = (1158 + 21) / 64 = 18.
    // v = floor(0.5 + 1024 * 2^((8 - 18 - 18) / 8)) = floor(0.5 + 90.51) = 91.
    let similar = similar_items(&history, &params);
    assert_eq!(similar["p1"], [("p2".to_owned(), 91)]);
    assert_eq!(similar["p2"], [("p1".to_owned(), 91)]);
    assert_eq!(profiles(&history, &params)["ann"], [("p2".to_owned(), 24), ("p1".to_owned(), 16)]);
    // bob: p = 1 * 8, score = 8 * 91 = 728, times the weight 4. ann has both items in her history.
    let expected = BTreeMap::from([("bob".to_owned(), vec![("p2".to_owned(), 2_912)])]);
    assert_eq!(lists(&events, &params, 3_000), expected);
    // A weight of 0 disables the source.
    assert!(lists(&events, &Params { items_weight: 0, ..params }, 3_000).is_empty());
}

#[test]
fn the_other_measures_equal_the_hand_computed_values() {
    let history = history(&ann_and_bob(), &without_expiry(), 3_000);
    let of_p1 = |similarity: Measure, shrink| {
        similar_items(&history, &Params { similarity, shrink, ..without_expiry() }).get("p1").map(|row| row[0].clone())
    };
    let p2 = |v| Some(("p2".to_owned(), v));
    assert_eq!(of_p1(Measure::Count, 20), p2(2), "C_12 = 2");
    // q(2) = 4 and q_12(23) = 18 as above, so a = b = 14. 1 / (2 * 2^(14 / 4) - 1) = 0.0463, times 1024 is 47.4.
    assert_eq!(of_p1(Measure::Jaccard, 20), p2(47));
    // 256 * log2(3) = 405.8, so q_12(3) = (405 + 21) / 64 = 6 and a = b = 2. 1 / (2 * 2^(2 / 4) - 1) = 0.547.
    assert_eq!(of_p1(Measure::Jaccard, 0), p2(560));
    // The highest level of ann is 3 and that of bob 1, so m = 4. c = 2 and n_1 = n_2 = 2^(6 / 4), so c m = 8 = n_1 n_2: as
    // often as by chance, but p rounds n down.
    assert_eq!(population(&history), 4);
    assert_eq!(of_p1(Measure::Llr, 20), p2(1));
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
fn a_similar_user_equals_the_hand_computed_one() {
    let events = ann_and_bob();
    let params = Params { items_weight: 0, ..Params::default() };
    let history = history(&events, &params, 3_000);
    // N_1 = N_2 = 3, so f = 32 - 1. id64(user) xor id64(p1) is smaller for ann than for bob.
    assert_eq!([1, 2, 3, 4, 1 << 31, u64::MAX].map(rarity), [32, 31, 31, 30, 1, 1]);
    let sample_of_one = Params { sample: 1, ..params.clone() };
    assert_eq!(samples(&history, &sample_of_one)["p1"], BTreeMap::from([("ann", 2)]));
    assert_eq!(samples(&history, &params)["p1"], BTreeMap::from([("ann", 2), ("bob", 1)]));
    let rarities = BTreeMap::from([("p1", 31), ("p2", 31)]);
    assert_eq!(activity(&history, &rarities), BTreeMap::from([("ann", 5 * 31), ("bob", 31)]));
    // W = min(1, 2) * 31 and q(31) = 19. The phase of (ann, bob) is 45: 256 * log2(155) = 1862.7, so q = (1862 + 45) / 64
    // = 29, and 256 * log2(31) = 1268.3, so q = 20. w = floor(0.5 + 1024 * 2^((38 - 20 - 29) / 8)) = floor(0.5 + 394.8).
    let audience = BTreeSet::from(["ann", "bob"]);
    let similar = similar_users(&history, &audience, &params);
    assert_eq!(similar["bob"], [("ann".to_owned(), 395)]);
    assert_eq!(similar["ann"], [("bob".to_owned(), 395)]);
    // With a sample of one ann has no similar user: the sample is ann, who is skipped and not replaced.
    let similar = similar_users(&history, &audience, &sample_of_one);
    assert_eq!(similar, BTreeMap::from([("bob".to_owned(), vec![("ann".to_owned(), 395)])]));
    // bob: 395 * level 3, and with both sources 4 * 728 more.
    assert_eq!(lists(&events, &params, 3_000)["bob"], [("p2".to_owned(), 1_185)]);
    assert_eq!(lists(&events, &Params::default(), 3_000)["bob"], [("p2".to_owned(), 4_097)]);
    assert!(lists(&events, &Params { users_weight: 0, ..params }, 3_000).is_empty());
}

#[test]
fn similar_users_are_ranked_by_shared_items_then_id64_and_truncated() {
    // cid has the same items as ann; dan has many others besides. By id64 bob < cid < ann < dan.
    let mut events = ann_and_bob();
    events.extend([ev("cid", "p1", 2, 10), ev("cid", "p2", 3, 11), ev("dan", "p1", 2, 12)]);
    events.extend((3..9).map(|n| ev("dan", &format!("p{n}"), 6, 13)));
    let similar_to_ann = |kept: usize| {
        let params = Params { similar_users: kept, ..without_expiry() };
        let similar = similar_users(&history(&events, &params, 3_000), &BTreeSet::from(["ann"]), &params);
        similar["ann"].iter().map(|(user, _)| user.clone()).collect::<Vec<_>>()
    };
    assert_eq!(similar_to_ann(30), ["cid", "bob", "dan"]);
    assert_eq!(similar_to_ann(1), ["cid"]);
}

#[test]
fn popularity_and_cooccurrence_include_users_outside_the_audience() {
    // At 1,802,500 ann has left the audience (2,000 + 30 min), bob has not. His list is unchanged.
    let without_ann = lists(&ann_and_bob(), &items_only(), 1_802_500);
    assert_eq!(without_ann["bob"], [("p2".to_owned(), 2_912)]);
    assert!(lists(&ann_and_bob(), &items_only(), 1_803_000).is_empty(), "bob has left the audience");
}

#[test]
fn profile_weights_halve_at_each_stair() {
    let events: Vec<OracleEvent> = (0..20).map(|n| ev("u", &format!("i{n:02}"), 3, 100 - n)).collect();
    let history = history(&events, &without_expiry(), 100);
    let weights = |stairs: &[usize]| {
        let params = Params { stairs: stairs.to_vec(), ..without_expiry() };
        profiles(&history, &params)["u"].iter().map(|(_, p)| *p).collect::<Vec<_>>()
    };
    let mut expected = vec![24, 24, 12, 12, 6, 6, 6, 6];
    expected.extend([3; 8]);
    assert_eq!(weights(&[2, 4, 8, 16]), expected);
    assert_eq!(weights(&[1]), [3]);
    assert_eq!(weights(&[1, 3, 4]), [12, 6, 6, 3]);
}

#[test]
fn pairs_below_min_cooccurrence_are_not_similar() {
    let kept = |min_cooccurrence| {
        let params = Params { min_cooccurrence, ..without_expiry() };
        similar_items(&history(&ann_and_bob(), &params, 3_000), &params).len()
    };
    assert_eq!([1, 2, 3].map(kept), [2, 2, 0], "C_12 = 2");
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
    // N + 20 = 21 and 256 * log2(21) = 1124.43, 1124 = 17 * 64 + 36. Of the phases 21, 10 and 56 with p1 only that of
    // p4 gives q = 18. So p3 and p2 tie and are ordered by id64, and p4 is last.
    let similar_to_p1 = |neighbours| {
        let params = Params { neighbours, ..without_expiry() };
        let similar = similar_items(&history(&pairs_with_p1(), &params, 100), &params);
        similar["p1"].iter().map(|(item, _)| item.clone()).collect::<Vec<_>>()
    };
    assert_eq!(similar_to_p1(30), ["p3", "p2", "p4"]);
    assert_eq!(similar_to_p1(1), ["p3"]);
    // "Kept as similar" is not symmetric: p2 keeps p1, but p1 does not keep p2, so bob's list has no p2.
    let params = Params { neighbours: 1, ..without_expiry() };
    let similar = similar_items(&history(&pairs_with_p1(), &params, 100), &params);
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
fn an_item_beyond_the_last_stair_is_not_recommended() {
    let params = Params { stairs: vec![1], ..without_expiry() };
    let mut events = pairs_with_p1();
    events.push(ev("bob", "p2", 1, 50));
    assert_eq!(names(&lists(&events, &params, 100)["bob"]), ["p3", "p4"], "p2 is in the history, at rank 1");
}

#[test]
fn a_displaced_item_can_be_recommended() {
    let params = Params { history: 2, ..without_expiry() };
    let mut events = pairs_with_p1();
    events.extend([ev("bob", "p2", 1, 50), ev("bob", "p9", 1, 60)]);
    assert_eq!(names(&lists(&events, &params, 100)["bob"]), ["p3", "p2", "p4"]);
}

/// One tick per event.
fn ticks(events: Vec<OracleEvent>) -> Vec<(u64, Vec<OracleEvent>)> {
    events.into_iter().map(|event| (event.ts, vec![event])).collect()
}

/// A change without its user and scores: at, items, entered, left.
type BriefChange<'r> = (u64, Vec<&'r str>, Vec<&'r str>, Vec<&'r str>);

fn changes_of<'r>(records: &'r [OracleChange], user: &str) -> Vec<BriefChange<'r>> {
    let strs = |names: &'r [String]| names.iter().map(String::as_str).collect();
    records
        .iter()
        .filter(|record| record.user == user)
        .map(|record| (record.at, names(&record.items), strs(&record.entered), strs(&record.left)))
        .collect()
}

#[test]
fn expiry_and_exit_take_effect_at_their_own_millisecond() {
    let mut log = ticks(ann_and_bob());
    log.push((20_000, vec![ev("zoe", "p9", 1, 20_000)]));
    let first = (3_000, vec!["p2"], vec!["p2"], vec![]);

    let params = Params { retention: 10_000, audience: Some(5_000), ..items_only() };
    let emitted = changes(&log, &params);
    assert_eq!(changes_of(&emitted, "bob"), [first.clone(), (8_000, vec![], vec![], vec!["p2"])]);
    assert_eq!(emitted[0].items, [("p2".to_owned(), 2_912)]);
    assert_eq!(emitted.len(), 2, "an empty first list is not emitted");

    // With audience "all" p2 leaves when ann's p1 expires: no user has both items any more.
    let params = Params { audience: None, ..params };
    let emitted = changes(&log, &params);
    assert_eq!(changes_of(&emitted, "bob"), [first.clone(), (11_000, vec![], vec![], vec!["p2"])]);

    // Nothing happens after the last tick.
    assert_eq!(changes_of(&changes(&log[..3], &params), "bob"), [first]);
}

#[test]
fn an_exit_takes_effect_in_the_first_tick_of_its_millisecond() {
    let params = Params { retention: 10_000, audience: Some(5_000), ..items_only() };
    let mut log = ticks(ann_and_bob());
    log.push((7_999, vec![]));
    assert_eq!(changes_of(&changes(&log, &params), "bob").len(), 1, "3000 + 5000 > 7999");
    // bob's exit and return in the same tick emit nothing.
    let mut returns = log.clone();
    returns.push((8_000, vec![ev("bob", "p1", 1, 8_000)]));
    assert_eq!(changes_of(&changes(&returns, &params), "bob").len(), 1);
    // In two ticks of one millisecond they emit two changes: the exit in the first tick, the return in the second.
    log.push((8_000, vec![ev("zoe", "p9", 1, 8_000)]));
    log.push((8_000, vec![ev("bob", "p1", 1, 8_000)]));
    let emitted = changes(&log, &params);
    let lengths: Vec<(u64, usize)> = emitted.iter().map(|record| (record.at, record.items.len())).collect();
    assert_eq!(lengths, [(3_000, 1), (8_000, 0), (8_000, 1)]);
}

#[test]
fn a_future_event_takes_effect_at_its_time() {
    let params = items_only();
    let log = [(2_000, ann_and_bob()), (5_000, vec![])];
    assert_eq!(changes_of(&changes(&log, &params), "bob"), [(3_000, vec!["p2"], vec!["p2"], vec![])]);
}

#[test]
fn a_reordering_is_emitted_and_a_change_of_scores_alone_is_not() {
    let mut log = vec![(100, pairs_with_p1())];
    // Scores change, the items do not.
    log.push((110, vec![ev("bob", "p1", 2, 110)]));
    // C_12 rises to 3: p2 overtakes p3.
    log.push((120, vec![ev("d", "p1", 2, 120), ev("d", "p2", 2, 120)]));
    let emitted = changes(&log, &without_expiry());
    let first = vec!["p3", "p2", "p4"];
    let expected = [(100, first.clone(), first, vec![]), (120, vec!["p2", "p3", "p4"], vec![], vec![])];
    assert_eq!(changes_of(&emitted, "bob"), expected);
}

#[test]
fn entered_and_left_are_in_the_order_of_their_lists() {
    let params = Params { k: 2, ..without_expiry() };
    let mut log = vec![(100, pairs_with_p1())];
    // p4 and p5 come before p3 and p2.
    let heavy_users = ["d", "e"].map(|user| [ev(user, "p1", 6, 110), ev(user, "p4", 6, 110), ev(user, "p5", 6, 110)]);
    log.push((110, heavy_users.concat()));
    let emitted = changes(&log, &params);
    let bob = changes_of(&emitted, "bob");
    assert_eq!(bob[0], (100, vec!["p3", "p2"], vec!["p3", "p2"], vec![]));
    let (at, items, entered, left) = &bob[1];
    assert_eq!((*at, left), (110, &vec!["p3", "p2"]));
    assert_eq!(items, entered);
    assert_eq!(items.len(), 2);
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
