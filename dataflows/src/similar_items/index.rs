//! What one worker holds of its items: counts, popularities, rankings, and what has been told to whom.

use super::Neighbour;
use super::pairs::Pairs;
use super::row::{Row, Similar, Touched, UNKNOWN};
use crate::audience::Subscription;
use crate::dense::{Dense, Ids, Recent};
use crate::measure::{Formula, Pair};
use crate::operator::TOGETHER;
use crate::quantise::{PHASES, phase, phased};
use crate::top_k::{Ranked, TopK};
use crate::{Config, Diff, ItemId, Logarithm, Time};

/// A ranking is made anew when more than one in so many of an item's pairs is touched in a tick.
const TOUCHED_SHARE: usize = 4;

/// So many pairs are looked up at a time. A table is seldom in the cache: looked up one by one, each would be waited for.
const AT_ONCE: usize = 32;

/// The bar of an item without a ranking: nothing reaches it.
const NO_RANKING: i32 = i32::MAX;

/// What an item's pairs are measured by, apart from the rest: it is looked at for nearly all of them.
#[derive(Clone, Copy, Debug)]
struct Bar {
    /// A partner that scores less, before and after, does not change the ranking.
    score: i32,
    /// How many partners were touched in this tick, and where they end when they lie in the order of their rows.
    touched: u32,
    end: u32,
}

impl Bar {
    const NONE: Bar = Bar { score: NO_RANKING, touched: 0, end: 0 };
}

/// The pair index. It is symmetric: whoever owns x knows all of x's pairs, so it serves both the counting and, when x's
/// popularity crosses a threshold, the fan-out to the items that have x as a partner.
///
/// Two operators share it. Within a tick counts come first, then popularities, then rankings, and the counts of a tick
/// must wait for the rankings of all earlier ones ([`Index::ranked_before`]).
pub(super) struct Index<F> {
    ids: Ids,
    /// Of the items owned; empty tables of others.
    pairs: Vec<Pairs>,
    /// Of the items owned.
    popularity: Vec<u64>,
    /// Of every item anywhere: the fine logarithm of what the formula reads of the popularity, as of the last rankings; 0 if
    /// unknown.
    fine: Vec<u32>,
    /// The population, on the worker that counts it.
    population: u64,
    /// Its fine logarithm as of the last rankings, on every worker.
    fine_population: u32,
    /// By item.
    bars: Vec<Bar>,
    /// Of the items that somebody wants to know about.
    rows: Vec<Option<Box<Row>>>,
    /// Rows to be looked at by the rankings, each once.
    dirty: Vec<Dense>,
    /// Partners touched in this tick and by which items, in the order in which they were.
    touches: Vec<(Dense, Touched)>,
    /// The same by item, for the rankings.
    touched: Vec<Touched>,
    /// Crossings of this tick that were beneath the bar before, and may reach it when all popularities are known.
    crossings: Vec<(Dense, Touched)>,
    /// How many pairs the tables hold.
    pub(super) held: u64,
    /// All ticks before this one are ranked.
    pub(super) ranked_before: Time,
    logarithm: Logarithm,
    formula: F,
    config: Config,
    /// Room for what one ranking takes.
    candidates: Vec<Ranked<i32>>,
    neighbours: Vec<Similar>,
    /// 0 for every item, between two uses.
    scratch: Vec<u16>,
}

/// What a change of an item's popularity means to others.
pub(super) enum Crossing {
    /// The item's fine logarithm is now this.
    Fine(ItemId, u32),
    /// Nobody has the item any more.
    Gone(ItemId),
    /// `partner` weighs differently among the similar items of `item`, which lies elsewhere, as its fine logarithm
    /// became `fine`; they have `count` in common.
    Rank { item: ItemId, partner: ItemId, count: u32, fine: u32 },
}

