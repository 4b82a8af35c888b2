use std::cmp::Reverse;

use differential_dataflow::consolidation::consolidate;
use schema::{IdMap, shrink_if_sparse};
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;

use crate::operators::StageBuilder;
use crate::{Collection, Diff, Time, ms_of};

/// The new neighbours of an item or a user whose neighbours changed in a tick.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowChange {
    /// The item or the user.
    pub of: u64,
    /// Millisecond of the tick.
    pub at: u64,
    /// All neighbours with their similarities, most similar first, ties by id64. Empty if there are no neighbours any more.
    pub similar: Vec<(u64, u16)>,
}

/// Emits one record for each evaluated row that differs from the one before. `evaluated` has each owner at most once a tick, on
/// the worker of the owner.
///
/// Memory: a copy of all rows.
pub fn evaluated_rows<'scope>(
    evaluated: Stream<'scope, Time, Vec<(u64, Vec<(u64, u16)>)>>,
    name: &str,
) -> Stream<'scope, Time, Vec<RowChange>> {
    let mut builder = StageBuilder::new(name, evaluated.scope());
    let evaluated = builder.input(evaluated, Pipeline);
    let (output, changed) = builder.output::<RowChange>();
    let mut rows: IdMap<Vec<(u64, u16)>> = IdMap::default();
    builder.build(usize::MAX, move |time: Time| {
        let mut emitted = output.buffer();
        for (of, similar) in evaluated.take(time).into_iter().flatten() {
            if rows.get(&of).map_or(&[][..], Vec::as_slice) == similar {
                continue;
            }
            if similar.is_empty() {
                rows.remove(&of);
                shrink_if_sparse(&mut rows);
            } else {
                rows.insert(of, similar.clone());
            }
            emitted.push(RowChange { of, at: ms_of(time), similar });
        }
        // Evaluations of a tick come in no order.
        emitted.sort_unstable();
    });
    changed
}

/// Emits one record for each row that changed in a tick. Each row must be on the worker of its item or user.
///
/// Memory: a copy of all rows.
pub fn row_changes<'scope>(
    rows: Collection<'scope, (u64, (u64, u16))>,
    name: &str,
) -> Stream<'scope, Time, Vec<RowChange>> {
    let mut builder = StageBuilder::new(name, rows.inner.scope());
    let input = builder.input(rows.inner, Pipeline);
    let (output, changed) = builder.output::<RowChange>();
    let mut rows: IdMap<Vec<(u64, u16)>> = IdMap::default();
    let mut updates: Vec<((u64, (u64, u16)), Diff)> = Vec::new();
    builder.build(usize::MAX, move |time: Time| {
        updates.extend(input.take(time).into_iter().flatten().map(|(row, _, diff)| (row, diff)));
        consolidate(&mut updates);
        for of_row in updates.chunk_by(|a, b| a.0.0 == b.0.0) {
            let of = of_row[0].0.0;
            let similar = rows.entry(of).or_default();
            for ((_, neighbour), diff) in of_row {
                if *diff > 0 {
                    similar.push(*neighbour);
                } else {
                    similar.retain(|known| known != neighbour);
                }
            }
            similar.sort_unstable_by_key(|(id, similarity)| (Reverse(*similarity), *id));
            output.buffer().push(RowChange { of, at: ms_of(time), similar: similar.clone() });
            if similar.is_empty() {
                rows.remove(&of);
                shrink_if_sparse(&mut rows);
            }
        }
        updates.clear();
    });
    changed
}
