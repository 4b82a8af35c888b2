//! Users' histories, and how a batch changes them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use dataflows::types::{ItemId, Level};
use dataflows::{Audience, Config, Event};

use super::names::{Items, Users};
use super::viewers::Viewers;

/// An event that counts and that no later one of the same item makes pointless.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    ts: u64,
    pub(crate) item: u32,
    level: Level,
}

/// A user's counting events, newest first, equal times by id. The first of an item is its touch; those that follow are
/// older and of rising level, so the last of an item has the interaction's level.
#[derive(Default)]
struct User {
    kept: Vec<Kept>,
    /// When the queue looks at this user next; `u64::MAX` if it does not know it.
    queued: u64,
}

impl User {
    /// Takes an event in, unless one that is as late and at least as high stands for it.
    fn take(&mut self, event: Kept, ids: &[ItemId]) {
        let id = ids[event.item as usize];
        let mut at = 0;
        while let Some(kept) = self.kept.get(at) {
            if kept.ts < event.ts || (kept.ts == event.ts && ids[kept.item as usize] >= id) {
                break;
            }
            if kept.item == event.item && kept.level >= event.level {
                return;
            }
            at += 1;
        }
        if self
            .kept
            .get(at)
            .is_some_and(|kept| kept.item == event.item && kept.ts == event.ts && kept.level >= event.level)
        {
            return;
        }
        // Of what is older, the lower levels of the item are pointless now.
        let mut behind = at;
        while let Some(kept) = self.kept.get(behind) {
            if kept.item == event.item && kept.level <= event.level {
                self.kept.remove(behind);
            } else {
                behind += 1;
            }
        }
        self.kept.insert(at, event);
    }

    /// When time alone changes something, `u64::MAX` for never.
    fn due(&self, t: u64, retention: u64, audience: Audience) -> u64 {
        let (Some(newest), Some(oldest)) = (self.kept.first(), self.kept.last()) else {
            return u64::MAX;
        };
        let expiry = oldest.ts.saturating_add(retention);
        match audience {
            Audience::Within(span) if newest.ts.saturating_add(span) > t => expiry.min(newest.ts.saturating_add(span)),
            Audience::Within(_) | Audience::All => expiry,
        }
    }

    fn in_audience(&self, t: u64, audience: Audience) -> bool {
        self.kept.first().is_some_and(|newest| match audience {
            Audience::Within(span) => newest.ts.saturating_add(span) > t,
            Audience::All => true,
        })
    }
}

/// An item of a user's with its level before and after a batch; 0 is none.
#[derive(Clone, Copy)]
pub(crate) struct Met {
    pub(crate) item: u32,
    pub(crate) old: Level,
    pub(crate) new: Level,
}

/// What a batch changes in histories.
#[derive(Default)]
pub(crate) struct Differences {
    /// The items of user after user, those whose level changed first.
    met: Vec<Met>,
    /// Of each user with a change: where in `met` the changed items start, the others start, and these end.
    users: Vec<[u32; 3]>,
    /// Of each item the change of its popularity, and the items that may have one.
    popularity: Vec<i32>,
    popular: Vec<u32>,
    /// Of each item one more than its position in `one`, while a user is looked at.
    positions: Vec<u32>,
    one: Vec<Met>,
    /// The newest interactions' positions in `one`.
    ranks: Vec<u32>,
}

impl Differences {
    pub(crate) fn grow(&mut self, items: usize) {
        self.popularity.resize(items, 0);
        self.positions.resize(items, 0);
    }

    /// Of each user with a change the items that changed, and the others.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&[Met], &[Met])> {
        self.users.iter().map(|[start, middle, end]| {
            (&self.met[*start as usize..*middle as usize], &self.met[*middle as usize..*end as usize])
        })
    }

    /// The changes of popularities, to be used up.
    pub(crate) fn popularities(&mut self) -> impl Iterator<Item = (u32, i32)> {
        let popularity = &mut self.popularity;
        self.popular.drain(..).map(|item| (item, std::mem::take(&mut popularity[item as usize])))
    }

    fn meet(&mut self, item: u32) -> &mut Met {
        let position = &mut self.positions[item as usize];
        if *position == 0 {
            self.one.push(Met { item, old: 0, new: 0 });
            *position = self.one.len() as u32;
        }
        &mut self.one[*position as usize - 1]
    }

    /// Notes a user's interactions before the batch.
    fn before(&mut self, user: &User) {
        for kept in &user.kept {
            self.meet(kept.item).old = kept.level;
        }
    }

    /// Notes a user's interactions after the batch; drops the events that do not count any more.
    fn after(&mut self, user: &mut User, t: u64, retention: u64, history: usize) {
        self.ranks.clear();
        for at in 0..user.kept.len() {
            let kept = user.kept[at];
            if kept.ts.saturating_add(retention) <= t || self.ranks.len() == history {
                user.kept.truncate(at);
                break;
            }
            let met = self.meet(kept.item);
            let first = met.new == 0;
            met.new = kept.level;
            if first {
                self.ranks.push(self.positions[kept.item as usize] - 1);
            }
        }
        if user.kept.is_empty() {
            user.kept = Vec::new();
        }
    }

    /// A user's newest interactions now, item and level.
    fn ranked(&self) -> impl Iterator<Item = (u32, Level)> {
        self.ranks.iter().map(|position| self.one[*position as usize]).map(|met| (met.item, met.new))
    }

    /// Files what was noted of a user.
    fn close(&mut self) {
        let start = self.met.len();
        for met in &self.one {
            self.positions[met.item as usize] = 0;
            if met.old != met.new {
                self.met.push(*met);
                let popularity = &mut self.popularity[met.item as usize];
                if *popularity == 0 {
                    self.popular.push(met.item);
                }
                *popularity += i32::from(met.new) - i32::from(met.old);
            }
        }
        let middle = self.met.len();
        if middle > start {
            self.met.extend(self.one.iter().filter(|met| met.old == met.new));
            self.users.push([start, middle, self.met.len()].map(|at| u32::try_from(at).expect("a batch is small")));
        }
        self.one.clear();
    }
}

