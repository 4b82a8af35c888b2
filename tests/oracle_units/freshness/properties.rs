//! What holds for every log.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::support::graph;
use crate::support::logs::{catalogue_params, ids, item_records, log, params, refresh, skipped, ticks_that_take_back};
use crate::support::oracle::catalogue::OracleItemRecord;
use crate::support::oracle::changes::{
    OracleChange, changes_to_the_end, coalesced_changes, resumed_changes, similar_user_rows,
};
use crate::support::oracle::diversity::{pick, pool_length};
use crate::support::oracle::evaluations::{CoalescedTick, Resumed, Run, kept};
use crate::support::oracle::standing::evaluations;
use crate::support::oracle::taking_back::in_force;
use crate::support::oracle::users::similar_users;
use crate::support::oracle::{List, OracleEvent, Params, World, audience, history, lists, pools, without_scores};

type Standing = BTreeMap<String, Vec<String>>;

/// Random parameters with a key and `refresh`.
fn refreshed() -> impl Strategy<Value = Params> {
    let refreshed = |(params, ids, refresh, skipped)| Params { ids, refresh, skipped, membership: false, ..params };
    (params(), ids(), refresh(), skipped()).prop_map(refreshed)
}

/// Random ticks of one event or several. In some of them things are taken back.
fn ticks() -> impl Strategy<Value = Vec<CoalescedTick>> {
    let taking_back = ticks_that_take_back(40, &[1, 1, 2, 5]);
    let taking_back = taking_back.prop_map(|ticks| ticks.iter().map(graph::Tick::coalesced).collect());
    prop_oneof![ticks_with_pauses(), taking_back]
}

/// Between some of them there are pauses, longer than anything is kept or not.
fn ticks_with_pauses() -> impl Strategy<Value = Vec<CoalescedTick>> {
    let pauses = prop::collection::vec(prop::sample::select(vec![0_u64, 0, 0, 1, 5, 40, 130]), 40);
    (log(40), prop::sample::select(vec![1_usize, 1, 2, 5]), pauses).prop_map(|(mut log, size, pauses)| {
        let mut pause = 0;
        for (event, more) in log.iter_mut().zip(pauses) {
            event.ts += pause;
            pause += more;
        }
        let tick = |tick: graph::Tick| CoalescedTick::of_events(tick.since, tick.at, tick.events);
        graph::ticks(&log, size).into_iter().map(tick).collect()
    })
}

/// Random parameters and ticks with a catalogue. Its records arrive in any tick, or in one of their own after it. Lists are
/// short, so that pools run short.
fn with_catalogue() -> impl Strategy<Value = (Vec<CoalescedTick>, Params)> {
    let arrivals = prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(0..10_u64)), 60);
    let drawn = (ticks(), refreshed(), catalogue_params(), item_records(40), arrivals, any::<bool>());
    drawn.prop_map(|(mut ticks, params, catalogue, records, arrivals, first)| {
        for (record, (index, alone)) in records.into_iter().zip(arrivals) {
            let index = if first || record.ts == 0 { 0 } else { index.index(ticks.len()) };
            if let Some(later) = alone {
                let before_next = ticks.get(index + 1).map_or(u64::MAX, |next| next.since);
                let at = ticks[index].at.max(before_next.min(ticks[index].at + later));
                let of_its_own = CoalescedTick { records: vec![record], ..CoalescedTick::of_events(at, at, vec![]) };
                ticks.insert(index + 1, of_its_own);
            } else {
                ticks[index].records.push(record);
            }
        }
        let (k, neighbours) = (params.k.min(2), params.neighbours + 4);
        (ticks, Params { k, neighbours, catalogue: Some(catalogue), ..params })
    })
}

/// Random parameters and ticks, with a catalogue or without.
fn with_or_without_catalogue() -> impl Strategy<Value = (Vec<CoalescedTick>, Params)> {
    prop_oneof![1 => (ticks(), refreshed()), 3 => with_catalogue()]
}

