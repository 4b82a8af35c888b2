//! The graph of production, driven tick by tick.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::blend::{BlendSources, blend};
use dataflows::types::ItemId;
use dataflows::{Driver, ItemRecord, ListChange, ListKey};
use schema::{IdMap, Levels};

use super::super::log::{Log, LogEvent, OtherEvent};
use super::super::training_stats::TrainingStats;
use super::{Recommender, TrainingEvent};

/// Changed lists from the workers that are not yet applied.
pub(in super::super) type ChangeBuffer = Arc<Mutex<Vec<(ListKey, Vec<ItemId>)>>>;

/// An observer that appends the changes of all workers to the buffer.
pub(in super::super) fn record_changes(changes: &ChangeBuffer) -> impl Fn(&ListChange) + Clone + Send + Sync + 'static {
    let changes = Arc::clone(changes);
    move |change| {
        let items = change.items.iter().map(|scored| scored.item).collect();
        changes.lock().unwrap_or_else(PoisonError::into_inner).push((change.key, items));
    }
}

/// Log, levels, catalogue and change buffer of a [`Graph`].
pub(in super::super) struct GraphSetup<'a> {
    pub(in super::super) log: &'a Log,
    pub(in super::super) levels: &'a Levels,
    /// Records of the catalogue.
    pub(in super::super) items: &'a [ItemRecord],
    pub(in super::super) changes: ChangeBuffer,
}

/// Recommends the lists that the graph has emitted.
pub(in super::super) struct Graph<'a, 'd, 'w> {
    driver: &'d mut Driver<'w>,
    setup: GraphSetup<'a>,
    users: IdMap<u32>,
    /// Events without a level that are to be fed.
    others: Vec<dataflows::Event>,
    lists: Rc<RefCell<Lists>>,
    /// Whether all lists are of now.
    is_evaluated: bool,
}

/// Current lists.
struct Lists {
    by_user: Vec<Vec<ItemId>>,
    trending: Vec<ItemId>,
    /// Numbers of items by id.
    numbers: IdMap<u32>,
}

/// The lists of a [`Graph`] blended with trending items, and with new items at the last positions.
pub(in super::super) struct BlendedGraph<'a> {
    log: &'a Log,
    lists: Rc<RefCell<Lists>>,
    length: usize,
    explore: usize,
    seed: u64,
}

/// Events per tick of the load.
const LOAD_BATCH: usize = 50_000;

impl<'a, 'd, 'w> Graph<'a, 'd, 'w> {
    pub(in super::super) fn new(driver: &'d mut Driver<'w>, setup: GraphSetup<'a>) -> Self {
        let numbers = |ids: &[u64]| ids.iter().copied().zip(0..).collect();
        let Log { users, items, .. } = setup.log;
        let lists = Lists { by_user: vec![Vec::new(); users.len()], trending: Vec::new(), numbers: numbers(items) };
        let (users, lists) = (numbers(users), Rc::new(RefCell::new(lists)));
        Graph { driver, setup, users, others: Vec::new(), lists, is_evaluated: false }
    }

    /// The current lists of this graph, blended to `length` items, of which the last `explore` are new.
    pub(in super::super) fn blended(&self, length: usize, explore: usize, seed: u64) -> BlendedGraph<'a> {
        BlendedGraph { log: self.setup.log, lists: Rc::clone(&self.lists), length, explore, seed }
    }

    fn event(&self, event: &LogEvent) -> Option<dataflows::Event> {
        self.setup.log.event(event, self.setup.levels)
    }

    fn apply_changes(&mut self) {
        for (key, items) in self.setup.changes.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let Lists { by_user, trending, .. } = &mut *self.lists.borrow_mut();
            let list = match key {
                ListKey::User(user) => &mut by_user[self.users[&user] as usize],
                ListKey::Everywhere => trending,
                ListKey::Room(_) => unreachable!("the log has no rooms"),
            };
            *list = items;
        }
    }
}

impl Recommender for Graph<'_, '_, '_> {
    fn load(&mut self, events: &[TrainingEvent]) {
        let first = self.setup.log.events.first().map_or(0, |event| event.ts);
        // Those ahead of the log act in their time.
        self.driver.tick_items(first, self.setup.items.to_vec());
        let Some(last) = events.last() else { return };
        // Grouped by user, the load computes each history once.
        let mut by_user: Vec<&LogEvent> = events.iter().map(|training| &training.event).collect();
        by_user.sort_by_key(|event| event.user);
        let (log, levels) = (self.setup.log, self.setup.levels);
        let batches = by_user.chunks(LOAD_BATCH);
        let batches = batches.map(|events| events.iter().filter_map(|event| log.event(event, levels)).collect());
        let mut others = std::mem::take(&mut self.others);
        let at = others.last().map_or(0, |event| event.ts).max(last.event.ts);
        others.sort_by_key(|event| event.user);
        self.driver.load(at, batches.chain(others.chunks(LOAD_BATCH).map(<[_]>::to_vec)));
        // Far cheaper than a tick for each prediction, if nothing is learned between them.
        self.driver.evaluate_all();
        self.is_evaluated = true;
        self.apply_changes();
    }

    fn take_others(&mut self, events: &[OtherEvent]) {
        let GraphSetup { log, levels, .. } = self.setup;
        self.others.extend(events.iter().filter_map(|event| log.other_event(event, levels)));
    }

    fn advance(&mut self, ms: u64) {
        self.driver.tick(&std::mem::take(&mut self.others));
        self.driver.advance(ms);
        self.is_evaluated = false;
        self.apply_changes();
    }

    fn recommend(&mut self, user: u32, _training: &TrainingStats, into: &mut Vec<u32>) {
        if !self.is_evaluated {
            // The list as of now, not the standing one.
            self.driver.evaluate(self.setup.log.users[user as usize]);
            self.apply_changes();
        }
        let Lists { by_user, numbers, .. } = &*self.lists.borrow();
        into.extend(by_user[user as usize].iter().map(|item| numbers[item]));
    }

    fn update(&mut self, events: &[TrainingEvent]) {
        let mut all = std::mem::take(&mut self.others);
        all.extend(events.iter().filter_map(|training| self.event(&training.event)));
        self.driver.tick(&all);
        self.is_evaluated = false;
        self.apply_changes();
    }
}

impl Recommender for BlendedGraph<'_> {
    fn recommend(&mut self, user: u32, training: &TrainingStats, into: &mut Vec<u32>) {
        let Lists { by_user, trending, numbers } = &*self.lists.borrow();
        let items = self.log.items.iter().zip(0..).filter(|_| self.explore > 0);
        let new: Vec<ItemId> = items.filter(|(_, number)| !training.has_item(*number)).map(|(item, _)| *item).collect();
        let (explore, seed) = (self.explore, self.seed);
        let sources = BlendSources { everywhere: trending, new: &new, explore, seed, ..BlendSources::default() };
        let seen = |item| training.has_interacted(user, numbers[&item]);
        let list = blend(self.log.users[user as usize], &by_user[user as usize], &sources, seen, self.length);
        into.extend(list.iter().map(|(item, _)| numbers[item]));
    }

    fn update(&mut self, _events: &[TrainingEvent]) {}
}
