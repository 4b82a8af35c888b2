//! Drives one run of the whole program through the preload and the steps.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::{Sender, unbounded};
use snapshots::{Depth, Store};

use super::super::event_stream::{EventStream, SimulatedEvent};
use super::super::histogram::Percentiles;
use super::super::machine::{peak_bytes, resident_bytes};
use super::super::per;
use super::super::simulated_state::{SimulatedState, resume_from};
use super::open_loop::OpenLoopSource;
use super::rate_search::{ABORT_AFTER, MAX_RATE, RateSearch, Symptoms, Verdict};
use super::recorder::LatencyRecorder;
use super::step::{LoadStep, Pace};
use super::{LatencyResult, LatencyTask, MAX_STEP_EVENTS, Preload, StepResult, WARM_UP, WithSnapshots};
use crate::console;
use crate::engine::{Input, Interval, Job, Progress, RunError, Summary, grouped, run};
use crate::failure::Failure;
use crate::proc::cpu_seconds;
use crate::stop::Stop;

/// Events of a preload step.
const PRELOAD_STEP: u64 = 100_000;
/// Time from sending a step to the source until its first event is due.
const LEAD_TIME: Duration = Duration::from_millis(50);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Time after which a snapshot under way is finished.
const SNAPSHOT_GRACE: Duration = Duration::from_secs(5);

/// Runs in the child process. `None` if it was stopped before the end of the first step.
pub(super) fn measure(task: &LatencyTask, stop: &Stop) -> Result<Option<LatencyResult>, Failure> {
    let args = &task.args;
    let options = args.common.endless()?;
    let config = args.common.with_audience(task.span)?;
    let mut stream = EventStream::new(options, config.levels.clone(), task.span)?;
    let folder = tempfile::tempdir().context("cannot create a folder for snapshots").map_err(Failure::Running)?;
    let snapshots = (args.interactions > 0 || args.snapshots.is_some()).then(|| SnapshotTimer::new(folder.path()));
    let snapshots = snapshots.transpose()?;
    let (state, resume) = match &snapshots {
        Some(snapshots) => {
            let state = SimulatedState::fill(&mut stream, args.interactions, config.graph.history, stop);
            let store = snapshots.store()?;
            let manifest = state.store(&store)?;
            let (state, resume) = resume_from(store, manifest, snapshots.interval.clone());
            (Some(state), Some(resume))
        }
        None => (None, None),
    };
    let progress = Arc::new(Progress::default());
    let (to_source, source_steps) = unbounded();
    let (to_sink, sink_steps) = unbounded();
    let source = OpenLoopSource::new(source_steps, stop.clone(), config.input.rooms);
    let sink = LatencyRecorder::new(Arc::clone(&progress), sink_steps);
    let job = Job {
        workers: usize::from(task.workers),
        progress: Arc::clone(&progress),
        stop: stop.clone(),
        state,
        resume,
        ..Job::new(config, vec![Input { source: Box::new(source), waits: true }], Box::new(sink))
    };
    let running = thread::Builder::new()
        .name("run".into())
        .spawn(move || run(job))
        .map_err(|error| Failure::Running(error.into()))?;
    let mut scheduler =
        Scheduler { stream, emitted: 0, left_over: Prepared::default(), to_source, to_sink, running, progress, stop };

    let preload = scheduler.preload(args.preload)?;
    let mut search = RateSearch::new(&args.rates, MAX_RATE.min(MAX_STEP_EVENTS / args.seconds));
    let mut steps = Vec::new();
    while let Some(rate) = search.next_rate() {
        let Some(mut step) = scheduler.step(rate, args.seconds)? else { break };
        if let (Some(snapshots), Some(every)) = (&snapshots, args.snapshots) {
            let before = snapshots.start(every)?;
            let with = scheduler.step(rate, args.seconds)?;
            let taken = snapshots.stop(before)?;
            let Some(StepResult { all, pause_ms, verdict, .. }) = with else { break };
            step.snapshots = Some(WithSnapshots { taken, verdict, pause_ms, all });
        }
        console::say(&format!("{}: {}", task.title(), step.summary()));
        search.record(rate, step.verdict == Verdict::Held);
        steps.push(step);
    }
    let peak_bytes = peak_bytes();
    scheduler.finish()?;
    Ok((!steps.is_empty()).then(|| LatencyResult {
        workers: task.workers,
        audience: task.share.to_string(),
        span_ms: task.span,
        preload,
        steps,
        saturation: search.saturation(),
        peak_bytes,
    }))
}

