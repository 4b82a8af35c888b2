use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::operators::{Concat, Exchange, Probe};
use timely::dataflow::{ProbeHandle, Stream};

use crate::interactions::Interactions;
use crate::{
    Collection, Config, Forgotten, Gauges, Input, ItemId, Level, ListChange, Loading, Neighbour, Reconcile, RowChange,
    SimilarItems, SnapshotSink, Subscription, Time, Trending, UserId, changes, interactions, interest, interest_in,
    lists, row_changes, similar_items, similar_users, trending,
};

/// What comes out of the graph.
pub struct Recommendations<'scope> {
    /// Changed lists, tick by tick; with the user's worker.
    pub changes: Stream<'scope, Time, Vec<ListChange>>,
    /// Similar items where they are wanted.
    pub neighbours: Collection<'scope, (Subscription, Neighbour)>,
    /// Rows of similar items that changed, of all items, if they are to be told; with the item's worker.
    pub similar_items: Option<Stream<'scope, Time, Vec<RowChange>>>,
    /// Rows of similar users that changed, if they are to be told; with the user's worker.
    pub similar_users: Option<Stream<'scope, Time, Vec<RowChange>>>,
    /// Names that nothing is held of after the tick; with the worker that held it last.
    pub forgotten: Stream<'scope, Time, Vec<Forgotten>>,
    /// What this worker's part of the graph says of itself.
    pub gauges: Arc<Gauges>,
}

/// The whole graph: events in, changed lists out.
///
/// ```text
/// events -> interactions -+-> popularity ----+
///           (expiry)      +-> co-occurrence -+-> similar items (top k) -+-> lists (top k) -> changes
///                         +-> profiles of the audience -+-> interest ---+     |  |
///                         |                             +------------------------+
///                         +-> samples, activity -> similar users (top k) -----+
///                         +-> trends -> trending (top k), lists of nobody's ----------------> changes
/// ```
pub fn recommendations<'scope>(events: Stream<'scope, Time, Vec<Input>>, config: &Config) -> Recommendations<'scope> {
    durable_recommendations(events, config, Durable::default())
}

/// What a graph has beside its events when it is to survive a restart.
#[derive(Default)]
pub struct Durable<'scope> {
    /// Takes snapshots.
    pub keeper: Option<Box<dyn SnapshotSink>>,
    /// What the output of an earlier run holds. Without it every change is sent from the beginning.
    pub output: Option<Stream<'scope, Time, Vec<Reconcile>>>,
}

/// [`recommendations`] that can be saved, and go on where they were.
pub fn durable_recommendations<'scope>(
    events: Stream<'scope, Time, Vec<Input>>,
    config: &Config,
    durable: Durable<'scope>,
) -> Recommendations<'scope> {
    let done = ProbeHandle::new();
    let gauges = Arc::new(Gauges::default());
    let Interactions { history, cooccurrence, profiles, watching, trends, forgotten: users, loading } =
        interactions(events, config, &done, &gauges, durable.keeper);
    let users_source = config.needs_similar_users().then(|| similar_users(history.clone(), watching, config, &gauges));
    let mut interest = interest(profiles.clone());
    if config.outputs.similar_items {
        interest = interest.concat(of_a_listener(history.clone()));
    }
    // A listener wants to know all the while.
    let loading = if config.outputs.similar_items { Loading::default() } else { loading };
    let SimilarItems { neighbours, forgotten: items } =
        similar_items(cooccurrence, history, interest, loading, config, &gauges);
    let (neighbours, similar_items) =
        if config.outputs.similar_items { told_apart(neighbours) } else { (neighbours, None) };
    let similar_users = users_source.as_ref().filter(|_| config.outputs.similar_users).map(|source| {
        let rows = source.similar.clone().map(|(of, similar)| (of, (similar.user, similar.similarity)));
        row_changes(rows, "Similar users that changed").probe_with(&done)
    });
    let users_source = users_source.filter(|_| config.sources.users > 0);
    let mut lists = lists(profiles, neighbours.clone(), users_source, config, &gauges);
    if let (Some(trends), Some(Trending { k, .. })) = (trends, config.trending) {
        lists = lists.concat(trending(trends, k));
    }
    let changes = changes(lists, durable.output);
    let changes = changes.probe_with(&done);
    let similar_items = similar_items.map(|changes| changes.probe_with(&done));
    Recommendations { changes, neighbours, similar_items, similar_users, forgotten: users.concat(items), gauges }
}

/// Subscription of a listener who wants to know of every item that somebody has. It listens with the item, and is told apart
/// from the viewers there by a number beyond those of the workers.
fn of_a_listener<'scope>(history: Collection<'scope, (UserId, (ItemId, Level))>) -> Collection<'scope, Subscription> {
    let workers = history.inner.scope().peers() as u64;
    let items = history.map(|(_, (item, _))| item).inner.exchange(|update| update.0).as_collection();
    interest_in(items, "All items", |item| *item)
        .map(move |Subscription { row, worker }| Subscription { row, worker: worker + workers })
}

/// What is for viewers, and what changed for the listener.
#[allow(clippy::type_complexity, reason = "two collections")]
fn told_apart<'scope>(
    neighbours: Collection<'scope, (Subscription, Neighbour)>,
) -> (Collection<'scope, (Subscription, Neighbour)>, Option<Stream<'scope, Time, Vec<RowChange>>>) {
    let workers = neighbours.inner.scope().peers() as u64;
    let for_listener = neighbours.clone().filter(move |(to, _)| to.worker >= workers);
    let rows = for_listener.map(|(to, neighbour)| (to.row, (neighbour.item, neighbour.similarity)));
    let changes = row_changes(rows, "Similar items that changed");
    (neighbours.filter(move |(to, _)| to.worker < workers), Some(changes))
}
