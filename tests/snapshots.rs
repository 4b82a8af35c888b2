//! A snapshot taken while events go on is of one tick exactly, and a graph that goes on from it sends what the graph it was
//! taken of sends after that tick.

use dataflows::{Event, GROUPS, Groups, Input, ListChange, SnapshotChunk, SnapshotSink, Time, group_of, ms_of, next};
use proptest::prelude::*;
use schema::id64;

use crate::support::durable::{self, From, Inputs, Pieces, Ran};
use crate::support::graph::{Tick, config, ticks};
use crate::support::logs::{log, params};
use crate::support::oracle::{Ev, Params};

/// Takes pieces, slowly: now and then it has no room (which costs a millisecond), and it agrees to groups only when asked
/// for the third time.
struct Slow {
    pieces: Pieces,
    asked: std::cell::Cell<usize>,
}

impl SnapshotSink for Slow {
    fn begin(&mut self, _snapshot: u64, _changed: &Groups) {
        self.asked.set(0);
    }

    fn wanted(&self, _snapshot: u64) -> Option<Groups> {
        self.asked.set(self.asked.get() + 1);
        (self.asked.get() > 2).then_some([true; GROUPS])
    }

    fn has_room(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        !self.asked.get().is_multiple_of(97)
    }

    fn keep(&mut self, piece: SnapshotChunk) {
        self.pieces.lock().unwrap().push(piece);
    }
}

/// Runs all ticks; with `snapshot_after` a snapshot is taken of the tick with that index, while the next ones go on.
fn run(params: &Params, all: &[Tick], snapshot_after: Option<usize>, from: Option<From>, workers: usize) -> Ran {
    let event = |event: &Ev| {
        let (user, item) = (id64(&event.user), id64(&event.item));
        Input::Event(Event { user, item, ts: event.ts, level: event.level })
    };
    let inputs = |tick: &Tick| {
        let Tick { at, since, events } = tick;
        Inputs { at: *at, since: *since, inputs: events.iter().map(event).collect() }
    };
    let ticks = all.iter().map(inputs).collect();
    let slow = |pieces| Slow { pieces, asked: std::cell::Cell::new(0) };
    durable::run(&config(params), ticks, snapshot_after, from, workers, slow)
}

/// Each user's list after all changes, users without one left out.
fn lists(changes: &[(Time, ListChange)]) -> Vec<(u64, Vec<u64>)> {
    durable::lists(changes.iter().map(|(_, change)| change))
}

/// Changes in an order that does not depend on the workers, without the sequence of their ticks.
fn ordered(changes: &[(Time, ListChange)]) -> Vec<ListChange> {
    let mut changes: Vec<_> = changes.to_vec();
    changes.sort();
    changes.into_iter().map(|(_, change)| change).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_run_that_goes_on_from_a_snapshot_sends_what_the_first_would_have_sent(
        params in params(),
        log in log(80),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        then in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 2, 7]),
        cut in any::<prop::sample::Index>(),
        lost in 0..3_usize,
    ) {
        let all = ticks(&log, size);
        let cut = cut.index(all.len());
        let whole = run(&params, &all, Some(cut), None, workers);
        let boundary = all[..=cut].iter().fold(0, |last, tick| next(last, tick.at));
        let at = ms_of(boundary);
        let mut events: Vec<Event> = whole.pieces.iter().flat_map(|piece| piece.events.clone()).collect();
        for piece in &whole.pieces {
            prop_assert!(piece.events.iter().all(|event| group_of(event.user) == piece.group));
        }
        events.sort_by_key(|event| (event.user, event.item, event.ts, event.level));
        let unique = events.len();
        events.dedup();
        prop_assert_eq!(events.len(), unique, "nothing is handed over twice");

        // The output ends some changes before the snapshot's tick, or has some beyond it that are made again.
        let before: Vec<_> = whole.changes.iter().filter(|(time, _)| *time <= boundary).cloned().collect();
        let after: Vec<_> = whole.changes.iter().filter(|(time, _)| *time > boundary).cloned().collect();
        let held = lists(&before[..before.len().saturating_sub(lost)]);
        let inputs = events.into_iter().map(Input::Event).collect();
        let from = From { inputs, at, lists: held.clone() };
        let resumed = run(&params, &all[cut + 1..], None, Some(from), then);

        // What was lost comes first, as one comparison; then the very same changes.
        let first: Vec<_> = resumed.changes.iter().filter(|(_, change)| change.at <= at).cloned().collect();
        if lost == 0 && after.iter().all(|(time, _)| ms_of(*time) > at) {
            prop_assert_eq!(ordered(&first), vec![]);
        }
        let mut caught_up: std::collections::BTreeMap<u64, Vec<u64>> = held.into_iter().collect();
        for (_, change) in &resumed.changes {
            let items = change.items.iter().map(|scored| scored.item).collect::<Vec<_>>();
            let old = caught_up.insert(change.user, items.clone()).unwrap_or_default();
            prop_assert_ne!(old, items, "a list is sent again");
        }
        caught_up.retain(|_, items| !items.is_empty());
        prop_assert_eq!(caught_up.into_iter().collect::<Vec<_>>(), lists(&whole.changes));
        let later = |changes: &[(Time, ListChange)]| {
            let later: Vec<_> = changes.iter().filter(|(_, change)| change.at > at).map(|(_, change)| change.clone()).collect();
            let mut later: Vec<(u64, ListChange)> = later.into_iter().map(|change| (change.at, change)).collect();
            later.sort_by_key(|(at, change)| (*at, change.user));
            later
        };
        prop_assert_eq!(later(&resumed.changes), later(&whole.changes));
    }
}
