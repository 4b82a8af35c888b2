//! What trends: the graph's lists against the oracle's, every change at every time, for any number of workers, and beside
//! them everybody's lists as they are without.

use std::collections::BTreeMap;

use dataflows::{
    Config, Event, GROUPS, Groups, Input, ListChange, SnapshotChunk, SnapshotSink, Trending as OfTheGraph, ms_of, next,
};
use proptest::prelude::*;
use schema::{TRENDING, id64, trending_in};

use crate::support::durable::{self, From, Inputs, Pieces, Ran};
use crate::support::graph::config;
use crate::support::logs::{log, params};
use crate::support::oracle::trending::{Seen, Trending, lists};
use crate::support::oracle::{Ev, Params};

/// Events taken together, in rooms.
#[derive(Clone, Debug)]
struct Tick {
    at: u64,
    since: u64,
    events: Vec<Seen>,
}

fn ticks(events: &[Seen], size: usize) -> Vec<Tick> {
    let mut clock = 0;
    let tick = |chunk: &[Seen]| {
        let since = clock.max(chunk[0].0.ts);
        clock = chunk.iter().map(|(event, _)| event.ts).fold(clock, u64::max);
        Tick { at: clock, since, events: chunk.to_vec() }
    };
    events.chunks(size).map(tick).collect()
}

/// What is sent of one list at a time: `(at, key, items with scores, entered, left)`.
type Record = (u64, u64, Vec<(u64, i64)>, Vec<u64>, Vec<u64>);

fn record(change: &ListChange) -> Record {
    let items = change.items.iter().map(|scored| (scored.item, scored.score)).collect();
    (change.at, change.user, items, change.entered.clone(), change.left.clone())
}

/// Every change, in the order of its ticks, that the oracle's lists make.
fn expected(ticks: &[Tick], trending: Trending) -> Vec<Record> {
    let (mut records, mut arrived, mut sent) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut before: Option<u64> = None;
    for tick in ticks {
        // A list changes by itself only where a bucket ends.
        let borders = before.map_or(0..0, |before| before / trending.bucket + 1..tick.since.div_ceil(trending.bucket));
        // Beyond the window nothing changes any more.
        for border in borders.take(trending.buckets as usize + 2) {
            compare(&mut sent, &arrived, trending, border * trending.bucket, &mut records);
        }
        arrived.extend(tick.events.iter().cloned());
        compare(&mut sent, &arrived, trending, tick.at, &mut records);
        before = Some(tick.at);
    }
    records
}

fn compare(
    sent: &mut BTreeMap<String, Vec<u64>>,
    arrived: &[Seen],
    trending: Trending,
    at: u64,
    records: &mut Vec<Record>,
) {
    let now = lists(arrived, trending, at);
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
            of_this_tick.push((at, id64(&key), items, entered, left));
        }
    }
    of_this_tick.sort();
    records.extend(of_this_tick);
}

/// Keeps all pieces of a snapshot.
struct Kept(Pieces);

impl SnapshotSink for Kept {
    fn begin(&mut self, _snapshot: u64, _changed: &Groups) {}

    fn wanted(&self, _snapshot: u64) -> Option<Groups> {
        Some([true; GROUPS])
    }

    fn has_room(&self) -> bool {
        true
    }

    fn keep(&mut self, piece: SnapshotChunk) {
        self.0.lock().unwrap().push(piece);
    }
}

fn with_trending(params: &Params, trending: Option<Trending>) -> Config {
    let everywhere = id64(TRENDING);
    let of_the_graph = |Trending { k, bucket, buckets }| OfTheGraph { k, bucket, buckets: buckets as u32, everywhere };
    Config { trending: trending.map(of_the_graph), ..config(params) }
}

/// Runs all ticks and, with `snapshot`, takes one of the last. Changes in the order of their ticks.
fn run(
    config: &Config,
    all: &[Tick],
    from: Option<From>,
    workers: usize,
    snapshot: bool,
) -> (Vec<ListChange>, Vec<SnapshotChunk>) {
    let event = |(event, room): &Seen| {
        let Ev { user, item, ts, level } = event;
        let (user, item, ts, level) = (id64(user), id64(item), *ts, *level);
        match room {
            Some(room) => Input::InRoom { user, item, ts, level, room: id64(&trending_in(room)) },
            None => Input::Event(Event { user, item, ts, level }),
        }
    };
    let inputs = |tick: &Tick| {
        let Tick { at, since, events } = tick;
        Inputs { at: *at, since: *since, inputs: events.iter().map(event).collect() }
    };
    let ticks = all.iter().map(inputs).collect();
    let Ran { mut changes, pieces } = durable::run(config, ticks, snapshot.then(|| all.len() - 1), from, workers, Kept);
    changes.sort_by_key(|(time, change)| (*time, change.user));
    (changes.into_iter().map(|(_, change)| change).collect(), pieces)
}

/// A log in which some events name one of three rooms.
fn seen(length: usize) -> impl Strategy<Value = Vec<Seen>> {
    (log(length), prop::collection::vec(0..5_u8, length * 2)).prop_map(|(log, rooms)| {
        let room = |room: u8| (room < 3).then(|| format!("r{room}"));
        log.into_iter().zip(rooms).map(|(event, number)| (event, room(number))).collect()
    })
}

fn trending() -> impl Strategy<Value = Trending> {
    (1_usize..4, 1_u64..9, 1_u64..6).prop_map(|(k, bucket, buckets)| Trending { k, bucket, buckets })
}

