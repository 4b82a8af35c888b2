//! Similar items: maintains the best neighbours of every item with a subscriber, from co-occurrence and popularity.
//!
//! Two operators share an index of pairs. *Count* adds up pairs and popularities on the worker that owns the item. When a
//! popularity crosses a threshold, it notifies all workers, and the owners of the items whose ranking may change. *Rank*
//! updates the rankings and emits changed neighbours to the subscribers of the item.

mod index;
mod pairs;
mod population;
mod row;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::AsCollection;
use schema::IdMap;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::scheduling::Activator;

use self::index::{Crossing, Index};
use self::population::population;
use super::measure::{Cosine, Count, Formula, Jaccard, Llr, Measure};
use crate::gauges::{Gauges, add, set};
use crate::operators::{CatalogueOutputs, EligibilityChange, Input, Output, SlicedOperator, StageBuilder, earlier};
use crate::{Collection, Config, Diff, Forgotten, ItemId, Level, Loading, Subscription, Time, UserId, popularity};

/// A similar item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Neighbour {
    /// Id of the similar item.
    pub item: ItemId,
    /// Similarity by the configured measure, 1 to 1024.
    pub similarity: u16,
}

/// The rows of the similarity matrix, for their subscribers.
pub struct SimilarItems<'scope> {
    /// Neighbours by item, for each subscriber. Located with the item; to be exchanged by worker.
    pub neighbours: Collection<'scope, (Subscription, Neighbour)>,
    /// Items that are no longer in any history.
    pub forgotten: Stream<'scope, Time, Vec<Forgotten>>,
}

/// A message from *Count* to *Rank*.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum RankInput {
    /// To every worker: an item's fine logarithm of its popularity, and whether the item is eligible.
    Fine { worker: u64, item: ItemId, fine: u32, eligible: bool },
    /// To every worker: the fine logarithm of the population.
    Population { worker: u64, fine: u32 },
    /// To every worker: the item is no longer in any history.
    Gone { worker: u64, item: ItemId },
    /// To the owner of `item`: the rank of `partner` among its candidates changed.
    Rank { item: ItemId, partner: ItemId, count: u32, fine: u32 },
    /// To the same worker: the tick is counted, and there may be rows to rank.
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

/// What users did with items, as [`interactions`](crate::interactions) emits it.
pub struct Touched<'scope> {
    /// Pairs of different items in one history.
    pub cooccurrence: Collection<'scope, (ItemId, ItemId)>,
    /// The history of each user.
    pub history: Collection<'scope, (UserId, (ItemId, Level))>,
    /// Items that users have without an interaction. They are not forgotten.
    pub traces: Collection<'scope, ItemId>,
}

/// Maintains the best eligible neighbours of every item with a subscriber.
///
/// Cost of a pair update: one probe into a table of the item; a ranking is updated only if the quantised count changes.
/// Cost of a popularity update: nothing unless its fine logarithm changes, then a message to each worker and one for each
/// pair in the crossed phases, a sixty-fourth of the pairs at a time. A change of eligibility touches all pairs of the item.
/// Memory: 8 bytes a slot of the pair tables, about 14 a pair.
pub fn similar_items<'scope>(
    Touched { cooccurrence, history, traces }: Touched<'scope>,
    catalogue: Option<&CatalogueOutputs<'scope>>,
    subscriptions: Collection<'scope, Subscription>,
    loading: Loading,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> SimilarItems<'scope> {
    let eligibility = catalogue.map(|catalogue| catalogue.eligibility.clone());
    let population = (config.similarity == Measure::Llr).then(|| population(history.clone()));
    let popularity = popularity(history);
    let counts = Counts { cooccurrence, popularity, traces, population, eligibility, loading };
    match config.similarity {
        Measure::Cosine => by_formula::<Cosine>(counts, subscriptions, config, gauges),
        Measure::Jaccard => by_formula::<Jaccard>(counts, subscriptions, config, gauges),
        Measure::Llr => by_formula::<Llr>(counts, subscriptions, config, gauges),
        Measure::Count => by_formula::<Count>(counts, subscriptions, config, gauges),
    }
}

/// The inputs of *Count*.
struct Counts<'scope> {
    cooccurrence: Collection<'scope, (ItemId, ItemId)>,
    popularity: Collection<'scope, ItemId>,
    traces: Collection<'scope, ItemId>,
    /// Population, if the measure reads it.
    population: Option<Collection<'scope, ()>>,
    /// Changes of eligibility, if there is a catalogue.
    eligibility: Option<Stream<'scope, Time, Vec<EligibilityChange>>>,
    loading: Loading,
}

