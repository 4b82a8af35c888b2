//! Supervision of a run: every thread reports its end here, and the first failure decides how the run ends.
//!
//! | report | what follows |
//! | --- | --- |
//! | an input or the log of rejected records fails | nothing more is read; what was read is written, and the last snapshot is taken |
//! | the last snapshot fails | the run has ended anyway, and fails |
//! | the reader of an output closes its pipe | the run is cut and succeeds |
//! | a process has closed its link, and [`LINKS_GRACE`] later the run has still not ended here | the process is lost |
//! | anything else fails, any thread panics, a process is lost | the run is cut and fails |
//!
//! A run that is **cut** discards what is in flight and takes no snapshot. Its threads get [`GRACE`] to end, and one that is
//! blocked (on a pipe, on an output) is abandoned: the end of the process does not wait for it. What the output has
//! acknowledged stays, and a restart resumes from the last snapshot.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use connectors::SinkError;
use crossbeam_channel::{Receiver, Sender, unbounded};
use tracing::Span;

use super::RunError;
use super::ending::{Ending, PeerFailure};
use crate::stop::Stop;

/// A part of a run that reports its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Reader,
    /// The loop of the coordinator; its thread continues as a worker.
    Coordinator,
    Writer,
    /// The snapshot coordinator.
    Snapshots,
    /// All workers of this process, and its links.
    Workers,
    /// The log of rejected records is closed.
    Rejects,
    Display,
    /// A process has closed its link in order. Its error is that of the run only if the run goes on.
    ClosedLink,
    /// A thread that serves another: the run waits for none, but fails with each.
    Helper(&'static str),
}

impl Part {
    /// Name in messages and of the thread.
    fn name(self) -> &'static str {
        match self {
            Part::Reader => "reader",
            Part::Coordinator | Part::Workers => "worker",
            Part::Writer => "writer",
            Part::Snapshots => "snapshots",
            Part::Rejects => "rejects",
            Part::Display => "progress",
            Part::ClosedLink => "links",
            Part::Helper(name) => name,
        }
    }
}

/// Longest wait for the threads of a run that is cut, and for a thread that may be blocked when the run ends.
const GRACE: Duration = Duration::from_millis(400);

/// Longest further wait for the workers of a cluster that has failed: they send the failure to the other processes, and close
/// the links in order. Both takes milliseconds, unless a process is paused.
const LINKS_GRACE: Duration = Duration::from_secs(3);

/// Longest wait for an output once the run is to end: a broker that is away, or a pipe that is not read.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval at which the outputs are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Reports the ends of threads to the [`Supervisor`].
#[derive(Clone)]
pub(super) struct Reporter(Sender<(Part, Result<(), RunError>)>);

impl Reporter {
    /// Reports the end of a part. Reports after the end of the run are discarded.
    pub(super) fn report(&self, part: Part, result: Result<(), RunError>) {
        self.0.send((part, result)).unwrap_or_default();
    }

    /// Reports that another process has failed.
    pub(super) fn report_peer(&self, failure: PeerFailure) {
        self.report(Part::Helper("peer"), Err(RunError::PeerFailed(failure)));
    }

    /// Starts a thread in its span: `spawn(Part::Reader, tracing::error_span!("reader"), ...)`. Its end is reported, whether
    /// it returns, panics or could not be started. Spans are of level `error`, so that no filter removes them from the records
    /// that it keeps.
    pub(super) fn spawn(&self, part: Part, span: Span, work: impl FnOnce() -> Result<(), RunError> + Send + 'static) {
        let reporter = self.clone();
        let work = move || {
            let result = span.in_scope(|| catch_panic(part.name(), work));
            reporter.report(part, result);
        };
        if let Err(error) = thread::Builder::new().name(part.name().into()).spawn(work) {
            self.report(part, Err(RunError::Start { what: part.name(), error }));
        }
    }
}

