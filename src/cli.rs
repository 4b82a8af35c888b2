//! The command line.

use std::ffi::OsString;

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
        Command::Generate(args) => generate::main(&args, &stop),
        Command::Snapshot(command) => snapshot::main(&command, &stop),
        Command::Evaluate(args) => evaluate::main(&args, &stop),
        Command::Bench(args) => bench::main(&args, &stop),
    }
}
