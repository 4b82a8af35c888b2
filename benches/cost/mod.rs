//! The single-threaded baseline of the graph ("Scalability! But at what COST?", `McSherry`, Isard and Murray, 2015): the
//! same lists, with flat arrays and hash tables, without dataflow.
//!
//! It processes batches. The tick of a batch is the largest timestamp so far; all timers due by then fire with the batch.
//!
//! ```text
//! batch ─> histories: changed interactions ─┬─> popularities ─┐
//!                                           ├─> pairs ────────┴─> rows: top neighbours of each item ─┐
//!                                           └─> viewers: profiles ───────────────────────────────────┴─> lists
//! ```
//!
//! Each stage processes the whole batch before the next stage starts, so that its data stays in cache.
//!
//! Unlike the graph it never frees the names of users and items, has no parallelism and exposes no state while it runs.

mod differences;
mod histories;
mod names;
mod pairs;
mod prefetch;
mod rows;
mod top_entries;
mod user;
mod viewers;

use std::time::{Duration, Instant};

use dataflows::types::{Scored, UserId};
use dataflows::{Config, Event};

use differences::Differences;
use histories::Histories;
use names::{Items, Users};
use pairs::Pairs;
use rows::Rows;
use viewers::Viewers;

/// Time by stage.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StageTimes {
    /// Interning, histories, expiry.
    pub(crate) histories: Duration,
    /// Popularities and the resulting score changes.
    pub(crate) popularity: Duration,
    /// Enumerating, grouping and counting pairs.
    pub(crate) pairs: Duration,
    /// Applying score changes and rescanning rows.
    pub(crate) rows: Duration,
    /// Lists of viewers.
    pub(crate) lists: Duration,
}

/// Work counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// Co-occurrence updates, per user and direction.
    pub(crate) pairs: u64,
    /// Full scans of rows.
    pub(crate) scans: u64,
    /// Entries moved in, into or out of rows.
    pub(crate) moves: u64,
    /// Lists computed.
    pub(crate) lists: u64,
    /// Lists with a changed sequence.
    pub(crate) changes: u64,
}

/// The baseline program.
pub(crate) struct Cost {
    t: u64,
    users: Users,
    items: Items,
    histories: Histories,
    differences: Differences,
    pairs: Pairs,
    rows: Rows,
    viewers: Viewers,
    times: StageTimes,
    work: Work,
}

impl Cost {
    pub(crate) fn new(config: &Config) -> Self {
        Cost {
            t: 0,
            users: Users::default(),
            items: Items::default(),
            histories: Histories::new(config),
            differences: Differences::default(),
            pairs: Pairs::new(config.near),
            rows: Rows::new(config),
            viewers: Viewers::new(config),
            times: StageTimes::default(),
            work: Work::default(),
        }
    }

    /// Applies a batch. Returns the users with a changed sequence of items, with their new lists.
    pub(crate) fn batch(&mut self, events: &[Event]) -> &[(UserId, Vec<Scored>)] {
        let started = Instant::now();
        self.t = events.iter().map(|event| event.ts).fold(self.t, u64::max);
        self.histories.collect(events, &mut self.users, &mut self.items);
        let items = self.items.ids();
        self.differences.grow(items.len());
        self.pairs.grow(items.len());
        self.rows.grow(items.len());
        self.viewers.grow(items.len());
        self.histories.advance(self.t, items, &mut self.differences, &mut self.viewers);
        let histories_done = Instant::now();

        // Rows are released before their updates; new rows are ranked after all updates.
        let (subscribed, unsubscribed) = self.viewers.subscription_changes();
        self.rows.release(unsubscribed);
        self.rows.change_popularities(self.differences.popularities(), &self.pairs);
        let popularity_done = Instant::now();

        self.work.pairs += self.pairs.apply(&self.differences, &mut self.rows);
        let pairs_done = Instant::now();

        self.rows.apply_score_changes(items);
        self.rows.rank(subscribed, &self.pairs, items);
        self.rows.publish();
        let rows_done = Instant::now();

        self.work.lists += self.viewers.refresh(&self.rows, &self.users, items);
        let lists_done = Instant::now();

        self.work.scans = self.rows.scans;
        self.work.moves = self.rows.moves;
        self.work.changes += self.viewers.changes().len() as u64;
        self.times.histories += histories_done - started;
        self.times.popularity += popularity_done - histories_done;
        self.times.pairs += pairs_done - popularity_done;
        self.times.rows += rows_done - pairs_done;
        self.times.lists += lists_done - rows_done;
        self.viewers.changes()
    }

    /// Time by stage so far.
    pub(crate) fn times(&self) -> StageTimes {
        self.times
    }

    /// Work so far.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// Number of co-occurrences above zero, both directions, and the bytes of their tables.
    pub(crate) fn cells(&self) -> (u64, u64) {
        self.pairs.size()
    }
}
