//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{bench, demo, evaluate, generate, run, snapshot};
use crate::console::LogFormat;
use crate::failure::Failure;
use crate::stop::Stop;

/// Real-time recommendations for live-stream commerce: reads user events, emits changed lists.
#[derive(Debug, Parser)]
#[command(name = "deltarec", version, max_term_width = 110)]
pub struct Cli {
    /// Format of the log on stderr: `text`, or `json` with one object a line
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    #[arg(hide_possible_values = true, display_order = 1_000)]
    pub log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read events, maintain a list for every viewer, write each change
    #[command(after_help = run::EXAMPLES)]
    Run(Box<run::RunArgs>),
    /// Show how the lists of a few simulated viewers change
    #[command(after_help = "Example:\n  deltarec demo --events 500000 --viewers 5")]
    Demo(demo::DemoArgs),
    /// Write simulated events
    #[command(after_help = generate::EXAMPLES)]
    Generate(generate::GenerateArgs),
    /// List, check and export stored snapshots, delete old ones
    #[command(subcommand, after_help = snapshot::EXAMPLES)]
    Snapshot(snapshot::SnapshotCommand),
    /// Measure the quality of the lists: predict the held-out events of a log
    #[command(after_help = evaluate::EXAMPLES)]
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Measure latency, throughput and the cost of events on this machine
    Bench(bench::BenchArgs),
}

/// Whether arguments that could not be parsed ask for a log in JSON.
pub fn wants_json(args: impl Iterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.collect();
    let is_pair = |pair: &[OsString]| pair[0] == "--log-format" && pair[1] == "json";
    args.windows(2).any(is_pair) || args.iter().any(|arg| arg == "--log-format=json")
}

/// Parses the arguments of this process.
pub fn parse() -> Result<Cli, clap::Error> {
    with_negative_numbers(Cli::command()).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches))
}

/// Takes `-1` after an option for its value, so that the error names the values that are possible.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let takes_value = !arg.is_positional() && arg.get_action().takes_values();
        if takes_value { arg.allow_negative_numbers(true) } else { arg }
    });
    command.mut_subcommands(with_negative_numbers)
}

/// Runs the command.
pub fn main(cli: Cli, stop: Stop) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => run::main(*args, stop),
        Command::Demo(args) => demo::main(&args, stop),
        Command::Generate(args) => {
            bounded(OUTPUT_PATIENCE, &stop.clone(), move || generate::main(&args, &stop)).unwrap_or_else(not_answered)
        }
        Command::Snapshot(command) => bounded(OUTPUT_PATIENCE, &stop.clone(), move || snapshot::main(&command, &stop))
            .unwrap_or_else(not_answered),
        // Stopped, it has no results.
        Command::Evaluate(args) => {
            bounded(INPUT_PATIENCE, &stop.clone(), move || evaluate::main(&args, &stop)).unwrap_or(Ok(()))
        }
        Command::Bench(args) => bench::main(&args, &stop),
    }
}

/// Longest wait for an output once a command is to end, as in a run.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for an input once a command is to end.
const INPUT_PATIENCE: Duration = Duration::from_secs(1);

/// Runs a command that a pipe may block. `None`: it was to end and did not.
fn bounded(
    patience: Duration,
    stop: &Stop,
    command: impl FnOnce() -> Result<(), Failure> + Send + 'static,
) -> Option<Result<(), Failure>> {
    stop.bound(patience, command).unwrap_or_else(|error| Some(Err(Failure::Running(error))))
}

fn not_answered() -> Result<(), Failure> {
    let waited = OUTPUT_PATIENCE.as_secs();
    Err(Failure::Running(anyhow::anyhow!(
        "the command has not ended {waited} s after it was to end: its output does not answer; what was written is incomplete"
    )))
}
