//! `deltarec bench latency`: an open-loop load test of the whole program.
//!
//! The [`scheduler`] prepares steps of events at a fixed rate. The [`open_loop`] source emits each event when it is due,
//! whether or not the program keeps up, so that queueing counts (no coordinated omission). The [`recorder`] is the sink;
//! it records when all changes of an event have been written. [`rate_search`] picks the rates.

mod chart;
mod open_loop;
mod rate_search;
mod recorder;
mod scheduler;
mod step;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use self::rate_search::{MAX_RATE, Verdict};
use super::audience::AudienceShare;
use super::child::{ChildTask, run_in_child};
use super::histogram::{Percentiles, figure};
use super::machine::Machine;
use super::{CommonArgs, check_writable, describe, mib, rounded};
use crate::commands::table::{Table, say};
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  # find the highest rate that this machine sustains (about three minutes)
  deltarec bench latency

  # long steps, three audiences, one and two threads, with a report and a chart
  deltarec bench latency --seconds 60 --audience 1%,10%,all --workers 1,2 \\
                         --json latency.json --picture latency.svg

  # a state of 5 M interactions; each rate also while snapshots are taken
  deltarec bench latency --users 250_000 --interactions 5000000 --preload 200000 --rates 2000,5000 \\
                         --seconds 30 --snapshots 10

  # two rates, a larger shop
  deltarec bench latency --users 1_000_000 --items 200_000 --rate 10_000 \\
                         --preload 5000000 --rates 5000,20000

Latency is the time from the moment when an event is due until all its changes have been written. A rate is held if 99 of \
100 events take at most 50 ms and the backlog does not grow; see docs/performance.md.";

/// Seconds at the start of each step that are not recorded.
const WARM_UP: u64 = 1;

/// Limit of the events of a step, which are generated before it starts.
const MAX_STEP_EVENTS: u64 = 50_000_000;

#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(super) struct LatencyArgs {
    /// Events loaded as fast as possible before the first step
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    preload: u64,
    /// Events per second, one step each [default: 1000, 5000, 20000, doubled until the rate is not held, then a bisection,
    /// and at last half of the highest rate held]
    #[arg(long, value_name = "RATE,...", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=MAX_RATE))]
    rates: Vec<u64>,
    /// Length of a step in seconds; its first second is not recorded
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// Interactions loaded before the preload, from a snapshot of the first simulated events
    #[arg(long, value_name = "N", default_value_t = 0)]
    interactions: u64,
    /// Measure each rate once more while a snapshot is started every S seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    snapshots: Option<u64>,
    /// Users in the audience: shares of all users, or `all`
    #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_value = "10%")]
    audience: Vec<AudienceShare>,
    /// Worker threads
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Vec<u16>,
    /// Draw latency by rate and by percentile, for the first audience and number of workers
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Task of the child process: one combination of audience and workers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LatencyTask {
    args: LatencyArgs,
    share: AudienceShare,
    /// Span of the audience in ms; `None` for all users.
    span: Option<u64>,
    workers: u16,
}

impl ChildTask for LatencyTask {
    const NAME: &str = "latency";
    type Result = LatencyResult;

    fn measure(&self, stop: &Stop) -> Result<Option<LatencyResult>, Failure> {
        scheduler::measure(self, stop)
    }
}

impl LatencyTask {
    fn title(&self) -> String {
        title(self.workers, &self.share.to_string())
    }
}

fn title(workers: u16, audience: &str) -> String {
    format!("{workers} worker{}, audience {audience}", if workers == 1 { "" } else { "s" })
}

/// Result of one combination.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LatencyResult {
    workers: u16,
    audience: String,
    /// Time that an event keeps its user in the audience, in simulated time.
    span_ms: Option<u64>,
    preload: Preload,
    steps: Vec<StepResult>,
    /// Highest rate held, if a higher rate was not.
    saturation: Option<u64>,
    peak_bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Preload {
    events: u64,
    seconds: f64,
    audience: u64,
    rss_bytes: u64,
}

/// Result of one step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StepResult {
    rate: u64,
    verdict: Verdict,
    /// Number of events of the step.
    scheduled: u64,
    /// Events completed: all, unless the step was aborted.
    settled: u64,
    /// Completed events that were not recorded.
    warm_up: u64,
    achieved_per_s: f64,
    changes: u64,
    changes_per_s: f64,
    bytes_per_s: f64,
    cpu_us_per_event: Option<f64>,
    backlog_at_end: u64,
    audience: u64,
    rss_bytes: u64,
    /// Longest time without a completed event while one was due.
    pause_ms: f64,
    /// Same rate while snapshots were taken.
    snapshots: Option<WithSnapshots>,
    all: Percentiles,
    /// Events whose user has a new list when they are completed.
    own: Percentiles,
    joining: Percentiles,
    staying: Percentiles,
    leaving: Percentiles,
    /// Changes that followed what others did: how long the first of these effects had waited. In the time of the events.
    others: Percentiles,
}

/// Result of a step while snapshots were taken.
#[derive(Debug, Serialize, Deserialize)]
struct WithSnapshots {
    /// Number of snapshots completed within the step.
    taken: u64,
    verdict: Verdict,
    pause_ms: f64,
    all: Percentiles,
}

