//! When controls act, and which evaluations they are. With `refresh` at 6400 the boundaries of bob are 2700 and 9100.

use std::collections::BTreeSet;

use super::{forget, less, not_interested, says, switch, undo};
use crate::oracle_units::catalogue::{available, listed, record, text, with_a_catalogue};
use crate::oracle_units::{ev, names, pairs_with_p1, without_expiry};
use crate::support::oracle::catalogue::OracleItemRecord;
use crate::support::oracle::changes::{OracleChange, changes_of_run, resumed_changes};
use crate::support::oracle::controls::{ControlWord, OracleControl, TargetScope, Wish};
use crate::support::oracle::evaluations::{CoalescedTick, Resumed, Run};
use crate::support::oracle::standing::evaluations;
use crate::support::oracle::{OracleEvent, Params};

fn every_6400() -> Params {
    Params { refresh: 6_400, ..without_expiry() }
}

fn of_length(k: usize) -> Params {
    Params { k, ..with_a_catalogue(every_6400()) }
}

/// At 100 bob has p1, and others have it with p2, p3 and p4. All items exist.
fn first(records: &[OracleItemRecord]) -> CoalescedTick {
    let records = [&["p1", "p2", "p3", "p4"].map(|item| listed(item, 0))[..], records].concat();
    CoalescedTick { records, ..CoalescedTick::of_events(100, 100, pairs_with_p1()) }
}

fn said(at: u64, controls: &[OracleControl]) -> CoalescedTick {
    CoalescedTick { controls: controls.to_vec(), ..CoalescedTick::of_events(at, at, Vec::new()) }
}

fn stated(at: u64, records: &[OracleItemRecord]) -> CoalescedTick {
    CoalescedTick { records: records.to_vec(), ..CoalescedTick::of_events(at, at, Vec::new()) }
}

fn happened(at: u64, events: &[OracleEvent]) -> CoalescedTick {
    CoalescedTick::of_events(at, at, events.to_vec())
}

/// The ticks of bob's changes with his lists.
fn brief(records: &[OracleChange]) -> Vec<(u64, String)> {
    let of_bob = records.iter().filter(|record| record.user == "bob");
    of_bob.map(|record| (record.at, names(&record.items).join(" "))).collect()
}

/// bob's changes after the first list.
fn bob(ticks: &[CoalescedTick], ends: bool, params: &Params) -> Vec<(u64, String)> {
    let mut found = brief(&changes_of_run(&Run { resumed: None, ticks, ends }, params));
    assert_eq!(found.remove(0).0, 100);
    found
}

fn expected(lists: &[(u64, &str)]) -> Vec<(u64, String)> {
    lists.iter().map(|(at, list)| (*at, (*list).to_owned())).collect()
}

/// The times of the ticks in which bob is evaluated.
fn evaluated(ticks: &[CoalescedTick], ends: bool, params: &Params) -> Vec<u64> {
    let ticks = evaluations(&Run { resumed: None, ticks, ends }, params);
    ticks.iter().filter(|tick| tick.users.contains("bob")).map(|tick| tick.at).collect()
}

#[test]
fn a_control_acts_when_it_arrives_or_at_its_own_millisecond() {
    let without_a_catalogue = |tick: CoalescedTick| CoalescedTick { records: Vec::new(), ..tick };
    for params in [without_expiry(), every_6400()] {
        let run = |ticks: &[CoalescedTick], ends| {
            let ticks = [&[without_a_catalogue(first(&[]))][..], ticks].concat();
            bob(&ticks, ends, &params)
        };
        let at = |ts| not_interested("bob", TargetScope::Item, "p3", ts);
        // Late, at once, and ahead of the clock.
        let later = || happened(2_000, &[]);
        assert_eq!(run(&[said(200, &[at(50)]), later()], false), expected(&[(200, "p2 p4")]));
        assert_eq!(run(&[said(200, &[at(200)]), later()], false), expected(&[(200, "p2 p4")]));
        assert_eq!(run(&[said(200, &[at(321)]), later()], false), expected(&[(321, "p2 p4")]));
        // In the tick that takes its millisecond.
        let coalesced = CoalescedTick::of_events(300, 400, Vec::new());
        assert_eq!(run(&[said(200, &[at(321)]), coalesced.clone()], false), expected(&[(400, "p2 p4")]));
        assert_eq!(run(&[said(200, &[at(401)]), coalesced], false), expected(&[]));
        // At the end, whatever its `ts`.
        assert_eq!(run(&[said(200, &[at(u64::MAX)])], false), expected(&[]));
        assert_eq!(run(&[said(200, &[at(u64::MAX)])], true), expected(&[(200, "p2 p4")]));
        let undone = [at(300), undo(&at(300), 301)];
        assert_eq!(run(&[said(200, &undone)], true), expected(&[]));
        assert_eq!(run(&[said(200, &undone), later()], false), expected(&[(300, "p2 p4"), (301, "p3 p2 p4")]));
    }
}

