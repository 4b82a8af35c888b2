//! What came out: as tables and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::EvaluateArgs;
use super::bootstrap::{Bootstrap, Estimate};
use super::judge::{GROUPS, Group};
use super::metrics::METRICS;
use super::protocol::{Cut, Protocol};
use super::setting::Setting;
use super::shapes::SHAPES;
use super::trial::{Trial, TrialResult};
use crate::commands::table::Table;
use crate::config::Audience;
use crate::engine::{grouped, timestamp};

/// The figures of one system.
pub(super) struct System {
    pub(super) name: String,
    /// `key=value` of what is swept.
    sets: Vec<String>,
    /// In the order of [`GROUPS`].
    groups: Vec<Scores>,
    /// Whether there was a list, then the shapes at each k.
    lists: Vec<Estimate>,
    /// At each k.
    coverage: Vec<f64>,
}

/// Of one group of items taken.
struct Scores {
    cases: u64,
    users: usize,
    /// Each metric at each k.
    estimates: Vec<Estimate>,
}

impl System {
    /// The systems, each with its name and what is swept in it, that were tried together.
    pub(super) fn all<'n>(
        names: impl IntoIterator<Item = (&'n str, &'n [String])>,
        tried: TrialResult,
        bootstrap: &Bootstrap,
    ) -> Vec<Self> {
        let TrialResult { judges, users, catalogue } = tried;
        let system = |((name, sets), judge): ((&str, &[String]), super::judge::Judge)| {
            let tallies: Vec<_> = judge.groups.iter().chain([&judge.lists]).collect();
            let mut estimates = bootstrap.estimates(&users, &tallies);
            let lists = estimates.pop().expect("one for each tally");
            let scores = |(tally, estimates): (&super::bootstrap::Tally, Vec<Estimate>)| Scores {
                cases: tally.cases(),
                users: tally.users().len(),
                estimates,
            };
            System {
                name: name.to_owned(),
                sets: sets.to_vec(),
                groups: judge.groups.iter().zip(estimates).map(scores).collect(),
                lists,
                coverage: judge.coverage.shares(catalogue),
            }
        };
        names.into_iter().zip(judges).map(system).collect()
    }

    fn group(&self, group: Group) -> &Scores {
        let at = GROUPS.iter().position(|other| *other == group).expect("all groups are there");
        &self.groups[at]
    }
}

pub(super) struct Report {
    /// The settings of the graph, then the baselines.
    pub(super) systems: Vec<System>,
    pub(super) ks: Vec<usize>,
    /// The length at which systems are compared: as long as lists are in production, if that is looked at.
    pub(super) at: usize,
    /// The log and the protocol, in a line each.
    heading: String,
    /// Whether one item is to be found in each case, so that recall is the hit rate.
    single: bool,
    about: Map<String, Value>,
}

impl Report {
    pub(super) fn new(
        args: &EvaluateArgs,
        protocol: Protocol,
        settings: &[Setting],
        trial: &Trial,
        systems: Vec<System>,
    ) -> Self {
        let graph = &settings[0].config.graph;
        let ks = trial.ks.clone();
        let at = ks.iter().copied().find(|k| *k == graph.k).unwrap_or(trial.longest());
        Report {
            heading: heading(args, protocol, trial, settings),
            single: !matches!(protocol, Protocol::Time { .. }),
            about: about(args, protocol, trial),
            systems,
            ks,
            at,
        }
    }

    /// A metric of new items.
    pub(super) fn estimate(&self, system: usize, metric: usize, k: usize) -> &Estimate {
        &self.systems[system].group(Group::New).estimates[self.column(metric, k)]
    }

    fn column(&self, measure: usize, k: usize) -> usize {
        measure * self.ks.len() + self.ks.iter().position(|other| *other == k).expect("it is looked at")
    }

    pub(super) fn tables(&self) -> String {
        let mut text = format!("{}\n", self.heading);
        let mut add = |title: String, table: Table| {
            write!(text, "\n{title}\n{table}").expect("writing to a string does not fail");
        };
        add("new items (mean and 95% interval)".into(), self.qualities());
        add(format!("what lists of {} are like", self.at), self.shapes());
        add(format!("hit rate at {} by what was known", self.at), self.groups());
        if self.systems.len() > 1 {
            let title = format!("difference to {}, at {} (* the interval leaves out 0)", self.systems[0].name, self.at);
            add(title, self.differences());
        }
        text
    }

