//! Parts of the graph in isolation: [`TopK`], the structure behind all rankings, and the interactions operator.
//!
//! ```text
//! cargo bench -p dataflows --bench operators
//! cargo bench -p dataflows --bench operators -- 'top_k'
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use dataflows::config::Sources;
use dataflows::gauges::Gauges;
use dataflows::operators::{Dense, Ids, Ranked, TopK, interactions};
use dataflows::{Audience, Config, Effect, Event, GraphInput};
use schema::mix;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::worker::Worker;

/// Capacity as for similar items: 30 and as many in reserve.
const CAPACITY: usize = 60;
/// Calls that are timed together.
const CALLS: u64 = 1_000;

/// Candidates with scores over a wide range, some of them equal. `seed` selects the scores.
fn candidates(count: u64, seed: u64, ids: &mut Ids) -> Vec<Ranked<i64>> {
    let score = |n: u64| i64::try_from(mix(seed << 32 | (n + 1)) % 10_000).expect("a small number") + 1_000;
    (0..count).map(|n| Ranked { score: score(n), id: ids.intern(mix(n)) }).collect()
}

fn bench_top_k(c: &mut Criterion) {
    let mut group = c.benchmark_group("top_k");
    for count in [300, 3_000] {
        let mut ids = Ids::default();
        // Alternates between groups: the branch predictor would learn the order of a single one.
        let groups: Vec<_> = (0..64).map(|seed| candidates(count, seed, &mut ids)).collect();
        let mut next = groups.iter().cycle();
        let mut top = TopK::default();
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("rebuild {CAPACITY} of {count}"), |bencher| {
            bencher.iter_batched_ref(
                || next.next().cloned().unwrap_or_default(),
                |candidates| top.rebuild(black_box(candidates), CAPACITY, &ids),
                BatchSize::SmallInput,
            );
        });
    }

    let mut ids = Ids::default();
    let mut all = candidates(300, 0, &mut ids);
    let unknown: Vec<Dense> = (300..600).map(|n| ids.intern(mix(n))).collect();
    let mut top = TopK::default();
    top.rebuild(&mut all, CAPACITY, &ids);
    group.throughput(Throughput::Elements(CALLS));

    // Each candidate in turn gets the score of another kept one. All scores are above the floor, so none falls.
    let kept: Vec<Ranked<i64>> = top.best(CAPACITY).to_vec();
    assert!(kept.iter().all(|kept| top.floor().is_some_and(|floor| kept.score > floor)), "use other candidates");
    group.bench_function("update of a kept one, moves", |bencher| {
        let mut calls = rounds(kept.len());
        bencher.iter(|| {
            for (at, turn) in calls.by_ref().take(calls_at_once()) {
                let score = kept[(at + 7 * turn) % kept.len()].score;
                top.update(black_box(kept[at].id), Some(score), CAPACITY, &ids);
            }
        });
    });
    group.bench_function("update of a kept one, same score", |bencher| {
        let now = top.best(CAPACITY).to_vec();
        let mut calls = rounds(now.len());
        bencher.iter(|| {
            for (at, _) in calls.by_ref().take(calls_at_once()) {
                top.update(black_box(now[at].id), Some(now[at].score), CAPACITY, &ids);
            }
        });
    });
    group.bench_function("update below the floor", |bencher| {
        let below = top.floor().map(|floor| floor - 1);
        assert!(below.is_some() && top.best(CAPACITY).len() == CAPACITY, "some are kept and some are not");
        let mut calls = rounds(unknown.len());
        bencher.iter(|| {
            for (at, _) in calls.by_ref().take(calls_at_once()) {
                top.update(black_box(unknown[at]), below, CAPACITY, &ids);
            }
        });
    });
    group.finish();
}

fn calls_at_once() -> usize {
    usize::try_from(CALLS).expect("a small number")
}