/// Runs `work` and returns its panic as an error.
pub(super) fn catch_panic<T>(thread: &'static str, work: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(RunError::Panicked { thread, message: panic_message(&*payload) }))
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

/// Time for which a thread has been waiting for an output.
#[derive(Clone)]
pub(super) struct OutputWatch(Arc<OutputState>);

struct OutputState {
    /// What waits for the output, for the message.
    describe: Box<dyn Fn() -> String + Send + Sync>,
    started: Instant,
    /// Milliseconds from `started` to the start of the call; [`IDLE`]: there is none.
    since: AtomicU64,
}

const IDLE: u64 = u64::MAX;

impl OutputWatch {
    /// `describe`: what is lost if the output never answers, such as `out.jsonl: 7 changes`.
    pub(super) fn new(describe: impl Fn() -> String + Send + Sync + 'static) -> Self {
        OutputWatch(Arc::new(OutputState {
            describe: Box::new(describe),
            started: Instant::now(),
            since: AtomicU64::new(IDLE),
        }))
    }

    /// Makes a call that may wait for the output.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        let since = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(IDLE);
        self.0.since.store(since, Relaxed);
        let done = call();
        self.0.since.store(IDLE, Relaxed);
        done
    }

    /// Start of the call that is being made, if any.
    fn waits_since(&self) -> Option<Instant> {
        let since = self.0.since.load(Relaxed);
        (since != IDLE).then(|| self.0.started + Duration::from_millis(since))
    }
}

/// Receives the reports of a run.
pub(super) struct Supervisor {
    reports: Receiver<(Part, Result<(), RunError>)>,
    pub(super) reporter: Reporter,
    pub(super) ending: Ending,
    pub(super) stop: Stop,
    /// Number of this process in the cluster.
    process: usize,
    outputs: Vec<OutputWatch>,
    output_timeout: Duration,
    /// When the run was first seen to be ending.
    ending_since: Option<Instant>,
    ended: Vec<Part>,
    /// The first link that was closed in order.
    closed_link: Option<(Instant, RunError)>,
    /// The first failure, or that a pipe was closed.
    failure: Option<RunError>,
    /// Set once the run is cut by a failure: nothing is waited for any longer than this.
    deadline: Option<Instant>,
}

impl Supervisor {
    pub(super) fn new(stop: Stop, process: usize) -> Self {
        let (sender, reports) = unbounded();
        Supervisor {
            reports,
            reporter: Reporter(sender),
            ending: Ending::default(),
            stop,
            process,
            outputs: Vec::new(),
            output_timeout: OUTPUT_TIMEOUT,
            ending_since: None,
            ended: Vec::new(),
            closed_link: None,
            failure: None,
            deadline: None,
        }
    }

    /// Bounds the time for which an output may keep an ending run waiting.
    pub(super) fn watch(&mut self, output: OutputWatch) {
        self.outputs.push(output);
    }

    #[cfg(test)]
    pub(super) fn set_output_timeout(&mut self, timeout: Duration) {
        self.output_timeout = timeout;
    }

    /// Waits until all these parts have ended, or the run is cut by a failure and its grace is over.
    pub(super) fn wait_for(&mut self, parts: &[Part]) {
        self.wait_until(parts, None, Duration::ZERO);
    }

    /// The same for a part that may be blocked: it is abandoned after [`GRACE`].
    pub(super) fn wait_briefly_for(&mut self, part: Part) {
        self.wait_until(&[part], Some(Instant::now() + GRACE), Duration::ZERO);
    }

    /// The same for the workers of a cluster, with time to tell the other processes.
    pub(super) fn wait_for_links(&mut self) {
        self.wait_until(&[Part::Workers], None, LINKS_GRACE);
    }

    /// `more`: time beyond the grace of a run that is cut.
    fn wait_until(&mut self, parts: &[Part], limit: Option<Instant>, more: Duration) {
        while !parts.iter().all(|part| self.ended.contains(part)) {
            let now = Instant::now();
            let limit = [limit, self.deadline.map(|deadline| deadline + more)].into_iter().flatten().min();
            if limit.is_some_and(|limit| limit <= now) {
                let running: Vec<&Part> = parts.iter().filter(|part| !self.ended.contains(part)).collect();
                tracing::debug!(?running, "threads are abandoned");
                return;
            }
            let wait = limit.map_or(CHECK_INTERVAL, |limit| CHECK_INTERVAL.min(limit - now));
            if let Ok((part, result)) = self.reports.recv_timeout(wait) {
                self.on_end(part, result);
            }
            self.check_outputs();
            self.check_links();
        }
    }

