//! Who is looked after, what they are recommended.

use std::cmp::Reverse;

use dataflows::{Config, ItemId, Level, Scored, UserId};

use super::names::Users;
use super::rows::Rows;

const NOBODY: u32 = u32::MAX;

/// A user in the audience.
struct Viewer {
    user: u32,
    /// The profile or the history may have changed in this batch.
    touched: bool,
    /// The items of the history, newest first.
    items: Vec<u32>,
    /// What the newest of them weigh.
    weights: Vec<u32>,
    /// The items last told, best first.
    list: Vec<u32>,
}

impl Viewer {
    /// Items and weights.
    fn profile(&self) -> impl Iterator<Item = (u32, u32)> {
        self.items.iter().copied().zip(self.weights.iter().copied())
    }
}

/// A total with this bit belongs to an item in the history.
const SEEN: u32 = 1 << 31;

/// The audience.
pub(crate) struct Viewers {
    viewers: Vec<Viewer>,
    /// Of each user the position in `viewers`.
    positions: Vec<u32>,
    /// Lists that are empty because their users left.
    left: Vec<u32>,
    /// Of each item how many profiles it is in.
    interest: Vec<u32>,
    /// Items whose interest was or became none in this batch, and whether it was some at the batch's start.
    interesting: Vec<u32>,
    before: Vec<bool>,
    /// Totals of one list, zero in between, and the items that have one.
    totals: Vec<u32>,
    reached: Box<[u32]>,
    best: Vec<(u32, u32)>,
    changes: Vec<(UserId, Vec<Scored>)>,
    /// Of each rank what it weighs.
    stairs: Vec<u32>,
    k: usize,
    weight: i64,
}

impl Viewers {
    pub(crate) fn new(config: &Config) -> Self {
        let stairs: Vec<u32> =
            (0..config.stairs.last().copied().unwrap_or(0)).map(|rank| config.rank_weight(rank)).collect();
        let largest: u64 = stairs.iter().map(|stair| u64::from(*stair) * 15 * 1024).sum();
        assert!(largest < u64::from(SEEN), "totals are 31 bits");
        Viewers {
            viewers: Vec::new(),
            positions: Vec::new(),
            left: Vec::new(),
            interest: Vec::new(),
            interesting: Vec::new(),
            before: Vec::new(),
            totals: Vec::new(),
            reached: Box::default(),
            best: Vec::new(),
            changes: Vec::new(),
            stairs,
            k: config.k,
            weight: config.sources.items.into(),
        }
    }

    pub(crate) fn grow(&mut self, items: usize) {
        self.interest.resize(items, 0);
        self.before.resize(items, false);
        self.totals.resize(items, 0);
        if self.reached.len() <= items {
            // One more than can be, as the next place is always written to.
            self.reached = vec![0; items + 1].into();
        }
    }

    /// A user was touched: whether it is in the audience, and its interactions, newest first.
    pub(crate) fn update(&mut self, user: u32, inside: bool, interactions: impl Iterator<Item = (u32, Level)>) {
        if self.positions.len() <= user as usize {
            self.positions.resize(user as usize + 1, NOBODY);
        }
        let mut position = self.positions[user as usize];
        if !inside {
            if position != NOBODY {
                self.leave(position);
            }
            return;
        }
        if position == NOBODY {
            position = self.viewers.len() as u32;
            self.positions[user as usize] = position;
            self.viewers.push(Viewer { user, touched: true, items: Vec::new(), weights: Vec::new(), list: Vec::new() });
        }
        let viewer = &mut self.viewers[position as usize];
        viewer.touched = true;
        let (mut items, mut weights) = (std::mem::take(&mut viewer.items), std::mem::take(&mut viewer.weights));
        let known = weights.len();
        items[..known].iter().for_each(|item| self.lose_interest(*item));
        items.clear();
        weights.clear();
        for (rank, (item, level)) in interactions.enumerate() {
            items.push(item);
            weights.extend(self.stairs.get(rank).map(|stair| u32::from(level) * stair));
        }
        items[..weights.len()].iter().for_each(|item| self.take_interest(*item));
        let viewer = &mut self.viewers[position as usize];
        (viewer.items, viewer.weights) = (items, weights);
    }

    fn leave(&mut self, position: u32) {
        let viewer = self.viewers.swap_remove(position as usize);
        self.positions[viewer.user as usize] = NOBODY;
        if let Some(moved) = self.viewers.get(position as usize) {
            self.positions[moved.user as usize] = position;
        }
        viewer.profile().for_each(|(item, _)| self.lose_interest(item));
        if !viewer.list.is_empty() {
            self.left.push(viewer.user);
        }
    }

