//! Pools, and standing lists that lose an item. bob's boundaries are 2700, 9100 and 15500. At 100 he has p3, p2 and p4, in
//! this order.

use std::slice::from_ref;

use super::super::catalogue::{available, deleted, listed, number, record, text, with_a_catalogue};
use super::super::{names, pairs_with_p1};
use super::*;
use crate::support::oracle::catalogue::{CatalogueParams, OracleItemRecord, eligible};
use crate::support::oracle::changes::changes_of_run;
use crate::support::oracle::{World, lists, pools};

/// Lists of k items.
fn of_length(k: usize) -> Params {
    Params { k, ..with_a_catalogue(every_6400()) }
}

/// p1 to p4 exist.
fn all_listed() -> Vec<OracleItemRecord> {
    ["p1", "p2", "p3", "p4"].map(|item| listed(item, 0)).into()
}

/// A tick with these records only.
fn stated(at: u64, records: &[OracleItemRecord]) -> CoalescedTick {
    CoalescedTick { records: records.to_vec(), ..CoalescedTick::of_events(at, at, Vec::new()) }
}

/// A tick with these events only.
fn happened(at: u64, events: &[OracleEvent]) -> CoalescedTick {
    CoalescedTick::of_events(at, at, events.to_vec())
}

/// The first tick, at 100, with all items and their records, and these ones after it.
fn log_of(more: &[CoalescedTick]) -> Vec<CoalescedTick> {
    let first = CoalescedTick { records: all_listed(), ..CoalescedTick::of_events(100, 100, pairs_with_p1()) };
    [&[first], more].concat()
}

/// The ticks of bob's changes with his lists.
fn bob_of(records: &[OracleChange]) -> Vec<(u64, Vec<&str>)> {
    let of_bob = records.iter().filter(|record| record.user == "bob");
    of_bob.map(|record| (record.at, names(&record.items))).collect()
}

/// Asserts bob's lists after the first, with these ticks after it.
fn assert_bob(k: usize, more: &[CoalescedTick], expected: &[(u64, &[&str])]) {
    let found = coalesced_changes(&log_of(more), &of_length(k));
    let found = bob_of(&found);
    assert_eq!(found[0], (100, ["p3", "p2", "p4"][..k].to_vec()));
    let expected: Vec<(u64, Vec<&str>)> = expected.iter().map(|(at, list)| (*at, list.to_vec())).collect();
    assert_eq!(found[1..], expected);
}

#[test]
fn what_is_lost_is_struck_at_once_and_the_next_of_the_pool_follows() {
    let log = log_of(&[stated(200, &[available("p3", 200, "sold_out")])]);
    let emitted = coalesced_changes(&log, &of_length(1));
    let bob = changes_of(&emitted, "bob");
    assert_eq!(bob, [(100, vec!["p3"], vec!["p3"], vec![]), (200, vec!["p2"], vec!["p2"], vec!["p3"])]);
    // In a list of two p4 is the third of the pool.
    assert_bob(2, &[stated(200, &[available("p2", 200, "sold_out")])], &[(200, &["p3", "p4"])]);
    assert_bob(2, &[stated(200, &[available("p4", 200, "sold_out")])], &[]);
    // A pool of four of which three are there: what is left is the list.
    assert_bob(2, &[stated(200, &[deleted("p2", 200), deleted("p3", 200), deleted("p4", 200)])], &[(200, &[])]);
}

#[test]
fn the_list_that_lost_an_item_has_the_totals_of_the_evaluation() {
    // At 150 `C_12` rises. bob sees it at 2700.
    let d = happened(150, &[ev("d", "p1", 1, 150), ev("d", "p2", 1, 150)]);
    let log = log_of(&[d, stated(200, &[available("p3", 200, "sold_out")]), happened(5_000, &[])]);
    let emitted = coalesced_changes(&log, &of_length(1));
    let bob: Vec<_> = emitted.iter().filter(|record| record.user == "bob").collect();
    assert_eq!(bob.iter().map(|record| record.at).collect::<Vec<_>>(), [100, 200]);
    let records = all_listed();
    let r =
        pools(World { events: &pairs_with_p1(), records: &records, controls: &[], ended: false }, &of_length(1), 100);
    assert_eq!((&bob[0].items[..], &bob[1].items[..]), r["bob"].split_at(1));
}

