use std::sync::Arc;

use timely::dataflow::operators::{Concat, Probe};
use timely::dataflow::{ProbeHandle, Stream};

use crate::interactions::Interactions;
use crate::{
    Collection, Config, Forgotten, Gauges, Input, Interest, Keeper, ListChange, Neighbour, Output, SimilarItems, Time,
    changes, interactions, interest, lists, popularity, similar_items, similar_users,
};

/// What comes out of the graph.
pub struct Recommendations<'scope> {
    /// Changed lists, tick by tick; with the user's worker.
    pub changes: Stream<'scope, Time, Vec<ListChange>>,
    /// Similar items where they are wanted.
    pub neighbours: Collection<'scope, (Interest, Neighbour)>,
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
/// ```
pub fn recommendations<'scope>(events: Stream<'scope, Time, Vec<Input>>, config: &Config) -> Recommendations<'scope> {
    durable_recommendations(events, config, Durable::default())
}

/// What a graph has beside its events when it is to survive a restart.
#[derive(Default)]
pub struct Durable<'scope> {
    /// Takes snapshots.
    pub keeper: Option<Box<dyn Keeper>>,
    /// What the output of an earlier run holds. Without it every change is sent from the beginning.
    pub output: Option<Stream<'scope, Time, Vec<Output>>>,
}

/// [`recommendations`] that can be saved, and go on where they were.
pub fn durable_recommendations<'scope>(
    events: Stream<'scope, Time, Vec<Input>>,
    config: &Config,
    durable: Durable<'scope>,
) -> Recommendations<'scope> {
    let done = ProbeHandle::new();
    let gauges = Arc::new(Gauges::default());
    let Interactions { history, cooccurrence, profiles, watching, forgotten: users } =
        interactions(events, config, &done, &gauges, durable.keeper);
    let similar_users = (config.users > 0).then(|| similar_users(history.clone(), watching, config, &gauges));
    let popularity = popularity(history);
    let interest = interest(profiles.clone());
    let SimilarItems { neighbours, forgotten: items } =
        similar_items(cooccurrence, popularity, interest, config, &gauges);
    let changes = changes(lists(profiles, neighbours.clone(), similar_users, config, &gauges), durable.output);
    let changes = changes.probe_with(&done);
    Recommendations { changes, neighbours, forgotten: users.concat(items), gauges }
}