fn by_formula<'scope, F: Formula>(
    counts: Counts<'scope>,
    subscriptions: Collection<'scope, Subscription>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> SimilarItems<'scope> {
    let index = Rc::new(RefCell::new(Index::<F>::new(config)));
    let (messages, forgotten, count) = count(counts, Rc::clone(&index), Arc::clone(gauges));
    let mut builder = StageBuilder::new("Rank", messages.scope());
    let messages = builder.input(messages, Exchange::new(RankInput::route));
    let by_item = |update: &(Subscription, Time, Diff)| update.0.row;
    let subscriptions = builder.input(subscriptions.inner, Exchange::new(by_item));
    let (output, neighbours) = builder.output();
    let rank = Rank { messages, subscriptions, output, index, count, gone: Vec::new(), gauges: Arc::clone(gauges) };
    builder.build(config.slice.div_ceil(RANKING), rank);
    SimilarItems { neighbours: neighbours.as_collection(), forgotten }
}

/// Counts pairs and popularities. The activator resumes it when the rankings it waits for are done.
///
/// Not a [`SlicedOperator`]: it counts pairs as they arrive, before their tick is complete.
fn count<'scope, F: Formula>(
    Counts { cooccurrence, popularity, traces, population, eligibility, loading }: Counts<'scope>,
    index: Rc<RefCell<Index<F>>>,
    gauges: Arc<Gauges>,
) -> (Stream<'scope, Time, Vec<RankInput>>, Stream<'scope, Time, Vec<Forgotten>>, Activator) {
    let scope = cooccurrence.inner.scope();
    let (me, peers) = (scope.index() as u64, scope.peers() as u64);
    let mut builder = StageBuilder::new("Count", scope);
    let by_item = |update: &((ItemId, ItemId), Time, Diff)| update.0.0;
    let pairs = builder.input(cooccurrence.inner, Exchange::new(by_item));
    let by_item = |update: &(ItemId, Time, Diff)| update.0;
    let popularities = builder.input(popularity.inner, Exchange::new(by_item));
    let traces = builder.input(traces.inner, Exchange::new(by_item));
    let to_first_worker = |_: &((), Time, Diff)| 0;
    let populations = population.map(|population| builder.input(population.inner, Exchange::new(to_first_worker)));
    let by_item = |change: &EligibilityChange| change.item;
    let eligibility = eligibility.map(|changes| builder.input(changes, Exchange::new(by_item)));
    let (messages_out, messages) = builder.output();
    let (forgotten_out, forgotten) = builder.output();
    let activator = builder.activator.clone();
    // The tick that is being counted. More input may arrive for it.
    let mut counting: Option<Time> = None;
    let mut popularity_diffs: IdMap<Diff> = IdMap::default();
    // By item: how many users have it without an interaction.
    let mut traced: IdMap<Diff> = IdMap::default();
    let mut population_diff = 0;
    let mut eligibility_changes: IdMap<()> = IdMap::default();
    // While a snapshot is loaded: the time at which loading ends, at the earliest.
    let mut loading_until: Option<Time> = None;
    builder.build_with(move |stage, upper| {
        let mut index = index.borrow_mut();
        while let Some(time) = earlier(earlier(counting, stage.first()), loading_until) {
            // 1. Wait until all earlier ticks are complete and ranked.
            if upper < time || index.ranked_before < time {
                break;
            }
            counting = Some(time);
            // 2. Count what has arrived.
            for updates in pairs.take(time) {
                index.count(&updates);
            }
            for (item, _, diff) in popularities.take(time).into_iter().flatten() {
                *popularity_diffs.entry(item).or_default() += diff;
            }
            for (item, _, diff) in traces.take(time).into_iter().flatten() {
                let users = traced.entry(item).or_default();
                *users += diff;
                if *users == 0 {
                    traced.remove(&item);
                }
                // An item that nobody has any more is forgotten with its popularity, which may be 0 already.
                popularity_diffs.entry(item).or_default();
            }
            let updates = populations.iter().flat_map(|populations| populations.take(time)).flatten();
            population_diff += updates.map(|((), _, diff)| diff).sum::<Diff>();
            for change in eligibility.iter().flat_map(|changes| changes.take(time)).flatten() {
                index.eligible_items.apply(change);
                eligibility_changes.insert(change.item, ());
            }
            if upper == time {
                break;
            }
            // 3. The tick is complete. Nothing is ranked while a snapshot is loaded, so crossings in between do not
            // matter: they were more than a quarter of the loading time.
            counting = None;
            loading_until = loading.continues_until(time, upper);
            if loading_until.is_some() {
                continue;
            }
            // 4. Apply the changed popularities and eligibility, and emit the crossings.
            let (mut messages, mut forgotten) = (messages_out.buffer(), forgotten_out.buffer());
            let mut emit = |crossing| match crossing {
                Crossing::Rank { item, partner, count, fine } => {
                    messages.push(RankInput::Rank { item, partner, count, fine });
                }
                Crossing::Fine { item, fine, eligible } => {
                    messages.extend((0..peers).map(|worker| RankInput::Fine { worker, item, fine, eligible }));
                }
                Crossing::Gone(item) => {
                    messages.extend((0..peers).map(|worker| RankInput::Gone { worker, item }));
                    if !traced.contains_key(&item) {
                        forgotten.push(Forgotten::Item(item));
                    }
                }
            };
            // Eligibility first: whether an item is new is known until its popularity is updated.
            for (item, ()) in eligibility_changes.drain() {
                add(&gauges.crossings, index.update_eligibility(item, &mut emit));
            }
            for (item, diff) in popularity_diffs.drain() {
                add(&gauges.crossings, index.update_popularity(item, diff, &mut emit));
            }
            if let Some(fine) = index.update_population(std::mem::take(&mut population_diff)) {
                messages.extend((0..peers).map(|worker| RankInput::Population { worker, fine }));
            }
            messages.push(RankInput::Counted { worker: me });
            drop((messages, forgotten));
            stage.flush(time);
        }
        set(&gauges.pairs, index.pair_count);
        stage.capabilities.release_before(earlier(earlier(counting, stage.first()), loading_until));
    });
    (messages, forgotten, activator)
}

