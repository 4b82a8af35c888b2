//! `deltarec evaluate`: how good the lists are, on a log, through the very same graph.
//!
//! What is measured how is in docs/evaluation.md.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `log` | the events that count, in memory |
//! | `protocol` | which of them are predicted, and from what |
//! | `setting` | configurations to compare |
//! | `recommenders` | the graph, driven tick by tick, and three baselines |
//! | `trial`, `known` | lists made, then compared with what was done, then learnt |
//! | `judge`, `metrics`, `shapes` | what a list is worth, and what it is like |
//! | `bootstrap` | how sure that is |
//! | `report`, `picture` | tables, JSON, SVG |

mod bootstrap;
mod judge;
mod known;
mod log;
mod metrics;
mod picture;
mod progress;
mod protocol;
mod random;
mod recommenders;
mod report;
mod setting;
mod shapes;
mod trial;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use connectors::Uri;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use self::bootstrap::Bootstrap;
use self::log::Log;
use self::progress::Progress;
use self::protocol::{Cut, Protocol};
use self::recommenders::{Graph, Popularity, RandomItems, Recency, Recommender, Setup, see};
use self::report::{Report, System};
use self::setting::{Setting, settings};
use self::trial::{Trial, TrialResult};
use crate::alone::alone_with;
use crate::commands::files::{check_writable, write};
use crate::commands::run::InputArgs;
use crate::commands::table::say;
use crate::failure::Failure;
use crate::stop::Stop;

/// Examples of `deltarec evaluate --help`.
pub const EXAMPLES: &str = "\
Examples:
  # the last event of every user, predicted from all the rest
  deltarec evaluate --input events.jsonl.gz

  # every event predicted from the state just before it, then learnt; the first fifth only learnt
  deltarec evaluate --input events.jsonl.gz --protocol prequential --from 20%

  # what is bought in the last fifth of the time, from what was known before; a picture, and all figures
  deltarec evaluate --input sales.csv --columns \"user=customer,item=sku,ts=at:%Y-%m-%d %H:%M:%S\" --action purchase \\
                    --protocol time --from 80% --set graph.retention=365d --picture quality.svg --json quality.json

  # which setting is better, and is it sure?
  deltarec evaluate --input events.jsonl.gz --sweep graph.resolution=2,4,8,16 --sweep graph.history=20,50
  deltarec evaluate --input events.jsonl.gz --sweep graph.similarity=cosine,jaccard,llr,count

  # what do lists gain that are filled up with what trends, and what does a place for something new cost?
  deltarec evaluate --input events.jsonl.gz --protocol prequential --k 10 --set trending.k=20 --explore 1,2

Seen items are not recommended; what users do with them again is counted apart, as repeats. Everybody has a list
(graph.audience=all) unless --set says otherwise. Lists are as long as the largest --k; what stands further down
counts as not found.";

/// Arguments of `deltarec evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Configuration file; every key and its default is in deltarec.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, e.g. graph.history=20; may be repeated, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Compare values of a key, graph.* or levels.*; may be repeated: every combination. Differences are told to the first
    #[arg(long = "sweep", value_name = "KEY=A,B,...")]
    sweeps: Vec<String>,
    #[command(flatten)]
    inputs: InputArgs,
    /// What is predicted from what
    #[arg(long, value_enum, default_value_t = ProtocolArg::Last)]
    protocol: ProtocolArg,
    /// prequential, time: where predicting begins: a share of the events, a date or a time; default 0% and 80%
    #[arg(long, value_name = "SHARE|TIME")]
    from: Option<Cut>,
    /// prequential: most events predicted from one state; more is quicker and a little behind the times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tick: Option<u32>,
    /// Lengths at which lists are looked at
    #[arg(long, value_name = "K,...", value_delimiter = ',', default_values_t = [5, 10, 20], value_parser = clap::value_parser!(u16).range(1..=1000))]
    k: Vec<u16>,
    /// Judge also lists whose last N places try new items, those that nobody has touched before but somebody will
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1000))]
    explore: Vec<u16>,
    /// Resamples of users for the 95% intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=100_000))]
    resamples: u32,
    /// Where the randomness of intervals, baselines and --explore starts
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Take the first N events at most: they are held in memory, 24 bytes each
    #[arg(long, value_name = "N", default_value_t = 20_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
    /// Worker threads of the graph
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// Write all figures as JSON; the same log, settings and seed give the same bytes
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtocolArg {
    /// The last event of each user from all other events, whenever they were: nothing expires
    Last,
    /// Each event from the state just before it; then it is learnt
    Prequential,
    /// All that is done from --from on, from what was known then
    Time,
}

