//! The graph itself, as it runs in production, driven tick by tick.

use std::sync::{Arc, Mutex, PoisonError};

use dataflows::{IdMap, ItemId, ListChange, UserId};
use schema::Levels;

use super::super::known::Known;
use super::super::log::{Log, Logged};
use super::{Learnt, Recommender};
use crate::alone::Driver;

/// Changed lists on their way from the workers.
pub(in super::super) type Changes = Arc<Mutex<Vec<(UserId, Vec<ItemId>)>>>;

/// What looks at the changes of all workers.
pub(in super::super) fn see(changes: &Changes) -> impl Fn(&ListChange) + Clone + Send + Sync + 'static {
    let changes = Arc::clone(changes);
    move |change| {
        let items = change.items.iter().map(|scored| scored.item).collect();
        changes.lock().unwrap_or_else(PoisonError::into_inner).push((change.user, items));
    }
}

/// What the graph's recommender is made of.
pub(in super::super) struct Setup<'a> {
    pub(in super::super) log: &'a Log,
    pub(in super::super) levels: &'a Levels,
    pub(in super::super) changes: Changes,
}

/// The lists that everybody would have been sent.
pub(in super::super) struct Graph<'a, 'd, 'w> {
    driver: &'d mut Driver<'w>,
    setup: Setup<'a>,
    users: IdMap<u32>,
    items: IdMap<u32>,
    /// By user, as the output would hold them.
    lists: Vec<Vec<u32>>,
}

/// Events that are loaded in one tick.
const LOADED_AT_ONCE: usize = 50_000;

impl<'a, 'd, 'w> Graph<'a, 'd, 'w> {
    pub(in super::super) fn new(driver: &'d mut Driver<'w>, setup: Setup<'a>) -> Self {
        let numbers = |ids: &[u64]| ids.iter().copied().zip(0..).collect();
        let (users, items) = (numbers(&setup.log.users), numbers(&setup.log.items));
        let lists = vec![Vec::new(); setup.log.users.len()];
        Graph { driver, setup, users, items, lists }
    }

    fn event(&self, event: &Logged) -> Option<dataflows::Event> {
        self.setup.log.event(event, self.setup.levels)
    }

    /// Takes over what has changed.
    fn follow(&mut self) {
        for (user, items) in self.setup.changes.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let list = &mut self.lists[self.users[&user] as usize];
            list.clear();
            list.extend(items.iter().map(|item| self.items[item]));
        }
    }
}

impl Recommender for Graph<'_, '_, '_> {
    fn load(&mut self, events: &[Learnt]) {
        let Some(last) = events.last() else { return };
        let mut by_user: Vec<&Logged> = events.iter().map(|learnt| &learnt.event).collect();
        by_user.sort_by_key(|event| event.user);
        let (log, levels) = (self.setup.log, self.setup.levels);
        let batches = by_user.chunks(LOADED_AT_ONCE);
        let batches = batches.map(|events| events.iter().filter_map(|event| log.event(event, levels)).collect());
        self.driver.load(last.event.ts, batches);
        self.follow();
    }

    fn advance(&mut self, ms: u64) {
        self.driver.advance(ms);
        self.follow();
    }

    fn list(&mut self, user: u32, _known: &Known, into: &mut Vec<u32>) {
        into.extend(&self.lists[user as usize]);
    }

    fn learn(&mut self, events: &[Learnt]) {
        let events: Vec<_> = events.iter().filter_map(|learnt| self.event(&learnt.event)).collect();
        self.driver.tick(&events);
        self.follow();
    }
}
