//! `deltarec evaluate`: measures the quality of the lists on a log, with the graph of production.
//!
//! docs/evaluation.md describes the methods.
//!
//! | file | content |
//! | --- | --- |
//! | `log`, `catalogue` | the events and the records of items, in memory |
//! | `protocol` | split of the log into training events and test cases |
//! | `settings` | configurations to compare |
//! | `recommenders` | the graph, driven tick by tick, and the baselines |
//! | `trial`, `training_stats` | the loop: recommend, score, train |
//! | `scores`, `metrics`, `list_metrics` | accuracy of the lists, and their other properties |
//! | `bootstrap` | confidence intervals |
//! | `report`, `charts` | tables, JSON, SVG |

mod bootstrap;
mod catalogue;
mod charts;
mod list_metrics;
mod log;
mod metrics;
mod progress;
mod protocol;
mod random;
mod recommenders;
mod report;
mod scores;
mod settings;
mod training_stats;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use connectors::Uri;
use dataflows::Driver;
use dataflows::config::Emit;

use self::bootstrap::Bootstrap;
use self::log::Log;
use self::progress::Progress;
use self::protocol::{Protocol, ProtocolArgs};
use self::recommenders::{Baseline, Graph, GraphSetup, Recommender, record_changes};
use self::report::{Report, System};
use self::settings::{Setting, settings};
use self::trial::{Trial, TrialResult};
use crate::commands::files::{check_distinct, check_writable, write};
use crate::commands::run::{CatalogueArgs, InputArgs};
use crate::commands::table::say;
use crate::engine::Clock;
use crate::failure::Failure;
use crate::stdio::check_stdout;
use crate::stop::Stop;

/// Examples of `deltarec evaluate --help`.
pub const EXAMPLES: &str = "\
Examples:
  # the last event of every user, predicted from all other events
  deltarec evaluate --input events.jsonl.gz

  # every event predicted from the state just before it; the first fifth is for training only
  deltarec evaluate --input events.jsonl.gz --protocol prequential --from 20%

  # purchases in the last fifth of the events, predicted from the events before; with a chart and a report
  deltarec evaluate --input sales.csv --columns \"user=customer,item=sku,ts=at:%Y-%m-%d %H:%M:%S\" --action purchase \\
                    --protocol time --from 80% --set graph.retention=365d --picture quality.svg --json quality.json

  # compare with a session recommender: the next click of sessions that begin in the last fifth of the log
  deltarec evaluate --input clicks.csv --columns user=session,item=item,ts=time:s --action view --protocol sessions \\
                    --from 80% --k 10,20 --baselines popularity,vmis-knn --repeats

  # the last three events of every user together; everything in the last visit, after a pause of two hours or more
  deltarec evaluate --input events.jsonl.gz --last 3
  deltarec evaluate --input events.jsonl.gz --protocol next-visit --gap 2h

  # compare settings, with confidence intervals
  deltarec evaluate --input events.jsonl.gz --sweep graph.resolution=2,4,8,16 --sweep graph.history=20,50
  deltarec evaluate --input events.jsonl.gz --sweep graph.similarity=cosine,jaccard,llr,count

  # what diversity costs and brings, by the categories and tags of a catalogue, with a curve
  deltarec evaluate --input events.jsonl.gz --catalogue items.csv --sweep graph.diversity=0,10,20,30,50 --picture curve.svg

  # the gain of lists filled up with trending items, and the cost of one or two positions for new items
  deltarec evaluate --input events.jsonl.gz --protocol prequential --k 10 --set trending.k=20 --explore 1,2

Items that a user has touched are not recommended; repeated events are counted separately (see --repeats). All users have a list
(graph.audience=all) unless --set says otherwise. Lists are as long as the largest --k; items beyond count as not found.";

/// Arguments of `deltarec evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Configuration file; deltarec.toml lists all keys and their defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, e.g. graph.history=20; may be repeated, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Compare values of a key, graph.*, levels.* or trending.*; may be repeated for all combinations. The first setting is
    /// the reference of the differences
    #[arg(long = "sweep", value_name = "KEY=A,B,...")]
    sweeps: Vec<String>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
    #[command(flatten)]
    protocol: ProtocolArgs,
    /// Lengths of the evaluated lists
    #[arg(long, value_name = "K,...", value_delimiter = ',', default_values_t = [5, 10, 20], value_parser = clap::value_parser!(u16).range(1..=1000))]
    k: Vec<u16>,
    /// Baselines, evaluated on the same cases; vmis-knn takes the longest
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_enum, default_values_t = [Baseline::Popularity, Baseline::Recency, Baseline::Random])]
    baselines: Vec<Baseline>,
    /// Take repeats as ordinary cases: baselines may recommend what their user has touched, but for the current item.
    /// deltarec recommends new items only, and misses repeats
    #[arg(long)]
    repeats: bool,
    /// Evaluate also lists with new items at the last N positions: items without events so far
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1000))]
    explore: Vec<u16>,
    /// Number of bootstrap resamples of the users for the 95% intervals; 0 for no intervals
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=100_000))]
    resamples: u32,
    /// Seed of the intervals, the baselines, --explore and the order of events of the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Use the N earliest events at most: they are held in memory, 24 bytes each
    #[arg(long, value_name = "N", default_value_t = 20_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
    /// Worker threads of the graph
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// Write all results as JSON; the same log, settings and seed give the same bytes
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw hit rate and NDCG
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// Show no progress on stderr
    #[arg(long)]
    quiet: bool,
}

