//! Retractions, skips and what they keep out. The id64s are in the order p3 < p5 < p4 < p1 < p2.

use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::catalogue::{listed, record, text, with_a_catalogue};
use super::{
    ann_and_bob, ev, history_of_u, interactions, items_only, names, pairs_with_p1, small_limits, without_expiry,
};
use crate::support::graph::Tick;
use crate::support::logs::{log_of_skips, params, skipped, ticks_that_take_back};
use crate::support::oracle::catalogue::{Eligible, OracleItemRecord};
use crate::support::oracle::changes::{OracleChange, changes};
use crate::support::oracle::taking_back::{SKIPS, capped_level, in_force, kept_out};
use crate::support::oracle::trending::{self, RoomEvent, Trending};
use crate::support::oracle::users::{activity, samples};
use crate::support::oracle::{
    OracleEffect, OracleEvent, Params, ProfileEntry, World, audience, cooccurrence, history, lists, popularity, profile,
};

pub(super) fn unlike(user: &str, item: &str, of: u8, leaves: u8, ts: u64) -> OracleEvent {
    OracleEvent { effect: OracleEffect::Retracts { of, leaves }, ..ev(user, item, 1, ts) }
}

pub(super) fn skip(user: &str, item: &str, ts: u64) -> OracleEvent {
    OracleEvent { effect: OracleEffect::Skips, ..ev(user, item, 1, ts) }
}

pub(super) fn attend(user: &str, item: &str, ts: u64) -> OracleEvent {
    OracleEvent { effect: OracleEffect::Attends, ..ev(user, item, 1, ts) }
}

/// The history of u, whatever the order of the events.
fn of_u(events: &[OracleEvent], params: &Params, t: u64) -> Vec<(String, u8, u64)> {
    let backwards: Vec<OracleEvent> = events.iter().rev().cloned().collect();
    let found = history_of_u(events, params, t);
    assert_eq!(history_of_u(&[&backwards[..], events].concat(), params, t), found);
    found
}

/// The level with which u has p1, with this event of its own at 10 and these retractions.
fn level_of_p1(own: u8, retractions: &[OracleEvent]) -> Option<u8> {
    let events = [&[ev("u", "p1", own, 10)], retractions].concat();
    of_u(&events, &without_expiry(), 50).first().map(|(_, level, _)| *level)
}

/// The items that are kept out of the list of u.
fn kept_out_of_u(events: &[OracleEvent], params: &Params, t: u64) -> Vec<String> {
    kept_out(events, params, t).remove("u").unwrap_or_default().into_iter().collect()
}

#[test]
fn a_retraction_caps_the_events_before_it_up_to_its_level() {
    let of_like = |leaves, ts| [unlike("u", "p1", 4, leaves, ts)];
    assert_eq!([1, 3, 4].map(|own| level_of_p1(own, &of_like(0, 20))), [None, None, None]);
    assert_eq!([5, 6].map(|own| level_of_p1(own, &of_like(0, 20))), [Some(5), Some(6)], "above `of`");
    assert_eq!([1, 2, 3, 4, 5].map(|own| level_of_p1(own, &of_like(2, 20)).unwrap()), [1, 2, 2, 2, 5]);
    // Its own `ts` is not above that of an event of the same millisecond.
    assert_eq!([9, 10, 11].map(|ts| level_of_p1(4, &of_like(1, ts))), [Some(4), Some(1), Some(1)]);
    // Of `"*"`.
    assert_eq!(level_of_p1(15, &[unlike("u", "p1", 15, 0, 20)]), None);
    // Of another item, another user, or the future.
    assert_eq!(level_of_p1(4, &[unlike("u", "p2", 15, 0, 20)]), Some(4));
    assert_eq!(level_of_p1(4, &[unlike("v", "p1", 15, 0, 20)]), Some(4));
    assert_eq!([50, 51].map(|ts| level_of_p1(4, &of_like(0, ts))), [None, Some(4)]);
    // What comes after it counts with its own level.
    let again = [ev("u", "p1", 4, 10), unlike("u", "p1", 4, 1, 20), ev("u", "p1", 3, 21)];
    assert_eq!(of_u(&again, &without_expiry(), 50), interactions(&[("p1", 3, 21)]));
}

