use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;

use crate::operators::{IdMap, OutputCapabilities, Stash, earlier};
use crate::{Collection, ItemId, List, Time, UserId, ms_of};

use serde::{Deserialize, Serialize};

/// A user's new list, and how its items differ from those of the last one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListChange {
    /// Whose list.
    pub user: UserId,
    /// The millisecond of the tick.
    pub at: u64,
    /// The whole list, best first; empty when there is none any more.
    pub items: List,
    /// Items that were not in the list before, in the order of the new list.
    pub entered: Vec<ItemId>,
    /// Items of the list before that are gone, in its order.
    pub left: Vec<ItemId>,
}

/// What the output is known to hold when a run goes on where another one ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reconcile {
    /// The list last sent to a user, best first. To be told no later than [`Reconcile::Finish`].
    Known {
        /// Whose list.
        user: UserId,
        /// Its items.
        items: Vec<ItemId>,
    },
    /// With this tick the lists are compared with what the output holds: what differs is sent, and from then on every
    /// change. Nothing is before. To be sent to every worker.
    Finish {
        /// The worker told.
        worker: u64,
    },
}

impl ListChange {
    /// `old`: the items of the list before.
    fn between(user: UserId, at: u64, old: impl Iterator<Item = ItemId> + Clone, new: List) -> Self {
        let is_new = |item: &ItemId| old.clone().all(|other| other != *item);
        let entered = new.iter().map(|scored| scored.item).filter(is_new).collect();
        let is_gone = |item: &ItemId| new.iter().all(|scored| scored.item != *item);
        let left = old.filter(is_gone).collect();
        ListChange { user, at, entered, left, items: new }
    }
}

type Builder = CapacityContainerBuilder<Vec<ListChange>>;

/// One record for each user whose list changed in a tick: the retraction of the old list and the new one, put together.
///
/// With `output` nothing is sent until it opens; meanwhile each user's list is kept, here and in the output's last state.
pub fn changes<'scope>(
    lists: Collection<'scope, (UserId, List)>,
    output: Option<Stream<'scope, Time, Vec<Reconcile>>>,
) -> Stream<'scope, Time, Vec<ListChange>> {
    match output {
        None => changed(lists),
        Some(output) => changed_from(lists, output),
    }
}

fn changed<'scope>(lists: Collection<'scope, (UserId, List)>) -> Stream<'scope, Time, Vec<ListChange>> {
    lists.inner.unary_frontier::<Builder, _, _, _>(Pipeline, "Changes", |_, _| {
        let mut held = OutputCapabilities::new(1);
        let mut stash = Stash::new();
        move |(input, frontier), output| {
            input.for_each(|capability, data| {
                let time = held.retain(&capability);
                stash.put(time, data);
            });
            let upper = frontier.frontier().first().copied().unwrap_or(Time::MAX);
            while let Some(time) = stash.first().filter(|time| *time < upper) {
                let capability = held.at(0, time);
                let mut session = output.session(&capability);
                each_user(stash.take(time), |user, old, new| {
                    session.give(ListChange::between(user, ms_of(time), items_of(&old), new));
                });
            }
            held.release_before(stash.first());
        }
    })
}

fn changed_from<'scope>(
    lists: Collection<'scope, (UserId, List)>,
    output: Stream<'scope, Time, Vec<Reconcile>>,
) -> Stream<'scope, Time, Vec<ListChange>> {
    let by_user = Exchange::new(|output: &Reconcile| match output {
        Reconcile::Known { user, .. } => *user,
        Reconcile::Finish { worker } => *worker,
    });
    lists.inner.binary_frontier::<_, Builder, _, _, _, _>(output, Pipeline, by_user, "Changes since", |_, _| {
        let mut held = OutputCapabilities::new(1);
        let mut stash = Stash::new();
        let mut told = Stash::new();
        let mut closed = Some(Pending::default());
        move |(lists, lists_frontier), (outputs, outputs_frontier), out| {
            lists.for_each(|capability, data| stash.put(held.retain(&capability), data));
            outputs.for_each(|capability, data| told.put(held.retain(&capability), data));
            let frontiers = [lists_frontier, outputs_frontier];
            let upper = frontiers.iter().filter_map(|frontier| frontier.frontier().first().copied()).min();
            let upper = upper.unwrap_or(Time::MAX);
            while let Some(time) = earlier(stash.first(), told.first()).filter(|time| *time < upper) {
                let capability = held.at(0, time);
                let mut session = out.session(&capability);
                let mut opens = false;
                for output in told.take(time).into_iter().flatten() {
                    match (output, &mut closed) {
                        (Reconcile::Known { user, items }, Some(closed)) => drop(closed.holds.insert(user, items)),
                        (Reconcile::Finish { .. }, _) => opens = true,
                        (Reconcile::Known { .. }, None) => {}
                    }
                }
                each_user(stash.take(time), |user, old, new| match &mut closed {
                    Some(closed) => drop(closed.lists.insert(user, new)),
                    None => session.give(ListChange::between(user, ms_of(time), items_of(&old), new)),
                });
                if let Some(closed) = closed.take_if(|_| opens) {
                    closed.differences(|user, old, new| {
                        session.give(ListChange::between(user, ms_of(time), old.iter().copied(), new));
                    });
                }
            }
            held.release_before(earlier(stash.first(), told.first()));
        }
    })
}

/// Calls with the old and the new list of each user that has updates in one tick, in the order of their ids; an empty
/// list stands for none.
fn each_user(updates: Vec<Vec<((UserId, List), Time, isize)>>, mut change: impl FnMut(UserId, List, List)) {
    let mut updates: Vec<_> = updates.into_iter().flatten().collect();
    // The records are large, so not they are put in order, but where they are.
    let mut order: Vec<(UserId, usize)> = updates.iter().enumerate().map(|(at, update)| (update.0.0, at)).collect();
    order.sort_unstable();
    for same in order.chunk_by(|a, b| a.0 == b.0) {
        let (mut old, mut new) = (List::new(), List::new());
        for (_, at) in same {
            let ((_, list), _, diff) = &mut updates[*at];
            *(if *diff > 0 { &mut new } else { &mut old }) = std::mem::take(list);
        }
        change(same[0].0, old, new);
    }
}

fn items_of(list: &List) -> impl Iterator<Item = ItemId> + Clone {
    list.iter().map(|scored| scored.item)
}

/// What is known before the output opens.
#[derive(Default)]
struct Pending {
    /// What the output holds.
    holds: IdMap<Vec<ItemId>>,
    /// The lists now.
    lists: IdMap<List>,
}

impl Pending {
    /// Calls for each user whose list is another one than the output holds, in the order of their ids.
    fn differences(mut self, mut differs: impl FnMut(UserId, &[ItemId], List)) {
        let mut users: Vec<UserId> = self.holds.keys().chain(self.lists.keys()).copied().collect();
        users.sort_unstable();
        users.dedup();
        for user in users {
            let held = self.holds.remove(&user).unwrap_or_default();
            let list = self.lists.remove(&user).unwrap_or_default();
            if !held.iter().eq(list.iter().map(|scored| &scored.item)) {
                differs(user, &held, list);
            }
        }
    }
}
