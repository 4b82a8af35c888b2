//! Helpers of the benchmarks: simulated events as the graph takes them, a closed loop, percentiles, memory.

#![allow(dead_code, reason = "not every benchmark needs everything")]

pub mod workload;

use simulator::{Generator, Options};
use std::time::{Duration, Instant};

use dataflows::time::Time;
use dataflows::{Event, GraphInput};
use hdrhistogram::Histogram;
use schema::{Levels, id64};
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

/// The events of a simulation that count, in order.
pub fn simulated(options: Options) -> impl Iterator<Item = Event> {
    let levels = Levels::default();
    Generator::new(options).expect("the options are valid").filter_map(move |event| {
        let effect = levels.effect(&event.action, event.dwell_ms).expect("simulated events are valid");
        let of =
            |user: &str, item: &str| Event { user: id64(user), item: id64(item), ts: event.ts, effect, scope: None };
        effect.level().is_some().then(|| of(&event.user, &event.item))
    })
}

/// A closed loop: feeds a tick and waits until it is complete.
pub struct Loop {
    pub input: GraphInput,
    pub probe: ProbeHandle<Time>,
}

impl Loop {
    /// Feeds one tick and steps until everything that follows from it is out. Returns how long that took.
    pub fn tick(&mut self, worker: &mut Worker, events: &[Event]) -> Duration {
        let since = events.first().expect("a tick has events").ts;
        self.tick_since(worker, since, events)
    }

    /// As [`Loop::tick`], for a tick that takes together all that happens from millisecond `since` on.
    pub fn tick_since(&mut self, worker: &mut Worker, since: u64, events: &[Event]) -> Duration {
        let at = events.iter().map(|event| event.ts).max().expect("a tick has events");
        let started = Instant::now();
        let mut tick = self.input.tick(since, at);
        for event in events {
            tick.event(*event);
        }
        drop(tick);
        while self.probe.less_than(&self.input.time()) {
            worker.step();
        }
        started.elapsed()
    }
}

/// A histogram from 100 ns to a minute.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("the bounds are valid")
}

pub fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

/// A quantile in milliseconds.
#[allow(clippy::cast_precision_loss)]
pub fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e6
}

/// Peak resident memory of this process in MiB, where the system reports it.
pub fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? >> 10)
}

/// Processor time of this process in seconds, user and system, where the system reports it.
pub fn cpu_seconds() -> Option<f64> {
    // USER_HZ, which is independent of the kernel's own tick rate.
    const PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may contain spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    Some((times.next()?? + times.next()??) / PER_SECOND)
}
