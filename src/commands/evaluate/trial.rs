//! The evaluation loop: recommends, scores and trains one or more systems on the same cases.

use std::collections::{HashMap, HashSet};

use dataflows::{ItemRecord, tags_after};

use super::list_metrics::Catalogue;
use super::log::{Log, LogEvent, OtherEvent};
use super::progress::Progress;
use super::protocol::{Plan, Steps, Timeline};
use super::random::{Purpose, Random};
use super::recommenders::{Recommender, TrainingEvent};
use super::scores::{ItemGroup, SystemScores, item_groups};
use super::training_stats::TrainingStats;
use crate::stop::Stop;

/// Approximate number of lists on which slow list metrics are measured.
const SAMPLE_SIZE: usize = 2_000;

/// Largest number of events without a case between them that are learnt together.
const LEARNT_TOGETHER: usize = 50_000;

pub(super) struct Trial {
    pub(super) log: Log,
    pub(super) plan: Plan,
    pub(super) ks: Vec<usize>,
    pub(super) seed: u64,
    /// Numbers of positions for new items, one variant each.
    pub(super) explore: Vec<usize>,
    /// Whether repeats are ordinary cases.
    pub(super) repeats: bool,
    /// Records of the catalogue; `None` without one.
    pub(super) items: Option<Vec<ItemRecord>>,
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
    pub(super) fn new(log: Log, plan: Plan, ks: Vec<usize>, seed: u64, explore: Vec<usize>, repeats: bool) -> Self {
        let catalogue = Catalogue::new(log.items.len(), plan.learnt(&log));
        Trial { log, plan, ks, seed, explore, repeats, items: None, catalogue }
    }

    /// With a catalogue, of which only items are recommended. Tags are those after all records.
    pub(super) fn with_items(mut self, records: Vec<ItemRecord>) -> Self {
        let by_item = tags_after(&records);
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut tags = Vec::with_capacity(self.log.items.len());
        for item in &self.log.items {
            let mut of_item: Vec<u32> = Vec::new();
            for tag in by_item.get(item).into_iter().flatten() {
                let next = u32::try_from(numbers.len()).expect("fewer tags than 2^32");
                of_item.push(*numbers.entry(tag).or_insert(next));
            }
            of_item.sort_unstable();
            tags.push(of_item);
        }
        self.catalogue = self.catalogue.with_tags(tags);
        self.items = Some(records);
        self
    }

    /// Number of cases.
    pub(super) fn cases(&self) -> usize {
        self.plan.cases()
    }

    /// Groups of relevant items with results.
    pub(super) fn groups(&self) -> &'static [ItemGroup] {
        item_groups(self.repeats)
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
        let mut training = TrainingStats::new(log.users.len(), log.items.len(), self.repeats);
        let train = self.plan.train.iter().map(|position| &log.events[*position as usize]);
        let train = learn(&mut training, train);
        let (before, later) = log.others.split_at(self.plan.others_before(log));
        let before = self.plan.known(before);
        for system in systems.iter_mut() {
            system.take_others(&before);
            system.load(&train);
        }
        drop((train, before));

        let mut scorer = Scorer {
            trial: self,
            cases: self.cases(),
            scores: systems.iter().map(|_| SystemScores::new(&self.ks, log.items.len(), self.groups())).collect(),
            users: Vec::new(),
            has_case: vec![false; log.users.len()],
            sample: Random::new(self.seed, Purpose::Sample),
            list: Vec::new(),
        };
        match &self.plan.steps {
            Steps::AtOnce { cases, at } => {
                if let Some(at) = at {
                    for system in systems.iter_mut() {
                        system.advance(*at);
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
            Steps::InTime(timeline) => {
                let mut done = 0;
                for batch in batches(timeline, log, later) {
                    if stop.is_set() {
                        return None;
                    }
                    let others = self.plan.known(batch.others);
                    for system in systems.iter_mut() {
                        system.take_others(&others);
                    }
                    if let Some((first, _)) = batch.cases.first() {
                        for system in systems.iter_mut() {
                            system.advance(first.ts);
                        }
                    }
                    for (event, relevant) in &batch.cases {
                        scorer.score(systems, event.user, relevant, &training);
                    }
                    let events = learn(&mut training, batch.learnt.iter().copied());
                    for system in systems.iter_mut() {
                        system.update(&events);
                    }
                    done += batch.cases.len();
                    progress.at(done);
                }
            }
        }
        let catalogue = if self.explore.is_empty() { training.item_count() } else { log.items.len() };
        Some(TrialResult { scores: scorer.scores, users: scorer.users, catalogue })
    }
}

fn learn<'e>(training: &mut TrainingStats, events: impl Iterator<Item = &'e LogEvent>) -> Vec<TrainingEvent> {
    events.map(|event| TrainingEvent { event: *event, new: training.add(event) }).collect()
}

/// Cases predicted from one state, and the events learnt after them.
#[derive(Default)]
struct StateBatch<'l> {
    /// First event and relevant items of each case, in the order of time.
    cases: Vec<(&'l LogEvent, &'l [u32])>,
    learnt: Vec<&'l LogEvent>,
    /// Events without a level since the last state, before the first case.
    others: &'l [OtherEvent],
}

