//! The graph itself, as it runs in production, driven tick by tick.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::blend::{BlendSources, blend};
use dataflows::ids::IdMap;
use dataflows::types::ItemId;
use dataflows::{Driver, ListChange, ListKey};
use schema::Levels;

use super::super::known::TrainingStats;
use super::super::log::{Log, Logged};
use super::{Learnt, Recommender};

/// Changed lists on their way from the workers.
pub(in super::super) type Changes = Arc<Mutex<Vec<(ListKey, Vec<ItemId>)>>>;

/// What looks at the changes of all workers.
pub(in super::super) fn see(changes: &Changes) -> impl Fn(&ListChange) + Clone + Send + Sync + 'static {
    let changes = Arc::clone(changes);
    move |change| {
        let items = change.items.iter().map(|scored| scored.item).collect();
        changes.lock().unwrap_or_else(PoisonError::into_inner).push((change.key, items));
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
    lists: Rc<RefCell<Lists>>,
}

/// What the output would hold.
struct Lists {
    of_users: Vec<Vec<ItemId>>,
    trending: Vec<ItemId>,
    /// The numbers of items.
    numbers: IdMap<u32>,
}

/// The same lists as whoever shows them fills them up: with what trends, and with new items on the last places. Learns
/// nothing by itself.
pub(in super::super) struct Filled<'a> {
    log: &'a Log,
    lists: Rc<RefCell<Lists>>,
    length: usize,
    explore: usize,
    seed: u64,
}

/// Events that are loaded in one tick.
const LOADED_AT_ONCE: usize = 50_000;

impl<'a, 'd, 'w> Graph<'a, 'd, 'w> {
    pub(in super::super) fn new(driver: &'d mut Driver<'w>, setup: Setup<'a>) -> Self {
        let numbers = |ids: &[u64]| ids.iter().copied().zip(0..).collect();
        let Log { users, items, .. } = setup.log;
        let lists = Lists { of_users: vec![Vec::new(); users.len()], trending: Vec::new(), numbers: numbers(items) };
        Graph { driver, setup, users: numbers(users), lists: Rc::new(RefCell::new(lists)) }
    }

    /// The lists of this graph at the time, up to `length` items long, of which the last `explore` are new ones.
    pub(in super::super) fn filled(&self, length: usize, explore: usize, seed: u64) -> Filled<'a> {
        Filled { log: self.setup.log, lists: Rc::clone(&self.lists), length, explore, seed }
    }

    fn event(&self, event: &Logged) -> Option<dataflows::Event> {
        self.setup.log.event(event, self.setup.levels)
    }

    /// Takes over what has changed.
    fn follow(&mut self) {
        for (key, items) in self.setup.changes.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let Lists { of_users, trending, .. } = &mut *self.lists.borrow_mut();
            let list = match key {
                ListKey::User(user) => &mut of_users[self.users[&user] as usize],
                ListKey::Everywhere => trending,
                ListKey::Room(_) => unreachable!("the log has no rooms"),
            };
            *list = items;
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

    fn list(&mut self, user: u32, _known: &TrainingStats, into: &mut Vec<u32>) {
        let Lists { of_users, numbers, .. } = &*self.lists.borrow();
        into.extend(of_users[user as usize].iter().map(|item| numbers[item]));
    }

    fn learn(&mut self, events: &[Learnt]) {
        let events: Vec<_> = events.iter().filter_map(|learnt| self.event(&learnt.event)).collect();
        self.driver.tick(&events);
        self.follow();
    }
}

impl Recommender for Filled<'_> {
    fn list(&mut self, user: u32, known: &TrainingStats, into: &mut Vec<u32>) {
        let Lists { of_users, trending, numbers } = &*self.lists.borrow();
        let items = self.log.items.iter().zip(0..).filter(|_| self.explore > 0);
        let new: Vec<ItemId> = items.filter(|(_, number)| !known.item(*number)).map(|(item, _)| *item).collect();
        let (explore, seed) = (self.explore, self.seed);
        let filling = BlendSources { everywhere: trending, new: &new, explore, seed, ..BlendSources::default() };
        let seen = |item| known.touched(user, numbers[&item]);
        let list = blend(self.log.users[user as usize], &of_users[user as usize], &filling, seen, self.length);
        into.extend(list.iter().map(|(item, _)| numbers[item]));
    }

    fn learn(&mut self, _events: &[Learnt]) {}
}
