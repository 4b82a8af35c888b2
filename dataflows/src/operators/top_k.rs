//! The k best candidates of a group under insertions, retractions and changed scores.
//!
//! Beside the k best it keeps a reserve, and of all other candidates only the **floor**, a bound on their scores. An
//! update costs a search among the kept candidates. Only when so many have fallen that the reserve is used up, the owner
//! of the candidates must rescan the group.

use std::cmp::Ordering;

use super::{Dense, Ids, load_lines};

/// A candidate with its score. The better of two has the higher score, or the lower id64 if the scores are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked<S> {
    /// Score; higher is better.
    pub score: S,
    /// Id of the candidate.
    pub id: Dense,
}

impl<S: Ord> Ranked<S> {
    pub(crate) fn order(&self, other: &Self, ids: &Ids) -> Ordering {
        other.score.cmp(&self.score).then_with(|| ids.name(self.id).cmp(&ids.name(other.id)))
    }
}

/// The best candidates of a group in order, while scores change: the k best and a reserve.
///
/// The other candidates are known only by a bound on their scores, [`TopK::floor`]. The owner of the candidates reports
/// every change at or above the floor with [`TopK::update`]. When [`TopK::needs_rescan`] says that too many candidates
/// have fallen, it passes all of them to [`TopK::rebuild`].
///
/// ```
/// use dataflows::operators::{Ids, Ranked, TopK};
///
/// let mut ids = Ids::default();
/// let [a, b, c] = [10, 11, 12].map(|item| ids.intern(item));
/// let mut candidates = vec![Ranked { score: 5, id: a }, Ranked { score: 9, id: b }, Ranked { score: 7, id: c }];
/// // k is 1, and 1 is the reserve.
/// let mut top = TopK::default();
/// top.rebuild(&mut candidates, 2, &ids);
/// assert_eq!((top.best(1)[0].id, top.floor()), (b, Some(5)));
///
/// top.update(b, Some(3), 2, &ids);
/// assert_eq!(top.best(1)[0].id, c);
/// top.update(c, None, 2, &ids);
/// assert!(top.needs_rescan(1));
/// ```
#[derive(Debug, Default)]
pub struct TopK<S> {
    /// Kept candidates, best first. Ids are distinct.
    kept: Vec<Ranked<S>>,
    /// Bound on the candidates that are not kept; `None` if there are none. None of them scores more, and none that
    /// scores as much is better than the last kept candidate.
    floor: Option<S>,
}

impl<S: Copy + Ord> TopK<S> {
    /// Keeps the best `capacity` of `candidates`, which is left empty.
    pub fn rebuild(&mut self, candidates: &mut Vec<Ranked<S>>, capacity: usize, ids: &Ids) {
        let order = |a: &Ranked<S>, b: &Ranked<S>| a.order(b, ids);
        self.floor = None;
        if candidates.len() > capacity {
            candidates.select_nth_unstable_by(capacity, order);
            self.floor = Some(candidates[capacity].score);
            candidates.truncate(capacity);
        }
        candidates.sort_unstable_by(order);
        self.kept.clear();
        self.kept.reserve_exact(candidates.len());
        self.kept.append(candidates);
    }

    /// The `k` best, unless [`TopK::needs_rescan`].
    pub fn best(&self, k: usize) -> &[Ranked<S>] {
        &self.kept[..k.min(self.kept.len())]
    }

    /// Loads the kept candidates, for [`prefetch`](super::prefetch).
    pub(crate) fn load(&self) -> Dense {
        load_lines(&self.kept, |kept| kept.id)
    }

    /// Whether fewer than `k` candidates are kept and there may be others.
    pub fn needs_rescan(&self, k: usize) -> bool {
        self.floor.is_some() && self.kept.len() < k
    }

    /// Upper bound on the scores of the candidates that are not kept; `None` if there are none. A candidate below the
    /// floor before and after a change need not be reported.
    pub fn floor(&self) -> Option<S> {
        self.floor
    }

    /// Whether a candidate is to be kept. At the score of the floor it must be better than the last kept candidate:
    /// otherwise one that is not kept may be better.
    fn reaches(&self, candidate: &Ranked<S>, ids: &Ids) -> bool {
        self.floor.is_none_or(|floor| match candidate.score.cmp(&floor) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => self.kept.last().is_some_and(|last| candidate.order(last, ids) == Ordering::Less),
        })
    }

    /// Sets the score of a candidate, or removes it. Idempotent.
    pub fn update(&mut self, id: Dense, score: Option<S>, capacity: usize, ids: &Ids) {
        let known = self.kept.iter().position(|kept| kept.id == id);
        if known.is_some_and(|at| Some(self.kept[at].score) == score) {
            return;
        }
        let candidate = score.map(|score| Ranked { score, id }).filter(|candidate| self.reaches(candidate, ids));
        if let Some(at) = known {
            self.kept.remove(at);
        }
        let Some(candidate) = candidate else { return };
        let rank = self.kept.partition_point(|kept| kept.order(&candidate, ids) == Ordering::Less);
        self.kept.insert(rank, candidate);
        if self.kept.len() > capacity {
            self.floor = self.kept.pop().map(|fallen| fallen.score);
        }
    }
}

