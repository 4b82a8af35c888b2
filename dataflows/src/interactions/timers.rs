//! Timers of users, in buckets of a millisecond.

use std::collections::BTreeMap;

use crate::UserId;

/// The timer entries of all users.
///
/// The due time of a user moves with every event. Entries are not moved along: one that fires too early is set again. A user
/// has two entries, the exit from the audience and the expiry of the oldest event, so that a user that returns to the
/// audience again and again leaves no entries behind. (A late event older than all others adds one entry, which is removed
/// when it fires.)
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<u64, Vec<UserId>>,
}

/// The entries of one user.
#[derive(Debug, Default)]
pub(super) struct UserTimers {
    exit: Option<u64>,
    expiry: Option<u64>,
}

impl UserTimers {
    /// Removes the user's entries at `at`. Returns whether there was one; if not, the entry that fired is obsolete.
    pub(super) fn take_if_due(&mut self, at: u64) -> bool {
        let entries = [&mut self.exit, &mut self.expiry];
        let mut is_due = false;
        for entry in entries.into_iter().filter(|entry| **entry == Some(at)) {
            *entry = None;
            is_due = true;
        }
        is_due
    }
}

impl Timers {
    /// Ensures entries no later than `exit`, if the user has an exit ahead, and no later than `expiry`.
    pub(super) fn set(&mut self, user: UserId, timers: &mut UserTimers, exit: Option<u64>, expiry: u64) {
        if let Some(exit) = exit {
            self.add(user, &mut timers.exit, exit);
        }
        self.add(user, &mut timers.expiry, expiry);
    }

    fn add(&mut self, user: UserId, entry: &mut Option<u64>, at: u64) {
        if entry.is_none_or(|entry| at < entry) {
            *entry = Some(at);
            self.due.entry(at).or_default().push(user);
        }
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.due.keys().next().copied()
    }

    /// Takes the first bucket if it is due at `now`.
    pub(super) fn pop(&mut self, now: u64) -> Option<(u64, Vec<UserId>)> {
        let first = self.due.first_entry().filter(|first| *first.key() <= now)?;
        Some(first.remove_entry())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_returns_again_and_again_leaves_no_entries_behind() {
        let (mut timers, mut of_user) = (Timers::default(), UserTimers::default());
        for visit in 0..1_000_u64 {
            // An event at `visit * 100`, in the audience for 30 ms after it, with an oldest event that expires much later.
            timers.set(7, &mut of_user, Some(visit * 100 + 30), 1_000_000);
            while let Some((at, users)) = timers.pop(visit * 100 + 50) {
                assert_eq!((at, users), (visit * 100 + 30, vec![7]));
                assert!(of_user.take_if_due(at));
                timers.set(7, &mut of_user, None, 1_000_000);
            }
            assert_eq!(timers.due.values().map(Vec::len).sum::<usize>(), 1);
        }
        assert_eq!(timers.first(), Some(1_000_000));
    }
}