impl EvaluateArgs {
    fn protocol(&self) -> anyhow::Result<Protocol> {
        anyhow::ensure!(
            self.explore.is_empty() || self.k.len() == 1,
            "--explore takes the last positions of a list: give its length by a single --k, e.g. --k 10"
        );
        self.protocol.protocol(!self.explore.is_empty())
    }

    /// The baselines in their order, each once.
    fn distinct_baselines(&self) -> Vec<Baseline> {
        let mut distinct: Vec<Baseline> = Vec::new();
        for baseline in &self.baselines {
            if !distinct.contains(baseline) {
                distinct.push(*baseline);
            }
        }
        distinct
    }
}

/// Runs the evaluation and writes its report.
pub fn main(args: &EvaluateArgs, stop: &Stop) -> Result<(), Failure> {
    check_stdout()?;
    let protocol = args.protocol().map_err(Failure::Usage)?;
    let settings = settings(args.config.as_deref(), &args.sets, &args.sweeps, protocol)?;
    let first = settings.first().expect("at least one setting");
    check_writable([&args.json, &args.picture])?;
    let uris = args.inputs.uris()?;
    let of_catalogue = args.catalogue.uris()?;
    if let Some(uri) = uris.iter().chain(&of_catalogue).find(|uri| matches!(uri, Uri::Kafka(_))) {
        return Err(Failure::Usage(anyhow!("{uri} has no end: evaluate a file or a pipe")));
    }
    check_distinct(&uris, [&args.json, &args.picture])?;
    check_distinct(&of_catalogue, [&args.json, &args.picture])?;
    let catalogue = args.catalogue.open(&first.config, Clock::Event, false)?;
    let inputs = args.inputs.open(&first.config, &args.inputs.defaults(&first.config, false)?)?;
    let mut ks: Vec<usize> = args.k.iter().map(|k| usize::from(*k)).collect();
    ks.sort_unstable();
    ks.dedup();

    let mut progress = Progress::new(!args.quiet);
    progress.begin("reading".into(), 0);
    let limit = args.events as usize;
    let Some(log) = Log::read(inputs, &first.config, limit, args.seed, &mut progress, stop)? else { return Ok(()) };
    if log.cut {
        tracing::warn!(limit, "the log has more events: only the earliest are used; raise --events to use more");
    }
    warn_of_ties(&log);
    let plan = protocol.plan(&log);
    let explore = args.explore.iter().map(|explore| usize::from(*explore)).collect();
    let mut trial = Trial::new(log, plan, ks, args.seed, explore, args.repeats);
    if !of_catalogue.is_empty() {
        let Some(items) = catalogue::read(catalogue, &first.config, stop)? else { return Ok(()) };
        trial = trial.with_items(items);
    }
    let trial = Arc::new(trial);
    if trial.cases() == 0 {
        return Err(Failure::Usage(anyhow!(
            "there is nothing to predict: {} events of {} users were read, {}",
            trial.log.events.len(),
            trial.log.users.len(),
            why_no_case(protocol)
        )));
    }
    let Some(systems) = evaluate_all(args, &settings, &trial, progress, stop)? else { return Ok(()) };
    let report = Report::new(args, protocol, &settings, &trial, systems);
    say(&report.tables())?;
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", report.json()))?;
    }
    if let Some(path) = &args.picture {
        charts::draw(path, &report).map_err(Failure::Running)?;
    }
    Ok(())
}

/// Why no event of a log could be predicted.
fn why_no_case(protocol: Protocol) -> String {
    match protocol {
        Protocol::Last { last: 1 } => "no user has two".to_owned(),
        Protocol::Last { last } => format!("no user has more than {last}; give --last a smaller number"),
        Protocol::Prequential { .. } | Protocol::Time { .. } => "none of them after --from".to_owned(),
        Protocol::Sessions { .. } => {
            "no user who begins at --from or later has two; give --from an earlier time or a smaller share".to_owned()
        }
        Protocol::NextVisit { .. } => "no user has two visits; a shorter --gap makes more of them".to_owned(),
    }
}

