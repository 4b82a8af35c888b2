//! Similar items: co-occurrence and popularity in, each wanted item's best neighbours out.
//!
//! Two operators around one index. *Count* adds up pairs and popularities where the item lies; when a popularity
//! crosses a threshold it says so to every worker, and to the items whose ranking that moves. *Rank* brings the
//! rankings up to date and sends what changed to the workers with viewers who have the item in their profile.

mod index;
mod pairs;
mod population;
mod row;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use self::index::{Crossing, Index};
use self::population::population;
use crate::gauges::{Gauges, add, set};
use crate::measure::{Cosine, Count, Formula, Jaccard, Llr, Measure};
use crate::operator::{IdMap, Out, OutputCapabilities, Stash, complete_before, earlier, give};
use crate::{Collection, Config, Diff, Forgotten, ItemId, Level, Loading, Subscription, Time, UserId, popularity};

/// A similar item and how similar it is, 1 to 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Neighbour {
    /// The similar item.
    pub item: ItemId,
    /// By the measure of the configuration, 1 to 1024.
    pub similarity: u16,
}

/// The rows of the similarity matrix, where they are wanted.
pub struct SimilarItems<'scope> {
    /// Neighbours by item, for each worker that asked. Lies with the item; to be exchanged by the worker.
    pub neighbours: Collection<'scope, (Subscription, Neighbour)>,
    /// Items that nobody has any more.
    pub forgotten: Stream<'scope, Time, Vec<Forgotten>>,
}

/// From counting to ranking.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum RankInput {
    /// To every worker: an item's fine logarithm of its popularity.
    Fine { worker: u64, item: ItemId, fine: u32 },
    /// To every worker: the fine logarithm of the population.
    Population { worker: u64, fine: u32 },
    /// To every worker: nobody has the item any more.
    Gone { worker: u64, item: ItemId },
    /// To the owner of `item`: `partner` has moved among its candidates.
    Rank { item: ItemId, partner: ItemId, count: u32, fine: u32 },
    /// To the same worker: there is something to rank.
    Counted { worker: u64 },
}

impl RankInput {
    fn route(&self) -> u64 {
        match *self {
            RankInput::Fine { worker, .. }
            | RankInput::Population { worker, .. }
            | RankInput::Gone { worker, .. }
            | RankInput::Counted { worker } => worker,
            RankInput::Rank { item, .. } => item,
        }
    }
}

/// Keeps the best neighbours of every item that is wanted.
///
/// Cost of a pair: one probe in a table of the item; a ranking is touched only when the quantised count changes. Cost of
/// a popularity: nothing unless its fine logarithm changes, then a message to each worker and one for each pair in the
/// phases crossed, a sixty-fourth of them at a time. Holds 8 bytes for each slot of the pair tables, about 14 a pair.
pub fn similar_items<'scope>(
    cooccurrence: Collection<'scope, (ItemId, ItemId)>,
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    interest: Collection<'scope, Subscription>,
    loading: Loading,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> SimilarItems<'scope> {
    let population = (config.similarity == Measure::Llr).then(|| population(history.clone()));
    let counted = Counts { cooccurrence, popularity: popularity(history), population, loading };
    match config.similarity {
        Measure::Cosine => by::<Cosine>(counted, interest, config, gauges),
        Measure::Jaccard => by::<Jaccard>(counted, interest, config, gauges),
        Measure::Llr => by::<Llr>(counted, interest, config, gauges),
        Measure::Count => by::<Count>(counted, interest, config, gauges),
    }
}

/// What is counted.
struct Counts<'scope> {
    cooccurrence: Collection<'scope, (ItemId, ItemId)>,
    popularity: Collection<'scope, ItemId>,
    /// If the measure asks for it.
    population: Option<Collection<'scope, ()>>,
    loading: Loading,
}

/// Similar by one formula.
fn by<'scope, F: Formula>(
    counted: Counts<'scope>,
    interest: Collection<'scope, Subscription>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> SimilarItems<'scope> {
    let index = Rc::new(RefCell::new(Index::<F>::new(config)));
    let (told, forgotten, count) = count(counted, Rc::clone(&index), Arc::clone(gauges));
    let neighbours = rank(told, interest, index, count, config.slice.div_ceil(RANKING), Arc::clone(gauges));
    SimilarItems { neighbours, forgotten }
}