#[test]
fn who_turns_personal_lists_off_leaves_and_comes_back() {
    let off = |ts| says("bob", ts, ControlWord::PersonalOff);
    let on = |ts| says("bob", ts, ControlWord::PersonalOn);
    let params = of_length(10);
    let ticks = |controls: &[OracleControl]| [first(&[]), said(200, controls), happened(2_000, &[])];
    let all = "p3 p2 p4";
    assert_eq!(bob(&ticks(&[off(250)]), false, &params), expected(&[(250, "")]));
    assert_eq!(bob(&ticks(&[off(250), on(300)]), false, &params), expected(&[(250, ""), (300, all)]));
    // What he does meanwhile counts, but he has no list.
    let meanwhile = [first(&[]), said(200, &[off(200), on(900)]), happened(300, &[ev("bob", "p3", 1, 300)])];
    let meanwhile = [&meanwhile[..], &[happened(2_000, &[])]].concat();
    assert_eq!(bob(&meanwhile, false, &params), expected(&[(200, ""), (900, "p2 p4")]));
    // In the tick of the end.
    assert_eq!(bob(&ticks(&[off(5_000)])[..2], true, &params), expected(&[(200, "")]));
    assert_eq!(bob(&ticks(&[off(200), on(5_000)])[..2], true, &params), expected(&[(200, ""), (200, all)]));
    // He has no boundary while it is off: evaluated are the first tick, and those of the controls.
    let ticks = [first(&[]), said(200, &[off(200)]), happened(20_000, &[ev("zoe", "p9", 1, 20_000)])];
    assert_eq!(evaluated(&ticks, true, &params), [100, 200]);
}

/// The times at which bob is evaluated after the control at 200 and before his boundary.
fn evaluated_after(controls: &[OracleControl], later: &[OracleControl]) -> Vec<u64> {
    let ticks = [first(&[]), said(200, controls), said(300, later), happened(400, &[])];
    let mut times = evaluated(&ticks, false, &of_length(10));
    assert_eq!(times.remove(0), 100);
    times
}