#[test]
fn where_several_cap_an_event_the_lowest_holds() {
    let two = [unlike("u", "p1", 15, 3, 20), unlike("u", "p1", 4, 1, 30)];
    assert_eq!([1, 2, 4, 5, 9].map(|own| level_of_p1(own, &two).unwrap()), [1, 1, 1, 3, 3]);
    // Not the newest.
    let two = [unlike("u", "p1", 4, 0, 20), unlike("u", "p1", 15, 3, 30)];
    assert_eq!([4, 5].map(|own| level_of_p1(own, &two)), [None, Some(3)]);
}

#[test]
fn watches_without_a_level_and_skips_cap_nothing() {
    let others = [skip("u", "p1", 20), attend("u", "p1", 30)];
    assert_eq!(level_of_p1(4, &others), Some(4));
    assert_eq!(of_u(&others, &without_expiry(), 50), []);
    assert!(history(&others, &without_expiry(), 50).is_empty());
    assert!(others.iter().all(|event| capped_level(event, &[]).is_none()));
}

#[test]
fn an_interaction_is_made_of_the_events_that_are_not_void() {
    let mut events = vec![ev("u", "p1", 6, 10), ev("u", "p2", 1, 15), ev("u", "p1", 2, 20)];
    assert_eq!(of_u(&events, &without_expiry(), 50), interactions(&[("p1", 6, 20), ("p2", 1, 15)]));
    // The event at 20 is void, so p1 was touched before p2.
    events.push(unlike("u", "p1", 2, 0, 30));
    assert_eq!(of_u(&events, &without_expiry(), 50), interactions(&[("p2", 1, 15), ("p1", 6, 10)]));
    // At level 1 it is not void.
    events.push(unlike("u", "p1", 6, 1, 30));
    assert_eq!(of_u(&events, &without_expiry(), 50), interactions(&[("p2", 1, 15), ("p1", 1, 10)]));
    events.push(unlike("u", "p1", 15, 0, 15));
    assert_eq!(of_u(&events, &without_expiry(), 50), interactions(&[("p2", 1, 15)]));
    // All are void: there is no interaction and no user with one.
    events.push(unlike("u", "p2", 15, 0, 15));
    assert!(history(&events, &without_expiry(), 50).is_empty());
}

#[test]
fn void_events_displace_as_if_nothing_had_been_taken_back() {
    let with_history = |history| Params { history, ..without_expiry() };
    let events = [ev("u", "p1", 3, 10), ev("u", "p2", 3, 20), unlike("u", "p2", 15, 0, 30)];
    assert_eq!(of_u(&events, &with_history(1), 50), []);
    assert_eq!(of_u(&events, &with_history(2), 50), interactions(&[("p1", 3, 10)]));
    // touched(p1) is 20, though its interaction was touched at 10: p1 was touched after (p2, 15).
    let events = [ev("u", "p1", 6, 10), ev("u", "p2", 1, 15), ev("u", "p1", 2, 20), unlike("u", "p1", 2, 0, 30)];
    assert_eq!(of_u(&events, &with_history(1), 50), []);
    // p1 and p2 were touched after (p1, 10).
    assert_eq!(of_u(&events, &with_history(2), 50), interactions(&[("p2", 1, 15)]));
    assert_eq!(of_u(&events, &with_history(3), 50), interactions(&[("p2", 1, 15), ("p1", 6, 10)]));
    // A void event is displaced as any other, and a retraction displaces nothing.
    let events = [ev("u", "p1", 3, 10), unlike("u", "p2", 15, 0, 20), skip("u", "p3", 30), attend("u", "p4", 40)];
    assert_eq!(of_u(&events, &with_history(1), 50), interactions(&[("p1", 3, 10)]));
}

#[test]
fn popularity_cooccurrence_samples_activity_and_profiles_have_the_capped_levels() {
    // ann has p1 at level 2 and p2 at level 3, bob has p1 at level 1.
    let of = |retraction| [ann_and_bob(), vec![retraction]].concat();
    let (params, t) = (without_expiry(), 5_000);
    let events = of(unlike("ann", "p2", 4, 1, 4_000));
    let capped = history(&events, &params, t);
    assert_eq!(popularity(&capped), BTreeMap::from([("p1", 3), ("p2", 1)]));
    // 2 * min(2, 1), as they are near.
    assert_eq!(cooccurrence(&capped, &params)["p1"]["p2"], 2);
    assert_eq!(samples(&capped, &params)["p2"], BTreeMap::from([("ann", 1)]));
    assert_eq!(activity(&capped, &params)["ann"], 8 * (2 + 1));
    let weights: Vec<u64> = profile(&capped["ann"], &params).iter().map(ProfileEntry::weight).collect();
    assert_eq!(weights, [8, 2 * 4]);
    let void = history(&of(unlike("ann", "p2", 4, 0, 4_000)), &params, t);
    assert_eq!(popularity(&void), BTreeMap::from([("p1", 3)]));
    assert!(cooccurrence(&void, &params)["p1"].is_empty() && !samples(&void, &params).contains_key("p2"));
    // p1 is the newest of ann's interactions now.
    let weights: Vec<u64> = profile(&void["ann"], &params).iter().map(ProfileEntry::weight).collect();
    assert_eq!(weights, [2 * 8]);
}

