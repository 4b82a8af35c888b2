//! The k best candidates of a group under insertions, retractions and changed scores.
//!
//! Beside the k best it keeps a reserve, and of all other candidates only the **floor**, a bound on their scores. An
//! update costs a search among the kept candidates. Only when so many have fallen that the reserve is used up, the owner
//! of the candidates must rescan the group.

use std::cmp::Ordering;
use std::ops::{Add, Sub};

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
    fn order(&self, other: &Self, ids: &Ids) -> Ordering {
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
/// top.rebuild(&mut candidates, None, 2, &ids);
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
    /// First rank with another candidate since [`TopK::take_order_changed`] was last called.
    unchanged: u32,
}

impl<S: Copy + Ord> TopK<S> {
    /// Keeps the best `capacity` of `candidates`, which is left empty. `floor` is the bound of further candidates, which
    /// must score less than all of `candidates`.
    pub fn rebuild(&mut self, candidates: &mut Vec<Ranked<S>>, floor: Option<S>, capacity: usize, ids: &Ids) {
        let order = |a: &Ranked<S>, b: &Ranked<S>| a.order(b, ids);
        self.floor = floor;
        if candidates.len() > capacity {
            candidates.select_nth_unstable_by(capacity, order);
            self.floor = Some(candidates[capacity].score);
            candidates.truncate(capacity);
        }
        candidates.sort_unstable_by(order);
        self.kept.clear();
        self.kept.reserve_exact(candidates.len());
        self.kept.append(candidates);
        self.unchanged = 0;
    }

    /// The `k` best, unless [`TopK::needs_rescan`].
    pub fn best(&self, k: usize) -> &[Ranked<S>] {
        &self.kept[..k.min(self.kept.len())]
    }

    /// Whether the sequence of the `k` best may have changed since the last call. Ignores scores.
    pub fn take_order_changed(&mut self, k: usize) -> bool {
        (std::mem::replace(&mut self.unchanged, u32::MAX) as usize) < k
    }

    /// All kept ids by their low six bits: a filter with false positives. See [`mask_bit`].
    pub(crate) fn mask(&self) -> u64 {
        self.kept.iter().fold(0, |mask, kept| mask | mask_bit(kept.id))
    }

