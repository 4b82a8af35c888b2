//! The names behind the ids, stored once per process: interned by the reader, looked up by the writers, removed when the
//! graph has no event of them any more and no list shows them.
//!
//! An id belongs to the name that came first, until `graph.refresh` after its last event expires. The reader claims the
//! names of a record before it takes the record, and rejects it if another name holds one of the ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataflows::types::Forgotten;
use schema::{IdEntry, IdMap, Reason, shrink_if_sparse};

/// Names of users, of items and of rooms.
pub(super) struct Names {
    users: Mutex<Table>,
    items: Mutex<Table>,
    trending: Mutex<TrendingNames>,
    /// Removals deferred while a snapshot is taken, each with the arguments of [`Names::forget`].
    deferred: Mutex<Option<Vec<(Forgotten, u64, u64)>>>,
}

/// Names that trending lists may show: of items, whether or not the other table has them, and of rooms, by the ids of their
/// scopes.
#[derive(Default)]
pub(super) struct TrendingNames {
    pub(super) items: ExpiringNames,
    pub(super) rooms: ExpiringNames,
}

impl Names {
    /// `held`: milliseconds that a name holds its id after an event: until the event has expired and no list has the name.
    pub(super) fn new(held: u64) -> Self {
        let table = || Mutex::new(Table { names: IdMap::default(), held });
        Names { users: table(), items: table(), trending: Mutex::default(), deferred: Mutex::default() }
    }

    pub(super) fn users(&self) -> MutexGuard<'_, Table> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn items(&self) -> MutexGuard<'_, Table> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trending(&self) -> MutexGuard<'_, TrendingNames> {
        self.trending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the tables that a record needs. `trends`: trending lists are computed.
    pub(super) fn lock(&self, trends: bool) -> LockedNames<'_> {
        LockedNames { users: self.users(), items: self.items(), trending: trends.then(|| self.trending()) }
    }

    /// Removes the trending names that no list can show after millisecond `at`, up to which everything is written. During a
    /// snapshot it does nothing: the next call removes them.
    pub(super) fn expire(&self, at: u64) {
        if self.deferred().is_none() {
            let mut trending = self.trending();
            trending.items.expire(at);
            trending.rooms.expire(at);
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

    /// The millisecond until which a name holds its id, if it has no later event.
    pub(super) fn until(&self, name: Forgotten) -> u64 {
        match name {
            Forgotten::User(id) => self.users().until(id),
            Forgotten::Item(id) => self.items().until(id),
            // An item that the catalogue has lost has left all lists at once.
            Forgotten::CatalogueItem(_) => 0,
        }
    }

    fn deferred(&self) -> MutexGuard<'_, Option<Vec<(Forgotten, u64, u64)>>> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, name: Forgotten, at: u64, tick: u64) {
        match name {
            Forgotten::User(id) => self.users().remove_user(id, at, tick),
            Forgotten::Item(id) => self.items().remove(id, at, tick),
            Forgotten::CatalogueItem(id) => self.items().remove_record(id, tick),
        }
    }
}

/// Names without state in the graph, until no list shows them: `refresh` after their last event has expired, each list that
/// had them is evaluated.
pub(super) struct ForgottenNames {
    refresh: u64,
    /// For each name: when the lists are evaluated, and the arguments of [`Names::forget`]. A name that is reported again has
    /// one entry, however long time stands still.
    names: HashMap<Forgotten, (u64, u64, u64)>,
    /// The names, each once, by the millisecond at which they may be due.
    due: BTreeMap<u64, Vec<Forgotten>>,
}

impl ForgottenNames {
    /// `refresh`: milliseconds within which every list is evaluated that depends on something changed.
    pub(super) fn new(refresh: u64) -> Self {
        ForgottenNames { refresh, names: HashMap::default(), due: BTreeMap::new() }
    }

    /// Adds names, each with the arguments of [`Names::forget`]. A tick of several milliseconds may report them later than
    /// their last event expired.
    pub(super) fn add(&mut self, forgotten: Vec<(Forgotten, u64, u64)>, names: &Names) {
        for (name, at, tick) in forgotten {
            let evaluated = names.until(name).min(at + self.refresh);
            if self.names.insert(name, (evaluated, at, tick)).is_none() {
                self.due.entry(evaluated).or_default().push(name);
            }
        }
    }

