//! What forgets cover, and what is paused.

use super::{forget, of_u, pause, resume, says, texts, world};
use crate::oracle_units::taking_back::{attend, skip, unlike};
use crate::oracle_units::{ev, interactions, without_expiry};
use crate::support::oracle::controls::{ControlWord, FORGETS, OracleControl, PAUSES};
use crate::support::oracle::taking_back::{in_force, kept_out};
use crate::support::oracle::{OracleEvent, Params, World, audience, history};

/// The history of u at 99 with these controls: its items.
fn items_of_u(events: &[OracleEvent], controls: &[OracleControl]) -> Vec<String> {
    let history = history(world(events, controls), &without_expiry(), 99).remove("u").unwrap_or_default();
    history.into_iter().map(|(item, ..)| item).collect()
}

#[test]
fn a_forget_covers_what_is_not_later() {
    let events = [ev("u", "p1", 3, 10), ev("u", "p2", 3, 20), ev("u", "p1", 2, 30), ev("v", "p1", 1, 10)];
    let of = |controls: &[OracleControl]| items_of_u(&events, controls);
    let item = |ts| of(&[forget("u", Some("p1"), ts)]);
    let touched = |ts| {
        let controls = [forget("u", Some("p1"), ts)];
        history(world(&events, &controls), &without_expiry(), 99)["u"].iter().find(|(item, ..)| item == "p1").cloned()
    };
    assert_eq!([9, 10, 29].map(touched).map(|found| found.map(|(_, level, _)| level)), [Some(3), Some(2), Some(2)]);
    assert_eq!((item(29), item(30)), (vec!["p1".to_owned(), "p2".to_owned()], vec!["p2".to_owned()]));
    // Without an item it is about all of them.
    let all = |ts| of(&[forget("u", None, ts)]);
    assert_eq!((all(9).len(), all(10), all(20), all(30).len()), (2, item(10), vec!["p1".to_owned()], 0));
    // Of others, or of the future.
    assert_eq!(of(&[forget("v", None, 50), forget("u", None, 100)]).len(), 2);
    // What is covered displaces.
    let one = Params { history: 1, ..without_expiry() };
    let controls = [forget("u", Some("p1"), 30)];
    assert!(!history(world(&events, &controls), &one, 99).contains_key("u"));
    // It is not undone by a later one that covers less.
    assert!(of(&[forget("u", None, 40), forget("u", Some("p2"), 50)]).is_empty());
}

#[test]
fn a_covered_retraction_does_nothing_and_keeps_its_place() {
    let events = [ev("u", "p1", 3, 10), unlike("u", "p1", 15, 0, 20), unlike("u", "p2", 15, 0, 21)];
    let params = |history| Params { history, ..without_expiry() };
    let kept_out_of = |controls: &[OracleControl], history| {
        kept_out(world(&events, controls), &params(history), 99).remove("u").unwrap_or_default()
    };
    assert_eq!(kept_out_of(&[], 9), texts(&["p1", "p2"]));
    let of_p2 = [forget("u", Some("p2"), 21)];
    assert_eq!((kept_out_of(&of_p2, 9), items_of_u(&events, &of_p2)), (texts(&["p1"]), vec![]));
    // With one place it has it, though it does nothing, and the older one has none.
    assert_eq!(kept_out_of(&of_p2, 1), texts(&[]));
    // It caps nothing: p1 of 25 is not covered, the retraction is.
    let events = [ev("u", "p1", 3, 25), unlike("u", "p1", 15, 0, 30)];
    assert_eq!(items_of_u(&events, &[forget("u", Some("p1"), 20)]).len(), 0);
    assert_eq!(items_of_u(&[unlike("u", "p1", 15, 0, 20), ev("u", "p1", 3, 20)], &[]).len(), 0);
    let late = [ev("u", "p1", 3, 25), unlike("u", "p1", 15, 0, 30), ev("u", "p1", 2, 31)];
    assert_eq!(items_of_u(&late, &[forget("u", Some("p1"), 30)]), ["p1"]);
    // A retraction and a skip that are covered are still in force.
    let both = [unlike("u", "p1", 15, 0, 20), skip("u", "p2", 20)];
    let everything = [forget("u", None, 50)];
    assert_eq!(in_force(world(&both, &everything), &without_expiry(), 99).len(), 2);
    assert!(kept_out(world(&both, &everything), &without_expiry(), 99).is_empty());
}

#[test]
fn a_covered_skip_does_nothing_and_keeps_its_place() {
    let mut events = vec![skip("u", "p1", 10)];
    events.extend((0..63).map(|n| skip("u", &format!("i{n}"), 20)));
    let of = |events: &[OracleEvent], controls: &[OracleControl]| {
        kept_out(world(events, controls), &without_expiry(), 99).remove("u").unwrap_or_default()
    };
    let forgotten = [forget("u", Some("i0"), 20)];
    assert_eq!((of(&events, &[]).len(), of(&events, &forgotten).len()), (64, 63));
    assert!(of(&events, &[forget("u", Some("i0"), 19)]).contains("i0"));
    // One more displaces that of p1, although that of i0 does nothing.
    events.push(skip("u", "i63", 20));
    assert!(!of(&events, &forgotten).contains("p1") && of(&events, &forgotten).len() == 63);
}

