//! The best items of each scope.

use std::cmp::Reverse;

use differential_dataflow::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;

use crate::operators::{IdMap, OutputCapabilities, Stash, shrink_if_sparse};
use crate::{Collection, Diff, ItemId, List, Scope, Scored, Time};

/// The `k` items with the largest accumulated weight above 0 of each scope, ties by id; lists lie with their scope's
/// worker, empty ones are not in the collection, and one whose sequence of items stays the same is left as it is.
///
/// Cost of a tick: its updates, and for a scope in which something in the list fell a pass over its items. All items of a
/// scope are with one worker, and when a bucket ends all of them move.
pub fn trending(weights: Collection<'_, (Scope, ItemId)>, k: usize) -> Collection<'_, (Scope, List)> {
    let by_scope = Exchange::new(|update: &((Scope, ItemId), Time, Diff)| update.0.0);
    let lists = weights.inner.unary_frontier::<CapacityContainerBuilder<_>, _, _, _>(by_scope, "Trending", |_, _| {
        let mut held = OutputCapabilities::new(1);
        let mut stash = Stash::new();
        let mut boards: IdMap<Board> = IdMap::default();
        move |(input, frontier), output| {
            input.for_each(|capability, data| stash.put(held.retain(&capability), data));
            let upper = frontier.frontier().first().copied().unwrap_or(Time::MAX);
            while let Some(time) = stash.first().filter(|time| *time < upper) {
                let mut moved: Vec<_> = stash.take(time).into_iter().flatten().collect();
                moved.sort_unstable_by_key(|((scope, item), ..)| (*scope, *item));
                let capability = held.at(0, time);
                let mut session = output.session(&capability);
                for same in moved.chunk_by(|a, b| a.0.0 == b.0.0) {
                    let scope = same[0].0.0;
                    let board = boards.entry(scope).or_default();
                    for item in same.chunk_by(|a, b| a.0.1 == b.0.1) {
                        board.add(item[0].0.1, item.iter().map(|(.., diff)| *diff as i64).sum(), k);
                    }
                    if let Some((old, new)) = board.ranked(k) {
                        let lists = [(old, -1), (new, 1)].into_iter().filter(|(list, _)| !list.is_empty());
                        session.give_iterator(lists.map(|(list, diff)| ((scope, list), time, diff)));
                    }
                    if board.totals.is_empty() {
                        boards.remove(&scope);
                        shrink_if_sparse(&mut boards);
                    }
                }
            }
            held.release_before(stash.first());
        }
    });
    lists.as_collection()
}

/// One scope.
#[derive(Default)]
struct Board {
    totals: IdMap<i64>,
    /// The best of them, in order, unless one of these fell.
    best: Vec<(Reverse<i64>, ItemId)>,
    fell: bool,
    /// The list that is out.
    told: List,
}

impl Board {
    fn add(&mut self, item: ItemId, diff: i64, k: usize) {
        let total = self.totals.entry(item).or_default();
        *total += diff;
        let total = *total;
        if total == 0 {
            self.totals.remove(&item);
        }
        let place = self.best.iter().position(|(_, known)| *known == item);
        self.fell |= diff < 0 && place.is_some();
        if self.fell || diff <= 0 {
            return;
        }
        // What rises drives out the last at most.
        let ranked = (Reverse(total), item);
        match place {
            Some(place) => self.best[place] = ranked,
            None if self.best.len() < k => self.best.push(ranked),
            None if self.best.last().is_some_and(|last| ranked < *last) => self.best[k - 1] = ranked,
            None => return,
        }
        self.best.sort_unstable();
    }

    /// The list that was out and the new one, if that is another sequence of items.
    fn ranked(&mut self, k: usize) -> Option<(List, List)> {
        if std::mem::take(&mut self.fell) {
            self.best.clear();
            self.best.extend(
                self.totals.iter().filter(|(_, total)| **total > 0).map(|(item, total)| (Reverse(*total), *item)),
            );
            if self.best.len() > k {
                self.best.select_nth_unstable(k);
                self.best.truncate(k);
            }
            self.best.sort_unstable();
            shrink_if_sparse(&mut self.totals);
        }
        if self.best.iter().map(|(_, item)| *item).eq(self.told.iter().map(|scored| scored.item)) {
            return None;
        }
        let list: List = self.best.iter().map(|(Reverse(score), item)| Scored { item: *item, score: *score }).collect();
        Some((std::mem::replace(&mut self.told, list.clone()), list))
    }
}
