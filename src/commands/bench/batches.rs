//! `deltarec bench batches`: a closed loop over the warm graph alone.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use dataflows::gauges::StateSize;
use dataflows::{Driver, Event};
use serde::{Deserialize, Serialize};

use super::audience::Share;
use super::child::{Task, ask};
use super::fanout::{Fanout, Popularity, Tenth};
use super::machine::{Machine, memory};
use super::sample::{Percentiles, Sample, figure};
use super::simulated::EventStream;
use super::{Setup, check_writable, mib, named, per, whole};
use crate::commands::table::{Table, say};
use crate::config::Audience;
use crate::engine::{graph_config, grouped};
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench batches
  deltarec bench batches --workers 2 --audience all
  deltarec bench batches users=1_000_000,items=200_000,rate=10_000 --preload 5000000 --json batches.json

The graph alone: no names, no reading, no writing. A batch goes in when everything that follows from the
one before is out.";

#[derive(Debug, Args)]
pub(super) struct BatchesArgs {
    #[command(flatten)]
    setup: Setup,
    /// Events taken in before anything is measured
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    preload: u64,
    /// Events to measure with each size of batch, and at least 100 batches
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Longest time for each size of batch
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Users in the audience, as a share of all users, or `all`
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    audience: Share,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
}

/// For the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BatchesTask {
    setup: Setup,
    preload: u64,
    events: u64,
    seconds: u64,
    span: Option<u64>,
    workers: u16,
}

/// Events in a batch. Single events come first: they are also what fan-out is told of.
const SIZES: [usize; 4] = [1, 10, 100, 1_000];
const FEWEST_BATCHES: u64 = 100;
/// Events in a batch of the preload.
pub(super) const LOADED_AT_ONCE: usize = 10_000;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Measured {
    preload_events: u64,
    preload_seconds: f64,
    held: StateSize,
    rss_bytes: u64,
    sizes: Vec<Size>,
    /// By the popularity of the item, the most popular tenth of the items first.
    tenths: Vec<Tenth>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Size {
    batch: usize,
    batches: u64,
    events: u64,
    events_per_s: f64,
    latency: Percentiles,
}

/// Feeds so many events in large batches, and into `seen` which items they were of.
pub(super) fn preload(
    driver: &mut Driver<'_>,
    maker: &mut EventStream,
    events: u64,
    stop: &Stop,
    mut seen: impl FnMut(&Event),
) -> u64 {
    let mut loaded = 0;
    while loaded < events && !stop.is_set() {
        let count = (events - loaded).min(LOADED_AT_ONCE as u64);
        let batch = maker.events(usize::try_from(count).expect("at most a batch"));
        if batch.is_empty() {
            break;
        }
        batch.iter().for_each(&mut seen);
        driver.tick(&batch);
        loaded += batch.len() as u64;
    }
    loaded
}

/// The child's side.
pub(super) fn measure(task: &BatchesTask, stop: &Stop) -> Result<Option<Measured>, Failure> {
    let config = task.setup.with_audience(task.span.map_or(Audience::All, Audience::Within))?;
    let mut maker = EventStream::new(task.setup.endless()?, config.levels.clone(), None)?;
    let (events, events_to_load) = (task.events, task.preload);
    let (patience, stop) = (Duration::from_secs(task.seconds), stop.clone());
    let measured = Driver::run(&graph_config(&config), usize::from(task.workers), move |driver| {
        let started = Instant::now();
        let mut popularity = Popularity::default();
        let loaded = preload(driver, &mut maker, events_to_load, &stop, |event| popularity.count(event.item));
        let mut measured = Measured {
            preload_events: loaded,
            preload_seconds: started.elapsed().as_secs_f64(),
            ..Measured::default()
        };
        let mut fanout = Fanout::new(&popularity);
        for batch in SIZES {
            let mut latency = Sample::default();
            let (mut busy, mut batches) = (Duration::ZERO, 0);
            let enough = (events / batch as u64).max(if batch == 1 { 1 } else { FEWEST_BATCHES.min(events) });
            while batches < enough && busy < patience && !stop.is_set() {
                let next = maker.events(batch);
                let before = (batch == 1).then(|| driver.work());
                let took = driver.tick(&next);
                if let (Some(before), [event]) = (before, &next[..]) {
                    fanout.add(event.item, took, before, driver.work());
                }
                latency.record(took);
                (busy, batches) = (busy + took, batches + 1);
            }
            let events = batches * batch as u64;
            let events_per_s = per(events, busy.as_secs_f64());
            measured.sizes.push(Size { batch, batches, events, events_per_s, latency: latency.percentiles() });
        }
        (measured.held, measured.rss_bytes) = (driver.state_size(), memory().0);
        measured.tenths = fanout.tenths();
        measured
    })?;
    Ok(Some(measured).filter(|measured| measured.sizes.iter().any(|size| size.batches > 0)))
}

impl Measured {
    fn tables(&self) -> String {
        let mut text = format!(
            "preload: {} events in {} s, {} events/s\n{} users, {} of them in the audience, {} pairs, {} MiB in the end\n\n",
            grouped(self.preload_events),
            figure(self.preload_seconds),
            whole(per(self.preload_events, self.preload_seconds)),
            grouped(self.held.users),
            grouped(self.held.audience),
            grouped(self.held.pairs),
            mib(self.rss_bytes)
        );
        let mut table =
            Table::new(&["batch", "batches", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "events/s"]);
        for size in &self.sizes {
            let cells = [grouped(size.batch as u64), grouped(size.batches)].into_iter().chain(size.latency.cells());
            table.row(cells.chain([whole(size.events_per_s)]));
        }
        write!(text, "{table}\nwork of single events by the popularity of their item (tenths of the items)\n\n{}", {
            super::fanout::tables(&self.tenths)
        })
        .expect("writing to a string does not fail");
        text
    }
}

/// Measures in a process of its own.
pub(super) fn main(args: &BatchesArgs, stop: &Stop) -> Result<(), Failure> {
    let options = args.setup.endless()?;
    let config = args.setup.config()?;
    check_writable([&args.setup.json])?;
    let span = match args.audience.audience(&options, &config, args.preload)? {
        Audience::All => None,
        Audience::Within(ms) => Some(ms),
    };
    say(&format!(
        "{}\n{}\nclosed loop, graph alone, {} worker(s), audience {}\n",
        Machine::this(),
        named(&options),
        args.workers,
        args.audience
    ))?;
    let task = BatchesTask {
        setup: args.setup.clone(),
        preload: args.preload,
        events: args.events,
        seconds: args.seconds,
        span,
        workers: args.workers,
    };
    let measured = ask::<Measured>(&Task::Batches(task), stop)?;
    if let Some(measured) = &measured {
        say(&measured.tables())?;
    }
    args.setup.report("batches", &options, &measured)
}
