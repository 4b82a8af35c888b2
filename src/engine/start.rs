//! Starts the threads of a run, with the channels between them.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use snapshots::{Manifest, RunId};

use super::compute::{CoordinatorHandle, start_workers};
use super::names::Names;
use super::reader::{Reader, Rejects, TickSender};
use super::running::Running;
use super::snapshot::{
    Begin, SnapshotCommitter, SnapshotCoordinator, SnapshotError, SnapshotStatus, SnapshotWriter, WriterCommand,
    files_of, writer_channel,
};
use super::threads::spawn;
use super::tick::Waker;
use super::worker::{self, Coordinator, Durability};
use super::writer::Writer;
use super::{Job, Shared, State};
use crate::cluster::Links;
use crate::stop::Stop;

/// Starts a run. It ends when its inputs do or when [`Stop`] is set; the caller [joins](Running::join) it.
pub fn start(job: Job) -> Running {
    let started = Instant::now();
    let Job { config, inputs, sinks, rejects, workers, links, clock, progress, show, stop, state, resume } = job;
    let shared = Shared { clock, stop, names: Arc::new(Names::default()), progress };

    // Both channels are short and their senders block, so no thread runs ahead of the slowest one.
    let (ticks_in, ticks) = bounded(1);
    let (completed_in, completed) = bounded(worker::COMPLETED_QUEUE);
    let store = state.as_ref().map(|state| Arc::clone(&state.store));
    let (snapshot_coordinator, snapshots) = state.map(SnapshotThreads::new).unzip();
    let status = snapshots.as_ref().map(|snapshots| snapshots.status.clone());
    let coordinator = Coordinator::new(ticks, completed_in, shared.clone(), snapshot_coordinator);
    let waker = coordinator.waker();

    let output_ended = Stop::default();
    let resumes_from = resume.as_ref().and_then(|resume| resume.manifest.clone());
    let all_workers = workers * links.as_ref().map_or(1, Links::processes);
    let (chunks, committer) = snapshots
        .map(|snapshots| snapshots.start(resumes_from.as_deref(), all_workers, &shared, &waker, &output_ended))
        .unzip();
    let durability = Durability { snapshots: chunks.is_some(), writer: chunks, resumes: resume.is_some() };

    let out = TickSender { ticks: ticks_in, waker: waker.clone(), waiting: coordinator.reader_waits() };
    let rejects = Rejects::new(rejects);
    let reader = Reader::new(&config, inputs, rejects.clone(), &shared, out, store, resume);
    let reader = spawn("reader", tracing::error_span!("reader"), move || reader.run());
    let graph = dataflows::Config { outputs: sinks.outputs(), ..config.graph.clone() };
    let writer = Writer::new(sinks, shared.clone(), status);
    let writer = spawn("writer", tracing::error_span!("writer"), {
        let waker = waker.clone();
        move || writer.run(&completed, &waker)
    });
    let display = show.start(Arc::clone(&shared.progress));

    let (verdict_in, verdict) = bounded(1);
    let coordinator = Some(CoordinatorHandle { coordinator, outcome: verdict });
    let workers = start_workers(workers, links, graph, coordinator, durability, &shared.stop);
    Running {
        started,
        progress: shared.progress,
        stop: shared.stop,
        workers,
        writer,
        reader,
        committer,
        output_ended,
        rejects,
        display,
        verdict: verdict_in,
        waker,
    }
}

/// The threads that write snapshots, before they start.
struct SnapshotThreads {
    state: State,
    begins: Receiver<Begin>,
    status: SnapshotStatus,
}

impl SnapshotThreads {
    /// With the coordinator that says when a snapshot begins.
    fn new(state: State) -> (SnapshotCoordinator, Self) {
        let (coordinator, begins, status) = SnapshotCoordinator::new(state.interval.clone(), state.newest);
        (coordinator, SnapshotThreads { state, begins, status })
    }

    /// Returns the channel for what workers hold, and the committer, whose result is that of the last snapshot. `workers`:
    /// of all processes.
    fn start(
        self,
        resumes_from: Option<&Manifest>,
        workers: usize,
        shared: &Shared,
        waker: &Waker,
        output_ended: &Stop,
    ) -> (Sender<WriterCommand>, JoinHandle<Result<(), SnapshotError>>) {
        let SnapshotThreads { state, begins, status } = self;
        let (commands_in, commands) = writer_channel();
        let (reports_in, reports) = unbounded();
        let run = RunId::random();
        let files = resumes_from.and_then(files_of);
        if files.is_some() {
            status.goes_on();
        }
        let writer = SnapshotWriter {
            store: Arc::clone(&state.store),
            run,
            process: 0,
            names: Arc::clone(&shared.names),
            handed: commands,
            workers,
            reports: reports_in,
            told: status.clone(),
        };
        let committer = SnapshotCommitter {
            store: state.store,
            run,
            processes: 1,
            workers,
            meaning: state.meaning,
            inputs: state.inputs,
            keep: state.keep,
            files: files.unwrap_or_default(),
            begins,
            reports,
            told: status,
            names: Arc::clone(&shared.names),
            waker: waker.clone(),
            gone: output_ended.clone(),
            stop: shared.stop.clone(),
        };
        spawn("snapshot-writer", tracing::error_span!("snapshot_writer"), move || writer.run());
        (commands_in, spawn("snapshot-committer", tracing::error_span!("snapshot_committer"), move || committer.run()))
    }
}
