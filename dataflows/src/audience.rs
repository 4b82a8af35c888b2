use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate;
use schema::{IdMap, shrink_if_sparse};
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Pipeline;

use crate::operators::StageBuilder;
use crate::{Collection, Diff, ProfileItem, Time, UserId};

/// Demand for a row. Viewers on a worker need the similar items and the sampled users of each item in their profiles, and the
/// histories of these users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subscription {
    /// Key of the row: an item or a user.
    pub row: u64,
    /// Destination of the row.
    pub subscriber: Subscriber,
}

/// The destination of a row. Eight bytes, as part of every replicated value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subscriber {
    /// The viewers of a worker.
    Worker(u32),
    /// The output of changed rows. It reads a row on the worker that owns it.
    Output,
}

impl Subscriber {
    /// The subscriber for the viewers of this worker.
    pub fn worker(index: usize) -> Self {
        Subscriber::Worker(u32::try_from(index).expect("timely numbers workers by far fewer than 32 bits"))
    }
}

impl Subscription {
    /// The worker to which the row is sent. The output's rows stay where they are and must not be exchanged.
    pub fn worker(&self) -> u64 {
        match self.subscriber {
            Subscriber::Worker(worker) => u64::from(worker),
            Subscriber::Output => unreachable!("rows for the output are not exchanged"),
        }
    }
}

/// Subscribes this worker to the items in its viewers' profiles. `profiles` must be located with the viewers.
pub fn profile_subscriptions<'scope>(
    profiles: Collection<'scope, (UserId, ProfileItem)>,
) -> Collection<'scope, Subscription> {
    let me = Subscriber::worker(profiles.inner.scope().index());
    row_subscriptions(me, profiles, "Profile subscriptions", |(_, item)| item.is_in_profile().then_some(item.item))
}

/// Subscribes to the rows that `row` finds in the data of this worker, each row once.
///
/// Waits until a time is complete, so updates may arrive in any order. Most updates of a profile keep the set of items, and
/// most items have several viewers on a worker, so that few updates are emitted. Memory: a counter for each row.
pub fn row_subscriptions<'scope, D: Clone + 'static>(
    subscriber: Subscriber,
    data: Collection<'scope, D>,
    name: &str,
    row: impl Fn(&D) -> Option<u64> + 'static,
) -> Collection<'scope, Subscription> {
    let mut builder = StageBuilder::new(name, data.inner.scope());
    let data = builder.input(data.inner, Pipeline);
    let mut counts: IdMap<Diff> = IdMap::default();
    let mut updates: Vec<(u64, Diff)> = Vec::new();
    let (output, subscriptions) = builder.output();
    builder.build(usize::MAX, move |time: Time| {
        for (data, _, diff) in data.take(time).into_iter().flatten() {
            let Some(row) = row(&data) else { continue };
            // A retraction and its replacement are mostly adjacent.
            match updates.last() {
                Some((last, other)) if *last == row && *other == -diff => drop(updates.pop()),
                _ => updates.push((row, diff)),
            }
        }
        consolidate(&mut updates);
        let mut emitted = output.buffer();
        for (row, diff) in updates.drain(..) {
            if let Some(diff) = count(&mut counts, row, diff) {
                emitted.push((Subscription { row, subscriber }, time, diff));
            }
        }
        shrink_if_sparse(&mut counts);
    });
    subscriptions.as_collection()
}

/// Adds `diff` to a counter. Returns 1 if it became positive, -1 if it was positive and no longer is.
#[inline]
fn count(counts: &mut IdMap<Diff>, row: u64, diff: Diff) -> Option<Diff> {
    let count = counts.entry(row).or_default();
    let before = *count;
    *count += diff;
    let after = *count;
    if after == 0 {
        counts.remove(&row);
    }
    ((before > 0) != (after > 0)).then_some(if after > 0 { 1 } else { -1 })
}
