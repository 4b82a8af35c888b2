//! `deltarec run`: events in, changed lists out.

mod cluster;
mod inputs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use connectors::{OpenError, RejectLog, Uri, open_lines};

pub(crate) use self::cluster::{ClusterArgs, member};
pub(crate) use self::inputs::InputArgs;
use crate::cluster::{Member, Orders};
use crate::config::Config;
use crate::console;
use crate::engine::{self, Clock, Job, Show, Streams, state};
use crate::failure::Failure;
use crate::stop::Stop;

/// Examples for `--help`.
pub const EXAMPLES: &str = "\
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

  # on two machines: the same command on both but for the number; process 0 reads and writes
  deltarec run --input events.jsonl --output changes.jsonl --state state --workers 4 \\
               --hosts node0:2101,node1:2101 --process 0 --secret-file secret

Exit codes: 0 done, 1 failed while running, 2 usage or configuration, 3 another process of the cluster was lost or has
failed.";

#[derive(Debug, Args)]
/// The arguments of `deltarec run`.
pub struct RunArgs {
    /// Configuration file; every key and its default is in deltarec.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, e.g. graph.k=20; may be repeated, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Where changes go: PATH.jsonl (also .gz, .zst), - for stdout or `kafka://BROKER[,BROKER]/TOPIC`; an existing file is
    /// replaced, unless the run goes on from a snapshot; a topic is always continued
    #[arg(long, value_name = "URI", default_value = "-")]
    output: String,
    /// Where rows of similar items that changed go, of all items: PATH.jsonl (also .gz, .zst) or -
    #[arg(long, value_name = "URI")]
    output_similar_items: Option<String>,
    /// Where rows of similar users that changed go, of the audience; likewise
    #[arg(long, value_name = "URI")]
    output_similar_users: Option<String>,
    /// Where rejected records go, with reason, source and position
    #[arg(long, value_name = "URI")]
    rejects: Option<String>,
    /// Where snapshots are kept, so that a run goes on where the last one ended: a folder, s3://..., gs://... or az://...
    #[arg(long, value_name = "URI")]
    state: Option<String>,
    /// Do not use the snapshots: read the inputs again from their start; the output is continued all the same
    #[arg(long)]
    rebuild: bool,
    /// Worker threads; in a cluster of each process, and the same everywhere
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    #[command(flatten)]
    cluster: ClusterArgs,
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

/// Does what the command line says.
pub fn main(args: RunArgs, stop: Stop) -> Result<(), Failure> {
    let mut config = Config::load(args.config.as_deref(), &args.sets)?;
    if let Some(state) = args.state {
        config.state.uri = state;
    }
    let member = member(&args.cluster, args.workers, &config)?;
    let saves = !config.state.uri.is_empty();
    if let Some(member) = member.as_ref().filter(|member| member.me.process > 0) {
        return assist(member, &config, usize::from(args.workers), saves, &stop);
    }
    let records = args.inputs.reading();
    let uri = |text: &str| text.parse::<Uri>().map_err(|error| Failure::from(OpenError::from(error)));
    let uris = args.inputs.uris()?;
    let output = uri(&args.output)?;
    let rejects = args.rejects.as_deref().map(uri).transpose()?;
    let similar_items = args.output_similar_items.as_deref().map(uri).transpose()?;
    let similar_users = args.output_similar_users.as_deref().map(uri).transpose()?;
    let outputs = [
        ("--output", Some(&output)),
        ("--rejects", rejects.as_ref()),
        ("--output-similar-items", similar_items.as_ref()),
        ("--output-similar-users", similar_users.as_ref()),
    ];
    check_streams(&uris, &outputs).map_err(Failure::Usage)?;

    // Inputs first: a mistake there must not have replaced an output already.
    let clock = match (args.clock, uris.iter().any(|uri| matches!(uri, Uri::Kafka(_)))) {
        (Some(ClockArg::Event), _) | (None, false) => Clock::Event,
        (Some(ClockArg::Wall), _) | (None, true) => Clock::Wall,
    };
    let dead_letters = matches!(rejects, Some(Uri::Kafka(_)));
    let mut inputs = args.inputs.open(&uris, &config, dead_letters)?;
    let (output_sink, resume, rejects, state) = if saves {
        let rejects = if state::has_snapshots(&config.state.uri)? {
            RejectLog::go_on(rejects.as_ref(), &config.kafka)?
        } else {
            RejectLog::open(rejects.as_ref(), &config.kafka)?
        };
        let run =
            state::StatefulRun { config: &config, uris: &uris, output: &output, records, clock, rebuild: args.rebuild };
        let prepared = state::prepare(run, &mut inputs)?;
        (prepared.output, prepared.resume, rejects, Some(prepared.state))
    } else {
        if args.rebuild {
            return Err(Failure::Usage(anyhow::anyhow!("--rebuild needs a state to rebuild: --state URI")));
        }
        let (sink, resume) = state::open_output(&output, &inputs, &config.kafka)?;
        (sink, resume, RejectLog::open(rejects.as_ref(), &config.kafka)?, None)
    };
    let open = |uri: Option<&Uri>| uri.map(open_lines).transpose();
    let streams =
        Streams { similar_items: open(similar_items.as_ref())?, similar_users: open(similar_users.as_ref())? };
    let shares_terminal = output == Uri::Stdio && std::io::IsTerminal::is_terminal(&std::io::stdout());
    let links = match &member {
        None => None,
        Some(member) => {
            let resumes = resume.is_some();
            let dataflows::Outputs { similar_items, similar_users } = streams.told();
            match member.gather(Orders { resumes, similar_items, similar_users }, &stop)? {
                Some(links) => Some(links),
                None => return Ok(()),
            }
        }
    };
    let job = Job {
        config,
        inputs,
        output: output_sink,
        streams,
        rejects,
        workers: usize::from(args.workers),
        links,
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
    let (summary, result) = engine::run(job);
    if !args.quiet {
        console::say(&summary.to_string());
    }
    if summary.expired * 2 > summary.events {
        tracing::warn!(
            "more than half of the events were older than graph.retention when they came: is the retention too short for \
             this log, or a time format wrong (--columns ts=NAME:s)?"
        );
    }
    Ok(result?)
}

/// All processes but the first: they compute, and neither read nor write.
fn assist(member: &Member, config: &Config, workers: usize, saves: bool, stop: &Stop) -> Result<(), Failure> {
    let Some(links) = member.gather(Orders::default(), stop)? else { return Ok(()) };
    Ok(engine::assist(config, links, workers, saves, stop)?)
}

/// What can be seen to go wrong before anything is opened. `outputs`: each with its option.
fn check_streams(inputs: &[Uri], outputs: &[(&str, Option<&Uri>)]) -> anyhow::Result<()> {
    anyhow::ensure!(
        inputs.iter().filter(|uri| **uri == Uri::Stdio).count() <= 1,
        "stdin can be only one of the inputs: leave one --input - out"
    );
    let given: Vec<(&str, &Uri)> = outputs.iter().filter_map(|(option, uri)| Some((*option, (*uri)?))).collect();
    let same = |a: &Uri, b: &Uri| match (a, b) {
        (Uri::File { path: a, .. }, Uri::File { path: b, .. }) => same_file(a, b),
        _ => a == b,
    };
    for (at, input) in inputs.iter().enumerate() {
        let Some((option, output)) = given.iter().find(|(_, output)| same(input, output)) else { continue };
        match input {
            Uri::File { .. } => {
                anyhow::bail!("{option} {output} is also input {}: it would be overwritten unread", at + 1)
            }
            Uri::Kafka(_) => {
                anyhow::bail!("{option} {output} is also input {}: what is written would be read as events", at + 1)
            }
            Uri::Stdio | Uri::Generate(_) => {}
        }
    }
    for (at, (option, output)) in given.iter().enumerate() {
        if let Some((other, _)) = given[..at].iter().find(|(_, other)| same(output, other)) {
            anyhow::bail!("{option} and {other} are the same: give them different places");
        }
    }
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
