//! The reasons of the items of a list.

use proptest::prelude::*;

use super::catalogue::{available, listed, with_a_catalogue};
use super::{ann_and_bob, ev, items_only, names, without_expiry};
use crate::support::logs::{diverse_item_records, ids, log, params_of_lists};
use crate::support::oracle::changes::{OracleChange, changes, coalesced_changes};
use crate::support::oracle::evaluations::CoalescedTick;
use crate::support::oracle::measures::Measure;
use crate::support::oracle::reasons::{Reason, ReasonSource, reasons, shown};
use crate::support::oracle::{Basis, OracleEffect, OracleEvent, Params, World, catalogue::CatalogueParams, pools_of};

fn of_item(item: &str, points: i64) -> Reason {
    Reason { source: ReasonSource::Item(item.to_owned()), points }
}

fn of_users(users: usize, points: i64) -> Reason {
    Reason { source: ReasonSource::Users(users), points }
}

/// All reasons of an item of a user at t.
fn of(events: &[OracleEvent], user: &str, item: &str, params: &Params, t: u64) -> Vec<Reason> {
    reasons(&Basis::new(World::from(events), params, t), user, item, params)
}

#[test]
fn the_reasons_of_an_item_equal_the_hand_computed_terms() {
    // As in the tests of lists: 2 * p 8 * v 91, and 1 * w 431 * level 3 of ann. The total is 2749.
    let params = Params::default();
    assert_eq!(of(&ann_and_bob(), "bob", "p2", &params, 3_000), [of_item("p1", 1_456), of_users(1, 1_293)]);
    assert_eq!(of(&ann_and_bob(), "bob", "p2", &items_only(), 3_000), [of_item("p1", 1_456)]);
    // With other weights the users come first. A source without a weight is no reason.
    let weights = |items_weight, users_weight| Params { items_weight, users_weight, ..Params::default() };
    assert_eq!(of(&ann_and_bob(), "bob", "p2", &weights(1, 2), 3_000), [of_users(1, 2_586), of_item("p1", 728)]);
    assert_eq!(of(&ann_and_bob(), "bob", "p2", &weights(0, 2), 3_000), [of_users(1, 2_586)]);
    assert_eq!(of(&ann_and_bob(), "bob", "p2", &weights(0, 0), 3_000), []);
    // bob has no p3, and neither has ann.
    assert_eq!(of(&ann_and_bob(), "bob", "p3", &params, 3_000), []);
    assert_eq!(of(&ann_and_bob(), "eve", "p2", &params, 3_000), []);
}

/// u has p4 and p5, newer than p1. Some users have p2 with one of them.
fn several_items() -> Vec<OracleEvent> {
    let mut events = vec![ev("u", "p1", 2, 1_000), ev("u", "p4", 1, 9_000), ev("u", "p5", 1, 9_000)];
    for (user, item) in [("x", "p4"), ("y", "p5"), ("z", "p1")] {
        events.extend([ev(user, item, 1, 2_000), ev(user, "p2", 1, 2_000)]);
    }
    events
}

/// `v_ij` is the count of the pair: 2 for each of these users. The stairs weigh 8 and 4.
fn counted() -> Params {
    Params { similarity: Measure::Count, ..without_expiry() }
}

#[test]
fn each_item_of_the_profile_is_a_reason_and_ties_are_in_the_order_of_their_ids() {
    // 2 * 8 * 2 of p4 and of p5, and 2 * (2 * 4) * 2 of p1. The ids are in the order p5, p4, p1.
    let all = [of_item("p5", 32), of_item("p4", 32), of_item("p1", 32)];
    assert_eq!(of(&several_items(), "u", "p2", &counted(), 9_000), all);
    // The level of p1 is 1: less.
    let mut events = several_items();
    events[0].effect = OracleEffect::Counts(1);
    assert_eq!(of(&events, "u", "p2", &counted(), 9_000)[2], of_item("p1", 16));
    // With the level 3 it is the largest.
    events[0].effect = OracleEffect::Counts(3);
    assert_eq!(of(&events, "u", "p2", &counted(), 9_000)[0], of_item("p1", 48));
    // An item that is beyond the profile is none.
    let short = Params { stairs: vec![1, 2], ..counted() };
    assert_eq!(of(&several_items(), "u", "p2", &short, 9_000), [of_item("p5", 8), of_item("p4", 8)]);
    // p2 is not kept as similar to p5 if that keeps three others.
    let mut events = several_items();
    events.extend([ev("q", "p5", 9, 2_000), ev("q", "p3", 9, 2_000)]);
    let three = Params { neighbours: 3, ..counted() };
    assert_eq!(of(&events, "u", "p2", &three, 9_000), [of_item("p4", 32), of_item("p1", 32)]);
}

#[test]
fn the_source_users_is_one_reason_and_the_last_of_a_tie() {
    let users_only = Params { items_weight: 0, users_weight: 1, ..counted() };
    let [of_the_users] = &of(&several_items(), "u", "p2", &users_only, 9_000)[..] else { panic!("one") };
    // All three have p2, and nobody else. zoe is similar, as she has p4, but has no p2.
    assert_eq!(of_the_users.source, ReasonSource::Users(3));
    let mut events = several_items();
    events.push(ev("zoe", "p4", 1, 2_000));
    let with_zoe = of(&events, "u", "p2", &users_only, 9_000);
    assert_eq!(with_zoe, std::slice::from_ref(of_the_users));
    // With these weights all terms are equal: 32 times half the points of the users.
    let points = of_the_users.points;
    let equal = Params { items_weight: points, users_weight: 16, ..counted() };
    let expected = [of_item("p5", 16 * points), of_item("p4", 16 * points), of_item("p1", 16 * points)];
    let found = of(&several_items(), "u", "p2", &equal, 9_000);
    assert_eq!(found[..3], expected);
    assert_eq!(found[3..], [of_users(3, 16 * points)]);
    // One more makes them the first.
    let more = Params { items_weight: points, users_weight: 17, ..counted() };
    assert_eq!(of(&several_items(), "u", "p2", &more, 9_000)[0], of_users(3, 17 * points));
}

