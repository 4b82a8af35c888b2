//! Standing lists that are picked anew. bob's boundaries are 2700, 9100 and 15500.

use super::*;
use crate::support::oracle::changes::{OracleChange, coalesced_changes};
use crate::support::oracle::evaluations::{CoalescedTick, Run};
use crate::support::oracle::standing::evaluations;

/// Items that are all similar to p1, the more the more users have both: p3, p2, p4, then p5 to p8.
fn eight_items() -> Vec<OracleEvent> {
    let mut events = vec![ev("bob", "p1", 1, 100)];
    for (item, users) in [("p3", 9), ("p2", 8), ("p4", 7), ("p5", 6), ("p6", 5), ("p7", 4), ("p8", 3)] {
        for user in 0..users {
            events.extend([ev(&format!("{item} {user}"), "p1", 1, 10), ev(&format!("{item} {user}"), item, 1, 20)]);
        }
    }
    events
}

/// The ticks at 100 with these records, and those after it.
fn log_of(records: &[OracleItemRecord], more: &[(u64, Vec<OracleItemRecord>)]) -> Vec<CoalescedTick> {
    let mut first: Vec<_> = (1..9).map(|n| listed(&format!("p{n}"), 0)).collect();
    first.extend(records.iter().cloned());
    let mut ticks = vec![CoalescedTick { records: first, ..CoalescedTick::of_events(100, 100, eight_items()) }];
    for (at, records) in more {
        ticks.push(CoalescedTick { records: records.clone(), ..CoalescedTick::of_events(*at, *at, Vec::new()) });
    }
    ticks
}

fn every_6400(params: Params) -> Params {
    let measure = crate::support::oracle::measures::Measure::Count;
    Params { refresh: 6_400, similarity: measure, resolution: 16, ..with_a_catalogue(params) }
}

/// The ticks of bob's changes with his lists.
fn bob_of(records: &[OracleChange]) -> Vec<(u64, String)> {
    let of_bob = records.iter().filter(|record| record.user == "bob");
    of_bob.map(|record| (record.at, names(&record.items).join(" "))).collect()
}

fn bob(ticks: &[CoalescedTick], params: &Params) -> Vec<(u64, String)> {
    bob_of(&coalesced_changes(ticks, params))
}

fn expected(lists: &[(u64, &str)]) -> Vec<(u64, String)> {
    lists.iter().map(|(at, list)| (*at, (*list).to_owned())).collect()
}

/// A list of two, one of each host.
fn one_of_each_host() -> Params {
    every_6400(capped(2, 0, 1, false))
}

fn of_host(item: &str, at: u64, host: &str) -> OracleItemRecord {
    record(item, at, &[("host", text(host))])
}

#[test]
fn a_list_is_picked_anew_only_when_an_item_of_the_pool_is_struck() {
    let hosts = [of_host("p3", 0, "mia"), of_host("p2", 0, "mia"), of_host("p4", 0, "bea")];
    // With p2 at another host R is another list, but nothing is struck: it waits for the boundary.
    let moves = (200, vec![of_host("p2", 200, "bea")]);
    let later = |at| (at, Vec::new());
    let ticks = log_of(&hosts, &[moves.clone(), later(2_699)]);
    assert_eq!(bob(&ticks, &one_of_each_host()), expected(&[(100, "p3 p4")]));
    let ticks = log_of(&hosts, &[moves.clone(), later(5_000)]);
    assert_eq!(bob(&ticks, &one_of_each_host()), expected(&[(100, "p3 p4"), (2_700, "p3 p2")]));
    // p8, at the end of the pool of eight, is struck: the list is picked anew, with the records of this tick.
    let ticks = log_of(&hosts, &[moves.clone(), (300, vec![available("p8", 300, "sold_out")])]);
    assert_eq!(bob(&ticks, &one_of_each_host()), expected(&[(100, "p3 p4"), (300, "p3 p2")]));
    let in_one_tick = (300, vec![available("p8", 300, "sold_out"), of_host("p2", 300, "bea")]);
    let ticks = log_of(&hosts, &[in_one_tick]);
    assert_eq!(bob(&ticks, &one_of_each_host()), expected(&[(100, "p3 p4"), (300, "p3 p2")]));
    // An item that is not in the pool may go.
    let ticks = log_of(&hosts, &[moves, (300, vec![available("p1", 300, "sold_out")])]);
    assert_eq!(bob(&ticks, &one_of_each_host()), expected(&[(100, "p3 p4")]));
}

