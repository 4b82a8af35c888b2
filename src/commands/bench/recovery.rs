//! `deltarec bench recovery`: from a snapshot to the first live change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use connectors::{Batch, Polled, RawEvent, Sink, SinkError, Source, SourceError, SourcePosition};
use schema::{Change, Position};
use serde::{Deserialize, Serialize};
use snapshots::{CODECS, Store, codec};

use super::audience::Share;
use super::child::{Task, ask};
use super::machine::{Machine, memory};
use super::sample::figure;
use super::shop::{SimulatedState, state};
use super::simulated::EventStream;
use super::{Setup, check_writable, mib, named, per, whole};
use crate::commands::table::{Table, say};
use crate::config::Audience;
use crate::engine::{Input, Interval, Job, grouped, run};
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench recovery
  deltarec bench recovery --interactions 1000000,10000000 --workers 1,2 --json recovery.json

A simulated shop is stored, twenty interactions a user unless users= says otherwise. Then a process finds the snapshot, checks
all of it, loads it, makes the lists of the audience and takes in one event: the clock stops when that one's change is
written. In the end it takes a snapshot itself.";

/// Interactions of a user on average.
const EACH: u64 = 20;

/// So many events tell how large an audience is, however many there are.
const CALIBRATED_BY: u64 = 2_000_000;

#[derive(Debug, Args)]
pub(super) struct RecoveryArgs {
    #[command(flatten)]
    setup: Setup,
    /// Interactions in the snapshot
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1000000", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    interactions: Vec<u64>,
    /// How it is stored [default: all codecs of this build]
    #[arg(long, value_name = "CODEC,...", value_delimiter = ',', value_parser = known_codec)]
    codec: Vec<String>,
    /// Users in the audience, as a share of all users, or `all`
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    audience: Share,
    /// Worker threads
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "2", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Vec<u16>,
}

fn known_codec(name: &str) -> Result<String, String> {
    let names = || CODECS.iter().map(|codec| codec.name()).collect::<Vec<_>>().join(", ");
    codec(name).map(|codec| codec.name().to_owned()).ok_or_else(|| format!("the codecs of this build are {}", names()))
}

/// One recovery, for a child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecoveryTask {
    setup: Setup,
    folder: PathBuf,
    codec: String,
    span: Option<u64>,
    workers: u16,
    /// Of the live event.
    item: String,
}

/// What a child found.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recovered {
    /// Until all files were found sound, until the snapshot was loaded and lists were made, until the live change was out.
    checked_seconds: f64,
    seconds: f64,
    lists: u64,
    peak_bytes: u64,
    /// From there to the end of the run, which is a snapshot of everything.
    saving_seconds: f64,
}

/// A row of the results.
#[derive(Debug, Serialize)]
struct Measured {
    interactions: u64,
    /// Updates of co-occurrences that these make: what the graph's time goes into.
    pair_updates: u64,
    codec: String,
    workers: u16,
    bytes: u64,
    recovered: Recovered,
}

/// The user of the live event.
const LIVE: &str = "live";

/// The child's side.
pub(super) fn measure(task: &RecoveryTask, stop: &Stop) -> Result<Option<Recovered>, Failure> {
    let config = task.setup.with_audience(task.span.map_or(Audience::All, Audience::Within))?;
    let started = Instant::now();
    let codec = codec(&task.codec).context("a codec of another build").map_err(Failure::Running)?;
    let store = Store::open(&task.folder.to_string_lossy())?.with_codec(codec);
    let found = store.newest()?;
    let manifest = found.manifest.context("the snapshot is not sound").map_err(Failure::Running)?;
    let checked = started.elapsed();
    let first = Arc::new(Mutex::new(First::default()));
    let source = Live { item: task.item.clone(), ts: manifest.time.ms + 1, taken: 0 };
    let (state, resume) = state(store, manifest, Interval::never());
    let watch = Box::new(Watch { first: Arc::clone(&first), started });
    let (summary, result) = run(Job {
        workers: usize::from(task.workers),
        stop: stop.clone(),
        state: Some(state),
        resume: Some(resume),
        ..Job::new(config, vec![Input { source: Box::new(source), waits: false }], watch)
    });
    result.map_err(|error| Failure::Running(error.into()))?;
    let ended = started.elapsed();
    let first = first.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((took, peak_bytes)) = first.live else {
        let what = format!("the live event changed nothing: {summary}");
        return if stop.is_set() { Ok(None) } else { Err(Failure::Running(anyhow::anyhow!(what))) };
    };
    Ok(Some(Recovered {
        checked_seconds: checked.as_secs_f64(),
        seconds: took.as_secs_f64(),
        lists: summary.changes - 1,
        peak_bytes,
        saving_seconds: ended.saturating_sub(took).as_secs_f64(),
    }))
}

