//! The graph on one worker, and what its stages emitted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataflows::gauges::Gauges;
use dataflows::operators::RowChange;
use dataflows::snapshot::SnapshotSink;
use dataflows::time::Time;
use dataflows::types::Forgotten;
use dataflows::{Config, ControlRecord, Event, GraphInput, ItemRecord, ListChange, SnapshotSinks, recommendations};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Concat, Probe};
use timely::dataflow::{ProbeHandle, Stream};
use timely::worker::Worker;

use super::commands::CommandChannel;
use super::snapshot::{SnapshotLink, SnapshotParticipant};
use crate::faults;

/// The longest sleep of a worker. The reader, the writer and other workers wake it; this bounds the delay of a lost wake-up.
pub(super) const MAX_SLEEP: Duration = Duration::from_millis(250);

/// The sleep of a worker that waits for room, or that has just sent a report.
pub(super) const RETRY_SLEEP: Duration = Duration::from_millis(1);

/// The gauges of all workers.
pub(super) type AllGauges = Arc<Mutex<Vec<Arc<Gauges>>>>;

/// Output of the graph by time, not yet sent to the writer.
pub(super) type Collected<D> = Rc<RefCell<BTreeMap<Time, Vec<D>>>>;

/// The graph on one worker.
pub(super) struct Graph {
    /// Index of its dataflow on the worker.
    pub(super) index: usize,
    pub(super) input: GraphInput,
    pub(super) probe: ProbeHandle<Time>,
    pub(super) changes: Collected<ListChange>,
    pub(super) similar_items: Collected<RowChange>,
    pub(super) similar_users: Collected<RowChange>,
    pub(super) forgotten: Collected<Forgotten>,
    pub(super) gauges: Arc<Gauges>,
}

/// Settings of the workers in a run that keeps its state.
#[derive(Clone, Default)]
pub(super) struct Durability {
    /// Whether snapshots are taken.
    pub(super) saves: bool,
    /// Channels to and from the snapshot coordinator; in process 0.
    pub(super) snapshots: Option<SnapshotLink>,
    /// Whether the run resumes another one.
    pub(super) resumes: bool,
}

/// The processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Topology {
    pub(super) processes: usize,
    /// Index of this process.
    pub(super) process: usize,
    /// Workers of each process.
    pub(super) workers: usize,
}

/// Builds the graph on one worker, and the command channel beside it if snapshots or other processes need one.
pub(super) fn build(
    worker: &mut Worker,
    config: &Config,
    all_gauges: &AllGauges,
    topology: Topology,
    durability: &Durability,
) -> (Graph, Option<CommandChannel>) {
    let participant = durability.saves.then(|| SnapshotParticipant::new(durability.snapshots.as_ref()));
    let coordinator = durability.snapshots.clone().filter(|_| worker.index() == 0);
    let channel = (durability.saves || topology.processes > 1)
        .then(|| CommandChannel::build(worker, participant.clone(), coordinator));
    let (changes, forgotten) = (Collected::default(), Collected::default());
    let (similar_items, similar_users) = (Collected::default(), Collected::default());
    let index = worker.next_dataflow_index();
    let graph = worker.dataflow_named("deltarec", |scope| {
        let (input, streams) = GraphInput::new(scope, config, durability.resumes);
        // The catalogue is on the first worker, and so is what a snapshot has of it.
        let of_catalogue = participant.clone().filter(|_| scope.index() == 0);
        let of_controls = participant.clone().filter(|_| config.controls);
        let snapshots = SnapshotSinks {
            interactions: participant.map(|participant| Box::new(participant) as Box<dyn SnapshotSink<Event>>),
            catalogue: of_catalogue.map(|participant| Box::new(participant) as Box<dyn SnapshotSink<ItemRecord>>),
            controls: of_controls.map(|participant| Box::new(participant) as Box<dyn SnapshotSink<ControlRecord>>),
        };
        let graph = recommendations(streams, config, snapshots);
        let gauges = graph.gauges;
        all_gauges.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&gauges));
        let mut collected = collect(graph.changes, "Collect changes", Rc::clone(&changes));
        collected = collected.concat(collect(graph.forgotten, "Collect forgotten names", Rc::clone(&forgotten)));
        if let Some(rows) = graph.similar_items {
            collected = collected.concat(collect(rows, "Collect similar items", Rc::clone(&similar_items)));
        }
        if let Some(rows) = graph.similar_users {
            collected = collected.concat(collect(rows, "Collect similar users", Rc::clone(&similar_users)));
        }
        let (probe, _) = collected.probe();
        Graph { index, input, probe, changes, similar_items, similar_users, forgotten, gauges }
    });
    (graph, channel)
}

/// Collects a stream on the first worker.
fn collect<'scope, D>(
    stream: Stream<'scope, Time, Vec<D>>,
    name: &str,
    into: Collected<D>,
) -> Stream<'scope, Time, Vec<()>>
where
    D: timely::ExchangeData,
{
    stream.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Exchange::new(|_| 0), name, |_, _| {
        move |input, _output| {
            faults::hit_infallible("graph.collect");
            input.for_each(|capability, data| {
                let time = *capability.least().expect("a message with data has a time");
                into.borrow_mut().entry(time).or_default().append(data);
            });
        }
    })
}
