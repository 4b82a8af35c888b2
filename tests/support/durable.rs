//! Runs the graph tick by tick with snapshots and a state to resume, on any number of workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dataflows::snapshot::{SnapshotChunk, SnapshotSink};
use dataflows::time::Time;
use dataflows::{Barrier, Config, Event, GraphInput, ListChange, ListKey, SnapshotSinks, recommendations};
use schema::KEY_GROUPS;

use super::graph::collect;

/// Events taken together, as [`Tick`](super::graph::Tick).
#[derive(Clone, Debug)]
pub(crate) struct EventTick {
    pub(crate) at: u64,
    pub(crate) since: u64,
    pub(crate) events: Vec<Event>,
}

/// The state that a run resumes.
#[derive(Clone, Default)]
pub(crate) struct ResumeState {
    pub(crate) events: Vec<Event>,
    pub(crate) at: u64,
    pub(crate) lists: Vec<(ListKey, Vec<u64>)>,
}

/// The output of a run.
pub(crate) struct RunOutput {
    /// Changes in no order, without how long they waited: that is not part of the output.
    pub(crate) changes: Vec<(Time, ListChange)>,
    pub(crate) chunks: Vec<SnapshotChunk<Event>>,
}

/// Chunks of a snapshot, from all workers.
pub(crate) type Chunks = Arc<Mutex<Vec<SnapshotChunk<Event>>>>;

/// Runs all ticks. With `snapshot_after` a snapshot is taken of the tick with that index, while the next ones continue.
/// `sink` makes the snapshot sink of a worker.
pub(crate) fn run<K: SnapshotSink<Event> + 'static>(
    config: &Config,
    ticks: Vec<EventTick>,
    snapshot_after: Option<usize>,
    resume: Option<ResumeState>,
    workers: usize,
    sink: fn(Chunks) -> K,
) -> RunOutput {
    let (changes, chunks): (Arc<Mutex<Vec<_>>>, Chunks) = Default::default();
    let (all_changes, all_chunks) = (Arc::clone(&changes), Arc::clone(&chunks));
    let config = config.clone();
    timely::execute(timely::Config::process(workers), move |worker| {
        let (collected, chunks) = (Arc::clone(&all_changes), Arc::clone(&all_chunks));
        let interactions = Box::new(sink(Arc::clone(&chunks)));
        let sinks = SnapshotSinks { interactions: Some(interactions), catalogue: None };
        let (mut input, probe) = worker.dataflow(|scope| {
            let (input, streams) = GraphInput::new(scope, &config, resume.is_some());
            (input, collect(recommendations(streams, &config, sinks).changes, collected))
        });
        if worker.index() != 0 {
            return;
        }
        if let Some(resume) = &resume {
            load(&mut input, resume);
        }
        for (at, tick) in ticks.iter().enumerate() {
            let mut open = input.tick(tick.since, tick.at);
            open.events(&mut tick.events.clone());
            if snapshot_after == Some(at) {
                open.barrier(Barrier::Snapshot { number: 7, since: 0 });
            }
            drop(open);
            worker.step();
        }
        worker.step_while(|| probe.less_than(&input.time()));
        if snapshot_after.is_some() {
            let last_chunks = KEY_GROUPS * worker.peers();
            worker.step_while(|| chunks.lock().unwrap().iter().filter(|chunk| chunk.last).count() < last_chunks);
        }
    })
    .unwrap();
    let mut changes: Vec<(Time, ListChange)> = std::mem::take(&mut *changes.lock().unwrap());
    for (_, change) in &mut changes {
        change.waited = None;
    }
    let chunks = std::mem::take(&mut *chunks.lock().unwrap());
    RunOutput { changes, chunks }
}

/// Loads a state in three ticks: the events of a user may be in two of them, and the last one has no events.
fn load(input: &mut GraphInput, resume: &ResumeState) {
    let ResumeState { events, at, lists } = resume;
    let (first, second) = events.split_at(events.len() / 2);
    let mut tick = input.tick(*at, *at);
    tick.barrier(Barrier::LoadBegin);
    tick.events(&mut first.to_vec());
    drop(tick);
    input.tick(*at, *at).events(&mut second.to_vec());
    let mut tick = input.tick(*at, *at);
    tick.barrier(Barrier::LoadEnd);
    for (key, items) in lists {
        tick.known(*key, items.clone());
    }
    tick.finish_reconcile();
}

/// The lists after all changes, without empty ones.
pub(crate) fn lists<'c>(changes: impl IntoIterator<Item = &'c ListChange>) -> Vec<(ListKey, Vec<u64>)> {
    let mut lists = BTreeMap::new();
    for change in changes {
        lists.insert(change.key, change.items.iter().map(|scored| scored.item).collect::<Vec<_>>());
    }
    lists.into_iter().filter(|(_, items)| !items.is_empty()).collect()
}
