//! The names behind the ids, stored once per process: interned by the reader, looked up by the writers, removed when the
//! graph has no event of them any more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::types::Forgotten;
use schema::{IdMap, id64, shrink_if_sparse};

/// Names of users and of items.
#[derive(Default)]
pub(super) struct Names {
    users: Mutex<Table>,
    items: Mutex<Table>,
    expiring: Mutex<ExpiringNames>,
    /// Removals deferred while a snapshot is taken, each with the arguments of [`Names::forget`].
    deferred: Mutex<Option<Vec<(Forgotten, u64, u64)>>>,
}

impl Names {
    pub(super) fn users(&self) -> MutexGuard<'_, Table> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn items(&self) -> MutexGuard<'_, Table> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names that trending lists may show: of items, whether or not the other tables have them, and of the lists.
    pub(super) fn expiring(&self) -> MutexGuard<'_, ExpiringNames> {
        self.expiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the expiring names that no list can show after millisecond `at`, up to which everything is written. During a
    /// snapshot it does nothing: the next call removes them.
    pub(super) fn expire(&self, at: u64) {
        if self.deferred().is_none() {
            self.expiring().expire(at);
        }
    }

    /// Removes a name that the graph had no event of at millisecond `at`, after tick number `tick`. A name that has
    /// an event in a later tick stays: the graph will report it again.
    pub(super) fn forget(&self, name: Forgotten, at: u64, tick: u64) {
        match &mut *self.deferred() {
            Some(deferred) => deferred.push((name, at, tick)),
            None => self.remove(name, at, tick),
        }
    }

    /// Defers all removals, so that the writer of a snapshot finds the names of every event in it.
    pub(super) fn defer_removals(&self) {
        self.deferred().get_or_insert_default();
    }

    /// Carries out the deferred removals, and defers no more.
    pub(super) fn remove_deferred(&self) {
        for (name, at, tick) in self.deferred().take().unwrap_or_default() {
            self.remove(name, at, tick);
        }
    }

    fn deferred(&self) -> MutexGuard<'_, Option<Vec<(Forgotten, u64, u64)>>> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, name: Forgotten, at: u64, tick: u64) {
        match name {
            Forgotten::User(id) => self.users().remove(id, at, tick),
            Forgotten::Item(id) => self.items().remove(id, at, tick),
        }
    }
}

/// Names by id64.
#[derive(Default)]
pub(super) struct Table {
    names: IdMap<Entry>,
}

/// Names with an expiry, which is set when they are added.
#[derive(Default)]
pub(super) struct ExpiringNames {
    names: IdMap<(Box<str>, u64)>,
    /// Ids by the millisecond at which they may expire.
    due: BTreeMap<u64, Vec<u64>>,
}

impl ExpiringNames {
    /// Retains a name until millisecond `until`, or longer if it was retained for longer before.
    pub(super) fn retain(&mut self, id: u64, name: &str, until: u64) {
        let expiry = &mut self.names.entry(id).or_insert_with(|| (name.into(), 0)).1;
        if *expiry < until {
            *expiry = until;
            self.due.entry(until).or_default().push(id);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&str> {
        self.names.get(&id).map(|(name, _)| name.as_ref())
    }

    fn expire(&mut self, at: u64) {
        while let Some(due) = self.due.first_entry().filter(|due| *due.key() <= at) {
            for id in due.remove() {
                // A name whose expiry was raised is due again later.
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
    /// Number of the last tick with an event of this name.
    tick: u64,
    /// Millisecond until which the graph delays an event of this name that is ahead of the clock. 0: there is none.
    delayed_until: u64,
}

/// Two names with the same id64.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collision {
    pub(super) id: u64,
    pub(super) known: String,
}

impl Table {
    /// The id of a name in an event of tick number `tick`, which the graph delays until `delayed_until`.
    pub(super) fn intern(&mut self, name: &str, tick: u64, delayed_until: u64) -> (u64, Option<Collision>) {
        let id = id64(name);
        (id, self.insert(id, name, tick, delayed_until))
    }

    /// Interns a name whose id is already computed.
    pub(super) fn insert(&mut self, id: u64, name: &str, tick: u64, delayed_until: u64) -> Option<Collision> {
        let entry = self.names.entry(id).or_insert_with(|| Entry { name: name.into(), tick, delayed_until: 0 });
        entry.tick = tick;
        entry.delayed_until = entry.delayed_until.max(delayed_until);
        (*entry.name != *name).then(|| Collision { id, known: entry.name.as_ref().into() })
    }

    /// Retains the name for an event that the graph delays until millisecond `delayed_until`.
    pub(super) fn retain_until(&mut self, id: u64, delayed_until: u64) {
        if let Some(entry) = self.names.get_mut(&id) {
            entry.delayed_until = entry.delayed_until.max(delayed_until);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&str> {
        self.names.get(&id).map(|entry| entry.name.as_ref())
    }

    fn remove(&mut self, id: u64, at: u64, tick: u64) {
        if self.names.get(&id).is_some_and(|entry| entry.tick <= tick && entry.delayed_until <= at) {
            self.names.remove(&id);
            shrink_if_sparse(&mut self.names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retains_a_name_while_a_later_tick_or_a_delayed_event_uses_it() {
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
    fn expires_names_after_their_last_expiry_and_not_during_a_snapshot() {
        let names = Names::default();
        names.expiring().retain(1, "hat", 10);
        names.expiring().retain(1, "hat", 20);
        names.expiring().retain(1, "hat", 15);
        names.expire(19);
        assert_eq!(names.expiring().get(1), Some("hat"));
        names.defer_removals();
        names.expire(20);
        assert_eq!(names.expiring().get(1), Some("hat"));
        names.remove_deferred();
        names.expire(20);
        assert!(names.expiring().names.is_empty() && names.expiring().due.is_empty());
    }

    #[test]
    fn reports_two_names_with_one_id() {
        let mut table = Table::default();
        let id = id64("a");
        table.names.insert(id, Entry { name: "other".into(), tick: 0, delayed_until: 0 });
        let collision = Collision { id, known: "other".into() };
        assert_eq!(table.intern("a", 1, 0), (id, Some(collision)));
        assert_eq!(table.intern("b", 1, 0), (id64("b"), None));
    }
}
