//! One run of the whole program through a preload and step after step.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::{Sender, unbounded};
use snapshots::{Depth, Store};

use super::super::machine::{cpu_seconds, memory};
use super::super::per;
use super::super::shop::{SimulatedState, state};
use super::super::simulated::{EventStream, SimulatedEvent};
use super::paced::Paced;
use super::step::{Pace, Step};
use super::sweep::{FASTEST, HOPELESS, Signs, Sweep};
use super::watch::Watch;
use super::{LatencyTask, MOST_PREPARED, Measured, Outcome, Preload, WARM_UP, WithSnapshots};
use crate::config::Audience;
use crate::console;
use crate::engine::{Input, Interval, Job, Progress, RunError, Summary, grouped, run};
use crate::failure::Failure;
use crate::stop::Stop;

/// Events of the preload that are prepared at a time.
const LOADED_AT_ONCE: u64 = 100_000;
/// From the moment a step is handed over until its first event is due.
const UPBEAT: Duration = Duration::from_millis(50);
/// How often it is looked whether a step is over.
const LOOK: Duration = Duration::from_millis(10);

/// Measures what the task says; nothing, if it was stopped before the first step was over.
pub(in super::super) fn measure(task: &LatencyTask, stop: &Stop) -> Result<Option<Measured>, Failure> {
    let options = task.setup.endless()?;
    let config = task.setup.with_audience(task.audience())?;
    let span = match config.graph.audience {
        Audience::All => None,
        Audience::Within(ms) => Some(ms),
    };
    let mut maker = EventStream::new(options, config.levels.clone(), span)?;
    let folder = tempfile::tempdir().context("cannot make a folder for snapshots").map_err(Failure::Running)?;
    let snapshots = (task.interactions > 0 || task.snapshots.is_some()).then(|| Snapshots::new(folder.path()));
    let snapshots = snapshots.transpose()?;
    let (state, resume) = match &snapshots {
        Some(snapshots) => {
            let shop = SimulatedState::fill(&mut maker, task.interactions, config.graph.history, stop);
            let store = snapshots.store()?;
            let manifest = shop.store(&store)?;
            let (state, resume) = state(store, manifest, snapshots.interval.clone());
            (Some(state), Some(resume))
        }
        None => (None, None),
    };
    let progress = Arc::new(Progress::default());
    let (to_source, steps) = unbounded();
    let (to_sink, watched) = unbounded();
    let paced = Input { source: Box::new(Paced::new(steps, stop.clone(), config.input.rooms)), waits: true };
    let watch = Box::new(Watch::new(Arc::clone(&progress), watched));
    let job = Job {
        workers: usize::from(task.workers),
        progress: Arc::clone(&progress),
        stop: stop.clone(),
        state,
        resume,
        ..Job::new(config, vec![paced], watch)
    };
    let running = thread::Builder::new()
        .name("run".into())
        .spawn(move || run(job))
        .map_err(|error| Failure::Running(error.into()))?;
    let mut conductor =
        Conductor { maker, offered: 0, left_over: Prepared::default(), to_source, to_sink, running, progress, stop };

    let preload = conductor.preload(task.preload)?;
    let mut sweep = Sweep::new(&task.rates, FASTEST.min(MOST_PREPARED / task.seconds));
    let mut outcomes = Vec::new();
    while let Some(rate) = sweep.next_rate() {
        let Some(mut outcome) = conductor.step(rate, task.seconds)? else { break };
        if let (Some(snapshots), Some(every)) = (&snapshots, task.snapshots) {
            let begun = snapshots.begin(every)?;
            let with = conductor.step(rate, task.seconds)?;
            let taken = snapshots.end(begun)?;
            let Some(Outcome { all, pause_ms, verdict, .. }) = with else { break };
            outcome.snapshots = Some(WithSnapshots { taken, verdict, pause_ms, all });
        }
        console::say(&format!("{}: {}", task.title(), outcome.line()));
        sweep.tell(rate, outcome.verdict == super::Verdict::StateSize);
        outcomes.push(outcome);
    }
    let peak_bytes = memory().1;
    conductor.end()?;
    Ok((!outcomes.is_empty()).then(|| Measured {
        workers: task.workers,
        audience: task.share.to_string(),
        span_ms: span,
        preload,
        steps: outcomes,
        saturation: sweep.saturation(),
        peak_bytes,
    }))
}

