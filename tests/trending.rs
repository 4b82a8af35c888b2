//! Trending lists of the graph against those of the oracle: every change at every time, for any number of workers, with
//! personal lists unaffected.

use std::collections::BTreeMap;

use dataflows::config::Trending as GraphTrending;
use dataflows::snapshot::SnapshotChunk;
use dataflows::time::{ms_of, next};
use dataflows::{Config, Event, ListChange, ListKey, Scope};
use proptest::prelude::*;
use schema::{TRENDING, id64, trending_in};

use crate::support::durable::{self, EventTick, ResumeState, RunOutput};
use crate::support::graph::{config, event};
use crate::support::logs::{log, params};
use crate::support::oracle::catalogue::Eligible;
use crate::support::oracle::trending::{RoomEvent, Trending, lists};
use crate::support::oracle::{OracleEvent, Params};

/// Events taken together, in rooms.
#[derive(Clone, Debug)]
struct Tick {
    at: u64,
    since: u64,
    events: Vec<RoomEvent>,
}

fn ticks(events: &[RoomEvent], size: usize) -> Vec<Tick> {
    let mut clock = 0;
    let tick = |chunk: &[RoomEvent]| {
        let since = clock.max(chunk[0].0.ts);
        clock = chunk.iter().map(|(event, _)| event.ts).fold(clock, u64::max);
        Tick { at: clock, since, events: chunk.to_vec() }
    };
    events.chunks(size).map(tick).collect()
}

/// A change of a list: `(at, key, items with scores, entered, left)`.
pub(crate) type Record = (u64, ListKey, Vec<(u64, i64)>, Vec<u64>, Vec<u64>);

fn record(change: &ListChange) -> Record {
    let items = change.items.iter().map(|scored| (scored.item, scored.score)).collect();
    (change.at, change.key, items, change.entered.clone(), change.left.clone())
}

/// The list of a key of the oracle.
fn list_key(key: &str) -> ListKey {
    if key == TRENDING { ListKey::Everywhere } else { ListKey::Room(Scope::new(id64(key))) }
}

/// All changes of the oracle's lists, in the order of their ticks.
fn expected(ticks: &[Tick], trending: Trending) -> Vec<Record> {
    let (mut records, mut arrived, mut sent) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut before: Option<u64> = None;
    for tick in ticks {
        // Without events, a list changes only where a bucket ends.
        let borders = before.map_or(0..0, |before| before / trending.bucket + 1..tick.since.div_ceil(trending.bucket));
        // Nothing changes after the end of the window.
        for border in borders.take(trending.buckets as usize + 2) {
            compare(&mut sent, &arrived, trending, border * trending.bucket, &mut records);
        }
        arrived.extend(tick.events.iter().cloned());
        compare(&mut sent, &arrived, trending, tick.at, &mut records);
        before = Some(tick.at);
    }
    records
}

/// Adds the changes between the lists that were sent last and those at `at`.
pub(crate) fn compare(
    sent: &mut BTreeMap<String, Vec<u64>>,
    arrived: &[RoomEvent],
    trending: Trending,
    at: u64,
    records: &mut Vec<Record>,
) {
    let now = lists(arrived, &Eligible::everything(), trending, at);
    let keys: std::collections::BTreeSet<String> = sent.keys().chain(now.keys()).cloned().collect();
    let mut of_this_tick = Vec::new();
    for key in keys {
        let items: Vec<(u64, i64)> =
            now.get(&key).into_iter().flatten().map(|(item, total)| (id64(item), *total)).collect();
        let new: Vec<u64> = items.iter().map(|(item, _)| *item).collect();
        let old = sent.insert(key.clone(), new.clone()).unwrap_or_default();
        if new != old {
            let entered = new.iter().filter(|item| !old.contains(item)).copied().collect();
            let left = old.iter().filter(|item| !new.contains(item)).copied().collect();
            of_this_tick.push((at, list_key(&key), items, entered, left));
        }
    }
    of_this_tick.sort();
    records.extend(of_this_tick);
}

pub(crate) fn with_trending(params: &Params, trending: Option<Trending>) -> Config {
    let trending = trending.map(|Trending { k, bucket, buckets }| GraphTrending { k, bucket, buckets: buckets as u32 });
    Config { trending, ..config(params) }
}

/// Runs all ticks and, with `snapshot`, takes a snapshot of the last one. Returns the changes in the order of their ticks.
fn run(
    config: &Config,
    all: &[Tick],
    resume: Option<ResumeState>,
    workers: usize,
    snapshot: bool,
) -> (Vec<ListChange>, Vec<SnapshotChunk<Event>>) {
    let event = |(ev, room): &RoomEvent| {
        let scope = room.as_ref().map(|room| Scope::new(id64(&trending_in(room))));
        Event { scope, ..event(ev) }
    };
    let ticks = all.iter().map(|Tick { at, since, events }| EventTick {
        at: *at,
        since: *since,
        events: events.iter().map(event).collect(),
        records: Vec::new(),
        controls: Vec::new(),
    });
    let snapshot_after = snapshot.then(|| all.len() - 1);
    let RunOutput { mut changes, chunks, .. } = durable::run(config, ticks.collect(), snapshot_after, resume, workers);
    changes.sort_by_key(|(time, change)| (*time, change.key));
    (changes.into_iter().map(|(_, change)| change).collect(), chunks)
}

/// A log in which some events name one of three rooms.
fn seen(length: usize) -> impl Strategy<Value = Vec<RoomEvent>> {
    (log(length), prop::collection::vec(0..5_u8, length * 2)).prop_map(|(log, rooms)| {
        let room = |room: u8| (room < 3).then(|| format!("r{room}"));
        log.into_iter().zip(rooms).map(|(event, number)| (event, room(number))).collect()
    })
}

