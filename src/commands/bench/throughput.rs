//! `deltarec bench throughput`: a bounded replay by the whole program and by the graph alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use connectors::{InputOptions, KafkaOptions, OpenError, Uri, open_lines, open_sink, open_source};
use dataflows::Driver;
use dataflows::gauges::StateSize;
use schema::IdKey;
use serde::{Deserialize, Serialize};
use simulator::Options;

use super::audience::AudienceShare;
use super::child::{ChildTask, run_in_child};
use super::event_stream::EventStream;
use super::histogram::figure;
use super::machine::{Machine, peak_bytes, resident_bytes};
use super::recovery::MAX_CALIBRATION_EVENTS;
use super::{CommonArgs, check_writable, mib, per, processes, rounded};
use crate::cluster::GraphOptions;
use crate::commands::run::{ClusterArgs, member};
use crate::commands::simulation::{HEADING, generator};
use crate::commands::table::{Table, say};
use crate::engine::{Input, Job, Summary, grouped, run, run_follower};
use crate::failure::Failure;
use crate::proc::cpu_seconds;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench throughput
  deltarec bench throughput --events 10_000_000 --users 1_000_000 --items 200_000 --rate 10_000 --workers 2
  deltarec bench throughput --workers 2 --processes 2
  deltarec bench throughput --batch 1000 --audience all --json throughput.json

Replays a file of JSON lines to a file of JSON lines, then replays with the graph alone, then measures the memory of a
pair, a user and a viewer.";

#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(super) struct ThroughputArgs {
    #[command(flatten)]
    common: CommonArgs,
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
}

/// Task of a child process: a replay from file to file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReplayTask {
    pub(super) args: ThroughputArgs,
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    pub(super) span: Option<u64>,
    /// Worker threads of this process.
    pub(super) workers: u16,
    /// Cluster arguments of this process, if there are several.
    pub(super) cluster: Option<ClusterArgs>,
}

/// Task of a child process: a replay by the graph alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GraphTask {
    args: ThroughputArgs,
    span: Option<u64>,
    /// Replaces `graph.history`.
    history: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReplayResult {
    events: u64,
    seconds: f64,
    cpu_seconds: Option<f64>,
    /// Resident memory after the first tick, when the buffers of a tick are allocated.
    rss_before: u64,
    /// Resident memory after the last tick.
    rss_after: u64,
    peak_bytes: u64,
    /// Changed lists.
    changes: u64,
    /// State after the first tick; of the graph alone.
    held_before: StateSize,
    /// State after the last tick; of the graph alone.
    held: StateSize,
}

impl ReplayResult {
    /// The result of a run, with the current figures of this process.
    fn of(summary: &Summary, rss_before: u64) -> Self {
        let (rss_after, peak_bytes) = (resident_bytes(), peak_bytes());
        ReplayResult {
            events: summary.events,
            seconds: summary.elapsed.as_secs_f64(),
            cpu_seconds: cpu_seconds(),
            rss_before,
            rss_after,
            peak_bytes,
            changes: summary.changes,
            held_before: StateSize::default(),
            held: StateSize::default(),
        }
    }

    /// Adds processor time and memory of another process of the same replay.
    pub(super) fn add_process(&mut self, other: &ReplayResult) {
        self.cpu_seconds = self.cpu_seconds.zip(other.cpu_seconds).map(|(a, b)| a + b);
        self.rss_before += other.rss_before;
        self.rss_after += other.rss_after;
        self.peak_bytes += other.peak_bytes;
    }
}

