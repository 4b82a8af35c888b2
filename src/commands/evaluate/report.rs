//! The report: tables and JSON.

mod heading;

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::EvaluateArgs;
use super::bootstrap::{Bootstrap, Estimate, Tally};
use super::list_metrics::{LIST_METRICS, TAG_DIVERSITY};
use super::metrics::METRICS;
use super::protocol::Protocol;
use super::scores::{ItemGroup, MAIN, SystemScores};
use super::settings::Setting;
use super::trial::{Trial, TrialResult};
use crate::commands::table::Table;
use crate::config;
use crate::engine::grouped;

/// Estimates of one system.
pub(super) struct System {
    pub(super) name: String,
    /// Swept settings as `key=value`.
    sets: Vec<String>,
    /// Scores by group of relevant items.
    groups: Vec<GroupScores>,
    /// Share of users with a list, then the list metrics at each k.
    lists: Vec<Estimate>,
    /// Coverage at each k.
    coverage: Vec<f64>,
}

/// Estimates of one group of relevant items.
struct GroupScores {
    cases: u64,
    users: usize,
    /// Estimates of each metric at each k.
    estimates: Vec<Estimate>,
}

impl System {
    /// The systems of one trial. `names` has the name and the swept settings of each.
    pub(super) fn all<'n>(
        names: impl IntoIterator<Item = (&'n str, &'n [String])>,
        trial: TrialResult,
        bootstrap: &Bootstrap,
    ) -> Vec<Self> {
        let TrialResult { scores, users, catalogue } = trial;
        let system = |((name, sets), scores): ((&str, &[String]), SystemScores)| {
            let tallies: Vec<_> = scores.groups.iter().chain([&scores.lists]).collect();
            let mut estimates = bootstrap.estimates(&users, &tallies);
            let lists = estimates.pop().expect("one for each tally");
            let group_scores = |(tally, estimates): (&Tally, Vec<Estimate>)| GroupScores {
                cases: tally.cases(),
                users: tally.users().len(),
                estimates,
            };
            System {
                name: name.to_owned(),
                sets: sets.to_vec(),
                groups: scores.groups.iter().zip(estimates).map(group_scores).collect(),
                lists,
                coverage: scores.coverage.shares(catalogue),
            }
        };
        names.into_iter().zip(scores).map(system).collect()
    }
}