/// Snapshots that are taken only when they are asked for.
struct Snapshots {
    uri: String,
    interval: Interval,
}

impl Snapshots {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let uri = folder.to_str().context("the folder for temporary files has a name that is no text");
        Ok(Snapshots { uri: uri.map_err(Failure::Running)?.to_owned(), interval: Interval::never() })
    }

    fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.uri)?)
    }

    fn newest(&self) -> Result<u64, Failure> {
        Ok(self.store()?.list(Depth::Sizes)?.first().map_or(0, |newest| newest.sequence))
    }

    /// Has one taken every so many seconds. Returns the number of the newest.
    fn begin(&self, seconds: u64) -> Result<u64, Failure> {
        self.interval.set_ms(seconds * 1_000);
        self.newest()
    }

    /// Has none taken any more, and waits for the one under way. Returns how many there were.
    fn end(&self, begun: u64) -> Result<u64, Failure> {
        let taken = self.newest()? - begun;
        self.interval.set_ms(u64::MAX);
        let mut newest = 0;
        while newest != self.newest()? {
            newest = self.newest()?;
            thread::sleep(REST);
        }
        Ok(taken)
    }
}

/// A snapshot takes less.
const REST: Duration = Duration::from_secs(5);

/// Events made and not yet offered.
#[derive(Default)]
struct Prepared {
    events: Vec<SimulatedEvent>,
    leaves: Vec<(usize, u32)>,
}

struct Conductor<'a> {
    maker: EventStream,
    /// Events of the run so far.
    offered: u64,
    /// What a step that was cut short has left: the simulation goes on there.
    left_over: Prepared,
    to_source: Sender<Arc<Step>>,
    to_sink: Sender<Arc<Step>>,
    running: JoinHandle<(Summary, Result<(), RunError>)>,
    progress: Arc<Progress>,
    stop: &'a Stop,
}

