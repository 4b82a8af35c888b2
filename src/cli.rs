//! The command line.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{bench, demo, evaluate, generate, run, snapshot};
use crate::console::LogFormat;
use crate::failure::Failure;
use crate::stop::Stop;

/// Real-time recommendations for live-stream commerce: reads user events, emits changed lists.
#[derive(Debug, Parser)]
#[command(name = "deltarec", version, max_term_width = 110)]
pub struct Cli {
    /// Format of the log on stderr
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
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

/// Parses the arguments of this process. Mistakes, `--help` and `--version` end it.
pub fn parse() -> Cli {
    let matches = with_negative_numbers(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
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