pub(super) struct Report {
    /// Settings of the graph, then the baselines.
    pub(super) systems: Vec<System>,
    pub(super) ks: Vec<usize>,
    /// Length at which systems are compared: `graph.k` if it is evaluated, otherwise the longest.
    pub(super) at: usize,
    /// Description of the log and the protocol.
    heading: String,
    /// Groups of relevant items.
    item_groups: &'static [ItemGroup],
    /// Number of baselines, the last of the systems.
    pub(super) baselines: usize,
    /// Items of the main results.
    pub(super) relevant: &'static str,
    /// Whether there is a catalogue with the tags of items.
    has_tags: bool,
    /// Whether each case has one relevant item, so that recall equals the hit rate.
    single: bool,
    about: Value,
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
            heading: heading::heading(args, protocol, trial, settings),
            item_groups: trial.groups(),
            baselines: args.distinct_baselines().len(),
            relevant: if args.repeats { "all items" } else { "new items" },
            has_tags: trial.items.is_some(),
            single: protocol.is_single(),
            about: about(args, protocol, trial),
            systems,
            ks,
            at,
        }
    }

    /// Estimate of a metric on the items of the main results.
    pub(super) fn estimate(&self, system: usize, metric: usize, k: usize) -> &Estimate {
        &self.systems[system].groups[MAIN].estimates[self.column(metric, k)]
    }

    fn column(&self, measure: usize, k: usize) -> usize {
        measure * self.ks.len() + self.ks.iter().position(|other| *other == k).expect("an evaluated length")
    }

    pub(super) fn tables(&self) -> String {
        let mut text = format!("{}\n", self.heading);
        let mut add = |title: String, table: Table| {
            write!(text, "\n{title}\n{table}").expect("writing to a string does not fail");
        };
        add(format!("{} (mean and 95% interval)", self.relevant), self.qualities());
        add(format!("properties of lists of {}", self.at), self.list_properties());
        add(format!("hit rate at {} by group of items", self.at), self.groups());
        if self.systems.len() > 1 {
            let title = format!("difference to {} at {} (* the interval excludes 0)", self.systems[0].name, self.at);
            add(title, self.differences());
        }
        text
    }

    /// Metrics of the tables; without recall where it equals the hit rate.
    fn displayed_metrics(&self) -> impl Iterator<Item = (usize, &'static str)> + '_ {
        let titles = METRICS.iter().map(|metric| metric.title).enumerate();
        titles.filter(|(_, title)| !(self.single && *title == "recall"))
    }

    fn qualities(&self) -> Table {
        let mut header = vec!["k", "system"];
        header.extend(self.displayed_metrics().map(|(_, title)| title));
        let mut table = Table::new(header);
        for k in &self.ks {
            for (at, system) in self.systems.iter().enumerate() {
                let cells = self.displayed_metrics().map(|(metric, _)| figure(self.estimate(at, metric, *k)));
                table.row([k.to_string(), system.name.clone()].into_iter().chain(cells));
            }
        }
        table
    }

    fn list_properties(&self) -> Table {
        let of_tags = self.has_tags.then_some("tag diversity");
        let header = ["system", "coverage", "popularity", "diversity"].into_iter().chain(of_tags);
        let mut table = Table::new(header.chain(["has a list"]));
        let k = self.ks.iter().position(|k| *k == self.at).expect("an evaluated length");
        for system in &self.systems {
            let properties = self.list_metrics().map(|(metric, _)| figure(self.list_estimate(system, metric)));
            let coverage = format!("{:.4}", system.coverage[k]);
            let answered = system.lists[0].mean.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
            table.row([system.name.clone(), coverage].into_iter().chain(properties).chain([answered]));
        }
        table
    }

    /// The metrics of lists that are defined, with their places.
    fn list_metrics(&self) -> impl Iterator<Item = (usize, &'static str)> + '_ {
        let names = LIST_METRICS.iter().map(|metric| metric.name).enumerate();
        names.filter(|(_, name)| self.has_tags || *name != TAG_DIVERSITY)
    }

    fn list_estimate<'s>(&self, system: &'s System, metric: usize) -> &'s Estimate {
        &system.lists[1 + self.column(metric, self.at)]
    }

    /// Tag diversity of the lists of a system at the length of comparison, if there is a catalogue.
    pub(super) fn tag_diversity(&self, system: usize) -> Option<&Estimate> {
        let (metric, _) = self.list_metrics().find(|(_, name)| *name == TAG_DIVERSITY)?;
        Some(self.list_estimate(&self.systems[system], metric))
    }

    fn groups(&self) -> Table {
        // The first setting, its blended variants and the baselines; more would not fit.
        let sets = &self.systems[0].sets;
        let systems: Vec<&System> =
            self.systems.iter().filter(|system| system.sets == *sets || system.sets.is_empty()).collect();
        let mut header = vec!["items taken", "lists", "users"];
        header.extend(systems.iter().map(|system| system.name.as_str()));
        let mut table = Table::new(header);
        for (at, group) in self.item_groups.iter().enumerate() {
            let scores = &self.systems[0].groups[at];
            let rates = systems.iter().map(|system| {
                let estimate = &system.groups[at].estimates[self.column(0, self.at)];
                estimate.mean.map_or("-".into(), |mean| format!("{mean:.4}"))
            });
            let counts = [group.title.to_owned(), grouped(scores.cases), grouped(scores.users as u64)];
            table.row(counts.into_iter().chain(rates));
        }
        table
    }

    fn differences(&self) -> Table {
        let mut header = vec!["system"];
        header.extend(self.displayed_metrics().map(|(_, title)| title));
        let mut table = Table::new(header);
        for (at, system) in self.systems.iter().enumerate().skip(1) {
            let cells = self.displayed_metrics().map(|(metric, _)| signed(&self.difference(at, metric)));
            table.row([system.name.clone()].into_iter().chain(cells));
        }
        table
    }

    /// Difference to the first system at the length of comparison.
    fn difference(&self, system: usize, metric: usize) -> Estimate {
        self.estimate(system, metric, self.at).minus(self.estimate(0, metric, self.at))
    }

    pub(super) fn json(&self) -> Value {
        let at_each_k = |names: &[&str], estimates: &[Estimate]| -> Map<String, Value> {
            let names = names.iter().flat_map(|name| self.ks.iter().map(move |k| format!("{name}@{k}")));
            names.zip(estimates).map(|(name, estimate)| (name, json!(estimate))).collect()
        };
        let metrics: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        let list_metrics: Vec<&str> = self.list_metrics().map(|(_, name)| name).collect();
        let system = |(at, system): (usize, &System)| {
            let groups = self.item_groups.iter().zip(&system.groups).map(|(group, scores)| {
                let figures = at_each_k(&metrics, &scores.estimates);
                (group.name.to_owned(), json!({"lists": scores.cases, "users": scores.users, "metrics": figures}))
            });
            let mut lists = at_each_k(&list_metrics, &system.lists[1..]);
            lists.insert("answered".into(), json!(system.lists[0]));
            lists
                .extend(self.ks.iter().zip(&system.coverage).map(|(k, share)| (format!("coverage@{k}"), json!(share))));
            let differences = METRICS
                .iter()
                .enumerate()
                .map(|(index, metric)| (format!("{}@{}", metric.name, self.at), json!(self.difference(at, index))));
            json!({
                "name": system.name,
                "set": system.sets,
                "items": groups.collect::<Map<_, _>>(),
                "lists": lists,
                "difference_to_first": differences.collect::<Map<_, _>>(),
            })
        };
        let mut report = self.about.clone();
        report["systems"] = self.systems.iter().enumerate().map(system).collect();
        report
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
            let mark = if low > 0.0 || high < 0.0 { "*" } else { " " };
            format!("{mean:+.4} ({} {}){mark}", short(low), short(high))
        }
        _ => format!("{mean:+.4}"),
    }
}