/// Item, `of`, `leaves` and `ts` of the retractions of u in force, the oldest first.
fn retractions_of_u(events: &[OracleEvent], history: usize, t: u64) -> Vec<(String, u8, u8, u64)> {
    let params = Params { history, ..without_expiry() };
    let of_u = in_force(events, &params, t).into_iter().filter(|event| event.user == "u");
    let mut found: Vec<_> = of_u
        .map(|event| match event.effect {
            OracleEffect::Retracts { of, leaves } => (event.item, of, leaves, event.ts),
            other => panic!("{other:?}"),
        })
        .collect();
    found.sort_by_key(|(.., ts)| *ts);
    found
}

fn retractions(expected: &[(&str, u8, u8, u64)]) -> Vec<(String, u8, u8, u64)> {
    expected.iter().map(|(item, of, leaves, ts)| ((*item).to_owned(), *of, *leaves, *ts)).collect()
}

#[test]
fn the_newest_retractions_of_a_user_are_in_force() {
    let mut events = vec![unlike("u", "p1", 4, 1, 30), unlike("u", "p2", 15, 0, 20), unlike("v", "p1", 15, 0, 90)];
    let both = retractions(&[("p2", 15, 0, 20), ("p1", 4, 1, 30)]);
    assert_eq!(retractions_of_u(&events, 2, 99), both);
    assert_eq!(retractions_of_u(&events, 1, 99), both[1..]);
    // Equal ones are one, also if they come later.
    events.extend([unlike("u", "p1", 4, 1, 30), unlike("u", "p1", 4, 1, 30)]);
    assert_eq!(retractions_of_u(&events, 2, 99), both);
    // A third one, at its time. A fourth that is older comes too late.
    events.extend([unlike("u", "p3", 6, 0, 40), unlike("u", "p4", 6, 0, 19)]);
    assert_eq!(retractions_of_u(&events, 2, 39), both);
    assert_eq!(retractions_of_u(&events, 2, 40), [&both[1..], &retractions(&[("p3", 6, 0, 40)])].concat());
    assert_eq!(retractions_of_u(&events, 4, 99).len(), 4);
    // Neither events with a level nor skips nor watches displace one.
    events.extend([ev("u", "p5", 1, 50), skip("u", "p5", 50), attend("u", "p5", 50)]);
    let retractions_only: Vec<OracleEvent> =
        events.iter().filter(|event| event.effect != OracleEffect::Skips).cloned().collect();
    assert_eq!(retractions_of_u(&retractions_only, 4, 99).len(), 4);
}

#[test]
fn retractions_of_equal_times_are_in_the_order_of_id64_of_and_leaves() {
    let of_items = ["p1", "p2", "p3", "p4"].map(|item| unlike("u", item, 15, 0, 20));
    let items = |history| {
        let found = retractions_of_u(&of_items, history, 20).into_iter().map(|(item, ..)| item);
        found.collect::<BTreeSet<String>>()
    };
    let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!([items(1), items(2), items(3)], [set(&["p2"]), set(&["p1", "p2"]), set(&["p1", "p2", "p4"])]);
    // The id64 of the item, then `of`, then `leaves`.
    let of_one = [
        unlike("u", "p1", 4, 3, 20),
        unlike("u", "p1", 6, 0, 20),
        unlike("u", "p1", 4, 0, 20),
        unlike("u", "p3", 15, 14, 20),
        unlike("u", "p1", 6, 1, 20),
    ];
    let newest = |history| retractions_of_u(&of_one, history, 20).into_iter().collect::<BTreeSet<_>>();
    let order = [("p1", 6, 1, 20), ("p1", 6, 0, 20), ("p1", 4, 3, 20), ("p1", 4, 0, 20), ("p3", 15, 14, 20)];
    for history in 1..=5 {
        assert_eq!(newest(history), retractions(&order[..history]).into_iter().collect());
    }
}

