//! The best items of each scope.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use differential_dataflow::AsCollection;
use hashbrown::HashMap;
use schema::{IdMap, shrink_if_sparse};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

use crate::catalogue::EligibleItems;
use crate::operators::{EligibilityChange, StageBuilder};
use crate::{Collection, Diff, ItemId, List, ListKey, Scope, Scored, Time};

/// The `k` eligible items with the largest positive weight of each scope, ties by id. `others`: whether an item is eligible of
/// which there is no change.
///
/// Each list is on the worker of its scope. An empty list is not in the collection, and a list is updated only if its
/// sequence of items changes.
///
/// Cost of a tick: its updates, a search in every scope for each item whose eligibility changed, and a pass over all items of
/// each scope in which an item of the list lost weight or eligibility, or another became eligible. One worker has all items of
/// a scope, and the weights of all of them change when a bucket ends.
pub fn trending<'scope>(
    weights: Collection<'scope, (Option<Scope>, ItemId)>,
    eligibility: Option<Stream<'scope, Time, Vec<EligibilityChange>>>,
    others: bool,
    k: usize,
) -> Collection<'scope, (ListKey, List)> {
    let by_scope =
        Exchange::new(|update: &((Option<Scope>, ItemId), Time, Diff)| ListKey::trending(update.0.0).placement());
    let mut builder = StageBuilder::new("Trending", weights.inner.scope());
    let weights = builder.input(weights.inner, by_scope);
    let eligibility = eligibility.map(|changes| builder.input(changes, Pipeline));
    let (output, lists) = builder.output();
    let mut rankings: HashMap<Option<Scope>, Ranking> = HashMap::default();
    let mut eligible = EligibleItems::new(others);
    builder.build(usize::MAX, move |time: Time| {
        let mut emitted = output.buffer();
        let mut touched: BTreeSet<Option<Scope>> = BTreeSet::new();
        for change in eligibility.iter().flat_map(|changes| changes.take(time)).flatten() {
            eligible.apply(change);
            for (scope, ranking) in rankings.iter_mut().filter(|(_, ranking)| ranking.totals.contains_key(&change.item))
            {
                ranking.needs_rescan = true;
                touched.insert(*scope);
            }
        }
        let mut updates: Vec<_> = weights.take(time).into_iter().flatten().collect();
        updates.sort_unstable_by_key(|((scope, item), ..)| (*scope, *item));
        for of_scope in updates.chunk_by(|a, b| a.0.0 == b.0.0) {
            let scope = of_scope[0].0.0;
            let ranking = rankings.entry(scope).or_default();
            for of_item in of_scope.chunk_by(|a, b| a.0.1 == b.0.1) {
                ranking.add(of_item[0].0.1, of_item.iter().map(|(.., diff)| *diff as i64).sum(), &eligible, k);
            }
            touched.insert(scope);
        }
        for scope in touched {
            let Some(ranking) = rankings.get_mut(&scope) else { continue };
            if let Some((old, new)) = ranking.flush(&eligible, k) {
                let lists = [(old, -1), (new, 1)].into_iter().filter(|(list, _)| !list.is_empty());
                emitted.extend(lists.map(|(list, diff)| ((ListKey::trending(scope), list), time, diff)));
            }
            if ranking.totals.is_empty() {
                rankings.remove(&scope);
            }
        }
    });
    lists.as_collection()
}

/// The ranking of one scope.
#[derive(Default)]
struct Ranking {
    totals: IdMap<i64>,
    /// The best items in order, valid unless `needs_rescan`.
    best: Vec<(Reverse<i64>, ItemId)>,
    /// Whether an item of `best` lost weight, so that an item outside may be better, or what is eligible changed.
    needs_rescan: bool,
    /// The list last emitted.
    emitted: List,
}

impl Ranking {
    fn add(&mut self, item: ItemId, diff: i64, eligible: &EligibleItems, k: usize) {
        let total = self.totals.entry(item).or_default();
        *total += diff;
        let total = *total;
        if total == 0 {
            self.totals.remove(&item);
        }
        let rank = self.best.iter().position(|(_, known)| *known == item);
        self.needs_rescan |= diff < 0 && rank.is_some();
        if self.needs_rescan || diff <= 0 || !eligible.contains(item) {
            return;
        }
        // An item that gains weight displaces the last one at most.
        let ranked = (Reverse(total), item);
        match rank {
            Some(rank) => self.best[rank] = ranked,
            None if self.best.len() < k => self.best.push(ranked),
            None if self.best.last().is_some_and(|last| ranked < *last) => self.best[k - 1] = ranked,
            None => return,
        }
        self.best.sort_unstable();
    }

    /// The list last emitted and the new one, if their sequences of items differ.
    fn flush(&mut self, eligible: &EligibleItems, k: usize) -> Option<(List, List)> {
        if std::mem::take(&mut self.needs_rescan) {
            self.best.clear();
            let listed = self.totals.iter().filter(|(item, total)| **total > 0 && eligible.contains(**item));
            self.best.extend(listed.map(|(item, total)| (Reverse(*total), *item)));
            if self.best.len() > k {
                self.best.select_nth_unstable(k);
                self.best.truncate(k);
            }
            self.best.sort_unstable();
            shrink_if_sparse(&mut self.totals);
        }
        if self.best.iter().map(|(_, item)| *item).eq(self.emitted.iter().map(|scored| scored.item)) {
            return None;
        }
        let list: List = self.best.iter().map(|(Reverse(score), item)| Scored { item: *item, score: *score }).collect();
        Some((std::mem::replace(&mut self.emitted, list.clone()), list))
    }
}