/// The record of a user whose standing list becomes these items, if it is another sequence.
fn change(standing: &mut Standing, user: &str, at: u64, items: Vec<(String, i64)>) -> Option<OracleChange> {
    let new: Vec<String> = items.iter().map(|(item, _)| item.clone()).collect();
    let old = standing.insert(user.to_owned(), new.clone()).unwrap_or_default();
    let entered = new.iter().filter(|item| !old.contains(item)).cloned().collect();
    let left = old.iter().filter(|item| !new.contains(item)).cloned().collect();
    (new != old).then(|| OracleChange { user: user.to_owned(), at, items, entered, left, why: Vec::new() })
}

/// The rule without standing lists: every tick evaluates all users.
fn changes_of_all_users(ticks: &[CoalescedTick], params: &Params) -> Vec<OracleChange> {
    let mut records = Vec::new();
    let mut emitted = Standing::new();
    let mut emit = |tick: &Everything| {
        let mut lists = lists(tick.world(), params, tick.at);
        let users: BTreeSet<String> = emitted.keys().chain(lists.keys()).cloned().collect();
        for user in users {
            records.extend(change(&mut emitted, &user, tick.at, lists.remove(&user).unwrap_or_default()));
        }
    };
    for tick in every_millisecond(ticks, false) {
        emit(&tick);
    }
    records
}

/// What had arrived at the end of a tick.
#[derive(Clone, Debug)]
struct Everything {
    since: u64,
    at: u64,
    events: Vec<OracleEvent>,
    records: Vec<OracleItemRecord>,
    ended: bool,
}

impl Everything {
    fn world(&self) -> World<'_> {
        World { events: &self.events, records: &self.records, controls: &[], ended: self.ended }
    }
}

/// A tick in every millisecond between the first and the last, and that of the end.
fn every_millisecond(ticks: &[CoalescedTick], ends: bool) -> Vec<Everything> {
    let mut all = Vec::new();
    let (mut events, mut records) = (Vec::new(), Vec::new());
    let mut before: Option<Everything> = None;
    for tick in ticks {
        if let Some(before) = before {
            all.extend((before.at + 1..tick.since).map(|t| Everything { since: t, at: t, ..before.clone() }));
        }
        events.extend(tick.events.clone());
        records.extend(tick.records.clone());
        let (events, records) = (events.clone(), records.clone());
        let end_of_tick = Everything { since: tick.since, at: tick.at, events, records, ended: false };
        all.push(end_of_tick.clone());
        before = Some(end_of_tick);
    }
    all.extend(before.filter(|_| ends).map(|before| Everything { ended: true, ..before }));
    all
}

/// What is left of a viewer's pool, how much it was, and the standing list.
type Pools = BTreeMap<String, (List, usize, List)>;

/// The rule with a tick in every millisecond and nothing left out.
fn changes_with_a_tick_in_every_millisecond(ticks: &[CoalescedTick], ends: bool, params: &Params) -> Vec<OracleChange> {
    let d = u128::from(params.refresh);
    let is_boundary =
        |user: &str, t: u64| (u128::from(t) + u128::from(params.ids.id64(user)) % 64 * d / 64).is_multiple_of(d);
    let (mut records, mut standing, mut left) = (Vec::new(), Standing::new(), Pools::new());
    let (mut kept_before, mut in_force_before) = (BTreeSet::new(), BTreeSet::new());
    let mut audience_before = BTreeSet::<String>::new();
    let mut time_before = None;
    for tick in every_millisecond(ticks, ends) {
        let (at, arrived) = (tick.at, &tick.events);
        let (kept, in_force) = (kept(arrived, params, at), in_force(arrived, params, at));
        let viewers: BTreeSet<String> =
            audience(arrived, &history(arrived, params, at), params, at).into_iter().map(str::to_owned).collect();
        let pools = pools(tick.world(), params, at);
        let (eligible, items) = (tick.world().eligible(params, at), tick.world().items(at));
        let users: BTreeSet<String> = arrived.iter().map(|event| event.user.clone()).collect();
        for user in users {
            let mut news = kept.difference(&kept_before).chain(in_force.difference(&in_force_before));
            let acts = news.any(|event| event.user == user);
            let enters_or_leaves = viewers.contains(&user) != audience_before.contains(&user);
            let mut taken = (tick.since..=at).filter(|t| time_before.is_none_or(|before| before < *t));
            let (pool, size, list) = left.entry(user.clone()).or_default();
            if pool.iter().any(|(item, _)| !eligible.contains(item)) {
                pool.retain(|(item, _)| eligible.contains(item));
                *list = pick(pool, &items, params);
            }
            let is_evaluated = params.refresh == 0
                || acts
                || enters_or_leaves
                || (viewers.contains(&user) && (tick.ended || taken.any(|t| is_boundary(&user, t))))
                || (*size == pool_length(params) && pool.len() < params.k);
            if is_evaluated {
                *pool = pools.get(&user).cloned().unwrap_or_default();
                *size = pool.len();
                *list = pick(pool, &items, params);
            }
            records.extend(change(&mut standing, &user, at, list.clone()));
            let lost: Vec<&String> = standing[&user].iter().filter(|item| !eligible.contains(item)).collect();
            assert!(lost.is_empty(), "{lost:?} at {at}");
        }
        (kept_before, in_force_before, audience_before) = (kept, in_force, viewers);
        time_before = Some(at);
    }
    records
}

