use std::collections::HashSet;

use super::log::LogEvent;

/// Users, items and interactions of the training events so far.
#[derive(Debug)]
pub(super) struct TrainingStats {
    users: Vec<bool>,
    items: Vec<bool>,
    interactions: HashSet<(u32, u32)>,
}

impl TrainingStats {
    pub(super) fn new(users: usize, items: usize) -> Self {
        TrainingStats { users: vec![false; users], items: vec![false; items], interactions: HashSet::new() }
    }

    /// Adds an event. Returns whether it is the first of this user and item.
    pub(super) fn add(&mut self, event: &LogEvent) -> bool {
        self.users[event.user as usize] = true;
        self.items[event.item as usize] = true;
        self.interactions.insert((event.user, event.item))
    }

    pub(super) fn has_user(&self, user: u32) -> bool {
        self.users[user as usize]
    }

    pub(super) fn has_item(&self, item: u32) -> bool {
        self.items[item as usize]
    }

    pub(super) fn has_interacted(&self, user: u32, item: u32) -> bool {
        self.interactions.contains(&(user, item))
    }

    /// Number of items with an event.
    pub(super) fn item_count(&self) -> usize {
        self.items.iter().filter(|seen| **seen).count()
    }
}
