//! One run: sources -> reader thread -> workers (the graph) -> writer thread -> sink.
//!
//! The reader merges its inputs, judges events and fixes the ticks; worker 0 feeds ticks to the graph, at most two at a
//! time, and hands on what changed once a tick is complete everywhere; the writer gives names back and writes. Both
//! channels are bounded and both threads wait when they are full, so nothing runs ahead of the slowest part.

mod background;
mod clock;
mod commands;
mod compute;
mod follower;
mod names;
mod progress;
mod reader;
mod resume;
mod simulated;
mod snapshot;
pub(crate) mod state;
mod streams;
mod summary;
mod tick;
mod worker;
mod writer;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use connectors::{RejectLog, Sink, SinkError, Source, SourceError};
use crossbeam_channel::bounded;
use schema::{TRENDING, id64};
use snapshots::{Store, StoreError};

pub use self::clock::Clock;
pub(crate) use self::clock::now;
use self::compute::{Computing, CoordinatorHandle, compute};
use self::names::Names;
pub use self::progress::{Progress, Show};
pub(crate) use self::progress::{grouped, memory, timestamp};
use self::reader::{Reader, Rejects};
pub(crate) use self::reader::{latest, rejected};
pub use self::resume::Resume;
pub use self::simulated::Simulated;
pub use self::snapshot::Interval;
pub use self::streams::Streams;
pub use self::summary::Summary;
use self::worker::{Coordinator, Durability};
use self::writer::Writer;
use crate::cluster::{Links, Orders};
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::stop::Stop;

/// An input of a run.
pub struct Input {
    /// Where its events come from.
    pub source: Box<dyn Source>,
    /// Whether a poll may wait for the outside world (a pipe) rather than for a disk: what was read before is then
    /// passed on first.
    pub waits: bool,
}

/// Everything a run needs.
pub struct Job {
    /// What is computed, and how events are judged.
    pub config: Config,
    /// Inputs, merged by `(ts, input, line)`.
    pub inputs: Vec<Input>,
    /// Where changes go.
    pub output: Box<dyn Sink>,
    /// Where similar items and similar users go, if they are asked for.
    pub streams: Streams,
    /// Where rejected records go.
    pub rejects: RejectLog,
    /// Worker threads of this process, at least 1.
    pub workers: usize,
    /// The other processes, if there are any. This is process 0: it reads and writes, the others compute.
    pub links: Option<Links>,
    /// What time it is.
    pub clock: Clock,
    /// Counters that say how far it is, for whoever wants to look.
    pub progress: Arc<Progress>,
    /// What is shown meanwhile.
    pub show: Show,
    /// Ends the run early: what was read is finished, nothing more is read.
    pub stop: Stop,
    /// How what is held survives a restart, if it is to.
    pub state: Option<State>,
    /// What the run goes on from, or what its output holds: nothing is sent before everything is read that is there at
    /// the start. The inputs must be where they go on. Without it changes are sent from the first event on.
    pub resume: Option<Resume>,
}

impl Job {
    /// A run on one worker by the clock of the events, which shows nothing, keeps nothing and sends every change.
    pub fn new(config: Config, inputs: Vec<Input>, output: Box<dyn Sink>) -> Self {
        Job {
            config,
            inputs,
            output,
            streams: Streams::default(),
            rejects: RejectLog::default(),
            workers: 1,
            links: None,
            clock: Clock::Event,
            progress: Arc::default(),
            show: Show::Nothing,
            stop: Stop::default(),
            state: None,
            resume: None,
        }
    }
}

/// What a run needs to take snapshots and to go on from one.
pub struct State {
    /// Where snapshots are kept.
    pub store: Arc<Store>,
    /// The number of the last snapshot there is.
    pub newest: u64,
    /// Time between two snapshots.
    pub interval: Interval,
    /// How many are kept.
    pub keep: usize,
    /// The settings that must be compatible in the run that continues.
    pub compatibility: serde_json::Map<String, serde_json::Value>,
    /// The inputs as the user named them.
    pub inputs: Vec<String>,
}

