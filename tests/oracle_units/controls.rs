//! Controls: what stands, is void, is paused or is off, and what that does to lists. The id64s are in the order p3 < p5 < p4 <
//! p1 < p2.

mod acting;
mod forgetting;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::catalogue::{deleted, listed, record, set, text, with_a_catalogue};
use super::{ann_and_bob, ev, items_only, names, pairs_with_p1, without_expiry};
use crate::support::oracle::catalogue::{ItemState, OracleItemRecord, state};
use crate::support::oracle::controls::{
    ControlWord, OracleControl, OracleSwitch, SWITCHES, TargetScope, UserControls, Wish, is_of_target,
};
use crate::support::oracle::reasons::{Reason, ReasonSource, reasons, shown};
use crate::support::oracle::taking_back::kept_out;
use crate::support::oracle::trending::{self, RoomEvent, Trending};
use crate::support::oracle::{Basis, OracleEvent, Params, World, audience, history, lists, pools};
use crate::support::scripts::{Said, params_of_scripts, scripts, taken};

pub(super) fn says(user: &str, ts: u64, word: ControlWord) -> OracleControl {
    OracleControl { user: user.to_owned(), ts, word }
}

pub(super) fn switch(wish: Wish, scope: TargetScope, target: &str, on: bool) -> ControlWord {
    ControlWord::Switch(OracleSwitch { wish, scope, target: target.to_owned() }, on)
}

pub(super) fn not_interested(user: &str, scope: TargetScope, target: &str, ts: u64) -> OracleControl {
    says(user, ts, switch(Wish::NotInterested, scope, target, true))
}

pub(super) fn less(user: &str, scope: TargetScope, target: &str, ts: u64) -> OracleControl {
    says(user, ts, switch(Wish::Less, scope, target, true))
}

/// The record that turns off what this one turns on.
pub(super) fn undo(control: &OracleControl, ts: u64) -> OracleControl {
    let ControlWord::Switch(switch, true) = &control.word else { panic!("{control:?}") };
    says(&control.user, ts, ControlWord::Switch(switch.clone(), false))
}

pub(super) fn forget(user: &str, item: Option<&str>, ts: u64) -> OracleControl {
    says(user, ts, ControlWord::Forget(item.map(str::to_owned)))
}

fn world<'w>(events: &'w [OracleEvent], controls: &'w [OracleControl]) -> World<'w> {
    World { events, records: &[], controls, ended: false }
}

/// What the controls of u say at t, whatever their order.
fn of_u<T: PartialEq + std::fmt::Debug>(controls: &[OracleControl], t: u64, read: impl Fn(&UserControls) -> T) -> T {
    let backwards: Vec<OracleControl> = controls.iter().rev().cloned().collect();
    let of = |controls: &[OracleControl]| read(&world(&[], controls).controls_at(t).remove("u").unwrap_or_default());
    let found = of(controls);
    assert_eq!(of(&[&backwards[..], controls].concat()), found);
    found
}

/// The targets of the switches of u that stand at t.
fn standing(controls: &[OracleControl], t: u64) -> BTreeSet<String> {
    of_u(controls, t, |controls| controls.standing().into_iter().map(|switch| switch.target.clone()).collect())
}

