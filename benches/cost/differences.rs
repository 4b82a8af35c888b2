//! Changes of histories by a batch.

use dataflows::types::Level;

use super::user::{RetainedEvent, User};

/// Level and last touch of an item in a history; level 0 if absent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Interaction {
    pub(crate) touched: u64,
    pub(crate) level: Level,
}

impl Interaction {
    /// Reads the next older event of the item. The first one is the last touch, the last one has the highest level.
    fn read(&mut self, event: &RetainedEvent) {
        if self.level == 0 {
            self.touched = event.ts;
        }
        self.level = event.level;
    }
}

/// An item of a history before and after a batch.
#[derive(Clone, Copy)]
pub(crate) struct ItemChange {
    pub(crate) item: u32,
    pub(crate) old: Interaction,
    pub(crate) new: Interaction,
}

/// Changes of histories by a batch.
#[derive(Default)]
pub(crate) struct Differences {
    /// Items by user, those with a change first.
    items: Vec<ItemChange>,
    /// Ranges in `items` by user: start of the changed items, start of the others, end.
    users: Vec<[u32; 3]>,
    /// Change of the popularity by item.
    popularity: Vec<i32>,
    /// Items that may have a change of popularity.
    popular: Vec<u32>,
    /// Position in `current` plus one, by item; 0 if absent.
    positions: Vec<u32>,
    /// Items of the current user.
    current: Vec<ItemChange>,
    /// Positions in `current` of the newest interactions.
    ranks: Vec<u32>,
}

impl Differences {
    /// Forgets the changes of the batch before.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.users.clear();
    }

    pub(crate) fn grow(&mut self, items: usize) {
        self.popularity.resize(items, 0);
        self.positions.resize(items, 0);
    }

    /// Changed and other items of each user with a change.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&[ItemChange], &[ItemChange])> {
        self.users.iter().map(|[start, middle, end]| {
            (&self.items[*start as usize..*middle as usize], &self.items[*middle as usize..*end as usize])
        })
    }

    /// Drains the changes of popularities.
    pub(crate) fn popularities(&mut self) -> impl Iterator<Item = (u32, i32)> {
        let popularity = &mut self.popularity;
        self.popular.drain(..).map(|item| (item, std::mem::take(&mut popularity[item as usize])))
    }

    fn entry(&mut self, item: u32) -> &mut ItemChange {
        let position = &mut self.positions[item as usize];
        if *position == 0 {
            self.current.push(ItemChange { item, old: Interaction::default(), new: Interaction::default() });
            *position = self.current.len() as u32;
        }
        &mut self.current[*position as usize - 1]
    }

    /// Records the interactions of a user before the batch.
    pub(super) fn record_old(&mut self, user: &User) {
        for event in &user.events {
            self.entry(event.item).old.read(event);
        }
    }

    /// Records the interactions of a user after the batch, and drops expired and displaced events.
    pub(super) fn record_new(&mut self, user: &mut User, t: u64, retention: u64, history: usize) {
        self.ranks.clear();
        for at in 0..user.events.len() {
            let event = user.events[at];
            if event.ts.saturating_add(retention) <= t || self.ranks.len() == history {
                user.events.truncate(at);
                break;
            }
            let change = self.entry(event.item);
            let first = change.new.level == 0;
            change.new.read(&event);
            if first {
                self.ranks.push(self.positions[event.item as usize] - 1);
            }
        }
        if user.events.is_empty() {
            user.events = Vec::new();
        }
    }

    /// Items and interactions after the batch, newest first.
    pub(super) fn ranked(&self) -> impl Iterator<Item = (u32, Interaction)> {
        self.ranks.iter().map(|position| self.current[*position as usize]).map(|change| (change.item, change.new))
    }

    /// Appends the changes of the current user.
    pub(super) fn finish_user(&mut self) {
        let start = self.items.len();
        for change in &self.current {
            self.positions[change.item as usize] = 0;
            if change.old != change.new {
                self.items.push(*change);
            }
            if change.old.level != change.new.level {
                let popularity = &mut self.popularity[change.item as usize];
                if *popularity == 0 {
                    self.popular.push(change.item);
                }
                *popularity += i32::from(change.new.level) - i32::from(change.old.level);
            }
        }
        let middle = self.items.len();
        if middle > start {
            self.items.extend(self.current.iter().filter(|change| change.old == change.new));
            self.users.push([start, middle, self.items.len()].map(|at| u32::try_from(at).expect("a batch is small")));
        }
        self.current.clear();
    }
}