#[test]
fn a_control_that_comes_in_force_is_an_evaluation() {
    let on = |ts| not_interested("bob", TargetScope::Host, "h", ts);
    // Of each kind, whether it changes anything or not.
    for control in [
        on(200),
        undo(&on(0), 200),
        less("bob", TargetScope::Tag, "new", 200),
        forget("bob", Some("p9"), 200),
        forget("bob", None, 50),
        says("bob", 200, ControlWord::Pause),
        says("bob", 200, ControlWord::Resume),
        says("bob", 200, ControlWord::PersonalOn),
        says("bob", 200, ControlWord::PersonalOff),
    ] {
        assert_eq!(evaluated_after(std::slice::from_ref(&control), &[]), [200], "{control:?}");
        // A repetition is none.
        assert_eq!(
            evaluated_after(std::slice::from_ref(&control), std::slice::from_ref(&control)),
            [200],
            "{control:?}"
        );
        // Nor is one of another user.
        let of_another = OracleControl { user: "zoe".to_owned(), ..control };
        assert_eq!(evaluated_after(&[], &[of_another]), Vec::<u64>::new());
    }
    // A record of a switch that does not hold is not in force; one that turns it on at the same time is, and a later one.
    let off = undo(&on(0), 200);
    assert_eq!(evaluated_after(&[on(200)], &[on(150)]), [200]);
    assert_eq!(evaluated_after(&[on(200)], &[undo(&on(0), 150)]), [200]);
    assert_eq!(evaluated_after(&[on(200)], std::slice::from_ref(&off)), [200]);
    assert_eq!(evaluated_after(&[off], &[on(200)]), [200, 300]);
    assert_eq!(evaluated_after(&[on(200)], &[on(201)]), [200, 300]);
    // So it is with personal lists. Of pauses all are in force.
    let personal =
        |is_off, ts| says("bob", ts, if is_off { ControlWord::PersonalOff } else { ControlWord::PersonalOn });
    assert_eq!(evaluated_after(&[personal(false, 200)], &[personal(true, 150)]), [200]);
    assert_eq!(evaluated_after(&[personal(false, 200)], &[personal(true, 200)]), [200, 300]);
    assert_eq!(
        evaluated_after(&[says("bob", 200, ControlWord::Pause)], &[says("bob", 150, ControlWord::Resume)]),
        [200, 300]
    );
    // One of more than are in force is none.
    let many: Vec<OracleControl> =
        (0..1_000).map(|n| says("bob", 200, switch(Wish::Less, TargetScope::Host, &format!("h{n}"), true))).collect();
    assert_eq!(evaluated_after(&many, &[on(199)]), [200]);
    assert_eq!(evaluated_after(&many[1..], &[on(199)]), [200, 300]);
}

#[test]
fn what_is_paused_is_no_own_action() {
    let pause = said(150, &[says("bob", 150, ControlWord::Pause)]);
    let acts = happened(200, &[ev("bob", "p2", 5, 200)]);
    let times = |ticks: &[CoalescedTick]| evaluated(ticks, false, &of_length(10));
    assert_eq!(times(&[first(&[]), acts.clone()]), [100, 200]);
    assert_eq!(times(&[first(&[]), pause.clone(), acts.clone()]), [100, 150]);
    // In one tick controls come before events.
    let together = CoalescedTick { controls: vec![says("bob", 200, ControlWord::Pause)], ..acts };
    let ticks = [first(&[]), together];
    assert_eq!((times(&ticks), bob(&ticks, false, &of_length(10))), (vec![100, 200], vec![]));
    // What is covered or void is one.
    for control in [forget("bob", None, 500), not_interested("bob", TargetScope::Item, "p2", 120)] {
        let ticks = [first(&[]), said(500, &[control]), happened(600, &[ev("bob", "p2", 5, 450)])];
        assert_eq!(times(&ticks), [100, 500, 600]);
    }
}

fn of_host(item: &str, at: u64, host: &str) -> OracleItemRecord {
    record(item, at, &[("host", text(host))])
}

#[test]
fn an_item_that_comes_under_a_target_is_lost_at_once() {
    let mia = said(200, &[not_interested("bob", TargetScope::Host, "mia", 200)]);
    let moves = |item, at| stated(at, &[of_host(item, at, "mia")]);
    let run = |ticks: &[CoalescedTick], k| {
        let ticks = [&[first(&[])][..], ticks].concat();
        (bob(&ticks, false, &of_length(k)), evaluated(&ticks, false, &of_length(k)))
    };
    // p3 is struck from the pool of p3 and p2, which was full and has one left.
    let (lists, times) = run(&[mia.clone(), moves("p3", 300)], 1);
    assert_eq!((lists, times), (expected(&[(300, "p2")]), vec![100, 200]));
    // With p2 none is left, so bob is evaluated.
    let (lists, times) = run(&[mia.clone(), moves("p3", 300), moves("p2", 400)], 1);
    assert_eq!((lists, times), (expected(&[(300, "p2"), (400, "p4")]), vec![100, 200, 400]));
    // What leaves the target competes at the next evaluation, at the boundary.
    let back = stated(400, &[of_host("p3", 400, "bea")]);
    let (lists, _) = run(&[mia.clone(), moves("p3", 300), back, happened(3_000, &[])], 1);
    assert_eq!(lists, expected(&[(300, "p2"), (2_700, "p3")]));
    // Without the control nothing is lost, and with it undone neither.
    assert_eq!(run(&[moves("p3", 300)], 1).0, expected(&[]));
    let off = said(250, &[undo(&mia.controls[0], 250)]);
    assert_eq!(run(&[mia.clone(), off, moves("p3", 300)], 1).0, expected(&[]));
    // A `less` waits for the next evaluation: the totals are those of the evaluation.
    let less = said(200, &[less("bob", TargetScope::Host, "mia", 200)]);
    let (lists, times) = run(&[less.clone(), moves("p3", 300), happened(3_000, &[])], 1);
    assert_eq!((lists, times), (expected(&[(2_700, "p2")]), vec![100, 200, 2_700]));
    let sold_out = stated(400, &[available("p4", 400, "sold_out")]);
    assert_eq!(run(&[less, moves("p3", 300), sold_out], 10).0, expected(&[(400, "p3 p2")]));
}

