//! The graph itself, as it runs in production, driven tick by tick.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::{BlendSources, IdMap, ItemId, ListChange, UserId, shown};
use schema::{Levels, TRENDING, id64};

use super::super::log::{Log, LogEvent};
use super::super::training_stats::TrainingStats;
use super::{Recommender, TrainingEvent};
use crate::alone::Driver;

/// Changed lists on their way from the workers.
pub(in super::super) type ChangeBuffer = Arc<Mutex<Vec<(UserId, Vec<ItemId>)>>>;

/// What looks at the changes of all workers.
pub(in super::super) fn record_changes(changes: &ChangeBuffer) -> impl Fn(&ListChange) + Clone + Send + Sync + 'static {
    let changes = Arc::clone(changes);
    move |change| {
        let items = change.items.iter().map(|scored| scored.item).collect();
        changes.lock().unwrap_or_else(PoisonError::into_inner).push((change.user, items));
    }
}

/// What the graph's recommender is made of.
pub(in super::super) struct GraphSetup<'a> {
    pub(in super::super) log: &'a Log,
    pub(in super::super) levels: &'a Levels,
    pub(in super::super) changes: ChangeBuffer,
}

/// The lists that everybody would have been sent.
pub(in super::super) struct Graph<'a, 'd, 'w> {
    driver: &'d mut Driver<'w>,
    setup: GraphSetup<'a>,
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
pub(in super::super) struct BlendedGraph<'a> {
    log: &'a Log,
    lists: Rc<RefCell<Lists>>,
    length: usize,
    explore: usize,
    seed: u64,
}

/// Events that are loaded in one tick.
const LOADED_AT_ONCE: usize = 50_000;

impl<'a, 'd, 'w> Graph<'a, 'd, 'w> {
    pub(in super::super) fn new(driver: &'d mut Driver<'w>, setup: GraphSetup<'a>) -> Self {
        let numbers = |ids: &[u64]| ids.iter().copied().zip(0..).collect();
        let Log { users, items, .. } = setup.log;
        let lists = Lists { of_users: vec![Vec::new(); users.len()], trending: Vec::new(), numbers: numbers(items) };
        Graph { driver, setup, users: numbers(users), lists: Rc::new(RefCell::new(lists)) }
    }

    /// The lists of this graph at the time, up to `length` items long, of which the last `explore` are new ones.
    pub(in super::super) fn filled(&self, length: usize, explore: usize, seed: u64) -> BlendedGraph<'a> {
        BlendedGraph { log: self.setup.log, lists: Rc::clone(&self.lists), length, explore, seed }
    }

    fn event(&self, event: &LogEvent) -> Option<dataflows::Event> {
        self.setup.log.event(event, self.setup.levels)
    }

    /// Takes over what has changed.
    fn apply_changes(&mut self) {
        for (user, items) in self.setup.changes.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let Lists { of_users, trending, .. } = &mut *self.lists.borrow_mut();
            let list = match self.users.get(&user) {
                Some(user) => &mut of_users[*user as usize],
                None if user == id64(TRENDING) => trending,
                None => unreachable!("the log names users, and no rooms"),
            };
            *list = items;
        }
    }
}

impl Recommender for Graph<'_, '_, '_> {
    fn load(&mut self, events: &[TrainingEvent]) {
        let Some(last) = events.last() else { return };
        let mut by_user: Vec<&LogEvent> = events.iter().map(|learnt| &learnt.event).collect();
        by_user.sort_by_key(|event| event.user);
        let (log, levels) = (self.setup.log, self.setup.levels);
        let batches = by_user.chunks(LOADED_AT_ONCE);
        let batches = batches.map(|events| events.iter().filter_map(|event| log.event(event, levels)).collect());
        self.driver.load(last.event.ts, batches);
        self.apply_changes();
    }

    fn advance(&mut self, ms: u64) {
        self.driver.advance(ms);
        self.apply_changes();
    }

    fn list(&mut self, user: u32, _known: &TrainingStats, into: &mut Vec<u32>) {
        let Lists { of_users, numbers, .. } = &*self.lists.borrow();
        into.extend(of_users[user as usize].iter().map(|item| numbers[item]));
    }

    fn learn(&mut self, events: &[TrainingEvent]) {
        let events: Vec<_> = events.iter().filter_map(|learnt| self.event(&learnt.event)).collect();
        self.driver.tick(&events);
        self.apply_changes();
    }
}

impl Recommender for BlendedGraph<'_> {
    fn list(&mut self, user: u32, known: &TrainingStats, into: &mut Vec<u32>) {
        let Lists { of_users, trending, numbers } = &*self.lists.borrow();
        let items = self.log.items.iter().zip(0..).filter(|_| self.explore > 0);
        let new: Vec<ItemId> = items.filter(|(_, number)| !known.item(*number)).map(|(item, _)| *item).collect();
        let (explore, seed) = (self.explore, self.seed);
        let filling = BlendSources { everywhere: trending, new: &new, explore, seed, ..BlendSources::default() };
        let seen = |item| known.touched(user, numbers[&item]);
        let list = shown(self.log.users[user as usize], &of_users[user as usize], &filling, seen, self.length);
        into.extend(list.iter().map(|(item, _)| numbers[item]));
    }

    fn learn(&mut self, _events: &[TrainingEvent]) {}
}
