//! Snapshots of a running graph: the first worker says when, all workers hand over what they hold, a thread of its own
//! in the first process writes it.
//!
//! A snapshot is of one tick T: the events held after T, and where the inputs go on after T. It counts once its
//! manifest is there, which is written last of all, when the changes up to T are in the output.

mod committer;
mod handle;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use connectors::SourcePosition;
use crossbeam_channel::{Sender, unbounded};
use dataflows::Barrier;
use dataflows::time::Time;

pub(super) use self::committer::SnapshotCommitter;
pub use self::committer::SnapshotError;
pub(super) use self::committer::files_of;
pub(crate) use self::committer::positions;
pub(super) use self::handle::{SnapshotAggregator, SnapshotHandle, SnapshotMessage, WriterCommand, writer_channel};
pub(super) use self::writer::SnapshotWriter;

/// Time between two snapshots. It may be changed while a run goes on, which looks at it a few times a second.
#[derive(Clone, Debug)]
pub struct Interval(Arc<AtomicU64>);

impl Interval {
    /// So many milliseconds.
    pub fn of_ms(ms: u64) -> Self {
        Interval(Arc::new(AtomicU64::new(ms)))
    }

    /// None but the last one of the run.
    pub fn never() -> Self {
        Self::of_ms(u64::MAX)
    }

    /// From now on so many milliseconds.
    pub fn set_ms(&self, ms: u64) {
        self.0.store(ms, Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

/// What the first worker and the thread that writes tell each other.
#[derive(Clone, Default)]
pub(super) struct SnapshotStatus(Arc<StatusCells>);

#[derive(Default)]
struct StatusCells {
    /// The last snapshot that was begun, and the last that ended, well or not.
    begun: AtomicU64,
    ended: AtomicU64,
    /// Whether the run ends with the one that was begun.
    is_last: AtomicBool,
    /// Whether the one that ended failed, and whether none will ever succeed.
    failed: AtomicBool,
    lost: AtomicBool,
    /// The tick of the last one that is complete; 0: of none whose files are still there.
    complete: AtomicU64,
    /// The tick up to which all changes are in the output.
    written: AtomicU64,
}

impl SnapshotStatus {
    /// To be called when a run goes on from a complete snapshot: groups that do not change keep their files. The graph counts
    /// what it loads as older than any tick.
    pub(super) fn goes_on(&self) {
        self.0.complete.store(1, Release);
    }

    /// To be called when all changes up to `time` are in the output.
    pub(super) fn written(&self, time: Time) {
        self.0.written.store(time, Release);
    }

    /// Whether the end of the run waits for the snapshot under way.
    fn is_last(&self) -> bool {
        self.0.is_last.load(Relaxed)
    }
}

/// A snapshot to be taken.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    /// Snapshots are numbered on, over all runs.
    pub(super) number: u64,
    /// Its tick.
    pub(super) time: Time,
    /// Where the inputs go on.
    pub(super) positions: Vec<SourcePosition>,
}

/// Decides when snapshots are taken. Used by the first worker.
pub(super) struct SnapshotCoordinator {
    begins: Sender<Begin>,
    told: SnapshotStatus,
    number: u64,
    interval: Interval,
    last: Instant,
    /// Where the inputs go on after the tick last fed, and whether no snapshot has been begun since.
    positions: Option<Vec<SourcePosition>>,
    unsaved: bool,
    /// Whether the last one of the run has been begun.
    is_last: bool,
}

impl SnapshotCoordinator {
    /// `number`: of the last snapshot there is.
    pub(super) fn new(interval: Interval, number: u64) -> (Self, crossbeam_channel::Receiver<Begin>, SnapshotStatus) {
        let (begins, taken) = unbounded();
        let told = SnapshotStatus::default();
        told.0.begun.store(number, Relaxed);
        told.0.ended.store(number, Relaxed);
        let last = Instant::now();
        let told_too = told.clone();
        let (positions, unsaved, is_last) = (None, false, false);
        let conductor =
            SnapshotCoordinator { begins, told: told_too, number, interval, last, positions, unsaved, is_last };
        (conductor, taken, told)
    }

    /// Takes note of a tick that was fed.
    pub(super) fn fed(&mut self, positions: Vec<SourcePosition>) {
        self.positions = Some(positions);
        self.unsaved = true;
    }

    /// Whether a snapshot should be taken now. `at_the_end`: of whatever is not in one yet, once.
    pub(super) fn is_due(&self, at_the_end: bool) -> bool {
        let is_time = if at_the_end { !self.is_last } else { self.last.elapsed() >= self.interval.get() };
        self.is_wanted() && is_time
    }

    /// Whether there is something to save, and somebody to do it. What failed is tried again.
    fn is_wanted(&self) -> bool {
        let board = &self.told.0;
        !self.is_under_way() && (self.unsaved || board.failed.load(Acquire)) && !board.lost.load(Acquire)
    }

    /// Whether one is being taken.
    pub(super) fn is_under_way(&self) -> bool {
        self.told.0.ended.load(Acquire) < self.told.0.begun.load(Relaxed)
    }

    /// When to ask again; whoever ends one wakes the worker.
    pub(super) fn wait(&self) -> Duration {
        if self.is_wanted() { self.interval.get().saturating_sub(self.last.elapsed()) } else { Duration::MAX }
    }

    /// Begins a snapshot of tick `time`, the newest. The mark is for all workers.
    pub(super) fn begin(&mut self, time: Time, at_the_end: bool) -> Option<Barrier> {
        let positions = self.positions.clone()?;
        self.number += 1;
        self.last = Instant::now();
        (self.unsaved, self.is_last) = (false, at_the_end);
        self.told.0.is_last.store(at_the_end, Relaxed);
        self.told.0.begun.store(self.number, Relaxed);
        // If nobody listens, it never ends, and the run is about to.
        self.begins.send(Begin { number: self.number, time, positions }).ok()?;
        Some(Barrier::Snapshot { number: self.number, since: self.told.0.complete.load(Acquire) })
    }
}
