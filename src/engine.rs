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
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use schema::{TRENDING, id64};
use snapshots::{Manifest, RunId, Store, StoreError};

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
pub(crate) use self::snapshot::positions;
use self::snapshot::{
    Begin, SnapshotCommitter, SnapshotCoordinator, SnapshotStatus, SnapshotWriter, WriterCommand, files_of,
    writer_channel,
};
pub use self::snapshot::{Interval, SnapshotError};
pub use self::streams::Streams;
pub use self::summary::Summary;
use self::tick::Waker;
use self::worker::{Coordinator, Durability};
use self::writer::Writer;
use crate::cluster::{Links, Orders};
use crate::config::Config;
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
    /// The configuration that gives what is held its meaning.
    pub meaning: serde_json::Map<String, serde_json::Value>,
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
    #[error("the last snapshot is not complete, a restart goes on from the one before: {0}")]
    Snapshot(#[from] SnapshotError),
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
    let durability = Durability { saves, handed: None, resumes };
    let outputs = dataflows::Outputs { similar_items, similar_users };
    let config = dataflows::Config { outputs, ..config.graph.clone() };
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
    let gone = Stop::default();
    let (conductor, told, saving) = match &job.state {
        Some(state) => {
            let (conductor, begins, told) = SnapshotCoordinator::new(state.interval.clone(), state.newest);
            let (gone, stop) = (gone.clone(), job.stop.clone());
            (Some(conductor), Some(told.clone()), Some(Saving { begins, told, gone, stop }))
        }
        None => (None, None, None),
    };
    let shared =
        Shared { clock: job.clock, stop: job.stop.clone(), names: Arc::clone(&names), progress: Arc::clone(&progress) };
    let pilot = Coordinator::new(feeds_out, settled_in, shared.clone(), conductor);
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
    let config = dataflows::Config { outputs: job.streams.told(), ..job.config.graph.clone() };
    let writer = Writer::new(job.output, job.streams, shared, told);
    let workers = job.workers * job.links.as_ref().map_or(1, Links::processes);
    let archive = job
        .state
        .zip(saving)
        .map(|(state, saving)| save(state, saving, goes_on_from.as_deref(), workers, &names, &waker));
    let (handed, archive) = archive.unzip();
    let durability = Durability { saves: handed.is_some(), handed, resumes };

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
    gone.set();
    let archive = archive.filter(|archive| computed.is_ok() || ends_within(LEAVING, archive));
    let saved = archive.map_or(Ok(()), |archive| match archive.join() {
        Ok(saved) => saved.map_err(RunError::from),
        Err(_) => Err(RunError::Thread("the thread for snapshots")),
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

/// What the thread that completes snapshots shares with others.
struct Saving {
    begins: Receiver<Begin>,
    told: SnapshotStatus,
    gone: Stop,
    stop: Stop,
}

/// Starts the threads that write snapshots. Returns what the workers hand over to, and the thread that knows whether the
/// last snapshot is complete.
fn save(
    state: State,
    saving: Saving,
    goes_on_from: Option<&Manifest>,
    workers: usize,
    names: &Arc<Names>,
    waker: &Waker,
) -> (Sender<WriterCommand>, thread::JoinHandle<Result<(), SnapshotError>>) {
    let (handing, handed) = writer_channel();
    let (reported, reports) = unbounded();
    let run = RunId::random();
    let scribe = SnapshotWriter {
        store: Arc::clone(&state.store),
        run,
        process: 0,
        names: Arc::clone(names),
        handed,
        workers,
        reports: reported,
        told: saving.told.clone(),
    };
    let files = goes_on_from.and_then(files_of);
    if files.is_some() {
        saving.told.goes_on();
    }
    let archive = SnapshotCommitter {
        store: state.store,
        run,
        processes: 1,
        workers,
        meaning: state.meaning,
        inputs: state.inputs,
        keep: state.keep,
        files: files.unwrap_or_default(),
        begins: saving.begins,
        reports,
        told: saving.told,
        names: Arc::clone(names),
        waker: waker.clone(),
        gone: saving.gone,
        stop: saving.stop,
    };
    let started = "threads can be started at the beginning of a run";
    thread::Builder::new().name("scribe".into()).spawn(move || scribe.run()).expect(started);
    (handing, thread::Builder::new().name("archive".into()).spawn(move || archive.run()).expect(started))
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
