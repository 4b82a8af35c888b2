//! The state of the door: users with their touches, timers, and events ahead of the clock.

use std::collections::BTreeMap;

use super::history::{Interaction, Touch};
use super::loading::Loading;
use super::saving::{Saved, Saving};
use super::timers::Timers;
use super::trends::Trends;
use super::updates::{Moved, Updates};
use super::users::{SLICES, Users};
use super::{Barrier, Event, Input};
use crate::gauges::{Gauges, set};
use crate::operator::earlier;
use crate::{Config, Forgotten, MAX_MS, SnapshotSink, Time, Trending, UserId, ms_of};

/// Updates are sent when there are so many: few enough to stay in the cache until they are.
const AT_ONCE: usize = 1_024;

/// The state of the operator on one worker.
pub(super) struct UserStates {
    config: Config,
    users: Users,
    saving: Saving,
    /// While a snapshot is being loaded profiles are held back until all of it is there.
    loading: Loading,
    /// How many of them are in the audience.
    pub(super) audience: u64,
    timers: Timers,
    /// Events ahead of the clock, by the millisecond at which they count.
    future: BTreeMap<u64, Vec<Event>>,
    /// What trends, if anybody wants to know.
    trends: Option<Trends>,
    /// What is not yet sent.
    updates: Updates,
    /// Room for the touches of a tick.
    touched: Vec<(UserId, Touch)>,
    /// Room for one user's histories before and after, and for both together.
    before: Vec<Interaction>,
    after: Vec<Interaction>,
    moved: Vec<Moved>,
}

