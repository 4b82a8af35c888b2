//! Standing lists, evaluations and boundaries.
//!
//! With `refresh` at 6400 the boundaries of a user are at the multiples of 6400 less 100 times the phase: ann 800, bob 3700,
//! cid 5900, zoe 600. So ann has 5600, 12000 and 18400, bob 9100 and 15500, cid 6900 and 13300.

mod pools;
mod properties;
mod taking_back;

use std::collections::BTreeSet;

use schema::id64;

use super::changes::{changes_of, ticks};
use super::{ann_and_bob, ev, items_only, without_expiry};
use crate::support::oracle::changes::{
    OracleChange, changes, changes_to_the_end, coalesced_changes, resumed_changes, similar_user_rows,
};
use crate::support::oracle::evaluations::{CoalescedTick, Resumed, Run, boundary_from, kept};
use crate::support::oracle::standing::evaluations;
use crate::support::oracle::{OracleEvent, Params};

/// Boundaries every 6.4 s. Every user with an interaction has a list, and nothing expires.
fn every_6400() -> Params {
    Params { refresh: 6_400, ..without_expiry() }
}

/// bob has p1. ann and cid have it too, ann with p2 and cid with p3. p2 is the more similar: `C_12` is 2 * min(2, 3) and
/// `C_13` is 2. So R(4000) is p3 for ann, p2 and p3 for bob, and p2 for cid. It is p2 for bob before.
fn cid_at_4000() -> Vec<(u64, Vec<OracleEvent>)> {
    let mut log = ticks(ann_and_bob());
    log.push((4_000, vec![ev("cid", "p1", 1, 4_000), ev("cid", "p3", 1, 4_000)]));
    log
}

/// An event that changes no list.
fn zoe(at: u64) -> (u64, Vec<OracleEvent>) {
    (at, vec![ev("zoe", "p9", 1, at)])
}

fn with(mut log: Vec<(u64, Vec<OracleEvent>)>, more: &[(u64, Vec<OracleEvent>)]) -> Vec<(u64, Vec<OracleEvent>)> {
    log.extend(more.iter().cloned());
    log
}

fn singly(log: &[(u64, Vec<OracleEvent>)]) -> Vec<CoalescedTick> {
    log.iter().map(|(at, events)| CoalescedTick::of_events(*at, *at, events.clone())).collect()
}

/// User, tick and items of each change.
fn brief(records: &[OracleChange]) -> Vec<(&str, u64, Vec<&str>)> {
    records.iter().map(|record| (record.user.as_str(), record.at, super::names(&record.items))).collect()
}

/// The ticks of a user's changes.
fn times_of(records: &[OracleChange], user: &str) -> Vec<u64> {
    records.iter().filter(|record| record.user == user).map(|record| record.at).collect()
}

#[test]
fn boundaries_are_refresh_apart_and_earlier_by_the_phase() {
    assert_eq!(["ann", "bob", "cid", "zoe"].map(|user| id64(user) % 64), [8, 37, 59, 6]);
    let from = |user: &str, from, refresh| boundary_from(user, from, &Params { refresh, ..without_expiry() });
    assert_eq!([0, 2_700, 2_701, 9_100, 9_101].map(|t| from("bob", t, 6_400)), [2_700, 2_700, 9_100, 9_100, 15_500]);
    assert_eq!(["ann", "bob", "cid", "zoe"].map(|user| from(user, 4_001, 6_400)), [5_600, 9_100, 6_900, 5_800]);
    // floor(37 * 1000 / 64) = 578 and floor(37 * 3 / 64) = 1.
    assert_eq!([0, 423, 1_423].map(|t| from("bob", t, 1_000)), [422, 1_422, 2_422]);
    assert_eq!([0, 2, 3, 6].map(|t| from("bob", t, 3)), [2, 2, 5, 8]);
    // With 1 every millisecond is a boundary of all users.
    assert!((0..100).all(|t| from("bob", t, 1) == t && from("cid", t, 1) == t));
    let phase_0 = (0..1_000).map(|n| format!("v{n}")).find(|name| id64(name).is_multiple_of(64)).unwrap();
    assert_eq!([0, 1, 6_401].map(|t| from(&phase_0, t, 6_400)), [0, 6_400, 12_800]);
    assert_eq!(from(&phase_0, 1, u64::MAX), u64::MAX);
}

