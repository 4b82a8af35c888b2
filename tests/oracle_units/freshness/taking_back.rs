//! Which events without a level, and which that are taken back, are own actions. bob's boundaries are 2700, 9100 and
//! 15500.

use super::super::taking_back::{attend, skip, unlike};
use super::*;

/// When bob sees p3 if this event of his arrives at 4100, after p1 at 3000 and these ones.
fn sees(own: &[OracleEvent], extra: OracleEvent, params: &Params) -> u64 {
    bob_sees_p3_at(&[&[ev("bob", "p1", 2, 3_000)], own].concat(), extra, params)
}

#[test]
fn a_retraction_that_comes_into_force_is_an_own_action() {
    let params = every_6400();
    assert_eq!(sees(&[], unlike("bob", "p9", 15, 0, 4_100), &params), 4_100);
    assert_eq!(sees(&[], unlike("bob", "p1", 6, 1, 4_100), &params), 4_100);
    assert_eq!(sees(&[], unlike("bob", "p9", 15, 0, 3_500), &params), 4_100, "late");
    assert_eq!(sees(&[], unlike("eve", "p9", 15, 0, 4_100), &params), 9_100, "of another");
    let own = [unlike("bob", "p9", 15, 0, 3_500)];
    assert_eq!(sees(&own, own[0].clone(), &params), 9_100, "a repetition");
    assert_eq!(sees(&own, unlike("bob", "p9", 14, 0, 3_500), &params), 4_100, "another level");
    assert_eq!(sees(&own, unlike("bob", "p9", 15, 1, 3_500), &params), 4_100, "leaves another");
    // Two are in force, and one that is older comes too late.
    let two = Params { history: 2, ..params };
    let own = [unlike("bob", "p8", 15, 0, 3_500), unlike("bob", "p9", 15, 0, 3_600)];
    assert_eq!([3_400, 3_550].map(|ts| sees(&own, unlike("bob", "p7", 15, 0, ts), &two)), [9_100, 4_100]);
}

#[test]
fn a_skip_that_comes_into_force_is_an_own_action() {
    let params = every_6400();
    assert_eq!(sees(&[], skip("bob", "p9", 4_100), &params), 4_100);
    assert_eq!(sees(&[], skip("bob", "p9", 3_500), &params), 4_100, "late");
    assert_eq!(sees(&[], skip("bob", "p9", 4_200), &params), 4_200, "at its time");
    let own = [skip("bob", "p9", 3_500)];
    assert_eq!(sees(&own, own[0].clone(), &params), 9_100, "a repetition");
    assert_eq!(sees(&own, skip("bob", "p9", 3_600), &params), 4_100, "of a later time");
    // One that is over when it arrives never was in force.
    let short = Params { skipped: 100, ..params.clone() };
    assert_eq!([4_000, 4_001].map(|ts| sees(&[], skip("bob", "p9", ts), &short)), [9_100, 4_100]);
    // 64 are kept, and one that is older comes too late.
    let own: Vec<_> = (0..64).map(|n| skip("bob", &format!("i{n}"), 3_100 + n)).collect();
    assert_eq!([3_050, 3_110].map(|ts| sees(&own, skip("bob", "p9", ts), &params)), [9_100, 4_100]);
    // p3 itself is seen when the skip is over, at the next boundary.
    assert_eq!(
        [5_000, 5_001].map(|skipped| {
            let params = Params { skipped, ..params.clone() };
            bob_sees_p3_at(&[ev("bob", "p1", 2, 3_000)], skip("bob", "p3", 4_100), &params)
        }),
        [9_100, 15_500]
    );
}

#[test]
fn a_watch_without_a_level_is_no_own_action() {
    assert_eq!(sees(&[], attend("bob", "p9", 4_100), &every_6400()), 9_100);
    assert_eq!(sees(&[], attend("bob", "p1", 4_100), &every_6400()), 9_100);
}

#[test]
fn events_are_kept_by_their_own_levels_whatever_was_taken_back() {
    let params = every_6400();
    let own = [ev("bob", "p7", 4, 3_200), unlike("bob", "p7", 15, 0, 3_500)];
    assert_eq!(sees(&own, own[0].clone(), &params), 9_100, "a repetition of a void event");
    assert_eq!(sees(&own, ev("bob", "p7", 4, 3_100), &params), 9_100, "a void event is later and not lower");
    assert_eq!(sees(&own, ev("bob", "p7", 5, 3_100), &params), 4_100, "higher, and void");
    assert_eq!(sees(&own, ev("bob", "p7", 1, 3_300), &params), 4_100, "later, and void");
    // A retraction is not an event that is not lower.
    let own = [unlike("bob", "p7", 15, 14, 3_500)];
    assert_eq!(sees(&own, ev("bob", "p7", 1, 3_300), &params), 4_100);
    let events = [ev("u", "p1", 4, 10), unlike("u", "p1", 15, 0, 20), skip("u", "p1", 30), attend("u", "p1", 40)];
    assert_eq!(kept(&events, &params, 50), BTreeSet::from([events[0].clone()]));
}

#[test]
fn what_one_takes_back_reaches_others_at_their_boundaries() {
    let log = with(cid_at_4000(), &[(4_100, vec![unlike("ann", "p2", 15, 0, 4_100)]), zoe(20_000)]);
    let emitted = changes(&log, &every_6400());
    // p2 is not similar to p1 any more.
    let at = |user: &str| {
        let of_user = emitted.iter().filter(|record| record.user == user);
        of_user.map(|record| (record.at, super::super::names(&record.items))).collect::<Vec<_>>()
    };
    assert_eq!(at("ann"), [(4_100, vec!["p3"])]);
    assert_eq!(at("bob"), [(3_000, vec!["p2"]), (9_100, vec!["p3"])]);
    assert_eq!(at("cid"), [(4_000, vec!["p2"]), (6_900, vec![])]);
}

#[test]
fn who_enters_the_audience_acts_whatever_the_event_is() {
    let params = Params { retention: 100_000, audience: Some(5_000), refresh: 6_400, ..items_only() };
    let times = |event: OracleEvent| {
        let log = with(ticks(ann_and_bob()), &[(9_500, vec![event]), zoe(20_000)]);
        times_of(&changes(&log, &params), "bob")
    };
    // 9500 is no boundary.
    assert_eq!(times(attend("bob", "p9", 9_500)), [3_000, 8_000, 9_500, 14_500]);
    assert_eq!(times(skip("bob", "p9", 9_500)), [3_000, 8_000, 9_500, 14_500]);
    assert_eq!(times(attend("bob", "p9", 4_500)), [3_000, 8_000], "9500 is not in the audience");
}

#[test]
fn with_all_a_user_without_interactions_leaves_the_audience() {
    let log = with(cid_at_4000(), &[(4_100, vec![unlike("bob", "p1", 15, 0, 4_100)]), zoe(20_000)]);
    let emitted = changes(&log, &every_6400());
    assert_eq!(changes_of(&emitted, "bob")[1..], [(4_100, vec![], vec![], vec!["p2"])]);
    let run = Run { resumed: None, ticks: &singly(&log), ends: false };
    let of_bob = evaluations(&run, &every_6400()).into_iter().filter(|tick| tick.users.contains("bob"));
    // He has no boundaries without an interaction.
    assert_eq!(of_bob.map(|tick| tick.at).collect::<Vec<_>>(), [3_000, 4_100]);
}