#[test]
fn what_a_retraction_took_back_counts_again_when_newer_ones_displace_it() {
    let params = Params { history: 1, ..without_expiry() };
    let mut events = vec![ev("u", "p1", 3, 10), unlike("u", "p1", 15, 0, 20)];
    assert_eq!(of_u(&events, &params, 50), []);
    assert_eq!(kept_out_of_u(&events, &params, 50), ["p1"]);
    events.push(unlike("u", "p2", 15, 0, 21));
    assert_eq!(of_u(&events, &params, 50), interactions(&[("p1", 3, 10)]));
    assert_eq!(kept_out_of_u(&events, &params, 50), ["p2"]);
}

#[test]
fn a_retraction_is_in_force_while_it_is_retained() {
    let params = Params { retention: 100, ..items_only() };
    let events = [ev("u", "p1", 3, 10), unlike("u", "p1", 15, 0, 20)];
    assert_eq!(of_u(&events, &params, 19), interactions(&[("p1", 3, 10)]));
    assert!([20, 109, 110, 119].iter().all(|t| of_u(&events, &params, *t).is_empty()));
    let kept_out = [19, 20, 119, 120].map(|t| kept_out_of_u(&events, &params, t).len());
    assert_eq!(kept_out, [0, 1, 1, 0]);
}

#[test]
fn a_skip_is_in_force_from_its_time_for_so_long() {
    let params = Params { skipped: 50, ..without_expiry() };
    let events = [skip("u", "p1", 10)];
    let kept_out = |events: &[OracleEvent], params: &Params, times: [u64; 4]| {
        times.map(|t| kept_out_of_u(events, params, t).len())
    };
    assert_eq!(kept_out(&events, &params, [9, 10, 59, 60]), [0, 1, 1, 0]);
    // A later one prolongs it, a watch does not.
    let again = [&events[..], &[skip("u", "p1", 40), attend("u", "p1", 41)]].concat();
    assert_eq!(kept_out(&again, &params, [39, 60, 89, 90]), [1, 1, 1, 0]);
    // It ends with its retention if that is earlier.
    let short = Params { retention: 30, ..params.clone() };
    assert_eq!(kept_out(&events, &short, [10, 39, 40, 59]), [1, 1, 0, 0]);
    // It is in force at no time, or at all times.
    assert_eq!(kept_out(&events, &Params { skipped: 0, ..params.clone() }, [9, 10, 11, 12]), [0; 4]);
    assert_eq!(kept_out(&events, &Params { skipped: u64::MAX, ..params }, [9, 10, 60, u64::MAX]), [0, 1, 1, 1]);
}

#[test]
fn of_the_skips_of_a_user_64_are_kept() {
    let params = without_expiry();
    let skips = |times: std::ops::Range<u64>| times.map(|n| skip("u", &format!("i{n}"), n)).collect::<Vec<_>>();
    assert_eq!((SKIPS, kept_out_of_u(&skips(0..64), &params, 99).len()), (64, 64));
    let mut events = skips(0..65);
    let kept = kept_out_of_u(&events, &params, 99);
    assert_eq!((kept.len(), kept.contains(&"i0".to_owned())), (64, false));
    // The one of the future does not count yet.
    assert_eq!(kept_out_of_u(&events, &params, 63).len(), 64);
    // Neither repetitions nor other events nor other users count.
    events = [skips(0..64), skips(0..64), vec![unlike("u", "p1", 4, 1, 90), attend("u", "p1", 91)]].concat();
    events.extend([skip("v", "p2", 92), ev("u", "p1", 1, 93)]);
    assert_eq!(kept_out_of_u(&events, &params, 99).len(), 64);
    // Other skips of the same item do.
    let of_one: Vec<OracleEvent> = (10..74).map(|ts| skip("u", "p1", ts)).collect();
    assert_eq!(kept_out_of_u(&[vec![skip("u", "p2", 10)], of_one[1..].to_vec()].concat(), &params, 99), ["p1", "p2"]);
    assert_eq!(kept_out_of_u(&[vec![skip("u", "p2", 9)], of_one].concat(), &params, 99), ["p1"]);
    // Of equal times the one with the smallest id64 is dropped.
    let at_once: Vec<OracleEvent> = skips(0..65).into_iter().map(|event| OracleEvent { ts: 7, ..event }).collect();
    let smallest = at_once.iter().map(|event| &event.item).min_by_key(|item| schema::id64(item)).unwrap();
    let kept = kept_out_of_u(&at_once, &params, 99);
    assert_eq!((kept.len(), kept.contains(smallest)), (64, false));
}

