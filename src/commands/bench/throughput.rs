//! `deltarec bench throughput`: a bounded replay, through the whole program and through the graph alone.

use simulator::{Generator, Options};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use connectors::{InputOptions, OpenError, Uri, open_lines, open_sink, open_source};
use serde::{Deserialize, Serialize};

use super::audience::Share;
use super::child::{Task, ask};
use super::machine::{Machine, cpu_seconds, memory};
use super::sample::figure;
use super::simulated::EventStream;
use super::{Setup, check_writable, mib, per, processes, whole};
use crate::alone::{StateSize, alone};
use crate::cluster::Orders;
use crate::commands::generate;
use crate::commands::run::{ClusterArgs, member};
use crate::commands::table::{Table, say};
use crate::config::Audience;
use crate::engine::{Input, Job, Summary, assist, grouped, run};
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench throughput
  deltarec bench throughput events=10_000_000,users=1_000_000,items=200_000,rate=10_000 --workers 2
  deltarec bench throughput --workers 2 --processes 2
  deltarec bench throughput --batch 1000 --audience all --json throughput.json

From a file of JSON lines to a file of JSON lines, then the graph alone, then what a pair, a user and a
viewer take of memory.";

#[derive(Debug, Args)]
pub(super) struct ThroughputArgs {
    #[command(flatten)]
    setup: Setup,
    /// Events taken together as one tick
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    batch: u32,
    /// Users in the audience, as a share of all users, or `all`
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    audience: Share,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// From file to file also with the workers divided among so many processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: u16,
}

/// File to file, for a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReplayTask {
    pub(super) setup: Setup,
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    pub(super) batch: u32,
    pub(super) span: Option<u64>,
    pub(super) workers: u16,
    /// This process's place, if there are several.
    pub(super) cluster: Option<ClusterArgs>,
}

/// The graph alone, for a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GraphTask {
    setup: Setup,
    batch: u32,
    span: Option<u64>,
    workers: u16,
    /// Another cap of the histories than the configuration's.
    history: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    events: u64,
    seconds: f64,
    cpu_seconds: Option<f64>,
    /// After the first tick, when what a tick needs is there, and after the last one.
    rss_before: u64,
    rss_after: u64,
    peak_bytes: u64,
    /// Lists that changed.
    changes: u64,
    /// Of the graph alone, likewise.
    held_before: StateSize,
    held: StateSize,
}

