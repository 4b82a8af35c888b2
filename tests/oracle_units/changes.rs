//! The stream of changes.

use super::{ann_and_bob, ev, items_only, names, pairs_with_p1, without_expiry};
use crate::support::oracle::changes::{OracleChange, changes};
use crate::support::oracle::{OracleEvent, Params};

/// One tick per event.
pub(super) fn ticks(events: Vec<OracleEvent>) -> Vec<(u64, Vec<OracleEvent>)> {
    events.into_iter().map(|event| (event.ts, vec![event])).collect()
}

/// A change without its user and scores: at, items, entered, left.
pub(super) type BriefChange<'r> = (u64, Vec<&'r str>, Vec<&'r str>, Vec<&'r str>);

pub(super) fn changes_of<'r>(records: &'r [OracleChange], user: &str) -> Vec<BriefChange<'r>> {
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
    assert_eq!(emitted[0].items, [("p2".to_owned(), 1_456)]);
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
    // C_12 rises from 2 to 6: p2 overtakes p3.
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
