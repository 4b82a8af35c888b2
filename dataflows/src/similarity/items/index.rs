//! The state of one worker for its items: counts, popularities, rankings and emitted rows.

use std::ops::Range;

use super::Neighbour;
use super::pairs::Pairs;
use super::row::{Row, Similar, TouchedPartner, UNKNOWN};
use crate::catalogue::EligibleItems;
use crate::operators::{Dense, Ids, PREFETCH_BATCH, Ranked, RecentIds, TopK, capacity, prefetch};
use crate::similarity::measure::{Formula, Pair};
use crate::similarity::quantise::{PHASES, phase, phased};
use crate::{Config, Diff, ItemId, Logarithm, Subscription, Time};

/// A ranking is rebuilt when more than one in this many of an item's pairs is touched in a tick.
const REBUILD_SHARE: usize = 4;

/// Pairs that are prefetched together. More than [`PREFETCH_BATCH`]: each is a single load, seldom in the cache.
const PAIR_BATCH: usize = 32;

/// The threshold of an item without a ranking: no score reaches it.
const NO_RANKING: i32 = i32::MAX;

/// Hot fields of an item, read for nearly every update of its pairs. Kept in an array of their own to stay in cache.
#[derive(Clone, Copy, Debug)]
struct HotFields {
    /// Floor of the ranking. A partner that scores less, before and after, does not change the ranking.
    threshold: i32,
    /// Number of partners touched in this tick.
    touched: u32,
    /// End of these partners in [`Index::touched`].
    end: u32,
}

impl HotFields {
    const NONE: HotFields = HotFields { threshold: NO_RANKING, touched: 0, end: 0 };
}

/// The pair index. It is symmetric: the owner of x knows all pairs of x. So it serves the counting and, when the
/// popularity of x crosses a threshold, the fan-out to the items that have x as a partner.
///
/// Two operators share it. Within a tick counts come first, then popularities, then rankings. The counts of a tick must
/// wait for the rankings of all earlier ticks ([`Index::ranked_before`]).
pub(super) struct Index<F> {
    ids: Ids,
    /// Pair counts by item; empty tables for items owned by other workers.
    pairs: Vec<Pairs>,
    /// Popularities of the owned items.
    popularity: Vec<u64>,
    /// Fine logarithms of [`Formula::popularity`] by item, for the items of all workers, as of the last rankings; 0 if
    /// unknown.
    fine: Vec<u32>,
    /// Whether an item may be recommended, for the items of all workers, as of the last rankings.
    eligible: Vec<bool>,
    /// Whether the owned items may be recommended, as of the tick that is counted; `true` for those of other workers.
    pub(super) eligible_items: EligibleItems,
    /// Population, on the worker that counts it.
    population: u64,
    /// Fine logarithm of the population as of the last rankings, on every worker.
    fine_population: u32,
    /// Hot fields by item.
    hot: Vec<HotFields>,
    /// Rows of the items with subscribers.
    rows: Vec<Option<Box<Row>>>,
    /// Rows to rank, each once.
    dirty: Vec<Dense>,
    /// Items and their partners touched in this tick, in order of arrival.
    touches: Vec<(Dense, TouchedPartner)>,
    /// The touched partners grouped by item, for the rankings.
    touched: Vec<TouchedPartner>,
    /// Crossings of this tick below the threshold. They may reach it when all popularities are known.
    crossings: Vec<(Dense, TouchedPartner)>,
    /// Number of pairs in all tables.
    pub(super) pair_count: u64,
    /// Time before which all ticks are ranked.
    pub(super) ranked_before: Time,
    logarithm: Logarithm,
    formula: F,
    config: Config,
    /// Scratch space of one ranking.
    candidates: Vec<Ranked<i32>>,
    /// Scratch space: the new neighbours of one item.
    neighbours: Vec<Similar>,
    /// Scratch space: a similarity by item; all 0 between two uses.
    scratch: Vec<u16>,
}

/// A consequence of a changed popularity for other items and workers.
pub(super) enum Crossing {
    /// New fine logarithm of an item, or new eligibility.
    Fine { item: ItemId, fine: u32, eligible: bool },
    /// The item is no longer in any history.
    Gone(ItemId),
    /// The fine logarithm of `partner` changed to `fine`, and with it its rank among the similar items of `item`, which
    /// belongs to another worker. `count` is their co-occurrence.
    Rank { item: ItemId, partner: ItemId, count: u32, fine: u32 },
}