    /// The metrics that say something of their own.
    pub(super) fn shown(&self) -> impl Iterator<Item = (usize, &'static str)> + '_ {
        let names = METRICS.iter().map(|metric| metric.name()).enumerate();
        names.filter(|(_, name)| !(self.single && *name == "recall"))
    }

    fn qualities(&self) -> Table {
        let mut header = vec!["k", "system"];
        header.extend(self.shown().map(|(_, name)| title(name)));
        let mut table = Table::new(&header);
        for k in &self.ks {
            for (at, system) in self.systems.iter().enumerate() {
                let cells = self.shown().map(|(metric, _)| figure(self.estimate(at, metric, *k)));
                table.row([k.to_string(), system.name.clone()].into_iter().chain(cells));
            }
        }
        table
    }

    fn shapes(&self) -> Table {
        let mut table = Table::new(&["system", "coverage", "popularity", "diversity", "has a list"]);
        let k = self.ks.iter().position(|k| *k == self.at).expect("it is looked at");
        for system in &self.systems {
            let shapes = (0..SHAPES.len()).map(|shape| figure(&system.lists[1 + self.column(shape, self.at)]));
            let coverage = format!("{:.4}", system.coverage[k]);
            let answered = system.lists[0].mean.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
            table.row([system.name.clone(), coverage].into_iter().chain(shapes).chain([answered]));
        }
        table
    }

    fn groups(&self) -> Table {
        // The first setting, its lists filled up, and what follows the settings: more would not fit.
        let sets = &self.systems[0].sets;
        let systems: Vec<&System> =
            self.systems.iter().filter(|system| system.sets == *sets || system.sets.is_empty()).collect();
        let mut header = vec!["items taken", "lists", "users"];
        header.extend(systems.iter().map(|system| system.name.as_str()));
        let mut table = Table::new(&header);
        for group in GROUPS {
            let scores = self.systems[0].group(group);
            let rates = systems.iter().map(|system| {
                let estimate = &system.group(group).estimates[self.column(0, self.at)];
                estimate.mean.map_or("-".into(), |mean| format!("{mean:.4}"))
            });
            let counts = [words(group).to_owned(), grouped(scores.cases), grouped(scores.users as u64)];
            table.row(counts.into_iter().chain(rates));
        }
        table
    }

    fn differences(&self) -> Table {
        let mut header = vec!["system"];
        header.extend(self.shown().map(|(_, name)| title(name)));
        let mut table = Table::new(&header);
        for (at, system) in self.systems.iter().enumerate().skip(1) {
            let cells = self.shown().map(|(metric, _)| signed(&self.difference(at, metric)));
            table.row([system.name.clone()].into_iter().chain(cells));
        }
        table
    }

    /// To the first system, at the length of comparison.
    fn difference(&self, system: usize, metric: usize) -> Estimate {
        self.estimate(system, metric, self.at).minus(self.estimate(0, metric, self.at))
    }

    pub(super) fn json(&self) -> Value {
        let at_each_k = |names: &[&str], estimates: &[Estimate]| -> Map<String, Value> {
            let names = names.iter().flat_map(|name| self.ks.iter().map(move |k| format!("{name}@{k}")));
            names.zip(estimates).map(|(name, estimate)| (name, json!(estimate))).collect()
        };
        let metrics: Vec<&str> = METRICS.iter().map(|metric| metric.name()).collect();
        let shapes: Vec<&str> = SHAPES.iter().map(|shape| shape.name()).collect();
        let system = |(at, system): (usize, &System)| {
            let groups = GROUPS.iter().zip(&system.groups).map(|(group, scores)| {
                let figures = at_each_k(&metrics, &scores.estimates);
                (group.name().to_owned(), json!({"lists": scores.cases, "users": scores.users, "metrics": figures}))
            });
            let mut lists = at_each_k(&shapes, &system.lists[1..]);
            lists.insert("answered".into(), json!(system.lists[0]));
            lists
                .extend(self.ks.iter().zip(&system.coverage).map(|(k, share)| (format!("coverage@{k}"), json!(share))));
            let differences = METRICS
                .iter()
                .enumerate()
                .map(|(metric, of)| (format!("{}@{}", of.name(), self.at), json!(self.difference(at, metric))));
            json!({
                "name": system.name,
                "set": system.sets,
                "items": groups.collect::<Map<_, _>>(),
                "lists": lists,
                "difference_to_first": differences.collect::<Map<_, _>>(),
            })
        };
        let mut report = self.about.clone();
        report.insert("systems".into(), self.systems.iter().enumerate().map(system).collect());
        Value::Object(report)
    }
}

fn title(metric: &str) -> &'static str {
    match metric {
        "hit_rate" => "hit rate",
        "recall" => "recall",
        "ndcg" => "NDCG",
        _ => "MRR",
    }
}

fn words(group: Group) -> &'static str {
    match group {
        Group::New => "new",
        Group::Warm => "new, user and item known",
        Group::ColdUsers => "new, user unknown",
        Group::ColdItems => "new, item unknown",
        Group::Repeats => "repeats",
    }
}

