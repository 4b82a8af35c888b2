//! A run: sources -> reader thread -> workers (the graph) -> writer thread -> sink.
//!
//! The reader merges its inputs, validates events and cuts ticks. Worker 0, the coordinator, sends ticks to the graph, at
//! most two at a time, and sends the changes of a tick to the writer once it is complete on all workers. The writer turns ids
//! into names and writes. [`start()`] starts these threads, [`Running::join`] ends them.
//!
//! Only the reader and the snapshot threads wait for room in a channel. When the inputs end, each thread finishes its work and
//! disconnects its channel: the reader, then the coordinator, then the writer. Whatever fails, the supervisor ends the run.

mod clock;
mod commands;
mod compute;
mod coordinator;
mod ending;
mod follower;
mod names;
mod progress;
mod reader;
mod resume;
mod running;
mod simulated;
mod snapshot;
mod start;
pub(crate) mod state;
mod summary;
mod supervisor;
mod tick;
mod ticks;
mod waits;
mod worker;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use connectors::{CatalogueRecord, ControlRecords, Record, RejectLog, Sink, SinkError, SinkState, Source, SourceError};
use schema::{Event, IdKey};
use snapshots::{Manifest, Store, StoreError};

pub use self::clock::Clock;
pub(crate) use self::clock::now;
use self::compute::start_workers;
use self::ending::Ending;
pub use self::ending::PeerFailure;
use self::names::Names;
pub use self::progress::{Progress, Show};
pub(crate) use self::progress::{grouped, timestamp};
pub(crate) use self::reader::{latest, rejected};
pub use self::running::Running;
pub use self::simulated::{Simulated, SimulatedCatalogue};
pub use self::snapshot::{Interval, report_passed_over};
pub use self::start::start;
pub use self::summary::Summary;
use self::supervisor::{Reporter, Supervisor};
use self::worker::Durability;
pub use self::writer::Sinks;
use crate::cluster::{GraphOptions, Links};
use crate::config::Config;
use crate::failure::Failure;
use crate::stop::Stop;

/// An input of a run, of events or of another kind of record.
pub struct Input<R: Record = Event> {
    /// Source of the records.
    pub source: Box<dyn Source<R>>,
    /// Whether a poll may wait for the outside world (a pipe) rather than for a disk. Everything read before is sent
    /// before such a poll.
    pub waits: bool,
}

/// Everything a run needs, opened.
pub struct Job {
    /// Parameters of the graph and of the validation of events.
    pub config: Config,
    /// Inputs, merged by `(ts, input, line)`. At the positions at which they resume.
    pub inputs: Vec<Input>,
    /// Inputs of the catalogue, merged with the others.
    pub catalogue: Vec<Input<CatalogueRecord>>,
    /// Inputs of controls, merged with the others.
    pub controls: Vec<Input<ControlRecords>>,
    /// Sinks of the results.
    pub sinks: Sinks,
    /// Log of rejected records.
    pub rejects: RejectLog,
    /// Worker threads of this process, at least 1.
    pub workers: usize,
    /// Links to the other processes of the cluster, if it is one. This is process 0: it reads and writes, the others compute.
    pub links: Option<Links>,
    /// Key of the ids of names.
    pub ids: IdKey,
    /// Source of the time.
    pub clock: Clock,
    /// Counters, updated during the run.
    pub progress: Arc<Progress>,
    /// Display of the counters.
    pub show: Show,
    /// Request to end the run early: events already read are processed, no more are read.
    pub stop: Stop,
    /// Store of the snapshots, if the run takes them.
    pub state: Option<SnapshotSettings>,
    /// Snapshot and sink state to resume from. If present, nothing is emitted before everything is read that the inputs have
    /// at the start. Otherwise changes are emitted from the first event on.
    pub resume: Option<Resume>,
}

impl Job {
    /// A run on one worker by the clock of the events, without a key, display and snapshots, that emits every change.
    pub fn new(config: Config, inputs: Vec<Input>, output: Box<dyn Sink>) -> Self {
        Job {
            config,
            inputs,
            catalogue: Vec::new(),
            controls: Vec::new(),
            sinks: Sinks { changes: output, similar_items: None, similar_users: None },
            rejects: RejectLog::default(),
            workers: 1,
            links: None,
            ids: IdKey::default(),
            clock: Clock::Event,
            progress: Arc::default(),
            show: Show::Nothing,
            stop: Stop::default(),
            state: None,
            resume: None,
        }
    }
}

impl Job {
    /// The parameters of the graph of this run.
    pub(crate) fn graph(&self) -> dataflows::Config {
        dataflows::Config {
            outputs: self.sinks.outputs(),
            catalogue: self.has_catalogue().then(|| self.config.catalogue.graph()),
            controls: self.has_controls(),
            ..self.config.graph.clone()
        }
    }

    /// Whether the run has a catalogue: an input of one, or a snapshot with one.
    pub(crate) fn has_catalogue(&self) -> bool {
        !self.catalogue.is_empty() || self.resumed_manifest().is_some_and(|manifest| !manifest.catalogue.is_empty())
    }

