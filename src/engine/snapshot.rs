//! Snapshots of a running graph.
//!
//! A snapshot is of one tick T: the events, the catalogue and the controls in the graph after T, and the positions of the
//! inputs after T. It exists once its manifest is written, which happens last, after all changes up to T are in the output.
//!
//! ```text
//! worker 0     SnapshotSchedule     sends the barrier of tick T to every worker, and Begin(T) to the coordinator
//! each worker  SnapshotParticipant  Changed: groups that changed here -> coordinator
//! coordinator                       Wanted: groups that changed on any worker -> each worker
//! each worker  SnapshotParticipant  Interactions: chunks of the wanted groups, between ticks -> coordinator
//! worker 0     SnapshotParticipant  Catalogue: the same, if the run has a catalogue -> coordinator
//! each worker  SnapshotParticipant  Controls: the same, if the run has controls -> coordinator
//! coordinator  writer pool          packs and stores each group that is complete
//! coordinator                       waits for the output to reach T, publishes the manifest
//! ```
//!
//! The [`SnapshotCoordinator`] is a thread of the first process, which has the names. Its transitions are pure functions
//! in `state.rs`. Workers of other processes reach it through worker 0. No worker ever waits for the store: when the
//! coordinator is behind, participants keep their state in the graph and continue later. From the barrier to the end of
//! the snapshot, no name is removed.
//!
//! The coordinator ends when the writer has ended (it drops [`OutputProgress`]), or all workers have. A snapshot under way is
//! then abandoned.

mod catalogue;
mod controls;
mod coordinator;
mod participant;
mod passed_over;
mod pool;
mod schedule;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use connectors::SourcePosition;
use crossbeam_channel::{Receiver, Sender, unbounded};
use dataflows::snapshot::SnapshotChunk;
use dataflows::time::{Time, first_of, ms_of};
use dataflows::{ControlRecord, Event, ItemRecord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use snapshots::{GraphTime, GroupFile, InputPosition, Kind, Manifest, RunId};

pub(super) use self::catalogue::{FieldNames, NamedRecord, read_catalogue};
pub(super) use self::controls::{NamedControl, read_controls};
use self::coordinator::SnapshotCoordinator;
pub(super) use self::participant::SnapshotParticipant;
pub use self::passed_over::report_passed_over;
pub(super) use self::schedule::SnapshotSchedule;
use self::state::SnapshotState;
use super::supervisor::Part;
use super::tick::Waker;
use super::{RunError, Shared, SnapshotSettings};

/// Time between the starts of two snapshots. A running engine checks it a few times a second, so it can be changed.
#[derive(Clone, Debug)]
pub struct Interval(Arc<AtomicU64>);

impl Interval {
    /// An interval in milliseconds.
    pub fn of_ms(ms: u64) -> Self {
        Interval(Arc::new(AtomicU64::new(ms)))
    }

    /// No snapshot but the last one of the run.
    pub fn never() -> Self {
        Self::of_ms(u64::MAX)
    }

    /// Changes the interval.
    pub fn set_ms(&self, ms: u64) {
        self.0.store(ms, Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

/// A snapshot to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Sequence number, over all runs.
    number: u64,
    /// Its tick.
    time: Time,
    /// Positions of the inputs after that tick.
    positions: Vec<SourcePosition>,
    /// Whether the run ends with it: then it is written at full speed.
    is_last: bool,
}

/// The rows of one file: a group of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Shard {
    kind: Kind,
    group: u8,
}

/// Messages between the workers and the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum SnapshotMessage {
    /// Worker 0 to the coordinator: all workers are about to receive the barrier.
    Begin(Snapshot),
    /// Worker to coordinator: shards of one kind that changed on this worker.
    Changed { snapshot: u64, shards: Vec<Shard> },
    /// Coordinator to worker: shards that changed on any worker. A file has the rows of all workers, so all must send.
    Wanted { snapshot: u64, shards: Vec<Shard> },
    /// Worker to coordinator: rows of a wanted group.
    Interactions(SnapshotChunk<Event>),
    /// Worker 0 to the coordinator: rows of a wanted group.
    Catalogue(SnapshotChunk<ItemRecord>),
    /// Worker to coordinator: rows of a wanted group.
    Controls(SnapshotChunk<ControlRecord>),
    /// Coordinator to a worker of another process: one of its chunks was processed.
    Taken,
}

/// The result of a snapshot, from the coordinator to the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Whether it failed and should be tried again.
    failed: bool,
    /// Whether another run owns the store, so that no later one can succeed.
    lost: bool,
    /// Tick of the last complete snapshot whose files can be reused; 0: none.
    base: Time,
}

/// Files of a complete snapshot.
pub(super) type Files = BTreeMap<Shard, GroupFile>;

/// The workers' channels to and from the coordinator.
#[derive(Clone)]
pub(super) struct SnapshotLink {
    /// Messages to the coordinator, each with the worker to acknowledge it to: none within this process.
    pub(super) requests: Sender<(Option<usize>, SnapshotMessage)>,
    /// Messages to workers, which worker 0 delivers.
    pub(super) replies: Receiver<(usize, SnapshotMessage)>,
}