#[test]
fn a_list_that_loses_an_item_keeps_to_the_caps() {
    let hosts = [of_host("p3", 0, "mia"), of_host("p2", 0, "mia"), of_host("p4", 0, "bea"), of_host("p5", 0, "bea")];
    let gone = |item: &str| available(item, 300, "sold_out");
    let after = |items: &[&str], strict| {
        let ticks = log_of(&hosts, &[(300, items.iter().map(|item| gone(item)).collect())]);
        let params = Params { caps: Caps { strict, ..one_of_each_host().caps }, ..one_of_each_host() };
        bob(&ticks, &params).pop().unwrap().1
    };
    assert_eq!(after(&["p3"], false), "p2 p4");
    assert_eq!(after(&["p4"], false), "p3 p5");
    assert_eq!(after(&["p3", "p2"], false), "p4 p6");
    assert_eq!(after(&["p4", "p5", "p6", "p7", "p8"], true), "p3");
    assert_eq!(after(&["p4", "p5", "p6", "p7", "p8"], false), "p3 p2");
}

#[test]
fn best_is_the_largest_total_that_is_left() {
    let params = every_6400(diverse(2, 11));
    let records = tagged(&[("p2", &["a", "c"]), ("p4", &["a"]), ("p5", &["b"])]);
    let ticks = log_of(&records, &[(300, vec![available("p3", 300, "sold_out")])]);
    let events = eight_items();
    let world = World { events: &events, records: &ticks[0].records, controls: &[], ended: false };
    // p is 8, and v the quantised count of the pair.
    let pool = pools(world, &params, 100)["bob"].clone();
    let expected = [("p3", 17), ("p2", 16), ("p4", 13), ("p5", 12), ("p6", 10), ("p7", 8), ("p8", 6)];
    assert_eq!(pool, expected.map(|(item, v)| (item.to_owned(), 2 * 8 * v)));
    // Without p3 the best is 16. After p2: p4 89 * 832 - 11 * 512 = 68416, p5 89 * 768 = 68352. With 17 as the best they
    // would have 89 * 783 - 11 * 512 = 64055 and 89 * 722 = 64258.
    assert_eq!(bob(&ticks, &params).pop().unwrap(), (300, "p2 p4".to_owned()));
}

#[test]
fn a_pool_of_4k_runs_short_below_k() {
    let evaluated_when_lost = |lost: usize, params: &Params| {
        let order = ["p3", "p2", "p4", "p5", "p6", "p7", "p8"];
        let gone: Vec<_> = order[..lost].iter().map(|item| available(item, 300, "sold_out")).collect();
        let ticks = log_of(&[], &[(300, gone)]);
        let ticks = evaluations(&Run { resumed: None, ticks: &ticks, ends: false }, params);
        ticks.iter().any(|tick| tick.at == 300 && tick.users.contains("bob"))
    };
    // Of four, one must be left.
    let params = every_6400(diverse(1, 10));
    assert_eq!([1, 2, 3, 4].map(|lost| evaluated_when_lost(lost, &params)), [false, false, false, true]);
    let params = every_6400(capped(1, 1, 0, true));
    assert_eq!([3, 4].map(|lost| evaluated_when_lost(lost, &params)), [false, true]);
    // Without either the pool has two.
    let params = every_6400(diverse(1, 0));
    assert_eq!([1, 2].map(|lost| evaluated_when_lost(lost, &params)), [false, true]);
    // A pool of seven is not full with k = 2.
    let params = every_6400(diverse(2, 10));
    assert_eq!([6, 7].map(|lost| evaluated_when_lost(lost, &params)), [false, false]);
}

#[test]
fn a_group_that_changes_shows_at_the_next_evaluation() {
    let params = every_6400(Params { k: 2, ..without_expiry() });
    let group = |item, at, group| record(item, at, &[("group", group)]);
    let first = [group("p3", 0, text("g")), group("p2", 0, text("g"))];
    let apart = (200, vec![group("p2", 200, None)]);
    let ticks = log_of(&first, &[apart.clone(), (2_699, Vec::new())]);
    assert_eq!(bob(&ticks, &params), expected(&[(100, "p3 p4")]));
    let ticks = log_of(&first, &[apart, (2_700, Vec::new())]);
    assert_eq!(bob(&ticks, &params), expected(&[(100, "p3 p4"), (2_700, "p3 p2")]));
    // Together again, and p4 is lost: both stay in the list.
    let together = (200, vec![group("p3", 200, text("g")), group("p2", 200, text("g"))]);
    let lost = (300, vec![available("p4", 300, "sold_out")]);
    let ticks = log_of(&[], &[together, lost, (2_700, Vec::new())]);
    assert_eq!(bob(&ticks, &params), expected(&[(100, "p3 p2"), (2_700, "p3 p5")]));
    // The item of the group that was not in the pool is no substitute for the one that is lost.
    let ticks = log_of(&first, &[(300, vec![available("p3", 300, "sold_out")]), (2_700, Vec::new())]);
    assert_eq!(bob(&ticks, &params), expected(&[(100, "p3 p4"), (300, "p4 p5"), (2_700, "p2 p4")]));
}
