use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::operators::{Concat, Exchange, Probe};
use timely::dataflow::{ProbeHandle, Stream};

use crate::audience::{profile_subscriptions, row_subscriptions};
use crate::catalogue::on_all_workers;
use crate::interactions::Interactions;
use crate::{
    Collection, Config, ControlRecord, Evaluations, Event, Forgotten, Gauges, InputStreams, ItemChanges, ItemId,
    ItemRecord, Level, ListChange, ListInputs, Loading, Neighbour, RowChange, SimilarItems, SnapshotSink, Subscriber,
    Subscription, Time, Touched, UserId, catalogue, changes, compared_users, controls, evaluated_rows, interactions,
    lists, row_changes, similar_items, trending,
};

/// The outputs of the graph.
pub struct Recommendations<'scope> {
    /// Changed lists, tick by tick, each on the worker of its owner.
    pub changes: Stream<'scope, Time, Vec<ListChange>>,
    /// Similar items for the workers whose viewers need them.
    pub neighbours: Collection<'scope, (Subscription, Neighbour)>,
    /// Changed rows of similar items, for all items, if configured; each on the item's worker.
    pub similar_items: Option<Stream<'scope, Time, Vec<RowChange>>>,
    /// Changed rows of similar users, if configured; each on the user's worker.
    pub similar_users: Option<Stream<'scope, Time, Vec<RowChange>>>,
    /// Names without state after the tick, each on the worker that had the state.
    pub forgotten: Stream<'scope, Time, Vec<Forgotten>>,
    /// State sizes and work counters of this worker.
    pub gauges: Arc<Gauges>,
}

/// Where the chunks of snapshots go on a worker. The default takes none.
#[derive(Default)]
pub struct SnapshotSinks {
    /// For the events of users.
    pub interactions: Option<Box<dyn SnapshotSink<Event>>>,
    /// For the catalogue; used on worker 0 only.
    pub catalogue: Option<Box<dyn SnapshotSink<ItemRecord>>>,
    /// For the controls of users.
    pub controls: Option<Box<dyn SnapshotSink<ControlRecord>>>,
}

/// The whole graph: events in, changed lists out.
///
/// ```text
/// items ----> catalogue -------> eligibility --+--------------------------+------+-------+ (to all that ranks items)
/// controls -> (to interactions and lists)      |                          |      |       |
/// events ---> interactions -+-> popularity ----+                          |      |       |
/// barriers -> (expiry)      +-> co-occurrence -+-> similar items (top k) -+-> lists -> changes
///                           +-> profiles of the audience -+-> demand -----+     |  |       |
///                           |                             +---------------------+  |       |
///                           +-> samples and histories of compared users -----------+       |
///                           +-> trends -> trending (top k) ------------------------------->+
/// reconcile ------------------------------------------------------------------------------>+
/// ```
///
/// [`GraphInput`](crate::GraphInput) creates and feeds the inputs, [`Driver`](crate::Driver) does all of it.
pub fn recommendations<'scope>(
    inputs: InputStreams<'scope>,
    config: &Config,
    snapshots: SnapshotSinks,
) -> Recommendations<'scope> {
    let probe = ProbeHandle::new();
    let gauges = Arc::new(Gauges::default());
    gauges.set_next(u64::MAX);
    let InputStreams { events, catalogue: records, controls: control_records, barriers, reconcile } = inputs;
    let catalogue = records.zip(config.catalogue).map(|(records, of_items)| {
        catalogue(records, barriers.clone(), of_items, config, &gauges, snapshots.catalogue)
    });
    let controls = control_records.map(|records| controls(records, barriers.clone(), &gauges, snapshots.controls));
    let (of_events, preferences) = controls.map(|controls| (controls.of_events, controls.preferences)).unzip();
    let Interactions { history, cooccurrence, traces, profiles, actions, trends, forgotten: forgotten_users, loading } =
        interactions(events, of_events, barriers.clone(), config, &probe, &gauges, snapshots.interactions);

    let mut demand = profile_subscriptions(profiles.clone());
    let users = config.needs_similar_users().then(|| compared_users(history.clone(), demand.clone(), config));
    if config.outputs.similar_items {
        demand = demand.concat(all_items(history.clone()));
    }
    // The output of similar items has demand also while a snapshot is loaded.
    let loading = if config.outputs.similar_items { Loading::default() } else { loading };
    let touched = Touched { cooccurrence, history, traces };
    let SimilarItems { neighbours, forgotten: forgotten_items } =
        similar_items(touched, catalogue.as_ref(), demand, loading, config, &gauges);
    let (neighbours, similar_items) =
        if config.outputs.similar_items { split_output(neighbours) } else { (neighbours, None) };

    let for_lists = reconcile.clone();
    let eligibility = catalogue.as_ref().map(|catalogue| on_all_workers(&catalogue.eligibility));
    let attributes = catalogue.as_ref().map(|catalogue| on_all_workers(&catalogue.attributes));
    let items = eligibility.clone().zip(attributes);
    let inputs = ListInputs {
        profiles,
        actions,
        neighbours: neighbours.clone(),
        users,
        preferences,
        items: items.map(|(eligibility, attributes)| ItemChanges { eligibility, attributes }),
        barriers,
        reconcile: for_lists,
    };
    let Evaluations { lists, similar_users } = lists(inputs, config, &gauges);
    let similar_users = config.outputs.similar_users.then(|| evaluated_rows(similar_users, "Changed similar users"));
    let others = config.unknown_is_eligible();
    let trending = trends.zip(config.trending).map(|(trends, config)| trending(trends, eligibility, others, config.k));
    Recommendations {
        changes: changes(lists, trending, reconcile, config.emit, &gauges).probe_with(&probe),
        neighbours,
        similar_items: similar_items.map(|rows| rows.probe_with(&probe)),
        similar_users: similar_users.map(|rows| rows.probe_with(&probe)),
        forgotten: match catalogue {
            Some(catalogue) => forgotten_users.concat(forgotten_items).concat(catalogue.forgotten),
            None => forgotten_users.concat(forgotten_items),
        },
        gauges,
    }
}

/// Demand of the output: all items in a history, each on its own worker.
fn all_items<'scope>(history: Collection<'scope, (UserId, (ItemId, Level))>) -> Collection<'scope, Subscription> {
    let items = history.map(|(_, (item, _))| item).inner.exchange(|update| update.0).as_collection();
    row_subscriptions(Subscriber::Output, items, "All items", |item| Some(*item))
}

/// Separates the rows for viewers from the changed rows for the output.
#[allow(clippy::type_complexity, reason = "two collections")]
fn split_output<'scope>(
    neighbours: Collection<'scope, (Subscription, Neighbour)>,
) -> (Collection<'scope, (Subscription, Neighbour)>, Option<Stream<'scope, Time, Vec<RowChange>>>) {
    let for_output = neighbours.clone().filter(|(to, _)| to.subscriber == Subscriber::Output);
    let rows = for_output.map(|(to, neighbour)| (to.row, (neighbour.item, neighbour.similarity)));
    let for_viewers = neighbours.filter(|(to, _)| to.subscriber != Subscriber::Output);
    (for_viewers, Some(row_changes(rows, "Changed similar items")))
}