impl Conductor<'_> {
    /// The next events of the simulation.
    fn prepare(&mut self, count: u64) -> Result<Prepared, Failure> {
        let count = usize::try_from(count).expect("events that are held in memory");
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
            let event = self.maker.next_event(&mut left);
            leaves.extend(left.drain(..).map(|user| (events.len(), user)));
            events.push(event.ok_or_else(|| Failure::Running(anyhow::anyhow!("the simulation has no more events")))?);
        }
        Ok(Prepared { events, leaves })
    }

    fn offer(&mut self, prepared: Prepared, pace: Option<Pace>) -> Arc<Step> {
        let step = Arc::new(Step::new(self.offered, prepared.events, prepared.leaves, pace));
        // The sink first. When the run is over nobody listens, which `wait` sees.
        self.to_sink.send(Arc::clone(&step)).unwrap_or_default();
        self.to_source.send(Arc::clone(&step)).unwrap_or_default();
        step
    }

    /// Waits until all that was offered of a step is done with. `false`: it never will be.
    fn wait(&mut self, step: &Step) -> bool {
        while step.settled() < step.end() {
            if self.stop.is_set() || self.running.is_finished() {
                return false;
            }
            if step.due(step.settled()).is_some_and(|due| due.elapsed() > HOPELESS) {
                step.cut();
            }
            thread::sleep(LOOK);
        }
        self.offered += step.end() as u64;
        true
    }

    fn preload(&mut self, events: u64) -> Result<Preload, Failure> {
        let started = Instant::now();
        let mut loaded = 0;
        while loaded < events && !self.stop.is_set() && !self.running.is_finished() {
            let count = LOADED_AT_ONCE.min(events - loaded);
            let prepared = self.prepare(count)?;
            let step = self.offer(prepared, None);
            if self.wait(&step) {
                loaded += count;
            }
        }
        let audience = self.progress.audience.load(Relaxed);
        Ok(Preload { events: loaded, seconds: started.elapsed().as_secs_f64(), audience, rss_bytes: memory().0 })
    }

    /// One rate for so many seconds, the first of which is not recorded. `None`: stopped.
    fn step(&mut self, rate: u64, seconds: u64) -> Result<Option<Outcome>, Failure> {
        if self.stop.is_set() || self.running.is_finished() {
            return Ok(None);
        }
        let prepared = self.prepare(rate * seconds)?;
        let warm_up = usize::try_from(rate * WARM_UP).expect("events that are held in memory");
        let (cpu, changes) = (cpu_seconds(), self.progress.changes.load(Relaxed));
        let start = Instant::now() + UPBEAT;
        let step = self.offer(prepared, Some(Pace { start, rate, warm_up }));
        if !self.wait(&step) {
            return Ok(None);
        }
        let settled = step.end() as u64;
        let changes = self.progress.changes.load(Relaxed) - changes;
        let cpu = cpu_seconds().zip(cpu).map(|(after, before)| after - before);
        if step.is_cut() {
            let (from, events) = (step.end(), &step.events);
            let left = step.leaves.iter().filter(|(event, _)| *event >= from);
            self.left_over.events.splice(..0, events[from..].iter().copied());
            let leaves: Vec<(usize, u32)> = left.map(|(event, user)| (event - from, *user)).collect();
            let shift = events.len() - from;
            for (event, _) in &mut self.left_over.leaves {
                *event += shift;
            }
            self.left_over.leaves.splice(..0, leaves);
        }
        let record = step.record();
        let took = record.last.map_or(0.0, |last| last.saturating_duration_since(start).as_secs_f64());
        let all = record.all.percentiles();
        let p99 = Duration::from_secs_f64(all.p99_ms / 1e3);
        let (early, late) = (record.mean_of_quarter(1), record.mean_of_quarter(3));
        let signs = Signs { rate, p99, early, late, backlog: record.backlog, cut: step.is_cut() };
        let (rss_bytes, _) = memory();
        Ok(Some(Outcome {
            rate,
            verdict: signs.verdict(),
            scheduled: step.events.len() as u64,
            settled,
            warm_up: warm_up.min(step.end()) as u64,
            achieved_per_s: per(settled, took),
            changes,
            changes_per_s: per(record.changes, took),
            bytes_per_s: per(record.bytes, took),
            cpu_us_per_event: cpu.map(|cpu| 1e6 * cpu / per(settled, 1.0).max(1.0)),
            backlog_at_end: record.backlog,
            audience: self.progress.audience.load(Relaxed),
            rss_bytes,
            pause_ms: record.pause.as_secs_f64() * 1e3,
            snapshots: None,
            all,
            changing: record.changing.percentiles(),
            joining: record.joining.percentiles(),
            staying: record.staying.percentiles(),
            leaving: record.leaving.percentiles(),
        }))
    }

    /// Ends the run and sees whether it took in what was offered.
    fn end(self) -> Result<(), Failure> {
        let Conductor { to_source, to_sink, running, offered, stop, .. } = self;
        drop((to_source, to_sink));
        let (summary, result) =
            running.join().map_err(|_| Failure::Running(anyhow::anyhow!("the run failed; please report it")))?;
        result.map_err(|error| Failure::Running(error.into()))?;
        if summary.rejected > 0 || (summary.events != offered && !stop.is_set()) {
            return Err(Failure::Running(anyhow::anyhow!(
                "{} events were offered, but the run says: {summary}; does `start` lie in the future, or is the clock wrong?",
                grouped(offered)
            )));
        }
        Ok(())
    }
}
