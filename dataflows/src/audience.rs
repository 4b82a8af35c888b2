use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate_updates;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::operator::IdMap;
use crate::{Collection, Diff, ItemId, Time, UserId, Weight};

/// A worker that needs to know what is similar to an item, as one of its viewers has the item in the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interest {
    /// The item.
    pub item: ItemId,
    /// The worker.
    pub worker: u64,
}

/// Which items' neighbours are wanted where: the audience's profiles without the items beyond the stairs, each item once.
/// The profiles lie with their users, so the worker that runs this is the one that wants to know.
///
/// Most moves of a profile leave it with the same items, and most items have other viewers on the worker: next to
/// nothing comes out. `profiles` must come in the order of their times, as they do from one operator on the same worker.
pub fn interest<'scope>(profiles: Collection<'scope, (UserId, (ItemId, Weight))>) -> Collection<'scope, Interest> {
    let worker = profiles.inner.scope().index() as u64;
    let interest = profiles.inner.unary::<CapacityContainerBuilder<Vec<(Interest, Time, Diff)>>, _, _, _>(
        Pipeline,
        "Interest",
        |_, _| {
            let mut viewers: IdMap<Diff> = IdMap::default();
            let mut updates = Vec::new();
            move |input, output| {
                input.for_each(|capability, data| {
                    for ((_user, (item, weight)), time, diff) in data.drain(..) {
                        if weight == 0 {
                            continue;
                        }
                        let count = viewers.entry(item).or_default();
                        let before = *count;
                        *count += diff;
                        let after = *count;
                        if after == 0 {
                            viewers.remove(&item);
                        }
                        if (before > 0) != (after > 0) {
                            updates.push((
                                Interest { item, worker },
                                time,
                                Diff::from(after > 0) - Diff::from(before > 0),
                            ));
                        }
                    }
                    consolidate_updates(&mut updates);
                    if !updates.is_empty() {
                        let capability = capability.retain_least(0).expect("a message with data has a time");
                        output.session(&capability).give_iterator(updates.drain(..));
                    }
                });
            }
        },
    );
    interest.as_collection()
}