#[test]
fn a_pool_that_runs_short_is_an_evaluation() {
    let short = [
        stated(200, &[available("p3", 200, "sold_out")]),
        // The pool of two is used up, and p4 is picked.
        stated(300, &[available("p2", 300, "sold_out")]),
        // It was alone in its pool, so this is no evaluation: p3 waits for the boundary.
        stated(400, &[available("p3", 400, "in_stock")]),
        stated(500, &[available("p4", 500, "sold_out")]),
        happened(5_000, &[]),
    ];
    assert_bob(1, &short, &[(200, &["p2"]), (300, &["p4"]), (500, &[]), (2_700, &["p3"])]);
    let ticks = log_of(&short);
    let run = Run { resumed: None, ticks: &ticks, ends: false };
    let of_bob = |params: &Params| -> Vec<u64> {
        let evaluated = evaluations(&run, params).into_iter().filter(|tick| tick.users.contains("bob"));
        evaluated.map(|tick| tick.at).collect()
    };
    assert_eq!(of_bob(&of_length(1)), [100, 300, 2_700]);
    // A pool of three of four was never full.
    assert_eq!(of_bob(&of_length(2)), [100, 2_700]);
    // Both at once: fewer than one are left.
    let both = [available("p3", 200, "sold_out"), available("p2", 200, "sold_out")];
    assert_bob(1, &[stated(200, &both)], &[(200, &["p4"])]);
}

#[test]
fn as_many_as_the_list_are_no_short_pool() {
    // The pool of two lists of two has p3, p2, p4 and p5. Two of it are enough, one is not.
    let mut first = log_of(&[]);
    first[0].events.extend([ev("e", "p1", 1, 10), ev("e", "p5", 1, 20), ev("f", "p1", 1, 10), ev("f", "p6", 1, 20)]);
    first[0].records.extend([listed("p5", 0), listed("p6", 0)]);
    let params = of_length(2);
    let world = |records| World { events: &first[0].events, records, controls: &[], ended: false };
    let pool = pools(world(&first[0].records), &params, 100)["bob"].clone();
    let pool = names(&pool);
    assert_eq!(pool.len(), 4);
    let evaluated_when_lost = |lost: &[&str]| {
        let lost: Vec<_> = lost.iter().map(|item| deleted(item, 200)).collect();
        let ticks = [&first[..], &[stated(200, &lost)]].concat();
        let ticks = evaluations(&Run { resumed: None, ticks: &ticks, ends: false }, &params);
        ticks.iter().any(|tick| tick.at == 200 && tick.users.contains("bob"))
    };
    assert_eq!([1, 2, 3, 4].map(|n| evaluated_when_lost(&pool[..n])), [false, false, true, true]);
}

#[test]
fn what_becomes_eligible_competes_at_the_next_evaluation() {
    let (out, back) = (available("p3", 200, "sold_out"), available("p3", 201, "in_stock"));
    let lost = (200, &["p2"][..]);
    let ticks = |more: &[CoalescedTick]| [&[stated(200, from_ref(&out)), stated(201, from_ref(&back))], more].concat();
    assert_bob(1, &ticks(&[happened(2_699, &[])]), &[lost]);
    assert_bob(1, &ticks(&[happened(2_700, &[])]), &[lost, (2_700, &["p3"])]);
    // Its own action is an evaluation.
    assert_bob(1, &ticks(&[happened(300, &[ev("bob", "p1", 1, 300)])]), &[lost, (300, &["p3"])]);
    // In one tick nothing is lost: what counts is its end.
    assert_bob(1, &[stated(201, &[out.clone(), back.clone()])], &[]);
    // Coalesced, one tick takes both.
    let both = CoalescedTick { records: vec![out, back], ..CoalescedTick::of_events(200, 300, Vec::new()) };
    assert_bob(1, &[both], &[]);
    // What was never eligible competes at the next evaluation too.
    let unlisted = |k| {
        let mut log = log_of(&[stated(200, &[listed("p3", 0)]), happened(3_000, &[])]);
        log[0].records.retain(|record| record.item != "p3");
        let emitted = coalesced_changes(&log, &of_length(k));
        bob_of(&emitted).into_iter().map(|(at, list)| (at, list.join(" "))).collect::<Vec<_>>()
    };
    assert_eq!(unlisted(1), [(100, "p2".to_owned()), (2_700, "p3".to_owned())]);
}

