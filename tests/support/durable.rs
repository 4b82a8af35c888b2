//! Runs the graph tick by tick with snapshots and a state to resume, on any number of workers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dataflows::snapshot::{Groups, SnapshotChunk, SnapshotSink};
use dataflows::time::Time;
use dataflows::{
    Barrier, Config, ControlRecord, Event, GraphInput, ItemRecord, ListChange, ListKey, SnapshotSinks, recommendations,
};
use schema::{CATALOGUE_GROUPS, KEY_GROUPS};

use super::graph::collect;

/// Events taken together, as [`Tick`](super::graph::Tick).
#[derive(Clone, Debug)]
pub(crate) struct EventTick {
    pub(crate) at: u64,
    pub(crate) since: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) records: Vec<ItemRecord>,
    pub(crate) controls: Vec<ControlRecord>,
}

/// The state that a run resumes.
#[derive(Clone, Default)]
pub(crate) struct ResumeState {
    pub(crate) events: Vec<Event>,
    pub(crate) records: Vec<ItemRecord>,
    pub(crate) controls: Vec<ControlRecord>,
    pub(crate) at: u64,
    pub(crate) lists: Vec<(ListKey, Vec<u64>)>,
}

/// The output of a run.
pub(crate) struct RunOutput {
    /// Changes in no order, without how long they waited: that is not part of the output.
    pub(crate) changes: Vec<(Time, ListChange)>,
    pub(crate) chunks: Vec<SnapshotChunk<Event>>,
    /// Those of the catalogue.
    pub(crate) records: Vec<SnapshotChunk<ItemRecord>>,
    /// Those of the controls.
    pub(crate) controls: Vec<SnapshotChunk<ControlRecord>>,
}

/// Chunks of a snapshot, from all workers.
type Chunks<D> = Arc<Mutex<Vec<SnapshotChunk<D>>>>;

/// Takes chunks slowly: sometimes it has no room (which costs a millisecond), and it knows the wanted groups only when asked
/// for the third time.
struct SlowSink<D> {
    chunks: Chunks<D>,
    asked: Cell<usize>,
}

impl<D> SlowSink<D> {
    fn new(chunks: &Chunks<D>) -> Self {
        SlowSink { chunks: Arc::clone(chunks), asked: Cell::new(0) }
    }
}

impl<D> SnapshotSink<D> for SlowSink<D> {
    fn begin(&mut self, _snapshot: u64, _changed: &Groups) {
        self.asked.set(0);
    }

    fn wanted(&self, _snapshot: u64) -> Option<Groups> {
        self.asked.set(self.asked.get() + 1);
        (self.asked.get() > 2).then_some([true; KEY_GROUPS])
    }

    fn has_room(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        !self.asked.get().is_multiple_of(97)
    }

    fn push(&mut self, chunk: SnapshotChunk<D>) {
        self.chunks.lock().unwrap().push(chunk);
    }
}

fn last_chunks<D>(chunks: &Chunks<D>) -> usize {
    chunks.lock().unwrap().iter().filter(|chunk| chunk.last).count()
}

/// Runs all ticks. With `snapshot_after` a snapshot is taken of the tick with that index, while the next ones continue.
pub(crate) fn run(
    config: &Config,
    ticks: Vec<EventTick>,
    snapshot_after: Option<usize>,
    resume: Option<ResumeState>,
    workers: usize,
) -> RunOutput {
    let changes: Arc<Mutex<Vec<_>>> = Arc::default();
    let (chunks, records, controls): (Chunks<Event>, Chunks<ItemRecord>, Chunks<ControlRecord>) = Default::default();
    let (all_changes, all_chunks) = (Arc::clone(&changes), Arc::clone(&chunks));
    let (all_records, all_controls) = (Arc::clone(&records), Arc::clone(&controls));
    let config = config.clone();
    timely::execute(timely::Config::process(workers), move |worker| {
        let collected = Arc::clone(&all_changes);
        let (chunks, records, controls) = (&all_chunks, &all_records, &all_controls);
        let sinks = SnapshotSinks {
            interactions: Some(Box::new(SlowSink::new(chunks))),
            catalogue: (worker.index() == 0)
                .then(|| Box::new(SlowSink::new(records)) as Box<dyn SnapshotSink<ItemRecord>>),
            controls: Some(Box::new(SlowSink::new(controls))),
        };
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
            open.items(&mut tick.records.clone());
            open.events(&mut tick.events.clone());
            open.controls(&mut tick.controls.clone());
            if snapshot_after == Some(at) {
                open.barrier(Barrier::Snapshot { number: 7, since: 0 });
            }
            drop(open);
            worker.step();
        }
        worker.step_while(|| probe.less_than(&input.time()));
        if snapshot_after.is_some() {
            let of_events = KEY_GROUPS * worker.peers();
            worker.step_while(|| last_chunks(chunks) < of_events);
            worker.step_while(|| config.controls && last_chunks(controls) < of_events);
            worker.step_while(|| config.catalogue.is_some() && last_chunks(records) < CATALOGUE_GROUPS);
        }
    })
    .unwrap();
    let mut changes: Vec<(Time, ListChange)> = std::mem::take(&mut *changes.lock().unwrap());
    for (_, change) in &mut changes {
        change.waited = None;
    }
    let chunks = std::mem::take(&mut *chunks.lock().unwrap());
    let records = std::mem::take(&mut *records.lock().unwrap());
    let controls = std::mem::take(&mut *controls.lock().unwrap());
    RunOutput { changes, chunks, records, controls }
}

/// Loads a state in three ticks: the events of a user may be in two of them, and the last one has no events.
fn load(input: &mut GraphInput, resume: &ResumeState) {
    let ResumeState { events, records, controls, at, lists } = resume;
    let (first, second) = events.split_at(events.len() / 2);
    let mut tick = input.tick(*at, *at);
    tick.barrier(Barrier::LoadBegin);
    tick.items(&mut records.clone());
    tick.controls(&mut controls.clone());
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