/// Runs in the child process: a replay from file to file.
pub(super) fn replay(task: &ReplayTask, stop: &Stop) -> Result<Option<ReplayResult>, Failure> {
    let mut config = task.args.common.with_audience(task.span)?;
    config.input.batch = task.args.batch as usize;
    let member = task
        .cluster
        .as_ref()
        .map(|cluster| member(cluster, task.workers, &config, IdKey::default()))
        .transpose()?
        .flatten();
    let links = member.map(|member| member.gather(GraphOptions::default(), stop)).transpose()?;
    let links = match links {
        Some(None) => return Ok(None),
        Some(Some(links)) if links.process > 0 => {
            let rss_before = resident_bytes();
            run_follower(&config, links, usize::from(task.workers), false, stop)?;
            return Ok((!stop.is_set()).then(|| ReplayResult::of(&Summary::default(), rss_before)));
        }
        links => links.flatten(),
    };
    let options = InputOptions { max_record_bytes: config.input.max_record, ..InputOptions::default() };
    let source = open_source(&uri(&task.input)?, &options)?;
    let output = open_sink(&uri(&task.output)?, &KafkaOptions::default())?;
    let rss_before = resident_bytes();
    let job = Job::new(config, vec![Input { source, waits: false }], output);
    let (summary, result) = run(Job { workers: usize::from(task.workers), links, stop: stop.clone(), ..job });
    result?;
    Ok((!stop.is_set()).then(|| ReplayResult::of(&summary, rss_before)))
}

fn uri(path: &Path) -> Result<Uri, Failure> {
    Ok(path.to_string_lossy().parse::<Uri>().map_err(OpenError::from)?)
}

/// Runs in the child process: a replay by the graph alone. The time to generate events is not counted.
pub(super) fn graph(task: &GraphTask, stop: &Stop) -> Result<Option<ReplayResult>, Failure> {
    let GraphTask { args, span, history } = task;
    let mut config = args.common.with_audience(*span)?;
    config.graph.history = history.unwrap_or(config.graph.history);
    let options = args.common.simulation.options(args.events.as_deref()).map_err(Failure::Usage)?;
    let mut stream = EventStream::new(options, config.levels.clone(), None)?;
    let (batch, stopped) = (args.batch as usize, stop.clone());
    let result = Driver::run(&config.graph, usize::from(args.workers), move |driver| {
        let mut before = None;
        let (mut busy, mut cpu, mut events) = (Duration::ZERO, CpuStopwatch::default(), 0);
        while !stopped.is_set() {
            let next = stream.events(batch);
            if next.is_empty() {
                break;
            }
            let started = Instant::now();
            cpu.measure(|| driver.tick(&next));
            busy += started.elapsed();
            before.get_or_insert_with(|| (resident_bytes(), driver.state_size()));
            events += next.len() as u64;
        }
        let (rss_after, peak_bytes) = (resident_bytes(), peak_bytes());
        let changes = driver.work().last().copied().unwrap_or(0);
        let (seconds, cpu_seconds, held) = (busy.as_secs_f64(), cpu.0, driver.state_size());
        let (rss_before, held_before) = before.unwrap_or((rss_after, held));
        ReplayResult { events, seconds, cpu_seconds, rss_before, rss_after, peak_bytes, changes, held_before, held }
    })?;
    Ok((!stop.is_set()).then_some(result))
}

/// Sum of processor time over several calls in seconds. The resolution is 10 ms; the rounding errors cancel over many
/// calls.
pub(super) struct CpuStopwatch(pub(super) Option<f64>);

impl Default for CpuStopwatch {
    fn default() -> Self {
        CpuStopwatch(Some(0.0))
    }
}

impl CpuStopwatch {
    pub(super) fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let before = cpu_seconds();
        let result = work();
        let elapsed = cpu_seconds().zip(before).map(|(after, before)| after - before);
        self.0 = self.0.zip(elapsed).map(|(sum, elapsed)| sum + elapsed);
        result
    }
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
    let replay = ReplayTask { args: args.clone(), input, output, span, workers: args.workers, cluster: None };
    results.file_to_file = run_in_child(&ChildTask::Replay(replay.clone()), stop)?;
    if args.processes > 1 && !stop.is_set() {
        results.in_processes = processes::replay(&replay, args.processes, folder.path(), stop)?;
    }
    drop(folder);

    let graph = |span, history| {
        let task = GraphTask { args: args.clone(), span, history };
        if stop.is_set() { Ok(None) } else { run_in_child::<ReplayResult>(&ChildTask::Graph(task), stop) }
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
