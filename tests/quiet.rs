//! A graph in which nothing changes has no ticks of its own (docs/semantics.md, "Freshness").

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use dataflows::gauges::Gauges;
use dataflows::time::Time;
use dataflows::{Audience, Config, Effect, Event, GraphInput, ListChange, ListKey, SnapshotSinks, recommendations};
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

use crate::support::graph::collect;

const REFRESH: u64 = 6_400;
const RETENTION: u64 = 1_000_000;

/// A graph on one worker that the test feeds.
struct Fed<'w> {
    worker: &'w mut Worker,
    input: GraphInput,
    probe: ProbeHandle<Time>,
    gauges: Arc<Gauges>,
}

impl Fed<'_> {
    /// Feeds events that happen in milliseconds `since` to `at` as one tick.
    fn tick(&mut self, since: u64, at: u64, events: &[Event]) {
        self.input.tick(since, at).events(&mut events.to_vec());
        self.finish();
    }

    fn pass(&mut self, ms: u64) {
        self.input.pass(ms);
        self.finish();
    }

    fn finish(&mut self) {
        self.worker.step_while(|| self.probe.less_than(&self.input.time()));
    }

    /// Passes from one millisecond at which something is due to the next one, until nothing is due before `end`. Returns these
    /// milliseconds.
    fn pass_what_is_due_before(&mut self, end: u64) -> Vec<u64> {
        let mut passed = Vec::new();
        while self.gauges.next() < end {
            passed.push(self.gauges.next());
            assert!(passed.len() <= 64, "ticks fall due without end: {passed:?}");
            self.pass(self.gauges.next());
        }
        passed
    }

    /// Viewers looked at and lists evaluated so far.
    fn work(&self) -> [u64; 2] {
        [&self.gauges.looked_at, &self.gauges.evaluations].map(|counter| counter.load(Relaxed))
    }
}

fn event(user: u64, item: u64, ts: u64) -> Event {
    Event { user, item, ts, effect: Effect::Counts(3), scope: None }
}

/// The first boundaries of all phases after `ms`.
fn boundaries_after(ms: u64) -> Vec<u64> {
    // Those of phase p are n * 6400 - 100 p.
    let first = ms / 100 + 1;
    (first..first + 64).map(|n| n * 100).collect()
}

#[test]
fn nothing_is_due_from_a_refresh_after_the_last_change_on() {
    let changes = Arc::default();
    let emitted: Arc<Mutex<Vec<(Time, ListChange)>>> = Arc::clone(&changes);
    timely::execute_directly(move |worker| {
        let config = Config { refresh: REFRESH, retention: RETENTION, audience: Audience::All, ..Config::default() };
        let (input, probe, gauges) = worker.dataflow(|scope| {
            let (input, streams) = GraphInput::new(scope, &config, false);
            let graph = recommendations(streams, &config, SnapshotSinks::default());
            (input, collect(graph.changes, changes), graph.gauges)
        });
        let mut graph = Fed { worker, input, probe, gauges };
        assert_eq!(graph.gauges.next(), u64::MAX);

        // After a change each phase has one boundary. After them the next thing that happens is the first expiry.
        graph.tick(10_050, 10_050, &[event(1, 10, 10_050), event(1, 20, 10_050), event(2, 10, 10_050)]);
        assert_eq!(graph.pass_what_is_due_before(1_010_050), boundaries_after(10_050));
        assert_eq!(graph.gauges.next(), 1_010_050);
        graph.tick(500_050, 500_050, &[event(2, 30, 500_050)]);
        assert_eq!(graph.pass_what_is_due_before(1_010_050), boundaries_after(500_050));

        // Neither time nor a repetition is a change.
        let work = graph.work();
        graph.pass(700_000);
        graph.tick(800_000, 800_000, &[event(2, 30, 500_050)]);
        assert_eq!((graph.gauges.next(), graph.work()), (1_010_050, work));

        // A tick that takes a refresh together contains a boundary of each phase.
        graph.tick(900_050, 906_450, &[event(3, 30, 900_050)]);
        assert_eq!((graph.gauges.next(), graph.work() == work), (1_010_050, false));

        // An expiry is a change, also one that leaves no viewer.
        let expiries = [10_050, 500_050, 900_050].map(|ts| ts + RETENTION);
        for (at, next) in expiries.into_iter().zip([expiries[1], expiries[2], u64::MAX]) {
            assert_eq!(graph.gauges.next(), at);
            graph.pass(at);
            assert_eq!(graph.pass_what_is_due_before(next), boundaries_after(at));
            assert_eq!(graph.gauges.next(), next);
        }
        let work = graph.work();
        graph.pass(1_000 * RETENTION);
        assert_eq!((graph.gauges.next(), graph.work()), (u64::MAX, work));
    });
    // User 1 sees the item of user 2 at a boundary of its own, n * 6400 - 100, and leaves when its events expire.
    let emitted = emitted.lock().unwrap();
    let of_first = emitted.iter().filter(|(_, change)| change.key == ListKey::User(1));
    let of_first: Vec<(u64, &[u64])> = of_first.map(|(_, change)| (change.at, &change.entered[..])).collect();
    assert_eq!(of_first, [(505_500, &[30][..]), (1_010_050, &[])]);
}
