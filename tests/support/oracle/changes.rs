//! The stream of changes, record for record.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ev, Params, lists};

/// One change: a user's new list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Whose list.
    pub(crate) user: String,
    /// The tick t for which `items` = R(t).
    pub(crate) at: u64,
    /// The whole list with its totals, best first.
    pub(crate) items: Vec<(String, i64)>,
    /// Items that were not in the list before, in the order of the new list.
    pub(crate) entered: Vec<String>,
    /// Items of the list before that are gone, in the order of the old list.
    pub(crate) left: Vec<String>,
}

/// Everything sent when each entry of `ticks`, `(at, the events that arrived)`, is taken as one tick. `at` must not
/// fall. Records are in the order of ticks and, as their order within a tick is unspecified, of users' names in each.
///
/// > an expiry or an exit from the audience takes effect at its own tick even if no event falls there; nothing runs
/// > past the last tick.
///
/// So between two entries there is a tick for every moment at which time alone can change R. What is due at the very
/// `at` of an entry takes effect in that entry, in the first of them if several have this `at`.
pub(crate) fn changes(ticks: &[(u64, Vec<Ev>)], params: &Params) -> Vec<Record> {
    let each: Vec<_> = ticks.iter().map(|(at, events)| (*at, *at, events.clone())).collect();
    changes_together(&each, params)
}

/// The same for ticks `(since, at, the events that arrived)` that each take all milliseconds from `since` to `at` together:
/// what time alone changes among them shows at `at`.
pub(crate) fn changes_together(ticks: &[(u64, u64, Vec<Ev>)], params: &Params) -> Vec<Record> {
    let mut records = Vec::new();
    let mut arrived: Vec<Ev> = Vec::new();
    let mut sent = BTreeMap::new();
    let mut before: Option<u64> = None;
    for (since, at, events) in ticks {
        if let Some(before) = before {
            assert!(before <= *at, "ticks run backwards");
            for t in moments_between(&arrived, params, before, *since) {
                compare(&mut sent, &lists(&arrived, params, t), t, &mut records);
            }
        }
        arrived.extend(events.iter().cloned());
        compare(&mut sent, &lists(&arrived, params, *at), *at, &mut records);
        before = Some(*at);
    }
    records
}

/// The moments strictly between `from` and `to` at which R can change without an arrival:
/// an event from the future has its time, an event is no longer retained, an event no longer makes an audience.
fn moments_between(events: &[Ev], params: &Params, from: u64, to: u64) -> BTreeSet<u64> {
    let mut moments = BTreeSet::new();
    for event in events {
        let expiry = event.ts.checked_add(params.retention);
        let exit = params.audience.and_then(|audience| event.ts.checked_add(audience));
        moments.extend([Some(event.ts), expiry, exit].into_iter().flatten());
    }
    moments.into_iter().filter(|t| from < *t && *t < to).collect()
}

/// > change: a user's new list, sent only when its sequence of items differs from the last one sent.
/// >
/// > Before its first change a user's list is the empty one, so an empty first list is not sent; on the first list
/// > `entered` = all. `entered` in the order of the new list, `left` in the order of the old; a pure reorder is sent
/// > with both empty. A change of scores alone is not sent (scores in a record are those at `at`).
fn compare(
    sent: &mut BTreeMap<String, Vec<String>>,
    now: &BTreeMap<String, Vec<(String, i64)>>,
    at: u64,
    records: &mut Vec<Record>,
) {
    let users: BTreeSet<String> = sent.keys().chain(now.keys()).cloned().collect();
    for user in users {
        let items = now.get(&user).cloned().unwrap_or_default();
        let new: Vec<String> = items.iter().map(|(item, _)| item.clone()).collect();
        let old = sent.get(&user).cloned().unwrap_or_default();
        if new != old {
            let entered = new.iter().filter(|item| !old.contains(item)).cloned().collect();
            let left = old.iter().filter(|item| !new.contains(item)).cloned().collect();
            sent.insert(user.clone(), new);
            records.push(Record { user, at, items, entered, left });
        }
    }
}
