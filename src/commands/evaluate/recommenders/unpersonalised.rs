//! Baselines without personalisation. They leave out only what their user has touched, or is at.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use dataflows::types::ItemId;

use super::super::random::{Purpose, Random};
use super::super::training_stats::TrainingStats;
use super::{Recommender, TrainingEvent};

/// Recommends the items with the highest score; ties are ordered by id.
pub(super) struct RankedItems {
    ids: Vec<ItemId>,
    scores: HashMap<u32, u64>,
    order: BTreeSet<(Reverse<u64>, ItemId, u32)>,
    length: usize,
    /// Number of events so far.
    events: u64,
    /// Score of the item of an event, from its earlier score and the number of events so far.
    score: fn(&TrainingEvent, u64, u64) -> u64,
}

impl RankedItems {
    /// Items by number of users.
    pub(super) fn popularity(ids: &[ItemId], length: usize) -> Self {
        Self::new(ids, length, |event, users, _| users + u64::from(event.new))
    }

    /// Items by time of the last event.
    pub(super) fn recency(ids: &[ItemId], length: usize) -> Self {
        Self::new(ids, length, |_, _, events| events)
    }

    fn new(ids: &[ItemId], length: usize, score: fn(&TrainingEvent, u64, u64) -> u64) -> Self {
        RankedItems { ids: ids.to_vec(), scores: HashMap::new(), order: BTreeSet::new(), length, events: 0, score }
    }
}

impl Recommender for RankedItems {
    fn recommend(&mut self, user: u32, training: &TrainingStats, into: &mut Vec<u32>) {
        let unseen = self.order.iter().map(|(_, _, item)| *item).filter(|item| training.may_recommend(user, *item));
        into.extend(unseen.take(self.length));
    }

    fn update(&mut self, events: &[TrainingEvent]) {
        for event in events {
            self.events += 1;
            let item = event.event.item;
            let (id, score) = (self.ids[item as usize], self.scores.entry(item).or_default());
            self.order.remove(&(Reverse(*score), id, item));
            *score = (self.score)(event, *score, self.events);
            self.order.insert((Reverse(*score), id, item));
        }
    }
}

/// Random items, drawn again for each list.
pub(super) struct RandomItems {
    random: Random,
    /// Items with an event.
    pool: Vec<u32>,
    in_pool: Vec<bool>,
    length: usize,
}

impl RandomItems {
    pub(super) fn new(seed: u64, items: usize, length: usize) -> Self {
        RandomItems {
            random: Random::new(seed, Purpose::Baseline),
            pool: Vec::new(),
            in_pool: vec![false; items],
            length,
        }
    }
}

impl Recommender for RandomItems {
    fn recommend(&mut self, user: u32, training: &TrainingStats, into: &mut Vec<u32>) {
        // A partial Fisher-Yates shuffle.
        let mut left = self.pool.len();
        while into.len() < self.length && left > 0 {
            let drawn = self.random.below(left);
            left -= 1;
            self.pool.swap(drawn, left);
            let item = self.pool[left];
            if training.may_recommend(user, item) {
                into.push(item);
            }
        }
    }

    fn update(&mut self, events: &[TrainingEvent]) {
        for TrainingEvent { event, .. } in events {
            if !std::mem::replace(&mut self.in_pool[event.item as usize], true) {
                self.pool.push(event.item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::log::tests::log;
    use super::*;

    /// The list of a user after a log in which c has touched x, y and z; a and b x; and a y last.
    fn list_of(recommender: &mut impl Recommender, user: u32) -> Vec<u32> {
        let log = log(&[
            ("c", "z", 1),
            ("c", "x", 1),
            ("c", "x", 2),
            ("a", "x", 3),
            ("c", "y", 4),
            ("b", "x", 5),
            ("a", "y", 6),
        ]);
        let mut training = TrainingStats::new(4, 3, false);
        for event in &log.events {
            let new = training.add(event);
            recommender.update(&[TrainingEvent { event: *event, new }]);
        }
        let mut list = Vec::new();
        recommender.recommend(user, &training, &mut list);
        list
    }

    const IDS: [ItemId; 3] = [30, 10, 20];
    const NEW_USER: u32 = 3;

    #[test]
    fn popularity_counts_users_and_recency_is_the_last_event() {
        // Numbers: z 0, x 1, y 2; c 0, a 1, b 2.
        assert_eq!(list_of(&mut RankedItems::popularity(&IDS, 9), NEW_USER), [1, 2, 0]);
        assert_eq!(list_of(&mut RankedItems::popularity(&IDS, 9), 1), [0], "a has touched x and y");
        assert_eq!(list_of(&mut RankedItems::popularity(&IDS, 1), 2), [2]);
        assert_eq!(list_of(&mut RankedItems::recency(&IDS, 9), NEW_USER), [2, 1, 0]);
        assert_eq!(list_of(&mut RankedItems::recency(&IDS, 9), 2), [2, 0]);
    }

    #[test]
    fn random_items_are_distinct_unseen_and_uniform() {
        assert_eq!(list_of(&mut RandomItems::new(1, 3, 9), 1), [0]);
        let mut first = [0; 3];
        for seed in 0..3_000 {
            let list = list_of(&mut RandomItems::new(seed, 3, 2), NEW_USER);
            assert!(list.len() == 2 && list[0] != list[1]);
            first[list[0] as usize] += 1;
        }
        assert!(first.iter().all(|count| (900..1_100).contains(count)), "{first:?}");
    }
}