impl Measured {
    /// What a run did, and this process now.
    fn of(summary: &Summary, rss_before: u64) -> Self {
        let (rss_after, peak_bytes) = memory();
        Measured {
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

    /// What another process of the same replay took of the machine.
    pub(super) fn add(&mut self, other: &Measured) {
        self.cpu_seconds = self.cpu_seconds.zip(other.cpu_seconds).map(|(a, b)| a + b);
        self.rss_before += other.rss_before;
        self.rss_after += other.rss_after;
        self.peak_bytes += other.peak_bytes;
    }
}

/// A child's side: file to file.
pub(super) fn replay(task: &ReplayTask, stop: &Stop) -> Result<Option<Measured>, Failure> {
    let mut config = task.setup.with_audience(task.span.map_or(Audience::All, Audience::Within))?;
    config.input.batch = task.batch as usize;
    let member = task.cluster.as_ref().map(|cluster| member(cluster, task.workers, &config)).transpose()?.flatten();
    let links = member.map(|member| member.gather(Orders::default(), stop)).transpose()?;
    let links = match links {
        Some(None) => return Ok(None),
        Some(Some(links)) if links.process() > 0 => {
            let (rss_before, _) = memory();
            assist(&config, links, usize::from(task.workers), false, stop)?;
            return Ok((!stop.is_set()).then(|| Measured::of(&Summary::default(), rss_before)));
        }
        links => links.flatten(),
    };
    let options = InputOptions { max_record_bytes: config.input.max_record, ..InputOptions::default() };
    let source = open_source(&uri(&task.input)?, &options)?;
    let output = open_sink(&uri(&task.output)?)?;
    let (rss_before, _) = memory();
    let job = Job::new(config, vec![Input { source, waits: false }], output);
    let (summary, result) = run(Job { workers: usize::from(task.workers), links, stop: stop.clone(), ..job });
    result?;
    Ok((!stop.is_set()).then(|| Measured::of(&summary, rss_before)))
}

fn uri(path: &Path) -> Result<Uri, Failure> {
    Ok(path.to_string_lossy().parse::<Uri>().map_err(OpenError::from)?)
}

/// A child's side: the graph alone. Events are made between the ticks, and their time is not counted.
pub(super) fn graph(task: &GraphTask, stop: &Stop) -> Result<Option<Measured>, Failure> {
    let mut config = task.setup.with_audience(task.span.map_or(Audience::All, Audience::Within))?;
    config.graph.history = task.history.map_or(config.graph.history, |history| history as usize);
    let mut maker = EventStream::new(task.setup.bounded()?, config.levels.clone(), None)?;
    let (batch, asked) = (task.batch as usize, stop.clone());
    let measured = alone(&config, task.workers, move |driver| {
        let mut before = None;
        let (mut busy, mut cpu, mut events) = (Duration::ZERO, Cpu::default(), 0);
        while !asked.is_set() {
            let next = maker.events(batch);
            if next.is_empty() {
                break;
            }
            let started = Instant::now();
            cpu.during(|| driver.tick(&next));
            busy += started.elapsed();
            before.get_or_insert_with(|| (memory().0, driver.held()));
            events += next.len() as u64;
        }
        let (rss_after, peak_bytes) = memory();
        let changes = driver.work().last().copied().unwrap_or(0);
        let (seconds, cpu_seconds, held) = (busy.as_secs_f64(), cpu.0, driver.held());
        let (rss_before, held_before) = before.unwrap_or((rss_after, held));
        Measured { events, seconds, cpu_seconds, rss_before, rss_after, peak_bytes, changes, held_before, held }
    })?;
    Ok((!stop.is_set()).then_some(measured))
}

/// Processor time of some stretches. The clock has a hundred ticks a second, whose errors even out over many stretches.
pub(super) struct Cpu(pub(super) Option<f64>);

impl Default for Cpu {
    fn default() -> Self {
        Cpu(Some(0.0))
    }
}

impl Cpu {
    pub(super) fn during<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let before = cpu_seconds();
        let result = work();
        let took = cpu_seconds().zip(before).map(|(after, before)| after - before);
        self.0 = self.0.zip(took).map(|(sum, took)| sum + took);
        result
    }
}

/// What was found, as it is reported.
#[derive(Debug, Default, Serialize)]
struct Results {
    file_to_file: Option<Measured>,
    /// The same with the workers divided among processes.
    in_processes: Option<Measured>,
    graph_alone: Option<Measured>,
    memory: Option<Memory>,
}

/// Bytes of each, by differences between processes.
#[derive(Debug, Serialize)]
struct Memory {
    per_pair: f64,
    per_user: f64,
    per_viewer: f64,
    pairs: u64,
    users: u64,
    viewers: u64,
}

/// What the three may take: a pair, a user, and on top of that a user in the audience.
const BUDGET: [u32; 3] = [24, 700, 1_024];

impl Memory {
    /// From users only, users and pairs, and everything.
    fn of(users: &Measured, pairs: &Measured, all: &Measured) -> Self {
        #[allow(clippy::cast_precision_loss)]
        let more = |after: u64, before: u64, count: u64| (after as f64 - before as f64) / count.max(1) as f64;
        Memory {
            per_pair: more(pairs.rss_after, users.rss_after, pairs.held.pairs),
            per_user: more(users.rss_after, users.rss_before, users.held.users - users.held_before.users),
            per_viewer: more(all.rss_after, pairs.rss_after, all.held.audience),
            pairs: pairs.held.pairs,
            users: users.held.users,
            viewers: all.held.audience,
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["memory of", "number", "bytes each", "budget"]);
        for (what, number, bytes, budget) in [
            ("an ordered pair of items", self.pairs, self.per_pair, BUDGET[0]),
            ("a user", self.users, self.per_user, BUDGET[1]),
            ("a user in the audience, on top", self.viewers, self.per_viewer, BUDGET[2]),
        ] {
            table.row([what.to_owned(), grouped(number), figure(bytes), grouped(budget.into())]);
        }
        table
    }
}

/// So many events tell how large an audience is, however many there are.
const CALIBRATED_BY: u64 = 2_000_000;

/// The shortest audience: nobody stays in it.
const NOBODY: Option<u64> = Some(1);

/// Measures, each part in a process of its own.
pub(super) fn main(args: &ThroughputArgs, stop: &Stop) -> Result<(), Failure> {
    let options = args.setup.bounded()?;
    let config = args.setup.config()?;
    check_writable([&args.setup.json])?;
    if !args.workers.is_multiple_of(args.processes) {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--workers {} cannot be divided among --processes {}: make it a multiple",
            args.workers,
            args.processes
        )));
    }
    let span = match args.audience.audience(&options, &config, options.events.min(CALIBRATED_BY))? {
        Audience::All => None,
        Audience::Within(ms) => Some(ms),
    };
    say(&format!(
        "{}\n{options}\n{} worker(s), audience {}, {} events a tick\n",
        Machine::this(),
        args.workers,
        args.audience,
        grouped(args.batch.into())
    ))?;
    let results = results(args, &options, span, stop)?;
    let mut table = Table::new(&[
        "replay",
        "events",
        "seconds",
        "events/s",
        "CPU s",
        "CPU us/event",
        "changes",
        "RSS MiB",
        "peak MiB",
    ]);
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
            whole(per(measured.events, measured.seconds)),
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
        say(&format!("{} processes do {ratio:.2} of what as many threads of one do\n", args.processes))?;
    }
    if let Some(memory) = &results.memory {
        say(&format!(
            "{}
By differences of resident memory between processes: (1) histories of one item and an audience of 1 ms,
from the first tick to the last: users; (2) full histories, against (1): pairs, and the histories that make
them; (3) the audience asked for, against (2).",
            memory.table()
        ))?;
    }
    args.setup.report("throughput", &options, &results)
}