pub(crate) fn trending() -> impl Strategy<Value = Trending> {
    (1_usize..4, 1_u64..9, 1_u64..6).prop_map(|(k, bucket, buckets)| Trending { k, bucket, buckets })
}

/// Parameters with a retention of at least all buckets. Reorderings are emitted.
pub(crate) fn retaining(params: Params, trending: Trending) -> Params {
    Params { membership: false, retention: params.retention.max((trending.buckets + 1) * trending.bucket), ..params }
}

/// Changes of trending lists, and changes of personal lists.
pub(crate) fn split(changes: Vec<ListChange>) -> (Vec<Record>, Vec<ListChange>) {
    let (users, trends): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| matches!(change.key, ListKey::User(_)));
    (trends.iter().map(record).collect(), users)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    /// Every change of every trending list, with one event a tick or several, and personal lists as without trending.
    #[test]
    fn every_change_equals_the_oracle(
        params in params(),
        trending in trending(),
        log in seen(80),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 1, 2, 7, 1000]),
    ) {
        let params = retaining(params, trending);
        let ticks = ticks(&log, size);
        let (trends, users) = split(run(&with_trending(&params, Some(trending)), &ticks, None, workers, false).0);
        prop_assert_eq!(trends, expected(&ticks, trending));
        // A tick of a trending list may shift the sequence number of other ticks in its millisecond, but not their changes.
        let (none, without) = split(run(&with_trending(&params, None), &ticks, None, workers, false).0);
        prop_assert_eq!(none, vec![]);
        prop_assert_eq!(users, without);
    }

    /// The last lists depend neither on the order of arrival nor on duplicates.
    #[test]
    fn order_and_duplicates_do_not_matter(
        trending in trending(),
        log in seen(80),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let params = retaining(Params { retention: 1, audience: Some(1), ..Params::default() }, trending);
        let last = |log: &[RoomEvent]| {
            // All in one tick at the end: if the clock ran ahead, late events would expire.
            let at = log.iter().map(|(event, _)| event.ts).max().unwrap();
            let ticks = [Tick { at, since: at, events: log.to_vec() }];
            split(run(&with_trending(&params, Some(trending)), &ticks, None, 2, false).0).0
        };
        let mut other: Vec<RoomEvent> = log.iter().chain(&log).cloned().collect();
        other.rotate_left(shuffled.index(log.len()));
        other.reverse();
        prop_assert_eq!(last(&other), last(&log));
    }

    /// A graph that resumes from a snapshot has the trending lists of the original graph, and emits the same changes.
    #[test]
    fn a_snapshot_contains_the_state_of_trending_lists(
        params in params(),
        trending in trending(),
        log in seen(80),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        workers_after in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 2, 7]),
        cut in any::<prop::sample::Index>(),
    ) {
        let params = retaining(params, trending);
        let config = with_trending(&params, Some(trending));
        let all = ticks(&log, size);
        let cut = cut.index(all.len());
        let (before, chunks) = run(&config, &all[..=cut], None, workers, true);
        let at = all[cut].at;
        let events = chunks.into_iter().flat_map(|chunk| chunk.rows).collect();
        let resume = ResumeState { events, records: Vec::new(), controls: Vec::new(), at, lists: durable::lists(&before) };
        let resumed = run(&config, &all[cut + 1..], Some(resume), workers_after, false).0;
        let whole = run(&config, &all, None, workers, false).0;
        let later = |changes: Vec<ListChange>| -> Vec<ListChange> {
            changes.into_iter().filter(|change| change.at > at).collect()
        };
        // The output was complete, so nothing is emitted again at the tick of the snapshot.
        if all[cut + 1..].iter().all(|tick| tick.at > at) {
            prop_assert_eq!(resumed.iter().filter(|change| change.at <= at).collect::<Vec<_>>(), Vec::<&ListChange>::new());
        }
        prop_assert_eq!(later(resumed), later(whole));
        prop_assert!(ms_of(next(0, at)) == at);
    }
}

/// The rule, with numbers small enough to check by hand.
#[test]
fn two_users_in_two_rooms() {
    let event = |user, item, level, ts| OracleEvent::new(user, item, level, ts);
    let log: Vec<RoomEvent> = vec![
        (event("ann", "hat", 1, 1_000), Some("r0".into())),
        (event("ann", "hat", 5, 1_050), Some("r0".into())),
        (event("bob", "mug", 3, 1_099), None),
        (event("bob", "hat", 1, 1_100), Some("r1".into())),
        (event("bob", "hat", 1, 1_400), None),
    ];
    let trending = Trending { k: 2, bucket: 100, buckets: 3 };
    let params = Params { retention: 10_000, ..Params::default() };
    let (trends, _) = split(run(&with_trending(&params, Some(trending)), &ticks(&log, 1), None, 1, false).0);
    let (hat, mug, room) = (id64("hat"), id64("mug"), list_key(&trending_in("r1")));
    let mut lists: Vec<(u64, ListKey, Vec<(u64, i64)>)> =
        trends.into_iter().map(|(at, key, items, ..)| (at, key, items)).collect();
    lists.retain(|(_, key, _)| *key == ListKey::Everywhere || *key == room);
    assert_eq!(
        lists,
        [
            (1_100, ListKey::Everywhere, vec![(hat, 20), (mug, 12)]),
            (1_200, room, vec![(hat, 4)]),
            // hat 10 + 4, mug 6 at 1,200 and hat 5 + 2, mug 3 at 1,300: the same sequence, which is not emitted again.
            (1_400, ListKey::Everywhere, vec![(hat, 1)]),
        ]
    );
}