impl UserStates {
    pub(super) fn new(config: Config, keeper: Option<Box<dyn SnapshotSink>>, loading: Loading) -> Self {
        UserStates {
            trends: config.trending.map(Trends::new),
            config,
            users: Users::new(),
            saving: Saving::new(keeper),
            loading,
            audience: 0,
            timers: Timers::default(),
            future: BTreeMap::new(),
            updates: Updates::default(),
            touched: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// The next millisecond at which something happens without input. Always after the tick last taken.
    pub(super) fn next_due(&self) -> Option<u64> {
        let trends = self.trends.as_ref().and_then(Trends::next_due);
        earlier(earlier(self.timers.first(), self.future.keys().next().copied()), trends).map(|ms| ms.min(MAX_MS))
    }

    pub(super) fn show(&self, gauges: &Gauges) {
        set(&gauges.next_due, self.next_due().unwrap_or(u64::MAX));
        set(&gauges.users, self.users.len());
        set(&gauges.audience, self.audience);
    }

    /// Brings every user that an event or the clock reaches to `time`, and sends what that means as it comes up.
    pub(super) fn tick<'a>(
        &mut self,
        time: Time,
        inputs: impl Iterator<Item = &'a Input>,
        send: &mut impl FnMut(&mut Updates),
    ) {
        let now = ms_of(time);
        self.updates.time = time;
        let mut touched = std::mem::take(&mut self.touched);
        let mut barriers = Vec::new();
        if let Some(trends) = &mut self.trends {
            trends.advance(time, now, &mut self.updates.trends);
        }
        for input in inputs {
            if let Input::Barrier { barrier, .. } = input {
                match barrier {
                    Barrier::LoadBegin => {
                        self.loading.begin(time);
                        self.saving.load(true);
                    }
                    barrier => barriers.push(*barrier),
                }
            }
            let Some((event, room)) = input.event() else { continue };
            if let (Some(trends), Some(Trending { everywhere, .. })) = (&mut self.trends, self.config.trending) {
                for scope in [Some(everywhere), room].into_iter().flatten() {
                    trends.see(&event, scope, time, &mut self.updates.trends);
                }
            }
            if event.ts > now {
                self.saving.touch(event.user, time);
                self.future.entry(event.ts).or_default().push(event);
            } else {
                touched.push((event.user, Touch::new(event.item, event.ts, event.level)));
            }
        }
        while let Some(due) = self.future.first_entry().filter(|due| *due.key() <= now) {
            let events = due.remove();
            touched.extend(events.iter().map(|event| (event.user, Touch::new(event.item, event.ts, event.level))));
        }
        touched.sort_unstable_by_key(|(user, _)| *user);
        let mut touches = Vec::new();
        for same in touched.chunk_by(|a, b| a.0 == b.0) {
            touches.clear();
            touches.extend(same.iter().map(|(_, touch)| *touch));
            self.bring(same[0].0, &touches, now);
            if self.updates.len() > AT_ONCE {
                send(&mut self.updates);
            }
        }
        touched.clear();
        self.touched = touched;
        while let Some((at, users)) = self.timers.pop(now) {
            for user in users {
                self.remind(user, at, now);
                if self.updates.len() > AT_ONCE {
                    send(&mut self.updates);
                }
            }
        }
        for barrier in barriers {
            match barrier {
                Barrier::LoadEnd => {
                    self.loading.end(time);
                    self.loaded(now, send);
                }
                Barrier::Snapshot { number, since } => {
                    let ahead = self.future.values().flatten().map(|event| (*event, None));
                    let trends = self.trends.iter().flat_map(Trends::events);
                    self.saving.begin(number, since, ahead.chain(trends));
                }
                Barrier::LoadBegin | Barrier::Coalesce { .. } => {}
            }
        }
        send(&mut self.updates);
    }

    /// Goes on with a snapshot, if one is under way, by about `budget` events.
    pub(super) fn save(&mut self, budget: usize) -> Saved {
        self.saving.proceed(&self.users, budget)
    }

    /// Lets out the profiles that were held back while a snapshot was loaded.
    fn loaded(&mut self, now: u64, send: &mut impl FnMut(&mut Updates)) {
        for slice in 0..SLICES {
            let in_audience = self.users.slice(slice).filter(|(_, user)| user.touches.in_audience(now, &self.config));
            let viewers: Vec<UserId> = in_audience.map(|(id, _)| id).collect();
            for user in viewers {
                self.bring(user, &[], now);
                if self.updates.len() > AT_ONCE {
                    send(&mut self.updates);
                }
            }
        }
        self.saving.load(false);
    }

    /// Looks at a user whose timer came: brings it to `now` if it is due, else sets the timers to when it will be.
    fn remind(&mut self, id: UserId, at: u64, now: u64) {
        let Some(user) = self.users.get_mut(id) else { return };
        if !user.timer.came(at) {
            return;
        }
        let stands = user.in_audience == user.touches.in_audience(now, &self.config);
        match user.touches.expiry(&self.config) {
            Some(expiry) if stands && expiry > now => {
                let exit = user.touches.exit(now, &self.config);
                self.timers.set(id, &mut user.timer, exit, expiry);
            }
            _ => self.bring(id, &[], now),
        }
    }

    /// Takes a user's new events and the passing of time, and emits the difference they make.
    fn bring(&mut self, id: UserId, touches: &[Touch], now: u64) {
        let user = self.users.get_or_add(id);
        self.saving.before(id, user, self.updates.time);
        user.touches.history(&mut self.before);
        user.touches.absorb(touches, now, &self.config, &mut self.after);
        let is_in_audience = !self.loading.is_under_way() && user.touches.in_audience(now, &self.config);
        let was_in_audience = std::mem::replace(&mut user.in_audience, is_in_audience);
        self.audience = self.audience + u64::from(user.in_audience) - u64::from(was_in_audience);

        self.moved.clear();
        let before = self.before.iter().enumerate();
        self.moved.extend(before.map(|(rank, (item, level))| Moved {
            item: *item,
            old: Some((rank, *level)),
            new: None,
        }));
        for (rank, (item, level)) in self.after.iter().enumerate() {
            let new = Some((rank, *level));
            // Most items keep their rank or are pushed down by one.
            let is_at = |at: &usize| self.moved.get(*at).is_some_and(|moved| moved.item == *item);
            let near = [rank, rank.wrapping_sub(1)].into_iter().find(is_at);
            match near.or_else(|| self.moved.iter().position(|moved| moved.item == *item)) {
                Some(at) => self.moved[at].new = new,
                None => self.moved.push(Moved { item: *item, old: None, new }),
            }
        }
        self.updates.interactions(id, &mut self.moved);
        self.updates.profile(id, &self.moved, was_in_audience, user.in_audience, &self.config);
        if self.config.needs_similar_users() {
            self.updates.watching(id, &self.moved, was_in_audience, user.in_audience);
        }
        for touch in touches.iter().filter(|touch| !self.moved.iter().any(|moved| moved.item == touch.item)) {
            self.updates.without_effect(id, touch);
        }

        if user.touches.is_empty() {
            self.users.remove(id);
            self.updates.forgotten.push(Forgotten::User(id));
        } else if let Some(expiry) = user.touches.expiry(&self.config) {
            let exit = user.touches.exit(now, &self.config);
            self.timers.set(id, &mut user.timer, exit, expiry);
        }
    }
}
