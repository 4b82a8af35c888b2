//! `deltarec bench latency`: an open loop through the whole program.

mod conduct;
mod paced;
mod step;
mod sweep;
mod watch;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

pub(super) use self::conduct::measure;
use self::sweep::FASTEST;
pub(super) use self::sweep::{LIMIT, Verdict};
use super::audience::Share;
use super::child::{Task, ask};
use super::machine::Machine;
use super::sample::{Percentiles, figure};
use super::{Setup, check_writable, mib, named, picture, whole};
use crate::commands::table::{Table, say};
use crate::config::Audience;
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  # find the rate that this machine sustains (about three minutes)
  deltarec bench latency

  # the real thing: long steps, three audiences, one and two threads, figures and a picture to keep
  deltarec bench latency --seconds 60 --audience 1%,10%,all --workers 1,2 \\
                         --json latency.json --picture latency.svg

  # with 5 M interactions held, and each rate once more while snapshots are taken
  deltarec bench latency users=250_000 --interactions 5000000 --preload 200000 --rates 2000,5000 --seconds 30 --snapshots 10

  # two rates, a larger shop
  deltarec bench latency users=1_000_000,items=200_000,rate=10_000 --preload 5000000 --rates 5000,20000

Latency runs from the moment an event is due until everything that follows from it has been written.
A rate is held when 99 of 100 events take at most 50 ms and no backlog grows; see docs/performance.md.";

/// Seconds of each step that are not recorded.
const WARM_UP: u64 = 1;

/// Most events of a step: they are made before it begins.
const MOST_PREPARED: u64 = 50_000_000;

#[derive(Debug, Args)]
pub(super) struct LatencyArgs {
    #[command(flatten)]
    setup: Setup,
    /// Events taken in as fast as possible before anything is measured
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    preload: u64,
    /// Events per second to offer, one step each [default: 1000, 5000, 20000, twice as many until it is too much, then
    /// in between; in the end half of what is sustained]
    #[arg(long, value_name = "RATE,...", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=FASTEST))]
    rates: Vec<u64>,
    /// Length of a step; its first second is not recorded
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// Interactions held before that, from a snapshot of the simulation's first events
    #[arg(long, value_name = "N", default_value_t = 0)]
    interactions: u64,
    /// Measure each rate once more while a snapshot is begun every so many seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    snapshots: Option<u64>,
    /// Users in the audience, as shares of all users, or `all`
    #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_value = "10%")]
    audience: Vec<Share>,
    /// Worker threads
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Vec<u16>,
    /// Draw latency against rate, and the percentiles, of the first audience and number of workers
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
}

/// One combination, for a child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LatencyTask {
    setup: Setup,
    preload: u64,
    interactions: u64,
    snapshots: Option<u64>,
    rates: Vec<u64>,
    seconds: u64,
    share: Share,
    /// What the share means: a span in ms, or nothing for all.
    span: Option<u64>,
    workers: u16,
}

impl LatencyTask {
    fn audience(&self) -> Audience {
        self.span.map_or(Audience::All, Audience::Within)
    }

    fn title(&self) -> String {
        title(self.workers, &self.share.to_string())
    }
}

fn title(workers: u16, audience: &str) -> String {
    format!("{workers} worker{}, audience {audience}", if workers == 1 { "" } else { "s" })
}

/// What one combination gave.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) workers: u16,
    pub(super) audience: String,
    /// How long an event keeps its user in the audience, in simulated time.
    span_ms: Option<u64>,
    preload: Preload,
    pub(super) steps: Vec<Outcome>,
    /// The highest rate that was held, if a higher one was not.
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

/// What one step gave.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) rate: u64,
    pub(super) verdict: Verdict,
    /// Events planned, of them those offered and done with (all, unless it was cut short), of those the unrecorded ones.
    scheduled: u64,
    settled: u64,
    warm_up: u64,
    achieved_per_s: f64,
    changes: u64,
    changes_per_s: f64,
    bytes_per_s: f64,
    cpu_us_per_event: Option<f64>,
    backlog_at_end: u64,
    audience: u64,
    rss_bytes: u64,
    /// The longest time in which nothing was done with although something was due.
    pause_ms: f64,
    /// The same rate while snapshots were taken.
    snapshots: Option<WithSnapshots>,
    pub(super) all: Percentiles,
    changing: Percentiles,
    joining: Percentiles,
    staying: Percentiles,
    leaving: Percentiles,
}

