//! Three that know nothing of tastes. None recommends what its user has touched before.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use dataflows::ItemId;

use super::super::random::{Purpose, Random};
use super::super::training_stats::TrainingStats;
use super::{Recommender, TrainingEvent};

/// Items by a number that changes, the largest first, equal ones by id.
struct RankedItems {
    ids: Vec<ItemId>,
    of: HashMap<u32, u64>,
    order: BTreeSet<(Reverse<u64>, ItemId, u32)>,
    length: usize,
}

impl RankedItems {
    fn new(ids: &[ItemId], length: usize) -> Self {
        RankedItems { ids: ids.to_vec(), of: HashMap::new(), order: BTreeSet::new(), length }
    }

    fn set(&mut self, item: u32, to: impl FnOnce(u64) -> u64) {
        let number = self.of.entry(item).or_default();
        let id = self.ids[item as usize];
        self.order.remove(&(Reverse(*number), id, item));
        *number = to(*number);
        self.order.insert((Reverse(*number), id, item));
    }

    fn list(&self, user: u32, known: &TrainingStats, into: &mut Vec<u32>) {
        let unseen = self.order.iter().map(|(_, _, item)| *item).filter(|item| !known.touched(user, *item));
        into.extend(unseen.take(self.length));
    }
}

/// What most users have touched.
pub(in super::super) struct Popularity(RankedItems);

impl Popularity {
    pub(in super::super) fn new(ids: &[ItemId], length: usize) -> Self {
        Popularity(RankedItems::new(ids, length))
    }
}

impl Recommender for Popularity {
    fn list(&mut self, user: u32, known: &TrainingStats, into: &mut Vec<u32>) {
        self.0.list(user, known, into);
    }

    fn learn(&mut self, events: &[TrainingEvent]) {
        for learnt in events.iter().filter(|learnt| learnt.new) {
            self.0.set(learnt.event.item, |users| users + 1);
        }
    }
}

/// What was touched last by anybody.
pub(in super::super) struct Recency {
    board: RankedItems,
    learnt: u64,
}

impl Recency {
    pub(in super::super) fn new(ids: &[ItemId], length: usize) -> Self {
        Recency { board: RankedItems::new(ids, length), learnt: 0 }
    }
}

impl Recommender for Recency {
    fn list(&mut self, user: u32, known: &TrainingStats, into: &mut Vec<u32>) {
        self.board.list(user, known, into);
    }

    fn learn(&mut self, events: &[TrainingEvent]) {
        for TrainingEvent { event, .. } in events {
            self.learnt += 1;
            self.board.set(event.item, |_| self.learnt);
        }
    }
}

/// Any items, drawn anew for each list.
pub(in super::super) struct RandomItems {
    random: Random,
    /// Items that were touched by anybody.
    pool: Vec<u32>,
    is_in: Vec<bool>,
    length: usize,
}

impl RandomItems {
    pub(in super::super) fn new(seed: u64, items: usize, length: usize) -> Self {
        RandomItems {
            random: Random::new(seed, Purpose::Baseline),
            pool: Vec::new(),
            is_in: vec![false; items],
            length,
        }
    }
}

impl Recommender for RandomItems {
    fn list(&mut self, user: u32, known: &TrainingStats, into: &mut Vec<u32>) {
        // The first draws of Fisher and Yates; the order of the pool is of no account.
        let mut left = self.pool.len();
        while into.len() < self.length && left > 0 {
            let drawn = self.random.below(left);
            left -= 1;
            self.pool.swap(drawn, left);
            let item = self.pool[left];
            if !known.touched(user, item) {
                into.push(item);
            }
        }
    }

    fn learn(&mut self, events: &[TrainingEvent]) {
        for TrainingEvent { event, .. } in events {
            if !std::mem::replace(&mut self.is_in[event.item as usize], true) {
                self.pool.push(event.item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::log::tests::log;
    use super::*;

    /// What a recommender says to a user after a log in which c has touched x, y and z; a, b x; and a y last.
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
        let mut known = TrainingStats::new(4, 3);
        for event in &log.events {
            let new = known.learn(event);
            recommender.learn(&[TrainingEvent { event: *event, new }]);
        }
        let mut list = Vec::new();
        recommender.list(user, &known, &mut list);
        list
    }

    const IDS: [ItemId; 3] = [30, 10, 20];
    const NOBODY: u32 = 3;

    #[test]
    fn popularity_counts_users_and_recency_is_the_last_touch() {
        // Numbers: z 0, x 1, y 2; c 0, a 1, b 2.
        assert_eq!(list_of(&mut Popularity::new(&IDS, 9), NOBODY), [1, 2, 0]);
        assert_eq!(list_of(&mut Popularity::new(&IDS, 9), 1), [0], "a has touched x and y");
        assert_eq!(list_of(&mut Popularity::new(&IDS, 1), 2), [2]);
        assert_eq!(list_of(&mut Recency::new(&IDS, 9), NOBODY), [2, 1, 0]);
        assert_eq!(list_of(&mut Recency::new(&IDS, 9), 2), [2, 0]);
    }

    #[test]
    fn random_items_are_different_unseen_and_all_as_likely() {
        assert_eq!(list_of(&mut RandomItems::new(1, 3, 9), 1), [0]);
        let mut first = [0; 3];
        for seed in 0..3_000 {
            let list = list_of(&mut RandomItems::new(seed, 3, 2), NOBODY);
            assert!(list.len() == 2 && list[0] != list[1]);
            first[list[0] as usize] += 1;
        }
        assert!(first.iter().all(|count| (900..1_100).contains(count)), "{first:?}");
    }
}
