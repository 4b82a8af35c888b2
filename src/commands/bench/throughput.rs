//! `deltarec bench throughput`: a bounded replay by the whole program and by the graph alone.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use connectors::open_lines;
use serde::Serialize;
use simulator::Options;

use super::audience::{AudienceShare, MAX_CALIBRATION_EVENTS};
use super::child::run_in_child;
use super::histogram::figure;
use super::machine::Machine;
use super::replay::{GraphTask, ReplayResult, ReplayTask, uri};
use super::{CommonArgs, check_writable, mib, per, processes, rounded};
use crate::commands::simulation::{HEADING, generator};
use crate::commands::table::{Table, say};
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench throughput
  deltarec bench throughput --events 10_000_000 --users 1_000_000 --items 200_000 --rate 10_000 \\
                            --workers 2
  deltarec bench throughput --workers 2 --processes 2
  deltarec bench throughput --batch 1000 --audience all --json throughput.json

Replays a file of JSON lines to a file of JSON lines, then replays with the graph alone, then measures the memory of a \
pair, a user and a viewer.";

#[derive(Debug, Args)]
pub(super) struct ThroughputArgs {
    /// Number of events [default: 1000000]
    #[arg(long, value_name = "N", help_heading = HEADING)]
    events: Option<String>,
    /// Events per tick
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    batch: u32,
    /// Users in the audience: a share of all users, or `all`
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    audience: AudienceShare,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// Replay also with the workers divided among this many processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: u16,
    #[command(flatten)]
    common: CommonArgs,
}

/// Results of the report.
#[derive(Debug, Default, Serialize)]
struct Results {
    file_to_file: Option<ReplayResult>,
    /// Replay with the workers divided among processes.
    in_processes: Option<ReplayResult>,
    graph_alone: Option<ReplayResult>,
    memory: Option<MemoryCost>,
}

/// Bytes per pair, user and viewer, from differences between processes.
#[derive(Debug, Serialize)]
struct MemoryCost {
    per_pair: f64,
    per_user: f64,
    per_viewer: f64,
    pairs: u64,
    users: u64,
    viewers: u64,
}

/// Budget in bytes of a pair, a user, and additionally a user in the audience.
const BUDGET: [u32; 3] = [24, 700, 1_024];

