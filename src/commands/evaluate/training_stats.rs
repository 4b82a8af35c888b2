use std::collections::HashSet;

use super::log::LogEvent;

/// Users, items and interactions of the training events so far.
#[derive(Debug)]
pub(super) struct TrainingStats {
    /// Item of the newest event by user.
    current: Vec<Option<u32>>,
    items: Vec<bool>,
    interactions: HashSet<(u32, u32)>,
    /// Whether repeats are ordinary cases.
    repeats: bool,
}

impl TrainingStats {
    pub(super) fn new(users: usize, items: usize, repeats: bool) -> Self {
        TrainingStats { current: vec![None; users], items: vec![false; items], interactions: HashSet::new(), repeats }
    }

    /// Adds an event. Returns whether it is the first of this user and item.
    pub(super) fn add(&mut self, event: &LogEvent) -> bool {
        self.current[event.user as usize] = Some(event.item);
        self.items[event.item as usize] = true;
        self.interactions.insert((event.user, event.item))
    }

    pub(super) fn has_user(&self, user: u32) -> bool {
        self.current[user as usize].is_some()
    }

    pub(super) fn has_item(&self, item: u32) -> bool {
        self.items[item as usize]
    }

    pub(super) fn has_interacted(&self, user: u32, item: u32) -> bool {
        self.interactions.contains(&(user, item))
    }

    /// Whether a baseline may recommend an item to a user: one that the user has not touched or, if repeats are ordinary
    /// cases, any but that of the user's newest event.
    pub(super) fn may_recommend(&self, user: u32, item: u32) -> bool {
        if self.repeats { self.current[user as usize] != Some(item) } else { !self.has_interacted(user, item) }
    }

    /// Number of items with an event.
    pub(super) fn item_count(&self) -> usize {
        self.items.iter().filter(|seen| **seen).count()
    }
}

#[cfg(test)]
#[test]
fn touched_items_but_the_newest_may_be_recommended_if_repeats_are_cases() {
    let log = super::log::tests::log(&[("a", "x", 1), ("a", "y", 2), ("a", "z", 3), ("a", "y", 4), ("b", "w", 5)]);
    let allowed = |repeats| {
        let mut training = TrainingStats::new(3, 4, repeats);
        for event in &log.events {
            training.add(event);
        }
        [0, 1, 2].map(|user| (0..4).filter(|item| training.may_recommend(user, *item)).collect::<Vec<u32>>())
    };
    assert_eq!(allowed(false), [vec![3], vec![0, 1, 2], vec![0, 1, 2, 3]]);
    assert_eq!(allowed(true), [vec![0, 2, 3], vec![0, 1, 2], vec![0, 1, 2, 3]]);
}