fn about(args: &EvaluateArgs, protocol: Protocol, trial: &Trial) -> Value {
    let log = &trial.log;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "log": {
            "events": log.events.len(),
            "users": log.users.len(),
            "items": log.items.len(),
            "first_ms": log.events.first().map(|event| event.ts),
            "last_ms": log.events.last().map(|event| event.ts),
            "retractions": log.retractions,
            "skips": log.skips,
            "ignored": log.ignored,
            "rejected": log.rejected,
            "cut": log.cut,
            "tied_users": log.tied_users,
        },
        "protocol": protocol,
        "repeats": args.repeats,
        "learnt_before": trial.plan.train.len(),
        "left_out": trial.plan.left_out(),
        "lists": trial.cases(),
        "k": trial.ks,
        "seed": args.seed,
        "explore": args.explore,
        "resamples": args.resamples,
        "set": args.sets.iter().map(|set| config::public_set(set)).collect::<Vec<_>>(),
        "config": args.config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_estimates() {
        let estimate = |mean, low, high| Estimate { mean, low, high, ..Estimate::default() };
        assert_eq!(figure(&estimate(Some(0.07213), Some(0.065), Some(1.0))), "0.0721 (.0650-1.0000)");
        assert_eq!(figure(&estimate(Some(0.5), None, None)), "0.5000");
        assert_eq!(figure(&estimate(None, None, None)), "-");
        assert_eq!(signed(&estimate(Some(0.0012), Some(-0.0003), Some(0.0027))), "+0.0012 (-.0003 +.0027) ");
        assert_eq!(signed(&estimate(Some(-0.02), Some(-0.03), Some(-0.01))), "-0.0200 (-.0300 -.0100)*");
    }
}
