use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::Subscriber;
use crate::similarity::measure::{Cosine, Count, Jaccard, Llr, Measure};

const ITEMS: u64 = 30;

/// The input of a tick: levels of users for items (0: removed), and items that one of two workers subscribes to or
/// unsubscribes from.
type Step = (Vec<(u64, u64, u8)>, Vec<(u64, u32)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let level = (0..12_u64, (0..ITEMS, 0..ITEMS), prop::sample::select(vec![0_u8, 0, 0, 1, 1, 2, 6, 15]));
    let level = level.prop_map(|(user, (item, skew), level)| (user, item * skew / ITEMS, level));
    let toggle = (0..ITEMS, 0..2_u32);
    let few = (prop::collection::vec(level.clone(), 0..6), prop::collection::vec(toggle.clone(), 0..2));
    let many = (prop::collection::vec(level, 0..120), prop::collection::vec(toggle, 0..40));
    prop::collection::vec(prop_oneof![4 => few, 1 => many], 1..120)
}

fn name(item: u64) -> ItemId {
    schema::spread(item + 1)
}

/// Level and tick of an interaction; level 0 if there is none.
type Interaction = (u8, u64);

/// What a pair adds to the co-occurrence: twice the lower level if both are from ticks that are close.
fn share((level, tick): Interaction, (other_level, other_tick): Interaction) -> Diff {
    Diff::from(level.min(other_level)) * if tick.abs_diff(other_tick) < 3 { 2 } else { 1 }
}

/// The indices of two workers, each with half of the items; the emitted rows; and the input of both.
struct Model<F> {
    config: Config,
    workers: [Index<F>; 2],
    tick: u64,
    levels: BTreeMap<u64, BTreeMap<u64, Interaction>>,
    subscriptions: BTreeSet<(u64, u32)>,
    emitted: BTreeMap<(ItemId, Subscriber), BTreeMap<(ItemId, u16), Diff>>,
}

impl<F: Formula> Model<F> {
    fn owner(item: ItemId) -> usize {
        (item >> 40 & 1) as usize
    }

    fn popularity(&self, item: u64) -> u64 {
        self.levels.values().filter_map(|history| history.get(&item)).map(|(level, _)| u64::from(*level)).sum()
    }

    /// The sum over users of their highest level.
    fn population(&self) -> u64 {
        let highest = |history: &BTreeMap<u64, Interaction>| history.values().map(|(level, _)| u64::from(*level)).max();
        self.levels.values().filter_map(highest).sum()
    }