#[test]
fn of_the_kept_events_of_an_item_a_later_one_is_lower() {
    let kept_of = |events: &[OracleEvent], params: &Params, t| {
        kept(events, params, t)
            .into_iter()
            .map(|event| (event.item.clone(), event.level().unwrap(), event.ts))
            .collect::<Vec<_>>()
    };
    let expected =
        |events: &[(&str, u8, u64)]| super::interactions(events).into_iter().collect::<Vec<(String, u8, u64)>>();
    let params = without_expiry();
    let mut events = vec![ev("u", "p1", 3, 10), ev("u", "p1", 3, 10), ev("u", "p2", 1, 10)];
    // The two equal events are one.
    assert_eq!(kept_of(&events, &params, 50), expected(&[("p1", 3, 10), ("p2", 1, 10)]));
    // Of equal times the highest level, of equal levels the latest time.
    events.extend([ev("u", "p1", 2, 10), ev("u", "p1", 3, 20), ev("u", "p2", 2, 10)]);
    assert_eq!(kept_of(&events, &params, 50), expected(&[("p1", 3, 20), ("p2", 2, 10)]));
    // A lower event is kept if it is later, and a higher one if it is earlier.
    events.extend([ev("u", "p1", 1, 30), ev("u", "p1", 5, 15), ev("u", "p1", 4, 15), ev("u", "p1", 2, 19)]);
    assert_eq!(kept_of(&events, &params, 50), expected(&[("p1", 1, 30), ("p1", 3, 20), ("p1", 5, 15), ("p2", 2, 10)]));
    // Events of the future, such as that on p1 at 20, do not count, nor do those that have expired.
    events.push(ev("v", "p2", 7, 40));
    assert_eq!(kept_of(&events, &params, 19), expected(&[("p1", 2, 19), ("p1", 5, 15), ("p2", 2, 10)]));
    let short = Params { retention: 20, ..params.clone() };
    assert_eq!(kept_of(&events, &short, 35), expected(&[("p1", 1, 30), ("p1", 3, 20)]));
    // p1 was touched after the other events of u. p2 at 40 is of v.
    let one = Params { history: 1, ..params };
    assert_eq!(kept_of(&events, &one, 50), expected(&[("p1", 1, 30), ("p2", 7, 40)]));
}

#[test]
fn an_own_action_counts_at_once_and_those_of_others_at_the_next_boundary() {
    let log = with(cid_at_4000(), &[zoe(20_000)]);
    let emitted = changes(&log, &every_6400());
    // Each viewer has boundaries of its own.
    let expected = [
        ("bob", 3_000, vec!["p2"]),
        ("cid", 4_000, vec!["p2"]),
        ("ann", 5_600, vec!["p3"]),
        ("bob", 9_100, vec!["p2", "p3"]),
    ];
    assert_eq!(brief(&emitted), expected);
    assert_eq!(changes_of(&emitted, "bob")[1], (9_100, vec!["p2", "p3"], vec!["p3"], vec![]));
    // Without a bound for the freshness of lists, at once.
    let at_once = changes(&log, &without_expiry());
    assert_eq!([times_of(&at_once, "ann"), times_of(&at_once, "bob")], [vec![4_000], vec![3_000, 4_000]]);
    // Nothing happens after the last tick of an input that has not ended.
    assert_eq!(changes(&log[..4], &every_6400()), emitted[..2]);
}

/// The ticks of bob's changes if this event of his arrives at 4100: after that he sees p3 at 4100 if it is an own action,
/// and else at his boundary, at 9100.
fn bob_sees_p3_at(own: &[OracleEvent], extra: OracleEvent, params: &Params) -> u64 {
    let mut log = ticks([&ann_and_bob()[..2], own].concat());
    log.extend([cid_at_4000()[3].clone(), (4_100, vec![extra]), zoe(20_000)]);
    let emitted = changes(&log, params);
    let bob = changes_of(&emitted, "bob");
    let sees: Vec<u64> = bob.iter().filter(|change| change.2.contains(&"p3")).map(|change| change.0).collect();
    assert_eq!((bob[0].0, sees.len()), (own[0].ts, 1), "{bob:?}");
    sees[0]
}

