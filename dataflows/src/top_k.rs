//! The k best of a group under insertions, retractions and changed scores: the one structure behind similar items and
//! lists.
//!
//! Beneath the k best it keeps a reserve, and of everything else only the **floor**: no candidate that is not kept
//! scores more. An update costs a search among the kept; only when so many have fallen that the reserve is used up must
//! the group be gone through again, which the owner of the candidates does.

use std::cmp::Ordering;
use std::ops::{Add, Sub};

use crate::dense::{Dense, Ids};

/// A candidate with its score. Of two the better one has the higher score, or the lower id64 if the scores are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked<S> {
    /// The higher the better.
    pub score: S,
    /// Of the candidate.
    pub id: Dense,
}

impl<S: Ord> Ranked<S> {
    fn order(&self, other: &Self, ids: &Ids) -> Ordering {
        other.score.cmp(&self.score).then_with(|| ids.name(self.id).cmp(&ids.name(other.id)))
    }
}

/// The best candidates of a group, in order, while scores change: those asked for and a reserve.
///
/// It does not know the others, only a bound on their scores, [`TopK::floor`]. Whoever owns the candidates tells every
/// change at or above the floor with [`TopK::update`], and when [`TopK::is_short`] says that too many have fallen, goes
/// through all of them with [`TopK::choose`].
///
/// ```
/// use dataflows::ids::Ids;
/// use dataflows::operators::{Ranked, TopK};
///
/// let mut ids = Ids::default();
/// let [a, b, c] = [10, 11, 12].map(|item| ids.intern(item));
/// let mut candidates = vec![Ranked { score: 5, id: a }, Ranked { score: 9, id: b }, Ranked { score: 7, id: c }];
/// // One is asked for, one is the reserve.
/// let mut top = TopK::default();
/// top.choose(&mut candidates, None, 2, &ids);
/// assert_eq!((top.best(1)[0].id, top.floor()), (b, Some(5)));
///
/// top.update(b, Some(3), 2, &ids);
/// assert_eq!(top.best(1)[0].id, c);
/// top.update(c, None, 2, &ids);
/// assert!(top.is_short(1));
/// ```
#[derive(Debug)]
pub struct TopK<S> {
    /// Best first; ids are distinct.
    kept: Vec<Ranked<S>>,
    /// `Some` when there may be candidates that are not kept: none of them scores more, and none that scores as much is
    /// better than the last one kept.
    floor: Option<S>,
    /// Since somebody asked: all ranks before this one have the candidates they had.
    same_until: u32,
}

impl<S> Default for TopK<S> {
    fn default() -> Self {
        TopK { kept: Vec::new(), floor: None, same_until: 0 }
    }
}

impl<S: Copy + Ord> TopK<S> {
    /// Chooses anew: keeps the best `capacity` of `candidates`, which is left empty. `floor`: there are others that
    /// score this at most, and less than all of the candidates.
    pub fn choose(&mut self, candidates: &mut Vec<Ranked<S>>, floor: Option<S>, capacity: usize, ids: &Ids) {
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
        self.same_until = 0;
    }

    /// The `k` best, unless [`TopK::is_short`].
    pub fn best(&self, k: usize) -> &[Ranked<S>] {
        &self.kept[..k.min(self.kept.len())]
    }

    /// Whether the `k` best may be others, or in another order, than when this was last asked. Scores are not looked at.
    pub fn has_moved(&mut self, k: usize) -> bool {
        (std::mem::replace(&mut self.same_until, u32::MAX) as usize) < k
    }

    /// A set with all kept ids, and perhaps others: those that agree with one of them in the low six bits.
    pub(crate) fn mask(&self) -> u64 {
        self.kept.iter().fold(0, |mask, kept| mask | bit(kept.id))
    }

    /// The same in the low eight bits: of sixty ids one in five others agrees with one, instead of two in three.
    pub(crate) fn sieve(&self) -> Sieve {
        let mut sieve = Sieve::default();
        self.kept.iter().for_each(|kept| sieve.add(kept.id));
        sieve
    }

