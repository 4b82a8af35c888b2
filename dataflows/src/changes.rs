//! The standing lists, and the changes that readers see of them.

use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

use crate::config::Emit;
use crate::gauges::{Gauges, add};
use crate::operators::StageBuilder;
use crate::{Collection, Evaluation, ItemId, List, ListKey, ListReason, Time, ms_of};

/// A standing list that changed in a tick, and the difference between its items and those of the list before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListChange {
    /// Owner of the list.
    pub key: ListKey,
    /// Millisecond of the tick.
    pub at: u64,
    /// The new list, best first. Empty if the owner no longer has a list.
    pub items: List,
    /// Items that were not in the list before, in the order of the new list.
    pub entered: Vec<ItemId>,
    /// Items of the list before that are not in the new one, in the order of the list before.
    pub left: Vec<ItemId>,
    /// By item of the new list: its reasons, largest first, at most [`Config::why`](crate::Config::why). Empty without reasons.
    pub why: Vec<Vec<ListReason>>,
    /// Milliseconds that the first change has waited which this list includes and the one evaluated before did not; see
    /// [`Evaluation::waited`].
    pub waited: Option<u32>,
}

/// The content of the output at the start of a run that resumes another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reconcile {
    /// The list that was last written. Must come no later than [`Reconcile::Finish`].
    Known {
        /// Owner of the list.
        key: ListKey,
        /// Items of the list, best first.
        items: Vec<ItemId>,
    },
    /// The output is known, up to the millisecond of this tick. What was evaluated in it and differs is emitted, and every change
    /// from here on. Must be sent to every worker.
    Finish {
        /// Worker that gets this message.
        worker: u64,
    },
}

impl Reconcile {
    /// The worker that gets the message.
    pub(crate) fn placement(&self) -> u64 {
        match self {
            Reconcile::Known { key, .. } => key.placement(),
            Reconcile::Finish { worker } => *worker,
        }
    }
}

impl ListChange {
    /// `old`: the items of the list before.
    fn between(old: &[ItemId], new: Evaluation, at: u64) -> Self {
        let Evaluation { key, list: items, why, waited } = new;
        let entered = items_of(&items).filter(|item| !old.contains(item)).collect();
        let left = old.iter().copied().filter(|item| items.iter().all(|scored| scored.item != *item)).collect();
        ListChange { key, at, items, entered, left, why, waited }
    }
}

/// Keeps the lists that were emitted last, and emits one record for each evaluated list that differs from them in the sense of
/// `emit`. `evaluated` has each key at most once a tick. `trending` has the lists that are evaluated in every tick.
///
/// With `reconcile` nothing is emitted until [`Reconcile::Finish`]. The lists of the output are the standing lists
/// then, and those evaluated in that millisecond are compared with them.
///
/// Memory: the items of each list.
pub fn changes<'scope>(
    evaluated: Stream<'scope, Time, Vec<Evaluation>>,
    trending: Option<Collection<'scope, (ListKey, List)>>,
    reconcile: Option<Stream<'scope, Time, Vec<Reconcile>>>,
    emit: Emit,
    gauges: &Arc<Gauges>,
) -> Stream<'scope, Time, Vec<ListChange>> {
    let mut builder = StageBuilder::new("Changes", evaluated.scope());
    let evaluated = builder.input(evaluated, Pipeline);
    let trending = trending.map(|trending| builder.input(trending.inner, Pipeline));
    let mut pending = reconcile.is_some().then(Pending::default);
    let messages = reconcile.map(|reconcile| builder.input(reconcile, Exchange::new(Reconcile::placement)));
    let (output, changes) = builder.output();
    let gauges = Arc::clone(gauges);
    let mut standing = Standing { emit, lists: HashMap::default() };
    let mut lists: Vec<Evaluation> = Vec::new();
    builder.build(usize::MAX, move |time: Time| {
        let mut finishes = false;
        for message in messages.iter().flat_map(|messages| messages.take(time)).flatten() {
            match message {
                Reconcile::Known { key, items } => standing.set(key, items),
                Reconcile::Finish { .. } => finishes = true,
            }
        }
        let mut updates: Vec<_> = trending.iter().flat_map(|trending| trending.take(time)).flatten().collect();
        // The insertion of a list follows its retraction. A retraction without an insertion leaves the empty list.
        updates.sort_unstable_by_key(|((key, _), _, diff)| (*key, *diff));
        for ((key, list), _, diff) in updates {
            lists.pop_if(|known| known.key == key);
            lists.push(Evaluation::without_reasons(key, if diff > 0 { list } else { List::new() }));
        }
        lists.extend(evaluated.take(time).into_iter().flatten());
        if let Some(pending) = &mut pending {
            pending.add(ms_of(time), lists.drain(..));
        }
        if finishes && let Some(pending) = pending.take() {
            lists.extend(pending.finish(ms_of(time), &standing));
        }
        lists.sort_unstable_by_key(|evaluation| evaluation.key);
        let mut emitted = output.buffer();
        emitted.extend(lists.drain(..).filter_map(|evaluation| standing.replace(evaluation, ms_of(time))));
        add(&gauges.lists, emitted.len());
    });
    changes
}

