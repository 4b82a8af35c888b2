use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::{Inspect, Probe};
use timely::worker::Worker;

use crate::gauges::{Gauges, STAGES, StateSize, Work};
use crate::{
    Barrier, Config, ControlRecord, Event, GraphInput, ItemRecord, ListChange, SnapshotSinks, UserId, recommendations,
};

/// Drives the graph in this process in a closed loop: the next tick goes in when everything that follows from the last one
/// is out.
///
/// For callers that have their events in memory and need neither names nor sinks: benchmarks, evaluation, tests.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use dataflows::{Config, Driver, Effect, Event, ListKey};
///
/// let changes = Arc::new(Mutex::new(Vec::new()));
/// let collected = Arc::clone(&changes);
/// let on_change = move |change: &dataflows::ListChange| collected.lock().unwrap().push(change.clone());
///
/// Driver::observe(&Config::default(), 1, on_change, |driver| {
///     let event = |user, item, ts| Event { user, item, ts, effect: Effect::Counts(3), scope: None };
///     // User 1 touches two items, and then user 2 touches one of them.
///     driver.tick(&[event(1, 10, 1_000), event(1, 20, 1_001)]);
///     driver.tick(&[event(2, 10, 1_002)]);
/// })?;
///
/// let changes = changes.lock().unwrap();
/// assert_eq!(changes.len(), 1);
/// assert_eq!((changes[0].key, changes[0].at), (ListKey::User(2), 1_002));
/// assert_eq!(changes[0].entered, [20]);
/// # Ok::<(), dataflows::DriverError>(())
/// ```
pub struct Driver<'w> {
    worker: &'w mut Worker,
    input: GraphInput,
    probe: ProbeHandle<crate::Time>,
    gauges: Arc<Mutex<Vec<Arc<Gauges>>>>,
}

/// The workers could not be started, or one of them panicked.
#[derive(Debug, thiserror::Error)]
#[error("the workers failed: {0}; please report it")]
pub struct DriverError(String);

