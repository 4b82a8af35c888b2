use std::cmp::Reverse;

use differential_dataflow::consolidation::consolidate;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::operators::{IdMap, OutputCapabilities, Stash, shrink_if_sparse};
use crate::{Collection, Diff, Time, ms_of};

/// What is similar to an item or a user now, of which something is other than before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowChange {
    /// The item or the user.
    pub of: u64,
    /// The millisecond of the tick.
    pub at: u64,
    /// All that is similar with its similarity, the most similar first, equal ones by id64; empty when nothing is any
    /// more.
    pub similar: Vec<(u64, u16)>,
}

/// One record for each row that changed in a tick. The rows must lie with their item or user. Holds all of them.
pub fn row_changes<'scope>(
    rows: Collection<'scope, (u64, (u64, u16))>,
    name: &str,
) -> Stream<'scope, Time, Vec<RowChange>> {
    rows.inner.unary_frontier::<CapacityContainerBuilder<Vec<RowChange>>, _, _, _>(Pipeline, name, |_, _| {
        let mut held = OutputCapabilities::new(1);
        let mut stash = Stash::new();
        let mut rows: IdMap<Vec<(u64, u16)>> = IdMap::default();
        let mut moved: Vec<((u64, (u64, u16)), Diff)> = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|capability, data| stash.put(held.retain(&capability), data));
            let upper = frontier.frontier().first().copied().unwrap_or(Time::MAX);
            while let Some(time) = stash.first().filter(|time| *time < upper) {
                moved.extend(stash.take(time).into_iter().flatten().map(|(row, _, diff)| (row, diff)));
                consolidate(&mut moved);
                let capability = held.at(0, time);
                let mut session = output.session(&capability);
                for same in moved.chunk_by(|a, b| a.0.0 == b.0.0) {
                    let of = same[0].0.0;
                    let similar = rows.entry(of).or_default();
                    for ((_, other), diff) in same {
                        if *diff > 0 {
                            similar.push(*other);
                        } else {
                            similar.retain(|known| known != other);
                        }
                    }
                    similar.sort_unstable_by_key(|(id, similarity)| (Reverse(*similarity), *id));
                    session.give(RowChange { of, at: ms_of(time), similar: similar.clone() });
                    if similar.is_empty() {
                        rows.remove(&of);
                        shrink_if_sparse(&mut rows);
                    }
                }
                moved.clear();
            }
            held.release_before(stash.first());
        }
    })
}
