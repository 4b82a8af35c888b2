//! The yardstick for the graph ("Scalability! But at what COST?", `McSherry`, Isard and Murray, 2015): the same lists by one
//! thread with flat arrays and hash tables, no dataflow, written to be as fast as a day's work makes it.
//!
//! It takes batches; a batch's tick is the largest timestamp so far, and everything due until then is taken with it.
//!
//! ```text
//! batch ─> histories: what each user's interactions were and are ─┬─> popularities ─┐
//!                                                                 ├─> pairs ────────┴─> rows: the best of each item ─┐
//!                                                                 └─> viewers: profiles ─────────────────────────────┴─> lists
//! ```
//!
//! Each stage works through the whole batch before the next one, so that each has the caches to itself.
//!
//! What it does not do and the graph does: forget names (an item or user costs some bytes for ever), share the work,
//! be looked into while it runs.

mod best;
mod histories;
mod names;
mod pairs;
mod rows;
mod viewers;

use std::time::{Duration, Instant};

use dataflows::types::{Scored, UserId};
use dataflows::{Config, Event};

use histories::{Differences, Histories};
use names::{Items, Users};
use pairs::Pairs;
use rows::Rows;
use viewers::Viewers;

/// Where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Numbering names, histories, expiry, differences.
    pub(crate) histories: Duration,
    /// Popularities, and what their steps move in the rows.
    pub(crate) popularity: Duration,
    /// Making, grouping and counting pairs.
    pub(crate) pairs: Duration,
    /// Moving what changed in the rows and ranking rows anew.
    pub(crate) rows: Duration,
    /// Lists.
    pub(crate) lists: Duration,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// Changes of a co-occurrence, each direction for itself; changes by several users are several.
    pub(crate) pairs: u64,
    /// Rows scanned from end to end.
    pub(crate) scans: u64,
    /// Entries of rows that moved, came or went.
    pub(crate) moves: u64,
    /// Lists computed.
    pub(crate) lists: u64,
    /// Lists whose sequence had changed.
    pub(crate) changes: u64,
}

/// The program.
pub(crate) struct Cost {
    t: u64,
    users: Users,
    items: Items,
    histories: Histories,
    differences: Differences,
    pairs: Pairs,
    rows: Rows,
    viewers: Viewers,
    spent: Spent,
    work: Work,
}

impl Cost {
    /// With nothing in it.
    pub(crate) fn new(config: &Config) -> Self {
        Cost {
            t: 0,
            users: Users::default(),
            items: Items::default(),
            histories: Histories::new(config),
            differences: Differences::default(),
            pairs: Pairs::default(),
            rows: Rows::new(config),
            viewers: Viewers::new(config),
            spent: Spent::default(),
            work: Work::default(),
        }
    }

    /// Takes a batch and returns the users whose sequence of items is another than before, each with its new list.
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

        // Rows that are given up are so before they are cared for, new ones are ranked when all is counted.
        let (wanted, unwanted) = self.viewers.interest_changes();
        self.rows.fade(unwanted);
        self.rows.change_popularities(self.differences.popularities(), &self.pairs);
        let popularity_done = Instant::now();

        self.work.pairs += self.pairs.apply(&self.differences, &mut self.rows);
        let pairs_done = Instant::now();

        self.rows.apply_hits(items);
        self.rows.rank(wanted, &self.pairs, items);
        self.rows.publish();
        let rows_done = Instant::now();

        self.work.lists += self.viewers.refresh(&self.rows, &self.users, items);
        let lists_done = Instant::now();

        self.work.scans = self.rows.scans;
        self.work.moves = self.rows.moves;
        self.work.changes += self.viewers.changes().len() as u64;
        self.spent.histories += histories_done - started;
        self.spent.popularity += popularity_done - histories_done;
        self.spent.pairs += pairs_done - popularity_done;
        self.spent.rows += rows_done - pairs_done;
        self.spent.lists += lists_done - rows_done;
        self.viewers.changes()
    }

    /// Where the time went so far.
    pub(crate) fn spent(&self) -> Spent {
        self.spent
    }

    /// How much was done so far.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// Co-occurrences above zero, each direction for itself, and the bytes they are stored in.
    pub(crate) fn cells(&self) -> (u64, u64) {
        self.pairs.size()
    }
}