#[test]
fn what_is_below_the_list_is_struck_too() {
    // p2, the second of the pool, is lost for a millisecond, which nobody sees.
    let gone = record("p2", 200, &[("until", number(200))]);
    let back = record("p2", 201, &[("until", None)]);
    let events = [ev("d", "p1", 1, 250), ev("d", "p2", 1, 250)];
    let lost = stated(300, &[available("p3", 300, "sold_out")]);
    // At 300 the pool is used up, so it is an evaluation, in which p2 has the total of d's events.
    let more = [stated(150, &[gone, back]), happened(250, &events), lost];
    assert_bob(1, &more, &[(300, &["p2"])]);
    let ticks = log_of(&more);
    let emitted = coalesced_changes(&ticks, &of_length(1));
    let last = emitted.iter().rfind(|record| record.user == "bob").unwrap();
    let all = Run { resumed: None, ticks: &ticks, ends: false }.events();
    let records: Vec<_> = ticks.iter().flat_map(|tick| tick.records.clone()).collect();
    let r = |events: &[OracleEvent], t| {
        lists(World { events, records: &records, controls: &[], ended: false }, &of_length(1), t)
    };
    assert_eq!(last.items, r(&all, 300)["bob"]);
    assert_ne!(last.items, r(&pairs_with_p1(), 300)["bob"]);
}

#[test]
fn from_and_until_take_effect_at_their_own_millisecond() {
    let until = |until| stated(200, &[record("p3", 0, &[("until", number(until))])]);
    assert_bob(1, &[until(250), happened(1_000, &[])], &[(250, &["p2"])]);
    assert_bob(1, &[until(1_001), happened(1_000, &[])], &[]);
    assert_bob(1, &[until(1_000), happened(1_000, &[])], &[(1_000, &["p2"])]);
    assert_bob(1, &[until(150)], &[(200, &["p2"])]);
    // Several milliseconds in one tick.
    assert_bob(1, &[until(250), CoalescedTick::of_events(240, 1_000, Vec::new())], &[(1_000, &["p2"])]);
    // From 250 on p3 competes at the next evaluation.
    let from = |from| stated(200, &[record("p3", 0, &[("from", number(from))])]);
    assert_bob(1, &[from(250), happened(2_699, &[])], &[(200, &["p2"])]);
    assert_bob(1, &[from(250), happened(3_000, &[])], &[(200, &["p2"]), (2_700, &["p3"])]);
    assert_bob(1, &[from(2_700), happened(3_000, &[])], &[(200, &["p2"]), (2_700, &["p3"])]);
    assert_bob(1, &[from(2_701), happened(3_000, &[])], &[(200, &["p2"])]);
    assert_bob(1, &[from(2_701), happened(9_100, &[])], &[(200, &["p2"]), (9_100, &["p3"])]);
    // With refresh 0 at once.
    let at_once = Params { refresh: 0, ..of_length(1) };
    let emitted = coalesced_changes(&log_of(&[from(250), happened(1_000, &[])]), &at_once);
    assert_eq!(bob_of(&emitted), [(100, vec!["p3"]), (200, vec!["p2"]), (250, vec!["p3"])]);
}

#[test]
fn a_boundary_that_would_leave_another_pool_is_not_skipped() {
    // At 9100 bob has p3 again, as at 2700. The pool of 2700 has lost p2, which the boundary brings back.
    let more = [
        stated(3_000, &[available("p2", 3_000, "sold_out")]),
        stated(3_001, &[available("p2", 3_001, "in_stock")]),
        stated(10_000, &[available("p3", 10_000, "sold_out")]),
    ];
    assert_bob(1, &more, &[(10_000, &["p2"])]);
    let ticks = log_of(&more);
    let evaluated = evaluations(&Run { resumed: None, ticks: &ticks, ends: false }, &of_length(1));
    let of_bob: Vec<u64> = evaluated.iter().filter(|tick| tick.users.contains("bob")).map(|tick| tick.at).collect();
    assert_eq!(of_bob, [100, 2_700, 9_100]);
}

#[test]
fn a_record_ahead_of_the_clock_acts_at_its_own_time() {
    let sold_out = |ts| stated(200, &[available("p3", ts, "sold_out")]);
    assert_bob(1, &[sold_out(250), happened(1_000, &[])], &[(250, &["p2"])]);
    assert_bob(1, &[sold_out(1_001), happened(1_000, &[])], &[]);
    assert_bob(1, &[sold_out(250), CoalescedTick::of_events(240, 1_000, Vec::new())], &[(1_000, &["p2"])]);
    // One that is late acts at once.
    assert_bob(1, &[sold_out(50)], &[(200, &["p2"])]);
    assert_bob(1, &[stated(200, &[available("p3", 150, "in_stock")]), sold_out(140)], &[]);
}

