//! `deltarec bench`: how fast this machine is with it, and what an event costs.
//!
//! What is measured how is in docs/performance.md. Whatever has memory or a warm-up of its own is measured in a child
//! process, which is this program again with a hidden subcommand (`bench/child.rs`).

pub mod audience;
mod batches;
mod child;
mod fanout;
mod growth;
#[cfg(feature = "kafka")]
mod kafka;
mod latency;
mod machine;
mod picture;
mod processes;
mod recovery;
mod sample;
mod shop;
mod simulated;
mod throughput;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use simulator::Options;

use self::machine::Machine;
use self::simulated::ENDLESS;
use crate::commands::files::{check_writable, write};
use crate::commands::generate;
use crate::config::{Audience, Config};
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stop::Stop;

/// Arguments of `deltarec bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Offer events at fixed rates to the whole program: how late are their changes, and at what rate does it give up?
    #[command(after_help = latency::EXAMPLES)]
    Latency(Box<latency::LatencyArgs>),
    /// Small batches on a warm graph, one after the other, and what single events make of work by popularity
    #[command(after_help = batches::EXAMPLES)]
    Batches(Box<batches::BatchesArgs>),
    /// A bounded replay: events per second, processor time and memory, of the program and of the graph alone
    #[command(after_help = throughput::EXAMPLES)]
    Throughput(Box<throughput::ThroughputArgs>),
    /// What an event costs when events, users, items, histories and audience are ten times as many
    #[command(after_help = growth::EXAMPLES)]
    Growth(Box<growth::GrowthArgs>),
    /// Between topics of a broker: how late changes are at a consumer, beside the broker's own round trip
    #[cfg(feature = "kafka")]
    #[command(after_help = kafka::EXAMPLES)]
    Kafka(Box<kafka::KafkaArgs>),
    /// From a snapshot to the first live change, and what an interaction takes in one
    #[command(after_help = recovery::EXAMPLES)]
    Recovery(Box<recovery::RecoveryArgs>),
    /// One measurement, in a process of its own
    #[command(hide = true)]
    Child {
        #[arg(value_name = "TASK")]
        task: String,
    },
}

/// Measures what the command line says.
pub fn main(args: &BenchArgs, stop: &Stop) -> Result<(), Failure> {
    match &args.what {
        What::Latency(args) => latency::main(args, stop),
        What::Batches(args) => batches::main(args, stop),
        What::Throughput(args) => throughput::main(args, stop),
        What::Growth(args) => growth::main(args, stop),
        #[cfg(feature = "kafka")]
        What::Kafka(args) => kafka::main(args, stop),
        What::Recovery(args) => recovery::main(args, stop),
        What::Child { task } => child::main(task, stop),
    }
}

/// What all benchmarks are told.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
struct Setup {
    /// What to simulate, as key=value,...: users, items, rooms, rate (of simulated time), seed; nothing for the defaults
    #[arg(value_name = "SIMULATION", default_value = "", hide_default_value = true)]
    simulation: String,
    /// Configuration file; every key and its default is in deltarec.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, e.g. graph.k=20; may be repeated, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Write everything that was measured, and on what machine, as JSON
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

impl Setup {
    fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.config.as_deref(), &self.sets)?)
    }

    /// As given, however long the log is.
    fn bounded(&self) -> Result<Options, Failure> {
        generate::options(&self.simulation).map_err(Failure::Usage)
    }

    /// A log that goes on for as long as the benchmark asks.
    fn endless(&self) -> Result<Options, Failure> {
        let given = |part: &str| part.split('=').next().is_some_and(|key| key.trim() == "events");
        if self.simulation.split(',').any(given) {
            return Err(Failure::Usage(anyhow::anyhow!(
                "`{}`: this benchmark takes as many events as it needs; leave events= out and say --preload N",
                self.simulation
            )));
        }
        Ok(Options { events: ENDLESS, ..self.bounded()? })
    }

    /// The configuration with another audience.
    fn with_audience(&self, audience: Audience) -> Result<Config, Failure> {
        let mut config = self.config()?;
        config.graph.audience = audience;
        Ok(config)
    }

    /// Writes the file of `--json`: the machine, what was asked for, what came out.
    fn report(&self, bench: &str, simulation: &Options, results: &impl Serialize) -> Result<(), Failure> {
        let Some(path) = &self.json else { return Ok(()) };
        let report = serde_json::json!({
            "bench": bench,
            "machine": Machine::this(),
            "simulation": named(simulation),
            "set": self.sets,
            "config": self.config,
            "results": results,
        });
        write(path, &format!("{report:#}\n"))
    }
}

/// A simulation as it is told of: of an endless one its end is of no interest.
fn named(simulation: &Options) -> String {
    simulation.to_string().replacen(&format!("events={ENDLESS},"), "", 1)
}

fn mib(bytes: u64) -> String {
    grouped(bytes >> 20)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> String {
    grouped(number.round() as u64)
}

/// A ratio of counts and seconds; 0 for nothing.
#[allow(clippy::cast_precision_loss)]
fn per(count: u64, of: f64) -> f64 {
    if of > 0.0 { count as f64 / of } else { 0.0 }
}
