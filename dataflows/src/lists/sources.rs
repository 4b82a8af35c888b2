//! Sources of candidates. To add one, implement [`Source`] in a file of its own with a constructor of [`CandidateSource`],
//! count it in [`SOURCES`](super::source::SOURCES), and add it to the sources in `graph.rs`.

mod similar_items;
mod similar_users;

use timely::dataflow::Scope;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

#[cfg(test)]
pub(super) use self::{similar_items::SimilarItemsSource, similar_users::SimilarUsersSource};
use super::source::{OWN_ITEMS, Source};
use super::viewers::{CandidateDelta, Viewers};
use crate::operators::{Input, PREFETCH_BATCH, RowCache, StageBuilder, prefetch};
use crate::{Collection, Diff, Subscription, Time, UserId};

/// The inputs of a source.
pub(super) struct SourceInput<S: Source> {
    pub(super) members: Input<((UserId, S::Member), Time, Diff)>,
    pub(super) rows: Input<((Subscription, S::Entry), Time, Diff)>,
}

/// A source for [`lists`](super::lists), with its weight relative to the others; 0 contributes nothing.
pub struct CandidateSource<'scope> {
    pub(super) weight: u32,
    pub(super) scope: Scope<'scope, Time>,
    /// Adds the inputs to the operator of the lists.
    pub(super) connect: Box<dyn FnOnce(&mut StageBuilder<'scope>) -> Box<dyn AnySource> + 'scope>,
}

impl<'scope> CandidateSource<'scope> {
    /// `members` must be located with the viewers; rows are sent there.
    fn new<S: Source>(
        weight: u32,
        members: Collection<'scope, (UserId, S::Member)>,
        rows: Collection<'scope, (Subscription, S::Entry)>,
    ) -> Self {
        let scope = members.inner.scope();
        let connect = |builder: &mut StageBuilder<'scope>| -> Box<dyn AnySource> {
            Box::new(SourceInput::<S>::new(builder, members, rows))
        };
        CandidateSource { weight, scope, connect: Box::new(connect) }
    }
}

impl<S: Source> SourceInput<S> {
    /// Adds the inputs to an operator. `members` must be located with the viewers; rows are sent there.
    pub(super) fn new<'scope>(
        builder: &mut StageBuilder<'scope>,
        members: Collection<'scope, (UserId, S::Member)>,
        rows: Collection<'scope, (Subscription, S::Entry)>,
    ) -> Self {
        let to_viewers = |update: &((Subscription, S::Entry), Time, Diff)| update.0.0.worker();
        let members = builder.input(members.inner, Pipeline);
        SourceInput { members, rows: builder.input(rows.inner, Exchange::new(to_viewers)) }
    }
}

#[cfg(test)]
impl<S: Source> SourceInput<S> {
    pub(super) fn detached() -> Self {
        SourceInput { members: Input::default(), rows: Input::default() }
    }
}

#[cfg(test)]
impl<S: Source> Clone for SourceInput<S> {
    fn clone(&self) -> Self {
        SourceInput { members: self.members.clone(), rows: self.rows.clone() }
    }
}

/// The inputs of any source: dynamic once a tick, static for each record. `source` is the index of the source.
pub(super) trait AnySource {
    fn apply_members(&self, time: Time, source: usize, viewers: &mut Viewers, rows: &mut RowCache);

    /// Applies row updates, which arrive grouped by row, and records the candidates whose value changed.
    fn apply_rows(&self, time: Time, source: usize, changed: &mut Vec<CandidateDelta>, rows: &mut RowCache);
}

impl<S: Source> AnySource for SourceInput<S> {
    fn apply_members(&self, time: Time, source: usize, viewers: &mut Viewers, rows: &mut RowCache) {
        let updates = self.members.take(time);
        if source == OWN_ITEMS {
            viewers.apply_own_items::<S>(&updates, rows);
        } else {
            viewers.apply_members::<S>(source, &updates, rows);
        }
    }

    fn apply_rows(&self, time: Time, source: usize, changed: &mut Vec<CandidateDelta>, rows: &mut RowCache) {
        let updates = self.rows.take(time);
        let by_row = updates.iter().flat_map(|updates| updates.chunk_by(|a, b| a.0.0.row == b.0.0.row));
        let by_row: Vec<_> = by_row.map(|same| (S::intern(rows, same[0].0.0.row), same)).collect();
        for batch in by_row.chunks(PREFETCH_BATCH) {
            prefetch(batch.iter().map(|(row, _)| rows.get(*row).load()));
            for (row, same) in batch {
                let first = changed.len();
                for ((_, entry), _, diff) in *same {
                    let (item, value) = S::entry(entry);
                    let item = rows.intern(item);
                    let (old, new) = rows.update(*row, item, value, *diff);
                    // A retraction and an insertion of one candidate are close together: they make one change.
                    match changed[first..].iter_mut().find(|changed| changed.item == item) {
                        Some(changed) => changed.new = new,
                        None => changed.push(CandidateDelta { source, row: *row, item, old, new }),
                    }
                }
            }
        }
    }
}
