//! The parts of the graph by themselves: the structure behind all rankings, and the door alone in a dataflow.
//!
//! ```text
//! cargo bench -p dataflows --bench operators
//! cargo bench -p dataflows --bench operators -- 'top_k'
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use dataflows::{
    Audience, Config, Dense, Event, Gauges, Ids, Input, Ranked, Sources, Time, TopK, first_of, interactions, next,
};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::operators::{Input as _, Probe};
use timely::worker::Worker;

/// As for the similar items of an item: 30 and as many in reserve.
const CAPACITY: usize = 60;
/// Calls that are timed together.
const CALLS: u64 = 1_000;

/// Spreads numbers over the 64 bits, one to one, as the id64 of names do.
fn spread(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}

/// Candidates with scores of a wide range, some of them equal; other scores for each `seed`.
fn candidates(count: u64, seed: u64, ids: &mut Ids) -> Vec<Ranked<i64>> {
    let score = |n: u64| i64::try_from(spread(seed << 32 | (n + 1)) % 10_000).expect("a small number") + 1_000;
    (0..count).map(|n| Ranked { score: score(n), id: ids.intern(spread(n)) }).collect()
}

fn bench_top_k(c: &mut Criterion) {
    let mut group = c.benchmark_group("top_k");
    for count in [300, 3_000] {
        let mut ids = Ids::default();
        // Several groups by turns: the order of a single one would be learnt by the branch predictor.
        let groups: Vec<_> = (0..64).map(|seed| candidates(count, seed, &mut ids)).collect();
        let mut next = groups.iter().cycle();
        let mut top = TopK::default();
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("choose {CAPACITY} of {count}"), |bencher| {
            bencher.iter_batched_ref(
                || next.next().cloned().unwrap_or_default(),
                |candidates| top.choose(black_box(candidates), None, CAPACITY, &ids),
                BatchSize::SmallInput,
            );
        });
    }

    let mut ids = Ids::default();
    let mut all = candidates(300, 0, &mut ids);
    let unknown: Vec<Dense> = (300..600).map(|n| ids.intern(spread(n))).collect();
    let mut top = TopK::default();
    top.choose(&mut all, None, CAPACITY, &ids);
    group.throughput(Throughput::Elements(CALLS));

    // Each in turn becomes as good as another kept one, and all of those are better than the floor: nobody falls.
    let kept: Vec<Ranked<i64>> = top.best(CAPACITY).to_vec();
    assert!(kept.iter().all(|kept| top.floor().is_some_and(|floor| kept.score > floor)), "choose other candidates");
    group.bench_function("update of a kept one, moves", |bencher| {
        let mut calls = turns(kept.len());
        bencher.iter(|| {
            for (at, turn) in calls.by_ref().take(thousand()) {
                let score = kept[(at + 7 * turn) % kept.len()].score;
                top.update(black_box(kept[at].id), Some(score), CAPACITY, &ids);
            }
        });
    });
    group.bench_function("update of a kept one, same score", |bencher| {
        let now = top.best(CAPACITY).to_vec();
        let mut calls = turns(now.len());
        bencher.iter(|| {
            for (at, _) in calls.by_ref().take(thousand()) {
                top.update(black_box(now[at].id), Some(now[at].score), CAPACITY, &ids);
            }
        });
    });
    group.bench_function("revise, not kept", |bencher| {
        let mut calls = turns(unknown.len());
        bencher.iter(|| {
            calls
                .by_ref()
                .take(thousand())
                .filter(|(at, _)| top.revise(black_box(unknown[*at]), &ids, |score| Some(score + 1)).is_some())
                .count()
        });
    });
    group.bench_function("update below the floor", |bencher| {
        let below = top.floor().map(|floor| floor - 1);
        assert!(below.is_some() && top.best(CAPACITY).len() == CAPACITY, "some are kept and some are not");
        let mut calls = turns(unknown.len());
        bencher.iter(|| {
            for (at, _) in calls.by_ref().take(thousand()) {
                top.update(black_box(unknown[at]), below, CAPACITY, &ids);
            }
        });
    });
    group.finish();
}

fn thousand() -> usize {
    usize::try_from(CALLS).expect("a small number")
}

/// Goes round for ever: place and number of the turn.
fn turns(places: usize) -> impl Iterator<Item = (usize, usize)> {
    (0_usize..).map(move |n| (n % places, n / places))
}

/// Users, each with one event in a round. A round is a batch.
const USERS: u64 = 1_000;
/// Items of a full history.
const HISTORY: u64 = 50;
const ITEMS: u64 = 10_000;
/// Milliseconds between rounds.
const STEP: u64 = 1_000;
const START: u64 = 1_763_900_000_000;

/// The door alone, with users whose histories are full.
struct UserStates {
    input: Handle<Time, Input>,
    probe: ProbeHandle<Time>,
    gauges: Arc<Gauges>,
    last: Time,
    /// The next one.
    round: u64,
}