/// Why a run failed. What was written before stands.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input could not be read to its end.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output, or the output for rejected records, could not be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A snapshot could not be read any more after it had been found sound.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The last snapshot could not be written: the next start goes on from the one before.
    #[error("the last snapshot is not complete, a restart resumes from the one before: {0}")]
    Snapshot(StoreError),
    /// Another process of the cluster is no more, or cannot be reached.
    #[error(
        "process {process}, {address}, is lost ({what}): all processes stop; start all of them again, and they go on \
         where the last snapshot was taken"
    )]
    Lost {
        /// Its number.
        process: usize,
        /// Where it was.
        address: String,
        /// What was seen.
        what: String,
    },
    /// Process 0 of the cluster failed.
    #[error("process 0 has failed, and says why: all processes stop")]
    Elsewhere,
    /// A thread of this program failed: a bug.
    #[error("{0} failed; please report what is printed above")]
    Thread(&'static str),
}

impl RunError {
    /// Whether another process was the reason, so that all must be started again.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, RunError::Lost { .. } | RunError::Elsewhere)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        if error.is_elsewhere() { Failure::Elsewhere(error.into()) } else { Failure::Running(error.into()) }
    }
}

/// Computes for a run that process 0 steers, until that is over. `saves`: snapshots are taken.
pub fn assist(config: &Config, links: Links, workers: usize, saves: bool, stop: &Stop) -> Result<(), RunError> {
    let Orders { resumes, similar_items, similar_users } = links.orders();
    let durability = Durability { saves, snapshots: None, resumes };
    let told = dataflows::Outputs { similar_items, similar_users };
    let config = dataflows::Config { told, ..graph_config(config) };
    let computing = compute(workers, Some(links), config, None, durability, stop);
    computing.map_err(|_| NO_THREADS)?.done()
}

/// The workers, or the threads of the network between them, could not be started.
const NO_THREADS: RunError = RunError::Thread("starting the workers");

/// Runs until the inputs end or [`Stop`] says so, and says what was done, also when it failed.
pub fn run(job: Job) -> (Summary, Result<(), RunError>) {
    let started = Instant::now();
    let progress = job.progress;
    let names = Arc::new(Names::default());
    names.passing().keep(id64(TRENDING), TRENDING, u64::MAX);
    let (feeds_in, feeds_out) = bounded(1);
    let (settled_in, settled_out) = bounded(worker::SETTLED);

    let rejects = Rejects::new(job.rejects);
    let shared =
        Shared { clock: job.clock, stop: job.stop.clone(), names: Arc::clone(&names), progress: Arc::clone(&progress) };
    let mut pilot = Coordinator::new(feeds_out, settled_in, shared.clone());
    let waker = pilot.waker();
    let resumes = job.resume.is_some();
    let goes_on_from = job.resume.as_ref().and_then(|resume| resume.manifest.clone());
    let reader = Reader::new(
        &job.config,
        job.inputs,
        rejects.clone(),
        shared.clone(),
        pilot.waiting(),
        job.state.as_ref(),
        job.resume,
    );
    let config = dataflows::Config { told: job.streams.told(), ..graph_config(&job.config) };
    let workers = job.workers * job.links.as_ref().map_or(1, Links::processes);
    let (mut durability, mut saving, mut output_progress) =
        (Durability { resumes, ..Durability::default() }, None, None);
    if let Some(state) = job.state {
        let stop = job.stop.clone();
        let snapshots =
            snapshot::start(state, goes_on_from.as_deref(), workers, Arc::clone(&names), waker.clone(), stop);
        pilot.take_snapshots(snapshots.schedule);
        (durability.saves, durability.snapshots) = (true, Some(snapshots.link));
        (saving, output_progress) = (Some(snapshots.coordinator), Some(snapshots.output));
    }
    let writer = Writer::new(job.output, job.streams, shared, output_progress);

    let reading = {
        let (stop, waker) = (job.stop.clone(), waker.clone());
        thread::Builder::new().name("reader".into()).spawn(move || reader.run(&feeds_in, &stop, &waker))
    }
    .expect("threads can be started at the beginning of a run");
    let writing = thread::Builder::new()
        .name("writer".into())
        .spawn({
            let waker = waker.clone();
            move || writer.run(&settled_out, &waker)
        })
        .expect("threads can be started at the beginning of a run");
    let display = job.show.start(Arc::clone(&progress));

    let (verdict_in, verdict) = bounded(1);
    let lead = Some(CoordinatorHandle { pilot, verdict });
    let computing = compute(job.workers, job.links, config, lead, durability, &job.stop);
    let computed = computing.as_ref().map_or(Err(NO_THREADS), Computing::steered);
    // When a worker has fallen, the others, and with them the writer, wait for it for ever: they are left behind.
    let written = (computed.is_ok() || ends_within(LEAVING, &writing)).then(|| writing.join());
    let cut_short = job.stop.is_set() || computed.is_err() || !matches!(written, Some(Ok(_)));
    let read = (!cut_short || ends_within(LEAVING, &reading)).then(|| reading.join());
    let saving = saving.filter(|saving| computed.is_ok() || ends_within(LEAVING, saving));
    let saved = saving.map_or(Ok(()), |saving| match saving.join() {
        Ok(saved) => saved.map_err(RunError::Snapshot),
        Err(_) => Err(RunError::Thread("the snapshot coordinator")),
    });
    display.end();

    let mut summary = Summary::of(&progress, started.elapsed());
    let mut rejects = rejects.take();
    summary.rejected_by = rejects.counts().clone();
    let read = match read {
        Some(Ok(failure)) => failure.map_or(Ok(()), Err),
        Some(Err(_)) => Err(RunError::Thread("the reader")),
        None => Ok(()),
    };
    let written = match written {
        Some(Ok(written)) => written.map_err(RunError::from),
        Some(Err(_)) => Err(RunError::Thread("the writer")),
        None => Ok(()),
    };
    let is_steered = computed.is_ok();
    let result = computed.and(written).and(read).and(rejects.close().map_err(RunError::from)).and(saved);
    // Nobody listens where there is no other process.
    verdict_in.send(result.is_ok()).unwrap_or_default();
    waker.wake();
    let done =
        computing.map_err(|_| NO_THREADS).and_then(|computing| if is_steered { computing.done() } else { Ok(()) });
    (summary, result.and(done))
}