#[test]
fn repetitions_and_covered_events_are_no_own_actions() {
    let sees = |extra| bob_sees_p3_at(&[ev("bob", "p1", 2, 3_000)], extra, &every_6400());
    assert_eq!(sees(ev("bob", "p1", 2, 3_000)), 9_100, "a repetition");
    assert_eq!(sees(ev("bob", "p1", 1, 3_000)), 9_100, "lower at the same time");
    assert_eq!(sees(ev("bob", "p1", 2, 2_900)), 9_100, "earlier at the same level");
    assert_eq!(sees(ev("bob", "p1", 1, 2_900)), 9_100, "earlier and lower");
    assert_eq!(sees(ev("eve", "p7", 1, 4_100)), 9_100, "of another");
    assert_eq!(sees(ev("bob", "p1", 3, 3_000)), 4_100, "higher at the same time");
    assert_eq!(sees(ev("bob", "p1", 3, 2_900)), 4_100, "late and higher");
    assert_eq!(sees(ev("bob", "p1", 1, 3_001)), 4_100, "later and lower");
    assert_eq!(sees(ev("bob", "p1", 2, 4_100)), 4_100, "later at the same level");
    assert_eq!(sees(ev("bob", "p9", 1, 2_500)), 4_100, "late, on another item");
}

#[test]
fn an_event_that_is_displaced_on_arrival_is_no_own_action() {
    let params = Params { history: 2, ..every_6400() };
    let sees = |extra| bob_sees_p3_at(&[ev("bob", "p1", 2, 3_000), ev("bob", "p7", 1, 3_500)], extra, &params);
    // p1 and p7 were touched after the first two, and only p7 after the third.
    assert_eq!(sees(ev("bob", "p9", 1, 2_950)), 9_100);
    assert_eq!(sees(ev("bob", "p1", 9, 2_950)), 9_100);
    assert_eq!(sees(ev("bob", "p7", 9, 3_400)), 4_100);
    // With a history of three items it counts.
    let params = Params { history: 3, ..params };
    let own = [ev("bob", "p1", 2, 3_000), ev("bob", "p7", 1, 3_500)];
    assert_eq!(bob_sees_p3_at(&own, ev("bob", "p9", 1, 2_950), &params), 4_100);
}

#[test]
fn an_event_displaced_in_the_tick_of_its_arrival_is_no_reason_but_its_displacer_is() {
    let params = Params { history: 1, ..every_6400() };
    let events = vec![ev("bob", "p1", 1, 100), ev("bob", "p2", 1, 200)];
    let kept_at_the_end = kept(&events, &params, 200);
    assert_eq!(kept_at_the_end, BTreeSet::from([ev("bob", "p2", 1, 200)]));
    let run = singly(&[(200, events.clone()), (300, events[..1].to_vec())]);
    let ticks = evaluations(&Run { resumed: None, ticks: &run, ends: false }, &params);
    assert_eq!(ticks.iter().map(|tick| tick.at).collect::<Vec<_>>(), [200]);
}

#[test]
fn an_expiry_shows_at_the_next_boundary() {
    let params = Params { retention: 10_000, ..every_6400() };
    // At 11000 ann's p1 expires, so p2 is not similar to p1 any more.
    let mut log = ticks(ann_and_bob());
    log.extend(ticks(vec![ev("bob", "p1", 1, 6_000), ev("zoe", "p9", 1, 15_900)]));
    let first = (3_000, vec!["p2"], vec!["p2"], vec![]);
    let expected = [first.clone(), (15_500, vec![], vec![], vec!["p2"])];
    assert_eq!(changes_of(&changes(&log, &params), "bob"), expected);
    assert_eq!(times_of(&changes(&log, &Params { refresh: 0, ..params.clone() }), "bob"), [3_000, 11_000]);
    // bob's own p1 expires at 13000; his p4 stays until 16000.
    let mut log = ticks(ann_and_bob());
    log.extend(ticks(vec![ev("bob", "p4", 1, 6_000), ev("ann", "p1", 2, 9_000), ev("ann", "p2", 3, 9_500)]));
    log.push(zoe(15_900));
    assert_eq!(changes_of(&changes(&log, &params), "bob"), expected);
    assert_eq!(times_of(&changes(&log, &Params { refresh: 0, ..params }), "bob"), [3_000, 13_000]);
}