/// Lists that were evaluated before the output is known.
#[derive(Default)]
struct Pending {
    /// Millisecond of the last evaluations of viewers' lists.
    at: u64,
    /// Lists of viewers in that millisecond. The output has everything before its last millisecond, which may be cut off.
    viewers: HashMap<ListKey, Evaluation>,
    /// Trending lists, which are evaluated in every tick.
    trending: HashMap<ListKey, Evaluation>,
}

impl Pending {
    fn add(&mut self, at: u64, lists: impl Iterator<Item = Evaluation>) {
        if self.at < at {
            self.at = at;
            self.viewers.clear();
        }
        for evaluation in lists {
            let of_kind = if is_viewer(&evaluation.key) { &mut self.viewers } else { &mut self.trending };
            of_kind.insert(evaluation.key, evaluation);
        }
    }

    /// The lists to be compared with those of the output.
    fn finish(self, at: u64, output: &Standing) -> impl Iterator<Item = Evaluation> {
        debug_assert_eq!(self.at, at, "the tick itself was added");
        let ended = output.lists.keys().filter(|key| !is_viewer(key) && !self.trending.contains_key(*key));
        let ended: Vec<_> = ended.map(|key| Evaluation::without_reasons(*key, List::new())).collect();
        self.viewers.into_values().chain(self.trending.into_values()).chain(ended)
    }
}

fn is_viewer(key: &ListKey) -> bool {
    matches!(key, ListKey::User(_))
}

/// The lists as they were emitted last.
struct Standing {
    emit: Emit,
    /// The items of each list that is not empty.
    lists: HashMap<ListKey, Box<[ItemId]>>,
}

impl Standing {
    fn set(&mut self, key: ListKey, items: Vec<ItemId>) {
        let Standing { lists, .. } = self;
        if items.is_empty() {
            lists.remove(&key);
        } else {
            lists.insert(key, items.into());
        }
        if lists.len() < lists.capacity() / 8 {
            lists.shrink_to(2 * lists.len());
        }
    }

    /// Puts an evaluated list in place of the one that was emitted last. Returns the change, if there is one.
    fn replace(&mut self, evaluation: Evaluation, at: u64) -> Option<ListChange> {
        let Evaluation { key, ref list, .. } = evaluation;
        let old = self.lists.get(&key).map_or(&[][..], |items| items);
        let is_same = match self.emit {
            Emit::Order => old.iter().copied().eq(items_of(list)),
            // Items are distinct.
            Emit::Membership => old.len() == list.len() && items_of(list).all(|item| old.contains(&item)),
        };
        if is_same {
            return None;
        }
        let items = items_of(list).collect();
        let change = ListChange::between(old, evaluation, at);
        self.set(key, items);
        Some(change)
    }
}

fn items_of(list: &List) -> impl Iterator<Item = ItemId> {
    list.iter().map(|scored| scored.item)
}