#[test]
fn at_most_why_are_shown() {
    let all = [of_item("p5", 9), of_item("p4", 8), of_users(3, 7)];
    let of = |why| shown(&all, &Params { why, ..Params::default() });
    assert_eq!([of(0).len(), of(1).len(), of(3).len(), of(4).len()], [0, 1, 3, 3]);
    assert_eq!(of(2), all[..2]);
}

/// The reasons of each item of bob's changes, as points.
fn points_of_bob(records: &[OracleChange]) -> Vec<(u64, Vec<Vec<i64>>)> {
    let points = |why: &Vec<Vec<Reason>>| {
        why.iter().map(|reasons| reasons.iter().map(|reason| reason.points).collect()).collect()
    };
    let of_bob = records.iter().filter(|record| record.user == "bob");
    of_bob.map(|record| (record.at, points(&record.why))).collect()
}

#[test]
fn changes_tell_the_reasons_of_each_item() {
    let mut log: Vec<_> = ann_and_bob().into_iter().map(|event| (event.ts, vec![event])).collect();
    log.push((4_000, vec![ev("ann", "p3", 1, 4_000)]));
    let of = |why| points_of_bob(&changes(&log, &Params { why, ..Params::default() }));
    let [first, second] = &of(100)[..] else { panic!("two changes") };
    assert_eq!(first, &(3_000, vec![vec![1_456, 1_293]]));
    assert_eq!((second.0, second.1.iter().map(Vec::len).collect::<Vec<_>>()), (4_000, vec![2, 2]));
    assert_eq!(of(1)[0], (3_000, vec![vec![1_456]]));
    // Without reasons there are none, not even an empty one of each item.
    assert_eq!(of(0)[0], (3_000, vec![]));
    // An empty list has none.
    log.push((3_000_000, vec![ev("zoe", "p9", 1, 3_000_000)]));
    let emitted = changes(&log, &Params { why: 1, ..Params::default() });
    assert_eq!(points_of_bob(&emitted).last(), Some(&(1_803_000, vec![])));
}

#[test]
fn a_list_that_lost_an_item_has_the_reasons_of_the_evaluation() {
    let params = Params { why: 9, k: 1, refresh: 6_400, retention: 100_000, ..with_a_catalogue(Params::default()) };
    let mut events = ann_and_bob();
    // p3 of cid is worse than p2 of ann.
    events.extend([ev("cid", "p1", 1, 2_500), ev("cid", "p3", 1, 2_500)]);
    let records: Vec<_> = ["p1", "p2", "p3"].map(|item| listed(item, 0)).into();
    let first = CoalescedTick { records, ..CoalescedTick::of_events(3_000, 3_000, events.clone()) };
    // What dan does changes the terms of p3, but bob is not evaluated.
    let dan = CoalescedTick::of_events(3_100, 3_100, vec![ev("dan", "p1", 3, 3_100), ev("dan", "p3", 3, 3_100)]);
    let records = vec![available("p2", 3_200, "sold_out")];
    let lost = CoalescedTick { records, ..CoalescedTick::of_events(3_200, 3_200, Vec::new()) };
    let emitted = coalesced_changes(&[first, dan, lost], &params);
    let of_bob: Vec<_> = emitted.iter().filter(|record| record.user == "bob").collect();
    assert_eq!(of_bob.iter().map(|record| names(&record.items)).collect::<Vec<_>>(), [["p2"], ["p3"]]);
    assert_eq!(of_bob[0].why, [of(&events, "bob", "p2", &without_catalogue(&params), 3_000)]);
    assert_eq!(of_bob[1].why, [of(&events, "bob", "p3", &without_catalogue(&params), 3_000)]);
    assert_eq!(of_bob[1].why[0].iter().map(|reason| reason.points).sum::<i64>(), of_bob[1].items[0].1);
}

fn without_catalogue(params: &Params) -> Params {
    Params { catalogue: None, ..params.clone() }
}

proptest! {
    #[test]
    fn the_reasons_of_an_item_add_up_to_its_total(
        params in params_of_lists(),
        ids in ids(),
        log in log(60),
        records in diverse_item_records(20),
        unknown_is_eligible in any::<bool>(),
        t in 1_000..1_200_u64,
    ) {
        let catalogue = Some(CatalogueParams { unknown_is_eligible, max_items: usize::MAX });
        let params = Params { ids, catalogue, ..params };
        let basis = Basis::new(World { events: &log, records: &records, controls: &[], ended: false }, &params, t);
        for (user, pool) in pools_of(&basis, &params) {
            for (item, total) in pool {
                let reasons = reasons(&basis, &user, &item, &params);
                prop_assert_eq!(reasons.iter().map(|reason| reason.points).sum::<i64>(), total);
                prop_assert!(reasons.iter().all(|reason| reason.points > 0));
                prop_assert!(reasons.is_sorted_by(|a, b| a.points >= b.points));
                let shown = shown(&reasons, &params);
                prop_assert_eq!(&shown[..], &reasons[..params.why.min(reasons.len())]);
            }
        }
    }
}