#[test]
fn leaving_the_audience_takes_effect_at_its_own_millisecond() {
    let mut log = ticks(ann_and_bob());
    log.push(zoe(20_000));
    let params = Params { retention: 10_000, audience: Some(5_000), refresh: 6_400, ..items_only() };
    let emitted = changes(&log, &params);
    // 3000 + 5000 is no boundary of bob.
    assert_eq!(brief(&emitted), [("bob", 3_000, vec!["p2"]), ("bob", 8_000, vec![])]);
    // Of all milliseconds from 4000 to 15000, in one tick.
    let coalesced = [&singly(&log[..3])[..], &[CoalescedTick::of_events(4_000, 15_000, zoe(15_000).1)]].concat();
    assert_eq!(brief(&coalesced_changes(&coalesced, &params))[1], ("bob", 15_000, vec![]));
    // bob's exit and return in the same tick are one evaluation, of the same list.
    log[3] = (8_000, vec![ev("bob", "p1", 1, 8_000)]);
    assert_eq!(times_of(&changes(&log, &params), "bob"), [3_000]);
}

#[test]
fn an_event_of_the_future_is_an_own_action_at_its_time() {
    let log = [(2_000, ann_and_bob()), (5_000, vec![])];
    assert_eq!(times_of(&changes(&log, &every_6400()), "bob"), [3_000]);
}

#[test]
fn a_tick_of_several_milliseconds_evaluates_at_the_last_of_them() {
    let log = |since, at| {
        let mut log = singly(&cid_at_4000());
        log.extend([
            CoalescedTick::of_events(since, at, zoe(at).1),
            CoalescedTick::of_events(20_000, 20_000, Vec::new()),
        ]);
        log
    };
    let times = |since, at| {
        let emitted = coalesced_changes(&log(since, at), &every_6400());
        [times_of(&emitted, "ann"), times_of(&emitted, "bob")].map(|times| *times.last().unwrap())
    };
    // The boundaries are 5600 and 9100.
    assert_eq!(times(4_500, 12_500), [12_500, 12_500]);
    assert_eq!(times(5_600, 5_600), [5_600, 9_100]);
    assert_eq!(times(5_601, 9_099), [5_600, 9_100]);
    assert_eq!(times(5_601, 9_100), [5_600, 9_100]);
    assert_eq!(times(9_100, 9_150), [5_600, 9_150]);
    assert_eq!(times(9_101, 9_150), [5_600, 9_100]);
    // A tick does not take again what the tick before took.
    assert_eq!(times(4_000, 5_000), [5_600, 9_100]);
}

#[test]
fn a_boundary_belongs_to_the_first_tick_of_its_millisecond() {
    // bob's boundary is 9100. dan brings p4 in the second tick, which has no boundary of bob.
    let dan = vec![ev("dan", "p1", 1, 9_100), ev("dan", "p4", 1, 9_100)];
    let log = with(cid_at_4000(), &[zoe(9_100), (9_100, dan.clone()), zoe(20_000)]);
    let emitted = changes(&log, &every_6400());
    let bob: Vec<(u64, usize)> = changes_of(&emitted, "bob").iter().map(|change| (change.0, change.1.len())).collect();
    assert_eq!(bob, [(3_000, 1), (9_100, 2), (15_500, 3)]);
    // In one tick both show at once.
    let together = with(cid_at_4000(), &[(9_100, [zoe(9_100).1, dan].concat()), zoe(20_000)]);
    let emitted = changes(&together, &every_6400());
    let bob: Vec<(u64, usize)> = changes_of(&emitted, "bob").iter().map(|change| (change.0, change.1.len())).collect();
    assert_eq!(bob, [(3_000, 1), (9_100, 3)]);
}