#[test]
fn a_resumed_run_shows_nothing_of_a_target_of_no_interest() {
    let standing = [("bob".to_owned(), vec!["p3".to_owned(), "p2".to_owned()])];
    let resumed = |controls: &[OracleControl], records: &[OracleItemRecord]| {
        let CoalescedTick { events, records, .. } = first(records);
        let standing = standing.iter().cloned().collect();
        Resumed { at: 1_000, events, records, controls: controls.to_vec(), standing }
    };
    let bob =
        |resumed: &Resumed, ticks: &[CoalescedTick]| brief(&resumed_changes(resumed, ticks, false, &of_length(2)));
    let mia = [not_interested("bob", TargetScope::Host, "mia", 200)];
    assert_eq!(bob(&resumed(&mia, &[]), &[happened(1_100, &[])]), expected(&[]));
    assert_eq!(bob(&resumed(&mia, &[of_host("p3", 0, "mia")]), &[]), expected(&[(1_000, "p2 p4")]));
    // The pool does not survive: he is evaluated when an item comes under the target.
    let moves = stated(1_100, &[of_host("p3", 1_100, "mia")]);
    assert_eq!(bob(&resumed(&mia, &[]), &[happened(1_050, &[]), moves]), expected(&[(1_100, "p2 p4")]));
    // What was in force before the restart is no reason for an evaluation, and what comes again neither.
    let all = [&mia[..], &[forget("bob", Some("p9"), 300)]].concat();
    assert_eq!(
        bob(&Resumed { standing: standing_of("p4"), ..resumed(&all, &[]) }, &[said(1_100, &all)]),
        expected(&[])
    );
    // Personal lists are off, and there is one in the output.
    let off = [says("bob", 300, ControlWord::PersonalOff)];
    assert_eq!(bob(&resumed(&off, &[]), &[]), expected(&[(1_000, "")]));
    // A control that is ahead of the clock at the restart acts at its time.
    let ahead = [says("bob", 1_300, ControlWord::PersonalOff)];
    assert_eq!(bob(&resumed(&ahead, &[]), &[happened(2_000, &[])]), expected(&[(1_300, "")]));
}

/// A list of one item in the output.
fn standing_of(item: &str) -> std::collections::BTreeMap<String, Vec<String>> {
    std::collections::BTreeMap::from([("bob".to_owned(), vec![item.to_owned()])])
}

#[test]
fn without_a_catalogue_a_room_is_lost_by_its_control_only() {
    let room = not_interested("bob", TargetScope::Room, "p3", 200);
    let without = |tick: CoalescedTick| CoalescedTick { records: Vec::new(), ..tick };
    let ticks = [without(first(&[])), said(200, &[room]), happened(3_000, &[])];
    assert_eq!(bob(&ticks, false, &every_6400()), expected(&[(200, "p2 p4")]));
    let users = evaluations(&Run { resumed: None, ticks: &ticks, ends: false }, &every_6400());
    assert!(users.iter().all(|tick| tick.users != BTreeSet::new()));
}