    /// All kept ids by their low eight bits. With 60 kept ids one in five other ids is a false positive, against two in
    /// three with [`TopK::mask`].
    pub(crate) fn id_filter(&self) -> IdFilter {
        let mut filter = IdFilter::default();
        self.kept.iter().for_each(|kept| filter.add(kept.id));
        filter
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

    /// Distance of the floor from the `k`-th best score. Candidates that are not kept may rise by less than this without
    /// entering the `k` best. `None` if there are none, or fewer than `k` are kept.
    pub fn slack(&self, k: usize) -> Option<S>
    where
        S: Sub<Output = S>,
    {
        let last = k.checked_sub(1).and_then(|last| self.kept.get(last))?;
        Some(last.score - self.floor?)
    }

    /// Raises the floor because candidates that are not kept may have gained up to `by`. Drops the part of the reserve
    /// that one of them may have overtaken.
    pub fn raise_floor(&mut self, by: S)
    where
        S: Add<Output = S>,
    {
        let Some(floor) = self.floor.map(|floor| floor + by) else { return };
        self.floor = Some(floor);
        let stay = self.kept.partition_point(|kept| kept.score > floor);
        if stay < self.kept.len() {
            self.kept.truncate(stay);
            self.order_changed(stay);
        }
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

    /// Adjusts the score of a kept candidate, or removes it if `adjusted` returns `None`. Returns the best rank with
    /// another candidate or score, [`usize::MAX`] if there is none, and `None` if the candidate is not kept.
    #[inline]
    pub fn adjust(&mut self, id: Dense, ids: &Ids, adjusted: impl FnOnce(S) -> Option<S>) -> Option<usize> {
        let at = self.kept.iter().position(|kept| kept.id == id)?;
        let old = self.kept[at].score;
        let adjusted = adjusted(old).map(|score| Ranked { score, id });
        if adjusted.is_some_and(|adjusted| adjusted.score == old) {
            return Some(usize::MAX);
        }
        if let Some(adjusted) = adjusted.filter(|adjusted| self.reaches(adjusted, ids)) {
            return Some(self.relocate(at, adjusted, ids));
        }
        self.kept.remove(at);
        self.order_changed(at);
        Some(at)
    }

    /// Sets the score of a candidate, or removes it. Idempotent. Returns the best rank with another candidate or score,
    /// and [`usize::MAX`] if there is none.
    pub fn update(&mut self, id: Dense, score: Option<S>, capacity: usize, ids: &Ids) -> usize {
        if let Some(changed) = self.adjust(id, ids, |_| score) {
            return changed;
        }
        let Some(score) = score else { return usize::MAX };
        let candidate = Ranked { score, id };
        if !self.reaches(&candidate, ids) {
            return usize::MAX;
        }
        let rank = self.kept.partition_point(|kept| kept.order(&candidate, ids) == Ordering::Less);
        self.kept.insert(rank, candidate);
        self.order_changed(rank);
        if self.kept.len() > capacity {
            self.floor = self.kept.pop().map(|fallen| fallen.score);
        }
        if rank < self.kept.len() { rank } else { usize::MAX }
    }

    /// Moves a candidate to the rank of its new score. Returns the better of both ranks.
    fn relocate(&mut self, mut at: usize, adjusted: Ranked<S>, ids: &Ids) -> usize {
        let from = at;
        while at > 0 && adjusted.order(&self.kept[at - 1], ids) == Ordering::Less {
            self.kept[at] = self.kept[at - 1];
            at -= 1;
        }
        while at + 1 < self.kept.len() && self.kept[at + 1].order(&adjusted, ids) == Ordering::Less {
            self.kept[at] = self.kept[at + 1];
            at += 1;
        }
        self.kept[at] = adjusted;
        if at != from {
            self.order_changed(at.min(from));
        }
        at.min(from)
    }

    fn order_changed(&mut self, rank: usize) {
        self.unchanged = self.unchanged.min(u32::try_from(rank).expect("far fewer are kept than 2^32"));
    }
}

/// Capacity of a ranking of the `k` best: a reserve as large as the output, so that rescans are rare.
pub(crate) fn capacity(k: usize) -> usize {
    2 * k
}

/// A set of ids by their low eight bits: a filter with false positives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdFilter([u64; 4]);

impl IdFilter {
    pub(crate) fn add(&mut self, id: Dense) {
        self.0[(id >> 6 & 3) as usize] |= mask_bit(id);
    }

    #[inline]
    pub(crate) fn may_contain(&self, id: Dense) -> bool {
        self.0[(id >> 6 & 3) as usize] & mask_bit(id) != 0
    }
}

/// The bit of an id in a [`TopK::mask`].
pub(crate) fn mask_bit(id: Dense) -> u64 {
    1 << (id & 63)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::iter;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares with a full sort after each update, with scores that collide, fall and vanish.
        #[test]
        fn equals_a_full_sort(
            k in 1_usize..5,
            reserve in 0_usize..4,
            cut in -4_i64..6,
            updates in prop::collection::vec((0_u64..12, prop::option::of(-3_i64..6)), 1..200),
        ) {
            let mut ids = Ids::default();
            // The order of names differs from the order of dense ids.
            let names: Vec<u64> = (0..12).map(|n| (n * 7 % 12) << 32 | n).collect();
            for name in names.iter().rev() {
                ids.intern(*name);
            }
            let mut all: BTreeMap<u64, i64> = BTreeMap::new();
            let rescan = |all: &BTreeMap<u64, i64>, cut: i64| {
                let all = all.iter().map(|(name, score)| Ranked { score: *score, id: ids.get(*name).unwrap() });
                let (mut above, below): (Vec<_>, Vec<_>) = all.partition(|candidate| candidate.score > cut);
                let mut top = TopK::default();
                top.rebuild(&mut above, below.iter().map(|candidate| candidate.score).max(), k + reserve, &ids);
                top
            };
            let mut top = rescan(&all, cut);
            let mut before: Vec<u64> = Vec::new();
            let mut rescans = 0;
            for (n, score) in updates {
                let name = names[n as usize];
                let id = ids.get(name).unwrap();
                let old = match score {
                    Some(score) => all.insert(name, score),
                    None => all.remove(&name),
                };
                // A small rise of a candidate that is not kept need not be reported: the floor rises instead.
                let rise = old.zip(score).map_or(0, |(old, score)| score - old);
                let is_kept = top.best(usize::MAX).iter().any(|kept| kept.id == id);
                let raised = !is_kept && rise > 0 && top.slack(k).is_some_and(|slack| rise < slack);
                if raised {
                    let best = top.best(k).to_vec();
                    top.raise_floor(rise);
                    prop_assert_eq!(&best, top.best(k));
                }
                let reaches = |score: i64| top.floor().is_none_or(|floor| score >= floor);
                let reported = !raised && [old, score].into_iter().flatten().any(reaches);
                let ranked = top.best(usize::MAX).to_vec();
                let mut changed = top.adjust(id, &ids, |now| {
                    assert_eq!(Some(now), old);
                    score
                });
                if reported && changed.is_none() {
                    changed = Some(top.update(id, score, k + reserve, &ids));
                }
                let (before_update, now) = (ranked.iter().map(Some).chain(iter::repeat(None)), top.best(usize::MAX));
                let same = now.iter().map(Some).chain(iter::repeat(None)).zip(before_update).take(20);
                let same = same.take_while(|(now, before)| now == before).count();
                if raised {
                    prop_assert!(same >= k && changed.is_none());
                } else {
                    prop_assert_eq!(changed.unwrap_or(usize::MAX), if same == 20 { usize::MAX } else { same });
                }
                if top.needs_rescan(k) {
                    top = rescan(&all, cut);
                    // Too few candidates score above the cut.
                    if top.needs_rescan(k) {
                        top = rescan(&all, i64::MIN);
                    }
                    rescans += 1;
                }
                let mut expected: Vec<(i64, u64)> = all.iter().map(|(name, score)| (-score, *name)).collect();
                expected.sort_unstable();
                expected.truncate(k);
                let got: Vec<(i64, u64)> =
                    top.best(k).iter().map(|ranked| (-ranked.score, ids.name(ranked.id))).collect();
                let listed: Vec<u64> = got.iter().map(|(_, name)| *name).collect();
                prop_assert!(top.best(k).iter().all(|ranked| top.mask() & mask_bit(ranked.id) != 0));
                prop_assert!(top.take_order_changed(k) || listed == before);
                before = listed;
                prop_assert_eq!(got, expected);
            }
            prop_assert!(rescans <= 200);
        }
    }
}
