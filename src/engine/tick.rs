//! Messages between the threads of a run.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use connectors::SourcePosition;
use dataflows::operators::RowChange;
use dataflows::time::Time;
use dataflows::types::{Forgotten, ItemId};
use dataflows::{Barrier, ControlRecord, Event, ItemRecord, ListChange, ListKey};

/// The input of one tick, from the reader to the first worker.
#[derive(Default)]
pub(super) struct TickInput {
    /// Number of the tick input, from 1.
    pub(super) number: u64,
    /// Millisecond at which the tick takes effect.
    pub(super) at: u64,
    /// First millisecond that the tick covers.
    pub(super) since: u64,
    /// Events in the order of arrival.
    pub(super) events: Vec<Event>,
    /// Catalogue records in the order of arrival.
    pub(super) items: Vec<ItemRecord>,
    /// Controls in the order of arrival.
    pub(super) controls: Vec<ControlRecord>,
    /// Valid events of the run up to and including this tick, expired ones included.
    pub(super) taken: u64,
    /// Directives of the tick.
    pub(super) directives: TickDirectives,
}

impl TickInput {
    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.events.len() + self.items.len() + self.controls.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a tick says to the graph beside its records.
#[derive(Default)]
pub(super) struct TickDirectives {
    /// Barrier for all workers.
    pub(super) barrier: Option<Barrier>,
    /// Lists in the output.
    pub(super) known: Vec<(ListKey, Vec<ItemId>)>,
    /// Whether the lists of this tick are reconciled with the output.
    pub(super) finish_reconcile: bool,
    /// Positions of the inputs after this tick, if snapshots are taken.
    pub(super) positions: Option<Vec<SourcePosition>>,
}

/// Changed rows that the graph emitted.
#[derive(Default)]
pub(super) struct RowOutputs {
    pub(super) similar_items: Vec<RowChange>,
    pub(super) similar_users: Vec<RowChange>,
}

impl RowOutputs {
    pub(super) fn len(&self) -> usize {
        self.similar_items.len() + self.similar_users.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Completed output, from the first worker to the writer.
pub(super) struct CompletedOutput {
    /// Millisecond up to which everything is complete.
    pub(super) at: u64,
    /// Newest complete tick.
    pub(super) time: Time,
    /// Valid events of the run up to that tick.
    pub(super) events: u64,
    /// All changes since the last completed output, in the order of their ticks.
    pub(super) changes: Vec<ListChange>,
    /// Changed rows, for the configured streams.
    pub(super) rows: RowOutputs,
    /// Names without state, each with the millisecond of its tick and the number of the last tick input before that.
    pub(super) forgotten: Vec<(Forgotten, u64, u64)>,
}

/// Wakes the first worker when it sleeps.
#[derive(Clone, Default)]
pub(super) struct Waker(Arc<OnceLock<Thread>>);

impl Waker {
    /// Must be called on the first worker's own thread.
    pub(super) fn register(&self) {
        let thread = std::thread::current();
        self.0.get_or_init(|| thread);
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}
