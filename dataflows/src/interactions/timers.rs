//! Known future changes, in buckets of a millisecond.

use std::collections::BTreeMap;

use crate::UserId;

/// When each user is to be looked at again.
///
/// What a user is due for moves on with every event. Entries are not moved along: one that comes too early is put back.
/// A user has two at a time, the exit from the audience and the expiry of the oldest event, so that coming back to the
/// audience again and again leaves nothing behind. (A late event older than all others adds one; it goes at its time.)
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<u64, Vec<UserId>>,
}

/// A user's entries.
#[derive(Debug, Default)]
pub(super) struct Timer {
    exit: Option<u64>,
    expiry: Option<u64>,
}

impl Timer {
    /// Whether the entry that came at `at` is one of the user's; it is used up.
    pub(super) fn came(&mut self, at: u64) -> bool {
        let entries = [&mut self.exit, &mut self.expiry];
        let mut came = false;
        for entry in entries.into_iter().filter(|entry| **entry == Some(at)) {
            *entry = None;
            came = true;
        }
        came
    }
}

impl Timers {
    /// Makes sure that the user is looked at no later than at the exit, if it has one ahead, and at the expiry.
    pub(super) fn set(&mut self, user: UserId, timer: &mut Timer, exit: Option<u64>, expiry: u64) {
        if let Some(exit) = exit {
            self.add(user, &mut timer.exit, exit);
        }
        self.add(user, &mut timer.expiry, expiry);
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

    /// The entries of the first bucket if it is due by `now`.
    pub(super) fn pop(&mut self, now: u64) -> Option<(u64, Vec<UserId>)> {
        let first = self.due.first_entry().filter(|first| *first.key() <= now)?;
        Some(first.remove_entry())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_and_coming_back_leaves_no_entries_behind() {
        let (mut timers, mut timer) = (Timers::default(), Timer::default());
        for visit in 0..1_000_u64 {
            // An event at `visit * 100`, in the audience for 30 after it, the oldest event expiring far away.
            timers.set(7, &mut timer, Some(visit * 100 + 30), 1_000_000);
            while let Some((at, users)) = timers.pop(visit * 100 + 50) {
                assert_eq!((at, users), (visit * 100 + 30, vec![7]));
                assert!(timer.came(at));
                timers.set(7, &mut timer, None, 1_000_000);
            }
            assert_eq!(timers.due.values().map(Vec::len).sum::<usize>(), 1);
        }
        assert_eq!(timers.first(), Some(1_000_000));
    }
}