#[test]
fn several_reasons_in_one_tick_are_one_evaluation() {
    // 9100 is a boundary of bob, and he acts.
    let log = with(cid_at_4000(), &[(9_100, vec![ev("bob", "p3", 1, 9_100)]), zoe(20_000)]);
    let emitted = changes(&log, &every_6400());
    let bob = changes_of(&emitted, "bob");
    assert_eq!(bob, [(3_000, vec!["p2"], vec!["p2"], vec![])], "p3 is in his history now");
    let run = Run { resumed: None, ticks: &singly(&log), ends: false };
    let at_9100: Vec<_> = evaluations(&run, &every_6400()).into_iter().filter(|tick| tick.at == 9_100).collect();
    assert_eq!(at_9100.len(), 1);
    assert_eq!(at_9100[0].users, BTreeSet::from(["bob".to_owned()]));
}

#[test]
fn quiet_boundaries_emit_nothing_and_are_skipped() {
    let run = |log: &[(u64, Vec<OracleEvent>)], refresh| {
        let (ticks, params) = (singly(log), Params { refresh, ..every_6400() });
        let emitted = changes(log, &params);
        let ticks = evaluations(&Run { resumed: None, ticks: &ticks, ends: false }, &params);
        (
            emitted,
            ticks.into_iter().map(|tick| (tick.at, tick.users.into_iter().collect::<Vec<_>>())).collect::<Vec<_>>(),
        )
    };
    // At 2700, a boundary of his, bob has no interaction yet. cid's boundary at 6900 changes nothing. The boundaries
    // from 12000 on find what those before them found.
    let (emitted, ticks) = run(&with(cid_at_4000(), &[zoe(20_000)]), 6_400);
    assert_eq!(emitted.len(), 4);
    let of = |user: &str| vec![user.to_owned()];
    let own = [(1_000, of("ann")), (2_000, of("ann")), (3_000, of("bob")), (4_000, of("cid"))];
    let quiet = [(5_600, of("ann")), (6_900, of("cid")), (9_100, of("bob"))];
    assert_eq!(ticks, [&own[..], &quiet[..], &[(20_000, of("zoe"))]].concat());
    // A boundary in every millisecond of a day, and in that of each tick.
    let (emitted, ticks) = run(&with(cid_at_4000(), &[zoe(86_404_000)]), 1);
    assert_eq!([times_of(&emitted, "ann"), times_of(&emitted, "bob")], [vec![4_000], vec![3_000, 4_000]]);
    assert!(ticks.len() < 15, "{ticks:?}");
}

#[test]
fn the_end_evaluates_the_audience_at_the_millisecond_of_the_last_tick() {
    let log = singly(&cid_at_4000());
    let emitted = changes_to_the_end(&log, &every_6400());
    let end = [("ann", 4_000, vec!["p3"]), ("bob", 4_000, vec!["p2", "p3"])];
    assert_eq!(brief(&emitted)[2..], end);
    assert_eq!(emitted[..2], coalesced_changes(&log, &every_6400()));
    // Boundaries after the last tick do not come, and a last tick without events is one all the same.
    let later = [&log[..], &[CoalescedTick::of_events(5_000, 5_600, Vec::new())]].concat();
    let end = [("ann", 5_600, vec!["p3"]), ("bob", 5_600, vec!["p2", "p3"])];
    assert_eq!(brief(&changes_to_the_end(&later, &every_6400()))[2..], end);
    // With 0 everything has been emitted before.
    assert_eq!(changes_to_the_end(&log, &without_expiry()), coalesced_changes(&log, &without_expiry()));
    assert!(changes_to_the_end(&[], &every_6400()).is_empty());
}

/// A restart after the tick at 4000, with these lists in the output.
fn resumed(standing: &[(&str, &[&str])]) -> Resumed {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Resumed {
        at: 4_000,
        events: cid_at_4000().into_iter().flat_map(|(_, events)| events).collect(),
        records: Vec::new(),
        controls: Vec::new(),
        standing: standing.iter().map(|(user, items)| ((*user).to_owned(), list(items))).collect(),
    }
}