/// A rate while snapshots were taken.
#[derive(Debug, Serialize, Deserialize)]
struct WithSnapshots {
    /// Snapshots completed within the step.
    taken: u64,
    verdict: Verdict,
    pause_ms: f64,
    all: Percentiles,
}

impl Outcome {
    fn line(&self) -> String {
        let [p50, _, p99, ..] = self.all.cells();
        format!("{} events/s: p50 {p50} ms, p99 {p99} ms, {}", grouped(self.rate), self.verdict.words())
    }
}

impl Measured {
    pub(super) fn title(&self) -> String {
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
        let mut table = Table::new(&[
            "offered/s",
            "done/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "changes/s",
            "CPU us/ev",
            "RSS MiB",
            "verdict",
        ]);
        for step in &self.steps {
            let cells = [grouped(step.rate), whole(step.achieved_per_s)].into_iter().chain(step.all.cells());
            table.row(cells.chain([
                whole(step.changes_per_s),
                step.cpu_us_per_event.map_or_else(|| "-".to_owned(), figure),
                mib(step.rss_bytes),
                step.verdict.words().to_owned(),
            ]));
        }
        let saturation = match self.saturation {
            Some(rate) => format!("saturation: {} events/s", grouped(rate)),
            None if self.steps.iter().all(|step| step.verdict == Verdict::StateSize) => {
                "saturation: not reached at these rates".to_owned()
            }
            None => "saturation: below these rates".to_owned(),
        };
        let mut kinds =
            Table::new(&["offered/s", "events", "count", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]);
        for step in self.steps.iter().filter(|step| step.verdict == Verdict::StateSize) {
            for (kind, latencies) in [
                ("changing a list", &step.changing),
                ("joining", &step.joining),
                ("staying", &step.staying),
                ("leaving", &step.leaving),
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

    /// Each rate without snapshots and with them.
    fn snapshots(&self) -> Table {
        let head =
            ["offered/s", "snapshots", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "pause ms", "p99 ratio"];
        let mut table = Table::new(&head);
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

/// Measures every combination, each in a process of its own.
pub(super) fn main(args: &LatencyArgs, stop: &Stop) -> Result<(), Failure> {
    let options = args.setup.endless()?;
    let config = args.setup.config()?;
    check_writable([&args.setup.json, &args.picture])?;
    let fastest = args.rates.iter().max().copied().unwrap_or(0);
    if fastest * args.seconds > MOST_PREPARED {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--rates {fastest} for --seconds {} are more than {} events, too many to prepare: lower one of them",
            args.seconds,
            grouped(MOST_PREPARED)
        )));
    }
    let audiences = args.audience.iter().map(|share| Ok((*share, share.audience(&options, &config, args.preload)?)));
    let audiences = audiences.collect::<Result<Vec<_>, Failure>>()?;
    let (machine, simulation) = (Machine::this(), named(&options));
    say(&format!("{machine}\n{simulation}\nsteps of {} s, open loop, times from the schedule\n", args.seconds))?;

    let mut results: Vec<Measured> = Vec::new();
    for (share, audience) in audiences {
        for workers in &args.workers {
            let span = match audience {
                Audience::All => None,
                Audience::Within(ms) => Some(ms),
            };
            let (setup, rates) = (args.setup.clone(), args.rates.clone());
            let (preload, seconds, workers) = (args.preload, args.seconds, *workers);
            let (interactions, snapshots) = (args.interactions, args.snapshots);
            let task = LatencyTask { setup, preload, interactions, snapshots, rates, seconds, share, span, workers };
            let task = Task::Latency(task);
            if stop.is_set() {
                break;
            }
            if let Some(measured) = ask::<Measured>(&task, stop)? {
                say(&measured.tables())?;
                results.push(measured);
            }
        }
    }
    if let Some(path) = args.picture.as_ref().filter(|_| !results.is_empty()) {
        picture::draw(path, &results).map_err(Failure::Running)?;
    }
    args.setup.report("latency", &options, &results)
}
