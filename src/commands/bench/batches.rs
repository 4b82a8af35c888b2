//! `deltarec bench batches`: closed-loop latency of small batches on a warm graph.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use dataflows::Driver;
use dataflows::gauges::StateSize;
use serde::{Deserialize, Serialize};

use super::audience::AudienceShare;
use super::child::{ChildTask, run_in_child};
use super::event_stream::EventStream;
use super::fanout::{FanoutStats, Popularity, Tenth};
use super::histogram::{LatencyHistogram, Percentiles, figure};
use super::machine::{Machine, resident_bytes};
use super::{CommonArgs, check_writable, describe, mib, per, rounded};
use crate::commands::table::{Table, say};
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench batches
  deltarec bench batches --workers 2 --audience all
  deltarec bench batches --users 1_000_000 --items 200_000 --rate 10_000 \\
                         --preload 5000000 --json batches.json

Measures the graph alone, without names, inputs and outputs. The next batch is fed when all changes of the previous one \
have been emitted.";

#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(super) struct BatchesArgs {
    /// Events loaded before the measurement
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    preload: u64,
    /// Events measured with each batch size, but at least 100 batches
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Time limit of each batch size in seconds
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Users in the audience: a share of all users, or `all`
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    audience: AudienceShare,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    #[command(flatten)]
    common: CommonArgs,
}

/// Batch sizes. Single events also give the work by item popularity.
const SIZES: [usize; 4] = [1, 10, 100, 1_000];
const MIN_BATCHES: u64 = 100;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct BatchesResult {
    preload_events: u64,
    preload_seconds: f64,
    held: StateSize,
    rss_bytes: u64,
    sizes: Vec<BatchSizeResult>,
    /// Work by item popularity, most popular tenth of the items first.
    tenths: Vec<Tenth>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BatchSizeResult {
    batch: usize,
    batches: u64,
    events: u64,
    events_per_s: f64,
    latency: Percentiles,
}

/// Task of the child process, with an audience of `span` milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BatchesTask {
    args: BatchesArgs,
    span: Option<u64>,
}

impl ChildTask for BatchesTask {
    const NAME: &str = "batches";
    type Result = BatchesResult;

    fn measure(&self, stop: &Stop) -> Result<Option<BatchesResult>, Failure> {
        let BatchesTask { args, span } = self;
        let config = args.common.with_audience(*span)?;
        let mut stream = EventStream::new(args.common.endless()?, config.levels.clone(), None)?;
        let (events, events_to_load) = (args.events, args.preload);
        let (time_limit, stop) = (Duration::from_secs(args.seconds), stop.clone());
        let result = Driver::run(&config.graph, usize::from(args.workers), move |driver| {
            let started = Instant::now();
            let mut popularity = Popularity::default();
            let loaded = stream.preload(driver, events_to_load, &stop, |event| {
                *popularity.entry(event.item).or_default() += 1;
            });
            let mut result = BatchesResult {
                preload_events: loaded,
                preload_seconds: started.elapsed().as_secs_f64(),
                ..BatchesResult::default()
            };
            let mut fanout = FanoutStats::new(&popularity);
            for batch in SIZES {
                let mut latency = LatencyHistogram::default();
                let (mut busy, mut batches) = (Duration::ZERO, 0);
                let target = (events / batch as u64).max(if batch == 1 { 1 } else { MIN_BATCHES.min(events) });
                while batches < target && busy < time_limit && !stop.is_set() {
                    let next = stream.events(batch);
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
                result.sizes.push(BatchSizeResult {
                    batch,
                    batches,
                    events,
                    events_per_s,
                    latency: latency.percentiles(),
                });
            }
            (result.held, result.rss_bytes) = (driver.state_size(), resident_bytes());
            result.tenths = fanout.tenths();
            result
        })?;
        Ok(Some(result).filter(|result| result.sizes.iter().any(|size| size.batches > 0)))
    }
}

impl BatchesResult {
    fn tables(&self) -> String {
        let mut text = format!(
            "preload: {} events in {} s, {} events/s\n{} users, {} of them in the audience, {} pairs, {} MiB at the end\n\n",
            grouped(self.preload_events),
            figure(self.preload_seconds),
            rounded(per(self.preload_events, self.preload_seconds)),
            grouped(self.held.users),
            grouped(self.held.audience),
            grouped(self.held.pairs),
            mib(self.rss_bytes)
        );
        let mut table = Table::new("batch|batches|p50 ms|p90 ms|p99 ms|p99.9 ms|max ms|events/s".split('|'));
        for size in &self.sizes {
            let cells = [grouped(size.batch as u64), grouped(size.batches)].into_iter().chain(size.latency.cells());
            table.row(cells.chain([rounded(size.events_per_s)]));
        }
        write!(text, "{table}\nwork of single events by item popularity (tenths of the items)\n\n{}", {
            super::fanout::tables(&self.tenths)
        })
        .expect("writing to a string does not fail");
        text
    }
}

/// Runs the benchmark in a child process and prints its tables.
pub(super) fn main(args: &BatchesArgs, stop: &Stop) -> Result<(), Failure> {
    let options = args.common.endless()?;
    let config = args.common.config()?;
    check_writable([&args.common.json])?;
    let span = args.audience.span(&options, &config, args.preload)?;
    say(&format!(
        "{}\n{}\nclosed loop, graph alone, {} worker(s), audience {}\n",
        Machine::this(),
        describe(&options),
        args.workers,
        args.audience
    ))?;
    let result = run_in_child(&BatchesTask { args: args.clone(), span }, stop)?;
    if let Some(result) = &result {
        say(&result.tables())?;
    }
    args.common.report("batches", &options, &result)
}
