//! The user table, in slices of the key groups. A snapshot copies a slice at a time, and a growing table rehashes one.

use schema::{IdMap, KEY_GROUPS, shrink_if_sparse};

use super::history::Touches;
use super::timers::UserTimers;
use crate::UserId;

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
    pub(super) timers: UserTimers,
    /// Whether the profile is emitted.
    pub(super) in_audience: bool,
    /// Mark of the last snapshot that copied this user, or that began before the user was created; 0: none.
    pub(super) snapshot: u32,
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
