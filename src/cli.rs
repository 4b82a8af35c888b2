//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{bench, demo, evaluate, generate, run, snapshot};
use crate::failure::Failure;
use crate::stop::Stop;

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
    #[command(after_help = run::EXAMPLES)]
    Run(Box<run::RunArgs>),
    /// Watch a few simulated viewers' lists change
    #[command(after_help = "Example:\n  deltarec demo --events 500000 --viewers 5")]
    Demo(demo::DemoArgs),
    /// Write simulated events
    #[command(after_help = generate::EXAMPLES)]
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

/// Does what the command line says.
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
