//! Trending lists: `docs/semantics.md`, "Trending", one function per definition.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use schema::{TRENDING, id64, trending_in};

use super::catalogue::Eligible;
use super::controls::OracleControl;
use super::{OracleEvent, World};

/// An event and the room it names.
pub(crate) type RoomEvent = (OracleEvent, Option<String>);

/// The keys `trending.*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trending {
    /// Maximum length of a list.
    pub(crate) k: usize,
    /// Milliseconds of a bucket.
    pub(crate) bucket: u64,
    /// Number of buckets that count.
    pub(crate) buckets: u64,
}

/// > There is a scope *everywhere*, of all events, and one for each room that events name (`trending.rooms`), of the
/// > events that name it.
///
/// Returns the events of each scope by the key of its list.
fn scopes(events: &[RoomEvent]) -> BTreeMap<String, Vec<&OracleEvent>> {
    let mut scopes: BTreeMap<String, Vec<&OracleEvent>> = BTreeMap::new();
    for (event, room) in events {
        scopes.entry(TRENDING.to_owned()).or_default().push(event);
        if let Some(room) = room {
            scopes.entry(trending_in(room)).or_default().push(event);
        }
    }
    scopes
}

/// > [...] that no `forget` covers and that are not paused
///
/// The events that may have interest at t, by what these controls say. `ended`: whether it is the tick of the end.
pub(crate) fn interesting(events: &[RoomEvent], controls: &[OracleControl], ended: bool, t: u64) -> Vec<RoomEvent> {
    let controls = World { events: &[], records: &[], controls, ended }.controls_at(t);
    let is_left_out = |event: &OracleEvent| {
        let of_user = controls.get(event.user.as_str());
        of_user.is_some_and(|of_user| of_user.covers(event) || of_user.pauses_event(event))
    };
    events.iter().filter(|(event, _)| !is_left_out(event)).cloned().collect()
}

/// > Interest `h(u, i, s, b)` = the largest level of the events of u on i in scope s with `ts` in bucket b; 0 without any.
///
/// > The levels of trending lists are those of the events, whatever was taken back.
fn interest(scope: &[&OracleEvent], user: &str, item: &str, bucket: i128, length: u64) -> u64 {
    let matches =
        |event: &&&OracleEvent| event.user == user && event.item == item && i128::from(event.ts / length) == bucket;
    scope.iter().filter(matches).filter_map(|event| event.level()).map(u64::from).max().unwrap_or_default()
}

/// > `T_s(i, t) = sum over a = 1..m of 2^(m - a) * sum over u of h(u, i, s, B - a)`, with `m = trending.buckets`.
fn total(scope: &[&OracleEvent], item: &str, trending: Trending, t: u64) -> u64 {
    let users: BTreeSet<&str> = scope.iter().map(|event| event.user.as_str()).collect();
    let current = i128::from(t / trending.bucket);
    let at_age = |age: u64| -> u64 {
        users.iter().map(|user| interest(scope, user, item, current - i128::from(age), trending.bucket)).sum()
    };
    (1..=trending.buckets).map(|age| 2_u64.pow((trending.buckets - age) as u32) * at_age(age)).sum()
}

/// > The trending list of s at t: the `trending.k` eligible items with the largest `T_s(i, t)` above 0, ties by id64
/// > ascending.
///
/// Takes the events that are [interesting]. Returns the lists that are not empty by key, `(item, T)`, best first.
pub(crate) fn lists(
    events: &[RoomEvent],
    eligible: &Eligible,
    trending: Trending,
    t: u64,
) -> BTreeMap<String, Vec<(String, i64)>> {
    let mut lists = BTreeMap::new();
    for (key, scope) in scopes(events) {
        let items: BTreeSet<&str> = scope.iter().map(|event| event.item.as_str()).collect();
        let items = items.into_iter().filter(|item| eligible.contains(item));
        let totals = items.map(|item| (item.to_owned(), total(&scope, item, trending, t).cast_signed()));
        let mut list: Vec<(String, i64)> = totals.filter(|(_, total)| *total > 0).collect();
        list.sort_by_key(|(item, total)| (Reverse(*total), id64(item)));
        list.truncate(trending.k);
        if !list.is_empty() {
            lists.insert(key, list);
        }
    }
    lists
}
