//! The graph alone, in a closed loop: a tick goes in, and the next one when everything that follows from it is out.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataflows::{Event, Gauges, Input, Mark, Time, next, recommendations};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::operators::{Input as _, Probe};
use timely::worker::Worker;

use crate::cli::Failure;
use crate::config::Config;
use crate::run::graph_config;

/// The counters of work, in the order of the stages.
pub(super) const STAGES: [&str; 9] =
    ["pairs", "crossings", "rankings", "similar", "shared", "alike", "totals", "rescans", "lists"];

/// What all workers have done in each of the [`STAGES`].
pub(super) type Work = [u64; STAGES.len()];

/// Feeds the graph from its first worker.
pub(super) struct Driver<'w> {
    worker: &'w mut Worker,
    input: Handle<Time, Input>,
    probe: ProbeHandle<Time>,
    last: Time,
    gauges: Arc<Mutex<Vec<Arc<Gauges>>>>,
}

impl Driver<'_> {
    /// Feeds a tick and steps until everything that follows from it is out. Returns how long that took.
    pub(super) fn tick(&mut self, events: &[Event]) -> Duration {
        let (Some(first), Some(at)) = (events.first(), events.iter().map(|event| event.ts).max()) else {
            return Duration::ZERO;
        };
        let mut inputs: Vec<Input> = events.iter().copied().map(Input::Event).collect();
        let started = Instant::now();
        let since = next(self.last, first.ts);
        self.last = next(self.last, at);
        if since < self.last {
            self.input.advance_to(since);
            let tick = self.last;
            (0..self.worker.peers() as u64)
                .for_each(|worker| self.input.send(Input::Mark { worker, mark: Mark::Together { tick } }));
        }
        self.input.advance_to(self.last);
        self.input.send_batch(&mut inputs);
        self.input.advance_to(self.last + 1);
        while self.probe.less_than(&(self.last + 1)) {
            self.worker.step();
        }
        started.elapsed()
    }

    pub(super) fn work(&self) -> Work {
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
    pub(super) fn held(&self) -> Held {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: fn(&Gauges) -> u64| gauges.iter().map(|gauges| of(gauges)).sum();
        Held {
            users: sum(|gauges| gauges.users.load(Relaxed)),
            audience: sum(|gauges| gauges.audience.load(Relaxed)),
            pairs: sum(|gauges| gauges.pairs.load(Relaxed)),
        }
    }
}

/// What the graph holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Held {
    pub(super) users: u64,
    pub(super) audience: u64,
    /// Ordered pairs of items.
    pub(super) pairs: u64,
}

/// Builds the graph on so many workers and has the first of them driven.
pub(super) fn alone<R, F>(config: &Config, workers: u16, drive: F) -> Result<R, Failure>
where
    R: Send + 'static,
    F: FnOnce(&mut Driver<'_>) -> R + Send + 'static,
{
    let config = graph_config(&config.graph);
    let gauges = Arc::new(Mutex::new(Vec::new()));
    // Built by all workers before the first of them counts.
    let built = std::sync::Barrier::new(usize::from(workers));
    let drive = Mutex::new(Some(drive));
    let guards = timely::execute(timely::Config::process(usize::from(workers)), move |worker| {
        let (input, probe) = worker.dataflow_named("deltarec", |scope| {
            let (input, events) = scope.new_input();
            let graph = recommendations(events, &config);
            gauges.lock().unwrap_or_else(PoisonError::into_inner).push(graph.gauges);
            let (probe, _) = graph.changes.probe();
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
