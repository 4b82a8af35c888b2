use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

use crate::operators::{StageBuilder, UpdateBatches};
use crate::{Collection, ItemId, List, ListKey, Time, ms_of};

/// A list that changed in a tick, and the difference between its items and those of the list before.
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
    /// Compares the lists of this tick with the output, emits the differences, and from then on every change. Nothing is
    /// emitted before. Must be sent to every worker.
    Finish {
        /// Worker that gets this message.
        worker: u64,
    },
}

impl ListChange {
    /// `old`: the items of the list before.
    fn between(key: ListKey, at: u64, old: impl Iterator<Item = ItemId> + Clone, new: List) -> Self {
        let entered = items_of(&new).filter(|item| old.clone().all(|other| other != *item)).collect();
        let left = old.filter(|item| new.iter().all(|scored| scored.item != *item)).collect();
        ListChange { key, at, entered, left, items: new }
    }
}

/// Emits one record for each list that changed in a tick: the retraction of the old list and the new one, merged. A list
/// with the same items in the same order has not changed: a viewer who joins or leaves a cohort mostly keeps its list.
///
/// With `reconcile` nothing is emitted until [`Reconcile::Finish`]. Until then each list is kept twice: as it is now and
/// as it is in the output.
pub fn changes<'scope>(
    lists: Collection<'scope, (ListKey, List)>,
    reconcile: Option<Stream<'scope, Time, Vec<Reconcile>>>,
) -> Stream<'scope, Time, Vec<ListChange>> {
    let by_list = Exchange::new(|message: &Reconcile| match message {
        Reconcile::Known { key, .. } => key.placement(),
        Reconcile::Finish { worker } => *worker,
    });
    let mut pending = reconcile.is_some().then(Pending::default);
    let mut builder = StageBuilder::new("Changes", lists.inner.scope());
    let lists = builder.input(lists.inner, Pipeline);
    let messages = reconcile.map(|reconcile| builder.input(reconcile, by_list));
    let (output, changes) = builder.output();
    builder.build(usize::MAX, move |time: Time| {
        let mut emitted = output.buffer();
        let mut finishes = false;
        for message in messages.iter().flat_map(|messages| messages.take(time)).flatten() {
            match (message, &mut pending) {
                (Reconcile::Known { key, items }, Some(pending)) => drop(pending.known.insert(key, items)),
                (Reconcile::Known { .. }, None) => {}
                (Reconcile::Finish { .. }, _) => finishes = true,
            }
        }
        for_each_list(lists.take(time), |key, old, new| match &mut pending {
            Some(pending) => drop(pending.lists.insert(key, new)),
            None if items_of(&old).eq(items_of(&new)) => {}
            None => emitted.push(ListChange::between(key, ms_of(time), items_of(&old), new)),
        });
        if let Some(pending) = pending.take_if(|_| finishes) {
            pending.for_each_difference(|key, old, new| {
                emitted.push(ListChange::between(key, ms_of(time), old.iter().copied(), new));
            });
        }
    });
    changes
}

/// Calls `change` with the old and the new list of each owner with updates in one tick, in the order of the keys. An empty
/// list stands for no list.
fn for_each_list(updates: UpdateBatches<(ListKey, List)>, mut change: impl FnMut(ListKey, List, List)) {
    let mut updates: Vec<_> = updates.into_iter().flatten().collect();
    // The records are large, so their indices are sorted instead.
    let mut order: Vec<(ListKey, usize)> = updates.iter().enumerate().map(|(at, update)| (update.0.0, at)).collect();
    order.sort_unstable();
    for of_list in order.chunk_by(|a, b| a.0 == b.0) {
        let (mut old, mut new) = (List::new(), List::new());
        for (_, at) in of_list {
            let ((_, list), _, diff) = &mut updates[*at];
            *(if *diff > 0 { &mut new } else { &mut old }) = std::mem::take(list);
        }
        change(of_list[0].0, old, new);
    }
}

fn items_of(list: &List) -> impl Iterator<Item = ItemId> + Clone {
    list.iter().map(|scored| scored.item)
}

/// The lists before [`Reconcile::Finish`].
#[derive(Default)]
struct Pending {
    /// Lists in the output.
    known: HashMap<ListKey, Vec<ItemId>>,
    /// Lists now.
    lists: HashMap<ListKey, List>,
}

impl Pending {
    /// Calls `differs` for each list that is not in the output as it is now, in the order of the keys.
    fn for_each_difference(mut self, mut differs: impl FnMut(ListKey, &[ItemId], List)) {
        let mut keys: Vec<ListKey> = self.known.keys().chain(self.lists.keys()).copied().collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let known = self.known.remove(&key).unwrap_or_default();
            let list = self.lists.remove(&key).unwrap_or_default();
            if !known.iter().copied().eq(items_of(&list)) {
                differs(key, &known, list);
            }
        }
    }
}