/// Share of the users from which on ties are reported. A few do not change the figures.
const TIED_SHARE: f64 = 0.01;

/// Warns if the time of the events leaves their order open for many users.
#[allow(clippy::cast_precision_loss)]
fn warn_of_ties(log: &Log) {
    let share = log.tied_users as f64 / log.users.len().max(1) as f64;
    if share >= TIED_SHARE {
        tracing::warn!(
            "{:.1}% of the users have events on several items at one time: --seed draws which is the later one; another \
             seed shows how much depends on it",
            100.0 * share
        );
    }
}

/// Evaluates all settings, then the baselines. `None` if it was stopped.
fn evaluate_all(
    args: &EvaluateArgs,
    settings: &[Setting],
    trial: &Arc<Trial>,
    mut progress: Progress,
    stop: &Stop,
) -> Result<Option<Vec<System>>, Failure> {
    let bootstrap = Bootstrap { resamples: args.resamples, seed: args.seed };
    let mut systems = Vec::new();
    for setting in settings {
        progress.begin(setting.name.clone(), trial.cases());
        let (result, returned) = evaluate_graph(args.workers, setting, trial, progress, stop)?;
        progress = returned;
        let Some(result) = result else { return Ok(None) };
        progress.begin(format!("{}: resampling", setting.name), 0);
        let blended = explore_variants(setting, trial).into_iter().map(|explore| match explore {
            0 => format!("{} filled", setting.name),
            explore => format!("{} explore={explore}", setting.name),
        });
        let names: Vec<String> = [setting.name.clone()].into_iter().chain(blended).collect();
        systems.extend(System::all(names.iter().map(|name| (name.as_str(), &setting.sets[..])), result, &bootstrap));
    }
    let baselines = args.distinct_baselines();
    let mut recommenders: Vec<Box<dyn Recommender>> =
        baselines.iter().map(|baseline| baseline.build(&trial.log, trial.longest(), trial.seed)).collect();
    let mut recommenders: Vec<&mut dyn Recommender> =
        recommenders.iter_mut().map(|system| &mut **system as _).collect();
    progress.begin("baselines".into(), trial.cases());
    let Some(result) = trial.run(&mut recommenders, &mut progress, stop) else { return Ok(None) };
    progress.begin("baselines: resampling".into(), 0);
    let names = baselines.iter().map(|baseline| (baseline.name(), &[][..]));
    systems.extend(System::all(names, result, &bootstrap));
    Ok(Some(systems))
}

/// Number of positions for new items in each variant of the blended lists; the variant 0 exists if trending is on.
fn explore_variants(setting: &Setting, trial: &Trial) -> Vec<usize> {
    let trending = setting.config.graph.trending.map(|_| 0);
    trending.into_iter().chain(trial.explore.iter().copied()).collect()
}

/// Evaluates the graph in one setting. Returns the progress as well, which the driver thread owns meanwhile.
fn evaluate_graph(
    workers: u16,
    setting: &Setting,
    trial: &Arc<Trial>,
    mut progress: Progress,
    stop: &Stop,
) -> Result<(Option<TrialResult>, Progress), Failure> {
    let mut config = setting.config.graph.clone();
    config.k = trial.longest();
    // A list is evaluated when it is asked for, and its order counts.
    config.refresh = NEVER;
    config.emit = Emit::Order;
    config.catalogue = trial.items.is_some().then(|| setting.config.catalogue.graph());
    let mut levels = setting.config.levels.clone();
    if !trial.plan.has_time() {
        config.retention = NEVER;
        config.audience = dataflows::Audience::All;
        // It would matter how long before the end of the log a skip was.
        levels.skip = 0;
    }
    let changes = recommenders::ChangeBuffer::default();
    let explore_variants = explore_variants(setting, trial);
    let (trial, stop) = (Arc::clone(trial), stop.clone());
    let observer = record_changes(&changes);
    let result = Driver::observe(&config, usize::from(workers), observer, move |driver| {
        let items = trial.items.as_deref().unwrap_or_default();
        let mut graph = Graph::new(driver, GraphSetup { log: &trial.log, levels: &levels, items, changes });
        let blended = explore_variants.iter().map(|explore| graph.blended(trial.longest(), *explore, trial.seed));
        let mut blended: Vec<_> = blended.collect();
        let mut systems: Vec<&mut dyn Recommender> = vec![&mut graph];
        systems.extend(blended.iter_mut().map(|blended| blended as &mut dyn Recommender));
        let result = trial.run(&mut systems, &mut progress, &stop);
        (result, progress)
    });
    Ok(result?)
}

/// A retention longer than any timestamp.
const NEVER: u64 = dataflows::time::MAX_MS;
