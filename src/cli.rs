//! The command line.

mod inputs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use connectors::{OpenError, RejectLog, Uri};

pub(crate) use self::inputs::InputArgs;
use crate::config::{Config, ConfigErrors};
use crate::run::{self, Clock, Job, Show, Stop};
use crate::{bench, console, demo, evaluate, generate, snapshot, state};

/// Real-time recommendations for live-stream commerce: behaviour events in, changed lists out.
#[derive(Debug, Parser)]
#[command(name = "deltarec", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read events, keep every viewer's list up to date, write each change
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Watch a few simulated viewers' lists change
    #[command(after_help = "Example:\n  deltarec demo --events 500000 --viewers 5")]
    Demo(demo::DemoArgs),
    /// Write simulated events
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(generate::GenerateArgs),
    /// Look at stored snapshots, check them, export them, delete old ones
    #[command(subcommand, after_help = snapshot::EXAMPLES)]
    Snapshot(snapshot::SnapshotCommand),
    /// How good are the lists? Predict events of a log and compare with what was done
    #[command(after_help = evaluate::EXAMPLES)]
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Measure latency, throughput and the cost of events on this machine
    Bench(bench::BenchArgs),
}

const RUN_EXAMPLES: &str = "\
Examples:
  # a file of JSON lines to a file of changes
  deltarec run --input events.jsonl.gz --output changes.jsonl

  # a CSV with its own column names and seconds, lists for everybody
  deltarec run --input log.csv.gz --output changes.jsonl --set graph.audience=all \\
               --columns user=user_id,item=item_id,action=behavior,ts=timestamp:s

  # a log of purchases without an action column, rows filtered, bad ones kept aside
  deltarec run --input sales.csv --columns \"user=customer,item=sku,ts=at:%Y-%m-%d %H:%M:%S\" \\
               --action purchase --where 'quantity>0' --rejects rejects.jsonl --output changes.jsonl

  # killed or stopped, the same command goes on where it was
  deltarec run --input events.jsonl --output changes.jsonl --state state

  # between topics, exactly once, with what is held kept in a folder (docs/kafka.md)
  deltarec run --input kafka://broker:9092/events --output kafka://broker:9092/lists --state state

  # through pipes, live, by this machine's clock
  producer | deltarec run --clock wall | consumer

Exit codes: 0 done, 1 failed while running, 2 usage or configuration.";

const GENERATE_EXAMPLES: &str = "\
Examples:
  deltarec generate events=100000,seed=7 --output events.jsonl.gz
  deltarec generate | deltarec run --output changes.jsonl

SIMULATION is a list of key=value: events, users, items, rooms, rate (events per second of
simulated time), seed and start (ms since 1970). See docs/generator.md for what is simulated.";

#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file; every key and its default is in deltarec.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, e.g. graph.k=20; may be repeated, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Where changes go: PATH.jsonl (also .gz, .zst), - for stdout or kafka://BROKER[,BROKER]/TOPIC; an existing file is
    /// replaced, unless the run goes on from a snapshot; a topic is always continued
    #[arg(long, value_name = "URI", default_value = "-")]
    output: String,
    /// Where rejected records go, with reason, source and position
    #[arg(long, value_name = "URI")]
    rejects: Option<String>,
    /// Where snapshots are kept, so that a run goes on where the last one ended: a folder, s3://..., gs://... or az://...
    #[arg(long, value_name = "URI")]
    state: Option<String>,
    /// Do not use the snapshots: read the inputs again from their start; the output is continued all the same
    #[arg(long)]
    rebuild: bool,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// What time it is: the largest timestamp so far, or this machine's clock [default: wall with a topic as an input, else
    /// event]
    #[arg(long, value_enum)]
    clock: Option<ClockArg>,
    /// No progress and no summary on stderr
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClockArg {
    Event,
    Wall,
}

/// How a command failed.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 2.
    Usage(anyhow::Error),
    /// Exit code 1.
    Running(anyhow::Error),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        if error.is_usage() { Failure::Usage(error.into()) } else { Failure::Running(error.into()) }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::Usage(errors.into())
    }
}

/// Does what the command line says.
pub fn main(cli: Cli, stop: Stop) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => run(*args, stop),
        Command::Demo(args) => demo::main(&args, stop),
        Command::Generate(args) => generate::main(&args, &stop),
        Command::Snapshot(command) => snapshot::main(&command, &stop),
        Command::Evaluate(args) => evaluate::main(&args, &stop),
        Command::Bench(args) => bench::main(&args, &stop),
    }
}

