//! What one worker holds of its items: counts, popularities, rankings, and what has been told to whom.

use super::Neighbour;
use super::pairs::Pairs;
use super::row::{Row, Similar, Touched, UNKNOWN};
use crate::audience::Interest;
use crate::dense::{Dense, Ids};
use crate::quantise::{PHASES, phase, phased};
use crate::top_k::{Ranked, TopK};
use crate::{Config, Diff, ItemId, Logarithm, Similarity, Time};

/// A ranking is made anew when more than one in so many of an item's pairs is touched in a tick.
const TOUCHED_SHARE: usize = 4;

/// So many pairs are looked up at a time. A table is seldom in the cache: looked up one by one, each would be waited for.
const AT_ONCE: usize = 32;

/// The bar of an item without a ranking: nothing reaches it.
const NO_RANKING: i32 = i32::MAX;

/// Rows whose cache lines are looked at together before they are ranked one by one.
const TOGETHER: usize = 8;

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
pub(super) struct Index {
    ids: Ids,
    /// Of the items owned; empty tables of others.
    pairs: Vec<Pairs>,
    /// Of the items owned.
    popularity: Vec<u64>,
    /// Of every item anywhere: the fine logarithm of popularity plus shrink, as of the last rankings; 0 if unknown.
    fine: Vec<u32>,
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
    /// How many pairs the tables hold.
    pub(super) held: u64,
    /// All ticks before this one are ranked.
    pub(super) ranked_before: Time,
    logarithm: Logarithm,
    similarity: Similarity,
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

impl Index {
    pub(super) fn new(config: &Config) -> Self {
        Index {
            ids: Ids::default(),
            pairs: Vec::new(),
            popularity: Vec::new(),
            fine: Vec::new(),
            bars: Vec::new(),
            rows: Vec::new(),
            dirty: Vec::new(),
            touches: Vec::new(),
            touched: Vec::new(),
            held: 0,
            ranked_before: 0,
            logarithm: Logarithm::new(config.resolution),
            similarity: Similarity::new(config.resolution),
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
        let (mut item, mut partner) = (None, None);
        for updates in updates.chunks(AT_ONCE) {
            // A history's pairs come in runs with one item in common.
            for (((a, b), ..), ids) in updates.iter().zip(&mut ids) {
                *ids = (self.intern_again(*a, &mut item), self.intern_again(*b, &mut partner));
            }
            let looks = ids[..updates.len()].iter().map(|(item, partner)| self.pairs[*item as usize].peek(*partner));
            std::hint::black_box(looks.fold(0, u32::wrapping_add));
            for ((item, partner), (.., diff)) in ids.iter().zip(updates) {
                self.count_one(*item, *partner, *diff);
            }
        }
    }

    /// As [`Index::intern`], knowing the last one.
    fn intern_again(&mut self, item: ItemId, last: &mut Option<(ItemId, Dense)>) -> Dense {
        match *last {
            Some((same, id)) if same == item => id,
            _ => last.insert((item, self.intern(item))).1,
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
        // Popularities are those before the tick; where this tick's change matters a crossing follows.
        let against = against(self.fine[partner as usize], item, partner);
        let reaches = |evidence: i32| evidence - against >= bar;
        if old != new && old.max(new).is_some_and(reaches) {
            // While the count stays within reach every change of it is told, so that the last one told is right.
            let count = if new.is_some_and(reaches) { count } else { UNKNOWN };
            self.touch(item, Touched { partner, count });
        }
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
        let new_fine = self.logarithm.fine(new + u64::from(self.config.shrink));
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
        for (partner, count) in crossed(old_fine, new_fine).into_iter().flat_map(|phases| pairs.in_phases(phases)) {
            touched += 1;
            if self.pairs[partner as usize].len() > 0 {
                self.cross_one(partner, id, count, old_fine.min(new_fine));
            } else {
                tell(Crossing::Rank { item: self.ids.name(partner), partner: item, count, fine: new_fine });
            }
        }
        self.pairs[id as usize] = pairs;
        touched
    }

    /// Step 3: a partner, owned elsewhere, of an item owned here moved to another quantised popularity.
    pub(super) fn cross(&mut self, item: ItemId, partner: ItemId, count: u32, fine: u32) {
        let (item, partner) = (self.intern(item), self.intern(partner));
        self.cross_one(item, partner, count, fine.min(self.fine[partner as usize]));
    }

    /// `fine`: the smaller one of before and after, with which the partner ranks higher.
    fn cross_one(&mut self, item: Dense, partner: Dense, count: u32, fine: u32) {
        let bar = self.bars[item as usize].score;
        if bar != NO_RANKING
            && self.evidence(count).is_some_and(|evidence| evidence - against(fine, item, partner) >= bar)
        {
            self.touch(item, Touched { partner, count });
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
            self.bars[item as usize].score = NO_RANKING;
            if let Some(row) = &mut self.rows[item as usize] {
                row.ranking = None;
            }
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

    /// Step 5: somebody wants to know an item's neighbours, or no longer does.
    pub(super) fn want(&mut self, interest: Interest, diff: Diff) {
        let item = self.intern(interest.item);
        let row = self.rows[item as usize].get_or_insert_default();
        row.want(interest.worker, diff);
        mark(row, item, &mut self.dirty);
    }

    /// Step 6: puts what was touched in the order of the rows. Within one it stays in the order in which it was touched.
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

    /// Step 7: ranks what was touched, a row for a unit of fuel, and tells those who want to know what is different.
    /// Returns whether all is done.
    pub(super) fn rank(&mut self, fuel: &mut usize, tell: &mut impl FnMut(Interest, Neighbour, Diff)) -> bool {
        while let Some(item) = self.dirty.pop() {
            if *fuel == 0 {
                self.dirty.push(item);
                return false;
            }
            if *fuel % TOGETHER == 0 {
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
            row.tell(&self.neighbours, &mut self.scratch, &mut |worker, Similar { partner, similarity }, diff| {
                tell(Interest { item: name, worker }, Neighbour { item: ids.name(partner), similarity }, diff);
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

    /// Step 8: lets go of an item that nobody has any more.
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
        let score = |partner: Dense, count: u32| {
            let evidence = evidence(count, self.config.min_cooccurrence, &self.logarithm)?;
            Some(evidence - against(self.fine[partner as usize], item, partner))
        };
        if let Some(ranking) = &mut row.ranking {
            let Bar { touched, end, .. } = self.bars[item as usize];
            for Touched { partner, count } in &self.touched[(end - touched) as usize..end as usize] {
                let (partner, count) = (*partner, *count);
                let count = if count == UNKNOWN { self.pairs[item as usize].get(partner) } else { count };
                ranking.update(partner, score(partner, count), capacity(k), &self.ids);
            }
        }
        if row.ranking.as_ref().is_none_or(|ranking| ranking.is_short(k)) {
            if !row.is_wanted() {
                row.ranking = None;
                return;
            }
            let pairs = self.pairs[item as usize].iter();
            let scored = pairs.filter_map(|(id, count)| Some(Ranked { score: score(id, count)?, id }));
            self.candidates.extend(scored);
            row.ranking.get_or_insert_default().choose(&mut self.candidates, None, capacity(k), &self.ids);
        }
    }

    /// Puts the best partners of an item with their similarities in `neighbours`.
    fn weigh(&mut self, item: Dense, ranking: &TopK<i32>) {
        let own = self.fine[item as usize];
        self.neighbours.extend(ranking.best(self.config.neighbours).iter().map(|ranked| {
            let exponent = ranked.score - against(own, ranked.id, item);
            Similar { partner: ranked.id, similarity: self.similarity.of(exponent) }
        }));
    }

    fn evidence(&self, count: u32) -> Option<i32> {
        evidence(count, self.config.min_cooccurrence, &self.logarithm)
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

/// `2 q(C)`, for a pair with enough of it.
fn evidence(count: u32, least: u32, logarithm: &Logarithm) -> Option<i32> {
    (count >= least.max(1)).then(|| 2 * logarithm.q(u64::from(count)).cast_signed())
}

/// `q_ij(N_j + shrink)`: what the partner's popularity takes off.
fn against(fine: u32, item: Dense, partner: Dense) -> i32 {
    phased(fine, phase(u64::from(item), u64::from(partner))).cast_signed()
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
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const ITEMS: u64 = 30;

    /// What a tick brings: levels of users for items (0: none any more), and items wanted or not by one of two workers.
    type Step = (Vec<(u64, u64, u8)>, Vec<(u64, u64)>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let level = (0..12_u64, (0..ITEMS, 0..ITEMS), prop::sample::select(vec![0_u8, 0, 0, 1, 1, 2, 6, 15]));
        let level = level.prop_map(|(user, (item, skew), level)| (user, item * skew / ITEMS, level));
        let interest = (0..ITEMS, 0..2_u64);
        let few = (prop::collection::vec(level.clone(), 0..6), prop::collection::vec(interest.clone(), 0..2));
        let many = (prop::collection::vec(level, 0..120), prop::collection::vec(interest, 0..40));
        prop::collection::vec(prop_oneof![4 => few, 1 => many], 1..120)
    }

    fn name(item: u64) -> ItemId {
        (item + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// Two workers' indices, each with half of the items; rows as told; and everything they are made of.
    struct Model {
        config: Config,
        workers: [Index; 2],
        levels: BTreeMap<u64, BTreeMap<u64, u8>>,
        wanted: BTreeSet<(u64, u64)>,
        told: BTreeMap<(ItemId, u64), BTreeMap<(ItemId, u16), Diff>>,
    }

    impl Model {
        fn owner(item: ItemId) -> usize {
            (item >> 40 & 1) as usize
        }

        fn popularity(&self, item: u64) -> u64 {
            self.levels.values().filter_map(|history| history.get(&item)).map(|level| u64::from(*level)).sum()
        }

        fn step(&mut self, (levels, toggles): &Step, fuel: usize) {
            // 1. Pairs, not netted, and popularities.
            let mut moved: BTreeMap<u64, Diff> = BTreeMap::new();
            let mut pairs: [Vec<((ItemId, ItemId), Time, Diff)>; 2] = [Vec::new(), Vec::new()];
            for (user, item, level) in levels {
                let history = self.levels.entry(*user).or_default();
                let old = if *level > 0 { history.insert(*item, *level) } else { history.remove(item) };
                let old = old.unwrap_or(0);
                *moved.entry(*item).or_default() += Diff::from(*level) - Diff::from(old);
                for (other, with) in history.iter().filter(|(other, _)| *other != item) {
                    let diff = Diff::from(*level.min(with)) - Diff::from(old.min(*with));
                    if diff != 0 {
                        for (a, b) in [(*item, *other), (*other, *item)] {
                            pairs[Self::owner(name(a))].push(((name(a), name(b)), 0, diff));
                        }
                    }
                }
            }
            for (worker, pairs) in self.workers.iter_mut().zip(&pairs) {
                worker.count(pairs);
            }
            let (mut fines, mut gone) = (Vec::new(), Vec::new());
            let mut ranks = Vec::new();
            for (item, diff) in moved {
                self.workers[Self::owner(name(item))].popularise(name(item), diff, &mut |crossing| match crossing {
                    Crossing::Fine(item, fine) => fines.push((item, fine)),
                    Crossing::Gone(item) => gone.push(item),
                    Crossing::Rank { item, partner, count, fine } => ranks.push((item, partner, count, fine)),
                });
            }
            // 2. What is told.
            for (item, partner, count, fine) in ranks {
                self.workers[Self::owner(item)].cross(item, partner, count, fine);
            }
            for worker in &mut self.workers {
                for (item, fine) in &fines {
                    worker.set_fine(*item, *fine);
                }
            }
            // 3. Interest in what somebody has.
            let mut wanted = self.wanted.clone();
            for toggle in toggles {
                if !wanted.remove(toggle) {
                    wanted.insert(*toggle);
                }
            }
            wanted.retain(|(item, _)| self.popularity(*item) > 0);
            for (item, worker) in wanted.symmetric_difference(&self.wanted) {
                let diff = if wanted.contains(&(*item, *worker)) { 1 } else { -1 };
                let interest = Interest { item: name(*item), worker: *worker };
                self.workers[Self::owner(interest.item)].want(interest, diff);
            }
            self.wanted = wanted;
            // 4. Rankings.
            for worker in &mut self.workers {
                worker.arrange();
                let told = &mut self.told;
                while !worker.rank(&mut fuel.clone(), &mut |interest, neighbour, diff| {
                    let row = told.entry((interest.item, interest.worker)).or_default();
                    let count = row.entry((neighbour.item, neighbour.similarity)).or_default();
                    *count += diff;
                    if *count == 0 {
                        row.remove(&(neighbour.item, neighbour.similarity));
                    }
                }) {}
                for item in &gone {
                    worker.release(*item);
                }
            }
            self.told.retain(|_, row| !row.is_empty());
        }

        fn expected(&self) -> BTreeMap<(ItemId, u64), BTreeMap<(ItemId, u16), Diff>> {
            let logarithm = &self.workers[0].logarithm;
            let fine: Vec<u32> =
                (0..ITEMS).map(|item| logarithm.fine(self.popularity(item) + u64::from(self.config.shrink))).collect();
            let mut rows = BTreeMap::new();
            for (item, worker) in &self.wanted {
                let mut ranked = Vec::new();
                for partner in (0..ITEMS).filter(|partner| partner != item) {
                    let both = self.levels.values().filter_map(|user| Some(user.get(item)?.min(user.get(&partner)?)));
                    let count = both.map(|level| u32::from(*level)).sum();
                    let phase = phase(name(*item), name(partner));
                    let against = |of: u64| phased(fine[of as usize], phase).cast_signed();
                    if let Some(evidence) = evidence(count, self.config.min_cooccurrence, logarithm) {
                        let similarity = self.workers[0].similarity.of(evidence - against(partner) - against(*item));
                        ranked.push((against(partner) - evidence, name(partner), similarity));
                    }
                }
                ranked.sort_unstable();
                ranked.truncate(self.config.neighbours);
                let row: BTreeMap<_, _> =
                    ranked.into_iter().map(|(_, partner, similarity)| ((partner, similarity), 1)).collect();
                if !row.is_empty() {
                    rows.insert((name(*item), *worker), row);
                }
            }
            rows
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        /// Against ranking from scratch after each tick; when nobody has anything any more, nothing is held of it.
        #[test]
        fn rows_told_equal_those_ranked_from_scratch(
            mut steps in steps(),
            neighbours in prop::sample::select(vec![1_usize, 1, 2, 3, 50]),
            min_cooccurrence in 1_u32..4,
            shrink in prop::sample::select(vec![0_u32, 0, 1, 20]),
            resolution in prop::sample::select(vec![1_u32, 1, 2, 4]),
            fuel in prop::sample::select(vec![1_usize, 1_000]),
        ) {
            let config = Config { neighbours, min_cooccurrence, shrink, resolution, ..Config::default() };
            let workers = [Index::new(&config), Index::new(&config)];
            let (levels, wanted, told) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
            let mut model = Model { config, workers, levels, wanted, told };
            let nobody = (0..12).flat_map(|user| (0..ITEMS).map(move |item| (user, item, 0))).collect();
            steps.push((nobody, Vec::new()));
            for (tick, step) in steps.iter().enumerate() {
                model.step(step, fuel);
                prop_assert_eq!(&model.told, &model.expected(), "after tick {}", tick);
            }
            for index in &model.workers {
                prop_assert!((0..ITEMS).all(|item| index.ids.get(name(item)).is_none()), "an item is held");
                prop_assert!(index.rows.iter().all(Option::is_none), "a row is held");
                prop_assert!(index.pairs.iter().all(|pairs| pairs.len() == 0), "a pair is held");
                prop_assert!(index.bars.iter().all(|bar| bar.score == NO_RANKING && bar.touched == 0), "a bar is left");
                prop_assert_eq!(index.held, 0);
            }
        }
    }

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
