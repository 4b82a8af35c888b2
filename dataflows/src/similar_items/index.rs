//! What one worker holds of its items: counts, popularities, rankings, and what has been told to whom.

use super::Neighbour;
use super::dense::{Dense, Ids, place};
use super::pairs::Pairs;
use crate::audience::Interest;
use crate::quantise::{PHASES, phase, phased};
use crate::top_k::{Ranked, TopK};
use crate::{Config, Diff, ItemId, Logarithm, Similarity, Time};

/// A ranking is made anew when more than one in so many of an item's pairs is touched in a tick.
const TOUCHED_SHARE: usize = 4;

/// The pair index. It is symmetric: whoever owns x knows all of x's pairs, so it serves both the counting and, when x's
/// popularity crosses a threshold, the fan-out to the items that have x as a partner.
///
/// Two operators share it. Within a tick counts come first, then popularities, then rankings, and the counts of a tick
/// must wait for the rankings of all earlier ones ([`Index::ranked_before`]).
pub(super) struct Index {
    ids: Ids,
    rows: Vec<Option<Box<Row>>>,
    /// Of the items owned.
    popularity: Vec<u64>,
    /// Of every item anywhere: the fine logarithm of popularity plus shrink, as of the last rankings; 0 if unknown.
    fine: Vec<u32>,
    /// Rows to be looked at by the rankings, each once.
    dirty: Vec<Dense>,
    /// How many pairs the rows hold.
    pub(super) pairs: u64,
    /// All ticks before this one are ranked.
    pub(super) ranked_before: Time,
    logarithm: Logarithm,
    similarity: Similarity,
    config: Config,
    candidates: Vec<Ranked>,
}

/// An item owned by this worker.
struct Row {
    pairs: Pairs,
    /// The best partners; kept only while somebody wants to know them.
    ranking: Option<TopK>,
    /// Partners whose rank may have changed.
    touched: Vec<Dense>,
    dirty: bool,
    /// How many viewers of which worker have the item in the profile.
    wanted: Vec<(u64, Diff)>,
    /// Which workers have been told what, best first.
    told: Vec<u64>,
    neighbours: Vec<Neighbour>,
}

impl Row {
    fn new(item: Dense) -> Box<Self> {
        Box::new(Row {
            pairs: Pairs::new(item),
            ranking: None,
            touched: Vec::new(),
            dirty: false,
            wanted: Vec::new(),
            told: Vec::new(),
            neighbours: Vec::new(),
        })
    }

    fn mark(&mut self, item: Dense, dirty: &mut Vec<Dense>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(item);
        }
    }

    /// Notes that a partner's rank may have changed; when too many have, the ranking is given up and made anew.
    fn touch(&mut self, item: Dense, partner: Dense, dirty: &mut Vec<Dense>) {
        self.touched.push(partner);
        if self.touched.len() > 16 + self.pairs.len() / TOUCHED_SHARE {
            self.ranking = None;
            self.touched.clear();
        }
        self.mark(item, dirty);
    }
}

/// What a change of an item's popularity means to others.
pub(super) enum Crossing {
    /// The item's fine logarithm is now this.
    Fine(ItemId, u32),
    /// Nobody has the item any more.
    Gone(ItemId),
    /// `partner` weighs differently among the similar items of `item`, as its fine logarithm became `fine`.
    Rank { item: ItemId, partner: ItemId, fine: u32 },
}

impl Index {
    pub(super) fn new(config: &Config) -> Self {
        Index {
            ids: Ids::default(),
            rows: Vec::new(),
            popularity: Vec::new(),
            fine: Vec::new(),
            dirty: Vec::new(),
            pairs: 0,
            ranked_before: 0,
            logarithm: Logarithm::new(config.resolution),
            similarity: Similarity::new(config.resolution),
            config: config.clone(),
            candidates: Vec::new(),
        }
    }

    /// Step 1: counts a pair of an item owned here.
    pub(super) fn count(&mut self, item: ItemId, partner: ItemId, diff: Diff) {
        let (item, partner) = (self.ids.intern(item), self.ids.intern(partner));
        let row = place(&mut self.rows, item).get_or_insert_with(|| Row::new(item));
        let (old, new) = row.pairs.add(partner, diff as i64);
        self.pairs = self.pairs + u64::from(new > 0) - u64::from(old > 0);
        let Some(ranking) = &row.ranking else { return };
        let least = self.config.min_cooccurrence;
        let (old, new) = (evidence(old, least, &self.logarithm), evidence(new, least, &self.logarithm));
        if old == new {
            return;
        }
        // Popularities are those before the tick; where this tick's change matters a `Crossing::Rank` follows.
        let against = against(&self.fine, item, partner);
        let id = self.ids.name(partner);
        if [old, new].into_iter().flatten().any(|evidence| ranking.reaches(evidence - against, id)) {
            row.touch(item, partner, &mut self.dirty);
        }
    }

