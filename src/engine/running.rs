//! The end of a run: its threads are joined in one order, for any cause of the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use connectors::SinkError;
use crossbeam_channel::Sender;
use snapshots::StoreError;

use super::RunError;
use super::compute::Workers;
use super::progress::{Display, Progress};
use super::reader::Rejects;
use super::summary::{Summary, by_code};
use super::tick::Waker;
use crate::stop::Stop;

/// A run whose threads have started.
pub struct Running {
    pub(super) started: Instant,
    pub(super) progress: Arc<Progress>,
    pub(super) stop: Stop,
    pub(super) workers: io::Result<Workers>,
    pub(super) writer: JoinHandle<Result<(), SinkError>>,
    pub(super) reader: JoinHandle<Option<RunError>>,
    /// The snapshot coordinator. Fails if the last snapshot did.
    pub(super) snapshots: Option<JoinHandle<Result<(), StoreError>>>,
    pub(super) rejects: Rejects,
    pub(super) display: Display,
    /// Whether process 0 succeeded, for the other processes.
    pub(super) verdict: Sender<bool>,
    pub(super) waker: Waker,
}

/// The workers, or the network threads between them, could not be started.
pub(super) const NO_WORKERS: RunError = RunError::Thread("starting the workers");

/// Longest wait for a thread that may be blocked, when the run ends early.
const GRACE: Duration = Duration::from_millis(200);

impl Running {
    /// Waits for the end of the run, whether it succeeds or fails.
    pub fn join(self) -> (Summary, Result<(), RunError>) {
        // 1. The coordinator: it ends when the inputs have ended, or the run was stopped, and everything that follows from
        //    the events read is sent to the writer.
        let coordinated = self.workers.as_ref().map_or(Err(NO_WORKERS), Workers::wait_for_coordinator);
        let failed = coordinated.is_err();
        // 2. The writer: its channel is closed by now. But if a worker failed, the other workers wait for it for ever, and the
        //    writer waits for them: it is abandoned.
        let written = join("the writer", self.writer, failed);
        // 3. The reader. One that is blocked on a pipe is abandoned: everything it has read was sent.
        let cut_short = failed || self.stop.is_set() || !matches!(written, Ok(Some(_)));
        let read = join("the reader", self.reader, cut_short);
        // 4. The snapshot coordinator: a snapshot of the last tick is complete once the writer has written that tick. If the
        //    writer ends before, it drops its progress, and the snapshot is abandoned.
        let saved = self.snapshots.map_or(Ok(None), |thread| join("the snapshot coordinator", thread, failed));
        self.display.end();

        let mut summary = Summary::of(&self.progress, self.started.elapsed());
        let mut rejects = self.rejects.take();
        summary.rejected_by = rejects.counts().clone();
        // Without an event and without a rejected record, an older file of rejected records stays.
        let rejected = if self.progress.has_no_results() { rejects.release() } else { rejects.close() };
        let result = coordinated
            .and(written.and_then(|written| Ok(written.unwrap_or(Ok(()))?)))
            .and(read.and_then(|failure| failure.flatten().map_or(Ok(()), Err)))
            .and(rejected.map_err(RunError::from))
            .and(saved.and_then(|saved| saved.unwrap_or(Ok(())).map_err(RunError::Snapshot)));
        let result =
            result.and_then(|()| if self.stop.is_set() { Ok(()) } else { check_events(&self.progress, &summary) });
        // 5. The other processes of a cluster, which end with the result of this one. A single process has no receiver.
        self.verdict.send(result.is_ok()).unwrap_or_default();
        self.waker.wake();
        // 6. The workers. After a failure they may wait for each other for ever.
        let ended =
            if failed { Ok(()) } else { self.workers.map_or(Err(NO_WORKERS), |workers| workers.wait_for_all()) };
        (summary, result.and(ended))
    }
}

/// Fails if the inputs had records, and not one of them was an event. A run that resumed has events of earlier runs.
fn check_events(progress: &Progress, summary: &Summary) -> Result<(), RunError> {
    let rejected = summary.rejected;
    if rejected == 0 || summary.events > 0 || progress.restored.load(Relaxed) > 0 {
        return Ok(());
    }
    Err(RunError::NoEvents { rejected, reasons: by_code(&summary.rejected_by) })
}

/// Joins a thread and returns its value. A thread that may be blocked gets a short time to end, and is abandoned after it:
/// `None`. A panic is an error that names the thread.
fn join<T>(name: &'static str, thread: JoinHandle<T>, may_be_blocked: bool) -> Result<Option<T>, RunError> {
    let deadline = Instant::now() + GRACE;
    while may_be_blocked && !thread.is_finished() {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
    thread.join().map(Some).map_err(|_| RunError::Thread(name))
}