/// What all threads of a run have in common.
#[derive(Clone)]
struct Shared {
    clock: Clock,
    stop: Stop,
    names: Arc<Names>,
    progress: Arc<Progress>,
}

/// How long a run that is cut short waits for its reader. One that waits for a pipe is left behind: what it had read
/// has been passed on.
const LEAVING: Duration = Duration::from_millis(200);

fn ends_within<T>(limit: Duration, thread: &thread::JoinHandle<T>) -> bool {
    let asked = Instant::now();
    while !thread.is_finished() && asked.elapsed() < limit {
        thread::sleep(Duration::from_millis(2));
    }
    thread.is_finished()
}

/// What trends, if it is asked for.
fn trending(trending: &config::Trending) -> Option<dataflows::Trending> {
    let config::Trending { k, bucket, buckets, .. } = *trending;
    (k > 0).then(|| dataflows::Trending { k: k as usize, bucket, buckets, everywhere: id64(TRENDING) })
}

/// The graph's own parameters. They are validated, so every number fits.
pub(crate) fn graph_config(config: &Config) -> dataflows::Config {
    let graph = &config.graph;
    dataflows::Config {
        history: graph.history as usize,
        neighbours: graph.neighbours as usize,
        k: graph.k as usize,
        retention: graph.retention,
        audience: match graph.audience {
            config::Audience::All => dataflows::Audience::All,
            config::Audience::Within(ms) => dataflows::Audience::Within(ms),
        },
        similarity: graph.similarity,
        min_cooccurrence: graph.min_cooccurrence,
        shrink: graph.shrink,
        stairs: graph.stairs.iter().map(|stair| *stair as usize).collect(),
        resolution: graph.resolution,
        sample: graph.sample as usize,
        similar_users: graph.similar_users as usize,
        items: i64::from(graph.sources.items),
        users: i64::from(graph.sources.users),
        trending: trending(&config.trending),
        ..dataflows::Config::default()
    }
}