fn texts(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_record_of_a_switch_with_the_largest_ts_holds() {
    let on = |ts| not_interested("u", TargetScope::Item, "p1", ts);
    let records = [on(10), undo(&on(10), 20), on(30), on(35)];
    let stands = |records: &[OracleControl], t| standing(records, t) == texts(&["p1"]);
    assert_eq!([9, 10, 19, 20, 29, 30, 99].map(|t| stands(&records, t)), [false, true, true, false, false, true, true]);
    // At equal `ts` one that turns it on.
    assert!(stands(&[on(10), undo(&on(10), 10)], 10));
    assert!(!stands(&[on(10), undo(&on(10), 11)], 11));
    // An undo alone does nothing, and a late one neither.
    assert!(!stands(&[undo(&on(10), 20)], 99) && stands(&[on(10), undo(&on(10), 9)], 99));
    // Each control, scope and target is a switch of its own, and each user has their own.
    for other in [
        not_interested("u", TargetScope::Item, "p2", 0),
        not_interested("u", TargetScope::Room, "p1", 0),
        less("u", TargetScope::Host, "p1", 0),
        not_interested("v", TargetScope::Item, "p1", 0),
    ] {
        assert!(stands(&[on(10), undo(&other, 20)], 99), "{other:?}");
    }
}

/// `number` switches of u that turn on these targets, at times from `from` on.
fn many(number: usize, from: u64) -> Vec<OracleControl> {
    let targets = (from..).take(number);
    targets.map(|ts| not_interested("u", TargetScope::Host, &format!("h{ts}"), ts)).collect()
}

#[test]
fn of_the_switches_of_a_user_1000_are_in_force() {
    let t = 99_999;
    let number = |controls: &[OracleControl]| standing(controls, t).len();
    assert_eq!((SWITCHES, number(&many(1_000, 10)), number(&many(1_001, 10))), (1_000, 1_000, 1_000));
    let oldest = |controls: &[OracleControl]| !standing(controls, t).contains("h10");
    assert!(!oldest(&many(1_000, 10)) && oldest(&many(1_001, 10)));
    // One of the future does not count yet.
    assert_eq!(standing(&many(1_001, 10), 1_009).len(), 1_000);
    assert!(standing(&many(1_001, 10), 1_009).contains("h10"));
    // Neither other controls nor other users nor repetitions take a place.
    let mut controls = many(1_000, 10);
    controls.extend([forget("u", None, 5_000), says("u", 5_000, ControlWord::Pause)]);
    controls.extend([less("v", TargetScope::Host, "h", 5_000), controls[500].clone()]);
    assert_eq!(number(&controls), 1_000);
    // A later record of a switch moves it up, and takes no second place.
    controls.push(not_interested("u", TargetScope::Host, "h10", 6_000));
    controls.push(less("u", TargetScope::Host, "h", 7_000));
    assert!(standing(&controls, t).contains("h10") && !standing(&controls, t).contains("h11"));
    // One that is off has a place too, by its record that turns it off.
    let off = undo(&less("u", TargetScope::Host, "h", 0), 7_000);
    let with_off = [many(1_000, 10), vec![off]].concat();
    assert_eq!((number(&with_off), oldest(&with_off)), (999, true));
    // The undo of a switch that is not in force: it is in force, and off.
    let again = [many(1_001, 10), vec![undo(&many(1, 10)[0], 7_000)]].concat();
    assert_eq!((number(&again), standing(&again, t).contains("h11")), (999, false));
}

#[test]
fn switches_of_equal_times_are_in_the_order_of_control_scope_and_target() {
    // The greater the newer. Targets by their bytes, not by their ids: p3 has the smallest id, p2 the greatest.
    let of = |wish, scope, target| says("u", 10, switch(wish, scope, target, true));
    let mut ascending: Vec<OracleControl> = Vec::new();
    for (wish, scopes) in [(Wish::NotInterested, &TargetScope::ALL[..]), (Wish::Less, &TargetScope::ALL[2..])] {
        for scope in scopes {
            ascending.extend(["Z", "a", "p1", "p2", "p3", "é"].map(|target| of(wish, *scope, target)));
        }
    }
    for (place, switch) in ascending.iter().enumerate() {
        // 999 newer ones leave one place.
        let (lower, newer) = (&ascending[..=place], many(999, 100));
        let found = of_u(&[lower, &newer].concat(), 9_999, |controls| {
            controls.in_force().into_iter().filter(|control| control.ts == 10).collect::<Vec<_>>()
        });
        assert_eq!(found, std::slice::from_ref(switch));
    }
}

/// An item with one attribute of each kind.
fn attributes() -> OracleItemRecord {
    let fields = [
        ("room", set(&["r1", "r2"])),
        ("host", text("h")),
        ("brand", text("b")),
        ("category", set(&["A > B > C", "E"])),
        ("tags:default", set(&["new", "red"])),
        ("tags:season", set(&["summer"])),
        ("kind", text("live")),
        ("group", text("g")),
    ];
    record("p1", 0, &fields)
}

#[test]
fn an_item_is_of_a_target_by_its_name_or_its_record() {
    let state = |records: &[OracleItemRecord]| state(records, "p1", 0).unwrap();
    let attributed: ItemState = state(&[attributes()]);
    let of = |scope| {
        let targets = [
            "p1",
            "p2",
            "r1",
            "r2",
            "h",
            "b",
            "A",
            "A > B",
            "A > B > C",
            "A > B > C > D",
            "E",
            "B",
            "new",
            "red",
            "summer",
            "live",
            "g",
            "category:A",
            "host:h",
        ];
        let is_of = |target: &&str| is_of_target(scope, target, "p1", Some(&attributed));
        targets.into_iter().filter(is_of).collect::<Vec<_>>()
    };
    assert_eq!(of(TargetScope::Item), ["p1"]);
    assert_eq!(of(TargetScope::Room), ["p1", "r1", "r2"]);
    assert_eq!(of(TargetScope::Host), ["h"]);
    assert_eq!(of(TargetScope::Brand), ["b"]);
    assert_eq!(of(TargetScope::Category), ["A", "A > B", "A > B > C", "E"]);
    // Not the tags that are derived from other fields.
    assert_eq!(of(TargetScope::Tag), ["new", "red", "summer"]);
    // Level by level, not by the letters.
    let longer = state(&[record("p1", 0, &[("category", set(&["AB > C"]))])]);
    assert!(!is_of_target(TargetScope::Category, "A", "p1", Some(&longer)));
    assert!(is_of_target(TargetScope::Category, "AB", "p1", Some(&longer)));
    // Without a record an item has its name only. What was deleted has no attribute.
    for state in [None, Some(state(&[attributes(), deleted("p1", 0)]))] {
        let is_of = |scope, target| is_of_target(scope, target, "p1", state.as_ref());
        assert!(is_of(TargetScope::Item, "p1") && is_of(TargetScope::Room, "p1") && !is_of(TargetScope::Room, "r1"));
        assert!(!is_of(TargetScope::Host, "h") && !is_of(TargetScope::Brand, "b"));
        assert!(!is_of(TargetScope::Category, "A") && !is_of(TargetScope::Tag, "new"));
    }
}

/// bob's list at 100 of these events of his and what he says, among users who have p1 with p2, p3 or p4.
fn list_of_bob(more: &[OracleEvent], controls: &[OracleControl], params: &Params) -> Vec<String> {
    let events = [&pairs_with_p1()[..], more].concat();
    let list = lists(world(&events, controls), params, 100).remove("bob").unwrap_or_default();
    names(&list).into_iter().map(str::to_owned).collect()
}

/// The same of a run with these records. All items exist.
fn list_of_bob_with(records: &[OracleItemRecord], controls: &[OracleControl], params: &Params) -> Vec<(String, i64)> {
    let params = with_a_catalogue(params.clone());
    let records = [&["p1", "p2", "p3", "p4"].map(|item| listed(item, 0))[..], records].concat();
    let events = pairs_with_p1();
    let world = World { events: &events, records: &records, controls, ended: false };
    lists(world, &params, 100).remove("bob").unwrap_or_default()
}

#[test]
fn an_item_of_no_interest_is_void_and_kept_out() {
    let params = without_expiry();
    let of = |item| not_interested("bob", TargetScope::Item, item, 50);
    assert_eq!(list_of_bob(&[], &[], &params), ["p3", "p2", "p4"]);
    assert_eq!(list_of_bob(&[], &[of("p3")], &params), ["p2", "p4"]);
    // Not of others, and not if it was undone.
    assert_eq!(list_of_bob(&[], &[not_interested("ann", TargetScope::Item, "p3", 50)], &params), ["p3", "p2", "p4"]);
    assert_eq!(list_of_bob(&[], &[of("p3"), undo(&of("p3"), 60)], &params), ["p3", "p2", "p4"]);
    // Of its own item: there is no interaction left, so no list.
    assert!(list_of_bob(&[], &[of("p1")], &params).is_empty());
    // All events are void, whatever their `ts`.
    let events = [ev("bob", "p3", 5, 20), ev("bob", "p3", 5, 50), ev("bob", "p3", 5, 90), ev("bob", "p4", 1, 95)];
    let controls = [of("p3")];
    let items = |controls: &[OracleControl], t| {
        let history = history(world(&events, controls), &params, t).remove("bob").unwrap_or_default();
        history.into_iter().map(|(item, ..)| item).collect::<Vec<_>>()
    };
    assert_eq!(items(&[], 100), ["p4", "p3"]);
    assert_eq!(
        (items(&controls, 49), items(&controls, 50), items(&controls, 100)),
        (vec!["p3".into()], vec![], vec!["p4".into()])
    );
    // A later event on it does not let it in, as it does where a retraction keeps it out.
    let kept_out_of = |events: &[OracleEvent], controls: &[OracleControl]| {
        kept_out(world(events, controls), &params, 100).remove("bob")
    };
    assert_eq!(kept_out_of(&events, &controls), Some(texts(&["p3"])));
    assert_eq!(kept_out_of(&events, &[]), None);
    // Also of a user without any event.
    assert_eq!(kept_out_of(&[], &controls), Some(texts(&["p3"])));
    // Void events displace.
    let one = Params { history: 1, ..params };
    let two = [ev("u", "p1", 3, 10), ev("u", "p2", 3, 20)];
    let controls = [not_interested("u", TargetScope::Item, "p2", 30)];
    assert!(history(world(&two, &controls), &one, 50).is_empty());
}

#[test]
fn what_is_of_a_target_of_no_interest_is_no_candidate() {
    let params = without_expiry();
    let records = [
        record("p3", 0, &[("host", text("h")), ("brand", text("b")), ("tags:season", set(&["new"]))]),
        record("p2", 0, &[("room", set(&["p4", "r"])), ("category", set(&["A > B"]))]),
    ];
    let of = |scope, target| {
        let list = list_of_bob_with(&records, &[not_interested("bob", scope, target, 50)], &params);
        names(&list).join(" ")
    };
    for (scope, target) in [(TargetScope::Host, "h"), (TargetScope::Brand, "b"), (TargetScope::Tag, "new")] {
        assert_eq!((of(scope, target), of(scope, "other")), ("p2 p4".to_owned(), "p3 p2 p4".to_owned()), "{scope:?}");
    }
    assert_eq!((of(TargetScope::Category, "A"), of(TargetScope::Room, "r")), ("p3 p4".to_owned(), "p3 p4".to_owned()));
    // The item of that name, and what is in its room.
    assert_eq!(of(TargetScope::Room, "p4"), "p3");
    // Without a catalogue a room is the item of that name, and nothing is of a host.
    assert_eq!(list_of_bob(&[], &[not_interested("bob", TargetScope::Room, "p3", 50)], &params), ["p2", "p4"]);
    assert_eq!(list_of_bob(&[], &[not_interested("bob", TargetScope::Host, "h", 50)], &params).len(), 3);
    // What is touched counts all the same: p1 of this host is in the profile.
    let host = [record("p1", 0, &[("host", text("h"))])];
    assert_eq!(list_of_bob_with(&host, &[not_interested("bob", TargetScope::Host, "h", 50)], &params).len(), 3);
    let room = not_interested("bob", TargetScope::Room, "p1", 50);
    assert_eq!(list_of_bob(&[], &[room], &params).len(), 3, "not void");
}

#[test]
fn an_item_of_no_interest_closes_its_group_and_a_target_does_not() {
    let params = without_expiry();
    let records = ["p3", "p2"].map(|item| record(item, 0, &[("group", text("g")), ("host", text(item))]));
    let of = |scope, target| {
        let controls = [not_interested("bob", scope, target, 50)];
        names(&list_of_bob_with(&records, &controls, &params)).join(" ")
    };
    // The best of the group, which is p3.
    assert_eq!(of(TargetScope::Item, "nothing"), "p3 p4");
    assert_eq!([of(TargetScope::Item, "p3"), of(TargetScope::Item, "p2")], ["p4", "p4"]);
    // The next of the group takes its place.
    assert_eq!([of(TargetScope::Host, "p3"), of(TargetScope::Room, "p3")], ["p2 p4", "p2 p4"]);
    assert_eq!(of(TargetScope::Host, "p2"), "p3 p4");
}

#[test]
fn less_makes_the_total_a_quarter_once() {
    // As in the tests of reasons: the total of p2 is 2749, and a quarter of it 687.25.
    let params = with_a_catalogue(Params::default());
    let records = [listed("p1", 0), record("p2", 0, &[("host", text("h")), ("brand", text("b"))])];
    let events = ann_and_bob();
    let of = |controls: &[OracleControl]| {
        let world = World { events: &events, records: &records, controls, ended: false };
        lists(world, &params, 3_000).remove("bob").unwrap_or_default()
    };
    let host = less("bob", TargetScope::Host, "h", 2_900);
    let brand = less("bob", TargetScope::Brand, "b", 2_950);
    let list = |total| vec![("p2".to_owned(), total)];
    assert_eq!(of(&[]), list(2_749));
    assert_eq!(of(std::slice::from_ref(&host)), list(687));
    assert_eq!(of(&[host.clone(), brand.clone()]), list(687));
    assert_eq!(of(&[host.clone(), brand, undo(&host, 2_960)]), list(687));
    assert_eq!(of(&[host.clone(), undo(&host, 2_960)]), list(2_749));
    assert_eq!(of(&[less("ann", TargetScope::Host, "h", 2_900)]), list(2_749));
    assert_eq!(of(&[less("bob", TargetScope::Host, "h", 3_001)]), list(2_749));
    // It is another switch than that of `not_interested`, which holds too.
    assert!(of(&[host, not_interested("bob", TargetScope::Brand, "b", 2_900)]).is_empty());
}

#[test]
fn less_changes_the_order_and_may_leave_nothing() {
    let params = without_expiry();
    let records = [record("p3", 0, &[("tags:default", set(&["new"]))])];
    let less = [less("bob", TargetScope::Tag, "new", 50)];
    assert_eq!(names(&list_of_bob_with(&records, &less, &params)), ["p2", "p4", "p3"]);
    // Pools are by the totals.
    let one = Params { k: 1, ..with_a_catalogue(params.clone()) };
    let records = [&["p1", "p2", "p3", "p4"].map(|item| listed(item, 0))[..], &records].concat();
    let events = pairs_with_p1();
    let world = World { events: &events, records: &records, controls: &less, ended: false };
    assert_eq!(names(&pools(world, &one, 100)["bob"]), ["p2", "p4"]);
    // A quarter of 1 is no total above 0. The count of a pair is 1, and so are the weights.
    let measure = crate::support::oracle::measures::Measure::Count;
    let tiny = Params { similarity: measure, items_weight: 1, stairs: vec![1], near: 0, ..params };
    let totals = |controls: &[OracleControl]| list_of_bob_with(&records[4..], controls, &tiny);
    assert_eq!(totals(&[]), ["p3", "p4", "p2"].map(|item| (item.to_owned(), 1)));
    assert_eq!(totals(&less), ["p4", "p2"].map(|item| (item.to_owned(), 1)));
}

#[test]
fn less_is_the_last_reason_and_always_shown() {
    let params = with_a_catalogue(Params::default());
    let records = [listed("p1", 0), record("p2", 0, &[("host", text("h"))])];
    let events = ann_and_bob();
    let controls = [less("bob", TargetScope::Host, "h", 2_900)];
    let world = World { events: &events, records: &records, controls: &controls, ended: false };
    let basis = Basis::new(world, &params, 3_000);
    let found = reasons(&basis, "bob", "p2", &params);
    let of_less = Reason { source: ReasonSource::Less, points: 687 - 2_749 };
    assert_eq!(found.iter().map(|reason| reason.points).collect::<Vec<_>>(), [1_456, 1_293, -2_062]);
    assert_eq!(found[2], of_less);
    assert_eq!(found.iter().map(|reason| reason.points).sum::<i64>(), 687);
    let shown = |why| shown(&found, &Params { why, ..Params::default() });
    assert_eq!(shown(1), [found[0].clone(), of_less.clone()]);
    assert_eq!([shown(2), shown(3), shown(9)], [found.clone(), found.clone(), found.clone()]);
    assert_eq!(shown(0), []);
    // No other item, and no other user.
    assert_eq!(reasons(&basis, "bob", "p9", &params), []);
    assert!(reasons(&basis, "ann", "p2", &params).iter().all(|reason| reason.source != ReasonSource::Less));
}

fn pause(ts: u64) -> OracleControl {
    says("u", ts, ControlWord::Pause)
}

fn resume(ts: u64) -> OracleControl {
    says("u", ts, ControlWord::Resume)
}

#[test]
fn who_has_turned_personal_lists_off_has_none_and_counts_for_others() {
    let params = without_expiry();
    let off = |user: &str, ts| says(user, ts, ControlWord::PersonalOff);
    let on = |user: &str, ts| says(user, ts, ControlWord::PersonalOn);
    let is_off = |controls: &[OracleControl]| list_of_bob(&[], controls, &params).is_empty();
    assert!(is_off(&[off("bob", 50)]) && !is_off(&[off("bob", 101)]) && !is_off(&[off("ann", 50)]));
    assert!(!is_off(&[off("bob", 50), on("bob", 60)]) && is_off(&[off("bob", 70), on("bob", 60)]));
    // At equal `ts` it is off.
    assert!(is_off(&[off("bob", 50), on("bob", 50)]) && !is_off(&[on("bob", 50)]));
    // In the audience whether that is "all" or not.
    let events = pairs_with_p1();
    for audience_of in [None, Some(1_000)] {
        let params = Params { audience: audience_of, ..params.clone() };
        let controls = [off("bob", 50)];
        let world = world(&events, &controls);
        let history = history(world, &params, 100);
        assert!(history.contains_key("bob"));
        let users = audience(world, &history, &params, 100);
        assert!(!users.contains("bob") && users.contains("a"));
    }
    // What a, b and c did goes on to count.
    assert_eq!(list_of_bob(&[], &[off("a", 5), off("b", 50), off("c", 99)], &params), ["p3", "p2", "p4"]);
}

#[test]
fn trending_lists_know_neither_what_is_covered_nor_what_is_paused() {
    let trending = Trending { k: 3, bucket: 100, buckets: 3 };
    let log = [ev("u", "p1", 2, 110), ev("u", "p1", 4, 130), ev("u", "p2", 3, 120), ev("v", "p1", 1, 120)];
    let in_room: Vec<RoomEvent> = log.iter().map(|event| (event.clone(), Some("r".to_owned()))).collect();
    let of = |controls: &[OracleControl], t| {
        let events = trending::interesting(&in_room, controls, false, t);
        let lists = trending::lists(&events, &super::Eligible::everything(), trending, t);
        assert!(lists.values().all(|list| *list == lists["deltarec:trending"]), "the room has the same events");
        lists.get("deltarec:trending").cloned().unwrap_or_default()
    };
    let list =
        |totals: &[(&str, i64)]| totals.iter().map(|(item, total)| ((*item).to_owned(), 4 * total)).collect::<Vec<_>>();
    let all = list(&[("p1", 4 + 1), ("p2", 3)]);
    assert_eq!(of(&[], 200), all);
    // The largest level that is not covered.
    assert_eq!(of(&[forget("u", Some("p1"), 109)], 200), all);
    assert_eq!(of(&[forget("u", Some("p1"), 129)], 200), all);
    assert_eq!(of(&[forget("u", Some("p1"), 130)], 200), list(&[("p2", 3), ("p1", 1)]));
    assert_eq!(of(&[forget("u", None, 120)], 200), list(&[("p1", 5)]));
    assert_eq!(of(&[forget("u", None, 201)], 200), all);
    assert_eq!(of(&[forget("v", None, 150), pause(140)], 200), list(&[("p1", 4), ("p2", 3)]));
    // Paused: p1 of 130 is, p1 of 110 is not.
    assert_eq!(of(&[pause(115), resume(140)], 200), list(&[("p1", 2 + 1)]));
    // Whatever else is void counts, and so do lists that are off.
    let others = [
        not_interested("u", TargetScope::Item, "p1", 150),
        less("u", TargetScope::Host, "h", 150),
        says("u", 150, ControlWord::PersonalOff),
    ];
    assert_eq!(of(&others, 200), all);
}

#[test]
fn everything_is_forgotten_but_not_what_comes_later() {
    let params = items_only();
    let events = [ev("bob", "p1", 1, 100)];
    assert_eq!(list_of_bob(&events, &[forget("bob", None, 99)], &params), ["p3", "p2", "p4"]);
    assert!(list_of_bob(&events, &[forget("bob", None, 100)], &params).is_empty());
    let by_user: BTreeMap<_, _> = lists(world(&pairs_with_p1(), &[forget("a", None, 99)]), &params, 100);
    assert_eq!(names(&by_user["bob"]), ["p3", "p4"], "nobody has p2 any more");
}

proptest! {
    /// > All of this is a function of the set of events, catalogue records and controls
    #[test]
    fn lists_do_not_depend_on_order_or_repetitions_of_controls(
        params in params_of_scripts(),
        (ticks, controls, shuffled) in scripts(Said::Everything, 60, &[1000]).prop_flat_map(|ticks| {
            let controls: Vec<OracleControl> = ticks.iter().flat_map(|tick| tick.controls.clone()).collect();
            let twice = [controls.clone(), controls.clone()].concat();
            (Just(ticks), Just(controls), Just(twice).prop_shuffle())
        }),
        t in 990..1_100_u64,
        ended in any::<bool>(),
    ) {
        let ticks = taken(ticks, &params);
        let events: Vec<OracleEvent> = ticks.iter().flat_map(|tick| tick.events.clone()).collect();
        let records: Vec<OracleItemRecord> = ticks.iter().flat_map(|tick| tick.records.clone()).collect();
        let of = |controls: &[OracleControl]| {
            lists(World { events: &events, records: &records, controls, ended }, &params, t)
        };
        prop_assert_eq!(of(&controls), of(&shuffled));
    }

    /// Nothing of no note changes a list.
    #[test]
    fn controls_of_no_note_change_no_list(
        params in params_of_scripts(),
        ticks in scripts(Said::NothingOfNote, 60, &[1000]),
        t in 990..1_100_u64,
    ) {
        let ticks = taken(ticks, &params);
        let events: Vec<OracleEvent> = ticks.iter().flat_map(|tick| tick.events.clone()).collect();
        let records: Vec<OracleItemRecord> = ticks.iter().flat_map(|tick| tick.records.clone()).collect();
        let controls: Vec<OracleControl> = ticks.iter().flat_map(|tick| tick.controls.clone()).collect();
        let of = |controls: &[OracleControl]| {
            lists(World { events: &events, records: &records, controls, ended: false }, &params, t)
        };
        prop_assert_eq!(of(&controls), of(&[]));
    }
}
