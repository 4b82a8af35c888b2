//! The stream of changes, record by record, and that of the rows of similar users.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::evaluations::{CoalescedTick, EvaluatedTick, Resumed, Run, evaluations};
use super::{OracleEvent, Params, audience, history, lists, users};

/// A change: a user's new list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OracleChange {
    /// Name of the user.
    pub(crate) user: String,
    /// Tick t for which `items` is R(t).
    pub(crate) at: u64,
    /// The whole list with its totals, best first.
    pub(crate) items: Vec<(String, i64)>,
    /// Items that the list before did not contain, in the order of the new list.
    pub(crate) entered: Vec<String>,
    /// Items that only the list before contained, in the order of the old list.
    pub(crate) left: Vec<String>,
}

/// All changes when each entry of `ticks`, `(at, events that arrived)`, is one tick. `at` must not decrease.
/// Changes are ordered by tick, and within a tick, where the order is unspecified, by the user's name.
///
/// The input has got so far and has not ended.
pub(crate) fn changes(ticks: &[(u64, Vec<OracleEvent>)], params: &Params) -> Vec<OracleChange> {
    let single: Vec<_> = ticks.iter().map(|(at, events)| (*at, *at, events.clone())).collect();
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
/// > The **standing list** of u is `R_u(e)`, where the tick e is the latest **evaluation** of u; the empty list before the
/// > first.
///
/// > A run that resumes begins with the standing lists of its output.
fn changes_of_run(run: &Run, params: &Params) -> Vec<OracleChange> {
    let mut standing = run.resumed.map(|resumed| resumed.standing.clone()).unwrap_or_default();
    let mut records = Vec::new();
    for_each_tick(
        run,
        params,
        |events, t| lists(events, params, t),
        |tick, lists| emit_changes(params, &mut standing, tick, lists, &mut records),
    );
    records
}

/// Goes through the ticks of a run that have evaluations, with what `compute` makes of the events that had arrived and the
/// time. It is computed once for successive ticks between which R does not change.
fn for_each_tick<S>(
    run: &Run,
    params: &Params,
    compute: impl Fn(&[OracleEvent], u64) -> S,
    mut emit: impl FnMut(&EvaluatedTick, &S),
) {
    let events = run.events();
    let mut last: Option<((usize, u64), S)> = None;
    for tick in evaluations(run, params) {
        let key = (tick.arrived, tick.unchanged_since);
        let state = match last {
            Some((last, state)) if last == key => state,
            _ => compute(&events[..tick.arrived], tick.unchanged_since),
        };
        emit(&tick, &state);
        last = Some((key, state));
    }
}

/// > A **change** is emitted for a user whose standing list at the end of a tick is a different sequence of items than the
/// > last one emitted. Before the first change that is the empty list. `entered` is in the order of the new list, `left`
/// > in the order of the old one. A mere reordering is emitted with both empty, and not at all with
/// > `graph.emit = "membership"`: then a change is emitted if the *set* of items differs from that of the last list
/// > emitted. A change of scores alone is not emitted.
/// > `at` is the tick of the evaluation, so `items` is R(`at`).
fn emit_changes(
    params: &Params,
    standing: &mut BTreeMap<String, Vec<String>>,
    tick: &EvaluatedTick,
    lists: &BTreeMap<String, Vec<(String, i64)>>,
    records: &mut Vec<OracleChange>,
) {
    for user in &tick.users {
        let items = lists.get(user).cloned().unwrap_or_default();
        let new: Vec<String> = items.iter().map(|(item, _)| item.clone()).collect();
        let old = standing.get(user).cloned().unwrap_or_default();
        let set = |items: &[String]| items.iter().cloned().collect::<BTreeSet<_>>();
        let is_other = if params.membership { set(&new) != set(&old) } else { new != old };
        if is_other {
            standing.insert(user.clone(), new.clone());
            let entered = new.iter().filter(|item| !old.contains(item)).cloned().collect();
            let left = old.iter().filter(|item| !new.contains(item)).cloned().collect();
            records.push(OracleChange { user: user.clone(), at: tick.at, items, entered, left });
        }
    }
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
    let rows_at = |events: &[OracleEvent], t| {
        let history = history(events, params, t);
        let mut rows = users::similar_users(&history, &audience(events, &history, params, t), params);
        for row in rows.values_mut() {
            row.sort_by_key(|(user, w)| (Reverse(*w), params.ids.id64(user)));
        }
        rows
    };
    let mut before: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    let mut emitted = Vec::new();
    for_each_tick(run, params, rows_at, |tick, rows| {
        for user in &tick.users {
            let similar = rows.get(user).cloned().unwrap_or_default();
            let old = before.insert(user.clone(), similar.clone()).unwrap_or_default();
            if similar != old {
                emitted.push(OracleRow { user: user.clone(), at: tick.at, similar });
            }
        }
    });
    emitted
}