/// Cuts a timeline before each case that needs a newer state: the state misses at most `tick - 1` events before a case, and
/// none of its user's, because the second case of a user depends on the first. `others`: the events without a level after the
/// training events.
fn batches<'l>(
    timeline: &'l Timeline,
    log: &'l Log,
    mut others: &'l [OtherEvent],
) -> impl Iterator<Item = StateBatch<'l>> {
    let mut steps = timeline.steps(log).peekable();
    let mut users = HashSet::new();
    std::iter::from_fn(move || {
        let mut batch = StateBatch::default();
        users.clear();
        let start = steps.peek()?.event.ts;
        (batch.others, others) = others.split_at(others.partition_point(|event| event.ts < start));
        let mut later = others.iter().peekable();
        while let Some(step) = steps.next_if(|next| {
            let learnt = batch.learnt.len();
            // What a user did without a level is in the state of the user's next case, too.
            while let Some(event) = later.next_if(|event| event.ts < next.event.ts) {
                users.insert(event.user);
            }
            match next.relevant {
                // Without a case, a new state is needed only to bound the memory.
                [] => learnt < LEARNT_TOGETHER.max(timeline.tick),
                _ => {
                    learnt == 0
                        || !batch.cases.is_empty() && learnt < timeline.tick && !users.contains(&next.event.user)
                }
            }
        }) {
            if !step.relevant.is_empty() {
                batch.cases.push((step.event, step.relevant));
            }
            batch.learnt.push(step.event);
            users.insert(step.event.user);
        }
        (!batch.learnt.is_empty()).then_some(batch)
    })
}

/// Scores the lists of all systems.
struct Scorer<'t> {
    trial: &'t Trial,
    /// Number of cases.
    cases: usize,
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
        let sampled = self.sample.below(self.cases.max(1)) < SAMPLE_SIZE;
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
    use super::super::protocol::{Cut, Protocol};
    use super::*;

    /// Times of the cases and of the learnt events of each batch.
    fn times(log: &Log, protocol: Protocol) -> Vec<(Vec<u64>, Vec<u64>)> {
        let plan = protocol.plan(log);
        let Steps::InTime(timeline) = &plan.steps else { panic!("not in time") };
        let times = |batch: StateBatch<'_>| {
            let cases = batch.cases.iter().map(|(event, _)| event.ts).collect();
            (cases, batch.learnt.iter().map(|event| event.ts).collect())
        };
        batches(timeline, log, &log.others).map(times).collect()
    }

    #[test]
    fn a_batch_has_one_event_per_user() {
        let log = log(&[("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("c", "y", 4)]);
        let lens = |from, tick| -> Vec<usize> {
            let batches = times(&log, Protocol::Prequential { from, tick });
            assert!(batches.iter().all(|(cases, learnt)| cases == learnt));
            batches.iter().map(|(cases, _)| cases.len()).collect()
        };
        assert_eq!(lens(Cut::Share(0.0), 1), [1, 1, 1, 1]);
        assert_eq!(lens(Cut::Share(0.0), 2), [2, 2]);
        assert_eq!(lens(Cut::Share(0.0), 9), [2, 2]);
        assert_eq!(lens(Cut::At(2), 9), [3]);
    }

    /// Events without a case do not cost a state of their own, but are in the state of the next case.
    #[test]
    fn events_without_a_case_are_learnt_together_before_the_next_case() {
        let log = log(&[("a", "x", 1), ("b", "x", 2), ("c", "y", 3), ("a", "y", 4), ("b", "y", 5), ("c", "z", 6)]);
        let batches = |tick| times(&log, Protocol::Sessions { from: Cut::Share(0.0), tick });
        let first = (vec![], vec![1, 2, 3]);
        assert_eq!(batches(1), [first.clone(), (vec![4], vec![4]), (vec![5], vec![5]), (vec![6], vec![6])]);
        assert_eq!(batches(2), [first.clone(), (vec![4, 5], vec![4, 5]), (vec![6], vec![6])]);
        assert_eq!(batches(9), [first, (vec![4, 5, 6], vec![4, 5, 6])]);
    }
}
