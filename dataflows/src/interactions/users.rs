//! The user table, in slices of the key groups. A snapshot copies a slice at a time, and a growing table rehashes one.

use schema::{Effect, IdMap, KEY_GROUPS, shrink_if_sparse};

use super::history::{History, Touch, Touches, set_stairs};
use super::taking_back::TakingBack;
use super::timers::UserTimers;
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
        if !new.others.is_empty() || self.taking_back.is_some() {
            let taking_back = self.taking_back.get_or_insert_default();
            acts |= taking_back.absorb(&new.others, self.touches.newest(), now, config);
            if taking_back.is_empty() {
                self.taking_back = None;
            }
        }
        self.take_back(config, into);
        acts
    }

    fn take_back(&self, config: &Config, history: &mut History) {
        match &self.taking_back {
            Some(taking_back) => taking_back.apply(&self.touches, config, history),
            None => set_stairs(history, config),
        }
    }

    /// Whether there is no event of the user.
    pub(super) fn is_empty(&self) -> bool {
        self.touches.is_empty() && self.taking_back.is_none()
    }

    /// Whether the user is in the audience at `now`, with a history.
    pub(super) fn is_in_audience(&self, now: u64, config: &Config) -> bool {
        self.touches.in_audience(now, config) || self.attends_until(config).is_some_and(|until| until > now)
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
        let others = self.taking_back.iter().flat_map(|taking_back| taking_back.events());
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
}

impl NewEvents {
    /// Replaces them by events of the user.
    pub(super) fn set(&mut self, events: &[Event]) {
        self.touches.clear();
        self.others.clear();
        for event in events {
            match event.effect.level() {
                Some(level) => self.touches.push(Touch::new(event.item, event.ts, level)),
                None => self.others.push(*event),
            }
        }
    }

    /// The items, each with a level: that of the event, if it has one.
    pub(super) fn items(&self) -> impl Iterator<Item = (ItemId, Level)> {
        let touches = self.touches.iter().map(|touch| (touch.item, touch.level()));
        touches.chain(self.others.iter().map(|event| (event.item, 1)))
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