/// Updates rankings tick by tick, then lets *Count* continue.
struct Rank<F> {
    messages: Input<RankInput>,
    subscriptions: Input<(Subscription, Time, Diff)>,
    output: Output<((Subscription, Neighbour), Time, Diff)>,
    index: Rc<RefCell<Index<F>>>,
    count: Activator,
    /// Items to release at the end of the tick.
    gone: Vec<ItemId>,
    gauges: Arc<Gauges>,
}

/// Approximate cost of ranking a row, in units of [`Config::slice`].
const RANKING: usize = 10;

impl<F: Formula> SlicedOperator for Rank<F> {
    fn begin(&mut self, time: Time) {
        let messages = self.messages.take(time);
        let mut index = self.index.borrow_mut();
        // Crossings are compared with the popularities before the tick, so they come first.
        for message in messages.iter().flatten() {
            if let RankInput::Rank { item, partner, count, fine } = *message {
                index.cross(item, partner, count, fine);
            }
        }
        for message in messages.iter().flatten() {
            match *message {
                RankInput::Fine { item, fine, eligible, .. } => index.set_fine(item, fine, eligible),
                RankInput::Population { fine, .. } => index.set_population(fine),
                RankInput::Gone { item, .. } => self.gone.push(item),
                RankInput::Rank { .. } | RankInput::Counted { .. } => {}
            }
        }
        index.apply_crossings();
        for (subscription, _, diff) in self.subscriptions.take(time).into_iter().flatten() {
            index.subscribe(subscription, diff);
        }
        index.sort_touched();
    }

    fn advance(&mut self, time: Time, fuel: &mut usize) -> bool {
        let mut index = self.index.borrow_mut();
        let mut emitted = self.output.buffer();
        let (fuel_before, emitted_before) = (*fuel, emitted.len());
        let done = index.rank(fuel, &mut |subscription, neighbour, diff| {
            emitted.push(((subscription, neighbour), time, diff));
        });
        add(&self.gauges.rankings, fuel_before - *fuel);
        add(&self.gauges.similarities, emitted.len() - emitted_before);
        if done {
            // Nothing refers to these items any more.
            for item in self.gone.drain(..) {
                index.release(item);
            }
        }
        done
    }

    fn deactivate(&mut self, done_before: Time) {
        let mut index = self.index.borrow_mut();
        if index.ranked_before < done_before {
            index.ranked_before = done_before;
            self.count.activate();
        }
    }
}