/// Users whose histories are read, each cache line, before they are worked on: waiting for all at once.
const AHEAD: usize = 16;

/// All users' histories.
pub(crate) struct Histories {
    users: Vec<User>,
    /// Who is to be looked at when, without an event.
    queue: BinaryHeap<Reverse<(u64, u32)>>,
    /// The batch: user and event, by user.
    arrived: Vec<(u32, Kept)>,
    order: Vec<u64>,
    history: usize,
    retention: u64,
    audience: Audience,
}

/// Stands for an event in the batch's order where only time is due.
const DUE: u64 = u32::MAX as u64;

impl Histories {
    pub(crate) fn new(config: &Config) -> Self {
        Histories {
            users: Vec::new(),
            queue: BinaryHeap::new(),
            arrived: Vec::new(),
            order: Vec::new(),
            history: config.history,
            retention: config.retention,
            audience: config.audience,
        }
    }

    /// Numbers the names of a batch.
    pub(crate) fn collect(&mut self, events: &[Event], users: &mut Users, items: &mut Items) {
        self.arrived.clear();
        self.order.clear();
        for (n, event) in events.iter().enumerate() {
            let user = users.number(event.user);
            self.arrived.push((user, Kept { ts: event.ts, item: items.number(event.item), level: event.level }));
            self.order.push(u64::from(user) << 32 | n as u64);
        }
        self.users.resize_with(users.len(), || User { kept: Vec::new(), queued: u64::MAX });
    }

    /// Brings all histories to time t, user by user, and says what that changes.
    pub(crate) fn advance(&mut self, t: u64, ids: &[ItemId], differences: &mut Differences, viewers: &mut Viewers) {
        self.expire(t);
        self.order.sort_unstable();
        differences.met.clear();
        differences.users.clear();
        let same_user = |a: &u64, b: &u64| a >> 32 == b >> 32;
        let mut ahead = self.order.chunk_by(same_user).map(|group| (group[0] >> 32) as usize);
        for (n, group) in self.order.chunk_by(same_user).enumerate() {
            if n % AHEAD == 0 {
                let users = ahead.by_ref().take(AHEAD).map(|user| &self.users[user].kept);
                let seen = users.flat_map(|kept| kept.iter().step_by(4)).fold(0, |seen, kept| seen ^ kept.item);
                std::hint::black_box(seen);
            }
            let number = (group[0] >> 32) as u32;
            let user = &mut self.users[number as usize];
            differences.before(user);
            for entry in group.iter().map(|entry| entry & DUE).filter(|entry| *entry != DUE) {
                let (_, event) = self.arrived[entry as usize];
                if event.ts.saturating_add(self.retention) > t {
                    user.take(event, ids);
                }
            }
            differences.after(user, t, self.retention, self.history);
            viewers.update(number, user.in_audience(t, self.audience), differences.ranked());
            differences.close();
            let due = user.due(t, self.retention, self.audience);
            if due < user.queued {
                user.queued = due;
                self.queue.push(Reverse((due, number)));
            }
        }
    }

    /// Adds who is due to the batch. A user is queued for the earliest moment known when it was, which later events put
    /// off: looked at again only then.
    fn expire(&mut self, t: u64) {
        while let Some(Reverse((at, number))) = self.queue.peek().copied().filter(|Reverse((at, _))| *at <= t) {
            self.queue.pop();
            let user = &mut self.users[number as usize];
            if user.queued != at {
                continue;
            }
            // As of just before its moment, an exit that is due now still counts as one.
            let due = user.due(at - 1, self.retention, self.audience);
            if due > t {
                user.queued = due;
                self.queue.push(Reverse((due, number)));
            } else {
                user.queued = u64::MAX;
                self.order.push(u64::from(number) << 32 | DUE);
            }
        }
    }
}