impl UserStates {
    fn new(worker: &mut Worker, retention: u64) -> Self {
        let history = usize::try_from(HISTORY).expect("a small number");
        let config = Config {
            audience: Audience::All,
            history,
            retention,
            sources: Sources { items: 4, users: 0 },
            ..Config::default()
        };
        let (probe, gauges) = (ProbeHandle::new(), Arc::new(Gauges::default()));
        let input = worker.dataflow(|scope| {
            let (input, events) = scope.new_input();
            let out = interactions(events, &config, &probe, &gauges, None);
            out.history.inner.probe_with(&probe);
            out.cooccurrence.inner.probe_with(&probe);
            out.profiles.inner.probe_with(&probe);
            out.forgotten.probe_with(&probe);
            input
        });
        let mut door = UserStates { input, probe, gauges, last: 0, round: 0 };
        while door.round < HISTORY {
            let batch = door.batch(door.round);
            door.tick(worker, &batch);
        }
        door
    }

    fn now(&self) -> u64 {
        START + self.round * STEP
    }

    /// One event of each user. The items of up to `ITEMS` rounds in a row are different ones.
    fn batch(&self, items_of_round: u64) -> Vec<Input> {
        let event = |user: u64| {
            let item = (user * 7_919 + items_of_round) % ITEMS;
            // The level belongs to the item.
            let level = 1 + (spread(item) % 3) as u8;
            Input::Event(Event { user: spread(user), item: spread(ITEMS + item), ts: self.now(), level })
        };
        (0..USERS).map(event).collect()
    }

    /// Feeds a batch and waits until everything that follows from it is out.
    fn tick(&mut self, worker: &mut Worker, batch: &[Input]) -> Duration {
        let started = Instant::now();
        self.last = next(self.last, self.now());
        self.input.advance_to(self.last);
        for input in batch {
            self.input.send(*input);
        }
        self.wait(worker, self.last + 1);
        self.round += 1;
        started.elapsed()
    }

    /// Lets time pass until just before millisecond `ms`, and waits until everything that falls due is out.
    fn pass(&mut self, worker: &mut Worker, ms: u64) -> Duration {
        let started = Instant::now();
        self.wait(worker, first_of(ms));
        started.elapsed()
    }

    fn wait(&mut self, worker: &mut Worker, until: Time) {
        self.input.advance_to(until);
        while self.probe.less_than(&until) {
            worker.step();
        }
    }

    /// Pair updates so far.
    fn pairs(&self) -> u64 {
        self.gauges.pair_updates.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn end(self, worker: &mut Worker) {
        self.input.close();
        while !self.probe.done() {
            worker.step();
        }
    }
}

/// A closed loop; `measure` is timed by itself, what it prepares is not. `pairs`: updates that an event makes.
fn bench_door(
    c: &mut Criterion,
    worker: &mut Worker,
    name: &str,
    retention: u64,
    pairs: u64,
    mut measure: impl FnMut(&mut UserStates, &mut Worker) -> Duration,
) {
    let mut group = c.benchmark_group("interactions");
    group.throughput(Throughput::Elements(USERS)).sample_size(20);
    let mut door = UserStates::new(worker, retention);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let before = door.pairs();
            let took = (0..times).map(|_| measure(&mut door, worker)).sum();
            assert_eq!(
                door.pairs() - before,
                times * USERS * pairs,
                "{name}: another amount of work than it should be"
            );
            took
        });
    });
    door.end(worker);
    group.finish();
}

fn bench_interactions(c: &mut Criterion, worker: &mut Worker) {
    let month = Config::default().retention;
    // Each displaces the oldest one. An item comes or goes with 49 others, in both directions; the two never meet.
    bench_door(c, worker, "new items", month, 4 * (HISTORY - 1), |door, worker| {
        let batch = door.batch(door.round);
        door.tick(worker, &batch)
    });
    // The oldest item of each user.
    bench_door(c, worker, "re-touches, same level", month, 0, |door, worker| {
        let batch = door.batch(door.round % HISTORY);
        door.tick(worker, &batch)
    });
    // Just before the round that would be one too many the oldest one expires. Its place is taken again off the clock.
    let retention = HISTORY * STEP - STEP / 2;
    bench_door(c, worker, "expiry of a batch", retention, 4 * (HISTORY - 1), |door, worker| {
        let took = door.pass(worker, door.now());
        let batch = door.batch(door.round);
        door.tick(worker, &batch);
        took
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench_top_k(&mut criterion);
    // Criterion cannot be sent to a worker, so it is made there anew.
    timely::execute_directly(|worker| {
        let mut criterion = Criterion::default().configure_from_args();
        bench_interactions(&mut criterion, worker);
        criterion.final_summary();
    });
}