impl MemoryCost {
    /// From runs with users only, with users and pairs, and with everything.
    fn of(users: &ReplayResult, pairs: &ReplayResult, all: &ReplayResult) -> Self {
        #[allow(clippy::cast_precision_loss)]
        let growth = |after: u64, before: u64, count: u64| (after as f64 - before as f64) / count.max(1) as f64;
        MemoryCost {
            per_pair: growth(pairs.rss_after, users.rss_after, pairs.held.pairs),
            per_user: growth(users.rss_after, users.rss_before, users.held.users - users.held_before.users),
            per_viewer: growth(all.rss_after, pairs.rss_after, all.held.audience),
            pairs: pairs.held.pairs,
            users: users.held.users,
            viewers: all.held.audience,
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(["memory of", "number", "bytes each", "budget"]);
        for (what, number, bytes, budget) in [
            ("an ordered pair of items", self.pairs, self.per_pair, BUDGET[0]),
            ("a user", self.users, self.per_user, BUDGET[1]),
            ("a user in the audience, extra", self.viewers, self.per_viewer, BUDGET[2]),
        ] {
            table.row([what.to_owned(), grouped(number), figure(bytes), grouped(budget.into())]);
        }
        table
    }
}

/// The shortest span of the audience in ms, so that it is practically empty.
const EMPTY_AUDIENCE: Option<u64> = Some(1);

/// Runs all parts in child processes and prints the tables.
pub(super) fn main(args: &ThroughputArgs, stop: &Stop) -> Result<(), Failure> {
    let options = args.common.simulation.options(args.events.as_deref()).map_err(Failure::Usage)?;
    let config = args.common.config()?;
    check_writable([&args.common.json])?;
    if !args.workers.is_multiple_of(args.processes) {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--workers {} is not a multiple of --processes {}; raise or lower one of them",
            args.workers,
            args.processes
        )));
    }
    let span = args.audience.span(&options, &config, options.events.min(MAX_CALIBRATION_EVENTS))?;
    say(&format!(
        "{}\n{options}\n{} worker(s), audience {}, {} events a tick\n",
        Machine::this(),
        args.workers,
        args.audience,
        grouped(args.batch.into())
    ))?;
    let results = results(args, &options, span, stop)?;
    let mut table = Table::new("replay|events|seconds|events/s|CPU s|CPU us/event|changes|RSS MiB|peak MiB".split('|'));
    for (name, measured) in [
        ("file to file", &results.file_to_file),
        (&format!("same, {} processes", args.processes), &results.in_processes),
        ("graph alone", &results.graph_alone),
    ] {
        let Some(measured) = measured else { continue };
        let cpu = measured.cpu_seconds;
        table.row([
            name.to_owned(),
            grouped(measured.events),
            figure(measured.seconds),
            rounded(per(measured.events, measured.seconds)),
            cpu.map_or_else(|| "-".to_owned(), figure),
            cpu.map_or_else(|| "-".to_owned(), |cpu| figure(1e6 * cpu / per(measured.events, 1.0).max(1.0))),
            grouped(measured.changes),
            mib(measured.rss_after),
            mib(measured.peak_bytes),
        ]);
    }
    say(&table.to_string())?;
    if let (Some(threads), Some(processes)) = (&results.file_to_file, &results.in_processes) {
        let ratio = threads.seconds / processes.seconds.max(1e-3);
        say(&format!("{} processes have {ratio:.2} of the speed of as many threads of one process\n", args.processes))?;
    }
    if let Some(memory) = &results.memory {
        say(&format!(
            "{}
Differences of resident memory between processes: (1) has histories of one item and an audience of 1 ms;
users: from its first tick to its last. (2) has full histories; pairs, with their histories: (2) against (1).
(3) has the requested audience; viewers: (3) against (2).",
            memory.table()
        ))?;
    }
    args.common.report("throughput", &options, &results)
}

fn results(args: &ThroughputArgs, options: &Options, span: Option<u64>, stop: &Stop) -> Result<Results, Failure> {
    let mut results = Results::default();
    let folder = tempfile::tempdir().context("cannot create a folder for the events").map_err(Failure::Running)?;
    let (input, output) = (folder.path().join("events.jsonl"), folder.path().join("changes.jsonl"));
    if !simulate(options, &input, stop)? {
        return Ok(results);
    }
    let (common, batch, workers) = (args.common.clone(), args.batch, args.workers);
    let replay = ReplayTask { common, batch, input, output, span, workers, cluster: None };
    results.file_to_file = run_in_child(&replay, stop)?;
    if args.processes > 1 && !stop.is_set() {
        results.in_processes = processes::replay(&replay, args.processes, folder.path(), stop)?;
    }
    drop(folder);

    let graph = |span, history| {
        let (common, events) = (args.common.clone(), args.events.clone());
        let task = GraphTask { common, events, batch, workers, span, history };
        if stop.is_set() { Ok(None) } else { run_in_child(&task, stop) }
    };
    results.graph_alone = graph(span, None)?;
    let (users, pairs) = (graph(EMPTY_AUDIENCE, Some(1))?, graph(EMPTY_AUDIENCE, None)?);
    if let (Some(users), Some(pairs), Some(all)) = (users, pairs, &results.graph_alone) {
        results.memory = Some(MemoryCost::of(&users, &pairs, all));
    }
    Ok(results)
}

/// Writes the events of the replay. Returns `false` if it was stopped.
fn simulate(options: &Options, path: &Path, stop: &Stop) -> Result<bool, Failure> {
    let mut generator = generator(options.clone()).map_err(Failure::Usage)?;
    let mut lines = open_lines(&uri(path)?)?;
    let failed = |error: connectors::SinkError| Failure::Running(error.into());
    while let Some(event) = generator.next_event() {
        lines.write(&event).map_err(failed)?;
        if stop.is_set() {
            return Ok(false);
        }
    }
    lines.close().map_err(failed)?;
    Ok(true)
}