impl<F: Formula> Index<F> {
    pub(super) fn new(config: &Config) -> Self {
        Index {
            ids: Ids::default(),
            pairs: Vec::new(),
            popularity: Vec::new(),
            fine: Vec::new(),
            eligible: Vec::new(),
            eligible_items: EligibleItems::new(config.unknown_is_eligible()),
            population: 0,
            fine_population: 0,
            hot: Vec::new(),
            rows: Vec::new(),
            dirty: Vec::new(),
            touches: Vec::new(),
            touched: Vec::new(),
            crossings: Vec::new(),
            pair_count: 0,
            ranked_before: 0,
            logarithm: Logarithm::new(config.resolution),
            formula: F::new(config),
            config: config.clone(),
            candidates: Vec::new(),
            neighbours: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The dense id of an item. Grows all tables to contain it.
    fn intern(&mut self, item: ItemId) -> Dense {
        let id = self.ids.intern(item);
        while self.pairs.len() <= id as usize {
            self.pairs.push(Pairs::new(Dense::try_from(self.pairs.len()).expect("fewer items than 2^32")));
            self.popularity.push(0);
            self.fine.push(0);
            self.eligible.push(true);
            self.hot.push(HotFields::NONE);
            self.rows.push(None);
            self.scratch.push(0);
        }
        id
    }

    /// Step 1: counts pairs of owned items.
    pub(super) fn count(&mut self, updates: &[((ItemId, ItemId), Time, Diff)]) {
        let mut ids = [(0, 0); PAIR_BATCH];
        let mut recent = RecentIds::new();
        for updates in updates.chunks(PAIR_BATCH) {
            for (((a, b), ..), ids) in updates.iter().zip(&mut ids) {
                *ids = (recent.get_or(*a, || self.intern(*a)), recent.get_or(*b, || self.intern(*b)));
            }
            prefetch(ids[..updates.len()].iter().map(|(item, partner)| self.pairs[*item as usize].load(*partner)));
            for ((item, partner), (.., diff)) in ids.iter().zip(updates) {
                self.count_one(*item, *partner, *diff);
            }
        }
    }

    fn count_one(&mut self, item: Dense, partner: Dense, diff: Diff) {
        let (old, count) = self.pairs[item as usize].add(partner, diff as i64);
        self.pair_count = self.pair_count + u64::from(count > 0) - u64::from(old > 0);
        let threshold = self.hot[item as usize].threshold;
        if threshold == NO_RANKING {
            return;
        }
        let (old, new) = (self.evidence(old), self.evidence(count));
        // A partner that becomes eligible in this tick follows as a crossing.
        if old == new || !self.eligible[partner as usize] {
            return;
        }
        // Popularities are as of before the tick. A crossing follows where the change of this tick matters, unless the
        // partner is new: then ranks are not comparable.
        let pair = self.pair(item, partner);
        let is_new = F::READS_OWN && self.fine[partner as usize] == 0;
        let reaches = |count: u32| self.formula.rank(Pair { count, ..pair }).is_some_and(|rank| rank >= threshold);
        if is_new || old.max(new).is_some_and(reaches) {
            // Every count that reaches the threshold is recorded, so the last recorded one is right.
            let count = if !is_new && new.is_some_and(reaches) { count } else { UNKNOWN };
            self.touch(item, TouchedPartner { partner, count });
        }
    }

    /// The pair as of the last rankings, without its count.
    #[inline]
    fn pair(&self, item: Dense, partner: Dense) -> Pair {
        let partner_q = against(self.fine[partner as usize], item, partner);
        if F::READS_OWN {
            let own = against(self.fine[item as usize], item, partner);
            Pair { count: 0, own, partner: partner_q, population: phased(self.fine_population, item % PHASES) }
        } else {
            Pair { count: 0, own: 0, partner: partner_q, population: 0 }
        }
    }

    /// Rank of a partner among the similar items of an item, were it eligible.
    fn rank_of(&self, item: Dense, partner: Dense, count: u32) -> Option<i32> {
        let count = self.evidence(count)?;
        self.formula.rank(Pair { count, ..self.pair(item, partner) })
    }

    fn evidence(&self, count: u32) -> Option<u32> {
        evidence(count, self.config.min_cooccurrence, &self.logarithm)
    }

    /// Step 2: updates the popularity of an owned item and emits the crossings. Returns the number of touched pairs.
    pub(super) fn update_popularity(&mut self, item: ItemId, diff: Diff, emit: &mut impl FnMut(Crossing)) -> usize {
        let id = self.intern(item);
        let popularity = &mut self.popularity[id as usize];
        let old = *popularity;
        *popularity =
            old.checked_add_signed(diff as i64).expect("a popularity is a sum over users, each retracted at most once");
        let new = *popularity;
        if new == 0 {
            emit(Crossing::Gone(item));
            return 0;
        }
        let new_fine = self.logarithm.fine(self.formula.popularity(new));
        let old_fine = self.fine[id as usize];
        let eligible = self.eligible_items.contains(item);
        // Workers take a new item to be eligible until they learn otherwise.
        if new_fine == old_fine && (eligible || old > 0) {
            return 0;
        }
        emit(Crossing::Fine { item, fine: new_fine, eligible });
        if old == 0 {
            return 0; // All pairs of a new item are new.
        }
        let mut own = Vec::new();
        let touched = self.cross_in_other_rows(id, crossed(old_fine, new_fine), (old_fine, new_fine), &mut own, emit);
        // The pairs that cross in other rows also cross in the row of the item itself.
        for (partner, count) in own {
            self.cross_one(id, partner, count, 0);
        }
        touched
    }

    /// Also step 2, before the popularities: an owned item has become eligible, or is not any more. In the rows of its
    /// partners that is what a crossing of its popularity is, of all its pairs at once. Returns the number of touched
    /// pairs.
    pub(super) fn update_eligibility(&mut self, item: ItemId, emit: &mut impl FnMut(Crossing)) -> usize {
        let Some(id) = self.ids.get(item) else { return 0 };
        let eligible = self.eligible_items.contains(item);
        // All pairs of a new item are new.
        if self.popularity[id as usize] == 0 || self.eligible[id as usize] == eligible {
            return 0;
        }
        let fine = self.fine[id as usize];
        emit(Crossing::Fine { item, fine, eligible });
        self.cross_in_other_rows(id, [0..PHASES, 0..0], (fine, fine), &mut Vec::new(), emit)
    }

    /// Emits the crossings of the pairs of an owned item in these phases, in the rows of its partners. `fines`: its
    /// fine logarithm before and after. Adds the pairs to `own` if they cross in the row of the item too. Returns their
    /// number.
    fn cross_in_other_rows(
        &mut self,
        id: Dense,
        phases: [Range<u32>; 2],
        fines: (u32, u32),
        own: &mut Vec<(Dense, u32)>,
        emit: &mut impl FnMut(Crossing),
    ) -> usize {
        // Put back below. Both directions of a pair have the same count.
        let pairs = std::mem::replace(&mut self.pairs[id as usize], Pairs::new(id));
        let mut touched = 0;
        for (partner, count) in phases.into_iter().flat_map(|phases| pairs.in_phases(phases)) {
            touched += 1;
            if self.pairs[partner as usize].len() > 0 {
                self.cross_one(partner, id, count, fines.0.min(fines.1));
            } else {
                let (item, partner) = (self.ids.name(partner), self.ids.name(id));
                emit(Crossing::Rank { item, partner, count, fine: fines.1 });
            }
            if F::READS_OWN {
                own.push((partner, count));
            }
        }
        self.pairs[id as usize] = pairs;
        touched
    }

    /// Also step 2: updates the population, on the one worker that counts it. Returns its fine logarithm if it changed.
    pub(super) fn update_population(&mut self, diff: Diff) -> Option<u32> {
        if diff == 0 {
            return None; // Always on the other workers, which do not know the population itself.
        }
        self.population = self
            .population
            .checked_add_signed(diff as i64)
            .expect("a population is a sum over users, each retracted at most once");
        let fine = self.formula.population(self.population);
        (fine != self.fine_population).then_some(fine)
    }

    /// Step 3: applies a crossing of a partner on another worker to an owned item.
    pub(super) fn cross(&mut self, item: ItemId, partner: ItemId, count: u32, fine: u32) {
        let (item, partner) = (self.intern(item), self.intern(partner));
        self.cross_one(item, partner, count, fine.min(self.fine[partner as usize]));
    }

    /// `fine` is the smaller fine logarithm of before and after: with it a partner ranks higher, if only its popularity
    /// is read.
    fn cross_one(&mut self, item: Dense, partner: Dense, count: u32, fine: u32) {
        let threshold = self.hot[item as usize].threshold;
        if threshold == NO_RANKING {
            return;
        }
        let Some(evidence) = self.evidence(count) else { return };
        let mut pair = Pair { count: evidence, ..self.pair(item, partner) };
        if !F::READS_OWN {
            pair.partner = against(fine, item, partner);
        }
        let touched = TouchedPartner { partner, count };
        if self.formula.rank(pair).is_some_and(|rank| rank >= threshold) {
            self.touch(item, touched);
        } else if F::READS_OWN {
            // Both popularities may have changed, and only one is known yet.
            self.crossings.push((item, touched));
        }
    }

    /// Records that the rank of a partner may have changed. Drops the ranking when there are too many.
    #[inline]
    fn touch(&mut self, item: Dense, touched: TouchedPartner) {
        self.touches.push((item, touched));
        let hot = &mut self.hot[item as usize];
        hot.touched += 1;
        let touched = hot.touched as usize;
        if touched == 1 {
            self.mark_dirty(item);
        } else if touched > 16 && touched > 16 + self.pairs[item as usize].len() / REBUILD_SHARE {
            self.drop_ranking(item);
        }
    }

    /// Drops a ranking, so that it is rebuilt.
    fn drop_ranking(&mut self, item: Dense) {
        self.hot[item as usize].threshold = NO_RANKING;
        if let Some(row) = &mut self.rows[item as usize] {
            row.ranking = None;
        }
    }

    fn mark_dirty(&mut self, item: Dense) {
        if let Some(row) = &mut self.rows[item as usize] {
            mark_dirty(row, item, &mut self.dirty);
        }
    }

    /// Step 4: sets the fine logarithm of an item of any worker, and whether it is eligible. All similarities of its own row may
    /// change.
    pub(super) fn set_fine(&mut self, item: ItemId, fine: u32, eligible: bool) {
        let id = self.intern(item);
        self.fine[id as usize] = fine;
        self.eligible[id as usize] = eligible;
        self.mark_dirty(id);
    }

    /// Also step 4: sets the population. A sixty-fourth of the items at a time sees the change and is ranked again.
    pub(super) fn set_population(&mut self, fine: u32) {
        for phase in crossed(self.fine_population, fine).into_iter().flatten() {
            // The low six bits of a dense id are its phase.
            for item in (phase as usize..self.rows.len()).step_by(PHASES as usize) {
                let item = Dense::try_from(item).expect("fewer items than 2^32");
                self.drop_ranking(item);
                self.mark_dirty(item);
            }
        }
        self.fine_population = fine;
    }

    /// Step 5, when all popularities are known: checks again the crossings that were below the threshold.
    pub(super) fn apply_crossings(&mut self) {
        let mut crossings = std::mem::take(&mut self.crossings);
        for (item, touched) in crossings.drain(..) {
            let threshold = self.hot[item as usize].threshold;
            let rank = || self.rank_of(item, touched.partner, touched.count);
            if threshold != NO_RANKING && rank().is_some_and(|rank| rank >= threshold) {
                self.touch(item, touched);
            }
        }
        self.crossings = crossings;
    }

    /// Step 6: adds or removes a subscriber.
    pub(super) fn subscribe(&mut self, subscription: Subscription, diff: Diff) {
        let item = self.intern(subscription.row);
        let row = self.rows[item as usize].get_or_insert_default();
        row.subscribe(subscription.subscriber, diff);
        mark_dirty(row, item, &mut self.dirty);
    }

    /// Step 7: groups the touched partners by row, stably (a counting sort).
    pub(super) fn sort_touched(&mut self) {
        let mut end = 0;
        for item in &self.dirty {
            let hot = &mut self.hot[*item as usize];
            hot.end = end;
            end += hot.touched;
        }
        debug_assert_eq!(end as usize, self.touches.len(), "touched rows are dirty");
        self.touched.resize(end as usize, TouchedPartner { partner: 0, count: 0 });
        for (item, touched) in self.touches.drain(..) {
            let end = &mut self.hot[item as usize].end;
            self.touched[*end as usize] = touched;
            *end += 1;
        }
    }

    /// Step 8: ranks the dirty rows, one for a unit of fuel, and emits the changed neighbours to the subscribers. Returns
    /// whether all rows are done.
    pub(super) fn rank(&mut self, fuel: &mut usize, emit: &mut impl FnMut(Subscription, Neighbour, Diff)) -> bool {
        while let Some(item) = self.dirty.pop() {
            if *fuel == 0 {
                self.dirty.push(item);
                return false;
            }
            if fuel.is_multiple_of(PREFETCH_BATCH) {
                let next = self.dirty.iter().rev().take(PREFETCH_BATCH);
                prefetch(next.filter_map(|item| self.rows[*item as usize].as_ref()).map(|row| row.load()));
            }
            *fuel -= 1;
            let Some(mut row) = self.rows[item as usize].take() else { continue };
            row.dirty = false;
            self.update_ranking(item, &mut row);
            self.neighbours.clear();
            if let Some(ranking) = row.ranking.as_ref().filter(|_| row.has_subscribers()) {
                self.fill_neighbours(item, ranking);
            }
            let (ids, name) = (&self.ids, self.ids.name(item));
            row.emit(&self.neighbours, &mut self.scratch, &mut |subscriber, Similar { partner, similarity }, diff| {
                emit(Subscription { row: name, subscriber }, Neighbour { item: ids.name(partner), similarity }, diff);
            });
            row.age();
            if let Some(ranking) = &row.ranking {
                let threshold = ranking.floor().unwrap_or(i32::MIN);
                self.hot[item as usize] = HotFields { threshold, ..HotFields::NONE };
                self.rows[item as usize] = Some(row);
            } else {
                self.hot[item as usize] = HotFields::NONE;
            }
        }
        true
    }

    /// Step 9: releases an item that is no longer in any history.
    pub(super) fn release(&mut self, item: ItemId) {
        let Some(id) = self.ids.get(item) else { return };
        self.fine[id as usize] = 0;
        self.eligible[id as usize] = true;
        self.hot[id as usize] = HotFields::NONE;
        self.rows[id as usize] = None;
        self.pairs[id as usize] = Pairs::new(id);
        self.ids.release(id);
    }

    /// Applies the touched partners to the ranking of an item, or rebuilds it.
    fn update_ranking(&mut self, item: Dense, row: &mut Row) {
        let k = self.config.neighbours;
        if let Some(ranking) = &mut row.ranking {
            let HotFields { touched, end, .. } = self.hot[item as usize];
            for TouchedPartner { partner, count } in &self.touched[(end - touched) as usize..end as usize] {
                let (partner, count) = (*partner, *count);
                let count = if count == UNKNOWN { self.pairs[item as usize].get(partner) } else { count };
                let rank = self.rank_of(item, partner, count).filter(|_| self.eligible[partner as usize]);
                ranking.update(partner, rank, capacity(k), &self.ids);
            }
        }
        if row.ranking.as_ref().is_none_or(|ranking| ranking.needs_rescan(k)) {
            if !row.has_subscribers() {
                row.ranking = None;
                return;
            }
            let mut candidates = std::mem::take(&mut self.candidates);
            let pairs = self.pairs[item as usize].iter().filter(|(id, _)| self.eligible[*id as usize]);
            let scored = pairs.filter_map(|(id, count)| Some(Ranked { score: self.rank_of(item, id, count)?, id }));
            candidates.extend(scored);
            row.ranking.get_or_insert_default().rebuild(&mut candidates, capacity(k), &self.ids);
            self.candidates = candidates;
        }
    }

    /// Fills `neighbours` with the best partners of an item and their similarities.
    fn fill_neighbours(&mut self, item: Dense, ranking: &TopK<i32>) {
        let own = self.fine[item as usize];
        self.neighbours.extend(ranking.best(self.config.neighbours).iter().map(|ranked| {
            let similarity = self.formula.similarity(ranked.score, against(own, ranked.id, item));
            Similar { partner: ranked.id, similarity }
        }));
    }
}

fn mark_dirty(row: &mut Row, item: Dense, dirty: &mut Vec<Dense>) {
    if !row.dirty {
        row.dirty = true;
        dirty.push(item);
    }
}

/// `q(C)`; `None` for a pair below the least co-occurrence.
fn evidence(count: u32, least: u32, logarithm: &Logarithm) -> Option<u32> {
    (count >= least.max(1)).then(|| logarithm.q(u64::from(count)))
}

/// `q_ij` of a popularity.
fn against(fine: u32, item: Dense, partner: Dense) -> u32 {
    phased(fine, phase(u64::from(item), u64::from(partner)))
}

/// The phases for which `(fine + phase) / 64` changes.
fn crossed(old: u32, new: u32) -> [Range<u32>; 2] {
    let (low, high) = (old.min(new), old.max(new));
    let width = (high - low).min(PHASES);
    let start = (PHASES - high % PHASES) % PHASES;
    let end = start + width;
    [start..end.min(PHASES), 0..end.saturating_sub(PHASES)]
}

#[cfg(test)]
mod tests;
