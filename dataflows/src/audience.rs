use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::{consolidate, consolidate_updates};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::operators::{IdMap, OutputCapabilities, Stash, shrink_if_sparse};
use crate::{Collection, Diff, ItemId, Time, UserId, Weight};

/// A worker that needs to know a row, as one of its viewers has a use for it: of an item in the profile what is similar
/// to it, of an item in the history who has it, of a similar user what is in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subscription {
    /// Whose row it is: an item or a user.
    pub row: u64,
    /// The worker.
    pub worker: u64,
}

/// Which items' neighbours are wanted where: the audience's profiles without the items beyond the stairs, each item once.
/// The profiles lie with their users, so the worker that runs this is the one that wants to know.
///
/// Most moves of a profile leave it with the same items, and most items have other viewers on the worker: next to
/// nothing comes out. `profiles` must come in the order of their times, as they do from one operator on the same worker.
pub fn interest<'scope>(profiles: Collection<'scope, (UserId, (ItemId, Weight))>) -> Collection<'scope, Subscription> {
    let worker = profiles.inner.scope().index() as u64;
    let interest = profiles.inner.unary::<CapacityContainerBuilder<Vec<(Subscription, Time, Diff)>>, _, _, _>(
        Pipeline,
        "Subscription",
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
                                Subscription { row: item, worker },
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

/// Which rows are wanted on this worker: those that `row` finds in what there is on it, each once.
///
/// Waits for a time to be complete, so updates may come in any order. Holds a counter for each row.
pub fn interest_in<'scope, D: Clone + 'static>(
    data: Collection<'scope, D>,
    name: &str,
    row: impl Fn(&D) -> u64 + 'static,
) -> Collection<'scope, Subscription> {
    type Builder = CapacityContainerBuilder<Vec<(Subscription, Time, Diff)>>;
    let worker = data.inner.scope().index() as u64;
    let interest = data.inner.unary_frontier::<Builder, _, _, _>(Pipeline, name, |_, _| {
        let mut held = OutputCapabilities::new(1);
        let mut stash = Stash::new();
        let mut counts: IdMap<Diff> = IdMap::default();
        let mut moved: Vec<(u64, Diff)> = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|capability, data| stash.put(held.retain(&capability), data));
            let upper = frontier.frontier().first().copied().unwrap_or(Time::MAX);
            while let Some(time) = stash.first().filter(|time| *time < upper) {
                for (data, _, diff) in stash.take(time).into_iter().flatten() {
                    // What is taken back and put in its place mostly comes together.
                    let row = row(&data);
                    match moved.last() {
                        Some((last, other)) if *last == row && *other == -diff => drop(moved.pop()),
                        _ => moved.push((row, diff)),
                    }
                }
                consolidate(&mut moved);
                let capability = held.at(0, time);
                let mut session = output.session(&capability);
                for (row, diff) in moved.drain(..) {
                    let count = counts.entry(row).or_default();
                    let before = *count;
                    *count += diff;
                    let after = *count;
                    if after == 0 {
                        counts.remove(&row);
                    }
                    if (before > 0) != (after > 0) {
                        session.give((Subscription { row, worker }, time, if after > 0 { 1 } else { -1 }));
                    }
                }
                shrink_if_sparse(&mut counts);
            }
            held.release_before(stash.first());
        }
    });
    interest.as_collection()
}
