//! The stream of changes, record by record, and that of the rows of similar users.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::evaluations::{CoalescedTick, Resumed, Run};
use super::reasons::Reason;
use super::standing::{Computed, StandingList, evaluations, for_each_tick};
use super::{List, OracleEvent, Params, World, audience, history, users};

/// A change: a user's new list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OracleChange {
    /// Name of the user.
    pub(crate) user: String,
    /// Tick t for which `items` is R(t), or in which the list lost an item.
    pub(crate) at: u64,
    /// The whole list with its totals, best first.
    pub(crate) items: List,
    /// Items that the list before did not contain, in the order of the new list.
    pub(crate) entered: Vec<String>,
    /// Items that only the list before contained, in the order of the old list.
    pub(crate) left: Vec<String>,
    /// The shown reasons of each item of the list; without reasons, empty.
    pub(crate) why: Vec<Vec<Reason>>,
}

/// All changes when each entry of `ticks`, `(at, events that arrived)`, is one tick. `at` must not decrease.
/// Changes are ordered by tick, and within a tick, where the order is unspecified, by the user's name.
///
/// The input has got so far and has not ended.
pub(crate) fn changes(ticks: &[(u64, Vec<OracleEvent>)], params: &Params) -> Vec<OracleChange> {
    let single: Vec<_> = ticks.iter().map(|(at, events)| CoalescedTick::of_events(*at, *at, events.clone())).collect();
    coalesced_changes(&single, params)
}

/// The same for coalesced ticks.
pub(crate) fn coalesced_changes(ticks: &[CoalescedTick], params: &Params) -> Vec<OracleChange> {
    changes_of_run(&Run { resumed: None, ticks, ends: false }, params)
}

/// The same for an input that ends after the last tick.
pub(crate) fn changes_to_the_end(ticks: &[CoalescedTick], params: &Params) -> Vec<OracleChange> {
    changes_of_run(&Run { resumed: None, ticks, ends: true }, params)
}

/// The changes of a run that resumes, from an input that ends or not.
pub(crate) fn resumed_changes(
    resumed: &Resumed,
    ticks: &[CoalescedTick],
    ends: bool,
    params: &Params,
) -> Vec<OracleChange> {
    changes_of_run(&Run { resumed: Some(resumed), ticks, ends }, params)
}

/// The changes of any run.
///
/// > A run that resumes begins with the standing lists of its output.
pub(crate) fn changes_of_run(run: &Run, params: &Params) -> Vec<OracleChange> {
    let mut emitted = run.resumed.map(|resumed| resumed.standing.clone()).unwrap_or_default();
    let mut records = Vec::new();
    for_each_tick(run, params, |tick, standing| {
        for (user, list) in standing {
            records.extend(change(params, &mut emitted, user, tick.at, list));
        }
    });
    records
}

/// > A **change** is emitted for a user whose standing list at the end of a tick is a different sequence of items than the
/// > last one emitted. Before the first change that is the empty list. `entered` is in the order of the new list, `left`
/// > in the order of the old one. A mere reordering is emitted with both empty, and not at all with
/// > `graph.emit = "membership"`: then a change is emitted if the *set* of items differs from that of the last list
/// > emitted. A change of scores alone is not emitted.
/// > `at` is the tick of the evaluation, so `items` is R(`at`), or the tick in which the list lost an item.
///
/// Takes the standing list at the end of a tick.
fn change(
    params: &Params,
    emitted: &mut BTreeMap<String, Vec<String>>,
    user: &str,
    at: u64,
    list: &StandingList,
) -> Option<OracleChange> {
    let StandingList { items, why } = list;
    let new: Vec<String> = items.iter().map(|(item, _)| item.clone()).collect();
    let old = emitted.get(user).cloned().unwrap_or_default();
    let set = |items: &[String]| items.iter().cloned().collect::<BTreeSet<_>>();
    let is_other = if params.membership { set(&new) != set(&old) } else { new != old };
    is_other.then(|| {
        emitted.insert(user.to_owned(), new.clone());
        let entered = new.iter().filter(|item| !old.contains(item)).cloned().collect();
        let left = old.iter().filter(|item| !new.contains(item)).cloned().collect();
        OracleChange { user: user.to_owned(), at, items: items.clone(), entered, left, why: why.clone() }
    })
}

/// A changed row of similar users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OracleRow {
    /// Name of the user.
    pub(crate) user: String,
    /// Tick of the evaluation.
    pub(crate) at: u64,
    /// Similar users with `w_uv`, most similar first.
    pub(crate) similar: Vec<(String, u64)>,
}

/// > The stream of similar users (`--output-similar-users`) emits a row for each evaluation of a user whose similar users
/// > differ from those of the evaluation before, similarities included; the row of a user who leaves is empty. A row is the
/// > kept items or users with `v_ij` or `w_uv`, sorted by that descending, then by id64. Before the first, a
/// > row is empty.
///
/// The order of the rows is that of changes.
pub(crate) fn similar_user_rows(run: &Run, params: &Params) -> Vec<OracleRow> {
    let rows_at = |world: World, t| {
        let history = history(world, params, t);
        let mut rows = users::similar_users(&history, &audience(world, &history, params, t), params);
        for row in rows.values_mut() {
            row.sort_by_key(|(user, w)| (Reverse(*w), params.ids.id64(user)));
        }
        rows
    };
    let events = run.events();
    let mut computed = Computed::default();
    let mut before: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    let mut emitted = Vec::new();
    for tick in evaluations(run, params) {
        let rows = computed.at(&tick, &events, rows_at);
        for user in &tick.users {
            let similar = rows.get(user).cloned().unwrap_or_default();
            let old = before.insert(user.clone(), similar.clone()).unwrap_or_default();
            if similar != old {
                emitted.push(OracleRow { user: user.clone(), at: tick.at, similar });
            }
        }
    }
    emitted
}