    /// Reads what is kept, a cache line at a time.
    pub(crate) fn peek(&self) -> Dense {
        self.kept.iter().step_by(64 / size_of::<Ranked<S>>()).fold(0, |seen, kept| seen ^ kept.id)
    }

    /// Whether fewer than `k` are kept while there may be more: the group must be gone through again.
    pub fn is_short(&self, k: usize) -> bool {
        self.floor.is_some() && self.kept.len() < k
    }

    /// The score of the best candidate that is not kept, or more, if there may be one. Whoever scores less, before and
    /// after an update, need not be told of.
    pub fn floor(&self) -> Option<S> {
        self.floor
    }

    /// By how much less than this any of those that are not kept may rise without coming near the `k` best; `None` if there are
    /// none, or fewer than `k` are kept.
    pub fn room(&self, k: usize) -> Option<S>
    where
        S: Sub<Output = S>,
    {
        let last = k.checked_sub(1).and_then(|last| self.kept.get(last))?;
        Some(last.score - self.floor?)
    }

    /// Those that are not kept may score up to `by` more than before. Nobody is looked at; it costs the part of the reserve
    /// that one of them may have passed.
    pub fn lift(&mut self, by: S)
    where
        S: Add<Output = S>,
    {
        let Some(floor) = self.floor.map(|floor| floor + by) else { return };
        self.floor = Some(floor);
        let stay = self.kept.partition_point(|kept| kept.score > floor);
        if stay < self.kept.len() {
            self.kept.truncate(stay);
            self.moved(stay);
        }
    }

    /// Whether a candidate would be kept. One that scores as much as the floor is, only if it is better than the last
    /// kept one of that score: what fell or was never kept is not.
    fn reaches(&self, candidate: &Ranked<S>, ids: &Ids) -> bool {
        self.floor.is_none_or(|floor| match candidate.score.cmp(&floor) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => self.kept.last().is_some_and(|last| candidate.order(last, ids) == Ordering::Less),
        })
    }

    /// Gives a candidate another score made of its present one, if it is kept, or takes it away. Returns, if it was kept, the
    /// best rank that has another candidate or score; [`usize::MAX`] if none has.
    #[inline]
    pub fn revise(&mut self, id: Dense, ids: &Ids, revised: impl FnOnce(S) -> Option<S>) -> Option<usize> {
        let at = self.kept.iter().position(|kept| kept.id == id)?;
        let old = self.kept[at].score;
        let revised = revised(old).map(|score| Ranked { score, id });
        if revised.is_some_and(|revised| revised.score == old) {
            return Some(usize::MAX);
        }
        if let Some(revised) = revised.filter(|revised| self.reaches(revised, ids)) {
            return Some(self.relocate(at, revised, ids));
        }
        self.kept.remove(at);
        self.moved(at);
        Some(at)
    }

    /// Gives a candidate its present score, or takes it away. Telling the same again changes nothing. Returns the best rank
    /// that has another candidate or score; [`usize::MAX`] if none has.
    pub fn update(&mut self, id: Dense, score: Option<S>, capacity: usize, ids: &Ids) -> usize {
        if let Some(changed) = self.revise(id, ids, |_| score) {
            return changed;
        }
        let Some(score) = score else { return usize::MAX };
        let candidate = Ranked { score, id };
        if !self.reaches(&candidate, ids) {
            return usize::MAX;
        }
        let place = self.kept.partition_point(|kept| kept.order(&candidate, ids) == Ordering::Less);
        self.kept.insert(place, candidate);
        self.moved(place);
        if self.kept.len() > capacity {
            self.floor = self.kept.pop().map(|fallen| fallen.score);
        }
        if place < self.kept.len() { place } else { usize::MAX }
    }

    /// Puts a candidate at its new place; returns the better of both.
    fn relocate(&mut self, mut at: usize, revised: Ranked<S>, ids: &Ids) -> usize {
        let from = at;
        while at > 0 && revised.order(&self.kept[at - 1], ids) == Ordering::Less {
            self.kept[at] = self.kept[at - 1];
            at -= 1;
        }
        while at + 1 < self.kept.len() && self.kept[at + 1].order(&revised, ids) == Ordering::Less {
            self.kept[at] = self.kept[at + 1];
            at += 1;
        }
        self.kept[at] = revised;
        if at != from {
            self.moved(at.min(from));
        }
        at.min(from)
    }

    fn moved(&mut self, rank: usize) {
        self.same_until = self.same_until.min(u32::try_from(rank).expect("far fewer are kept than 2^32"));
    }
}