/// Starts and stops the periodic snapshots of the run.
struct SnapshotTimer {
    uri: String,
    interval: Interval,
}

impl SnapshotTimer {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let uri = folder.to_str().context("the path of the temporary folder is not UTF-8");
        Ok(SnapshotTimer { uri: uri.map_err(Failure::Running)?.to_owned(), interval: Interval::never() })
    }

    fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.uri)?)
    }

    fn newest(&self) -> Result<u64, Failure> {
        Ok(self.store()?.list(Depth::Sizes)?.first().map_or(0, |newest| newest.sequence))
    }

    /// Starts a snapshot every `seconds`. Returns the number of the newest snapshot.
    fn start(&self, seconds: u64) -> Result<u64, Failure> {
        self.interval.set_ms(seconds * 1_000);
        self.newest()
    }

    /// Stops the snapshots and waits for the one under way. Returns how many were completed after `before`.
    fn stop(&self, before: u64) -> Result<u64, Failure> {
        let taken = self.newest()? - before;
        self.interval.set_ms(u64::MAX);
        let mut newest = 0;
        while newest != self.newest()? {
            newest = self.newest()?;
            thread::sleep(SNAPSHOT_GRACE);
        }
        Ok(taken)
    }
}

/// Generated events that are not yet sent to the source.
#[derive(Default)]
struct Prepared {
    events: Vec<SimulatedEvent>,
    leaves: Vec<(usize, u32)>,
}

struct Scheduler<'a> {
    stream: EventStream,
    /// Number of events of the run so far.
    emitted: u64,
    /// Events of an aborted step that were not emitted; the next step starts with them.
    left_over: Prepared,
    to_source: Sender<Arc<LoadStep>>,
    to_sink: Sender<Arc<LoadStep>>,
    running: JoinHandle<(Summary, Result<(), RunError>)>,
    progress: Arc<Progress>,
    stop: &'a Stop,
}