    /// Whether the run takes controls: from an input, or a snapshot has some.
    pub(crate) fn has_controls(&self) -> bool {
        !self.controls.is_empty() || self.resumed_manifest().is_some_and(|manifest| !manifest.controls.is_empty())
    }

    fn resumed_manifest(&self) -> Option<&Arc<Manifest>> {
        self.resume.as_ref()?.manifest.as_ref()
    }
}

/// What a run needs to take snapshots.
pub struct SnapshotSettings {
    /// Store of the snapshots.
    pub store: Arc<Store>,
    /// Number of the newest snapshot in the store.
    pub newest: u64,
    /// Time between two snapshots.
    pub interval: Interval,
    /// Number of snapshots to retain.
    pub keep: usize,
    /// The settings that must be compatible in the run that continues.
    pub compatibility: serde_json::Map<String, serde_json::Value>,
    /// The inputs of events as the user named them.
    pub inputs: Vec<String>,
    /// The inputs of the catalogue as the user named them. In the positions of a run they follow those of events.
    pub catalogue: Vec<String>,
    /// The inputs of controls as the user named them. In the positions of a run they follow those of the catalogue.
    pub controls: Vec<String>,
}

/// What a run resumes from.
#[derive(Clone, Default)]
pub struct Resume {
    /// The snapshot, if there is one.
    pub manifest: Option<Arc<Manifest>>,
    /// Lists that the sink contains.
    pub sink_state: Arc<SinkState>,
}

/// Why a run failed. What was written before remains valid.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input could not be read to its end.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output, or the output for rejected records, could not be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A snapshot that was checked before could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The last snapshot could not be written.
    #[error("the last snapshot is not complete, a restart resumes from the one before: {0}")]
    Snapshot(StoreError),
    /// Another process of the cluster ended or cannot be reached.
    #[error(
        "process {process}, {address}, is lost ({what}): all processes stop; start all of them again to resume from the \
         last snapshot"
    )]
    Lost {
        /// Number of the process.
        process: usize,
        /// Address of the process.
        address: String,
        /// Error of the link.
        what: String,
    },
    /// The inputs ended, and none of their records was an event.
    #[error(
        "not one of {rejected} records was an event ({reasons}): see the warnings above, and how to name the format and the \
         columns in docs/input.md"
    )]
    NoEvents {
        /// Number of rejected records.
        rejected: u64,
        /// The codes of the reasons and their counts.
        reasons: String,
    },
    /// Another process of the cluster has failed.
    #[error(
        "process {} has failed ({}): all processes stop; start all of them again to resume from the last snapshot",
        .0.process, .0.reason
    )]
    PeerFailed(PeerFailure),
    /// An output did not answer while the run was to end.
    #[error(
        "{what} are not acknowledged {} s after the run was to end; make sure that the output works, and start again",
        .after.as_secs()
    )]
    NotAcknowledged {
        /// The output, and what was written to it.
        what: String,
        /// Time for which it was waited for.
        after: Duration,
    },
    /// A thread, or the network between the workers, could not be started.
    #[error("cannot start the thread `{what}`: {error}; see the limits of this user (ulimit -u)")]
    Start {
        /// The thread.
        what: &'static str,
        /// The system's error.
        error: io::Error,
    },
    /// A thread of this program panicked: a bug.
    #[error("the thread `{thread}` panicked: {message}; please report this with what is printed above")]
    Panicked {
        /// The thread.
        thread: &'static str,
        /// The message of the panic.
        message: String,
    },
}

impl RunError {
    /// Whether the reader of an output has closed its pipe, which is a normal end.
    fn is_closed_output(&self) -> bool {
        matches!(self, RunError::Sink(error) if error.closed)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Lost { .. } | RunError::PeerFailed(_) => Failure::Cluster(error.into()),
            _ => Failure::Running(error.into()),
        }
    }
}

/// Runs a job to its end.
pub fn run(job: Job) -> (Summary, Result<(), RunError>) {
    start(job).join()
}

/// Runs the workers of any process but 0: they compute for the run that process 0 coordinates, until it ends. `saves`: the
/// run takes snapshots.
pub fn run_follower(config: &Config, links: Links, workers: usize, saves: bool, stop: &Stop) -> Result<(), RunError> {
    let GraphOptions { resumes, catalogue, controls, outputs } = links.options;
    let durability = Durability { saves, snapshots: None, resumes };
    let catalogue = catalogue.then(|| config.catalogue.graph());
    let config = dataflows::Config { outputs, catalogue, controls, ..config.graph.clone() };
    let mut supervisor = Supervisor::new(stop.clone(), links.process);
    start_workers(workers, Some(links), config, None, durability, &supervisor);
    supervisor.wait_for_links();
    supervisor.finish()
}

/// What all threads of a run share.
#[derive(Clone)]
struct Shared {
    clock: Clock,
    stop: Stop,
    ids: IdKey,
    names: Arc<Names>,
    progress: Arc<Progress>,
    ending: Ending,
    reporter: Reporter,
}