    /// Forgets the names whose last list is written, everything being written up to `at`.
    pub(super) fn forget(&mut self, at: u64, names: &Names) {
        while let Some(due) = self.due.first_entry().filter(|due| *due.key() <= at) {
            for name in due.remove() {
                let (evaluated, since, tick) = self.names[&name];
                if evaluated > at {
                    self.due.entry(evaluated).or_default().push(name);
                } else {
                    self.names.remove(&name);
                    names.forget(name, since, tick);
                }
            }
        }
    }
}

/// The tables of names, locked for a record or for many.
pub(super) struct LockedNames<'n> {
    pub(super) users: MutexGuard<'n, Table>,
    pub(super) items: MutexGuard<'n, Table>,
    /// If trending lists are computed.
    pub(super) trending: Option<MutexGuard<'n, TrendingNames>>,
}

impl LockedNames<'_> {
    /// Claims the ids of a record's user and item, and checks that of its room. Nothing changes before the claims are
    /// [held](Claim::hold).
    pub(super) fn claim<'t>(
        &'t mut self,
        user: (u64, &'t str),
        item: (u64, &'t str),
        room: Option<(u64, &'t str)>,
    ) -> Result<(Claim<'t>, Claim<'t>), Collision> {
        // Of several collisions the one that lasts longest.
        let mut collision: Option<Collision> = None;
        let mut note = |field, (_, name): (u64, &str), Holder { name: known, until }| {
            if collision.as_ref().is_none_or(|other| other.until < until) {
                let reason = Reason::NameCollision { field, name: name.to_owned(), known };
                collision = Some(Collision { reason, until });
            }
        };
        if let Some(trending) = &self.trending {
            trending.items.check(item.0, item.1).unwrap_or_else(|holder| note("item", item, holder));
            if let Some(room) = room {
                trending.rooms.check(room.0, room.1).unwrap_or_else(|holder| note("room", room, holder));
            }
        }
        let user_claim = self.users.claim(user.0, user.1).map_err(|holder| note("user", user, holder));
        let item_claim = self.items.claim(item.0, item.1).map_err(|holder| note("item", item, holder));
        match (user_claim, item_claim, collision) {
            (Ok(user), Ok(item), None) => Ok((user, item)),
            (.., collision) => Err(collision.expect("a claim fails with a collision")),
        }
    }
}

impl LockedNames<'_> {
    /// Claims the id of the item of a catalogue record.
    pub(super) fn claim_item<'t>(&'t mut self, (id, name): (u64, &'t str)) -> Result<Claim<'t>, Collision> {
        let collision = |Holder { name: known, until }| Collision {
            reason: Reason::NameCollision { field: "item", name: name.to_owned(), known },
            until,
        };
        if let Some(trending) = &self.trending {
            trending.items.check(id, name).map_err(collision)?;
        }
        self.items.claim(id, name).map_err(collision)
    }
}

/// A name of a record has the id of another name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collision {
    pub(super) reason: Reason,
    /// The other name holds the id before this millisecond.
    pub(super) until: u64,
}

/// The name that holds an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) name: String,
    /// It holds the id before this millisecond.
    pub(super) until: u64,
}

/// Names by id64. An entry takes 48 bytes beside the text of the name.
pub(super) struct Table {
    names: IdMap<Entry>,
    held: u64,
}

struct Entry {
    name: Box<str>,
    /// Number of the last tick with an event of this name; 0: the graph has no event of it.
    tick: u64,
    /// Latest timestamp of an event of this name; `u64::MAX`: the name is retained to the end of the run.
    latest: u64,
    /// Number of the last tick with a record that holds the name until the graph reports it: of an item a catalogue record,
    /// of a user a control. 0: there is none.
    record_tick: u64,
}

impl Entry {
    /// The millisecond until which the name holds its id: `held` after its last event, or as long as it has a record.
    fn until(&self, held: u64) -> u64 {
        if self.record_tick > 0 { u64::MAX } else { self.latest.saturating_add(held) }
    }
}

/// An id that no other name holds.
pub(super) struct Claim<'t> {
    entry: IdEntry<'t, Entry>,
    name: &'t str,
}

impl<'t> Claim<'t> {
    /// Holds the id for an event of tick number `tick` with the timestamp `ts`, which may be ahead of the clock.
    pub(super) fn hold(self, tick: u64, ts: u64) {
        let entry = self.entry();
        entry.tick = tick;
        entry.latest = entry.latest.max(ts);
    }