    fn step(&mut self, (levels, toggles): &Step, fuel: usize) {
        self.tick += 1;
        let population = self.population();
        // 1. Pairs, not consolidated, and popularities.
        let mut popularity_diffs: BTreeMap<u64, Diff> = BTreeMap::new();
        let mut pairs: [Vec<((ItemId, ItemId), Time, Diff)>; 2] = [Vec::new(), Vec::new()];
        for (user, item, level) in levels {
            let history = self.levels.entry(*user).or_default();
            let new = (*level, self.tick);
            let old = if *level > 0 { history.insert(*item, new) } else { history.remove(item) };
            let old = old.unwrap_or_default();
            *popularity_diffs.entry(*item).or_default() += Diff::from(*level) - Diff::from(old.0);
            for (other, with) in history.iter().filter(|(other, _)| *other != item) {
                let diff = share(new, *with) - share(old, *with);
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
        for (item, diff) in popularity_diffs {
            self.workers[Self::owner(name(item))].update_popularity(name(item), diff, &mut |crossing| match crossing {
                Crossing::Fine { item, fine, .. } => fines.push((item, fine)),
                Crossing::Gone(item) => gone.push(item),
                Crossing::Rank { item, partner, count, fine } => ranks.push((item, partner, count, fine)),
            });
        }
        let diff = Diff::try_from(self.population()).unwrap() - Diff::try_from(population).unwrap();
        let population = self.workers[0].update_population(diff);
        assert_eq!(self.workers[1].update_population(0), None, "only the first worker counts it");
        // 2. Messages to the rankings.
        for (item, partner, count, fine) in ranks {
            self.workers[Self::owner(item)].cross(item, partner, count, fine);
        }
        for worker in &mut self.workers {
            for (item, fine) in &fines {
                worker.set_fine(*item, *fine, true);
            }
            if let Some(fine) = population {
                worker.set_population(fine);
            }
            worker.apply_crossings();
        }
        // 3. Subscriptions to items with a popularity.
        let mut subscriptions = self.subscriptions.clone();
        for toggle in toggles {
            if !subscriptions.remove(toggle) {
                subscriptions.insert(*toggle);
            }
        }
        subscriptions.retain(|(item, _)| self.popularity(*item) > 0);
        for (item, worker) in subscriptions.symmetric_difference(&self.subscriptions) {
            let diff = if subscriptions.contains(&(*item, *worker)) { 1 } else { -1 };
            let subscription = Subscription { row: name(*item), subscriber: Subscriber::Worker(*worker) };
            self.workers[Self::owner(subscription.row)].subscribe(subscription, diff);
        }
        self.subscriptions = subscriptions;
        // 4. Rankings.
        for worker in &mut self.workers {
            worker.sort_touched();
            let emitted = &mut self.emitted;
            while !worker.rank(&mut fuel.clone(), &mut |subscription, neighbour, diff| {
                let row = emitted.entry((subscription.row, subscription.subscriber)).or_default();
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
        self.emitted.retain(|_, row| !row.is_empty());
    }

    fn expected(&self) -> BTreeMap<(ItemId, Subscriber), BTreeMap<(ItemId, u16), Diff>> {
        let Index { logarithm, formula, .. } = &self.workers[0];
        let fine: Vec<u32> = (0..ITEMS).map(|item| logarithm.fine(formula.popularity(self.popularity(item)))).collect();
        let population = formula.population(self.population());
        let mut rows = BTreeMap::new();
        for (item, worker) in &self.subscriptions {
            let mut ranked = Vec::new();
            for partner in (0..ITEMS).filter(|partner| partner != item) {
                let of_user = |user: &BTreeMap<u64, Interaction>| Some(share(*user.get(item)?, *user.get(&partner)?));
                let count = u32::try_from(self.levels.values().filter_map(of_user).sum::<Diff>()).unwrap();
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

    /// Compares with ranking from scratch after each tick. When all histories are empty, so is all state.
    #[test]
    fn emitted_rows_equal_those_ranked_from_scratch(
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
            Measure::Cosine => check::<Cosine>(config, &mut steps, fuel)?,
            Measure::Jaccard => check::<Jaccard>(config, &mut steps, fuel)?,
            Measure::Llr => check::<Llr>(config, &mut steps, fuel)?,
            Measure::Count => check::<Count>(config, &mut steps, fuel)?,
        }
    }
}

fn check<F: Formula>(config: Config, steps: &mut Vec<Step>, fuel: usize) -> Result<(), TestCaseError> {
    let workers = [Index::<F>::new(&config), Index::new(&config)];
    let (levels, subscriptions, emitted) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    let mut model = Model { config, workers, tick: 0, levels, subscriptions, emitted };
    let everything_removed = (0..12).flat_map(|user| (0..ITEMS).map(move |item| (user, item, 0))).collect();
    steps.push((everything_removed, Vec::new()));
    for (tick, step) in steps.iter().enumerate() {
        model.step(step, fuel);
        prop_assert_eq!(&model.emitted, &model.expected(), "after tick {}", tick);
    }
    for index in &model.workers {
        prop_assert!((0..ITEMS).all(|item| index.ids.get(name(item)).is_none()), "an item is left");
        prop_assert!(index.rows.iter().all(Option::is_none), "a row is left");
        prop_assert!(index.pairs.iter().all(|pairs| pairs.len() == 0), "a pair is left");
        prop_assert!(index.hot.iter().all(|hot| hot.threshold == NO_RANKING && hot.touched == 0), "a ranking is left");
        prop_assert_eq!((index.pair_count, index.population, index.fine_population), (0, 0, 0));
    }
    Ok(())
}

#[test]
fn crossed_phases_equal_the_definition() {
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
