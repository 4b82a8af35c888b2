//! `deltarec bench`: measures latency, throughput, memory and recovery on this machine.
//!
//! docs/performance.md describes the methods. Each measurement runs in a child process (`bench/child.rs`), so that its
//! memory and its caches are its own.

pub mod audience;
mod batches;
mod child;
mod event_stream;
mod fanout;
mod growth;
mod histogram;
#[cfg(feature = "kafka")]
mod kafka;
mod latency;
mod machine;
mod processes;
mod recovery;
mod replay;
mod simulated_state;
mod throughput;
mod toggles;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use simulator::Options;

use self::batches::BatchesTask;
use self::child::ChildTask;
use self::event_stream::ENDLESS;
use self::growth::GrowthTask;
use self::latency::LatencyTask;
use self::machine::Machine;
use self::recovery::RecoveryTask;
use self::replay::{GraphTask, ReplayTask};
use self::toggles::TogglesTask;
use super::simulation::SimulationArgs;
use crate::commands::files::{check_writable, write};
use crate::config::{Audience, Config};
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stdio::check_stdout;
use crate::stop::Stop;

/// Arguments of `deltarec bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Latency of the whole program at fixed rates (open loop), and the highest rate it sustains
    #[command(after_help = latency::EXAMPLES)]
    Latency(Box<latency::LatencyArgs>),
    /// Latency of small batches on a warm graph (closed loop), and the work of single events by item popularity
    #[command(after_help = batches::EXAMPLES)]
    Batches(Box<batches::BatchesArgs>),
    /// Events per second, processor time and memory of a bounded replay, by the whole program and by the graph alone
    #[command(after_help = throughput::EXAMPLES)]
    Throughput(Box<throughput::ThroughputArgs>),
    /// Cost of an event when events, users, items, histories or audience grow tenfold
    #[command(after_help = growth::EXAMPLES, mut_arg("users", growth::refused), mut_arg("items", growth::refused))]
    Growth(Box<growth::GrowthArgs>),
    /// Latency between topics of a broker, next to the round trip of the broker alone
    #[cfg(feature = "kafka")]
    #[command(after_help = kafka::EXAMPLES)]
    Kafka(Box<kafka::KafkaArgs>),
    /// Time from a snapshot to the first live change, per stored interaction
    #[command(after_help = recovery::EXAMPLES, mut_arg("users", recovery::users))]
    Recovery(Box<recovery::RecoveryArgs>),
    /// Time from a change of availability to the last list that lost the item
    #[command(after_help = toggles::EXAMPLES)]
    Toggles(Box<toggles::TogglesArgs>),
    /// Run one measurement in this process
    #[command(hide = true)]
    Child { name: String, task: String },
}

/// Runs a benchmark.
pub fn main(args: &BenchArgs, stop: &Stop) -> Result<(), Failure> {
    check_stdout()?;
    match &args.benchmark {
        Benchmark::Latency(args) => latency::main(args, stop),
        Benchmark::Batches(args) => batches::main(args, stop),
        Benchmark::Throughput(args) => throughput::main(args, stop),
        Benchmark::Growth(args) => growth::main(args, stop),
        #[cfg(feature = "kafka")]
        Benchmark::Kafka(args) => kafka::main(args, stop),
        Benchmark::Recovery(args) => recovery::main(args, stop),
        Benchmark::Toggles(args) => toggles::main(args, stop),
        Benchmark::Child { name, task } => measure(name, task, stop),
    }
}

/// Runs the task of a child process.
fn measure(name: &str, task: &str, stop: &Stop) -> Result<(), Failure> {
    match name {
        LatencyTask::NAME => child::main::<LatencyTask>(task, stop),
        BatchesTask::NAME => child::main::<BatchesTask>(task, stop),
        ReplayTask::NAME => child::main::<ReplayTask>(task, stop),
        GraphTask::NAME => child::main::<GraphTask>(task, stop),
        GrowthTask::NAME => child::main::<GrowthTask>(task, stop),
        RecoveryTask::NAME => child::main::<RecoveryTask>(task, stop),
        TogglesTask::NAME => child::main::<TogglesTask>(task, stop),
        _ => Err(Failure::Usage(anyhow::anyhow!("`bench child` is for the program itself: no task {name}"))),
    }
}

/// Arguments of all benchmarks.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
struct CommonArgs {
    #[command(flatten)]
    simulation: SimulationArgs,
    /// Configuration file; deltarec.toml lists all keys and their defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, e.g. graph.k=20; may be repeated, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Write all results and the machine as JSON
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

impl CommonArgs {
    fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.config.as_deref(), &self.sets)?)
    }

    /// The simulation without an end, for benchmarks that stop by themselves.
    fn endless(&self) -> Result<Options, Failure> {
        if self.simulation.has("events") {
            return Err(Failure::Usage(anyhow::anyhow!(
                "`{}`: this benchmark takes as many events as it needs; omit events= and use --preload N",
                self.simulation
            )));
        }
        Ok(Options { events: ENDLESS, ..self.simulation.options(None).map_err(Failure::Usage)? })
    }

    /// The configuration with another audience: users with an event within `span` milliseconds, or all users.
    fn with_audience(&self, span: Option<u64>) -> Result<Config, Failure> {
        let mut config = self.config()?;
        config.graph.audience = span.map_or(Audience::All, Audience::Within);
        Ok(config)
    }

    /// Writes the file of `--json`.
    fn report(&self, bench: &str, simulation: &Options, results: &impl Serialize) -> Result<(), Failure> {
        let Some(path) = &self.json else { return Ok(()) };
        let report = serde_json::json!({
            "bench": bench,
            "machine": Machine::this(),
            "simulation": describe(simulation),
            "set": self.sets,
            "config": self.config,
            "results": results,
        });
        write(path, &format!("{report:#}\n"))
    }
}

/// A simulation as a URI, without `events` if it is endless.
fn describe(simulation: &Options) -> String {
    simulation.to_string().replacen(&format!("events={ENDLESS},"), "", 1)
}

fn mib(bytes: u64) -> String {
    grouped(bytes >> 20)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rounded(number: f64) -> String {
    grouped(number.round() as u64)
}

/// A ratio of a count and a number; 0 if the number is not positive.
#[allow(clippy::cast_precision_loss)]
fn per(count: u64, number: f64) -> f64 {
    if number > 0.0 { count as f64 / number } else { 0.0 }
}
