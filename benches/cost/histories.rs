//! Histories of users.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use dataflows::types::ItemId;
use dataflows::{Audience, Config, Event};

use super::differences::Differences;
use super::names::{Items, Users};
use super::prefetch::prefetch;
use super::user::{RetainedEvent, User};
use super::viewers::Viewers;

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
            let level = event.effect.level().expect("the workload takes nothing back");
            let user = users.number(event.user);
            self.batch.push((user, RetainedEvent { ts: event.ts, item: items.number(event.item), level }));
            self.order.push(u64::from(user) << 32 | n as u64);
        }
        self.users.resize_with(users.len(), || User { events: Vec::new(), queued: u64::MAX });
    }

    /// Applies the batch and the timers until time t, user by user, and records the differences.
    pub(crate) fn advance(&mut self, t: u64, ids: &[ItemId], differences: &mut Differences, viewers: &mut Viewers) {
        self.fire_timers(t);
        self.order.sort_unstable();
        differences.clear();
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
