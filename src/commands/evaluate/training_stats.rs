use std::collections::HashSet;

use super::log::LogEvent;

/// What was known when something was predicted: who had come, what there was, and who had touched what.
#[derive(Debug)]
pub(super) struct TrainingStats {
    users: Vec<bool>,
    items: Vec<bool>,
    touched: HashSet<(u32, u32)>,
}

impl TrainingStats {
    pub(super) fn new(users: usize, items: usize) -> Self {
        TrainingStats { users: vec![false; users], items: vec![false; items], touched: HashSet::new() }
    }

    /// Returns whether the user had not touched the item before.
    pub(super) fn learn(&mut self, event: &LogEvent) -> bool {
        self.users[event.user as usize] = true;
        self.items[event.item as usize] = true;
        self.touched.insert((event.user, event.item))
    }

    pub(super) fn user(&self, user: u32) -> bool {
        self.users[user as usize]
    }

    pub(super) fn item(&self, item: u32) -> bool {
        self.items[item as usize]
    }

    pub(super) fn touched(&self, user: u32, item: u32) -> bool {
        self.touched.contains(&(user, item))
    }

    /// How many items somebody has touched.
    pub(super) fn catalogue(&self) -> usize {
        self.items.iter().filter(|known| **known).count()
    }
}