/// Counts pairs and popularities; the activator wakes it when the rankings it must wait for are done.
fn count<'scope, F: Formula>(
    Counts { cooccurrence, popularity, population, loading }: Counts<'scope>,
    index: Rc<RefCell<Index<F>>>,
    gauges: Arc<Gauges>,
) -> (Stream<'scope, Time, Vec<RankInput>>, Stream<'scope, Time, Vec<Forgotten>>, Activator) {
    let scope = cooccurrence.inner.scope();
    let (me, peers) = (scope.index() as u64, scope.peers() as u64);
    let mut builder = OperatorBuilder::new("Count".into(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let by_item = |update: &((ItemId, ItemId), Time, Diff)| update.0.0;
    let mut pairs = builder.new_input(cooccurrence.inner, Exchange::new(by_item));
    let by_item = |update: &(ItemId, Time, Diff)| update.0;
    let mut popularities = builder.new_input(popularity.inner, Exchange::new(by_item));
    let to_the_first = |_: &((), Time, Diff)| 0;
    let mut populations = population.map(|population| builder.new_input(population.inner, Exchange::new(to_the_first)));
    let (told_out, told) = builder.new_output();
    let (forgotten_out, forgotten) = builder.new_output();

    builder.build(move |_| {
        let mut told_out: Out<RankInput> = OutputBuilder::from(told_out);
        let mut forgotten_out: Out<Forgotten> = OutputBuilder::from(forgotten_out);
        let mut held = OutputCapabilities::new(2);
        let mut pair_stash = Stash::new();
        let mut popularity_stash = Stash::new();
        let mut population_stash = Stash::new();
        // The tick being counted, which more input may still come for, and how its popularities move.
        let mut counting: Option<Time> = None;
        let mut moved: IdMap<Diff> = IdMap::default();
        let mut moved_population = 0;
        // While a snapshot is loaded: not before this does that end.
        let mut waits_until: Option<Time> = None;
        let mut told = Vec::new();
        let mut forgotten = Vec::new();

        move |frontiers| {
            pairs.for_each(|capability, data| pair_stash.put(held.retain(&capability), data));
            popularities.for_each(|capability, data| popularity_stash.put(held.retain(&capability), data));
            if let Some(populations) = &mut populations {
                populations.for_each(|capability, data| population_stash.put(held.retain(&capability), data));
            }
            let upper = complete_before(frontiers);

            let mut index = index.borrow_mut();
            let first = |pairs: &Stash<_>, popularities: &Stash<_>, populations: &Stash<_>| {
                earlier(pairs.first(), earlier(popularities.first(), populations.first()))
            };
            loop {
                let next = earlier(counting, first(&pair_stash, &popularity_stash, &population_stash));
                let Some(time) = earlier(next, waits_until) else { break };
                // 1. Not before everything earlier has come and is ranked.
                if upper < time || index.ranked_before < time {
                    break;
                }
                counting = Some(time);
                // 2. Count what is there.
                pair_stash.take(time).iter().for_each(|updates| index.count(updates));
                for (item, _, diff) in popularity_stash.take(time).into_iter().flatten() {
                    *moved.entry(item).or_default() += diff;
                }
                moved_population +=
                    population_stash.take(time).into_iter().flatten().map(|((), _, diff)| diff).sum::<Diff>();
                if upper == time {
                    break;
                }
                // 3. The tick is complete. While a snapshot is loaded nothing is ranked, so popularities that only pass
                // through mean nothing: crossings were more than a quarter of the time.
                counting = None;
                waits_until = loading.continues_until(time, upper);
                if waits_until.is_some() {
                    continue;
                }
                // Say what its popularities mean.
                for (item, diff) in moved.drain() {
                    let touched = index.popularise(item, diff, &mut |crossing| match crossing {
                        Crossing::Rank { item, partner, count, fine } => {
                            told.push(RankInput::Rank { item, partner, count, fine });
                        }
                        Crossing::Fine(item, fine) => {
                            told.extend((0..peers).map(|worker| RankInput::Fine { worker, item, fine }));
                        }
                        Crossing::Gone(item) => {
                            told.extend((0..peers).map(|worker| RankInput::Gone { worker, item }));
                            forgotten.push(Forgotten::Item(item));
                        }
                    });
                    add(&gauges.crossings, touched);
                }
                if let Some(fine) = index.populate(std::mem::take(&mut moved_population)) {
                    told.extend((0..peers).map(|worker| RankInput::Population { worker, fine }));
                }
                told.push(RankInput::Counted { worker: me });
                give(&mut told_out, &held, 0, time, &mut told);
                give(&mut forgotten_out, &held, 1, time, &mut forgotten);
            }
            set(&gauges.pairs, index.held);
            let next = earlier(counting, first(&pair_stash, &popularity_stash, &population_stash));
            held.release_before(earlier(next, waits_until));
        }
    });
    (told, forgotten, activator)
}

/// Brings rankings up to date, tick by tick, and then lets the counting go on.
fn rank<'scope, F: Formula>(
    told: Stream<'scope, Time, Vec<RankInput>>,
    interest: Collection<'scope, Subscription>,
    index: Rc<RefCell<Index<F>>>,
    count: Activator,
    slice: usize,
    gauges: Arc<Gauges>,
) -> Collection<'scope, (Subscription, Neighbour)> {
    let scope = told.scope();
    let mut builder = OperatorBuilder::new("Rank".into(), scope);
    let again = scope.activator_for(builder.operator_info().address);
    let mut told = builder.new_input(told, Exchange::new(RankInput::route));
    let by_item = |update: &(Subscription, Time, Diff)| update.0.row;
    let mut interest = builder.new_input(interest.inner, Exchange::new(by_item));
    let (out, neighbours) = builder.new_output();

    builder.build(move |_| {
        let mut out: Out<((Subscription, Neighbour), Time, Diff)> = OutputBuilder::from(out);
        let mut held = OutputCapabilities::new(1);
        let mut told_stash = Stash::new();
        let mut interest_stash = Stash::new();
        // The tick whose rankings are not all done, and the items to let go when they are.
        let mut ranking: Option<Time> = None;
        let mut gone = Vec::new();
        let mut updates = Vec::new();

        move |frontiers| {
            told.for_each(|capability, data| told_stash.put(held.retain(&capability), data));
            interest.for_each(|capability, data| interest_stash.put(held.retain(&capability), data));
            let upper = complete_before(frontiers);

            let mut index = index.borrow_mut();
            let mut fuel = slice;
            loop {
                // 1. A tick not yet done goes on; else the next complete one begins.
                let complete = earlier(told_stash.first(), interest_stash.first()).filter(|time| *time < upper);
                let Some(time) = ranking.or(complete) else { break };
                if ranking.is_none() {
                    begin(&mut index, &told_stash.take(time), &interest_stash.take(time), &mut gone);
                    ranking = Some(time);
                }
                // 2. Rankings, as far as the fuel goes.
                let before = fuel;
                let done = index.rank(&mut fuel, &mut |interest, neighbour, diff| {
                    updates.push(((interest, neighbour), time, diff));
                });
                add(&gauges.rankings, before - fuel);
                add(&gauges.similarities, updates.len());
                give(&mut out, &held, 0, time, &mut updates);
                if !done {
                    again.activate();
                    break;
                }
                // 3. Nothing refers any more to what nobody has.
                for item in gone.drain(..) {
                    index.release(item);
                }
                ranking = None;
            }
            held.release_before(earlier(ranking, earlier(told_stash.first(), interest_stash.first())));
            let ranked_before = ranking.unwrap_or(upper);
            if index.ranked_before < ranked_before {
                index.ranked_before = ranked_before;
                count.activate();
            }
        }
    });
    neighbours.as_collection()
}

/// What ranking a row costs, about, in units of [`Config::slice`].
const RANKING: usize = 10;

/// Applies what a tick says of popularities and interest. What moved is compared with how popularities were before, so
/// that comes first.
fn begin<F: Formula>(
    index: &mut Index<F>,
    told: &[Vec<RankInput>],
    interest: &[Vec<(Subscription, Time, Diff)>],
    gone: &mut Vec<ItemId>,
) {
    for told in told.iter().flatten() {
        if let RankInput::Rank { item, partner, count, fine } = *told {
            index.cross(item, partner, count, fine);
        }
    }
    for told in told.iter().flatten() {
        match *told {
            RankInput::Fine { item, fine, .. } => index.set_fine(item, fine),
            RankInput::Population { fine, .. } => index.set_population(fine),
            RankInput::Gone { item, .. } => gone.push(item),
            RankInput::Rank { .. } | RankInput::Counted { .. } => {}
        }
    }
    index.settle();
    for (interest, _, diff) in interest.iter().flatten() {
        index.want(*interest, *diff);
    }
    index.arrange();
}