fn run(args: RunArgs, stop: Stop) -> Result<(), Failure> {
    let mut config = Config::load(args.config.as_deref(), &args.sets)?;
    if let Some(state) = args.state {
        config.state.uri = state;
    }
    let records = args.inputs.reading();
    let uri = |text: &str| text.parse::<Uri>().map_err(|error| Failure::from(OpenError::from(error)));
    let uris = args.inputs.uris()?;
    let output = uri(&args.output)?;
    let rejects = args.rejects.as_deref().map(uri).transpose()?;
    check_streams(&uris, &output, rejects.as_ref()).map_err(Failure::Usage)?;

    // Inputs first: a mistake there must not have replaced an output already.
    let clock = match (args.clock, uris.iter().any(|uri| matches!(uri, Uri::Kafka(_)))) {
        (Some(ClockArg::Event), _) | (None, false) => Clock::Event,
        (Some(ClockArg::Wall), _) | (None, true) => Clock::Wall,
    };
    let dead_letters = matches!(rejects, Some(Uri::Kafka(_)));
    let mut inputs = args.inputs.open(&uris, &config, dead_letters)?;
    let (output_sink, resume, rejects, state) = if config.state.uri.is_empty() {
        if args.rebuild {
            return Err(Failure::Usage(anyhow::anyhow!("--rebuild needs a state to rebuild: --state URI")));
        }
        let (sink, resume) = state::open_output(&output, &inputs, &config.kafka)?;
        (sink, resume, RejectLog::open(rejects.as_ref(), &config.kafka)?, None)
    } else {
        let rejects = if state::is_continued(&config.state.uri)? {
            RejectLog::go_on(rejects.as_ref(), &config.kafka)?
        } else {
            RejectLog::open(rejects.as_ref(), &config.kafka)?
        };
        let asked =
            state::Asked { config: &config, uris: &uris, output: &output, records, clock, rebuild: args.rebuild };
        let begun = state::begin(asked, &mut inputs)?;
        (begun.output, begun.resume, rejects, Some(begun.state))
    };
    let shares_terminal = output == Uri::Stdio && std::io::IsTerminal::is_terminal(&std::io::stdout());
    let job = Job {
        config,
        inputs,
        output: output_sink,
        rejects,
        workers: usize::from(args.workers),
        clock,
        progress: Arc::default(),
        show: match (args.quiet, console::is_terminal()) {
            (true, _) => Show::Nothing,
            (false, true) if !shares_terminal => Show::Live,
            (false, _) => Show::Log,
        },
        stop,
        state,
        resume,
    };
    let (summary, result) = run::run(job);
    if !args.quiet {
        console::say(&summary.to_string());
    }
    if summary.expired * 2 > summary.events {
        tracing::warn!(
            "more than half of the events were older than graph.retention when they came: is the retention too short for \
             this log, or a time format wrong (--columns ts=NAME:s)?"
        );
    }
    result.map_err(|error| Failure::Running(error.into()))
}

/// What can be seen to go wrong before anything is opened.
fn check_streams(inputs: &[Uri], output: &Uri, rejects: Option<&Uri>) -> anyhow::Result<()> {
    anyhow::ensure!(
        inputs.iter().filter(|uri| **uri == Uri::Stdio).count() <= 1,
        "stdin can be only one of the inputs: leave one --input - out"
    );
    for (at, uri) in inputs.iter().enumerate() {
        let Uri::File { path, .. } = uri else { continue };
        let same = |other: &Uri| matches!(other, Uri::File { path: other, .. } if same_file(path, other));
        anyhow::ensure!(!same(output), "--output {output} is also input {}: it would be overwritten unread", at + 1);
        anyhow::ensure!(
            rejects.is_none_or(|rejects| !same(rejects)),
            "--rejects is also input {}: it would be overwritten unread",
            at + 1
        );
    }
    for uri in inputs.iter().filter(|uri| matches!(uri, Uri::Kafka(_))) {
        anyhow::ensure!(uri != output, "--output {output} is also an input: its lists would be read as events");
        anyhow::ensure!(rejects != Some(uri), "--rejects {uri} is also an input: what is rejected would come again");
    }
    let same = match (rejects, output) {
        (Some(Uri::File { path: rejects, .. }), Uri::File { path: output, .. }) => same_file(rejects, output),
        (rejects, output) => rejects == Some(output),
    };
    anyhow::ensure!(!same, "--rejects and --output are the same: give them different places");
    Ok(())
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (place(a), place(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Where a file is, or will be once it is created.
fn place(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    })
}

/// Ends a run early on SIGINT or SIGTERM; a second one ends it at once.
pub fn stop_on_signals() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
        .context("cannot listen for signals")?;
    let asked = stop.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in &mut signals {
                if asked.is_set() {
                    // As a shell tells a process ended by a signal.
                    std::process::exit(128 + signal);
                }
                asked.set();
                console::say("stopping: what was read is being finished (once more to stop at once)");
            }
        })
        .context("cannot start the thread for signals")?;
    Ok(stop)
}