impl StepResult {
    fn summary(&self) -> String {
        let [p50, _, p99, ..] = self.all.cells();
        format!("{} events/s: p50 {p50} ms, p99 {p99} ms, {}", grouped(self.rate), self.verdict.name())
    }
}

impl LatencyResult {
    fn title(&self) -> String {
        title(self.workers, &self.audience)
    }

    fn tables(&self) -> String {
        let Preload { events, seconds, audience, .. } = &self.preload;
        let span = self.span_ms.map_or_else(String::new, |ms| format!(", {} s", figure(whole_seconds(ms))));
        let mut text = format!(
            "{} ({} users{span}); preload {} events in {} s\n\n",
            self.title(),
            grouped(*audience),
            grouped(*events),
            figure(*seconds)
        );
        let mut table = Table::new(
            "offered/s|done/s|p50 ms|p90 ms|p99 ms|p99.9 ms|max ms|changes/s|CPU us/ev|RSS MiB|verdict".split('|'),
        );
        for step in &self.steps {
            let cells = [grouped(step.rate), rounded(step.achieved_per_s)].into_iter().chain(step.all.cells());
            table.row(cells.chain([
                rounded(step.changes_per_s),
                step.cpu_us_per_event.map_or_else(|| "-".to_owned(), figure),
                mib(step.rss_bytes),
                step.verdict.name().to_owned(),
            ]));
        }
        let saturation = match self.saturation {
            Some(rate) => format!("saturation: {} events/s", grouped(rate)),
            None if self.steps.iter().all(|step| step.verdict == Verdict::Held) => {
                "saturation: not reached at these rates".to_owned()
            }
            None => "saturation: below these rates".to_owned(),
        };
        let mut kinds = Table::new("offered/s|events|count|p50 ms|p90 ms|p99 ms|p99.9 ms|max ms".split('|'));
        for step in self.steps.iter().filter(|step| step.verdict == Verdict::Held) {
            for (kind, latencies) in [
                ("own list changed", &step.own),
                ("joining", &step.joining),
                ("staying", &step.staying),
                ("leaving", &step.leaving),
                ("effects of others", &step.others),
            ] {
                let cells = [grouped(step.rate), kind.to_owned(), grouped(latencies.count)];
                kinds.row(cells.into_iter().chain(latencies.cells()));
            }
        }
        write!(text, "{table}\n{saturation}; peak memory {} MiB\n\n{kinds}", mib(self.peak_bytes))
            .expect("writing to a string does not fail");
        if self.steps.iter().any(|step| step.snapshots.is_some()) {
            write!(text, "\n{}", self.snapshots()).expect("writing to a string does not fail");
        }
        text
    }

    /// Each rate without and with snapshots.
    fn snapshots(&self) -> Table {
        let mut table =
            Table::new("offered/s|snapshots|p50 ms|p90 ms|p99 ms|p99.9 ms|max ms|pause ms|p99 ratio".split('|'));
        for step in &self.steps {
            let Some(with) = &step.snapshots else { continue };
            let ratio = if step.all.p99_ms > 0.0 { with.all.p99_ms / step.all.p99_ms } else { 0.0 };
            let row = |count: String, all: &Percentiles, pause: f64, ratio: String| {
                [grouped(step.rate), count].into_iter().chain(all.cells()).chain([figure(pause), ratio])
            };
            table.row(row("none".into(), &step.all, step.pause_ms, String::new()));
            table.row(row(with.taken.to_string(), &with.all, with.pause_ms, figure(ratio)));
        }
        table
    }
}

#[allow(clippy::cast_precision_loss)]
fn whole_seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// Measures each combination in a child process and prints its tables.
pub(super) fn main(args: &LatencyArgs, stop: &Stop) -> Result<(), Failure> {
    let options = args.common.endless()?;
    let config = args.common.config()?;
    check_writable([&args.common.json, &args.picture])?;
    let fastest = args.rates.iter().max().copied().unwrap_or(0);
    if fastest * args.seconds > MAX_STEP_EVENTS {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--rates {fastest} for --seconds {} are more than {} events, which are held in memory: lower one of them",
            args.seconds,
            grouped(MAX_STEP_EVENTS)
        )));
    }
    let audiences = args.audience.iter().map(|share| Ok((*share, share.span(&options, &config, args.preload)?)));
    let audiences = audiences.collect::<Result<Vec<_>, Failure>>()?;
    let (machine, simulation) = (Machine::this(), describe(&options));
    say(&format!("{machine}\n{simulation}\nsteps of {} s, open loop, latency from the schedule\n", args.seconds))?;

    let mut results: Vec<LatencyResult> = Vec::new();
    for (share, span) in audiences {
        for workers in &args.workers {
            if stop.is_set() {
                break;
            }
            let task = LatencyTask { args: args.clone(), share, span, workers: *workers };
            if let Some(result) = run_in_child(&task, stop)? {
                say(&result.tables())?;
                results.push(result);
            }
        }
    }
    if let Some(path) = args.picture.as_ref().filter(|_| !results.is_empty()) {
        chart::draw(path, &results).map_err(Failure::Running)?;
    }
    args.common.report("latency", &options, &results)
}
