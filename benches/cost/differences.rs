//! Changes of histories by a batch.

use dataflows::types::Level;

use super::user::User;

/// Level of an item in a history before and after a batch; 0 if absent.
#[derive(Clone, Copy)]
pub(crate) struct LevelChange {
    pub(crate) item: u32,
    pub(crate) old: Level,
    pub(crate) new: Level,
}

/// Changes of histories by a batch.
#[derive(Default)]
pub(crate) struct Differences {
    /// Items by user, those with a changed level first.
    levels: Vec<LevelChange>,
    /// Ranges in `levels` by user: start of the changed items, start of the others, end.
    users: Vec<[u32; 3]>,
    /// Change of the popularity by item.
    popularity: Vec<i32>,
    /// Items that may have a change of popularity.
    popular: Vec<u32>,
    /// Position in `current` plus one, by item; 0 if absent.
    positions: Vec<u32>,
    /// Levels of the current user.
    current: Vec<LevelChange>,
    /// Positions in `current` of the newest interactions.
    ranks: Vec<u32>,
}

impl Differences {
    /// Forgets the changes of the batch before.
    pub(super) fn clear(&mut self) {
        self.levels.clear();
        self.users.clear();
    }

    pub(crate) fn grow(&mut self, items: usize) {
        self.popularity.resize(items, 0);
        self.positions.resize(items, 0);
    }

    /// Changed and other items of each user with a change.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&[LevelChange], &[LevelChange])> {
        self.users.iter().map(|[start, middle, end]| {
            (&self.levels[*start as usize..*middle as usize], &self.levels[*middle as usize..*end as usize])
        })
    }

    /// Drains the changes of popularities.
    pub(crate) fn popularities(&mut self) -> impl Iterator<Item = (u32, i32)> {
        let popularity = &mut self.popularity;
        self.popular.drain(..).map(|item| (item, std::mem::take(&mut popularity[item as usize])))
    }

    fn entry(&mut self, item: u32) -> &mut LevelChange {
        let position = &mut self.positions[item as usize];
        if *position == 0 {
            self.current.push(LevelChange { item, old: 0, new: 0 });
            *position = self.current.len() as u32;
        }
        &mut self.current[*position as usize - 1]
    }

    /// Records the interactions of a user before the batch.
    pub(super) fn record_old(&mut self, user: &User) {
        for event in &user.events {
            self.entry(event.item).old = event.level;
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
            let first = change.new == 0;
            change.new = event.level;
            if first {
                self.ranks.push(self.positions[event.item as usize] - 1);
            }
        }
        if user.events.is_empty() {
            user.events = Vec::new();
        }
    }

    /// Item and level of the newest interactions after the batch.
    pub(super) fn ranked(&self) -> impl Iterator<Item = (u32, Level)> {
        self.ranks.iter().map(|position| self.current[*position as usize]).map(|change| (change.item, change.new))
    }

    /// Appends the changes of the current user.
    pub(super) fn finish_user(&mut self) {
        let start = self.levels.len();
        for change in &self.current {
            self.positions[change.item as usize] = 0;
            if change.old != change.new {
                self.levels.push(*change);
                let popularity = &mut self.popularity[change.item as usize];
                if *popularity == 0 {
                    self.popular.push(change.item);
                }
                *popularity += i32::from(change.new) - i32::from(change.old);
            }
        }
        let middle = self.levels.len();
        if middle > start {
            self.levels.extend(self.current.iter().filter(|change| change.old == change.new));
            self.users.push([start, middle, self.levels.len()].map(|at| u32::try_from(at).expect("a batch is small")));
        }
        self.current.clear();
    }
}
