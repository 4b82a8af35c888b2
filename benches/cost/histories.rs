//! Histories of users, and their changes by a batch.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use dataflows::types::{ItemId, Level};
use dataflows::{Audience, Config, Event};

use super::names::{Items, Users};
use super::prefetch;
use super::viewers::Viewers;

/// Event that no later event of the same item supersedes.
#[derive(Clone, Copy)]
pub(crate) struct RetainedEvent {
    ts: u64,
    pub(crate) item: u32,
    level: Level,
}

/// Retained events of a user, newest first, equal times by id. The first event of an item is its last touch; the following
/// ones are older with ascending levels, so the last one has the level of the interaction.
#[derive(Default)]
struct User {
    events: Vec<RetainedEvent>,
    /// Time of the queued timer; `u64::MAX` if there is none.
    queued: u64,
}

impl User {
    /// Inserts an event, unless another event of the item supersedes it.
    fn insert(&mut self, event: RetainedEvent, ids: &[ItemId]) {
        let id = ids[event.item as usize];
        let mut at = 0;
        while let Some(other) = self.events.get(at) {
            if other.ts < event.ts || (other.ts == event.ts && ids[other.item as usize] >= id) {
                break;
            }
            if other.item == event.item && other.level >= event.level {
                return;
            }
            at += 1;
        }
        if self
            .events
            .get(at)
            .is_some_and(|other| other.item == event.item && other.ts == event.ts && other.level >= event.level)
        {
            return;
        }
        // Removes the older events of the item that this one supersedes.
        let mut behind = at;
        while let Some(other) = self.events.get(behind) {
            if other.item == event.item && other.level <= event.level {
                self.events.remove(behind);
            } else {
                behind += 1;
            }
        }
        self.events.insert(at, event);
    }

    /// Time of the next expiry or exit from the audience; `u64::MAX` for never.
    fn due(&self, t: u64, retention: u64, audience: Audience) -> u64 {
        let (Some(newest), Some(oldest)) = (self.events.first(), self.events.last()) else {
            return u64::MAX;
        };
        let expiry = oldest.ts.saturating_add(retention);
        match audience {
            Audience::Within(span) if newest.ts.saturating_add(span) > t => expiry.min(newest.ts.saturating_add(span)),
            Audience::Within(_) | Audience::All => expiry,
        }
    }

    fn in_audience(&self, t: u64, audience: Audience) -> bool {
        self.events.first().is_some_and(|newest| match audience {
            Audience::Within(span) => newest.ts.saturating_add(span) > t,
            Audience::All => true,
        })
    }
}

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
    fn record_old(&mut self, user: &User) {
        for event in &user.events {
            self.entry(event.item).old = event.level;
        }
    }

    /// Records the interactions of a user after the batch, and drops expired and displaced events.
    fn record_new(&mut self, user: &mut User, t: u64, retention: u64, history: usize) {
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
    fn ranked(&self) -> impl Iterator<Item = (u32, Level)> {
        self.ranks.iter().map(|position| self.current[*position as usize]).map(|change| (change.item, change.new))
    }

    /// Appends the changes of the current user.
    fn finish_user(&mut self) {
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

/// Users with prefetched histories.
const PREFETCH_BATCH: usize = 16;

/// Histories of all users.
pub(crate) struct Histories {
    users: Vec<User>,
    /// Timers: time and user.
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    /// Events of the batch with their users.
    batch: Vec<(u32, RetainedEvent)>,
    /// User and index in `batch`, or [`TIMER`].
    order: Vec<u64>,
    history: usize,
    retention: u64,
    audience: Audience,
}

/// Index of an entry without an event.
const TIMER: u64 = u32::MAX as u64;

impl Histories {
    pub(crate) fn new(config: &Config) -> Self {
        Histories {
            users: Vec::new(),
            timers: BinaryHeap::new(),
            batch: Vec::new(),
            order: Vec::new(),
            history: config.history,
            retention: config.retention,
            audience: config.audience,
        }
    }

    /// Interns the ids of a batch.
    pub(crate) fn collect(&mut self, events: &[Event], users: &mut Users, items: &mut Items) {
        self.batch.clear();
        self.order.clear();
        for (n, event) in events.iter().enumerate() {
            let user = users.number(event.user);
            self.batch.push((user, RetainedEvent { ts: event.ts, item: items.number(event.item), level: event.level }));
            self.order.push(u64::from(user) << 32 | n as u64);
        }
        self.users.resize_with(users.len(), || User { events: Vec::new(), queued: u64::MAX });
    }

    /// Applies the batch and the timers until time t, user by user, and records the differences.
    pub(crate) fn advance(&mut self, t: u64, ids: &[ItemId], differences: &mut Differences, viewers: &mut Viewers) {
        self.fire_timers(t);
        self.order.sort_unstable();
        differences.levels.clear();
        differences.users.clear();
        let same_user = |a: &u64, b: &u64| a >> 32 == b >> 32;
        let mut ahead = self.order.chunk_by(same_user).map(|group| (group[0] >> 32) as usize);
        for (n, group) in self.order.chunk_by(same_user).enumerate() {
            if n % PREFETCH_BATCH == 0 {
                let users = ahead.by_ref().take(PREFETCH_BATCH).map(|user| &self.users[user].events);
                prefetch(users.flat_map(|events| events.iter().step_by(4)).map(|event| event.item));
            }
            let number = (group[0] >> 32) as u32;
            let user = &mut self.users[number as usize];
            differences.record_old(user);
            for entry in group.iter().map(|entry| entry & TIMER).filter(|entry| *entry != TIMER) {
                let (_, event) = self.batch[entry as usize];
                if event.ts.saturating_add(self.retention) > t {
                    user.insert(event, ids);
                }
            }
            differences.record_new(user, t, self.retention, self.history);
            viewers.update(number, user.in_audience(t, self.audience), differences.ranked());
            differences.finish_user();
            let due = user.due(t, self.retention, self.audience);
            if due < user.queued {
                user.queued = due;
                self.timers.push(Reverse((due, number)));
            }
        }
    }

    /// Adds the users with a due timer to the batch. Later events can postpone a timer; that is checked only when it
    /// fires.
    fn fire_timers(&mut self, t: u64) {
        while let Some(Reverse((at, number))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= t) {
            self.timers.pop();
            let user = &mut self.users[number as usize];
            if user.queued != at {
                continue;
            }
            // Evaluated just before `at`, so that an exit due at `at` is included.
            let due = user.due(at - 1, self.retention, self.audience);
            if due > t {
                user.queued = due;
                self.timers.push(Reverse((due, number)));
            } else {
                user.queued = u64::MAX;
                self.order.push(u64::from(number) << 32 | TIMER);
            }
        }
    }
}