    /// Holds the id for a catalogue record of tick number `tick`, as long as the catalogue has the item.
    pub(super) fn hold_record(self, tick: u64) {
        self.entry().record_tick = tick;
    }

    /// Holds the id of a user for a control of tick number `tick` with the timestamp `ts`, which may be ahead of the clock. A
    /// control has no expiry: the graph reports the user once it has neither controls nor events of it.
    pub(super) fn hold_control(self, tick: u64, ts: u64) {
        let entry = self.entry();
        (entry.tick, entry.record_tick) = (tick, tick);
        entry.latest = entry.latest.max(ts);
    }

    fn entry(self) -> &'t mut Entry {
        let name = self.name;
        self.entry.or_insert_with(|| Entry { name: name.into(), tick: 0, latest: 0, record_tick: 0 })
    }
}

impl Table {
    /// Claims an id for a name, unless another name holds it.
    pub(super) fn claim<'t>(&'t mut self, id: u64, name: &'t str) -> Result<Claim<'t>, Holder> {
        match self.names.entry(id) {
            IdEntry::Occupied(entry) if *entry.get().name != *name => {
                Err(Holder { name: entry.get().name.as_ref().into(), until: entry.get().until(self.held) })
            }
            entry => Ok(Claim { entry, name }),
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&str> {
        self.names.get(&id).map(|entry| entry.name.as_ref())
    }

    /// Number of names with an event, with and without a catalogue record. Cost: a pass over all names.
    pub(super) fn with_events(&self) -> (u64, u64) {
        let with_events = self.names.values().filter(|entry| entry.tick > 0);
        with_events.fold((0, 0), |(with, without), entry| match entry.record_tick {
            0 => (with, without + 1),
            _ => (with + 1, without),
        })
    }

    fn until(&self, id: u64) -> u64 {
        self.names.get(&id).map_or(0, |entry| entry.latest.saturating_add(self.held))
    }

    /// A name with an event that is ahead of the clock at `at` stays: the graph has delayed the event.
    fn remove(&mut self, id: u64, at: u64, tick: u64) {
        if let Some(entry) = self.names.get_mut(&id).filter(|entry| entry.tick <= tick && entry.latest <= at) {
            (entry.tick, entry.latest) = (0, 0);
            self.remove_if_unused(id);
        }
    }

    /// The graph has neither events nor controls of a user at `at`, after tick number `tick`.
    fn remove_user(&mut self, id: u64, at: u64, tick: u64) {
        if self.names.get(&id).is_some_and(|entry| entry.tick <= tick && entry.latest <= at) {
            self.names.remove(&id);
            shrink_if_sparse(&mut self.names);
        }
    }

    /// The catalogue has nothing of an item after tick number `tick`.
    fn remove_record(&mut self, id: u64, tick: u64) {
        if let Some(entry) = self.names.get_mut(&id).filter(|entry| entry.record_tick <= tick) {
            entry.record_tick = 0;
            self.remove_if_unused(id);
        }
    }

    fn remove_if_unused(&mut self, id: u64) {
        if self.names.get(&id).is_some_and(|entry| entry.tick == 0 && entry.record_tick == 0) {
            self.names.remove(&id);
            shrink_if_sparse(&mut self.names);
        }
    }
}

/// Names with an expiry, which is set when they are added.
#[derive(Default)]
pub(super) struct ExpiringNames {
    names: IdMap<(Box<str>, u64)>,
    /// Ids by the millisecond at which they may expire.
    due: BTreeMap<u64, Vec<u64>>,
}

impl ExpiringNames {
    /// Fails if another name holds the id.
    pub(super) fn check(&self, id: u64, name: &str) -> Result<(), Holder> {
        match self.names.get(&id) {
            Some((known, until)) if **known != *name => Err(Holder { name: known.as_ref().into(), until: *until }),
            _ => Ok(()),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retains_a_name_while_a_later_tick_or_a_delayed_event_uses_it() {
        let names = Names::new(1_000);
        let hold = |tick, ts| names.users().claim(7, "ann").unwrap().hold(tick, ts);
        hold(3, 90);
        names.forget(Forgotten::User(7), 100, 2);
        assert_eq!(names.users().get(7), Some("ann"));
        assert_eq!(names.items().get(7), None);
        hold(3, 150);
        names.forget(Forgotten::User(7), 149, 3);
        assert_eq!(names.users().get(7), Some("ann"));
        names.forget(Forgotten::User(7), 150, 3);
        assert_eq!(names.users().get(7), None);
        assert!(names.users().names.is_empty());
    }

    #[test]
    fn a_control_holds_the_name_of_its_user_until_the_graph_reports_the_user() {
        let names = Names::new(1_000);
        names.users().claim(7, "ann").unwrap().hold_control(3, 90);
        assert_eq!(names.users().claim(7, "bob").err().map(|holder| holder.until), Some(u64::MAX));
        names.users().claim(7, "ann").unwrap().hold_control(5, 150);
        // Reported before the last control, or while it is ahead of the clock.
        names.forget(Forgotten::User(7), 200, 4);
        names.forget(Forgotten::User(7), 149, 5);
        assert_eq!(names.users().get(7), Some("ann"));
        names.forget(Forgotten::User(7), 150, 5);
        assert!(names.users().names.is_empty());
    }

    #[test]
    fn forgets_a_name_when_no_list_shows_it_and_keeps_one_entry_while_time_stands_still() {
        let names = Names::new(1_050);
        let hold = |tick, ts| names.items().claim(7, "hat").unwrap().hold(tick, ts);
        let mut forgotten = ForgottenNames::new(50);
        hold(1, 90);
        // Its event expired at 1,090. A coalesced tick reports that at 1,120, and once more.
        for _ in 0..2 {
            forgotten.add(vec![(Forgotten::Item(7), 1_120, 1)], &names);
        }
        assert_eq!((forgotten.names.len(), forgotten.due[&1_140].len()), (1, 1));
        forgotten.forget(1_139, &names);
        assert_eq!(names.items().get(7), Some("hat"));
        // An event that no history has room for: reported again, later.
        hold(2, 1_130);
        forgotten.add(vec![(Forgotten::Item(7), 1_130, 2)], &names);
        forgotten.forget(1_179, &names);
        assert_eq!(names.items().get(7), Some("hat"));
        forgotten.forget(1_180, &names);
        assert_eq!(names.items().get(7), None);
        assert!(forgotten.names.is_empty() && forgotten.due.is_empty());
    }

    #[test]
    fn expires_names_after_their_last_expiry_and_not_during_a_snapshot() {
        let names = Names::new(1_000);
        for until in [10, 20, 15] {
            names.trending().items.retain(1, "hat", until);
        }
        names.expire(19);
        assert_eq!(names.trending().items.get(1), Some("hat"));
        names.defer_removals();
        names.expire(20);
        assert_eq!(names.trending().items.get(1), Some("hat"));
        names.remove_deferred();
        names.expire(20);
        let trending = names.trending();
        assert!(trending.items.names.is_empty() && trending.items.due.is_empty());
    }

    #[test]
    fn an_id_belongs_to_the_first_name_until_its_last_event_expires() {
        let names = Names::new(1_000);
        let claim = |user: &str, item: &str, room: Option<&str>| {
            let mut locked = names.lock(true);
            let claims = locked.claim((1, user), (2, item), room.map(|room| (3, room)));
            claims.map(|(user, item)| (user.hold(5, 30), item.hold(5, 40))).map_err(|error| (error.until, error.reason))
        };
        let collision =
            |field, name: &str, known: &str| Reason::NameCollision { field, name: name.into(), known: known.into() };
        claim("ann", "hat", None).unwrap();
        claim("ann", "hat", Some("r1")).unwrap();
        assert_eq!(claim("bob", "hat", None), Err((1_030, collision("user", "bob", "ann"))));
        assert_eq!(claim("ann", "cap", None), Err((1_040, collision("item", "cap", "hat"))));
        // A rejected record holds nothing: the item of bob's was free.
        assert_eq!(names.items().get(2), Some("hat"));
        names.trending().items.retain(2, "hat", 1_070);
        names.trending().rooms.retain(3, "r1", 1_080);
        assert_eq!(claim("ann", "cap", None), Err((1_070, collision("item", "cap", "hat"))));
        assert_eq!(claim("ann", "hat", Some("r2")), Err((1_080, collision("room", "r2", "r1"))));
        names.forget(Forgotten::User(1), 1_030, 5);
        names.forget(Forgotten::Item(2), 1_040, 5);
        names.expire(1_080);
        claim("bob", "cap", Some("r2")).unwrap();
        assert_eq!((names.users().get(1), names.items().get(2)), (Some("bob"), Some("cap")));
    }
}