    fn take_interest(&mut self, item: u32) {
        let interest = &mut self.interest[item as usize];
        *interest += 1;
        if *interest == 1 {
            self.interesting.push(item);
        }
    }

    fn lose_interest(&mut self, item: u32) {
        let interest = &mut self.interest[item as usize];
        *interest -= 1;
        if *interest == 0 {
            self.interesting.push(item);
        }
    }

    /// The items that are in profiles since this batch, and those that are in none any more.
    pub(crate) fn interest_changes(&mut self) -> (std::vec::IntoIter<u32>, std::vec::IntoIter<u32>) {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for item in self.interesting.drain(..) {
            let now = self.interest[item as usize] > 0;
            if std::mem::replace(&mut self.before[item as usize], now) != now {
                if now { &mut wanted } else { &mut unwanted }.push(item);
            }
        }
        (wanted.into_iter(), unwanted.into_iter())
    }

    /// Computes the lists of those who were touched or have a changed row in their profile, and notes which changed.
    /// Returns how many were computed.
    pub(crate) fn refresh(&mut self, rows: &Rows, users: &Users, ids: &[ItemId]) -> u64 {
        self.changes.clear();
        for user in self.left.drain(..) {
            self.changes.push((users.id(user), Vec::new()));
        }
        let mut viewers = std::mem::take(&mut self.viewers);
        let mut computed = 0;
        for viewer in &mut viewers {
            if std::mem::take(&mut viewer.touched) || viewer.profile().any(|(item, _)| rows.has_changed(item)) {
                computed += 1;
                self.rank(viewer, rows, ids);
                if !viewer.list.iter().copied().eq(self.best.iter().map(|(_, item)| *item)) {
                    viewer.list.clear();
                    viewer.list.extend(self.best.iter().map(|(_, item)| *item));
                    let scored = |(total, item): &(u32, u32)| Scored {
                        item: ids[*item as usize],
                        score: self.weight * i64::from(*total),
                    };
                    self.changes.push((users.id(viewer.user), self.best.iter().map(scored).collect()));
                }
            }
        }
        self.viewers = viewers;
        computed
    }

    /// Leaves a viewer's list in `best`.
    fn rank(&mut self, viewer: &Viewer, rows: &Rows, ids: &[ItemId]) {
        self.best.clear();
        if self.weight <= 0 {
            return;
        }
        // The rows' cache lines first, all at once.
        let lines = viewer.profile().flat_map(|(item, _)| rows.neighbours(item).iter().step_by(8));
        std::hint::black_box(lines.fold(0, |seen, neighbour| seen ^ neighbour.item));
        // Whether an item was reached before is a toss-up, which a processor guesses wrong: so it is not asked.
        let mut reached = 0;
        for item in &viewer.items {
            let total = &mut self.totals[*item as usize];
            self.reached[reached] = *item;
            reached += usize::from(*total == 0);
            *total = SEEN;
        }
        for (item, weight) in viewer.profile() {
            for neighbour in rows.neighbours(item) {
                let total = &mut self.totals[neighbour.item as usize];
                self.reached[reached] = neighbour.item;
                reached += usize::from(*total == 0);
                *total += weight * neighbour.similarity;
            }
        }
        // The k-th best is at least as good as the worst of the last list, if that has k items that may still be listed:
        // mostly so, and then few others come into question.
        let may = |total: u32| (total < SEEN).then_some(total);
        let of_last = viewer.list.iter().map(|item| may(self.totals[*item as usize]).unwrap_or(0));
        let least = if viewer.list.len() == self.k { of_last.min().unwrap_or(0).max(1) } else { 1 };
        for &item in &self.reached[..reached] {
            let total = std::mem::take(&mut self.totals[item as usize]);
            if total >= least && total < SEEN {
                self.best.push((total, item));
            }
        }
        let rank = |(total, item): &(u32, u32)| (Reverse(*total), ids[*item as usize]);
        if self.best.len() > 4 * self.k {
            self.best.select_nth_unstable_by_key(self.k - 1, rank);
            self.best.truncate(self.k);
        }
        self.best.sort_unstable_by_key(rank);
        self.best.truncate(self.k);
    }

    /// The lists that changed in the last batch.
    pub(crate) fn changes(&self) -> &[(UserId, Vec<Scored>)] {
        &self.changes
    }
}
