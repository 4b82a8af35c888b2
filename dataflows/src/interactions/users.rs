//! The user table, in slices of the key groups. A snapshot copies a slice at a time, and a growing table rehashes one.

use std::rc::Rc;

use schema::{Effect, IdMap, KEY_GROUPS, shrink_if_sparse};

use super::history::{History, Touch, Touches, set_stairs};
use super::taking_back::TakingBack;
use super::timers::UserTimers;
use crate::controls::EventControls;
use crate::operators::earlier;
use crate::{Config, Event, ItemId, Level, UserId};

/// Slices of a key group.
pub(super) const SLICES_PER_GROUP: usize = 16;

/// All slices.
pub(super) const SLICES: usize = KEY_GROUPS * SLICES_PER_GROUP;

/// The slice of a user: the top bits of the id64. The low bits choose the worker.
pub(super) fn slice_of(user: UserId) -> usize {
    (user >> (u64::BITS - SLICES.ilog2())) as usize
}

/// The state of one user.
#[derive(Default)]
pub(super) struct UserState {
    pub(super) touches: Touches,
    /// What of it was taken back, skipped or without a level; of most users nothing.
    pub(super) taking_back: Option<Box<TakingBack>>,
    /// What the user's controls say of them; of most users nothing.
    pub(super) controls: Option<Rc<EventControls>>,
    pub(super) timers: UserTimers,
    /// Whether the profile is emitted.
    pub(super) in_audience: bool,
    /// Mark of the last snapshot that copied this user, or that began before the user was created; 0: none.
    pub(super) snapshot: u32,
}

impl UserState {
    /// Writes the history into `into`.
    pub(super) fn history(&self, config: &Config, into: &mut History) {
        self.touches.history(into);
        self.take_back(config, into);
    }

    /// Applies events and the passing of time, and writes the history as of `now` into `into`. Returns whether the user acts.
    pub(super) fn absorb(&mut self, new: &NewEvents, now: u64, config: &Config, into: &mut History) -> bool {
        let mut acts = self.touches.absorb(&new.touches, now, config, into);
        if !new.others.is_empty() || !new.paused.is_empty() || self.taking_back.is_some() {
            let taking_back = self.taking_back.get_or_insert_default();
            acts |= taking_back.absorb(new, self.touches.newest(), now, config);
            if taking_back.is_empty() {
                self.taking_back = None;
            }
        }
        self.take_back(config, into);
        acts
    }

    fn take_back(&self, config: &Config, history: &mut History) {
        let controls = self.controls.as_deref();
        match &self.taking_back {
            Some(taking_back) => taking_back.apply(controls, &self.touches, config, history),
            None if controls.is_some() => TakingBack::default().apply(controls, &self.touches, config, history),
            None => set_stairs(history, config),
        }
    }

    /// Sets what the controls say from now on, and drops the events that are paused.
    pub(super) fn set_controls(&mut self, controls: Rc<EventControls>) {
        let newest = self.touches.remove_if(|touch| controls.is_paused(touch.ts()));
        if let Some(taking_back) = &mut self.taking_back {
            taking_back.drop_paused(&controls);
        }
        if let Some(newest) = newest {
            self.taking_back.get_or_insert_default().attend_paused(newest);
        }
        self.controls = Some(controls);
    }

    /// Whether an item may have a trace without being in the history.
    pub(super) fn may_have_traces(&self) -> bool {
        self.taking_back.is_some() || self.controls.is_some()
    }

    /// Whether nothing is kept of the user.
    pub(super) fn is_empty(&self) -> bool {
        self.touches.is_empty() && self.taking_back.is_none() && self.controls.is_none()
    }

    /// Whether the user is in the audience at `now`, with a history.
    pub(super) fn is_in_audience(&self, now: u64, config: &Config) -> bool {
        let has_list = self.controls.as_ref().is_none_or(|controls| controls.has_list());
        let attends = || self.attends_until(config).is_some_and(|until| until > now);
        has_list && (self.touches.in_audience(now, config) || attends())
    }

