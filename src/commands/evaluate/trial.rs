//! A log, cut by a protocol, put to one system or several at once.

use super::list_metrics::Catalogue;
use super::log::{Log, LogEvent};
use super::progress::Progress;
use super::protocol::{Plan, Steps};
use super::random::{Purpose, Random};
use super::recommenders::{Recommender, TrainingEvent};
use super::scores::SystemScores;
use super::training_stats::TrainingStats;
use crate::stop::Stop;

/// Lists of which what takes long is measured, about.
const SAMPLED: usize = 2_000;

pub(super) struct Trial {
    pub(super) log: Log,
    pub(super) plan: Plan,
    pub(super) ks: Vec<usize>,
    pub(super) seed: u64,
    /// How many places of a list try new items, each number beside the others.
    pub(super) explore: Vec<usize>,
    catalogue: Catalogue,
}

/// What came of it.
pub(super) struct TrialResult {
    /// Of each system.
    pub(super) scores: Vec<SystemScores>,
    /// Users with a case, in the order of the first.
    pub(super) users: Vec<u32>,
    /// Items that were known in the end, or all of the log where new ones are tried.
    pub(super) catalogue: usize,
}

impl Trial {
    pub(super) fn new(log: Log, plan: Plan, ks: Vec<usize>, seed: u64, explore: Vec<usize>) -> Self {
        let catalogue = match plan.steps {
            Steps::Static(_) => {
                Catalogue::new(log.items.len(), plan.train.iter().map(|position| &log.events[*position as usize]))
            }
            Steps::Prequential { .. } => Catalogue::new(log.items.len(), log.events.iter()),
        };
        Trial { log, plan, ks, seed, explore, catalogue }
    }

    /// Lists to be judged.
    pub(super) fn cases(&self) -> usize {
        match &self.plan.steps {
            Steps::Static(cases) => cases.len(),
            Steps::Prequential { from, .. } => self.log.events.len() - from,
        }
    }

    /// The longest list that is looked at.
    pub(super) fn longest(&self) -> usize {
        self.ks.iter().copied().max().unwrap_or_default()
    }

    /// Has all systems predict the same cases. `None`: it was stopped.
    pub(super) fn run(
        &self,
        systems: &mut [&mut dyn Recommender],
        progress: &mut Progress,
        stop: &Stop,
    ) -> Option<TrialResult> {
        let log = &self.log;
        let mut known = TrainingStats::new(log.users.len(), log.items.len());
        let learn =
            |known: &mut TrainingStats, event: &LogEvent| TrainingEvent { event: *event, new: known.learn(event) };
        let train = self.plan.train.iter().map(|position| learn(&mut known, &log.events[*position as usize]));
        let train: Vec<TrainingEvent> = train.collect();
        for system in systems.iter_mut() {
            system.load(&train);
        }
        drop(train);

        let mut scorer = Scorer {
            trial: self,
            scores: systems.iter().map(|_| SystemScores::new(&self.ks, log.items.len())).collect(),
            users: Vec::new(),
            has_case: vec![false; log.users.len()],
            sample: Random::new(self.seed, Purpose::Sample),
            list: Vec::new(),
        };
        match &self.plan.steps {
            Steps::Static(cases) => {
                if let Some(next) = log.events.get(self.plan.train.len()).filter(|_| self.plan.expires) {
                    for system in systems.iter_mut() {
                        system.advance(next.ts);
                    }
                }
                for (done, case) in cases.iter().enumerate() {
                    if stop.is_set() {
                        return None;
                    }
                    scorer.score(systems, case.user, &case.relevant, &known);
                    progress.at(done);
                }
            }
            Steps::Prequential { from, tick } => {
                let mut next = *from;
                while next < log.events.len() {
                    if stop.is_set() {
                        return None;
                    }
                    let events = &log.events[next..next + batch_len(&log.events[next..], *tick)];
                    for system in systems.iter_mut() {
                        system.advance(events[0].ts);
                    }
                    for event in events {
                        scorer.score(systems, event.user, &[event.item], &known);
                    }
                    let learnt: Vec<TrainingEvent> = events.iter().map(|event| learn(&mut known, event)).collect();
                    for system in systems.iter_mut() {
                        system.learn(&learnt);
                    }
                    next += events.len();
                    progress.at(next - from);
                }
            }
        }
        let catalogue = if self.explore.is_empty() { known.catalogue() } else { log.items.len() };
        Some(TrialResult { scores: scorer.scores, users: scorer.users, catalogue })
    }
}

/// How many of the next events may be predicted from one state: at most `tick`, and no user's second event, which is to be
/// predicted from the first.
fn batch_len(events: &[LogEvent], tick: usize) -> usize {
    let mut users = std::collections::HashSet::new();
    events.iter().take(tick).take_while(|event| users.insert(event.user)).count()
}

/// Where lists and deeds meet.
struct Scorer<'t> {
    trial: &'t Trial,
    scores: Vec<SystemScores>,
    users: Vec<u32>,
    has_case: Vec<bool>,
    sample: Random,
    list: Vec<u32>,
}

impl Scorer<'_> {
    fn score(&mut self, systems: &mut [&mut dyn Recommender], user: u32, relevant: &[u32], known: &TrainingStats) {
        if !std::mem::replace(&mut self.has_case[user as usize], true) {
            self.users.push(user);
        }
        // Drawn once for all systems, so that they are compared on the same lists.
        let sampled = self.sample.below(self.trial.cases().max(1)) < SAMPLED;
        for (system, scores) in systems.iter_mut().zip(&mut self.scores) {
            self.list.clear();
            system.list(user, known, &mut self.list);
            scores.scores(user, &self.list, relevant, known, &self.trial.catalogue, sampled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::tests::log;
    use super::*;

    #[test]
    fn a_user_comes_once_into_a_tick() {
        let log = log(&[("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("c", "y", 4)]);
        assert_eq!([1, 2, 3, 9].map(|tick| batch_len(&log.events, tick)), [1, 2, 2, 2]);
        assert_eq!(batch_len(&log.events[1..], 9), 3);
    }
}