#[test]
fn the_end_takes_records_ahead_of_the_clock() {
    let log = log_of(&[stated(200, &[available("p3", 9_000, "sold_out"), available("p4", 8_000, "sold_out")])]);
    for refresh in [0, 6_400] {
        let params = Params { refresh, ..of_length(2) };
        let found = |ends| {
            let emitted = changes_of_run(&Run { resumed: None, ticks: &log, ends }, &params);
            bob_of(&emitted).into_iter().map(|(at, list)| (at, list.join(" "))).collect::<Vec<_>>()
        };
        let first = (100, "p3 p2".to_owned());
        assert_eq!(found(false), from_ref(&first), "refresh {refresh}");
        assert_eq!(found(true), [first, (200, "p2".to_owned())], "refresh {refresh}");
    }
    // What is eligible again at the end competes, as the end is an evaluation.
    let log = log_of(&[stated(200, &[available("p3", 200, "sold_out"), available("p3", 300, "in_stock")])]);
    let emitted = changes_to_the_end(&log, &of_length(1));
    assert_eq!(bob_of(&emitted), [(100, vec!["p3"]), (200, vec!["p2"]), (200, vec!["p3"])]);
}

#[test]
fn several_reasons_to_be_evaluated_are_one_evaluation_with_a_catalogue() {
    // bob acts in the tick in which he loses p3.
    let acts = CoalescedTick {
        records: vec![available("p3", 200, "sold_out")],
        ..CoalescedTick::of_events(200, 200, vec![ev("bob", "p2", 1, 200)])
    };
    assert_bob(1, &[acts], &[(200, &["p4"])]);
    // At his boundary.
    assert_bob(1, &[stated(2_700, &[available("p3", 2_700, "sold_out")])], &[(2_700, &["p2"])]);
}

#[test]
fn with_membership_a_list_that_lost_an_item_is_another_set() {
    let params = Params { membership: true, ..of_length(2) };
    // p2 overtakes p3, which is not emitted. The list that loses p4 is the same set.
    let events: Vec<_> = ["d", "e"].map(|user| [ev(user, "p1", 1, 150), ev(user, "p2", 1, 150)]).concat();
    let log = log_of(&[
        happened(150, &events),
        stated(3_000, &[available("p4", 3_000, "sold_out")]),
        stated(3_100, &[available("p3", 3_100, "sold_out")]),
    ]);
    let emitted = coalesced_changes(&log, &params);
    assert_eq!(bob_of(&emitted), [(100, vec!["p3", "p2"]), (3_100, vec!["p2"])]);
}

#[test]
fn with_a_bound_records_count_in_the_order_in_which_they_act() {
    let catalogue = Some(CatalogueParams { unknown_is_eligible: false, max_items: 3 });
    let params = Params { catalogue, ..of_length(3) };
    // The first three of p1 to p4 have a place, by their names, as they have the same time.
    let found = |more: &[CoalescedTick]| {
        let emitted = coalesced_changes(&log_of(more), &params);
        bob_of(&emitted).into_iter().map(|(at, list)| (at, list.join(" "))).collect::<Vec<_>>()
    };
    let first = (100, "p3 p2".to_owned());
    assert_eq!(found(&[stated(200, &[listed("p4", 200)]), happened(3_000, &[])]), from_ref(&first));
    // The deletion acts at 300, so p4 finds a place only after it.
    let ahead = [deleted("p1", 300), listed("p4", 200), listed("p4", 301)];
    let expected = [first, (2_700, "p3 p2 p4".to_owned())];
    assert_eq!(found(&[stated(150, &ahead), happened(3_000, &[])]), expected);
}

/// A restart after a tick at 100, with these lists in the output.
fn restarted(records: &[OracleItemRecord], standing: &[(&str, &[&str])]) -> Resumed {
    let records = [all_listed(), records.to_vec()].concat();
    Resumed { at: 100, events: pairs_with_p1(), records, ..resumed(standing) }
}

/// bob's changes after it.
fn bob_after(resumed: &Resumed, ticks: &[CoalescedTick], params: &Params) -> Vec<(u64, String)> {
    let emitted = resumed_changes(resumed, ticks, false, params);
    bob_of(&emitted).into_iter().map(|(at, list)| (at, list.join(" "))).collect()
}