impl Driver<'_> {
    /// Builds the graph on `workers` threads and calls `drive` on the first of them.
    ///
    /// # Errors
    /// If a thread cannot be started or panics.
    pub fn run<R, F>(config: &Config, workers: usize, drive: F) -> Result<R, DriverError>
    where
        R: Send + 'static,
        F: FnOnce(&mut Driver<'_>) -> R + Send + 'static,
    {
        run(config, workers, None::<fn(&ListChange)>, drive)
    }

    /// As [`Driver::run`]. Also calls `on_change` for each change, on the worker that computed it, before the tick counts as
    /// complete.
    ///
    /// # Errors
    /// If a thread cannot be started or panics.
    pub fn observe<R, C, F>(config: &Config, workers: usize, on_change: C, drive: F) -> Result<R, DriverError>
    where
        R: Send + 'static,
        C: Fn(&ListChange) + Clone + Send + Sync + 'static,
        F: FnOnce(&mut Driver<'_>) -> R + Send + 'static,
    {
        run(config, workers, Some(on_change), drive)
    }

    /// Feeds events as one tick and steps until everything that follows from it is out. Returns how long that took.
    pub fn tick(&mut self, events: &[Event]) -> Duration {
        let (Some(first), Some(at)) = (events.first(), events.iter().map(|event| event.ts).max()) else {
            return Duration::ZERO;
        };
        let mut events = events.to_vec();
        let started = Instant::now();
        self.input.tick(first.ts, at).events(&mut events);
        self.finish();
        started.elapsed()
    }

    /// Feeds catalogue records as one tick at millisecond `at` and steps until everything that follows from it is out.
    /// Returns how long that took. Has no effect without a catalogue.
    pub fn tick_items(&mut self, at: u64, mut records: Vec<ItemRecord>) -> Duration {
        let started = Instant::now();
        self.input.tick(at, at).items(&mut records);
        self.finish();
        started.elapsed()
    }

    /// Feeds controls as one tick at millisecond `at` and steps until everything that follows from it is out. Returns how long
    /// that took. Has no effect if the graph takes none.
    pub fn tick_controls(&mut self, at: u64, mut controls: Vec<ControlRecord>) -> Duration {
        let started = Instant::now();
        self.input.tick(at, at).controls(&mut controls);
        self.finish();
        started.elapsed()
    }

    /// Steps until everything that falls due before millisecond `ms` is out. It must not lie before the last tick.
    pub fn advance(&mut self, ms: u64) {
        self.input.pass(ms.saturating_sub(1));
        self.finish();
    }

    /// Evaluates the lists of all viewers, in a tick of its own.
    pub fn evaluate_all(&mut self) {
        self.input.next_tick().barrier(Barrier::EvaluateAll);
        self.finish();
    }

    /// Evaluates the list of a user, in a tick of its own.
    pub fn evaluate(&mut self, user: UserId) {
        self.input.next_tick().barrier(Barrier::Evaluate { user });
        self.finish();
    }

    /// Feeds batches at millisecond `at`, with an empty audience until all are there: far cheaper than ticks.
    ///
    /// It is cheapest when the events of a user are in one batch, because intermediate histories are then never computed.
    pub fn load(&mut self, at: u64, batches: impl IntoIterator<Item = Vec<Event>>) {
        self.input.tick(at, at).barrier(Barrier::LoadBegin);
        for mut events in batches {
            self.input.tick(at, at).events(&mut events);
            self.finish();
        }
        self.input.tick(at, at).barrier(Barrier::LoadEnd);
        self.finish();
    }

    /// Steps until everything that was fed is complete.
    fn finish(&mut self) {
        let time = self.input.time();
        while self.probe.less_than(&time) {
            self.worker.step();
        }
    }

    /// Work of all workers since the start, for each of the [`STAGES`].
    pub fn work(&self) -> Work {
        let mut sum = [0; STAGES.len()];
        for gauges in self.gauges.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sum.iter_mut().zip(gauges.work()).for_each(|(sum, work)| *sum += work);
        }
        sum
    }

    /// State sizes of all workers together.
    pub fn state_size(&self) -> StateSize {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.iter().map(|gauges| gauges.state_size()).fold(StateSize::default(), |sum, size| StateSize {
            users: sum.users + size.users,
            audience: sum.audience + size.audience,
            pairs: sum.pairs + size.pairs,
        })
    }
}

fn run<R, C, F>(config: &Config, workers: usize, on_change: Option<C>, drive: F) -> Result<R, DriverError>
where
    R: Send + 'static,
    C: Fn(&ListChange) + Clone + Send + Sync + 'static,
    F: FnOnce(&mut Driver<'_>) -> R + Send + 'static,
{
    let config = config.clone();
    let gauges = Arc::new(Mutex::new(Vec::new()));
    // All workers build the graph before the first one starts, so that it finds all gauges.
    let built = std::sync::Barrier::new(workers);
    let drive = Mutex::new(Some(drive));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let on_change = on_change.clone();
        let (input, probe) = worker.dataflow_named("deltarec", |scope| {
            let (input, streams) = GraphInput::new(scope, &config, false);
            let graph = recommendations(streams, &config, SnapshotSinks::default());
            gauges.lock().unwrap_or_else(PoisonError::into_inner).push(graph.gauges);
            let changes = match on_change {
                Some(on_change) => graph.changes.inspect(move |change| on_change(change)),
                None => graph.changes,
            };
            (input, changes.probe().0)
        });
        built.wait();
        // The other workers drop their inputs.
        (worker.index() == 0).then(|| {
            let drive = drive.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut driver = Driver { worker, input, probe, gauges: Arc::clone(&gauges) };
            drive.expect("there is one first worker")(&mut driver)
        })
    });
    let results = guards.map_err(DriverError)?.join().into_iter().collect::<Result<Vec<_>, _>>();
    let first = results.map_err(DriverError)?.swap_remove(0);
    Ok(first.expect("the first worker drives the graph"))
}
