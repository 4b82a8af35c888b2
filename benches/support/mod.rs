//! What the benchmarks share: simulated events as the graph takes them, a closed loop, percentiles, memory.

#![allow(dead_code, reason = "not every benchmark needs everything")]

pub mod workload;

use simulator::{Generator, Options};
use std::time::{Duration, Instant};

use dataflows::{Barrier, Event, Input, Time, next};
use hdrhistogram::Histogram;
use schema::{Effect, Levels, id64};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::input::Handle;
use timely::worker::Worker;

/// The events of a simulation that count, in order.
pub fn simulated(options: Options) -> impl Iterator<Item = Event> {
    let levels = Levels::default();
    Generator::new(options).expect("the options are valid").filter_map(move |event| {
        match levels.effect(&event.action, event.dwell_ms).expect("simulated events are valid") {
            Effect::Counts(level) => {
                Some(Event { user: id64(&event.user), item: id64(&event.item), ts: event.ts, level })
            }
            Effect::Ignored => None,
        }
    })
}

/// Feeds ticks and waits for each: the closed loop.
pub struct Loop {
    pub input: Handle<Time, Input>,
    pub probe: ProbeHandle<Time>,
    pub last: Time,
}

impl Loop {
    /// Feeds one tick and steps until everything that follows from it is out. Returns how long that took.
    pub fn tick(&mut self, worker: &mut Worker, events: &[Event]) -> Duration {
        let since = events.first().expect("a tick has events").ts;
        self.tick_since(worker, since, events)
    }

    /// The same, taking what time alone changes from millisecond `since` on together with the events.
    pub fn tick_since(&mut self, worker: &mut Worker, since: u64, events: &[Event]) -> Duration {
        let at = events.iter().map(|event| event.ts).max().expect("a tick has events");
        let started = Instant::now();
        let since = next(self.last, since);
        self.last = next(self.last, at);
        if since < self.last {
            self.input.advance_to(since);
            let tick = self.last;
            (0..worker.peers() as u64)
                .for_each(|worker| self.input.send(Input::Barrier { worker, barrier: Barrier::Coalesce { tick } }));
        }
        self.input.advance_to(self.last);
        for event in events {
            self.input.send(Input::Event(*event));
        }
        self.input.advance_to(self.last + 1);
        while self.probe.less_than(&(self.last + 1)) {
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

/// A percentile in milliseconds.
#[allow(clippy::cast_precision_loss)]
pub fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e6
}

/// Largest resident memory of this process so far in MiB, where the system tells.
pub fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? >> 10)
}

/// Seconds of processor time of this process so far, user and system, where the system tells.
pub fn cpu_seconds() -> Option<f64> {
    // Ticks of a hundredth of a second, whatever the kernel's own are.
    const PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in brackets, may have spaces in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    Some((times.next()?? + times.next()??) / PER_SECOND)
}
