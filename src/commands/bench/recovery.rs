//! `deltarec bench recovery`: time from a snapshot to the first live change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Arg, Args};
use connectors::{Batch, Polled, RawEvent, Sink, SinkError, Source, SourceError, SourcePosition};
use schema::{Change, ListKey, Position};
use serde::{Deserialize, Serialize};
use snapshots::{CODECS, Store, codec};

use super::audience::{AudienceShare, MAX_CALIBRATION_EVENTS};
use super::child::{ChildTask, run_in_child};
use super::event_stream::EventStream;
use super::histogram::figure;
use super::machine::{Machine, peak_bytes};
use super::simulated_state::{SimulatedState, resume_from};
use super::{CommonArgs, check_writable, describe, mib, per, rounded};
use crate::commands::table::{Table, say};
use crate::engine::{Input, Interval, Job, grouped, run};
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench recovery
  deltarec bench recovery --interactions 1000000,10000000 --workers 1,2 --json recovery.json

Writes a snapshot of a simulated shop with twenty interactions per user, unless --users is given. Then a process finds the \
snapshot, verifies and loads it, computes the lists of the audience and applies one event. The clock stops when the change \
of that event is written. At the end the process takes a snapshot.";

/// Mean number of interactions per user.
const INTERACTIONS_PER_USER: u64 = 20;

#[derive(Debug, Args)]
pub(super) struct RecoveryArgs {
    /// Number of interactions in the snapshot
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1000000", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    interactions: Vec<u64>,
    /// Codec of the snapshot [default: all codecs of this build]
    #[arg(long, value_name = "CODEC,...", value_delimiter = ',', value_parser = codec_name)]
    codec: Vec<String>,
    /// Users in the audience: a share of all users, or `all`
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    audience: AudienceShare,
    /// Worker threads
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "2", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Vec<u16>,
    #[command(flatten)]
    common: CommonArgs,
}

/// The number of users, whose default is another one here.
pub(super) fn users(arg: Arg) -> Arg {
    arg.help("Number of users [default: one for 20 interactions]")
}

fn codec_name(name: &str) -> Result<String, String> {
    let names = || CODECS.iter().map(|codec| codec.name()).collect::<Vec<_>>().join(", ");
    codec(name).map(|codec| codec.name().to_owned()).ok_or_else(|| format!("the codecs of this build are {}", names()))
}

/// Task of the child process: one recovery.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecoveryTask {
    common: CommonArgs,
    folder: PathBuf,
    codec: String,
    span: Option<u64>,
    workers: u16,
    /// Item of the live event.
    item: String,
}

/// Result of the child process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecoveryResult {
    /// Time until all files were verified.
    checked_seconds: f64,
    /// Time until the live change was written.
    seconds: f64,
    lists: u64,
    peak_bytes: u64,
    /// Time from the live change to the end of the run, which is the final snapshot.
    saving_seconds: f64,
}

/// Row of the results.
#[derive(Debug, Serialize)]
struct RecoveryRow {
    interactions: u64,
    /// Co-occurrence updates of the load, which dominate the time of the graph.
    pair_updates: u64,
    codec: String,
    workers: u16,
    bytes: u64,
    recovered: RecoveryResult,
}

/// User of the live event.
const LIVE_USER: &str = "live";

impl ChildTask for RecoveryTask {
    const NAME: &str = "recovery";
    type Result = RecoveryResult;

    fn measure(&self, stop: &Stop) -> Result<Option<RecoveryResult>, Failure> {
        let config = self.common.with_audience(self.span)?;
        let started = Instant::now();
        let codec = codec(&self.codec).context("unknown codec").map_err(Failure::Running)?;
        let store = Store::open(&self.folder.to_string_lossy())?.with_codec(codec);
        let found = store.newest()?;
        let manifest = found.manifest.context("the snapshot is damaged").map_err(Failure::Running)?;
        let checked = started.elapsed();
        let first = Arc::new(Mutex::new(FirstChange::default()));
        let source = LiveEventSource { item: self.item.clone(), ts: manifest.time.ms + 1, finished: false };
        let (state, resume) = resume_from(store, manifest, Interval::never());
        let sink = Box::new(LiveChangeSink { first: Arc::clone(&first), started });
        let (summary, result) = run(Job {
            workers: usize::from(self.workers),
            stop: stop.clone(),
            state: Some(state),
            resume: Some(resume),
            ..Job::new(config, vec![Input { source: Box::new(source), waits: false }], sink)
        });
        result?;
        let ended = started.elapsed();
        let first = first.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((elapsed, peak_bytes)) = *first else {
            let error = anyhow::anyhow!("the live event changed no list: {summary}");
            return if stop.is_set() { Ok(None) } else { Err(Failure::Running(error)) };
        };
        Ok(Some(RecoveryResult {
            checked_seconds: checked.as_secs_f64(),
            seconds: elapsed.as_secs_f64(),
            lists: summary.changes - 1,
            peak_bytes,
            saving_seconds: ended.saturating_sub(elapsed).as_secs_f64(),
        }))
    }
}