#[test]
fn of_the_forgets_of_a_user_1000_are_in_force() {
    let events = [ev("u", "p1", 3, 40), ev("u", "p2", 3, 50), ev("u", "p3", 3, 60)];
    let many = |number: u64| (0..number).map(|n| forget("u", Some(&format!("i{n}")), 55)).collect::<Vec<_>>();
    let with = |older: &[OracleControl], number| items_of_u(&events, &[older, &many(number)].concat());
    let of_p1 = [forget("u", Some("p1"), 50)];
    assert_eq!((FORGETS, with(&of_p1, 999)), (1_000, vec!["p3".to_owned(), "p2".to_owned()]));
    // All events up to that of p1 are covered, which is not in force any more.
    assert_eq!(with(&of_p1, 1_000), ["p3"]);
    // Up to the newest of the others.
    let two = [forget("u", Some("p1"), 39), forget("u", Some("p9"), 45)];
    assert_eq!(with(&two, 1_000), ["p3", "p2"]);
    // Of equal times the least target is the oldest, and none is the least.
    let everything = [forget("u", None, 55)];
    assert_eq!((with(&everything, 999), with(&everything, 1_000)), (vec!["p3".to_owned()], vec!["p3".to_owned()]));
    let force = |older: &OracleControl, number| {
        of_u(&[std::slice::from_ref(older), &many(number)].concat(), 99, |controls| controls.in_force().contains(older))
    };
    assert_eq!([999, 1_000].map(|number| force(&everything[0], number)), [true, false]);
    assert_eq!([999, 1_000].map(|number| force(&forget("u", Some("a"), 55), number)), [true, false]);
    assert_eq!([999, 1_000].map(|number| force(&forget("u", Some("z"), 55), number)), [true, true]);
    // Repetitions and other users take no place.
    let twice = [&of_p1[..], &many(999), &many(999), &[forget("v", None, 90)]].concat();
    assert_eq!(items_of_u(&events, &twice).len(), 2);
}

const NEVER: [u64; 0] = [];

/// The times from 0 to 9 at which an event of u is paused.
fn paused(controls: &[OracleControl]) -> Vec<u64> {
    (0..10).filter(|ts| of_u(controls, 99, |controls| controls.pauses_event(&ev("u", "p1", 1, *ts)))).collect()
}

#[test]
fn what_happens_between_a_pause_and_a_resume_is_paused() {
    assert_eq!(paused(&[]), NEVER);
    assert_eq!(paused(&[pause(3), resume(6)]), [3, 4, 5]);
    assert_eq!(paused(&[pause(3)]), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(paused(&[resume(3)]), NEVER);
    // At equal `ts` a pause holds.
    assert_eq!(paused(&[pause(3), resume(3), resume(5)]), [3, 4]);
    // All records count, not only the last ones of their kind.
    assert_eq!(paused(&[pause(1), resume(2), pause(4), pause(5), resume(7), resume(9)]), [1, 4, 5, 6]);
    // One that acts later does not yet.
    assert!(!of_u(&[pause(3)], 2, |controls| controls.pauses_event(&ev("u", "p1", 1, 9))));
    assert_eq!(paused(&[says("v", 3, ControlWord::Pause), forget("u", None, 5)]), NEVER);
}

#[test]
fn a_paused_event_counts_for_the_audience_and_for_nothing_else() {
    let params = Params { history: 1, audience: Some(20), ..without_expiry() };
    let controls = [pause(30), resume(40)];
    let first = ev("u", "p1", 3, 10);
    for event in [
        ev("u", "p2", 5, 35),
        ev("u", "p1", 5, 35),
        unlike("u", "p1", 15, 0, 35),
        skip("u", "p3", 35),
        attend("u", "p3", 35),
    ] {
        let events = [first.clone(), event.clone()];
        let world = world(&events, &controls);
        let found = history(world, &params, 50);
        assert_eq!(found["u"], interactions(&[("p1", 3, 10)]), "{event:?}");
        assert!(kept_out(world, &params, 50).is_empty() && in_force(world, &params, 50).is_empty());
        assert_eq!([54, 55].map(|t| audience(world, &found, &params, t).contains("u")), [true, false]);
        // Alone it makes nobody a viewer.
        assert!(history(World { events: &events[1..], ..world }, &params, 50).is_empty());
    }
    // It is not touched: p2 does not displace p1. An event of before and one of after do.
    let displaced = |ts| {
        let events = [first.clone(), ev("u", "p2", 5, ts)];
        history(world(&events, &controls), &params, 50)["u"][0].0.clone()
    };
    assert_eq!([29, 30, 39, 40].map(displaced), ["p2", "p1", "p1", "p2"]);
}

#[test]
fn of_the_pauses_of_a_user_128_are_in_force() {
    // Pairs of a pause and a resume at 20, 21, ... Before them, a pause at 3 and a resume at 5.
    let pairs = |number: u64| (20..20 + number).flat_map(|ts| [pause(ts), resume(ts)]).collect::<Vec<_>>();
    let with = |older: &[OracleControl], pairs: &[OracleControl]| paused(&[older, pairs].concat());
    let older = [pause(3), resume(5)];
    assert_eq!((PAUSES, with(&older, &pairs(63))), (128, vec![3, 4]));
    // 129 records: the oldest in force is the resume at 5. Everything before it is paused.
    assert_eq!(with(&older, &[pairs(63), vec![resume(90)]].concat()), [0, 1, 2, 3, 4]);
    // Then it is the first of the pairs.
    assert_eq!(with(&older, &pairs(64)), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // At equal `ts` a pause is the newer: the resume at 5 is the one that is displaced.
    let equal = [pause(5), resume(5), resume(7)];
    assert_eq!(with(&equal, &[pairs(62), vec![resume(90)]].concat()), [5, 6]);
    assert_eq!(with(&equal, &pairs(63)), [0, 1, 2, 3, 4, 5, 6]);
    // Repetitions and other controls take no place.
    let twice =
        [pairs(63), pairs(63), vec![forget("u", Some("i"), 90), says("u", 91, ControlWord::PersonalOn)]].concat();
    assert_eq!(with(&older, &twice), [3, 4]);
}