impl Scheduler<'_> {
    /// The next events of the simulation.
    fn prepare(&mut self, count: u64) -> Result<Prepared, Failure> {
        let count = usize::try_from(count).expect("a number of events in memory");
        let Prepared { mut events, mut leaves } = std::mem::take(&mut self.left_over);
        if events.len() > count {
            let later = events.split_off(count);
            let at = leaves.partition_point(|(event, _)| *event < count);
            let later_leaves = leaves.split_off(at).into_iter().map(|(event, user)| (event - count, user)).collect();
            self.left_over = Prepared { events: later, leaves: later_leaves };
        }
        events.reserve_exact(count - events.len());
        let mut left = Vec::new();
        while events.len() < count {
            let event = self.stream.next_event(&mut left);
            leaves.extend(left.drain(..).map(|user| (events.len(), user)));
            events.push(event.ok_or_else(|| Failure::Running(anyhow::anyhow!("the simulation has no more events")))?);
        }
        Ok(Prepared { events, leaves })
    }

    fn send(&mut self, prepared: Prepared, pace: Option<Pace>) -> Arc<LoadStep> {
        let step = Arc::new(LoadStep::new(self.emitted, prepared.events, prepared.leaves, pace));
        // The sink must know the step before its first event. Sending fails only after the run has ended, which `wait`
        // detects.
        self.to_sink.send(Arc::clone(&step)).unwrap_or_default();
        self.to_source.send(Arc::clone(&step)).unwrap_or_default();
        step
    }

    /// Waits until the step is completed. Returns `false` if the run ends before.
    fn wait(&mut self, step: &LoadStep) -> bool {
        while step.completed() < step.end() {
            if self.stop.is_set() || self.running.is_finished() {
                return false;
            }
            if step.due(step.completed()).is_some_and(|due| due.elapsed() > ABORT_AFTER) {
                step.abort();
            }
            thread::sleep(POLL_INTERVAL);
        }
        self.emitted += step.end() as u64;
        true
    }

    fn preload(&mut self, events: u64) -> Result<Preload, Failure> {
        let started = Instant::now();
        let mut loaded = 0;
        while loaded < events && !self.stop.is_set() && !self.running.is_finished() {
            let count = PRELOAD_STEP.min(events - loaded);
            let prepared = self.prepare(count)?;
            let step = self.send(prepared, None);
            if self.wait(&step) {
                loaded += count;
            }
        }
        let audience = self.progress.audience.load(Relaxed);
        Ok(Preload { events: loaded, seconds: started.elapsed().as_secs_f64(), audience, rss_bytes: resident_bytes() })
    }

    /// Runs one rate for `seconds`, the first of which is not recorded. `None` if it was stopped.
    fn step(&mut self, rate: u64, seconds: u64) -> Result<Option<StepResult>, Failure> {
        if self.stop.is_set() || self.running.is_finished() {
            return Ok(None);
        }
        let prepared = self.prepare(rate * seconds)?;
        let warm_up = usize::try_from(rate * WARM_UP).expect("a number of events in memory");
        let (cpu, changes) = (cpu_seconds(), self.progress.changes.load(Relaxed));
        let start = Instant::now() + LEAD_TIME;
        let step = self.send(prepared, Some(Pace { start, rate, warm_up }));
        if !self.wait(&step) {
            return Ok(None);
        }
        let completed = step.end() as u64;
        let changes = self.progress.changes.load(Relaxed) - changes;
        let cpu = cpu_seconds().zip(cpu).map(|(after, before)| after - before);
        if step.is_aborted() {
            let (from, events) = (step.end(), &step.events);
            self.left_over.events.splice(..0, events[from..].iter().copied());
            for (event, _) in &mut self.left_over.leaves {
                *event += events.len() - from;
            }
            let leaves = step.leaves.iter().filter(|(event, _)| *event >= from);
            self.left_over.leaves.splice(..0, leaves.map(|(event, user)| (event - from, *user)));
        }
        let record = step.record();
        let elapsed = record.last.map_or(0.0, |last| last.saturating_duration_since(start).as_secs_f64());
        let all = record.all.percentiles();
        let p99 = Duration::from_secs_f64(all.p99_ms / 1e3);
        let (early, late) = (record.mean_of_quarter(1), record.mean_of_quarter(3));
        let symptoms = Symptoms { rate, p99, early, late, backlog: record.backlog, cut: step.is_aborted() };
        Ok(Some(StepResult {
            rate,
            verdict: symptoms.verdict(),
            scheduled: step.events.len() as u64,
            settled: completed,
            warm_up: warm_up.min(step.end()) as u64,
            achieved_per_s: per(completed, elapsed),
            changes,
            changes_per_s: per(record.changes, elapsed),
            bytes_per_s: per(record.bytes, elapsed),
            cpu_us_per_event: cpu.map(|cpu| 1e6 * cpu / per(completed, 1.0).max(1.0)),
            backlog_at_end: record.backlog,
            audience: self.progress.audience.load(Relaxed),
            rss_bytes: resident_bytes(),
            pause_ms: record.pause.as_secs_f64() * 1e3,
            snapshots: None,
            all,
            own: record.own.percentiles(),
            joining: record.joining.percentiles(),
            staying: record.staying.percentiles(),
            leaving: record.leaving.percentiles(),
            others: Percentiles::of(&self.progress.waits.take(), 1.0),
        }))
    }

    /// Ends the run and checks that it accepted all events.
    fn finish(self) -> Result<(), Failure> {
        let Scheduler { to_source, to_sink, running, emitted, stop, .. } = self;
        drop((to_source, to_sink));
        let (summary, result) =
            running.join().map_err(|_| Failure::Running(anyhow::anyhow!("the run failed; please report it")))?;
        result?;
        if summary.rejected > 0 || (summary.events != emitted && !stop.is_set()) {
            return Err(Failure::Running(anyhow::anyhow!(
                "the run did not accept all {} events: {summary}; check that --start is not in the future and the clock is \
                 right",
                grouped(emitted)
            )));
        }
        Ok(())
    }
}
