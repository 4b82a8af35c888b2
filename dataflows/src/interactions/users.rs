//! Users in slices of their key groups: what a snapshot copies at a time, and what a growing table moves at a time.

use super::history::Touches;
use super::timers::Timer;
use crate::operators::{IdMap, shrink_if_sparse};
use crate::{GROUPS, UserId};

/// Slices of a key group.
pub(super) const SLICES_OF_GROUP: usize = 16;

/// All slices.
pub(super) const SLICES: usize = GROUPS * SLICES_OF_GROUP;

/// The slice of a user: the top bits of the id64. The worker is chosen by the low ones.
pub(super) fn slice_of(user: UserId) -> usize {
    (user >> (u64::BITS - SLICES.ilog2())) as usize
}

/// Everything held of one user.
#[derive(Default)]
pub(super) struct User {
    pub(super) touches: Touches,
    pub(super) timer: Timer,
    /// Whether the profile is out.
    pub(super) in_audience: bool,
    /// The last snapshot that has this user as it was, or that it came after.
    pub(super) saved: u32,
}

/// Users by id.
pub(super) struct Users {
    slices: Vec<IdMap<User>>,
    len: u64,
}

impl Users {
    pub(super) fn new() -> Self {
        Users { slices: (0..SLICES).map(|_| IdMap::default()).collect(), len: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn get_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.slices[slice_of(id)].get_mut(&id)
    }

    /// The user, which comes into being if need be.
    pub(super) fn get_or_add(&mut self, id: UserId) -> &mut User {
        let len = &mut self.len;
        self.slices[slice_of(id)].entry(id).or_insert_with(|| {
            *len += 1;
            User::default()
        })
    }

    pub(super) fn remove(&mut self, id: UserId) {
        let slice = &mut self.slices[slice_of(id)];
        self.len -= u64::from(slice.remove(&id).is_some());
        shrink_if_sparse(slice);
    }

    /// The users of one slice, in no order.
    pub(super) fn slice(&self, slice: usize) -> impl Iterator<Item = (UserId, &User)> {
        self.slices[slice].iter().map(|(id, user)| (*id, user))
    }
}