#[test]
fn an_item_is_kept_out_until_a_later_event_counts() {
    let params = Params { history: 2, ..without_expiry() };
    for reason in [unlike("u", "p1", 4, 0, 20), skip("u", "p1", 20)] {
        let with = |more: &[OracleEvent]| {
            kept_out_of_u(&[from_ref(&reason), more].concat(), &params, 99) == [String::from("p1")]
        };
        assert!(with(&[]));
        assert!(with(&[ev("u", "p1", 6, 19)]) && with(&[ev("u", "p1", 6, 20)]), "not later");
        assert!(!with(&[ev("u", "p1", 1, 21)]));
        assert!(with(&[ev("u", "p2", 6, 21)]) && with(&[ev("v", "p1", 6, 21)]), "another item or user");
        assert!(with(&[attend("u", "p1", 21), unlike("u", "p1", 4, 2, 22)]), "not with a level of its own");
        assert!(with(&[ev("u", "p1", 6, 100)]), "of the future");
        // It is displaced, so it does not count.
        assert!(with(&[ev("u", "p1", 1, 21), ev("u", "p2", 1, 30), ev("u", "p3", 1, 31)]));
        // A later retraction makes it void, or leaves something.
        assert!(with(&[ev("u", "p1", 1, 21), unlike("u", "p1", 4, 0, 21)]));
        assert!(!with(&[ev("u", "p1", 2, 21), unlike("u", "p1", 4, 1, 21)]));
        // A later reason is not ended by what came before it.
        assert!(with(&[ev("u", "p1", 1, 21), skip("u", "p1", 22)]));
    }
    // A retraction that leaves something keeps nothing out.
    assert!(kept_out_of_u(&[unlike("u", "p1", 4, 1, 20)], &params, 99).is_empty());
}

/// bob's list at 100, with these events of his.
fn list_of_bob(more: &[OracleEvent], params: &Params) -> Vec<String> {
    let events = [&pairs_with_p1()[..], more].concat();
    let list = lists(&events, params, 100).remove("bob").unwrap_or_default();
    names(&list).into_iter().map(str::to_owned).collect()
}

#[test]
fn what_is_kept_out_is_no_candidate() {
    let params = without_expiry();
    assert_eq!(list_of_bob(&[], &params), ["p3", "p2", "p4"]);
    assert_eq!(list_of_bob(&[unlike("bob", "p3", 4, 0, 50)], &params), ["p2", "p4"]);
    assert_eq!(list_of_bob(&[skip("bob", "p2", 50)], &params), ["p3", "p4"]);
    assert_eq!(list_of_bob(&[skip("bob", "p2", 50)], &Params { k: 2, ..params.clone() }), ["p3", "p4"]);
    // What others do, and what is left, keeps nothing out.
    let nothing = [skip("ann", "p2", 50), unlike("bob", "p3", 4, 1, 50), attend("bob", "p4", 50)];
    assert_eq!(list_of_bob(&nothing, &params), ["p3", "p2", "p4"]);
    // An item that is taken back is not recommended, although it is not in the history any more.
    let taken_back = [ev("bob", "p3", 2, 40), unlike("bob", "p3", 2, 0, 50)];
    assert_eq!(list_of_bob(&taken_back, &params), ["p2", "p4"]);
    // It may still say something to others: a had p2, and c had p4.
    assert_eq!(list_of_bob(&[unlike("a", "p2", 15, 0, 50)], &params), ["p3", "p4"]);
    // Without p1 bob has no list.
    assert!(list_of_bob(&[unlike("bob", "p1", 15, 0, 100)], &params).is_empty());
}

#[test]
fn the_source_users_does_not_recommend_what_is_kept_out() {
    let params = Params { items_weight: 0, users_weight: 1, ..without_expiry() };
    let all: BTreeSet<String> = list_of_bob(&[], &params).into_iter().collect();
    assert_eq!(all.len(), 3);
    let without_p3: BTreeSet<String> = list_of_bob(&[skip("bob", "p3", 50)], &params).into_iter().collect();
    assert_eq!(all.difference(&without_p3).collect::<Vec<_>>(), ["p3"]);
}