/// One event of a newcomer.
struct Live {
    item: String,
    ts: u64,
    taken: u64,
}

impl Source for Live {
    fn name(&self) -> &'static str {
        "a live event"
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        if self.taken == 0 {
            let position = Position { line: 1, offset: 0 };
            into.push(RawEvent {
                user: LIVE,
                item: &self.item,
                action: "view",
                ts: self.ts,
                dwell_ms: None,
                room: None,
                position,
                stamped: None,
            });
            self.taken = 1;
            return Ok(Polled::Ready);
        }
        Ok(Polled::Finished)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        SourcePosition::of_record(batch, next, Position { line: 2, offset: 1 })
    }

    fn resume_at(&mut self, _position: &SourcePosition) -> Result<(), SourceError> {
        Ok(())
    }
}

/// When the live change was written, and the largest memory by then.
#[derive(Default)]
struct First {
    live: Option<(Duration, u64)>,
}

struct Watch {
    first: Arc<Mutex<First>>,
    started: Instant,
}

impl Sink for Watch {
    fn name(&self) -> &'static str {
        "the benchmark"
    }

    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        if change.user == LIVE {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.live.get_or_insert_with(|| (self.started.elapsed(), memory().1));
        }
        Ok(())
    }

    fn flush(&mut self, _at: u64) -> Result<(), SinkError> {
        Ok(())
    }

    fn acknowledged(&self) -> Option<u64> {
        None
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Stores each shop in each way and has children go on from it.
pub(super) fn main(args: &RecoveryArgs, stop: &Stop) -> Result<(), Failure> {
    let config = args.setup.config()?;
    check_writable([&args.setup.json])?;
    let all = CODECS.iter().map(|codec| codec.name().to_owned());
    let codecs: Vec<String> = if args.codec.is_empty() { all.collect() } else { args.codec.clone() };
    let mut results = Vec::new();
    let mut options = args.setup.endless()?;
    say(&Machine::this().to_string())?;
    for interactions in &args.interactions {
        if !args.setup.simulation.contains("users") {
            options.users = u32::try_from((interactions / EACH).max(100)).unwrap_or(u32::MAX);
        }
        let span = match args.audience.audience(&options, &config, (*interactions).min(CALIBRATED_BY))? {
            Audience::All => None,
            Audience::Within(ms) => Some(ms),
        };
        say(&format!("{}, audience {}", named(&options), args.audience))?;
        let mut maker = EventStream::new(options.clone(), config.levels.clone(), None)?;
        let shop = SimulatedState::fill(&mut maker, *interactions, config.graph.history, stop);
        for name in &codecs {
            let folder =
                tempfile::tempdir().context("cannot make a folder for a snapshot").map_err(Failure::Running)?;
            let known = codec(name).context("a codec of this build").map_err(Failure::Running)?;
            let store = Store::open(&folder.path().to_string_lossy())?.with_codec(known);
            let bytes = shop.store(&store)?.bytes();
            for workers in &args.workers {
                if stop.is_set() {
                    break;
                }
                // A child leaves a snapshot of its own: each goes on from the first one.
                let folder = copied(folder.path())?;
                let task = RecoveryTask {
                    setup: args.setup.clone(),
                    folder: folder.path().to_owned(),
                    codec: name.clone(),
                    span,
                    workers: *workers,
                    item: shop.hottest(),
                };
                if let Some(recovered) = ask::<Recovered>(&Task::Recovery(task), stop)? {
                    let (interactions, pair_updates) = (shop.interactions, shop.pair_updates());
                    let (codec, workers) = (name.clone(), *workers);
                    results.push(Measured { interactions, pair_updates, codec, workers, bytes, recovered });
                }
            }
        }
    }
    say(&table(&results).to_string())?;
    args.setup.report("recovery", &options, &results)
}

/// A folder with the same files, which take no room of their own.
fn copied(from: &std::path::Path) -> Result<tempfile::TempDir, Failure> {
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

fn table(results: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "interactions",
        "codec",
        "workers",
        "bytes each",
        "checked s",
        "live after s",
        "interactions/s",
        "pair updates/s",
        "lists",
        "peak MiB",
        "saved in s",
    ]);
    for Measured { interactions, pair_updates, codec, workers, bytes, recovered } in results {
        table.row([
            grouped(*interactions),
            codec.clone(),
            workers.to_string(),
            #[allow(clippy::cast_precision_loss)]
            figure(per(*bytes, *interactions as f64)),
            figure(recovered.checked_seconds),
            figure(recovered.seconds),
            whole(per(*interactions, recovered.seconds)),
            whole(per(*pair_updates, recovered.seconds)),
            grouped(recovered.lists),
            mib(recovered.peak_bytes),
            figure(recovered.saving_seconds),
        ]);
    }
    table
}
