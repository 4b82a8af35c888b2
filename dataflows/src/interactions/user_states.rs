//! The state of the interactions operator: users with their events, timers, and events ahead of the clock.

use std::collections::BTreeMap;
use std::rc::Rc;

use schema::IdMap;

use super::history::{History, Interaction};
use super::loading::Loading;
use super::snapshots::{SnapshotProgress, Snapshots};
use super::timers::Timers;
use super::trends::Trends;
use super::updates::{ItemChange, Updates};
use super::users::{NewEvents, SLICES, UserTable};
use super::{Barrier, Event};
use crate::controls::{EventControls, EventControlsChange};
use crate::gauges::{Gauges, set};
use crate::operators::earlier;
use crate::{Config, Forgotten, MAX_MS, SnapshotSink, Time, UserId, ms_of};

/// Number of updates that are emitted together: few enough to stay in the cache until then.
const EMIT_BATCH: usize = 1_024;

/// The state of the operator on one worker.
pub(super) struct UserStates {
    config: Config,
    users: UserTable,
    snapshots: Snapshots,
    /// Ticks in which a snapshot is loaded. Profiles are withheld until the load is complete.
    loading: Loading,
    /// Number of users in the audience.
    audience: u64,
    timers: Timers,
    /// Events ahead of the clock, by the millisecond at which they count.
    future: BTreeMap<u64, Vec<Event>>,
    /// Weights of trending items, if configured.
    trends: Option<Trends>,
    /// Updates not yet emitted.
    updates: Updates,
    /// Reused buffer for the events of a tick.
    arrived: Vec<Event>,
    /// Reused buffer for those of one user.
    new: NewEvents,
    /// Reused buffers for one user's history before and after a tick, and for both merged.
    before: History,
    after: History,
    item_changes: Vec<ItemChange>,
}

impl UserStates {
    pub(super) fn new(config: Config, sink: Option<Box<dyn SnapshotSink<Event>>>, loading: Loading) -> Self {
        UserStates {
            trends: config.trending.map(|trending| Trends::new(trending, config.controls)),
            config,
            users: UserTable::new(),
            snapshots: Snapshots::new(sink),
            loading,
            audience: 0,
            timers: Timers::default(),
            future: BTreeMap::new(),
            updates: Updates::default(),
            arrived: Vec::new(),
            new: NewEvents::default(),
            before: Vec::new(),
            after: Vec::new(),
            item_changes: Vec::new(),
        }
    }

    /// The next millisecond at which something happens without input. Always after the last tick.
    pub(super) fn next_due(&self) -> Option<u64> {
        let trends = self.trends.as_ref().and_then(Trends::next_due);
        earlier(earlier(self.timers.first(), self.future.keys().next().copied()), trends).map(|ms| ms.min(MAX_MS))
    }

    pub(super) fn set_gauges(&self, gauges: &Gauges) {
        set(&gauges.next_due, self.next_due().unwrap_or(u64::MAX));
        set(&gauges.users, self.users.len());
        set(&gauges.audience, self.audience);
    }