/// Long enough for all buckets.
fn retaining(params: Params, trending: Trending) -> Params {
    Params { retention: params.retention.max((trending.buckets + 1) * trending.bucket), ..params }
}

/// Those of trending lists, and those of users.
fn apart(changes: Vec<ListChange>) -> (Vec<Record>, Vec<ListChange>) {
    let keys: Vec<u64> = (0..3).map(|room| id64(&trending_in(&format!("r{room}")))).chain([id64(TRENDING)]).collect();
    let (trends, users): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| keys.contains(&change.user));
    (trends.iter().map(record).collect(), users)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    /// Every change of every trending list, one event a tick or several together, and users' lists as if nothing was.
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
        let (trends, users) = apart(run(&with_trending(&params, Some(trending)), &ticks, None, workers, false).0);
        prop_assert_eq!(trends, expected(&ticks, trending));
        // Where a tick of trends falls between, the sequence of a millisecond may be another one; what is sent is not.
        let (none, without) = apart(run(&with_trending(&params, None), &ticks, None, workers, false).0);
        prop_assert_eq!(none, vec![]);
        prop_assert_eq!(users, without);
    }

    /// The last lists do not depend on the order of arrival, on duplicates, nor on how often the events were read.
    #[test]
    fn order_and_duplicates_do_not_matter(
        trending in trending(),
        log in seen(80),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let params = retaining(Params { retention: 1, audience: Some(1), ..Params::default() }, trending);
        let last = |log: &[Seen]| {
            // All in one tick at the end: an order in which the clock ran ahead would expire what is late.
            let at = log.iter().map(|(event, _)| event.ts).max().unwrap();
            let ticks = [Tick { at, since: at, events: log.to_vec() }];
            apart(run(&with_trending(&params, Some(trending)), &ticks, None, 2, false).0).0
        };
        let mut other: Vec<Seen> = log.iter().chain(&log).cloned().collect();
        other.rotate_left(shuffled.index(log.len()));
        other.reverse();
        prop_assert_eq!(last(&other), last(&log));
    }

    /// A graph that goes on from a snapshot has the same trending lists as the one it was taken of, and sends the same.
    #[test]
    fn a_snapshot_has_all_that_trends(
        params in params(),
        trending in trending(),
        log in seen(80),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        then in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 2, 7]),
        cut in any::<prop::sample::Index>(),
    ) {
        let params = retaining(params, trending);
        let config = with_trending(&params, Some(trending));
        let all = ticks(&log, size);
        let cut = cut.index(all.len());
        let (before, pieces) = run(&config, &all[..=cut], None, workers, true);
        let at = all[cut].at;
        let events = pieces.iter().flat_map(|piece| piece.events.iter().copied().map(Input::Event));
        let in_rooms = pieces.iter().flat_map(|piece| &piece.in_rooms).map(|(event, room)| {
            let Event { user, item, ts, level } = *event;
            Input::InRoom { user, item, ts, level, room: *room }
        });
        let from = From { inputs: events.chain(in_rooms).collect(), at, lists: durable::lists(&before) };
        let resumed = run(&config, &all[cut + 1..], Some(from), then, false).0;
        let whole = run(&config, &all, None, workers, false).0;
        let later = |changes: Vec<ListChange>| -> Vec<ListChange> {
            changes.into_iter().filter(|change| change.at > at).collect()
        };
        // Nothing was lost, so nothing is sent again at the tick of the snapshot.
        if all[cut + 1..].iter().all(|tick| tick.at > at) {
            prop_assert_eq!(resumed.iter().filter(|change| change.at <= at).collect::<Vec<_>>(), Vec::<&ListChange>::new());
        }
        prop_assert_eq!(later(resumed), later(whole));
        prop_assert!(ms_of(next(0, at)) == at);
    }
}

/// The rule in figures small enough to check by hand.
#[test]
fn two_users_in_two_rooms() {
    let event = |user: &str, item: &str, level, ts| Ev { user: user.into(), item: item.into(), level, ts };
    let log: Vec<Seen> = vec![
        (event("ann", "hat", 1, 1_000), Some("r0".into())),
        (event("ann", "hat", 5, 1_050), Some("r0".into())),
        (event("bob", "mug", 3, 1_099), None),
        (event("bob", "hat", 1, 1_100), Some("r1".into())),
        (event("bob", "hat", 1, 1_400), None),
    ];
    let trending = Trending { k: 2, bucket: 100, buckets: 3 };
    let params = Params { retention: 10_000, ..Params::default() };
    let (trends, _) = apart(run(&with_trending(&params, Some(trending)), &ticks(&log, 1), None, 1, false).0);
    let (hat, mug, everywhere) = (id64("hat"), id64("mug"), id64(TRENDING));
    let mut lists: Vec<(u64, u64, Vec<(u64, i64)>)> =
        trends.into_iter().map(|(at, key, items, ..)| (at, key, items)).collect();
    lists.retain(|(_, key, _)| *key == everywhere || *key == id64(&trending_in("r1")));
    assert_eq!(
        lists,
        [
            (1_100, everywhere, vec![(hat, 20), (mug, 12)]),
            (1_200, id64(&trending_in("r1")), vec![(hat, 4)]),
            // At 1,200 it is hat 10 + 4, mug 6, at 1,300 hat 5 + 2, mug 3: the same sequence, which is not sent again.
            (1_400, everywhere, vec![(hat, 1)]),
        ]
    );
}
