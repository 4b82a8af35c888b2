//! The evaluation loop: recommends, scores and trains one or more systems on the same cases.

use super::list_metrics::Catalogue;
use super::log::{Log, LogEvent};
use super::progress::Progress;
use super::protocol::{Plan, Steps};
use super::random::{Purpose, Random};
use super::recommenders::{Recommender, TrainingEvent};
use super::scores::SystemScores;
use super::training_stats::TrainingStats;
use crate::stop::Stop;

/// Approximate number of lists on which slow list metrics are measured.
const SAMPLE_SIZE: usize = 2_000;

pub(super) struct Trial {
    pub(super) log: Log,
    pub(super) plan: Plan,
    pub(super) ks: Vec<usize>,
    pub(super) seed: u64,
    /// Numbers of positions for new items, one variant each.
    pub(super) explore: Vec<usize>,
    catalogue: Catalogue,
}

/// Result of a trial.
pub(super) struct TrialResult {
    /// Scores by system.
    pub(super) scores: Vec<SystemScores>,
    /// Users with a case, ordered by their first case.
    pub(super) users: Vec<u32>,
    /// Number of items with a training event, or of all items of the log if new items are explored.
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

    /// Number of cases.
    pub(super) fn cases(&self) -> usize {
        match &self.plan.steps {
            Steps::Static(cases) => cases.len(),
            Steps::Prequential { from, .. } => self.log.events.len() - from,
        }
    }

    /// Length of the longest evaluated list.
    pub(super) fn longest(&self) -> usize {
        self.ks.iter().copied().max().unwrap_or_default()
    }

    /// Evaluates all systems on the same cases. `None` if it was stopped.
    pub(super) fn run(
        &self,
        systems: &mut [&mut dyn Recommender],
        progress: &mut Progress,
        stop: &Stop,
    ) -> Option<TrialResult> {
        let log = &self.log;
        let mut training = TrainingStats::new(log.users.len(), log.items.len());
        let train_one =
            |training: &mut TrainingStats, event: &LogEvent| TrainingEvent { event: *event, new: training.add(event) };
        let train = self.plan.train.iter().map(|position| train_one(&mut training, &log.events[*position as usize]));
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
                    scorer.score(systems, case.user, &case.relevant, &training);
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
                        scorer.score(systems, event.user, &[event.item], &training);
                    }
                    let events: Vec<TrainingEvent> =
                        events.iter().map(|event| train_one(&mut training, event)).collect();
                    for system in systems.iter_mut() {
                        system.update(&events);
                    }
                    next += events.len();
                    progress.at(next - from);
                }
            }
        }
        let catalogue = if self.explore.is_empty() { training.item_count() } else { log.items.len() };
        Some(TrialResult { scores: scorer.scores, users: scorer.users, catalogue })
    }
}

/// Number of the next events that may be predicted from one state: at most `tick`, and only one of each user, because the
/// second depends on the first.
fn batch_len(events: &[LogEvent], tick: usize) -> usize {
    let mut users = std::collections::HashSet::new();
    events.iter().take(tick).take_while(|event| users.insert(event.user)).count()
}

/// Scores the lists of all systems.
struct Scorer<'t> {
    trial: &'t Trial,
    scores: Vec<SystemScores>,
    users: Vec<u32>,
    has_case: Vec<bool>,
    sample: Random,
    list: Vec<u32>,
}

impl Scorer<'_> {
    fn score(&mut self, systems: &mut [&mut dyn Recommender], user: u32, relevant: &[u32], training: &TrainingStats) {
        if !std::mem::replace(&mut self.has_case[user as usize], true) {
            self.users.push(user);
        }
        // One draw for all systems, so that all are measured on the same lists.
        let sampled = self.sample.below(self.trial.cases().max(1)) < SAMPLE_SIZE;
        for (system, scores) in systems.iter_mut().zip(&mut self.scores) {
            self.list.clear();
            system.recommend(user, training, &mut self.list);
            scores.add(user, &self.list, relevant, training, &self.trial.catalogue, sampled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::tests::log;
    use super::*;

    #[test]
    fn a_batch_has_one_event_per_user() {
        let log = log(&[("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("c", "y", 4)]);
        assert_eq!([1, 2, 3, 9].map(|tick| batch_len(&log.events, tick)), [1, 2, 2, 2]);
        assert_eq!(batch_len(&log.events[1..], 9), 3);
    }
}