    /// When the user leaves the audience at the latest, if it is in the audience at `now`.
    pub(super) fn exit(&self, now: u64, config: &Config) -> Option<u64> {
        self.touches.exit(now, config).max(self.attends_until(config).filter(|until| *until > now))
    }

    fn attends_until(&self, config: &Config) -> Option<u64> {
        self.taking_back.as_ref()?.exit(config)
    }

    /// When something of the state expires next.
    pub(super) fn due(&self, config: &Config) -> Option<u64> {
        let taking_back = self.taking_back.as_ref().and_then(|taking_back| taking_back.due(config));
        earlier(self.touches.expiry(config), taking_back)
    }

    /// Events that make the same state.
    pub(super) fn events(&self, user: UserId) -> impl Iterator<Item = Event> {
        let touches = self.touches.iter().map(|touch| (touch.item, touch.ts(), Effect::Counts(touch.level())));
        let known = self.touches.iter().next().map(|touch| touch.item);
        let others = self.taking_back.iter().flat_map(move |taking_back| taking_back.events(known));
        touches.chain(others).map(move |(item, ts, effect)| Event { user, item, ts, effect, scope: None })
    }
}

/// New events of one user.
#[derive(Default)]
pub(super) struct NewEvents {
    /// Those with a level.
    pub(super) touches: Vec<Touch>,
    /// Those without.
    pub(super) others: Vec<Event>,
    /// Item and timestamp of those that are paused.
    pub(super) paused: Vec<(ItemId, u64)>,
}

impl NewEvents {
    /// Replaces them by events of the user.
    pub(super) fn set(&mut self, events: &[Event], controls: Option<&EventControls>) {
        self.touches.clear();
        self.others.clear();
        self.paused.clear();
        for event in events {
            if controls.is_some_and(|controls| controls.is_paused(event.ts)) {
                self.paused.push((event.item, event.ts));
                continue;
            }
            match event.effect.level() {
                Some(level) => self.touches.push(Touch::new(event.item, event.ts, level)),
                None => self.others.push(*event),
            }
        }
    }

    /// The items, each with a level: that of the event, if it has one.
    pub(super) fn items(&self) -> impl Iterator<Item = (ItemId, Level)> {
        let touches = self.touches.iter().map(|touch| (touch.item, touch.level()));
        let others = self.others.iter().map(|event| event.item).chain(self.paused.iter().map(|(item, _)| *item));
        touches.chain(others.map(|item| (item, 1)))
    }
}

/// User states by id.
pub(super) struct UserTable {
    slices: Vec<IdMap<UserState>>,
    len: u64,
}

impl UserTable {
    pub(super) fn new() -> Self {
        UserTable { slices: (0..SLICES).map(|_| IdMap::default()).collect(), len: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn get(&self, id: UserId) -> Option<&UserState> {
        self.slices[slice_of(id)].get(&id)
    }

    pub(super) fn get_mut(&mut self, id: UserId) -> Option<&mut UserState> {
        self.slices[slice_of(id)].get_mut(&id)
    }

    /// The user, created if absent.
    pub(super) fn get_or_add(&mut self, id: UserId) -> &mut UserState {
        let len = &mut self.len;
        self.slices[slice_of(id)].entry(id).or_insert_with(|| {
            *len += 1;
            UserState::default()
        })
    }

    pub(super) fn remove(&mut self, id: UserId) {
        let slice = &mut self.slices[slice_of(id)];
        self.len -= u64::from(slice.remove(&id).is_some());
        shrink_if_sparse(slice);
    }

    /// The users of one slice, in no order.
    pub(super) fn slice(&self, slice: usize) -> impl Iterator<Item = (UserId, &UserState)> {
        self.slices[slice].iter().map(|(id, user)| (*id, user))
    }
}