fn results(args: &ThroughputArgs, options: &Options, span: Option<u64>, stop: &Stop) -> Result<Results, Failure> {
    let mut results = Results::default();
    let folder = tempfile::tempdir().context("cannot make a folder for the events").map_err(Failure::Running)?;
    let (input, output) = (folder.path().join("events.jsonl"), folder.path().join("changes.jsonl"));
    if !simulate(options, &input, stop)? {
        return Ok(results);
    }
    let (setup, batch, workers) = (args.setup.clone(), args.batch, args.workers);
    let replay = ReplayTask { setup, input, output, batch, span, workers, cluster: None };
    results.file_to_file = ask(&Task::Replay(replay.clone()), stop)?;
    if args.processes > 1 && !stop.is_set() {
        results.in_processes = processes::replay(&replay, args.processes, folder.path(), stop)?;
    }
    drop(folder);

    let setup = args.setup.clone();
    let graph = |span, history| {
        let task = GraphTask { setup: setup.clone(), batch, span, workers, history };
        if stop.is_set() { Ok(None) } else { ask::<Measured>(&Task::Graph(task), stop) }
    };
    results.graph_alone = graph(span, None)?;
    let (users, pairs) = (graph(NOBODY, Some(1))?, graph(NOBODY, None)?);
    if let (Some(users), Some(pairs), Some(all)) = (users, pairs, &results.graph_alone) {
        results.memory = Some(Memory::of(&users, &pairs, all));
    }
    Ok(results)
}

/// Writes the events to replay. `false`: stopped.
fn simulate(options: &Options, path: &Path, stop: &Stop) -> Result<bool, Failure> {
    let generator = Generator::new(options.clone());
    let mut generator = generator.map_err(|errors| Failure::Usage(generate::mistakes(&errors)))?;
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
