//! The stream of changes, record by record.

use std::collections::{BTreeMap, BTreeSet};

use super::{OracleEvent, Params, lists};

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
/// > An expiry, or an exit from the audience, takes effect at its own millisecond, even if no event falls there.
///
/// > Nothing happens after the last tick of a finite input.
///
/// So between two entries there is a tick for every millisecond at which time alone can change R. What falls due exactly
/// at the `at` of an entry takes effect in that entry; if several entries have this `at`, in the first of them.
pub(crate) fn changes(ticks: &[(u64, Vec<OracleEvent>)], params: &Params) -> Vec<OracleChange> {
    let single: Vec<_> = ticks.iter().map(|(at, events)| (*at, *at, events.clone())).collect();
    coalesced_changes(&single, params)
}

/// The same for coalesced ticks `(since, at, events that arrived)`: each stands for all milliseconds from `since` to `at`.
///
/// > When a replay takes several milliseconds together (`input.batch`), they are one tick, at the last of them.
pub(crate) fn coalesced_changes(ticks: &[(u64, u64, Vec<OracleEvent>)], params: &Params) -> Vec<OracleChange> {
    let mut records = Vec::new();
    let mut arrived: Vec<OracleEvent> = Vec::new();
    let mut emitted = BTreeMap::new();
    let mut before: Option<u64> = None;
    for (since, at, events) in ticks {
        if let Some(before) = before {
            assert!(before <= *at, "the time of a tick decreases");
            for t in due_times_between(&arrived, params, before, *since) {
                emit_differences(&mut emitted, &lists(&arrived, params, t), t, &mut records);
            }
        }
        arrived.extend(events.iter().cloned());
        emit_differences(&mut emitted, &lists(&arrived, params, *at), *at, &mut records);
        before = Some(*at);
    }
    records
}

/// The times strictly between `from` and `to` at which R can change without an arrival: the time of a future event, the
/// end of an event's retention, and the time at which an event no longer keeps its user in the audience.
fn due_times_between(events: &[OracleEvent], params: &Params, from: u64, to: u64) -> BTreeSet<u64> {
    let mut times = BTreeSet::new();
    for event in events {
        let expiry = event.ts.checked_add(params.retention);
        let exit = params.audience.and_then(|audience| event.ts.checked_add(audience));
        times.extend([Some(event.ts), expiry, exit].into_iter().flatten());
    }
    times.into_iter().filter(|t| from < *t && *t < to).collect()
}

/// > A **change** is emitted for a user whose list at the end of a tick is a different sequence of items than the last
/// > one emitted. Before the first change that is the empty list. `entered` is in the order of the new list, `left` in
/// > the order of the old one. A mere reordering is emitted with both empty. A change of scores alone is not emitted.
/// > `at` is the tick for which `items` is R(`at`).
fn emit_differences(
    emitted: &mut BTreeMap<String, Vec<String>>,
    lists: &BTreeMap<String, Vec<(String, i64)>>,
    at: u64,
    records: &mut Vec<OracleChange>,
) {
    let users: BTreeSet<String> = emitted.keys().chain(lists.keys()).cloned().collect();
    for user in users {
        let items = lists.get(&user).cloned().unwrap_or_default();
        let new: Vec<String> = items.iter().map(|(item, _)| item.clone()).collect();
        let old = emitted.get(&user).cloned().unwrap_or_default();
        if new != old {
            let entered = new.iter().filter(|item| !old.contains(item)).cloned().collect();
            let left = old.iter().filter(|item| !new.contains(item)).cloned().collect();
            emitted.insert(user.clone(), new);
            records.push(OracleChange { user, at, items, entered, left });
        }
    }
}