    /// Adds a failure that no thread has reported.
    pub(super) fn fail(&mut self, error: RunError) {
        self.on_end(Part::Helper("run"), Err(error));
    }

    fn on_end(&mut self, part: Part, result: Result<(), RunError>) {
        if !matches!(part, Part::Helper(_) | Part::ClosedLink) {
            self.ended.push(part);
        }
        let Err(error) = result else { return };
        if part == Part::ClosedLink {
            self.closed_link.get_or_insert((Instant::now(), error));
            return;
        }
        let is_closed = error.is_closed_output();
        if let RunError::Sink(SinkError { closed: true, sink_name, .. }) = &error
            && sink_name != "-"
        {
            tracing::warn!(output = sink_name, "the reader closed the pipe: the run ends");
        }
        if cuts(part, &error) {
            if !is_closed && self.deadline.is_none() {
                self.deadline = Some(Instant::now() + GRACE);
                self.ending.decide(Some(self.peer_failure(&error)));
            }
            self.ending.cut();
            self.stop.set();
        }
        if self.failure.as_ref().is_none_or(RunError::is_closed_output) {
            self.failure = Some(error);
        } else {
            tracing::debug!(?part, %error, "a failure after the first one");
        }
    }

    /// The failure as the other processes report it. That of another process is passed on unchanged.
    fn peer_failure(&self, error: &RunError) -> PeerFailure {
        match error {
            RunError::PeerFailed(failure) => failure.clone(),
            RunError::Lost { process, what, .. } => {
                PeerFailure { process: *process, reason: format!("it is lost: {what}") }
            }
            error => PeerFailure { process: self.process, reason: error.to_string() },
        }
    }

    /// Cuts an ending run if an output keeps it waiting for too long.
    fn check_outputs(&mut self) {
        if self.ending_since.is_none() && (self.stop.is_set() || self.failure.is_some()) {
            self.ending_since = Some(Instant::now());
        }
        let Some(ending_since) = self.ending_since.filter(|_| self.deadline.is_none()) else { return };
        let is_late = |since: Instant| since.max(ending_since).elapsed() >= self.output_timeout;
        let late = self.outputs.iter().find(|output| output.waits_since().is_some_and(is_late));
        if let Some(output) = late {
            let what = (output.0.describe)();
            self.on_end(Part::Helper("output"), Err(RunError::NotAcknowledged { what, after: self.output_timeout }));
        }
    }

    /// Fails if another process has ended before it sent the result of the run: this one would wait for ever.
    fn check_links(&mut self) {
        if self.ending.is_decided() {
            self.closed_link = None;
        } else if let Some((_, error)) = self.closed_link.take_if(|(since, _)| since.elapsed() >= LINKS_GRACE) {
            self.on_end(Part::Helper("links"), Err(error));
        }
    }

    /// Sends the result to the other processes of the cluster.
    pub(super) fn announce(&mut self) {
        let failure = self.failure.as_ref().filter(|error| !error.is_closed_output());
        let failure = failure.map(|error| self.peer_failure(error));
        if failure.is_some() && self.deadline.is_none() {
            // The workers have to send it yet.
            self.deadline = Some(Instant::now() + GRACE);
        }
        self.ending.decide(failure);
    }

    /// Whether what was in flight was discarded.
    pub(super) fn is_cut(&self) -> bool {
        self.ending.is_cut()
    }

    /// The result of the run.
    pub(super) fn finish(self) -> Result<(), RunError> {
        self.failure.filter(|error| !error.is_closed_output()).map_or(Ok(()), Err)
    }
}