    /// Step 2: moves the popularity of an item owned here and says what that means to others.
    pub(super) fn popularise(&mut self, item: ItemId, diff: Diff, tell: &mut impl FnMut(Crossing)) {
        let id = self.ids.intern(item);
        let popularity = place(&mut self.popularity, id);
        let old = *popularity;
        *popularity =
            old.checked_add_signed(diff as i64).expect("a popularity is a sum over users, none taken back twice");
        let new = *popularity;
        if new == 0 {
            tell(Crossing::Gone(item));
            return;
        }
        let new_fine = self.logarithm.fine(new + u64::from(self.config.shrink));
        let old_fine = *place(&mut self.fine, id);
        if new_fine == old_fine {
            return;
        }
        tell(Crossing::Fine(item, new_fine));
        if old == 0 {
            return; // All its pairs are as new as itself.
        }
        let Some(row) = self.rows.get(id as usize).and_then(Option::as_ref) else { return };
        for phases in crossed(old_fine, new_fine) {
            for partner in row.pairs.in_phases(phases) {
                tell(Crossing::Rank { item: self.ids.name(partner), partner: item, fine: new_fine });
            }
        }
    }

    /// Step 3: a partner of an item owned here moved to another quantised popularity.
    pub(super) fn cross(&mut self, item: ItemId, partner: ItemId, fine: u32) {
        let (item, partner) = (self.ids.intern(item), self.ids.intern(partner));
        let Some(row) = place(&mut self.rows, item) else { return };
        let Some(ranking) = &row.ranking else { return };
        let Some(evidence) = evidence(row.pairs.get(partner), self.config.min_cooccurrence, &self.logarithm) else {
            return;
        };
        let old = against(&self.fine, item, partner);
        let new = i64::from(phased(fine, phase(u64::from(item), u64::from(partner))));
        let id = self.ids.name(partner);
        if ranking.reaches(evidence - old, id) || ranking.reaches(evidence - new, id) {
            row.touch(item, partner, &mut self.dirty);
        }
    }

    /// Step 4: an item anywhere has another fine popularity. Its own similarities all weigh differently.
    pub(super) fn set_fine(&mut self, item: ItemId, fine: u32) {
        let id = self.ids.intern(item);
        *place(&mut self.fine, id) = fine;
        if let Some(row) = self.rows.get_mut(id as usize).and_then(Option::as_mut) {
            row.mark(id, &mut self.dirty);
        }
    }

    /// Step 5: somebody wants to know an item's neighbours, or no longer does.
    pub(super) fn want(&mut self, interest: Interest, diff: Diff) {
        let item = self.ids.intern(interest.item);
        let row = place(&mut self.rows, item).get_or_insert_with(|| Row::new(item));
        match row.wanted.iter().position(|(worker, _)| *worker == interest.worker) {
            None => row.wanted.push((interest.worker, diff)),
            Some(at) => {
                row.wanted[at].1 += diff;
                if row.wanted[at].1 == 0 {
                    row.wanted.swap_remove(at);
                }
            }
        }
        row.mark(item, &mut self.dirty);
    }

    /// Step 6: ranks what was touched, a row for a unit of fuel, and tells those who want to know what is different.
    /// Returns whether all is done.
    pub(super) fn rank(&mut self, fuel: &mut usize, tell: &mut impl FnMut(Interest, Neighbour, Diff)) -> bool {
        while let Some(item) = self.dirty.pop() {
            if *fuel == 0 {
                self.dirty.push(item);
                return false;
            }
            *fuel -= 1;
            let Some(mut row) = self.rows[item as usize].take() else { continue };
            row.dirty = false;
            let neighbours = if row.wanted.is_empty() {
                row.ranking = None;
                row.touched.clear();
                Vec::new()
            } else {
                self.neighbours(item, &mut row)
            };
            self.tell_difference(item, &mut row, neighbours, tell);
            if row.pairs.len() > 0 || !row.wanted.is_empty() {
                self.rows[item as usize] = Some(row);
            }
        }
        true
    }

    /// Step 7: lets go of an item that nobody has any more.
    pub(super) fn release(&mut self, item: ItemId) {
        let Some(id) = self.ids.get(item) else { return };
        *place(&mut self.fine, id) = 0;
        *place(&mut self.rows, id) = None;
        self.ids.release(id);
    }

