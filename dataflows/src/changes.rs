use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::operator::{Held, Stash};
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

impl ListChange {
    fn between(user: UserId, at: u64, old: &List, new: List) -> Self {
        let missing_in = |from: &List, list: &List| -> Vec<ItemId> {
            let items = from.iter().map(|scored| scored.item);
            items.filter(|item| list.iter().all(|other| other.item != *item)).collect()
        };
        ListChange { user, at, entered: missing_in(&new, old), left: missing_in(old, &new), items: new }
    }
}

/// One record for each user whose list changed in a tick: the retraction of the old list and the new one, put together.
pub fn changes<'scope>(lists: Collection<'scope, (UserId, List)>) -> Stream<'scope, Time, Vec<ListChange>> {
    lists.inner.unary_frontier::<CapacityContainerBuilder<Vec<ListChange>>, _, _, _>(Pipeline, "Changes", |_, _| {
        let mut held = Held::new(1);
        let mut stash = Stash::new();
        move |(input, frontier), output| {
            input.for_each(|capability, data| {
                let time = held.retain(&capability);
                stash.put(time, data);
            });
            let upper = frontier.frontier().first().copied().unwrap_or(Time::MAX);
            while let Some(time) = stash.first().filter(|time| *time < upper) {
                let mut updates = stash.take(time).concat();
                updates.sort_unstable_by_key(|((user, _), _, diff)| (*user, *diff));
                let capability = held.at(0, time);
                let mut session = output.session(&capability);
                for same in updates.chunk_by_mut(|a, b| a.0.0 == b.0.0) {
                    let user = same[0].0.0;
                    let mut list = |diff| {
                        same.iter_mut().find(|update| update.2 == diff).map(|update| std::mem::take(&mut update.0.1))
                    };
                    let (old, new) = (list(-1).unwrap_or_default(), list(1).unwrap_or_default());
                    session.give(ListChange::between(user, ms_of(time), &old, new));
                }
            }
            held.release_before(stash.first());
        }
    })
}