/// `0.0721 (.0650-.0790)`.
fn figure(estimate: &Estimate) -> String {
    let Some(mean) = estimate.mean else { return "-".into() };
    let short = |end: f64| format!("{end:.4}").replacen("0.", ".", 1);
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{mean:.4} ({}-{})", short(low), short(high)),
        _ => format!("{mean:.4}"),
    }
}

/// `+0.0012 (-.0003 +.0027)`.
fn signed(estimate: &Estimate) -> String {
    let Some(mean) = estimate.mean else { return "-".into() };
    let short = |end: f64| format!("{end:+.4}").replacen("0.", ".", 1);
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => {
            let sure = if low > 0.0 || high < 0.0 { "*" } else { " " };
            format!("{mean:+.4} ({} {}){sure}", short(low), short(high))
        }
        _ => format!("{mean:+.4}"),
    }
}

fn cut(from: Cut) -> String {
    match from {
        Cut::Share(share) => format!("{}% of the events", (share * 1e6).round() / 1e4),
        Cut::At(ms) => timestamp(ms).unwrap_or_else(|| "the beginning".into()),
    }
}

fn heading(args: &EvaluateArgs, protocol: Protocol, trial: &Trial, settings: &[Setting]) -> String {
    let log = &trial.log;
    let span = |at: Option<&super::log::Logged>| at.and_then(|event| timestamp(event.ts)).unwrap_or_else(|| "?".into());
    let how = match protocol {
        Protocol::Last => {
            "the last event of each user (with two or more) from all other events; nothing expires, everybody has a list"
                .to_owned()
        }
        Protocol::Prequential { from, tick: 1 } => {
            format!("each event after {} from the state just before it", cut(from))
        }
        Protocol::Prequential { from, tick } => {
            format!("each event after {} from a state at most {tick} events before it", cut(from))
        }
        Protocol::Time { from } => format!("what is done after {} from what was known then", cut(from)),
    };
    let audience = match (protocol, settings[0].config.graph.audience) {
        (Protocol::Last, _) => String::new(),
        (_, Audience::All) => "; everybody has a list".to_owned(),
        (_, Audience::Within(ms)) => {
            format!("; who has no event within {} s has no list, which finds nothing", grouped(ms / 1_000))
        }
    };
    format!(
        "{} events of {} users and {} items, {} to {} ({} ignored, {} rejected)\n{how}{audience}\n\
         {} lists of {}; items their user has touched before count apart; {} resamples of users, seed {}",
        grouped(log.events.len() as u64),
        grouped(log.users.len() as u64),
        grouped(log.items.len() as u64),
        span(log.events.first()),
        span(log.events.last()),
        grouped(log.ignored),
        grouped(log.rejected),
        grouped(trial.cases() as u64),
        trial.longest(),
        grouped(u64::from(args.resamples)),
        args.seed,
    ) + if args.explore.is_empty() { "" } else { EXPLORE }
}

const EXPLORE: &str = "\nexplore=N: the last N places are for items that nobody has touched before but somebody will";

fn about(args: &EvaluateArgs, protocol: Protocol, trial: &Trial) -> Map<String, Value> {
    let log = &trial.log;
    let from = |from: Cut| match from {
        Cut::Share(share) => json!({"share": share}),
        Cut::At(ms) => json!({"ms": ms}),
    };
    let protocol = match protocol {
        Protocol::Last => json!({"name": "last"}),
        Protocol::Prequential { from: at, tick } => json!({"name": "prequential", "from": from(at), "tick": tick}),
        Protocol::Time { from: at } => json!({"name": "time", "from": from(at)}),
    };
    let about = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "log": {
            "events": log.events.len(),
            "users": log.users.len(),
            "items": log.items.len(),
            "first_ms": log.events.first().map(|event| event.ts),
            "last_ms": log.events.last().map(|event| event.ts),
            "ignored": log.ignored,
            "rejected": log.rejected,
            "cut": log.cut,
        },
        "protocol": protocol,
        "learnt_before": trial.plan.train.len(),
        "lists": trial.cases(),
        "k": trial.ks,
        "seed": args.seed,
        "explore": args.explore,
        "resamples": args.resamples,
        "set": args.sets,
        "config": args.config,
    });
    match about {
        Value::Object(about) => about,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let estimate = |mean, low, high| Estimate { mean, low, high, ..Estimate::default() };
        assert_eq!(figure(&estimate(Some(0.07213), Some(0.065), Some(1.0))), "0.0721 (.0650-1.0000)");
        assert_eq!(figure(&estimate(Some(0.5), None, None)), "0.5000");
        assert_eq!(figure(&estimate(None, None, None)), "-");
        assert_eq!(signed(&estimate(Some(0.0012), Some(-0.0003), Some(0.0027))), "+0.0012 (-.0003 +.0027) ");
        assert_eq!(signed(&estimate(Some(-0.02), Some(-0.03), Some(-0.01))), "-0.0200 (-.0300 -.0100)*");
    }
}