impl<F: Formula> Index<F> {
    pub(super) fn new(config: &Config) -> Self {
        Index {
            ids: Ids::default(),
            pairs: Vec::new(),
            popularity: Vec::new(),
            fine: Vec::new(),
            population: 0,
            fine_population: 0,
            bars: Vec::new(),
            rows: Vec::new(),
            dirty: Vec::new(),
            touches: Vec::new(),
            touched: Vec::new(),
            crossings: Vec::new(),
            held: 0,
            ranked_before: 0,
            logarithm: Logarithm::new(config.resolution),
            formula: F::new(config),
            config: config.clone(),
            candidates: Vec::new(),
            neighbours: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The dense id of an item, with a place in every table.
    fn intern(&mut self, item: ItemId) -> Dense {
        let id = self.ids.intern(item);
        while self.pairs.len() <= id as usize {
            self.pairs.push(Pairs::new(Dense::try_from(self.pairs.len()).expect("fewer items than 2^32")));
            self.popularity.push(0);
            self.fine.push(0);
            self.bars.push(Bar::NONE);
            self.rows.push(None);
            self.scratch.push(0);
        }
        id
    }

    /// Step 1: counts pairs of items owned here.
    pub(super) fn count(&mut self, updates: &[((ItemId, ItemId), Time, Diff)]) {
        let mut ids = [(0, 0); AT_ONCE];
        let mut recent = Recent::default();
        for updates in updates.chunks(AT_ONCE) {
            for (((a, b), ..), ids) in updates.iter().zip(&mut ids) {
                *ids = (recent.or(*a, || self.intern(*a)), recent.or(*b, || self.intern(*b)));
            }
            let looks = ids[..updates.len()].iter().map(|(item, partner)| self.pairs[*item as usize].peek(*partner));
            std::hint::black_box(looks.fold(0, u32::wrapping_add));
            for ((item, partner), (.., diff)) in ids.iter().zip(updates) {
                self.count_one(*item, *partner, *diff);
            }
        }
    }

    fn count_one(&mut self, item: Dense, partner: Dense, diff: Diff) {
        let (old, count) = self.pairs[item as usize].add(partner, diff as i64);
        self.held = self.held + u64::from(count > 0) - u64::from(old > 0);
        let bar = self.bars[item as usize].score;
        if bar == NO_RANKING {
            return;
        }
        let (old, new) = (self.evidence(old), self.evidence(count));
        if old == new {
            return;
        }
        // Popularities are those before the tick; where this tick's change matters a crossing follows, unless the partner is
        // new: then they are not comparable.
        let pair = self.pair(item, partner);
        let is_new = F::READS_OWN && self.fine[partner as usize] == 0;
        let reaches = |count: u32| self.formula.rank(Pair { count, ..pair }).is_some_and(|rank| rank >= bar);
        if is_new || old.max(new).is_some_and(reaches) {
            // While the count stays within reach every change of it is told, so that the last one told is right.
            let count = if !is_new && new.is_some_and(reaches) { count } else { UNKNOWN };
            self.touch(item, Touched { partner, count });
        }
    }

    /// The pair as it was ranked last, all but what it has in common.
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

    fn rank_of(&self, item: Dense, partner: Dense, count: u32) -> Option<i32> {
        let count = self.evidence(count)?;
        self.formula.rank(Pair { count, ..self.pair(item, partner) })
    }

    fn evidence(&self, count: u32) -> Option<u32> {
        evidence(count, self.config.min_cooccurrence, &self.logarithm)
    }

    /// Step 2: moves the popularity of an item owned here and says what that means to others. Returns how many pairs it
    /// touched.
    pub(super) fn popularise(&mut self, item: ItemId, diff: Diff, tell: &mut impl FnMut(Crossing)) -> usize {
        let id = self.intern(item);
        let popularity = &mut self.popularity[id as usize];
        let old = *popularity;
        *popularity =
            old.checked_add_signed(diff as i64).expect("a popularity is a sum over users, none taken back twice");
        let new = *popularity;
        if new == 0 {
            tell(Crossing::Gone(item));
            return 0;
        }
        let new_fine = self.logarithm.fine(self.formula.popularity(new));
        let old_fine = self.fine[id as usize];
        if new_fine == old_fine {
            return 0;
        }
        tell(Crossing::Fine(item, new_fine));
        if old == 0 {
            return 0; // All its pairs are as new as itself.
        }
        // Put back below. The other side of each pair has the same count.
        let pairs = std::mem::replace(&mut self.pairs[id as usize], Pairs::new(id));
        let mut touched = 0;
        let mut own = Vec::new();
        for (partner, count) in crossed(old_fine, new_fine).into_iter().flat_map(|phases| pairs.in_phases(phases)) {
            touched += 1;
            if self.pairs[partner as usize].len() > 0 {
                self.cross_one(partner, id, count, old_fine.min(new_fine));
            } else {
                tell(Crossing::Rank { item: self.ids.name(partner), partner: item, count, fine: new_fine });
            }
            if F::READS_OWN {
                own.push((partner, count));
            }
        }
        self.pairs[id as usize] = pairs;
        // The pairs that move in other rows are those that move in its own.
        for (partner, count) in own {
            self.cross_one(id, partner, count, 0);
        }
        touched
    }

    /// Step 2 as well: moves the population, on the one worker that counts it. Returns its fine logarithm if that is another.
    pub(super) fn populate(&mut self, diff: Diff) -> Option<u32> {
        if diff == 0 {
            return None; // The others know what they were told, not how it is made up.
        }
        self.population =
            self.population.checked_add_signed(diff as i64).expect("a sum over users, none taken back twice");
        let fine = self.formula.population(self.population);
        (fine != self.fine_population).then_some(fine)
    }

    /// Step 3: a partner, owned elsewhere, of an item owned here moved to another quantised popularity.
    pub(super) fn cross(&mut self, item: ItemId, partner: ItemId, count: u32, fine: u32) {
        let (item, partner) = (self.intern(item), self.intern(partner));
        self.cross_one(item, partner, count, fine.min(self.fine[partner as usize]));
    }

    /// `fine`: the smaller one of before and after, with which the partner ranks higher if only its popularity is read.
    fn cross_one(&mut self, item: Dense, partner: Dense, count: u32, fine: u32) {
        let bar = self.bars[item as usize].score;
        if bar == NO_RANKING {
            return;
        }
        let Some(evidence) = self.evidence(count) else { return };
        let mut pair = Pair { count: evidence, ..self.pair(item, partner) };
        if !F::READS_OWN {
            pair.partner = against(fine, item, partner);
        }
        let touched = Touched { partner, count };
        if self.formula.rank(pair).is_some_and(|rank| rank >= bar) {
            self.touch(item, touched);
        } else if F::READS_OWN {
            // Both may have moved, and here only one is known.
            self.crossings.push((item, touched));
        }
    }

    /// Notes that a partner's rank may have changed; when too many have, the ranking is given up and made anew.
    #[inline]
    fn touch(&mut self, item: Dense, touched: Touched) {
        self.touches.push((item, touched));
        let bar = &mut self.bars[item as usize];
        bar.touched += 1;
        let touched = bar.touched as usize;
        if touched == 1 {
            self.mark(item);
        } else if touched > 16 && touched > 16 + self.pairs[item as usize].len() / TOUCHED_SHARE {
            self.give_up(item);
        }
    }

    /// The ranking is to be made anew.
    fn give_up(&mut self, item: Dense) {
        self.bars[item as usize].score = NO_RANKING;
        if let Some(row) = &mut self.rows[item as usize] {
            row.ranking = None;
        }
    }

    fn mark(&mut self, item: Dense) {
        if let Some(row) = &mut self.rows[item as usize] {
            mark(row, item, &mut self.dirty);
        }
    }

    /// Step 4: an item anywhere has another fine popularity. Its own similarities all weigh differently.
    pub(super) fn set_fine(&mut self, item: ItemId, fine: u32) {
        let id = self.intern(item);
        self.fine[id as usize] = fine;
        self.mark(id);
    }

    /// Step 4 as well: the population is another one. A sixty-fourth of the items at a time sees it, and ranks anew.
    pub(super) fn set_population(&mut self, fine: u32) {
        for phase in crossed(self.fine_population, fine).into_iter().flatten() {
            // The low six bits of a dense id are its phase.
            for item in (phase as usize..self.rows.len()).step_by(PHASES as usize) {
                let item = Dense::try_from(item).expect("fewer items than 2^32");
                self.give_up(item);
                self.mark(item);
            }
        }
        self.fine_population = fine;
    }

    /// Step 5, when all popularities are known: crossings that were beneath the bar may reach it now.
    pub(super) fn settle(&mut self) {
        let mut crossings = std::mem::take(&mut self.crossings);
        for (item, touched) in crossings.drain(..) {
            let bar = self.bars[item as usize].score;
            let rank = || self.rank_of(item, touched.partner, touched.count);
            if bar != NO_RANKING && rank().is_some_and(|rank| rank >= bar) {
                self.touch(item, touched);
            }
        }
        self.crossings = crossings;
    }

    /// Step 6: somebody wants to know an item's neighbours, or no longer does.
    pub(super) fn want(&mut self, interest: Subscription, diff: Diff) {
        let item = self.intern(interest.row);
        let row = self.rows[item as usize].get_or_insert_default();
        row.want(interest.subscriber, diff);
        mark(row, item, &mut self.dirty);
    }

    /// Step 7: puts what was touched in the order of the rows. Within one it stays in the order in which it was touched.
    pub(super) fn arrange(&mut self) {
        let mut end = 0;
        for item in &self.dirty {
            let bar = &mut self.bars[*item as usize];
            bar.end = end;
            end += bar.touched;
        }
        debug_assert_eq!(end as usize, self.touches.len(), "who is touched is to be ranked");
        self.touched.resize(end as usize, Touched { partner: 0, count: 0 });
        for (item, touched) in self.touches.drain(..) {
            let end = &mut self.bars[item as usize].end;
            self.touched[*end as usize] = touched;
            *end += 1;
        }
    }

    /// Step 8: ranks what was touched, a row for a unit of fuel, and tells those who want to know what is different.
    /// Returns whether all is done.
    pub(super) fn rank(&mut self, fuel: &mut usize, tell: &mut impl FnMut(Subscription, Neighbour, Diff)) -> bool {
        while let Some(item) = self.dirty.pop() {
            if *fuel == 0 {
                self.dirty.push(item);
                return false;
            }
            if fuel.is_multiple_of(TOGETHER) {
                let next = self.dirty.iter().rev().take(TOGETHER);
                let next = next.filter_map(|item| self.rows[*item as usize].as_ref());
                std::hint::black_box(next.fold(0, |seen, row| seen ^ row.peek()));
            }
            *fuel -= 1;
            let Some(mut row) = self.rows[item as usize].take() else { continue };
            row.dirty = false;
            self.bring_up_to_date(item, &mut row);
            self.neighbours.clear();
            if let Some(ranking) = row.ranking.as_ref().filter(|_| row.is_wanted()) {
                self.weigh(item, ranking);
            }
            let (ids, name) = (&self.ids, self.ids.name(item));
            row.tell(&self.neighbours, &mut self.scratch, &mut |subscriber, Similar { partner, similarity }, diff| {
                tell(Subscription { row: name, subscriber }, Neighbour { item: ids.name(partner), similarity }, diff);
            });
            row.age();
            if let Some(ranking) = &row.ranking {
                let score = ranking.floor().unwrap_or(i32::MIN);
                self.bars[item as usize] = Bar { score, ..Bar::NONE };
                self.rows[item as usize] = Some(row);
            } else {
                self.bars[item as usize] = Bar::NONE;
            }
        }
        true
    }

    /// Step 9: lets go of an item that nobody has any more.
    pub(super) fn release(&mut self, item: ItemId) {
        let Some(id) = self.ids.get(item) else { return };
        self.fine[id as usize] = 0;
        self.bars[id as usize] = Bar::NONE;
        self.rows[id as usize] = None;
        self.pairs[id as usize] = Pairs::new(id);
        self.ids.release(id);
    }

    /// Brings the ranking of an item up to date, and puts its best partners with their similarities in `neighbours`.
    fn bring_up_to_date(&mut self, item: Dense, row: &mut Row) {
        let k = self.config.neighbours;
        if let Some(ranking) = &mut row.ranking {
            let Bar { touched, end, .. } = self.bars[item as usize];
            for Touched { partner, count } in &self.touched[(end - touched) as usize..end as usize] {
                let (partner, count) = (*partner, *count);
                let count = if count == UNKNOWN { self.pairs[item as usize].get(partner) } else { count };
                ranking.update(partner, self.rank_of(item, partner, count), capacity(k), &self.ids);
            }
        }
        if row.ranking.as_ref().is_none_or(|ranking| ranking.is_short(k)) {
            if !row.is_wanted() {
                row.ranking = None;
                return;
            }
            let mut candidates = std::mem::take(&mut self.candidates);
            let pairs = self.pairs[item as usize].iter();
            let scored = pairs.filter_map(|(id, count)| Some(Ranked { score: self.rank_of(item, id, count)?, id }));
            candidates.extend(scored);
            row.ranking.get_or_insert_default().choose(&mut candidates, None, capacity(k), &self.ids);
            self.candidates = candidates;
        }
    }

    /// Puts the best partners of an item with their similarities in `neighbours`.
    fn weigh(&mut self, item: Dense, ranking: &TopK<i32>) {
        let own = self.fine[item as usize];
        self.neighbours.extend(ranking.best(self.config.neighbours).iter().map(|ranked| {
            let similarity = self.formula.similarity(ranked.score, against(own, ranked.id, item));
            Similar { partner: ranked.id, similarity }
        }));
    }
}

fn mark(row: &mut Row, item: Dense, dirty: &mut Vec<Dense>) {
    if !row.dirty {
        row.dirty = true;
        dirty.push(item);
    }
}

/// A reserve as large as the list itself, so that a ranking is seldom made anew.
fn capacity(k: usize) -> usize {
    2 * k
}

/// `q(C)`, for a pair with enough of it.
fn evidence(count: u32, least: u32, logarithm: &Logarithm) -> Option<u32> {
    (count >= least.max(1)).then(|| logarithm.q(u64::from(count)))
}

/// `q_ij` of a popularity.
fn against(fine: u32, item: Dense, partner: Dense) -> u32 {
    phased(fine, phase(u64::from(item), u64::from(partner)))
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
mod tests;
