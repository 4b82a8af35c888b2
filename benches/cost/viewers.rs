//! The audience and its lists.

use std::cmp::Reverse;

use dataflows::Config;
use dataflows::types::{ItemId, Scored, UserId};

use super::differences::Interaction;
use super::names::Users;
use super::prefetch::prefetch;
use super::rows::Rows;

const NO_VIEWER: u32 = u32::MAX;

/// A user in the audience.
struct Viewer {
    user: u32,
    /// Whether the history may have changed in this batch.
    touched: bool,
    /// Items of the history, newest first.
    items: Vec<u32>,
    /// Weights of the newest items, which are the profile.
    weights: Vec<u32>,
    /// Items of the emitted list, best first.
    list: Vec<u32>,
}

impl Viewer {
    /// Items and weights of the profile.
    fn profile(&self) -> impl Iterator<Item = (u32, u32)> {
        self.items.iter().copied().zip(self.weights.iter().copied())
    }
}

/// Bit of a total that marks an item of the history.
const SEEN: u32 = 1 << 31;

/// The audience.
pub(crate) struct Viewers {
    viewers: Vec<Viewer>,
    /// Position in `viewers` by user.
    positions: Vec<u32>,
    /// Users who left the audience with a list.
    left: Vec<u32>,
    /// Number of profiles by item.
    subscribers: Vec<u32>,
    /// Items that gained the first or lost the last subscriber in this batch.
    changed_items: Vec<u32>,
    /// Whether an item had subscribers before this batch.
    before: Vec<bool>,
    /// Totals of one list by item; all zero between two lists.
    totals: Vec<u32>,
    /// Items with a total.
    reached: Box<[u32]>,
    best: Vec<(u32, u32)>,
    changes: Vec<(UserId, Vec<Scored>)>,
    /// Factors by basket rank, as many as a profile has items.
    stairs: Vec<u32>,
    /// Milliseconds from which the next older interaction is of another basket.
    basket: u64,
    k: usize,
    weight: i64,
}

impl Viewers {
    pub(crate) fn new(config: &Config) -> Self {
        let stairs: Vec<u32> = (0..config.profile_length()).map(|rank| config.stair(rank)).collect();
        let largest = stairs.len() as u64 * u64::from(config.stair(0)) * 15 * 1024;
        assert!(largest < u64::from(SEEN), "totals are 31 bits");
        Viewers {
            viewers: Vec::new(),
            positions: Vec::new(),
            left: Vec::new(),
            subscribers: Vec::new(),
            changed_items: Vec::new(),
            before: Vec::new(),
            totals: Vec::new(),
            reached: Box::default(),
            best: Vec::new(),
            changes: Vec::new(),
            stairs,
            basket: config.basket,
            k: config.k,
            weight: config.sources.items.into(),
        }
    }

    pub(crate) fn grow(&mut self, items: usize) {
        self.subscribers.resize(items, 0);
        self.before.resize(items, false);
        self.totals.resize(items, 0);
        if self.reached.len() <= items {
            // One more than the number of items, because the next slot is always written.
            self.reached = vec![0; items + 1].into();
        }
    }

    /// Updates a user: whether it is in the audience, and its interactions, newest first.
    pub(crate) fn update(&mut self, user: u32, inside: bool, interactions: impl Iterator<Item = (u32, Interaction)>) {
        if self.positions.len() <= user as usize {
            self.positions.resize(user as usize + 1, NO_VIEWER);
        }
        let mut position = self.positions[user as usize];
        if !inside {
            if position != NO_VIEWER {
                self.leave(position);
            }
            return;
        }
        if position == NO_VIEWER {
            position = self.viewers.len() as u32;
            self.positions[user as usize] = position;
            self.viewers.push(Viewer { user, touched: true, items: Vec::new(), weights: Vec::new(), list: Vec::new() });
        }
        let viewer = &mut self.viewers[position as usize];
        viewer.touched = true;
        let (mut items, mut weights) = (std::mem::take(&mut viewer.items), std::mem::take(&mut viewer.weights));
        items[..weights.len()].iter().for_each(|item| self.unsubscribe(*item));
        items.clear();
        weights.clear();
        let (mut basket_rank, mut before) = (0, None);
        for (item, Interaction { touched, level }) in interactions {
            items.push(item);
            if weights.len() < self.stairs.len() {
                basket_rank += usize::from(before.is_some_and(|before| before - touched >= self.basket));
                weights.push(u32::from(level) * self.stairs[basket_rank]);
                before = Some(touched);
            }
        }
        items[..weights.len()].iter().for_each(|item| self.subscribe(*item));
        let viewer = &mut self.viewers[position as usize];
        (viewer.items, viewer.weights) = (items, weights);
    }

    fn leave(&mut self, position: u32) {
        let viewer = self.viewers.swap_remove(position as usize);
        self.positions[viewer.user as usize] = NO_VIEWER;
        if let Some(moved) = self.viewers.get(position as usize) {
            self.positions[moved.user as usize] = position;
        }
        viewer.profile().for_each(|(item, _)| self.unsubscribe(item));
        if !viewer.list.is_empty() {
            self.left.push(viewer.user);
        }
    }

    fn subscribe(&mut self, item: u32) {
        let subscribers = &mut self.subscribers[item as usize];
        *subscribers += 1;
        if *subscribers == 1 {
            self.changed_items.push(item);
        }
    }

    fn unsubscribe(&mut self, item: u32) {
        let subscribers = &mut self.subscribers[item as usize];
        *subscribers -= 1;
        if *subscribers == 0 {
            self.changed_items.push(item);
        }
    }

    /// Items that gained the first or lost the last subscriber in this batch.
    pub(crate) fn subscription_changes(&mut self) -> (std::vec::IntoIter<u32>, std::vec::IntoIter<u32>) {
        let (mut subscribed, mut unsubscribed) = (Vec::new(), Vec::new());
        for item in self.changed_items.drain(..) {
            let now = self.subscribers[item as usize] > 0;
            if std::mem::replace(&mut self.before[item as usize], now) != now {
                if now { &mut subscribed } else { &mut unsubscribed }.push(item);
            }
        }
        (subscribed.into_iter(), unsubscribed.into_iter())
    }

    /// Computes the lists of viewers with a changed history or a changed row in the profile. Returns how many were computed.
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

    /// Computes the list of a viewer into `best`.
    fn rank(&mut self, viewer: &Viewer, rows: &Rows, ids: &[ItemId]) {
        self.best.clear();
        if self.weight <= 0 {
            return;
        }
        let lines = viewer.profile().flat_map(|(item, _)| rows.neighbours(item).iter().step_by(8));
        prefetch(lines.map(|neighbour| neighbour.item));
        // Branch-free: whether an item was reached before is unpredictable.
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
        // If all k items of the last list are still eligible, the smallest of their totals is a lower bound of the k-th best.
        let eligible = |total: u32| if total < SEEN { total } else { 0 };
        let last_totals = viewer.list.iter().map(|item| eligible(self.totals[*item as usize]));
        let least = if viewer.list.len() == self.k { last_totals.min().unwrap_or(0).max(1) } else { 1 };
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

    /// Changed lists of the last batch.
    pub(crate) fn changes(&self) -> &[(UserId, Vec<Scored>)] {
        &self.changes
    }
}