/// Cycles through `places` forever: index and number of the round.
fn rounds(places: usize) -> impl Iterator<Item = (usize, usize)> {
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

/// The interactions operator, with users whose histories are full.
struct UserStates {
    input: GraphInput,
    probe: ProbeHandle<dataflows::time::Time>,
    gauges: Arc<Gauges>,
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
            let (input, streams) = GraphInput::new(scope, &config, false);
            let out = interactions(streams.events, None, streams.barriers, &config, &probe, &gauges, None);
            out.history.inner.probe_with(&probe);
            out.cooccurrence.inner.probe_with(&probe);
            out.profiles.inner.probe_with(&probe);
            out.forgotten.probe_with(&probe);
            input
        });
        let mut states = UserStates { input, probe, gauges, round: 0 };
        while states.round < HISTORY {
            let batch = states.batch(states.round);
            states.tick(worker, &batch);
        }
        states
    }

    fn now(&self) -> u64 {
        START + self.round * STEP
    }

    /// One event of each user. The items of up to `ITEMS` rounds in a row are different ones.
    fn batch(&self, items_of_round: u64) -> Vec<Event> {
        let event = |user: u64| {
            let item = (user * 7_919 + items_of_round) % ITEMS;
            // The level belongs to the item.
            let level = 1 + (mix(item) % 3) as u8;
            Event {
                user: mix(user),
                item: mix(ITEMS + item),
                ts: self.now(),
                effect: Effect::Counts(level),
                scope: None,
            }
        };
        (0..USERS).map(event).collect()
    }

    /// Feeds a batch and waits until it is completely processed.
    fn tick(&mut self, worker: &mut Worker, batch: &[Event]) -> Duration {
        let started = Instant::now();
        let now = self.now();
        self.input.tick(now, now).events(&mut batch.to_vec());
        self.wait(worker);
        self.round += 1;
        started.elapsed()
    }

    /// Advances the time to just before millisecond `ms`, and waits for all expiries until then.
    fn pass(&mut self, worker: &mut Worker, ms: u64) -> Duration {
        let started = Instant::now();
        self.input.pass(ms - 1);
        self.wait(worker);
        started.elapsed()
    }

    fn wait(&mut self, worker: &mut Worker) {
        while self.probe.less_than(&self.input.time()) {
            worker.step();
        }
    }

    /// Pair updates so far.
    fn pairs(&self) -> u64 {
        self.gauges.pair_updates.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn end(self, worker: &mut Worker) {
        drop(self.input);
        while !self.probe.done() {
            worker.step();
        }
    }
}

/// A closed loop. `measure` returns the measured time, without that of its preparations. `pairs`: pair updates of an event.
fn bench_user_states(
    c: &mut Criterion,
    worker: &mut Worker,
    name: &str,
    retention: u64,
    pairs: u64,
    mut measure: impl FnMut(&mut UserStates, &mut Worker) -> Duration,
) {
    let mut group = c.benchmark_group("interactions");
    group.throughput(Throughput::Elements(USERS)).sample_size(20);
    let mut states = UserStates::new(worker, retention);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let before = states.pairs();
            let took = (0..times).map(|_| measure(&mut states, worker)).sum();
            assert_eq!(states.pairs() - before, times * USERS * pairs, "{name}: unexpected amount of work");
            took
        });
    });
    states.end(worker);
    group.finish();
}

fn bench_interactions(c: &mut Criterion, worker: &mut Worker) {
    let month = Config::default().retention;
    // Each displaces the oldest item. Both pair with the 49 others, in both directions, but not with each other.
    bench_user_states(c, worker, "new items", month, 4 * (HISTORY - 1), |states, worker| {
        let batch = states.batch(states.round);
        states.tick(worker, &batch)
    });
    // Touches the oldest item of each user again.
    bench_user_states(c, worker, "re-touches, same level", month, 0, |states, worker| {
        let batch = states.batch(states.round % HISTORY);
        states.tick(worker, &batch)
    });
    // The oldest item expires just before the round after a full history. It is replaced outside the measurement.
    let retention = HISTORY * STEP - STEP / 2;
    bench_user_states(c, worker, "expiry of a batch", retention, 4 * (HISTORY - 1), |states, worker| {
        let took = states.pass(worker, states.now());
        let batch = states.batch(states.round);
        states.tick(worker, &batch);
        took
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench_top_k(&mut criterion);
    // Criterion is not `Send`, so the worker makes its own.
    timely::execute_directly(|worker| {
        let mut criterion = Criterion::default().configure_from_args();
        bench_interactions(&mut criterion, worker);
        criterion.final_summary();
    });
}
