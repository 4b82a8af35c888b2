use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::Subscriber;
use crate::measure::{Cosine, Count, Jaccard, Llr, Measure};

const ITEMS: u64 = 30;

/// What a tick brings: levels of users for items (0: none any more), and items wanted or not by one of two workers.
type Step = (Vec<(u64, u64, u8)>, Vec<(u64, u32)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let level = (0..12_u64, (0..ITEMS, 0..ITEMS), prop::sample::select(vec![0_u8, 0, 0, 1, 1, 2, 6, 15]));
    let level = level.prop_map(|(user, (item, skew), level)| (user, item * skew / ITEMS, level));
    let interest = (0..ITEMS, 0..2_u32);
    let few = (prop::collection::vec(level.clone(), 0..6), prop::collection::vec(interest.clone(), 0..2));
    let many = (prop::collection::vec(level, 0..120), prop::collection::vec(interest, 0..40));
    prop::collection::vec(prop_oneof![4 => few, 1 => many], 1..120)
}

fn name(item: u64) -> ItemId {
    (item + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Two workers' indices, each with half of the items; rows as told; and everything they are made of.
struct Model<F> {
    config: Config,
    workers: [Index<F>; 2],
    levels: BTreeMap<u64, BTreeMap<u64, u8>>,
    wanted: BTreeSet<(u64, u32)>,
    told: BTreeMap<(ItemId, Subscriber), BTreeMap<(ItemId, u16), Diff>>,
}

impl<F: Formula> Model<F> {
    fn owner(item: ItemId) -> usize {
        (item >> 40 & 1) as usize
    }

    fn popularity(&self, item: u64) -> u64 {
        self.levels.values().filter_map(|history| history.get(&item)).map(|level| u64::from(*level)).sum()
    }

    /// The sum over users of their highest level.
    fn population(&self) -> u64 {
        self.levels.values().map(|history| history.values().max().map_or(0, |level| u64::from(*level))).sum()
    }

    fn step(&mut self, (levels, toggles): &Step, fuel: usize) {
        let population = self.population();
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
        let moved = Diff::try_from(self.population()).unwrap() - Diff::try_from(population).unwrap();
        let population = self.workers[0].populate(moved);
        assert_eq!(self.workers[1].populate(0), None, "it is counted by the first worker alone");
        // 2. What is told.
        for (item, partner, count, fine) in ranks {
            self.workers[Self::owner(item)].cross(item, partner, count, fine);
        }
        for worker in &mut self.workers {
            for (item, fine) in &fines {
                worker.set_fine(*item, *fine);
            }
            if let Some(fine) = population {
                worker.set_population(fine);
            }
            worker.settle();
        }
        // 3. Subscription in what somebody has.
        let mut wanted = self.wanted.clone();
        for toggle in toggles {
            if !wanted.remove(toggle) {
                wanted.insert(*toggle);
            }
        }
        wanted.retain(|(item, _)| self.popularity(*item) > 0);
        for (item, worker) in wanted.symmetric_difference(&self.wanted) {
            let diff = if wanted.contains(&(*item, *worker)) { 1 } else { -1 };
            let interest = Subscription { row: name(*item), subscriber: Subscriber::Worker(*worker) };
            self.workers[Self::owner(interest.row)].want(interest, diff);
        }
        self.wanted = wanted;
        // 4. Rankings.
        for worker in &mut self.workers {
            worker.arrange();
            let told = &mut self.told;
            while !worker.rank(&mut fuel.clone(), &mut |interest, neighbour, diff| {
                let row = told.entry((interest.row, interest.subscriber)).or_default();
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

    fn expected(&self) -> BTreeMap<(ItemId, Subscriber), BTreeMap<(ItemId, u16), Diff>> {
        let Index { logarithm, formula, .. } = &self.workers[0];
        let fine: Vec<u32> = (0..ITEMS).map(|item| logarithm.fine(formula.popularity(self.popularity(item)))).collect();
        let population = formula.population(self.population());
        let mut rows = BTreeMap::new();
        for (item, worker) in &self.wanted {
            let mut ranked = Vec::new();
            for partner in (0..ITEMS).filter(|partner| partner != item) {
                let both = self.levels.values().filter_map(|user| Some(user.get(item)?.min(user.get(&partner)?)));
                let count = both.map(|level| u32::from(*level)).sum();
                let phase = phase(name(*item), name(partner));
                let q = |of: u64| phased(fine[of as usize], phase);
                let population = phased(population, (name(*item) % 64) as u32);
                let pair = |count| Pair { count, own: q(*item), partner: q(partner), population };
                let evidence = evidence(count, self.config.min_cooccurrence, logarithm);
                if let Some(rank) = evidence.and_then(|count| formula.rank(pair(count))) {
                    ranked.push((Reverse(rank), name(partner), formula.similarity(rank, q(*item))));
                }
            }
            ranked.sort_unstable();
            ranked.truncate(self.config.neighbours);
            let row: BTreeMap<_, _> =
                ranked.into_iter().map(|(_, partner, similarity)| ((partner, similarity), 1)).collect();
            if !row.is_empty() {
                rows.insert((name(*item), Subscriber::Worker(*worker)), row);
            }
        }
        rows
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Against ranking from scratch after each tick; when nobody has anything any more, nothing is held of it.
    #[test]
    fn rows_told_equal_those_ranked_from_scratch(
        mut steps in steps(),
        neighbours in prop::sample::select(vec![1_usize, 1, 2, 3, 50]),
        min_cooccurrence in 1_u32..4,
        shrink in prop::sample::select(vec![0_u32, 0, 1, 20]),
        resolution in prop::sample::select(vec![1_u32, 1, 2, 4]),
        measure in prop::sample::select(vec![Measure::Cosine, Measure::Jaccard, Measure::Llr, Measure::Count]),
        fuel in prop::sample::select(vec![1_usize, 1_000]),
    ) {
        let config = Config { neighbours, min_cooccurrence, shrink, resolution, ..Config::default() };
        match measure {
            Measure::Cosine => follow::<Cosine>(config, &mut steps, fuel)?,
            Measure::Jaccard => follow::<Jaccard>(config, &mut steps, fuel)?,
            Measure::Llr => follow::<Llr>(config, &mut steps, fuel)?,
            Measure::Count => follow::<Count>(config, &mut steps, fuel)?,
        }
    }
}

fn follow<F: Formula>(config: Config, steps: &mut Vec<Step>, fuel: usize) -> Result<(), TestCaseError> {
    let workers = [Index::<F>::new(&config), Index::new(&config)];
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
        prop_assert_eq!((index.held, index.population, index.fine_population), (0, 0, 0));
    }
    Ok(())
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