/// `80%`, `2025-11-23` or `2025-11-23T12:00:00`, in UTC unless it has an offset.
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
        let stray = |option: &str, given: bool, of: &str| {
            anyhow::ensure!(!given, "{option} is for --protocol {of}");
            Ok(())
        };
        let prequential = self.protocol == ProtocolArg::Prequential;
        stray("--tick", self.tick.is_some() && !prequential, "prequential")?;
        let last = self.protocol == ProtocolArg::Last;
        stray("--from", self.from.is_some() && last, "prequential or time")?;
        // There the new items are those held out, and few: whoever knows them knows what is looked for.
        stray("--explore", !self.explore.is_empty() && last, "prequential or time")?;
        anyhow::ensure!(
            self.explore.is_empty() || self.k.len() == 1,
            "--explore takes the last places of a list: say how long one is by a single --k, e.g. --k 10"
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

/// Evaluates and tells.
pub fn main(args: &EvaluateArgs, stop: &Stop) -> Result<(), Failure> {
    let protocol = args.protocol().map_err(Failure::Usage)?;
    let settings = settings(args.config.as_deref(), &args.sets, &args.sweeps, protocol)?;
    let first = settings.first().expect("there is one setting at least");
    check_writable([&args.json, &args.picture])?;
    let uris = args.inputs.uris()?;
    if let Some(uri) = uris.iter().find(|uri| matches!(uri, Uri::Kafka(_))) {
        return Err(Failure::Usage(anyhow!("{uri} has no end: evaluate a log that has one, a file or a pipe")));
    }
    let inputs = args.inputs.open(&uris, &first.config, false)?;
    let mut ks: Vec<usize> = args.k.iter().map(|k| usize::from(*k)).collect();
    ks.sort_unstable();
    ks.dedup();

    let mut progress = Progress::new(!args.quiet);
    progress.begin("reading".into(), 0);
    let most = args.events as usize;
    let Some(log) = Log::read(inputs, &first.config, most, &mut progress, stop)? else { return Ok(()) };
    if log.cut {
        tracing::warn!("the log has more than {most} events: the rest is not read (--events N takes more)");
    }
    let plan = protocol.plan(&log);
    let explore = args.explore.iter().map(|explore| usize::from(*explore)).collect();
    let trial = Arc::new(Trial::new(log, plan, ks, args.seed, explore));
    if trial.cases() == 0 {
        return Err(Failure::Usage(anyhow!(
            "there is nothing to predict: {} events of {} users were read{}",
            trial.log.events.len(),
            trial.log.users.len(),
            if args.protocol == ProtocolArg::Last { ", nobody has two" } else { ", none of them after --from" }
        )));
    }
    let Some(systems) = try_all(args, &settings, &trial, progress, stop)? else { return Ok(()) };
    let report = Report::new(args, protocol, &settings, &trial, systems);
    say(&report.tables())?;
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", report.json()))?;
    }
    if let Some(path) = &args.picture {
        picture::draw(path, &report).map_err(Failure::Running)?;
    }
    Ok(())
}

/// Every setting, then the baselines. `None`: it was stopped.
fn try_all(
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
        let (tried, given_back) = try_graph(args.workers, setting, trial, progress, stop)?;
        progress = given_back;
        let Some(tried) = tried else { return Ok(None) };
        progress.begin(format!("{}: resampling", setting.name), 0);
        let filled = fillings(setting, trial).into_iter().map(|explore| match explore {
            0 => format!("{} filled", setting.name),
            explore => format!("{} explore={explore}", setting.name),
        });
        let names: Vec<String> = [setting.name.clone()].into_iter().chain(filled).collect();
        systems.extend(System::all(names.iter().map(|name| (name.as_str(), &setting.sets[..])), tried, &bootstrap));
    }
    let (ids, length) = (&trial.log.items, trial.longest());
    let mut popularity = Popularity::new(ids, length);
    let mut recency = Recency::new(ids, length);
    let mut random = RandomItems::new(args.seed, ids.len(), length);
    let baselines: &mut [&mut dyn Recommender] = &mut [&mut popularity, &mut recency, &mut random];
    progress.begin("baselines".into(), trial.cases());
    let Some(tried) = trial.run(baselines, &mut progress, stop) else { return Ok(None) };
    progress.begin("baselines: resampling".into(), 0);
    systems.extend(System::all(["popularity", "recency", "random"].map(|name| (name, &[][..])), tried, &bootstrap));
    Ok(Some(systems))
}

/// Of a graph's lists that are filled up, how many places try new items: first none, if something trends.
fn fillings(setting: &Setting, trial: &Trial) -> Vec<usize> {
    let trends = setting.config.graph.trending.map(|_| 0);
    trends.into_iter().chain(trial.explore.iter().copied()).collect()
}

/// The graph in one setting; gives the progress back.
fn try_graph(
    workers: u16,
    setting: &Setting,
    trial: &Arc<Trial>,
    mut progress: Progress,
    stop: &Stop,
) -> Result<(Option<TrialResult>, Progress), Failure> {
    let mut config = setting.config.graph.clone();
    config.k = trial.longest();
    if !trial.plan.expires {
        // The lists are of no particular time: everything counts and everybody has one.
        config.retention = NEVER;
        config.audience = dataflows::Audience::All;
    }
    let changes = recommenders::Changes::default();
    let fillings = fillings(setting, trial);
    let (trial, levels, stop) = (Arc::clone(trial), setting.config.levels.clone(), stop.clone());
    let see = see(&changes);
    alone_with(config, workers, Some(see), move |driver| {
        let mut graph = Graph::new(driver, Setup { log: &trial.log, levels: &levels, changes });
        let filled = fillings.iter().map(|explore| graph.filled(trial.longest(), *explore, trial.seed));
        let mut filled: Vec<_> = filled.collect();
        let mut systems: Vec<&mut dyn Recommender> = vec![&mut graph];
        systems.extend(filled.iter_mut().map(|filled| filled as &mut dyn Recommender));
        let tried = trial.run(&mut systems, &mut progress, &stop);
        (tried, progress)
    })
}

/// A retention that nothing outlives: no timestamp is later.
const NEVER: u64 = dataflows::MAX_MS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_a_share_or_a_time() {
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
