//! The graph alone, in a closed loop: a tick goes in, and the next one when everything that follows from it is out.
//!
//! For whoever has the events in memory and no use for names, threads and sinks: benchmarks and evaluation.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataflows::{Barrier, Event, Gauges, Input, ListChange, Time, first_of, next, recommendations};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::operators::{Input as _, Inspect, Probe};
use timely::worker::Worker;

use crate::config::Config;
use crate::failure::Failure;

/// The counters of work, in the order of the stages.
pub(crate) const STAGES: [&str; 9] =
    ["pairs", "crossings", "rankings", "similar", "shared", "alike", "totals", "rescans", "lists"];

/// What all workers have done in each of the [`STAGES`].
pub(crate) type Work = [u64; STAGES.len()];

/// Feeds the graph from its first worker.
pub(crate) struct Driver<'w> {
    worker: &'w mut Worker,
    input: Handle<Time, Input>,
    probe: ProbeHandle<Time>,
    last: Time,
    gauges: Arc<Mutex<Vec<Arc<Gauges>>>>,
}

impl Driver<'_> {
    /// Feeds a tick and steps until everything that follows from it is out. Returns how long that took.
    pub(crate) fn tick(&mut self, events: &[Event]) -> Duration {
        let (Some(first), Some(at)) = (events.first(), events.iter().map(|event| event.ts).max()) else {
            return Duration::ZERO;
        };
        let mut inputs: Vec<Input> = events.iter().copied().map(Input::Event).collect();
        let started = Instant::now();
        let since = next(self.last, first.ts);
        self.last = next(self.last, at);
        if since < self.last {
            self.input.advance_to(since);
            self.send_barrier(Barrier::Coalesce { tick: self.last });
        }
        self.input.advance_to(self.last);
        self.input.send_batch(&mut inputs);
        self.finish(self.last + 1);
        started.elapsed()
    }

    /// Steps until everything that falls due before millisecond `ms` is out. It must not lie before the last tick.
    pub(crate) fn advance(&mut self, ms: u64) {
        self.finish(first_of(ms).max(self.last + 1));
    }

    /// Feeds batches at millisecond `at`, before which nobody has a list: far cheaper than ticks. With the events of a
    /// user together it is cheapest, as the histories in between are then never seen.
    pub(crate) fn load(&mut self, at: u64, batches: impl IntoIterator<Item = Vec<Event>>) {
        self.next_tick(at);
        self.send_barrier(Barrier::LoadBegin);
        for events in batches {
            self.input.send_batch(&mut events.into_iter().map(Input::Event).collect());
            self.finish(self.last + 1);
            self.next_tick(at);
        }
        self.send_barrier(Barrier::LoadEnd);
        self.finish(self.last + 1);
    }

    fn next_tick(&mut self, ms: u64) {
        self.last = next(self.last, ms);
        self.input.advance_to(self.last);
    }

    /// Tells every worker.
    fn send_barrier(&mut self, barrier: Barrier) {
        (0..self.worker.peers() as u64).for_each(|worker| self.input.send(Input::Barrier { worker, barrier }));
    }

    /// Lets time go on to `upper` and steps until everything before is out.
    fn finish(&mut self, upper: Time) {
        self.input.advance_to(upper);
        while self.probe.less_than(&upper) {
            self.worker.step();
        }
    }

    pub(crate) fn work(&self) -> Work {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.iter().fold(Work::default(), |sum, worker| {
            let Gauges { pair_updates, crossings, rankings, similarities, shared, similar_users, .. } = &**worker;
            let Gauges { totals, rescans, lists, .. } = &**worker;
            let items = [pair_updates, crossings, rankings, similarities];
            let of = [&items[..], &[shared, similar_users, totals, rescans, lists]].concat();
            std::array::from_fn(|stage| sum[stage] + of[stage].load(Relaxed))
        })
    }

    /// What all workers hold now.
    pub(crate) fn held(&self) -> StateSize {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: fn(&Gauges) -> u64| gauges.iter().map(|gauges| of(gauges)).sum();
        StateSize {
            users: sum(|gauges| gauges.users.load(Relaxed)),
            audience: sum(|gauges| gauges.audience.load(Relaxed)),
            pairs: sum(|gauges| gauges.pairs.load(Relaxed)),
        }
    }
}

/// What the graph holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StateSize {
    pub(crate) users: u64,
    pub(crate) audience: u64,
    /// Ordered pairs of items.
    pub(crate) pairs: u64,
}

/// Builds the graph on so many workers and has the first of them driven.
pub(crate) fn alone<R, F>(config: &Config, workers: u16, drive: F) -> Result<R, Failure>
where
    R: Send + 'static,
    F: FnOnce(&mut Driver<'_>) -> R + Send + 'static,
{
    alone_with(config.graph.clone(), workers, None::<fn(&ListChange)>, drive)
}

/// [`alone`], with a look at all changes, on the worker where they arise, before the tick counts as out.
pub(crate) fn alone_with<R, S, F>(
    config: dataflows::Config,
    workers: u16,
    see: Option<S>,
    drive: F,
) -> Result<R, Failure>
where
    R: Send + 'static,
    S: Fn(&ListChange) + Clone + Send + Sync + 'static,
    F: FnOnce(&mut Driver<'_>) -> R + Send + 'static,
{
    let gauges = Arc::new(Mutex::new(Vec::new()));
    // Built by all workers before the first of them counts.
    let built = std::sync::Barrier::new(usize::from(workers));
    let drive = Mutex::new(Some(drive));
    let guards = timely::execute(timely::Config::process(usize::from(workers)), move |worker| {
        let see = see.clone();
        let (input, probe) = worker.dataflow_named("deltarec", |scope| {
            let (input, events) = scope.new_input();
            let graph = recommendations(events, &config);
            gauges.lock().unwrap_or_else(PoisonError::into_inner).push(graph.gauges);
            let changes = match see {
                Some(see) => graph.changes.inspect(move |change| see(change)),
                None => graph.changes,
            };
            let (probe, _) = changes.probe();
            (input, probe)
        });
        built.wait();
        // The others have no input of their own.
        (worker.index() == 0).then(|| {
            let drive = drive.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut driver = Driver { worker, input, probe, last: 0, gauges: Arc::clone(&gauges) };
            drive.expect("there is one first worker")(&mut driver)
        })
    });
    let failed = |what: String| Failure::Running(anyhow::anyhow!("the workers failed: {what}; please report it"));
    let mut results = guards.map_err(failed)?.join().into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
    Ok(results.swap_remove(0).expect("the first worker was driven"))
}