    /// The best partners of an item with their similarity, after bringing its ranking up to date.
    fn neighbours(&mut self, item: Dense, row: &mut Row) -> Vec<Neighbour> {
        let k = self.config.neighbours;
        if let Some(ranking) = &mut row.ranking {
            for partner in row.touched.drain(..) {
                let evidence = evidence(row.pairs.get(partner), self.config.min_cooccurrence, &self.logarithm);
                let score = evidence.map(|evidence| evidence - against(&self.fine, item, partner));
                ranking.update(self.ids.name(partner), score, capacity(k));
            }
        }
        if row.ranking.as_ref().is_none_or(|ranking| ranking.is_short(k)) {
            row.touched.clear();
            let scored = row.pairs.iter().filter_map(|(partner, count)| {
                let evidence = evidence(count, self.config.min_cooccurrence, &self.logarithm)?;
                Some(Ranked { score: evidence - against(&self.fine, item, partner), id: self.ids.name(partner) })
            });
            self.candidates.extend(scored);
            row.ranking = Some(TopK::choose(&mut self.candidates, capacity(k)));
        }
        let own = self.fine.get(item as usize).copied().unwrap_or(0);
        let best = row.ranking.as_ref().map_or(&[][..], |ranking| ranking.best(k));
        best.iter()
            .map(|ranked| {
                let own = phased(own, phase(u64::from(item), ranked.id));
                let exponent = i32::try_from(ranked.score - i64::from(own)).expect("sums of three logarithms");
                Neighbour { item: ranked.id, similarity: self.similarity.of(exponent) }
            })
            .collect()
    }

    /// Tells the workers that were told before what is different, new ones all, and those that left that all is gone.
    fn tell_difference(
        &self,
        item: Dense,
        row: &mut Row,
        neighbours: Vec<Neighbour>,
        tell: &mut impl FnMut(Interest, Neighbour, Diff),
    ) {
        let address = |worker: u64| Interest { item: self.ids.name(item), worker };
        row.told.retain(|worker| {
            let stays = row.wanted.iter().any(|(wants, _)| wants == worker);
            if !stays {
                row.neighbours.iter().for_each(|neighbour| tell(address(*worker), *neighbour, -1));
            }
            stays
        });
        if row.neighbours != neighbours {
            for old in row.neighbours.iter().filter(|old| !neighbours.contains(old)) {
                row.told.iter().for_each(|worker| tell(address(*worker), *old, -1));
            }
            for new in neighbours.iter().filter(|new| !row.neighbours.contains(new)) {
                row.told.iter().for_each(|worker| tell(address(*worker), *new, 1));
            }
        }
        for (worker, _) in &row.wanted {
            if !row.told.contains(worker) {
                for neighbour in &neighbours {
                    tell(address(*worker), *neighbour, 1);
                }
                row.told.push(*worker);
            }
        }
        row.neighbours = neighbours;
    }
}

/// A reserve as large as the list itself, so that a ranking is seldom made anew.
fn capacity(k: usize) -> usize {
    2 * k
}

/// `2 q(C)`, for a pair with enough of it.
fn evidence(count: u32, least: u32, logarithm: &Logarithm) -> Option<i64> {
    (count >= least.max(1)).then(|| 2 * i64::from(logarithm.q(u64::from(count))))
}

/// `q_ij(N_j + shrink)`: what the partner's popularity takes off.
fn against(fine: &[u32], item: Dense, partner: Dense) -> i64 {
    let fine = fine.get(partner as usize).copied().unwrap_or(0);
    i64::from(phased(fine, phase(u64::from(item), u64::from(partner))))
}

/// The phases for which `(fine + phase) / 64` is not the same before and after.
fn crossed(old: u32, new: u32) -> [std::ops::Range<u32>; 2] {
    let (low, high) = (old.min(new), old.max(new));
    let width = (high - low).min(PHASES);
    let start = (PHASES - high % PHASES) % PHASES;
    let end = start + width;
    [start..end.min(PHASES), 0..end.saturating_sub(PHASES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossed_phases_by_definition() {
        for old in 0..300 {
            for new in 0..300 {
                let ranges = crossed(old, new);
                for phase in 0..PHASES {
                    let moves = phased(old, phase) != phased(new, phase);
                    let found = ranges.iter().filter(|range| range.contains(&phase)).count();
                    assert_eq!(found, usize::from(moves), "{old} -> {new}, phase {phase}");
                }
            }
        }
    }
}
