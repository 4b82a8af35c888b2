//! `deltarec evaluate`: measures the quality of the lists on a log, with the graph of production.
//!
//! docs/evaluation.md describes the methods.
//!
//! | file | content |
//! | --- | --- |
//! | `log` | the events with an effect, in memory |
//! | `protocol` | split of the log into training events and test cases |
//! | `settings` | configurations to compare |
//! | `recommenders` | the graph, driven tick by tick, and three baselines |
//! | `trial`, `training_stats` | the loop: recommend, score, train |
//! | `scores`, `metrics`, `list_metrics` | accuracy of the lists, and their other properties |
//! | `bootstrap` | confidence intervals |
//! | `report`, `charts` | tables, JSON, SVG |

mod bootstrap;
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
use std::str::FromStr;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use connectors::Uri;
use dataflows::Driver;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use self::bootstrap::Bootstrap;
use self::log::Log;
use self::progress::Progress;
use self::protocol::{Cut, Protocol};
use self::recommenders::{Graph, GraphSetup, RandomItems, RankedItems, Recommender, record_changes};
use self::report::{Report, System};
use self::settings::{Setting, settings};
use self::trial::{Trial, TrialResult};
use crate::commands::files::{check_distinct, check_writable, write};
use crate::commands::run::InputArgs;
use crate::commands::table::say;
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

  # compare settings, with confidence intervals
  deltarec evaluate --input events.jsonl.gz --sweep graph.resolution=2,4,8,16 --sweep graph.history=20,50
  deltarec evaluate --input events.jsonl.gz --sweep graph.similarity=cosine,jaccard,llr,count

  # the gain of lists filled up with trending items, and the cost of one or two positions for new items
  deltarec evaluate --input events.jsonl.gz --protocol prequential --k 10 --set trending.k=20 --explore 1,2

Items that a user has touched are not recommended; repeated events are counted separately. All users have a list
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
    /// Split of the log into training events and predicted events
    #[arg(long, value_enum, default_value_t = ProtocolArg::Last)]
    protocol: ProtocolArg,
    /// Start of the predictions: a share of the events, a date or a time [default: 0% with prequential, 80% with time]
    #[arg(long, value_name = "SHARE|TIME")]
    from: Option<Cut>,
    /// With prequential: largest number of events predicted from one state; more is faster, with slightly older states
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tick: Option<u32>,
    /// Lengths of the evaluated lists
    #[arg(long, value_name = "K,...", value_delimiter = ',', default_values_t = [5, 10, 20], value_parser = clap::value_parser!(u16).range(1..=1000))]
    k: Vec<u16>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtocolArg {
    /// The last event of each user, from all other events, earlier or later; nothing expires
    Last,
    /// Each event, from the state just before it
    Prequential,
    /// All events from --from on, from the state at that time
    Time,
}

/// Parses `80%`, `2025-11-23` or `2025-11-23T12:00:00`, in UTC unless an offset is given.
impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(share) = text.strip_suffix('%') {
            let percent = share.trim().parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
            return percent.map(|percent| Cut::Share(percent / 100.0)).ok_or_else(|| "a share is 0% to 100%".into());
        }
        let at = text.parse::<Timestamp>().ok();
        let at = at.or_else(|| Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok());
        let ms = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
        ms.map(Cut::At)
            .ok_or_else(|| "expected a share (80%), a date (2025-11-23) or a time (2025-11-23T12:00:00Z)".into())
    }
}

impl EvaluateArgs {
    fn protocol(&self) -> anyhow::Result<Protocol> {
        let reject = |option: &str, misplaced: bool, protocols: &str| {
            anyhow::ensure!(!misplaced, "{option} is for --protocol {protocols}");
            Ok(())
        };
        let prequential = self.protocol == ProtocolArg::Prequential;
        reject("--tick", self.tick.is_some() && !prequential, "prequential")?;
        let last = self.protocol == ProtocolArg::Last;
        reject("--from", self.from.is_some() && last, "prequential or time")?;
        // With `last` the only new items are the held-out ones, so exploring them would leak the answers.
        reject("--explore", !self.explore.is_empty() && last, "prequential or time")?;
        anyhow::ensure!(
            self.explore.is_empty() || self.k.len() == 1,
            "--explore takes the last positions of a list: give its length by a single --k, e.g. --k 10"
        );
        Ok(match self.protocol {
            ProtocolArg::Last => Protocol::Last,
            ProtocolArg::Prequential => Protocol::Prequential {
                from: self.from.unwrap_or(Cut::Share(0.0)),
                tick: self.tick.unwrap_or(1) as usize,
            },
            ProtocolArg::Time => Protocol::Time { from: self.from.unwrap_or(Cut::Share(0.8)) },
        })
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
    if let Some(uri) = uris.iter().find(|uri| matches!(uri, Uri::Kafka(_))) {
        return Err(Failure::Usage(anyhow!("{uri} has no end: evaluate a file or a pipe")));
    }
    check_distinct(&uris, [&args.json, &args.picture])?;
    let inputs = args.inputs.open(&first.config, false)?;
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
    let trial = Arc::new(Trial::new(log, plan, ks, args.seed, explore));
    if trial.cases() == 0 {
        return Err(Failure::Usage(anyhow!(
            "there is nothing to predict: {} events of {} users were read{}",
            trial.log.events.len(),
            trial.log.users.len(),
            if args.protocol == ProtocolArg::Last { ", no user has two" } else { ", none of them after --from" }
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
    let (ids, length) = (&trial.log.items, trial.longest());
    let mut popularity = RankedItems::popularity(ids, length);
    let mut recency = RankedItems::recency(ids, length);
    let mut random = RandomItems::new(args.seed, ids.len(), length);
    let baselines: &mut [&mut dyn Recommender] = &mut [&mut popularity, &mut recency, &mut random];
    progress.begin("baselines".into(), trial.cases());
    let Some(result) = trial.run(baselines, &mut progress, stop) else { return Ok(None) };
    progress.begin("baselines: resampling".into(), 0);
    systems.extend(System::all(["popularity", "recency", "random"].map(|name| (name, &[][..])), result, &bootstrap));
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
    if !trial.plan.expires {
        config.retention = NEVER;
        config.audience = dataflows::Audience::All;
    }
    let changes = recommenders::ChangeBuffer::default();
    let explore_variants = explore_variants(setting, trial);
    let (trial, levels, stop) = (Arc::clone(trial), setting.config.levels.clone(), stop.clone());
    let observer = record_changes(&changes);
    let result = Driver::observe(&config, usize::from(workers), observer, move |driver| {
        let mut graph = Graph::new(driver, GraphSetup { log: &trial.log, levels: &levels, changes });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_shares_dates_and_times() {
        let cut = |text: &str| text.parse::<Cut>();
        assert_eq!(cut("80%"), Ok(Cut::Share(0.8)));
        assert_eq!(cut("2025-11-23"), Ok(Cut::At(1_763_856_000_000)));
        for time in ["2025-11-23T12:13:20Z", "2025-11-23T12:13:20", "2025-11-23T20:13:20+08:00"] {
            assert_eq!(cut(time), Ok(Cut::At(1_763_900_000_000)));
        }
        for wrong in ["80", "101%", "-1%", "yesterday", "1960-01-01"] {
            assert!(cut(wrong).is_err(), "{wrong}");
        }
    }
}