    /// Advances to `time` every user with an event or a timer that is due, and emits the updates in batches.
    pub(super) fn tick<'a>(
        &mut self,
        time: Time,
        events: impl Iterator<Item = &'a Event>,
        controls: impl Iterator<Item = EventControlsChange>,
        barriers: &[Barrier],
        emit: &mut impl FnMut(&mut Updates),
    ) {
        let now = ms_of(time);
        self.updates.time = time;
        if barriers.contains(&Barrier::LoadBegin) {
            self.loading.begin(time);
            self.snapshots.set_loading(true);
        }
        if let Some(trends) = &mut self.trends {
            trends.advance(time, now, &mut self.updates.trends);
        }
        self.apply_controls(time, controls, emit);
        self.apply_events(time, events, emit);
        while let Some((at, users)) = self.timers.pop(now) {
            for user in users {
                self.on_timer(user, at, now);
                self.emit_if_many(emit);
            }
        }
        for barrier in barriers {
            match *barrier {
                Barrier::LoadEnd => {
                    self.loading.end(time);
                    self.emit_withheld(now, emit);
                    self.snapshots.set_loading(false);
                }
                Barrier::Snapshot { number, since } => {
                    let ahead = self.future.values().flatten().copied();
                    let trends = self.trends.iter().flat_map(Trends::events);
                    self.snapshots.begin(number, since, ahead.chain(trends));
                }
                // Handled on arrival, or by other operators.
                Barrier::LoadBegin
                | Barrier::Coalesce { .. }
                | Barrier::End
                | Barrier::EvaluateAll
                | Barrier::InputEnds
                | Barrier::Evaluate { .. } => {}
            }
        }
        emit(&mut self.updates);
    }

    /// Applies the controls of a tick, before its events: so what is paused in the same tick is known to be.
    fn apply_controls(
        &mut self,
        time: Time,
        changes: impl Iterator<Item = EventControlsChange>,
        emit: &mut impl FnMut(&mut Updates),
    ) {
        let mut changed: IdMap<Rc<EventControls>> = IdMap::default();
        for EventControlsChange { user: id, controls, acts } in changes {
            if self.trends.is_some() {
                changed.insert(id, Rc::clone(&controls));
            }
            self.update_user_with(id, &[], Some((controls, acts)), ms_of(time));
            self.emit_if_many(emit);
        }
        if let Some(trends) = self.trends.as_mut().filter(|_| !changed.is_empty()) {
            trends.remove(&changed, time, &mut self.updates.trends);
        }
    }

    /// Applies the events of a tick, and those ahead of the clock that it reaches.
    fn apply_events<'a>(
        &mut self,
        time: Time,
        events: impl Iterator<Item = &'a Event>,
        emit: &mut impl FnMut(&mut Updates),
    ) {
        let now = ms_of(time);
        let mut arrived = std::mem::take(&mut self.arrived);
        for event in events {
            if event.ts > now {
                self.snapshots.mark_changed(event.user, time);
                self.future.entry(event.ts).or_default().push(*event);
            } else {
                arrived.push(*event);
            }
        }
        while let Some(due) = self.future.first_entry().filter(|due| *due.key() <= now) {
            arrived.extend(due.remove());
        }
        if let Some(trends) = &mut self.trends {
            // Of an event ahead of the clock, too, the controls of its own time decide.
            let excludes = |event: &&Event| self.config.controls && is_excluded(&self.users, event);
            for event in arrived.iter().filter(|event| !excludes(event)) {
                trends.add(event, time, &mut self.updates.trends);
            }
        }
        arrived.sort_unstable_by_key(|event| event.user);
        for of_user in arrived.chunk_by(|a, b| a.user == b.user) {
            self.update_user(of_user[0].user, of_user, now);
            self.emit_if_many(emit);
        }
        arrived.clear();
        self.arrived = arrived;
    }

    /// Advances the running snapshot by about `budget` events.
    pub(super) fn advance_snapshot(&mut self, budget: usize) -> SnapshotProgress {
        self.snapshots.advance(&self.users, budget)
    }

    /// Emits the profiles that were withheld while a snapshot was loaded.
    fn emit_withheld(&mut self, now: u64, emit: &mut impl FnMut(&mut Updates)) {
        for slice in 0..SLICES {
            let in_audience = self.users.slice(slice).filter(|(_, user)| user.is_in_audience(now, &self.config));
            let viewers: Vec<UserId> = in_audience.map(|(id, _)| id).collect();
            for user in viewers {
                self.update_user(user, &[], now);
                self.emit_if_many(emit);
            }
        }
    }

    fn emit_if_many(&mut self, emit: &mut impl FnMut(&mut Updates)) {
        if self.updates.len() > EMIT_BATCH {
            emit(&mut self.updates);
        }
    }

    /// Handles a timer entry: updates the user if something is due, else sets the timers to when it will be.
    fn on_timer(&mut self, id: UserId, at: u64, now: u64) {
        let Some(user) = self.users.get_mut(id) else { return };
        if !user.timers.take_if_due(at) {
            return;
        }
        let is_audience_current = user.in_audience == user.is_in_audience(now, &self.config);
        match user.due(&self.config) {
            Some(due) if is_audience_current && due > now => {
                let exit = user.exit(now, &self.config);
                self.timers.set(id, &mut user.timers, exit, due);
            }
            _ => self.update_user(id, &[], now),
        }
    }

    /// Applies a user's new events and the passing of time, and adds the resulting updates.
    fn update_user(&mut self, id: UserId, events: &[Event], now: u64) {
        self.update_user_with(id, events, None, now);
    }

    /// As [`update_user`](Self::update_user). `controls`: what they say from this tick on, and whether the user acts with them.
    fn update_user_with(
        &mut self,
        id: UserId,
        events: &[Event],
        controls: Option<(Rc<EventControls>, bool)>,
        now: u64,
    ) {
        let user = self.users.get_or_add(id);
        self.snapshots.before_change(id, user, self.updates.time);
        user.history(&self.config, &mut self.before);
        let had_traces = user.may_have_traces();
        let is_controlled = controls.is_some();
        let mut acts = false;
        if let Some((controls, acts_with_them)) = controls {
            user.set_controls(controls);
            acts = acts_with_them;
        }
        self.new.set(events, user.controls.as_deref());
        acts |= user.absorb(&self.new, now, &self.config, &mut self.after);
        let has_history = self.after.first().is_some_and(|(_, newest)| newest.level > 0);
        let is_in_audience = has_history && !self.loading.is_loading() && user.is_in_audience(now, &self.config);
        let was_in_audience = std::mem::replace(&mut user.in_audience, is_in_audience);
        self.audience = self.audience + u64::from(is_in_audience) - u64::from(was_in_audience);

        let changes = &mut self.item_changes;
        changes.clear();
        let before = self.before.iter();
        changes.extend(before.map(|(item, old)| ItemChange { item: *item, old: *old, new: Interaction::default() }));
        for (rank, (item, new)) in self.after.iter().enumerate() {
            // Most items keep their rank or move down by one.
            let is_at = |at: &usize| changes.get(*at).is_some_and(|change| change.item == *item);
            let near = [rank, rank.wrapping_sub(1)].into_iter().find(is_at);
            match near.or_else(|| changes.iter().position(|change| change.item == *item)) {
                Some(at) => changes[at].new = *new,
                None => changes.push(ItemChange { item: *item, old: Interaction::default(), new: *new }),
            }
        }
        self.updates.push_interactions(id, changes, self.config.near);
        if had_traces || user.may_have_traces() {
            self.updates.push_traces(changes);
        }
        self.updates.push_profile(id, changes, was_in_audience, is_in_audience);
        // A user enters by an event or a control only: the audience of a snapshot does not act when it is loaded.
        let enters = is_in_audience && !was_in_audience && (is_controlled || !events.is_empty());
        if is_in_audience && (acts || enters) {
            self.updates.actions.push(id);
        }
        for (item, level) in self.new.items().filter(|(item, _)| !changes.iter().any(|change| change.item == *item)) {
            self.updates.push_without_effect(id, item, level);
        }

        if user.is_empty() {
            self.users.remove(id);
            self.updates.forgotten.push(Forgotten::User(id));
        } else if let Some(due) = user.due(&self.config) {
            let exit = user.exit(now, &self.config);
            self.timers.set(id, &mut user.timers, exit, due);
        }
    }
}

/// Whether the user's controls say that an event is of no interest.
fn is_excluded(users: &UserTable, event: &Event) -> bool {
    let controls = users.get(event.user).and_then(|user| user.controls.as_ref());
    controls.is_some_and(|controls| controls.excludes(event.item, event.ts))
}
