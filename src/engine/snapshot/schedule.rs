//! Decides when snapshots are taken.

use std::time::{Duration, Instant};

use connectors::SourcePosition;
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use dataflows::Barrier;
use dataflows::time::Time;

use super::{Interval, Outcome, Snapshot, SnapshotMessage};

/// The schedule of snapshots, owned by worker 0. One snapshot is under way at a time.
pub(in crate::engine) struct SnapshotSchedule {
    requests: Sender<(Option<usize>, SnapshotMessage)>,
    outcomes: Receiver<Outcome>,
    /// Result of the last snapshot that ended.
    outcome: Outcome,
    /// Number and start of the last snapshot that began.
    number: u64,
    began: Instant,
    is_under_way: bool,
    interval: Interval,
    /// Positions of the inputs after the last tick, and whether any tick came after the last snapshot.
    positions: Vec<SourcePosition>,
    unsaved: bool,
    /// Whether the last snapshot of the run has begun.
    is_last: bool,
}

impl SnapshotSchedule {
    /// `number`: of the newest snapshot in the store; `base`: tick whose files the first snapshot can reuse, 0: none.
    pub(super) fn new(
        interval: Interval,
        number: u64,
        requests: Sender<(Option<usize>, SnapshotMessage)>,
        outcomes: Receiver<Outcome>,
        base: Time,
    ) -> Self {
        SnapshotSchedule {
            requests,
            outcomes,
            outcome: Outcome { base, ..Outcome::default() },
            number,
            began: Instant::now(),
            is_under_way: false,
            interval,
            positions: Vec::new(),
            unsaved: false,
            is_last: false,
        }
    }

    /// Records a tick that was sent to the graph, after which the inputs are at `positions`.
    pub(in crate::engine) fn on_tick(&mut self, positions: Vec<SourcePosition>) {
        self.positions = positions;
        self.unsaved = true;
    }

    /// Whether to take a snapshot now. `at_end`: the inputs have ended; one last snapshot is due if anything is unsaved.
    pub(in crate::engine) fn is_due(&mut self, at_end: bool) -> bool {
        let is_time = if at_end { !self.is_last } else { self.began.elapsed() >= self.interval.get() };
        self.is_needed() && is_time
    }

    /// Whether there is something to save and a snapshot can begin. One that failed is tried again.
    fn is_needed(&mut self) -> bool {
        !self.is_under_way() && (self.unsaved || self.outcome.failed) && !self.outcome.lost
    }

    /// Whether a snapshot is being taken.
    pub(in crate::engine) fn is_under_way(&mut self) -> bool {
        match self.outcomes.try_recv() {
            Ok(outcome) => (self.is_under_way, self.outcome) = (false, outcome),
            Err(TryRecvError::Empty) => {}
            // The snapshot coordinator has ended: no later snapshot can succeed.
            Err(TryRecvError::Disconnected) => (self.is_under_way, self.outcome.lost) = (false, true),
        }
        self.is_under_way
    }

    /// Time until a snapshot may be due. The snapshot coordinator wakes worker 0 when one ends.
    pub(in crate::engine) fn wait(&mut self) -> Duration {
        if self.is_needed() { self.interval.get().saturating_sub(self.began.elapsed()) } else { Duration::MAX }
    }

    /// Begins a snapshot of tick `time`, the newest. Returns the barrier to send to all workers.
    pub(in crate::engine) fn begin(&mut self, time: Time, at_end: bool) -> Barrier {
        self.number += 1;
        self.began = Instant::now();
        (self.is_under_way, self.unsaved, self.is_last) = (true, false, at_end);
        let snapshot = Snapshot { number: self.number, time, positions: self.positions.clone(), is_last: at_end };
        // If the coordinator has ended, its channel of outcomes is disconnected: see `is_under_way`.
        self.requests.send((None, SnapshotMessage::Begin(snapshot))).unwrap_or_default();
        Barrier::Snapshot { number: self.number, since: self.outcome.base }
    }
}