/// Whether the run is cut, rather than finished with what was read.
fn cuts(part: Part, error: &RunError) -> bool {
    match error {
        RunError::Source(_) | RunError::Sink(_) | RunError::Store(_) | RunError::Snapshot(_) => {
            !matches!(part, Part::Reader | Part::Snapshots | Part::Rejects)
        }
        RunError::NoEvents { .. } => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use connectors::SourceError;

    use super::*;

    fn closed(closed: bool) -> RunError {
        let sink_name = if closed { "a pipe" } else { "a disk" };
        RunError::Sink(SinkError {
            sink_name: sink_name.into(),
            what: "x".into(),
            advice: "y".into(),
            closed,
            cause: None,
        })
    }

    fn source_failure() -> RunError {
        RunError::Source(SourceError {
            source_name: "s".into(),
            position: None,
            what: "x".into(),
            advice: "y".into(),
            cause: None,
        })
    }

    /// Whether a run is cut, and how it ends, after these reports.
    fn end(reports: Vec<(Part, Result<(), RunError>)>) -> (bool, String) {
        let mut supervisor = Supervisor::new(Stop::default(), 0);
        for (part, result) in reports {
            supervisor.reporter.report(part, result);
        }
        supervisor.wait_briefly_for(Part::Workers);
        let is_cut = supervisor.is_cut();
        assert_eq!(supervisor.stop.is_set(), is_cut);
        (is_cut, supervisor.finish().err().map(|error| error.to_string()).unwrap_or_default())
    }

    #[test]
    fn the_first_failure_decides_how_a_run_ends() {
        let panicked = || RunError::Panicked { thread: "writer", message: "m".into() };
        assert_eq!(end(vec![(Part::Reader, Ok(())), (Part::Writer, Ok(()))]), (false, String::new()));
        assert_eq!(end(vec![(Part::Reader, Err(source_failure()))]), (false, "s: x; y".into()));
        assert_eq!(end(vec![(Part::Reader, Err(closed(false)))]), (false, "a disk: x; y".into()));
        assert_eq!(end(vec![(Part::Writer, Err(closed(false)))]), (true, "a disk: x; y".into()));
        assert_eq!(end(vec![(Part::Writer, Err(closed(true)))]), (true, String::new()));
        let (is_cut, error) = end(vec![(Part::Reader, Err(panicked())), (Part::Writer, Err(closed(false)))]);
        assert!(is_cut && error.starts_with("the thread `writer` panicked: m"), "{error}");
        // A pipe that is closed hides no failure.
        let (is_cut, error) = end(vec![(Part::Writer, Err(closed(true))), (Part::Helper("packer"), Err(panicked()))]);
        assert!(is_cut && error.starts_with("the thread `writer` panicked: m"), "{error}");
    }

    #[test]
    fn a_closed_link_is_a_loss_unless_the_end_is_known() {
        let lost = || RunError::Lost { process: 1, address: "h:1".into(), what: "x".into() };
        for is_decided in [false, true] {
            let mut supervisor = Supervisor::new(Stop::default(), 0);
            if is_decided {
                supervisor.ending.decide(None);
            }
            supervisor.reporter.report(Part::ClosedLink, Err(lost()));
            supervisor.wait_briefly_for(Part::Workers);
            assert!(supervisor.failure.is_none());
            supervisor.wait_until(
                &[Part::Workers],
                Some(Instant::now() + LINKS_GRACE + CHECK_INTERVAL),
                Duration::ZERO,
            );
            assert_eq!(supervisor.finish().is_err(), !is_decided);
        }
    }

    #[test]
    fn a_panic_and_a_return_are_reported() {
        let mut supervisor = Supervisor::new(Stop::default(), 0);
        let reporter = supervisor.reporter.clone();
        reporter.spawn(Part::Writer, tracing::error_span!("writer"), || Ok(()));
        supervisor.wait_for(&[Part::Writer]);
        assert!(supervisor.failure.is_none());
        reporter.spawn(Part::Reader, tracing::error_span!("reader"), || panic!("on purpose"));
        supervisor.wait_for(&[Part::Reader]);
        let failure = supervisor.ending.failure().cloned().unwrap();
        assert_eq!(failure.process, 0);
        assert!(failure.reason.contains("`reader` panicked: on purpose"), "{failure:?}");
        assert!(supervisor.finish().is_err());
    }
}