/// Ids by their low eight bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sieve([u64; 4]);

impl Sieve {
    pub(crate) fn add(&mut self, id: Dense) {
        self.0[(id >> 6 & 3) as usize] |= bit(id);
    }

    /// Whether the id is there, perhaps.
    #[inline]
    pub(crate) fn may_have(&self, id: Dense) -> bool {
        self.0[(id >> 6 & 3) as usize] & bit(id) != 0
    }
}

/// The place of an id in a [`TopK::mask`].
pub(crate) fn bit(id: Dense) -> u64 {
    1 << (id & 63)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::iter;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against sorting everything after each update, with scores that collide, fall and vanish.
        #[test]
        fn equals_a_full_sort(
            k in 1_usize..5,
            reserve in 0_usize..4,
            cut in -4_i64..6,
            updates in prop::collection::vec((0_u64..12, prop::option::of(-3_i64..6)), 1..200),
        ) {
            let mut ids = Ids::default();
            // Names in another order than the dense ids.
            let names: Vec<u64> = (0..12).map(|n| (n * 7 % 12) << 32 | n).collect();
            for name in names.iter().rev() {
                ids.intern(*name);
            }
            let mut all: BTreeMap<u64, i64> = BTreeMap::new();
            let rescan = |all: &BTreeMap<u64, i64>, cut: i64| {
                let all = all.iter().map(|(name, score)| Ranked { score: *score, id: ids.get(*name).unwrap() });
                let (mut above, below): (Vec<_>, Vec<_>) = all.partition(|candidate| candidate.score > cut);
                let mut top = TopK::default();
                top.choose(&mut above, below.iter().map(|candidate| candidate.score).max(), k + reserve, &ids);
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
                // Who is not kept and rises a little need not be told of: then the floor rises.
                let rise = old.zip(score).map_or(0, |(old, score)| score - old);
                let is_kept = top.best(usize::MAX).iter().any(|kept| kept.id == id);
                let lifted = !is_kept && rise > 0 && top.room(k).is_some_and(|room| rise < room);
                if lifted {
                    let best = top.best(k).to_vec();
                    top.lift(rise);
                    prop_assert_eq!(&best, top.best(k));
                }
                let reaches = |score: i64| top.floor().is_none_or(|floor| score >= floor);
                let told = !lifted && [old, score].into_iter().flatten().any(reaches);
                let ranked = top.best(usize::MAX).to_vec();
                let mut changed = top.revise(id, &ids, |now| {
                    assert_eq!(Some(now), old);
                    score
                });
                if told && changed.is_none() {
                    changed = Some(top.update(id, score, k + reserve, &ids));
                }
                let (before_it, now) = (ranked.iter().map(Some).chain(iter::repeat(None)), top.best(usize::MAX));
                let same = now.iter().map(Some).chain(iter::repeat(None)).zip(before_it).take(20);
                let same = same.take_while(|(now, before)| now == before).count();
                if lifted {
                    prop_assert!(same >= k && changed.is_none());
                } else {
                    prop_assert_eq!(changed.unwrap_or(usize::MAX), if same == 20 { usize::MAX } else { same });
                }
                if top.is_short(k) {
                    top = rescan(&all, cut);
                    // Too few above the cut: without it.
                    if top.is_short(k) {
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
                prop_assert!(top.best(k).iter().all(|ranked| top.mask() & bit(ranked.id) != 0));
                prop_assert!(top.has_moved(k) || listed == before);
                before = listed;
                prop_assert_eq!(got, expected);
            }
            prop_assert!(rescans <= 200);
        }
    }
}