#[test]
fn a_resumed_run_evaluates_when_the_rules_say_so() {
    let params = every_6400();
    let rest =
        |standing: &[(&str, &[&str])]| resumed_changes(&resumed(standing), &singly(&[zoe(20_000)]), false, &params);
    let standing: [(&str, &[&str]); 2] = [("bob", &["p2"]), ("cid", &["p2"])];
    let whole = changes(&with(cid_at_4000(), &[zoe(20_000)]), &params);
    assert_eq!(rest(&standing), whole[2..]);
    // What the output holds stands until the viewer's next evaluation, whatever it is.
    let emitted = rest(&[("ann", &["p9", "p3"]), ("cid", &["p2"])]);
    assert_eq!(brief(&emitted), [("ann", 5_600, vec!["p3"]), ("bob", 9_100, vec!["p2", "p3"])]);
    assert_eq!(changes_of(&emitted, "ann"), [(5_600, vec!["p3"], vec![], vec!["p9"])]);
    assert_eq!(changes_of(&emitted, "bob"), [(9_100, vec!["p2", "p3"], vec!["p2", "p3"], vec![])]);
    // With 0 the first tick evaluates all users.
    let at_once = resumed_changes(&resumed(&standing), &singly(&[zoe(4_100)]), false, &without_expiry());
    assert_eq!(brief(&at_once), [("ann", 4_100, vec!["p3"]), ("bob", 4_100, vec!["p2", "p3"])]);
}

#[test]
fn a_list_of_a_user_who_left_is_emptied_when_a_run_resumes() {
    let standing: [(&str, &[&str]); 4] = [("bob", &["p2"]), ("cid", &["p2"]), ("eve", &["p1", "p2"]), ("fay", &[])];
    let resumed = resumed(&standing);
    let eve = |ticks: &[CoalescedTick], ends, refresh| {
        let emitted = resumed_changes(&resumed, ticks, ends, &Params { refresh, ..without_expiry() });
        assert!(changes_of(&emitted, "fay").is_empty());
        let found = changes_of(&emitted, "eve");
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].1, &found[0].3), (&vec![], &vec!["p1", "p2"]));
        found[0].0
    };
    for refresh in [0, 6_400] {
        assert_eq!(eve(&singly(&[zoe(4_100)]), false, refresh), 4_000);
        assert_eq!(eve(&[], true, refresh), 4_000);
    }
}

#[test]
fn the_end_of_a_resumed_run_without_ticks_is_at_the_tick_before_the_restart() {
    let resumed = resumed(&[("bob", &["p2"]), ("cid", &["p2"])]);
    assert!(resumed_changes(&resumed, &[], false, &every_6400()).is_empty());
    let emitted = resumed_changes(&resumed, &[], true, &every_6400());
    assert_eq!(brief(&emitted), [("ann", 4_000, vec!["p3"]), ("bob", 4_000, vec!["p2", "p3"])]);
}

#[test]
fn rows_of_similar_users_are_emitted_by_evaluation() {
    let params = Params { retention: 10_000, audience: Some(5_000), refresh: 6_400, ..Params::default() };
    let mut log = singly(&ticks(ann_and_bob()));
    log.push(CoalescedTick::of_events(20_000, 20_000, zoe(20_000).1));
    let rows = |refresh, ticks: &[CoalescedTick], ends| {
        let rows = similar_user_rows(&Run { resumed: None, ticks, ends }, &Params { refresh, ..params.clone() });
        rows.into_iter().map(|row| (row.at, row.user, row.similar)).collect::<Vec<_>>()
    };
    // ann's row waits for her boundary at 5600. She leaves at 2000 + 5000, bob at 3000 + 5000.
    let of = |at, user: &str, similar: &[(&str, u64)]| {
        let similar = similar.iter().map(|(name, w)| ((*name).to_owned(), *w)).collect::<Vec<_>>();
        (at, user.to_owned(), similar)
    };
    let (of_ann, of_bob) = ([("bob", 256)], [("ann", 431)]);
    let bob_first = of(3_000, "bob", &of_bob);
    let exits = [of(7_000, "ann", &[]), of(8_000, "bob", &[])];
    assert_eq!(rows(6_400, &log, false), [&[bob_first.clone(), of(5_600, "ann", &of_ann)], &exits[..]].concat());
    assert_eq!(rows(0, &log, false), [&[of(3_000, "ann", &of_ann), bob_first.clone()], &exits[..]].concat());
    // The end.
    let with_end = [bob_first, of(3_000, "ann", &of_ann)];
    assert_eq!(rows(6_400, &log[..3], false), with_end[..1]);
    assert_eq!(rows(6_400, &log[..3], true), with_end);
}