/// Progress of the output, set by its thread. Dropping it ends the coordinator; a snapshot under way is abandoned.
pub(super) struct OutputProgress {
    written: Arc<AtomicU64>,
    _is_open: Sender<Infallible>,
}

impl OutputProgress {
    /// Reports that all changes up to `time` are in the output.
    pub(super) fn set(&self, time: Time) {
        self.written.store(time, Release);
    }
}

/// The coordinator of a run and the ends of its channels.
pub(super) struct Snapshots {
    pub(super) schedule: SnapshotSchedule,
    pub(super) link: SnapshotLink,
    pub(super) output: OutputProgress,
}

/// Starts the threads that write snapshots. `resumed`: the snapshot that the run continues; `workers`: of all
/// processes; `catalogue`: the fields of the catalogue, if the run has one, so that worker 0 reports its groups too;
/// `has_controls`: whether the run takes controls, so that each worker reports their groups too. When another run takes over the store, this one is stopped.
pub(super) fn start(
    settings: SnapshotSettings,
    resumed: Option<&Manifest>,
    workers: usize,
    catalogue: Option<FieldNames>,
    has_controls: bool,
    shared: &Shared,
    waker: Waker,
) -> Snapshots {
    let (request_sender, requests) = unbounded();
    let (reply_sender, replies) = unbounded();
    let (outcomes, outcome_receiver) = unbounded();
    let (is_open, output) = unbounded();
    let written = Arc::<AtomicU64>::default();
    let run = RunId::random();
    let (pool, stored) = pool::start(&settings.store, run, &shared.reporter);
    let mut kinds = vec![Kind::Interactions];
    kinds.extend(catalogue.is_some().then_some(Kind::Catalogue));
    kinds.extend(has_controls.then_some(Kind::Controls));
    let state = SnapshotState::new(workers, kinds, resumed.and_then(files_of));
    let schedule = SnapshotSchedule::new(
        settings.interval.clone(),
        settings.newest,
        request_sender.clone(),
        outcome_receiver,
        state.base(),
    );
    let coordinator = SnapshotCoordinator {
        settings,
        run,
        workers,
        shared: shared.clone(),
        waker,
        requests,
        replies: reply_sender,
        written: Arc::clone(&written),
        output,
        pool,
        stored,
        outcomes,
        state,
        interactions: BTreeMap::new(),
        statements: BTreeMap::new(),
        controls: BTreeMap::new(),
        catalogue,
        is_paced: true,
        last: Ok(()),
    };
    shared.reporter.spawn(Part::Snapshots, tracing::error_span!("snapshots"), move || {
        coordinator.run().map_err(RunError::Snapshot)
    });
    Snapshots {
        schedule,
        link: SnapshotLink { requests: request_sender, replies },
        output: OutputProgress { written, _is_open: is_open },
    }
}

/// The files of a snapshot, if a later one can name them again: one file for each group.
fn files_of(manifest: &Manifest) -> Option<Files> {
    let of = |kind, files: &[GroupFile]| -> Files {
        files.iter().map(|file| (Shard { kind, group: file.group }, file.clone())).collect()
    };
    let mut files = of(Kind::Interactions, &manifest.groups);
    files.extend(of(Kind::Catalogue, &manifest.catalogue));
    files.extend(of(Kind::Controls, &manifest.controls));
    (!files.is_empty() && files.len() == manifest.files().count()).then_some(files)
}

/// The position of each input, by its name.
pub(super) fn input_positions(names: &[String], positions: &[SourcePosition]) -> Vec<InputPosition> {
    let position = |(name, position): (&String, &SourcePosition)| InputPosition {
        name: name.clone(),
        position: serde_json::to_value(position).expect("a position is numbers under text keys"),
    };
    names.iter().zip(positions).map(position).collect()
}

/// The manifest of a snapshot that this program takes now.
pub(super) fn manifest(
    (sequence, run): (u64, RunId),
    time: Time,
    compatibility: Map<String, Value>,
    inputs: Vec<InputPosition>,
    workers: usize,
    files: Files,
) -> Manifest {
    let (mut groups, mut catalogue, mut controls) = (Vec::new(), Vec::new(), Vec::new());
    for (Shard { kind, .. }, file) in files {
        match kind {
            Kind::Interactions => groups.push(file),
            Kind::Catalogue => catalogue.push(file),
            Kind::Controls => controls.push(file),
        }
    }
    let version = if controls.is_empty() { Manifest::VERSION_WITHOUT_CONTROLS } else { Manifest::VERSION };
    Manifest {
        version,
        deltarec: env!("CARGO_PKG_VERSION").into(),
        sequence,
        run,
        taken: Timestamp::now(),
        time: GraphTime { ms: ms_of(time), sequence: (time - first_of(ms_of(time))) as u32 },
        compatibility,
        inputs,
        output: None,
        workers,
        rows: groups.iter().map(|group| group.rows).sum(),
        groups,
        catalogue_inputs: Vec::new(),
        control_inputs: Vec::new(),
        catalogue,
        controls,
    }
}
