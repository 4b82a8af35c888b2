//! A bounded replay, by the whole program or by the graph alone, in a child process.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use connectors::{InputOptions, KafkaOptions, OpenError, Uri, open_sink, open_source};
use dataflows::Driver;
use dataflows::gauges::StateSize;
use schema::IdKey;
use serde::{Deserialize, Serialize};

use super::CommonArgs;
use super::child::ChildTask;
use super::event_stream::EventStream;
use super::machine::{CpuStopwatch, peak_bytes, resident_bytes};
use crate::cluster::GraphOptions;
use crate::commands::run::{ClusterArgs, member};
use crate::engine::{Input, Job, Summary, run, run_follower};
use crate::failure::Failure;
use crate::proc::cpu_seconds;
use crate::stop::Stop;

/// Task of a child process: a replay from file to file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReplayTask {
    pub(super) common: CommonArgs,
    /// Events per tick.
    pub(super) batch: u32,
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    pub(super) span: Option<u64>,
    /// Worker threads of this process.
    pub(super) workers: u16,
    /// Cluster arguments of this process, if there are several.
    pub(super) cluster: Option<ClusterArgs>,
}

/// Task of a child process: a replay by the graph alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct GraphTask {
    pub(super) common: CommonArgs,
    /// Number of events, as the user gave it.
    pub(super) events: Option<String>,
    /// Events per tick.
    pub(super) batch: u32,
    pub(super) workers: u16,
    pub(super) span: Option<u64>,
    /// Replaces `graph.history`.
    pub(super) history: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReplayResult {
    pub(super) events: u64,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: Option<f64>,
    /// Resident memory after the first tick, when the buffers of a tick are allocated.
    pub(super) rss_before: u64,
    /// Resident memory after the last tick.
    pub(super) rss_after: u64,
    pub(super) peak_bytes: u64,
    /// Changed lists.
    pub(super) changes: u64,
    /// State after the first tick; of the graph alone.
    pub(super) held_before: StateSize,
    /// State after the last tick; of the graph alone.
    pub(super) held: StateSize,
}

impl ReplayResult {
    /// The result of a run, with the current figures of this process.
    fn of(summary: &Summary, rss_before: u64) -> Self {
        let (rss_after, peak_bytes) = (resident_bytes(), peak_bytes());
        ReplayResult {
            events: summary.events,
            seconds: summary.elapsed.as_secs_f64(),
            cpu_seconds: cpu_seconds(),
            rss_before,
            rss_after,
            peak_bytes,
            changes: summary.changes,
            held_before: StateSize::default(),
            held: StateSize::default(),
        }
    }

    /// Adds processor time and memory of another process of the same replay.
    pub(super) fn add_process(&mut self, other: &ReplayResult) {
        self.cpu_seconds = self.cpu_seconds.zip(other.cpu_seconds).map(|(a, b)| a + b);
        self.rss_before += other.rss_before;
        self.rss_after += other.rss_after;
        self.peak_bytes += other.peak_bytes;
    }
}

impl ChildTask for ReplayTask {
    const NAME: &str = "replay";
    type Result = ReplayResult;

    fn measure(&self, stop: &Stop) -> Result<Option<ReplayResult>, Failure> {
        let mut config = self.common.with_audience(self.span)?;
        config.input.batch = self.batch as usize;
        let member = self
            .cluster
            .as_ref()
            .map(|cluster| member(cluster, self.workers, &config, IdKey::default()))
            .transpose()?
            .flatten();
        let links = member.map(|member| member.gather(GraphOptions::default(), stop)).transpose()?;
        let links = match links {
            Some(None) => return Ok(None),
            Some(Some(links)) if links.process > 0 => {
                let rss_before = resident_bytes();
                run_follower(&config, links, usize::from(self.workers), false, stop)?;
                return Ok((!stop.is_set()).then(|| ReplayResult::of(&Summary::default(), rss_before)));
            }
            links => links.flatten(),
        };
        let options = InputOptions { max_record_bytes: config.input.max_record, ..InputOptions::default() };
        let source = open_source(&uri(&self.input)?, &options)?;
        let output = open_sink(&uri(&self.output)?, &KafkaOptions::default())?;
        let rss_before = resident_bytes();
        let job = Job::new(config, vec![Input { source, waits: false }], output);
        let (summary, result) = run(Job { workers: usize::from(self.workers), links, stop: stop.clone(), ..job });
        result?;
        Ok((!stop.is_set()).then(|| ReplayResult::of(&summary, rss_before)))
    }
}

pub(super) fn uri(path: &Path) -> Result<Uri, Failure> {
    Ok(path.to_string_lossy().parse::<Uri>().map_err(OpenError::from)?)
}

/// The time to generate events is not counted.
impl ChildTask for GraphTask {
    const NAME: &str = "graph";
    type Result = ReplayResult;

    fn measure(&self, stop: &Stop) -> Result<Option<ReplayResult>, Failure> {
        let mut config = self.common.with_audience(self.span)?;
        config.graph.history = self.history.unwrap_or(config.graph.history);
        let options = self.common.simulation.options(self.events.as_deref()).map_err(Failure::Usage)?;
        let mut stream = EventStream::all(options, config.levels.clone())?;
        let (batch, stopped) = (self.batch as usize, stop.clone());
        let result = Driver::run(&config.graph, usize::from(self.workers), move |driver| {
            let mut before = None;
            let (mut busy, mut cpu, mut events) = (Duration::ZERO, CpuStopwatch::default(), 0);
            while !stopped.is_set() {
                let next = stream.events(batch);
                if next.is_empty() {
                    break;
                }
                let started = Instant::now();
                cpu.measure(|| driver.tick(&next));
                busy += started.elapsed();
                before.get_or_insert_with(|| (resident_bytes(), driver.state_size()));
                events += next.len() as u64;
            }
            let started = Instant::now();
            cpu.measure(|| driver.evaluate_all());
            busy += started.elapsed();
            let (rss_after, peak_bytes) = (resident_bytes(), peak_bytes());
            let changes = driver.work().last().copied().unwrap_or(0);
            let (seconds, cpu_seconds, held) = (busy.as_secs_f64(), cpu.0, driver.state_size());
            let (rss_before, held_before) = before.unwrap_or((rss_after, held));
            ReplayResult { events, seconds, cpu_seconds, rss_before, rss_after, peak_bytes, changes, held_before, held }
        })?;
        Ok((!stop.is_set()).then_some(result))
    }
}
