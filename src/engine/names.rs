//! The names behind the ids, known once per process: interned by the reader, given back by the writer, and let go when
//! the graph holds nothing of them any more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::ids::{IdMap, shrink_if_sparse};
use dataflows::types::Forgotten;
use schema::id64;

/// Names of users and of items.
#[derive(Default)]
pub(super) struct Names {
    users: Mutex<Table>,
    items: Mutex<Table>,
    passing: Mutex<ExpiringNames>,
    /// While a snapshot is taken: names to be let go of when it is done, each as in [`Names::forget`].
    kept: Mutex<Option<Vec<(Forgotten, u64, u64)>>>,
}

impl Names {
    pub(super) fn users(&self) -> MutexGuard<'_, Table> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn items(&self) -> MutexGuard<'_, Table> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of what may trend: of items, whatever else is held of them, and the keys of trending lists.
    pub(super) fn passing(&self) -> MutexGuard<'_, ExpiringNames> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what can trend no more at millisecond `at`, up to which everything is written; unless a snapshot is
    /// being taken, which needs it: then next time.
    pub(super) fn pass(&self, at: u64) {
        if self.kept().is_none() {
            self.passing().pass(at);
        }
    }

    /// Lets go of a name of which nothing was held at millisecond `at`, when feeds up to number `feed` had been taken
    /// in; unless a later feed has it, which will say so again when it is done with it.
    pub(super) fn forget(&self, name: Forgotten, at: u64, feed: u64) {
        match &mut *self.kept() {
            Some(kept) => kept.push((name, at, feed)),
            None => self.let_go(name, at, feed),
        }
    }

    /// From now on no name is let go of, so that whoever writes a snapshot finds the names of all that was held.
    pub(super) fn hold(&self) {
        self.kept().get_or_insert_default();
    }

    /// Lets go of the names held back.
    pub(super) fn release(&self) {
        for (name, at, feed) in self.kept().take().unwrap_or_default() {
            self.let_go(name, at, feed);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Vec<(Forgotten, u64, u64)>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_go(&self, name: Forgotten, at: u64, feed: u64) {
        match name {
            Forgotten::User(id) => self.users().forget(id, at, feed),
            Forgotten::Item(id) => self.items().forget(id, at, feed),
        }
    }
}

/// Names by id64.
#[derive(Default)]
pub(super) struct Table {
    names: IdMap<Entry>,
}

/// Names that are needed until a time that is known when they come.
#[derive(Default)]
pub(super) struct ExpiringNames {
    names: IdMap<(Box<str>, u64)>,
    due: BTreeMap<u64, Vec<u64>>,
}

impl ExpiringNames {
    /// The name is needed before millisecond `until`.
    pub(super) fn keep(&mut self, id: u64, name: &str, until: u64) {
        let known = &mut self.names.entry(id).or_insert_with(|| (name.into(), 0)).1;
        if *known < until {
            *known = until;
            self.due.entry(until).or_default().push(id);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&str> {
        self.names.get(&id).map(|(name, _)| name.as_ref())
    }

    fn pass(&mut self, at: u64) {
        while let Some(due) = self.due.first_entry().filter(|due| *due.key() <= at) {
            for id in due.remove() {
                // An entry that has been prolonged is due again.
                if self.names.get(&id).is_some_and(|(_, until)| *until <= at) {
                    self.names.remove(&id);
                }
            }
            shrink_if_sparse(&mut self.names);
        }
    }
}

struct Entry {
    name: Box<str>,
    /// The last feed with an event of this name.
    feed: u64,
    /// The graph holds an event back until this millisecond; 0 if it does not.
    held_until: u64,
}

/// Two names have the same id64.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collision {
    pub(super) id: u64,
    pub(super) known: String,
}

impl Table {
    /// The id of a name that comes with feed `feed` and counts from `held_until` on.
    pub(super) fn intern(&mut self, name: &str, feed: u64, held_until: u64) -> (u64, Option<Collision>) {
        let id = id64(name);
        (id, self.know(id, name, feed, held_until))
    }

    /// [`Table::intern`] of a name whose id is known.
    pub(super) fn know(&mut self, id: u64, name: &str, feed: u64, held_until: u64) -> Option<Collision> {
        let entry = self.names.entry(id).or_insert_with(|| Entry { name: name.into(), feed, held_until: 0 });
        entry.feed = feed;
        entry.held_until = entry.held_until.max(held_until);
        (*entry.name != *name).then(|| Collision { id, known: entry.name.as_ref().into() })
    }

    /// Notes that the graph holds back an event of a known name until `held_until`.
    pub(super) fn hold(&mut self, id: u64, held_until: u64) {
        if let Some(entry) = self.names.get_mut(&id) {
            entry.held_until = entry.held_until.max(held_until);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&str> {
        self.names.get(&id).map(|entry| entry.name.as_ref())
    }

    fn forget(&mut self, id: u64, at: u64, feed: u64) {
        if self.names.get(&id).is_some_and(|entry| entry.feed <= feed && entry.held_until <= at) {
            self.names.remove(&id);
            shrink_if_sparse(&mut self.names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_while_a_later_feed_or_a_held_event_has_it() {
        let names = Names::default();
        let id = names.users().intern("ann", 3, 0).0;
        names.forget(Forgotten::User(id), 100, 2);
        assert_eq!(names.users().get(id), Some("ann"));
        assert_eq!(names.items().get(id), None);
        names.users().intern("ann", 3, 150);
        names.forget(Forgotten::User(id), 149, 3);
        assert_eq!(names.users().get(id), Some("ann"));
        names.forget(Forgotten::User(id), 150, 3);
        assert_eq!(names.users().get(id), None);
        assert!(names.users().names.is_empty());
    }

    #[test]
    fn what_passes_stays_until_its_last_time_and_while_a_snapshot_is_taken() {
        let names = Names::default();
        names.passing().keep(1, "hat", 10);
        names.passing().keep(1, "hat", 20);
        names.passing().keep(1, "hat", 15);
        names.pass(19);
        assert_eq!(names.passing().get(1), Some("hat"));
        names.hold();
        names.pass(20);
        assert_eq!(names.passing().get(1), Some("hat"));
        names.release();
        names.pass(20);
        assert!(names.passing().names.is_empty() && names.passing().due.is_empty());
    }

    #[test]
    fn two_names_with_one_id_are_told_apart() {
        let mut table = Table::default();
        let id = id64("a");
        table.names.insert(id, Entry { name: "other".into(), feed: 0, held_until: 0 });
        let collision = Collision { id, known: "other".into() };
        assert_eq!(table.intern("a", 1, 0), (id, Some(collision)));
        assert_eq!(table.intern("b", 1, 0), (id64("b"), None));
    }
}