/// The standing lists after these records.
fn standing_after(records: &[OracleChange]) -> Standing {
    let list = |record: &OracleChange| record.items.iter().map(|(item, _)| item.clone()).collect();
    records.iter().map(|record| (record.user.clone(), list(record))).collect()
}

fn events_of(ticks: &[CoalescedTick]) -> Vec<OracleEvent> {
    ticks.iter().flat_map(|tick| tick.events.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_evaluation_is_skipped_that_emits_anything(
        (ticks, params) in with_or_without_catalogue(),
        ends in any::<bool>(),
    ) {
        let expected = changes_with_a_tick_in_every_millisecond(&ticks, ends, &params);
        let found = if ends { changes_to_the_end(&ticks, &params) } else { coalesced_changes(&ticks, &params) };
        prop_assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn with_a_refresh_of_0_every_tick_evaluates_all_users((ticks, params) in with_or_without_catalogue()) {
        let params = Params { refresh: 0, ..params };
        let expected = changes_of_all_users(&ticks, &params);
        prop_assert_eq!(&coalesced_changes(&ticks, &params), &expected);
        let end = ticks.last().unwrap().at;
        let is_ahead = |record: &OracleItemRecord| record.ts > end;
        if !ticks.iter().flat_map(|tick| &tick.records).any(is_ahead) {
            prop_assert_eq!(&changes_to_the_end(&ticks, &params), &expected);
        }
    }

    /// Without reorderings there are the records whose set of items is not that of the last record before them that counts.
    #[test]
    fn membership_leaves_out_records_with_the_same_set(ticks in ticks(), params in refreshed(), ends in any::<bool>()) {
        let run = |params: &Params| {
            let changes = if ends { changes_to_the_end(&ticks, params) } else { coalesced_changes(&ticks, params) };
            changes.into_iter().map(|change| (change.user, change.at, change.items)).collect::<Vec<_>>()
        };
        let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut expected = run(&params);
        expected.retain(|(user, _, items)| {
            let set: BTreeSet<String> = items.iter().map(|(item, _)| item.clone()).collect();
            sets.insert(user.clone(), set.clone()).unwrap_or_default() != set
        });
        prop_assert_eq!(run(&Params { membership: true, ..params }), expected);
    }

    /// Each record is R(`at`), at an evaluation of its user, and is not the list before it.
    #[test]
    fn every_record_is_r_at_an_evaluation_and_news(ticks in ticks(), params in refreshed()) {
        let events = events_of(&ticks);
        let evaluated = evaluations(&Run { resumed: None, ticks: &ticks, ends: true }, &params);
        let mut standing = Standing::new();
        for record in changes_to_the_end(&ticks, &params) {
            let of_record = evaluated.iter().filter(|tick| tick.at == record.at && tick.users.contains(&record.user));
            let mut r = of_record.map(|tick| lists(&events[..tick.arrived], &params, record.at).remove(&record.user));
            prop_assert!(r.any(|list| list.unwrap_or_default() == record.items), "{:?}", record);
            let items: Vec<String> = record.items.iter().map(|(item, _)| item.clone()).collect();
            let before = standing.insert(record.user.clone(), items.clone()).unwrap_or_default();
            prop_assert_ne!(before, items);
        }
    }

    #[test]
    fn the_last_lists_of_an_input_that_ends_are_r(ticks in ticks(), params in refreshed()) {
        let end = ticks.last().unwrap().at;
        let events = events_of(&ticks);
        let mut last = standing_after(&changes_to_the_end(&ticks, &params));
        last.retain(|_, list| !list.is_empty());
        prop_assert_eq!(last, without_scores(lists(&events, &params, end)));
        // So are the rows of similar users.
        let rows = similar_user_rows(&Run { resumed: None, ticks: &ticks, ends: true }, &params);
        let mut last: BTreeMap<String, BTreeSet<(String, u64)>> =
            rows.into_iter().map(|row| (row.user, row.similar.into_iter().collect())).collect();
        last.retain(|_, row| !row.is_empty());
        let history = history(&events, &params, end);
        let expected = similar_users(&history, &audience(&events, &history, &params, end), &params);
        let expected = expected.into_iter().map(|(user, row)| (user, row.into_iter().collect())).collect();
        prop_assert_eq!(last, expected);
    }

    /// Wherever it is cut: after any tick, or some time later but before the next.
    #[test]
    fn a_run_that_is_cut_and_resumed_gives_the_same_records(
        ticks in ticks(),
        params in refreshed(),
        ends in any::<bool>(),
        cut in any::<prop::sample::Index>(),
        pause in any::<prop::sample::Index>(),
    ) {
        let run = |ticks: &[CoalescedTick], ends| {
            if ends { changes_to_the_end(ticks, &params) } else { coalesced_changes(ticks, &params) }
        };
        let (first, rest) = ticks.split_at(cut.index(ticks.len()) + 1);
        let before = first.last().unwrap().at;
        let gap = rest.first().map_or(1, |tick| tick.since.saturating_sub(before).max(1));
        let at = before + pause.index(gap as usize) as u64;
        // An empty tick changes nothing, so the run up to `at` is the run with an empty tick there.
        let until_the_cut = [first, &[CoalescedTick::of_events(at, at, Vec::new())]].concat();
        prop_assert_eq!(run(&[&until_the_cut[..], rest].concat(), ends), run(&ticks, ends));
        let mut records = coalesced_changes(&until_the_cut, &params);
        let resumed = Resumed { at, events: events_of(first), records: Vec::new(), controls: Vec::new(), standing: standing_after(&records) };
        records.extend(resumed_changes(&resumed, rest, ends, &params));
        prop_assert_eq!(records, run(&ticks, ends));
    }

    /// An event is kept, or in force, anew only when it arrives or its time comes: no expiry and no displacement makes
    /// one so.
    #[test]
    fn only_arrivals_make_an_event_kept_or_in_force(ticks in ticks(), params in refreshed(), later in 0..100_u64) {
        let events = events_of(&ticks);
        let end = ticks.last().unwrap().at;
        let comes_later = |event: &OracleEvent| event.ts > end;
        let still_kept = kept(&events, &params, end + later);
        prop_assert!(still_kept.difference(&kept(&events, &params, end)).all(comes_later));
        let still_in_force = in_force(&events, &params, end + later);
        prop_assert!(still_in_force.difference(&in_force(&events, &params, end)).all(comes_later));
        for n in 1..events.len() {
            let (before, after) = (kept(&events[..n - 1], &params, end), kept(&events[..n], &params, end));
            prop_assert!(after.difference(&before).all(|event| *event == events[n - 1]));
            let (before, after) = (in_force(&events[..n - 1], &params, end), in_force(&events[..n], &params, end));
            prop_assert!(after.difference(&before).all(|event| *event == events[n - 1]));
        }
    }
}
