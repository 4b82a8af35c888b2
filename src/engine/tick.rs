//! What passes between the threads of a run.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use connectors::SourcePosition;
use dataflows::{Barrier, Event, Forgotten, Input, ItemId, ListChange, Scope, Time, UserId};

use super::writer::RowOutputs;

/// One tick's events, from the reader to the first worker.
pub(super) struct TickInput {
    /// Feeds are numbered from 1.
    pub(super) number: u64,
    /// The millisecond at which it takes effect.
    pub(super) at: u64,
    /// The first millisecond it stands for.
    pub(super) since: u64,
    /// In order of arrival.
    pub(super) events: Vec<Event>,
    /// Which of them, by their places, rising, happened in which room, if rooms have trending lists.
    pub(super) rooms: Vec<(usize, Scope)>,
    /// Valid events of the run up to and including this tick's, ignored ones too.
    pub(super) taken: u64,
    /// What the graph is told in the same tick.
    pub(super) told: TickDirectives,
}

impl TickInput {
    /// Nothing yet. `events`: room for them.
    pub(super) fn new(number: u64, events: Vec<Event>) -> Self {
        TickInput { number, at: 0, since: 0, events, rooms: Vec::new(), taken: 0, told: TickDirectives::default() }
    }

    /// What enters the graph. Leaves the feed without events.
    pub(super) fn inputs(&mut self) -> Vec<Input> {
        let mut inputs: Vec<Input> = std::mem::take(&mut self.events).into_iter().map(Input::Event).collect();
        for (place, room) in std::mem::take(&mut self.rooms) {
            if let Input::Event(Event { user, item, ts, level }) = inputs[place] {
                inputs[place] = Input::InRoom { user, item, ts, level, room };
            }
        }
        inputs
    }
}

/// What a tick says beside its events.
#[derive(Default)]
pub(super) struct TickDirectives {
    /// For every worker.
    pub(super) barrier: Option<Barrier>,
    /// What the output holds: users' lists.
    pub(super) holds: Vec<(UserId, Vec<ItemId>)>,
    /// Whether the output opens.
    pub(super) opens: bool,
    /// Where the inputs go on after this tick, if anybody wants to know.
    pub(super) positions: Option<Vec<SourcePosition>>,
}

/// What is complete, from the first worker to the writer.
pub(super) struct CompletedOutput {
    /// The millisecond up to which everything is complete, and the tick.
    pub(super) at: u64,
    pub(super) time: Time,
    /// Valid events of the run up to there.
    pub(super) events: u64,
    /// All changes since the one before, in the order of their ticks.
    pub(super) changes: Vec<ListChange>,
    /// Rows that changed, of those asked for.
    pub(super) rows: RowOutputs,
    /// Names of which nothing was held any more, each with the millisecond and the number of the last feed before that.
    pub(super) forgotten: Vec<(Forgotten, u64, u64)>,
}

/// Wakes the first worker when it waits for the reader or the writer.
#[derive(Clone, Default)]
pub(super) struct Waker(Arc<OnceLock<Thread>>);

impl Waker {
    /// To be called by the first worker itself.
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
