//! Known future changes in buckets of a millisecond, each user at most once valid.

use std::collections::BTreeMap;

use crate::UserId;

/// When each user is to be looked at again.
///
/// A user's next change moves on with every event, so entries are not moved along: an entry that comes too early is
/// put back, one that an earlier entry has overtaken is told by its user.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<u64, Vec<UserId>>,
}

/// The time of a user's valid entry; none is [`NEVER`].
pub(super) const NEVER: u64 = u64::MAX;

impl Timers {
    /// Makes sure that the user is looked at no later than `at`.
    pub(super) fn set(&mut self, user: UserId, at: u64, scheduled: &mut u64) {
        if at < *scheduled {
            *scheduled = at;
            self.due.entry(at).or_default().push(user);
        }
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.due.keys().next().copied()
    }

    /// The entries of the first bucket if it is due by `now`.
    pub(super) fn pop(&mut self, now: u64) -> Option<(u64, Vec<UserId>)> {
        let first = self.due.first_entry().filter(|first| *first.key() <= now)?;
        Some(first.remove_entry())
    }
}
