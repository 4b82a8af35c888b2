use std::sync::Arc;

use timely::dataflow::operators::{Concat, Enter, Leave, Probe};
use timely::dataflow::{ProbeHandle, Stream};

use crate::interactions::Interactions;
use crate::{
    Collection, Config, Forgotten, Gauges, Input, Interest, ListChange, Neighbour, SimilarItems, Time, changes,
    interactions, interest, lists, popularity, similar_items,
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
///                         +-> profiles of the audience -+-> interest ---+        |
///                                                       +------------------------+
/// ```
pub fn recommendations<'scope>(events: Stream<'scope, Time, Vec<Input>>, config: &Config) -> Recommendations<'scope> {
    let graph = events.scope();
    let done = ProbeHandle::new();
    let gauges = Arc::new(Gauges::default());
    let Interactions { history, cooccurrence, profiles, forgotten: users } = graph
        .region_named("Interactions", |region| interactions(events.enter(region), config, &done, &gauges).leave(graph));
    let SimilarItems { neighbours, forgotten: items } = graph.region_named("Similar items", |region| {
        let popularity = popularity(history.enter_region(region));
        let interest = interest(profiles.clone().enter_region(region));
        similar_items(cooccurrence.enter_region(region), popularity, interest, config, &gauges).leave(graph)
    });
    let changes = graph.region_named("Lists", |region| {
        let lists = lists(profiles.enter_region(region), neighbours.clone().enter_region(region), config, &gauges);
        changes(lists).leave(graph)
    });
    let changes = changes.probe_with(&done);
    Recommendations { changes, neighbours, forgotten: users.concat(items), gauges }
}