#[test]
fn what_is_kept_out_closes_its_group() {
    let params = with_a_catalogue(without_expiry());
    let group = |item| record(item, 0, &[("group", text("g"))]);
    let mut records: Vec<OracleItemRecord> = (1..6).map(|n| listed(&format!("p{n}"), 0)).collect();
    records.extend([group("p3"), group("p2")]);
    let of = |more: &[OracleEvent]| {
        let events = [&pairs_with_p1()[..], more].concat();
        let list = lists(World { events: &events, records: &records, controls: &[], ended: false }, &params, 100);
        names(&list["bob"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(&[]), ["p3", "p4"]);
    // Neither the item itself nor the other one of the group, whichever is the better.
    assert_eq!(of(&[skip("bob", "p3", 50)]), ["p4"]);
    assert_eq!(of(&[skip("bob", "p2", 50)]), ["p4"]);
    assert_eq!(of(&[unlike("bob", "p2", 15, 0, 50)]), ["p4"]);
    assert_eq!(of(&[unlike("bob", "p2", 15, 1, 50)]), ["p3", "p4"]);
    // p4 is alone.
    assert_eq!(of(&[skip("bob", "p4", 50)]), ["p3"]);
}

#[test]
fn every_event_keeps_its_user_in_the_audience() {
    let params = Params { retention: 100, audience: Some(40), ..Params::default() };
    let is_in = |events: &[OracleEvent], params: &Params, t| {
        let history = history(events, params, t);
        audience(events, &history, params, t).contains("u")
    };
    let first = ev("u", "p1", 3, 10);
    let later = [
        attend("u", "p2", 45),
        skip("u", "p2", 45),
        unlike("u", "p1", 4, 1, 45),
        unlike("u", "p1", 4, 0, 45),
        ev("u", "p2", 1, 45),
    ];
    for later in later {
        let events = [first.clone(), ev("u", "p3", 1, 10), later.clone()];
        assert_eq!([44, 84, 85].map(|t| is_in(&events, &params, t)), [true, true, false], "{later:?}");
        // Alone it does if it makes an interaction.
        let counts = later.level().is_some();
        assert_eq!([44, 45, 84, 85].map(|t| is_in(from_ref(&later), &params, t)), [false, counts, counts, false]);
    }
    // A void event beside an older one that is not, and alone.
    let void = [ev("u", "p1", 3, 45), unlike("u", "p1", 4, 0, 45)];
    let with_another = [ev("u", "p2", 3, 10), void[0].clone(), void[1].clone()];
    assert_eq!([84, 85].map(|t| is_in(&with_another, &params, t)), [true, false]);
    assert!(!is_in(&void, &params, 84));
    // With "all" an interaction is enough.
    let all = Params { audience: None, ..params };
    assert!(is_in(&void[..1], &all, 50) && !is_in(&void, &all, 50));
    assert!(!is_in(&[attend("u", "p1", 45), skip("u", "p1", 46)], &all, 50));
    assert!(is_in(&[first, attend("u", "p1", 45)], &all, 109));
}

#[test]
fn trending_lists_know_the_levels_of_the_events_only() {
    let trending = Trending { k: 3, bucket: 100, buckets: 3 };
    let log = [ev("ann", "p1", 2, 110), ev("bob", "p2", 3, 120), ev("bob", "p1", 4, 130)];
    let in_room = |events: &[OracleEvent]| -> Vec<RoomEvent> {
        events.iter().map(|event| (event.clone(), Some("r".to_owned()))).collect()
    };
    let more = [
        unlike("ann", "p1", 15, 0, 140),
        unlike("bob", "p1", 6, 2, 150),
        skip("bob", "p2", 160),
        attend("ann", "p3", 170),
        unlike("cid", "p4", 15, 0, 180),
    ];
    let lists = |events: &[OracleEvent]| trending::lists(&in_room(events), &Eligible::everything(), trending, 200);
    let expected = lists(&log);
    assert_eq!(expected.len(), 2);
    assert!(expected.values().all(|list| *list == [("p1".to_owned(), 4 * 6), ("p2".to_owned(), 4 * 3)]));
    assert_eq!(lists(&[&log[..], &more].concat()), expected);
    assert!(lists(&more).is_empty());
}

/// The ticks of the changes of a user, with the lists.
fn brief(records: &[OracleChange], user: &str) -> Vec<(u64, String)> {
    let of_user = records.iter().filter(|record| record.user == user);
    of_user.map(|record| (record.at, names(&record.items).join(" "))).collect()
}

#[test]
fn the_end_of_a_skip_takes_effect_at_its_own_millisecond() {
    let params = Params { skipped: 500, ..without_expiry() };
    let mut log: Vec<(u64, Vec<OracleEvent>)> = vec![(100, pairs_with_p1())];
    log.extend([(200, vec![skip("bob", "p3", 200)]), (10_000, Vec::new())]);
    let expected = |lists: &[(u64, &str)]| {
        lists.iter().map(|(at, list)| (*at, (*list).to_owned())).collect::<Vec<(u64, String)>>()
    };
    let all = "p3 p2 p4";
    assert_eq!(brief(&changes(&log, &params), "bob"), expected(&[(100, all), (200, "p2 p4"), (700, all)]));
    // It is no action: it shows at the next boundary. Those of bob are 2700 and 9100.
    let every_6400 = Params { refresh: 6_400, ..params.clone() };
    assert_eq!(brief(&changes(&log, &every_6400), "bob"), expected(&[(100, all), (200, "p2 p4"), (2_700, all)]));
    // It ends in a boundary, just after one, or with what is retained.
    let of_length = |skipped| brief(&changes(&log, &Params { skipped, ..every_6400.clone() }), "bob")[2].0;
    assert_eq!([2_500, 2_501].map(of_length), [2_700, 9_100]);
    let retained = Params { retention: 3_000, audience: Some(3_000), ..params };
    assert_eq!(brief(&changes(&log[..2], &retained), "bob").len(), 2);
    // It is over when it arrives.
    log[1].0 = 700;
    assert_eq!(brief(&changes(&log, &every_6400), "bob"), expected(&[(100, all)]));
}

#[test]
fn a_retraction_ends_with_its_retention() {
    let params = Params { retention: 1_000, audience: None, ..items_only() };
    let log = [
        (100, pairs_with_p1()),
        (200, vec![unlike("bob", "p3", 15, 0, 200)]),
        (
            1_000,
            [&pairs_with_p1()[1..], &[ev("bob", "p1", 1, 0)]]
                .concat()
                .into_iter()
                .map(|event| OracleEvent { ts: event.ts + 980, ..event })
                .collect(),
        ),
        (1_199, Vec::new()),
        (1_300, Vec::new()),
    ];
    let found = brief(&changes(&log, &params), "bob");
    let (last, before) = (found.last().unwrap(), &found[found.len() - 2]);
    assert_eq!((last.0, before.1.contains("p3"), last.1.contains("p3")), (1_200, false, true));
}

/// Logs of all kinds of events.
fn log() -> impl Strategy<Value = Vec<OracleEvent>> {
    let ticks = ticks_that_take_back(60, &[1]);
    ticks.prop_map(|ticks: Vec<Tick>| ticks.into_iter().flat_map(|tick| tick.events).collect())
}

proptest! {
    #[test]
    fn lists_do_not_depend_on_order_or_duplicates_of_what_is_taken_back(
        (log, shuffled) in log().prop_flat_map(|log| {
            let twice = [log.clone(), log.clone()].concat();
            (Just(log), Just(twice).prop_shuffle())
        }),
        skipped in skipped(),
        t in 990..1_200_u64,
    ) {
        let params = Params { skipped, ..small_limits() };
        prop_assert_eq!(lists(&log, &params, t), lists(&shuffled, &params, t));
        prop_assert_eq!(in_force(&log, &params, t), in_force(&shuffled, &params, t));
        prop_assert_eq!(kept_out(&log, &params, t), kept_out(&shuffled, &params, t));
    }

    /// Nothing is taken back with a level that no event has had, and nobody has more in force than is kept.
    #[test]
    fn what_is_in_force_is_bounded(log in log(), params in params(), skipped in skipped(), t in 990..1_200_u64) {
        let params = Params { skipped, ..params };
        let in_force = in_force(&log, &params, t);
        let is_skip = |event: &&OracleEvent| event.effect == OracleEffect::Skips;
        for user in log.iter().map(|event| &event.user).collect::<BTreeSet<_>>() {
            let of_user: Vec<&OracleEvent> = in_force.iter().filter(|event| event.user == *user).collect();
            let skips = of_user.iter().copied().filter(is_skip).count();
            prop_assert!(skips <= SKIPS && of_user.len() - skips <= params.history);
        }
        // No level is above what it is without anything taken back, and no user has items that it had not.
        let own: Vec<OracleEvent> = log.iter().filter(|event| event.level().is_some()).cloned().collect();
        let (all, capped) = (history(&own, &params, t), history(&log, &params, t));
        for (user, interactions) in capped {
            for (item, level, touched) in interactions {
                let found = all[&user].iter().find(|(other, ..)| *other == item).unwrap();
                prop_assert!(level <= found.1 && touched <= found.2);
            }
        }
    }
}

/// What of the rules the random logs reach.
#[derive(Debug, Default)]
struct Reached(BTreeMap<&'static str, usize>);

impl Reached {
    /// Counts a rule if a log reaches it in one of its ticks.
    fn count(&mut self, rule: &'static str, reaches: impl Fn(&Tick, &[OracleEvent]) -> bool, ticks: &[Tick]) {
        let mut arrived = Vec::new();
        let reached = ticks.iter().any(|tick| {
            let reached = reaches(tick, &arrived);
            arrived.extend(tick.events.iter().cloned());
            reached
        });
        *self.0.entry(rule).or_default() += usize::from(reached);
    }
}

fn without(events: &[OracleEvent], is_left_out: impl Fn(&OracleEvent) -> bool) -> Vec<OracleEvent> {
    events.iter().filter(|event| !is_left_out(event)).cloned().collect()
}

fn is_retraction(event: &OracleEvent) -> bool {
    matches!(event.effect, OracleEffect::Retracts { .. })
}

#[test]
fn random_logs_reach_the_rules_often() {
    let mut runner = TestRunner::deterministic();
    let mut reached = Reached::default();
    for _ in 0..300 {
        let ticks = ticks_that_take_back(80, &[1, 7]).new_tree(&mut runner).unwrap().current();
        let (params, skipped) = (params(), skipped()).new_tree(&mut runner).unwrap().current();
        let params = Params { skipped, ..params };
        let mut count = |rule, reaches: &dyn Fn(&Tick, &[OracleEvent]) -> bool| reached.count(rule, reaches, &ticks);
        count("ahead of the clock", &|tick, _| tick.events.iter().any(|event| event.ts > tick.at));
        count("late", &|tick, _| tick.events.iter().any(|event| event.ts + 20 < tick.at));
        count("repeated", &|tick, arrived| tick.events.iter().any(|event| arrived.contains(event)));
        count("void", &|tick, arrived| {
            let interactions = |events: &[OracleEvent]| history(events, &params, tick.at).values().flatten().count();
            interactions(arrived) < interactions(&without(arrived, is_retraction))
        });
        count("capped, not void", &|tick, arrived| {
            let levels = |events: &[OracleEvent]| -> Vec<u64> {
                popularity(&history(events, &params, tick.at)).into_values().collect()
            };
            let (capped, all) = (levels(arrived), levels(&without(arrived, is_retraction)));
            capped.len() == all.len() && capped != all
        });
        count("a retraction that is not in force any more", &|tick, arrived| {
            let is_retained = |event: &OracleEvent| event.ts <= tick.at && event.ts + params.retention > tick.at;
            let in_force = in_force(arrived, &params, tick.at);
            arrived.iter().any(|event| is_retraction(event) && is_retained(event) && !in_force.contains(event))
        });
        for (rule, is_left_out) in [
            ("a skip that changes lists", (|event| event.effect == OracleEffect::Skips) as fn(&OracleEvent) -> bool),
            ("a retraction that changes lists", is_retraction),
        ] {
            count(rule, &|tick, arrived| {
                lists(arrived, &params, tick.at) != lists(&without(arrived, is_left_out), &params, tick.at)
            });
        }
    }
    println!("{reached:?}");
    assert!(reached.0.values().all(|times| *times > 20), "{reached:?}");
}

/// In most logs of skips a list has an item that would be kept out if more skips were kept.
#[test]
fn logs_of_skips_have_more_than_are_kept() {
    let mut runner = TestRunner::deterministic();
    let params = Params { retention: 1_000, audience: None, ..Params::default() };
    let mut reached = 0;
    for _ in 0..40 {
        let log = log_of_skips().new_tree(&mut runner).unwrap().current();
        let t = log.iter().map(|event| event.ts).max().unwrap();
        let lists = lists(&log, &params, t);
        let is_listed = |event: &OracleEvent| {
            let list = lists.get(&event.user);
            event.effect == OracleEffect::Skips && list.is_some_and(|list| names(list).contains(&event.item.as_str()))
        };
        reached += usize::from(log.iter().any(is_listed));
    }
    println!("{reached} of 40");
    assert!(reached > 10);
}
