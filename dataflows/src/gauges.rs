//! State sizes and work counters of a running graph.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// State sizes and work counters of the graph on one worker.
///
/// The operators write them once per activation. A reader on another thread may see numbers that are slightly old and not
/// of one moment. They tell when to look again and what work costs; no result may depend on them.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Next millisecond at which something expires or comes into effect; [`u64::MAX`] if never.
    pub next_due: AtomicU64,
    /// Next millisecond at which lists are evaluated although their viewers did nothing; [`u64::MAX`] if never.
    pub next_boundary: AtomicU64,
    /// Next millisecond at which something happens to an item of the catalogue without a record; [`u64::MAX`] if never.
    pub next_catalogue: AtomicU64,
    /// Next millisecond at which a control acts that is ahead of the clock; [`u64::MAX`] if never.
    pub next_control: AtomicU64,
    /// Users with an interaction.
    pub users: AtomicU64,
    /// Users in the audience.
    pub audience: AtomicU64,
    /// Ordered pairs of items with a co-occurrence: `(i, j)` and `(j, i)` count as two.
    pub pairs: AtomicU64,
    /// Items with a record in the catalogue, without those that were deleted.
    pub catalogue_items: AtomicU64,
    /// Those of them that are eligible.
    pub eligible_items: AtomicU64,
    /// Those of them whose `until` is not after their `from`.
    pub empty_intervals: AtomicU64,
    /// Users with controls.
    pub users_with_controls: AtomicU64,
    /// Catalogue records that count for nothing, because deletions were dropped that are not earlier.
    pub stale_records: AtomicU64,
    /// Catalogue records that count for nothing, because the catalogue is full.
    pub catalogue_full: AtomicU64,
    /// Work: updates of co-occurrences.
    pub pair_updates: AtomicU64,
    /// Work: pairs recomputed because a popularity crossed a threshold.
    pub crossings: AtomicU64,
    /// Work: rankings of similar items recomputed.
    pub rankings: AtomicU64,
    /// Work: changed similarities sent to workers with viewers of the item.
    pub similarities: AtomicU64,
    /// Work: viewers looked at because they were at a boundary.
    pub looked_at: AtomicU64,
    /// Work: lists evaluated.
    pub evaluations: AtomicU64,
    /// Work: lists that changed.
    pub lists: AtomicU64,
}

/// Names of the work counters, in the order of the stages.
pub const STAGES: [&str; 7] = ["pairs", "crossings", "rankings", "similar", "looked at", "evaluated", "lists"];

/// A value for each of the [`STAGES`].
pub type Work = [u64; STAGES.len()];

/// State sizes of the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSize {
    /// Users with an interaction.
    pub users: u64,
    /// Users in the audience.
    pub audience: u64,
    /// Ordered pairs of items with a co-occurrence.
    pub pairs: u64,
}

impl Gauges {
    /// Work done since the start.
    pub fn work(&self) -> Work {
        let Gauges { pair_updates, crossings, rankings, similarities, looked_at, evaluations, lists, .. } = self;
        [pair_updates, crossings, rankings, similarities, looked_at, evaluations, lists]
            .map(|counter| counter.load(Relaxed))
    }

    /// Next millisecond at which something happens without an event; [`u64::MAX`] if never.
    pub fn next(&self) -> u64 {
        [&self.next_due, &self.next_boundary, &self.next_catalogue, &self.next_control]
            .map(|next| next.load(Relaxed))
            .into_iter()
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Sets the next millisecond at which something happens without an event: before the operators know it, and on behalf of a
    /// worker of another process.
    pub fn set_next(&self, ms: u64) {
        set(&self.next_due, ms);
        set(&self.next_boundary, ms);
        set(&self.next_catalogue, ms);
        set(&self.next_control, ms);
    }

    /// State sizes now.
    pub fn state_size(&self) -> StateSize {
        StateSize {
            users: self.users.load(Relaxed),
            audience: self.audience.load(Relaxed),
            pairs: self.pairs.load(Relaxed),
        }
    }
}

/// Adds to a counter that one operator of one worker writes.
pub(crate) fn add(counter: &AtomicU64, more: usize) {
    if more > 0 {
        counter.store(counter.load(Relaxed) + more as u64, Relaxed);
    }
}

/// Sets a gauge.
pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Relaxed);
}