#[test]
fn a_run_that_resumes_evaluates_viewers_whose_list_has_lost_an_item() {
    let sold_out = [available("p3", 100, "sold_out")];
    let later = [happened(200, &[])];
    for refresh in [0, 6_400] {
        let params = Params { refresh, ..of_length(1) };
        // The tick is that from which the run resumes.
        let found = bob_after(&restarted(&sold_out, &[("bob", &["p3"])]), &later, &params);
        assert_eq!(found, [(100, "p2".to_owned())], "refresh {refresh}");
    }
    // Who has lost nothing is not evaluated, also if the list is another than R.
    assert!(bob_after(&restarted(&[], &[("bob", &["p4"])]), &later, &of_length(1)).is_empty());
    assert!(bob_after(&restarted(&sold_out, &[("bob", &["p2"])]), &later, &of_length(1)).is_empty());
    // A record ahead of the clock has not acted.
    let ahead = restarted(&[available("p3", 150, "sold_out")], &[("bob", &["p3"])]);
    assert_eq!(bob_after(&ahead, &later, &of_length(1)), [(150, "p2".to_owned())]);
    // Without a list in the output there is nothing to lose.
    assert!(bob_after(&restarted(&sold_out, &[]), &later, &of_length(1)).is_empty());
    // Who has left gets the empty list, as without a catalogue.
    let left = restarted(&sold_out, &[("eve", &["p2"])]);
    let emitted = resumed_changes(&left, &later, false, &of_length(1));
    assert_eq!(changes_of(&emitted, "eve"), [(100, vec![], vec![], vec!["p2"])]);
}

#[test]
fn without_a_pool_since_the_restart_losing_an_item_is_an_evaluation() {
    // At 2700 bob is evaluated, before that he is not.
    let resumed = restarted(&[], &[("bob", &["p4"])]);
    let lost = |item| stated(200, &[available(item, 200, "sold_out")]);
    let after = |ticks: &[CoalescedTick]| bob_after(&resumed, ticks, &of_length(1));
    assert_eq!(after(&[lost("p4")]), [(200, "p3".to_owned())]);
    assert!(after(&[lost("p3")]).is_empty());
    // After the evaluation he has a pool: p3 and p2. Back in stock, p4 is not in it.
    let back = stated(300, &[available("p4", 300, "in_stock")]);
    let gone = |at, item| stated(at, &[available(item, at, "sold_out")]);
    let found = after(&[lost("p4"), back, gone(400, "p3"), gone(500, "p2")]);
    assert_eq!(found, [(200, "p3".to_owned()), (400, "p2".to_owned()), (500, "p4".to_owned())]);
    // An evaluation for another reason leaves a pool too, of which the list that the output had is no part.
    let back = stated(2_901, &[available("p3", 2_901, "in_stock")]);
    let found = after(&[happened(2_700, &[]), gone(2_800, "p4"), gone(2_900, "p3"), back]);
    assert_eq!(found, [(2_700, "p3".to_owned()), (2_900, "p2".to_owned())]);
}

#[test]
fn rows_of_similar_users_are_emitted_when_a_pool_runs_short() {
    let params = Params { users_weight: 1, ..of_length(1) };
    // cid shares p1 with bob from 150 on, which shows at bob's next evaluation.
    let more = [
        happened(150, &[ev("cid", "p1", 9, 150)]),
        stated(200, &[available("p3", 200, "sold_out")]),
        stated(300, &[available("p2", 300, "sold_out")]),
    ];
    let ticks = log_of(&more);
    let rows = similar_user_rows(&Run { resumed: None, ticks: &ticks, ends: false }, &params);
    let of_bob: Vec<_> = rows.into_iter().filter(|row| row.user == "bob").collect();
    assert_eq!(of_bob.iter().map(|row| row.at).collect::<Vec<_>>(), [100, 300]);
    assert!(of_bob[1].similar.iter().any(|(user, _)| user == "cid"));
}

#[test]
fn nothing_is_lost_without_a_catalogue() {
    let log = [happened(100, &pairs_with_p1()), happened(5_000, &[])];
    let emitted = coalesced_changes(&log, &Params { catalogue: None, ..of_length(1) });
    assert_eq!(bob_of(&emitted), [(100, vec!["p3"])]);
    // With one nothing is eligible, or everything that is unknown.
    assert_eq!(bob_of(&coalesced_changes(&log, &of_length(1))), []);
    let unknown = Some(CatalogueParams { unknown_is_eligible: true, max_items: usize::MAX });
    let params = Params { catalogue: unknown, ..of_length(1) };
    assert_eq!(bob_of(&coalesced_changes(&log, &params)), [(100, vec!["p3"])]);
    assert!(eligible(&[], &params, 100).contains("p3"));
    // The first record of an unknown item may end that.
    let log =
        [&log[..1], &[stated(200, &[record("p3", 200, &[("title", text("t")), ("from", number(300))])])]].concat();
    assert_eq!(bob_of(&coalesced_changes(&log, &params)), [(100, vec!["p3"]), (200, vec!["p2"])]);
}
