//! The k best of a group under insertions, retractions and changed scores: the one structure behind similar items and
//! lists.
//!
//! Beneath the k best it keeps a reserve, and of everything else only the **floor**: no candidate that is not kept
//! ranks above it. An update costs a search among the kept; only when so many have fallen that the reserve is used up
//! must the group be gone through again, which the owner of the candidates does.

use std::cmp::Ordering;

/// A candidate with its score. Better is less: score descending, then id64 ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ranked {
    pub(crate) score: i64,
    pub(crate) id: u64,
}

impl Ranked {
    fn order(&self, other: &Self) -> Ordering {
        other.score.cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TopK {
    /// Best first; ids are distinct.
    kept: Vec<Ranked>,
    /// `Some` when there may be candidates that are not kept: none of them is better than this one.
    floor: Option<(i64, u64)>,
}

impl TopK {
    /// Chooses anew: keeps the best `capacity` of `candidates`, which is left empty.
    pub(crate) fn choose(&mut self, candidates: &mut Vec<Ranked>, capacity: usize) {
        self.floor = None;
        if candidates.len() > capacity {
            candidates.select_nth_unstable_by(capacity, Ranked::order);
            self.floor = Some((candidates[capacity].score, candidates[capacity].id));
            candidates.truncate(capacity);
        }
        candidates.sort_unstable_by(Ranked::order);
        self.kept.clear();
        self.kept.reserve_exact(candidates.len());
        self.kept.append(candidates);
    }

    /// The `k` best, unless [`TopK::is_short`].
    pub(crate) fn best(&self, k: usize) -> &[Ranked] {
        &self.kept[..k.min(self.kept.len())]
    }

    /// Whether fewer than `k` are kept while there may be more: the group must be gone through again.
    pub(crate) fn is_short(&self, k: usize) -> bool {
        self.floor.is_some() && self.kept.len() < k
    }

    /// The score of the best candidate that is not kept, if there may be one. Whoever scores less, before and after an
    /// update, need not be told of.
    pub(crate) fn floor(&self) -> Option<i64> {
        self.floor.map(|(score, _)| score)
    }

    fn reaches(&self, score: i64, id: u64) -> bool {
        self.floor.is_none_or(|(floor, at)| score > floor || (score == floor && id < at))
    }

    /// Gives a candidate another score made of its present one, if it is kept, or takes it away; returns whether it was.
    pub(crate) fn revise(&mut self, id: u64, revised: impl FnOnce(i64) -> Option<i64>) -> bool {
        let Some(at) = self.kept.iter().position(|kept| kept.id == id) else { return false };
        match revised(self.kept[at].score).filter(|score| self.reaches(*score, id)) {
            Some(score) => self.relocate(at, Ranked { score, id }),
            None => drop(self.kept.remove(at)),
        }
        true
    }

    /// Puts a candidate at its new place.
    fn relocate(&mut self, mut at: usize, moved: Ranked) {
        while at > 0 && moved.order(&self.kept[at - 1]) == Ordering::Less {
            self.kept[at] = self.kept[at - 1];
            at -= 1;
        }
        while at + 1 < self.kept.len() && self.kept[at + 1].order(&moved) == Ordering::Less {
            self.kept[at] = self.kept[at + 1];
            at += 1;
        }
        self.kept[at] = moved;
    }

    /// Gives a candidate its present score, or takes it away. Telling the same again changes nothing.
    pub(crate) fn update(&mut self, id: u64, score: Option<i64>, capacity: usize) {
        if self.revise(id, |_| score) {
            return;
        }
        let Some(score) = score.filter(|score| self.reaches(*score, id)) else { return };
        let candidate = Ranked { score, id };
        let place = self.kept.partition_point(|kept| kept.order(&candidate) == Ordering::Less);
        self.kept.insert(place, candidate);
        if self.kept.len() > capacity {
            let fallen = self.kept.pop().expect("longer than its capacity");
            self.floor = Some((fallen.score, fallen.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against sorting everything after each update, with scores that collide, fall and vanish.
        #[test]
        fn equals_a_full_sort(
            k in 1_usize..5,
            reserve in 0_usize..4,
            updates in prop::collection::vec((0_u64..12, prop::option::of(-3_i64..6)), 1..200),
        ) {
            let mut all: BTreeMap<u64, i64> = BTreeMap::new();
            let rescan = |all: &BTreeMap<u64, i64>| {
                let mut candidates = all.iter().map(|(id, score)| Ranked { score: *score, id: *id }).collect();
                let mut top = TopK::default();
                top.choose(&mut candidates, k + reserve);
                top
            };
            let mut top = rescan(&all);
            let mut rescans = 0;
            for (id, score) in updates {
                let old = match score {
                    Some(score) => all.insert(id, score),
                    None => all.remove(&id),
                };
                let told = [old, score].into_iter().flatten().any(|score| top.floor().is_none_or(|floor| score >= floor));
                let kept = top.revise(id, |now| {
                    assert_eq!(Some(now), old);
                    score
                });
                if told && !kept {
                    top.update(id, score, k + reserve);
                }
                if top.is_short(k) {
                    top = rescan(&all);
                    rescans += 1;
                }
                let mut expected: Vec<(i64, u64)> = all.iter().map(|(id, score)| (-score, *id)).collect();
                expected.sort_unstable();
                expected.truncate(k);
                let got: Vec<(i64, u64)> = top.best(k).iter().map(|ranked| (-ranked.score, ranked.id)).collect();
                prop_assert_eq!(got, expected);
            }
            prop_assert!(rescans <= 200);
        }
    }
}
