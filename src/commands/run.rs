//! `deltarec run`: reads events, emits changed lists.
//!
//! `plan` decides everything that can be decided before anything is opened, `start` opens and starts, and the
//! [engine](crate::engine) runs.

mod catalogue;
mod cluster;
mod controls;
mod id_key;
mod inputs;
mod plan;
mod start;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

pub(crate) use self::catalogue::CatalogueArgs;
pub(crate) use self::cluster::{ClusterArgs, member};
use self::controls::ControlArgs;
pub(crate) use self::id_key::id_key;
pub(crate) use self::inputs::InputArgs;
use self::plan::{RunPlan, Terminal, plan};
use self::start::{follow, start};
use crate::config::{Config, compatibility};
use crate::console;
use crate::failure::Failure;
use crate::stop::Stop;

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
Examples:
  # a file of JSON lines to a file of changes
  deltarec run --input events.jsonl.gz --output changes.jsonl

  # a CSV with other column names and timestamps in seconds, lists for all users
  deltarec run --input log.csv.gz --output changes.jsonl --set graph.audience=all \\
               --columns user=user_id,item=item_id,action=behavior,ts=timestamp:s

  # a log of purchases without an action column, with a filter and an output for rejected records
  deltarec run --input sales.csv --columns \"user=customer,item=sku,ts=at:%Y-%m-%d %H:%M:%S\" \\
               --action purchase --where 'quantity>0' --rejects rejects.jsonl --output changes.jsonl

  # with a catalogue: what is out of stock, or not in it, is not recommended (docs/catalogue.md)
  deltarec run --input events.jsonl --catalogue products.csv --output changes.jsonl \\
               --catalogue-columns item=sku,title=name,category=product_type

  # with what users say themselves: not interested, less of this, forget (docs/input.md)
  deltarec run --input events.jsonl --controls controls.jsonl --output changes.jsonl

  # after a stop or a crash, the same command resumes
  deltarec run --input events.jsonl --output changes.jsonl --state state

  # between topics, exactly once, with snapshots in a folder (docs/kafka.md)
  deltarec run --input kafka://broker:9092/events --output kafka://broker:9092/lists --state state

  # through pipes, live, by the clock of this machine
  producer | deltarec run --clock wall | consumer

  # on two machines: the same command on both except for the number; process 0 reads and writes
  deltarec run --input events.jsonl --output changes.jsonl --state state --workers 4 \\
               --hosts node0:2101,node1:2101 --process 0 --secret-file secret

Exit codes: 0 done, 1 failed while running, 2 usage or configuration, 3 another process of the cluster was lost or has
failed.";

/// The arguments of `deltarec run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration file; every key and its default is in deltarec.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, e.g. graph.k=20; may be repeated, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    #[command(flatten)]
    controls: ControlArgs,
    /// Output for changes: PATH.jsonl (also .gz, .zst), - for stdout or `kafka://BROKER[,BROKER]/TOPIC`. An existing file is
    /// replaced unless the run resumes from a snapshot; a topic is always appended to
    #[arg(long, value_name = "URI", default_value = "-")]
    output: String,
    /// Where changed rows of similar items go, of all items: like --output; an existing file is always replaced
    #[arg(long, value_name = "URI")]
    output_similar_items: Option<String>,
    /// Where changed rows of similar users go, of the audience; likewise
    #[arg(long, value_name = "URI")]
    output_similar_users: Option<String>,
    /// Output for rejected records, with reason, source and position
    #[arg(long, value_name = "URI")]
    rejects: Option<String>,
    /// Store for snapshots, from which the next run resumes: a folder, s3://..., gs://... or az://...
    #[arg(long, value_name = "URI")]
    state: Option<String>,
    /// Ignore the snapshots and read the inputs from their start; the output is still continued
    #[arg(long)]
    rebuild: bool,
    /// Worker threads of each process; the same number in all processes of a cluster
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Source of the time: the largest timestamp so far, or the clock of this machine [default: wall with a topic as an
    /// input, else event]
    #[arg(long, value_enum)]
    clock: Option<ClockArg>,
    /// Print no progress and no summary on stderr
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClockArg {
    Event,
    Wall,
}

/// Runs the command.
pub fn main(args: RunArgs, stop: Stop) -> Result<(), Failure> {
    let mut config = Config::load(args.config.as_deref(), &args.sets)?;
    if let Some(state) = &args.state {
        if state.trim().is_empty() {
            // Probably an unset variable of a script: the run would keep no state, without a word.
            return Err(Failure::Usage(anyhow!("--state is empty: name a place for snapshots, or leave it out")));
        }
        config.state.uri = Some(state.clone());
    }
    let settings = serde_json::Value::from(compatibility(&config));
    tracing::debug!(%settings, "starting a run");
    let ids = id_key(&config)?;
    let member = member(&args.cluster, args.workers, &config, ids)?;
    let terminal = Terminal {
        has_status_line: console::has_status_line(),
        is_stdout: std::io::IsTerminal::is_terminal(&std::io::stdout()),
    };
    let is_quiet = args.quiet;
    let running = match plan(args, config, member, terminal)? {
        RunPlan::Coordinator(plan) => start(*plan, ids, stop)?,
        RunPlan::Follower(plan) => return follow(&plan, &stop),
    };
    let Some(running) = running else { return Ok(()) };
    let (summary, result) = running.join();
    match (is_quiet, console::is_json()) {
        (true, _) => {}
        (false, true) => summary.log(),
        (false, false) => console::say(&summary.to_string()),
    }
    if summary.expired * 2 > summary.events {
        tracing::warn!(
            "more than half of the events were older than graph.retention when they were read: check the retention and the \
             format of timestamps (--columns ts=NAME:s)"
        );
    }
    Ok(result?)
}