/// Replaces `best` by the `k` best of `all`, in no order. Consumes `all` also if `k` is 0.
///
/// Cost: a comparison of scores for each, amortised, and a selection for every `k` of them that may be among the best. Ids are
/// looked up only where scores are equal.
pub(crate) fn select_best<S: Copy + Ord>(
    all: impl Iterator<Item = Ranked<S>>,
    k: usize,
    ids: &Ids,
    best: &mut Vec<Ranked<S>>,
) {
    best.clear();
    let keep = |best: &mut Vec<Ranked<S>>| {
        best.select_nth_unstable_by(k - 1, |a, b| a.order(b, ids));
        best.truncate(k);
        best[k - 1].score
    };
    let mut bound = None;
    for candidate in all.filter(|_| k > 0) {
        if bound.is_some_and(|bound| candidate.score < bound) {
            continue;
        }
        best.push(candidate);
        if best.len() == capacity(k) {
            bound = Some(keep(best));
        }
    }
    if best.len() > k {
        keep(best);
    }
}

/// Capacity of a ranking of the `k` best: a reserve as large as the output, so that rescans are rare.
pub(crate) fn capacity(k: usize) -> usize {
    2 * k
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Scores that collide, in an order of their own, and fewer candidates than asked for.
        #[test]
        fn selects_what_a_full_sort_has_first(k in 0_usize..8, scores in prop::collection::vec(-3_i64..9, 0..60)) {
            let mut ids = Ids::default();
            let ranked = |(n, score): (u64, &i64)| Ranked { score: *score, id: ids.intern(n * 37 % 61) };
            let all: Vec<_> = (0..).zip(&scores).map(ranked).collect();
            let mut sorted = all.clone();
            sorted.sort_unstable_by(|a, b| a.order(b, &ids));
            sorted.truncate(k);
            let mut best = all.clone();
            select_best(all.into_iter(), k, &ids, &mut best);
            best.sort_unstable_by(|a, b| a.order(b, &ids));
            prop_assert_eq!(best, sorted);
        }

        /// Compares with a full sort after each update, with scores that collide, fall and vanish.
        #[test]
        fn equals_a_full_sort(
            k in 1_usize..5,
            reserve in 0_usize..4,
            updates in prop::collection::vec((0_u64..12, prop::option::of(-3_i64..6)), 1..200),
        ) {
            let mut ids = Ids::default();
            // The order of names differs from the order of dense ids.
            let names: Vec<u64> = (0..12).map(|n| (n * 7 % 12) << 32 | n).collect();
            for name in names.iter().rev() {
                ids.intern(*name);
            }
            let mut all: BTreeMap<u64, i64> = BTreeMap::new();
            let rescan = |all: &BTreeMap<u64, i64>| {
                let all = all.iter().map(|(name, score)| Ranked { score: *score, id: ids.get(*name).unwrap() });
                let mut top = TopK::default();
                top.rebuild(&mut all.collect(), k + reserve, &ids);
                top
            };
            let mut top = rescan(&all);
            let mut rescans = 0;
            for (n, score) in updates {
                let name = names[n as usize];
                let id = ids.get(name).unwrap();
                let old = match score {
                    Some(score) => all.insert(name, score),
                    None => all.remove(&name),
                };
                // What stays below the floor need not be reported.
                if [old, score].into_iter().flatten().any(|score| top.floor().is_none_or(|floor| score >= floor)) {
                    top.update(id, score, k + reserve, &ids);
                }
                if top.needs_rescan(k) {
                    top = rescan(&all);
                    rescans += 1;
                }
                let mut expected: Vec<(i64, u64)> = all.iter().map(|(name, score)| (-score, *name)).collect();
                expected.sort_unstable();
                expected.truncate(k);
                let got: Vec<(i64, u64)> =
                    top.best(k).iter().map(|ranked| (-ranked.score, ids.name(ranked.id))).collect();
                prop_assert_eq!(got, expected);
            }
            prop_assert!(rescans <= 200);
        }
    }
}