/// Source of a single event of a new user.
struct LiveEventSource {
    item: String,
    ts: u64,
    finished: bool,
}

impl Source for LiveEventSource {
    fn name(&self) -> &'static str {
        "a live event"
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(Polled::Finished);
        }
        into.push(RawEvent::new(LIVE_USER, &self.item, "view", self.ts, Position::Line { line: 1, byte: 0 }));
        Ok(Polled::Ready)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        SourcePosition::of_record(batch, next, Position::Line { line: 2, byte: 1 })
    }
}

/// Time of the first change of the live user, and the peak memory in bytes at that time.
type FirstChange = Option<(Duration, u64)>;

struct LiveChangeSink {
    first: Arc<Mutex<FirstChange>>,
    started: Instant,
}

impl Sink for LiveChangeSink {
    fn name(&self) -> &'static str {
        "the benchmark"
    }

    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        if matches!(&change.key, ListKey::User(user) if user == LIVE_USER) {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| (self.started.elapsed(), peak_bytes()));
        }
        Ok(())
    }
}

/// Writes a snapshot per number of interactions and codec; child processes resume from it.
pub(super) fn main(args: &RecoveryArgs, stop: &Stop) -> Result<(), Failure> {
    let config = args.common.config()?;
    check_writable([&args.common.json])?;
    let all = CODECS.iter().map(|codec| codec.name().to_owned());
    let codecs: Vec<String> = if args.codec.is_empty() { all.collect() } else { args.codec.clone() };
    let mut results = Vec::new();
    let mut options = args.common.endless()?;
    say(&Machine::this().to_string())?;
    for interactions in &args.interactions {
        if !args.common.simulation.has("users") {
            options.users = u32::try_from((interactions / INTERACTIONS_PER_USER).max(100)).unwrap_or(u32::MAX);
        }
        let span = args.audience.span(&options, &config, (*interactions).min(MAX_CALIBRATION_EVENTS))?;
        say(&format!("{}, audience {}", describe(&options), args.audience))?;
        let mut stream = EventStream::new(options.clone(), config.levels.clone(), None)?;
        let state = SimulatedState::fill(&mut stream, *interactions, config.graph.history, stop);
        for name in &codecs {
            let folder =
                tempfile::tempdir().context("cannot create a folder for a snapshot").map_err(Failure::Running)?;
            let codec = codec(name).context("unknown codec").map_err(Failure::Running)?;
            let store = Store::open(&folder.path().to_string_lossy())?.with_codec(codec);
            let bytes = state.store(&store)?.bytes();
            for workers in &args.workers {
                if stop.is_set() {
                    break;
                }
                // A child writes a snapshot at the end, so each resumes from its own copy.
                let folder = hard_linked_copy(folder.path())?;
                let task = RecoveryTask {
                    common: args.common.clone(),
                    folder: folder.path().to_owned(),
                    codec: name.clone(),
                    span,
                    workers: *workers,
                    item: state.most_popular_item(),
                };
                if let Some(recovered) = run_in_child(&task, stop)? {
                    let (interactions, pair_updates) = (state.interactions, state.pair_updates());
                    let (codec, workers) = (name.clone(), *workers);
                    results.push(RecoveryRow { interactions, pair_updates, codec, workers, bytes, recovered });
                }
            }
        }
    }
    say(&table(&results).to_string())?;
    args.common.report("recovery", &options, &results)
}

fn hard_linked_copy(from: &std::path::Path) -> Result<tempfile::TempDir, Failure> {
    let copy = || -> std::io::Result<tempfile::TempDir> {
        let to = tempfile::tempdir_in(from.parent().unwrap_or(from))?;
        for below in ["groups", "manifests"] {
            std::fs::create_dir(to.path().join(below))?;
            for entry in std::fs::read_dir(from.join(below))? {
                let entry = entry?;
                std::fs::hard_link(entry.path(), to.path().join(below).join(entry.file_name()))?;
            }
        }
        Ok(to)
    };
    copy().context("cannot copy the snapshot").map_err(Failure::Running)
}

fn table(results: &[RecoveryRow]) -> Table {
    let header = "interactions|codec|workers|bytes each|checked s|live after s|interactions/s|pair updates/s|lists|\
                  peak MiB|saved in s";
    let mut table = Table::new(header.split('|'));
    for RecoveryRow { interactions, pair_updates, codec, workers, bytes, recovered } in results {
        table.row([
            grouped(*interactions),
            codec.clone(),
            workers.to_string(),
            #[allow(clippy::cast_precision_loss)]
            figure(per(*bytes, *interactions as f64)),
            figure(recovered.checked_seconds),
            figure(recovered.seconds),
            rounded(per(*interactions, recovered.seconds)),
            rounded(per(*pair_updates, recovered.seconds)),
            grouped(recovered.lists),
            mib(recovered.peak_bytes),
            figure(recovered.saving_seconds),
        ]);
    }
    table
}
