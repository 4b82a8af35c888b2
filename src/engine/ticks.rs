//! The ticks of a run: which are in the graph, which are complete, and what is complete with them.

use std::collections::{BTreeMap, VecDeque};

use dataflows::operators::RowChange;
use dataflows::time::{Time, ms_of};
use dataflows::types::Forgotten;
use dataflows::{GraphInput, ListChange};
use timely::dataflow::ProbeHandle;

use super::tick::{CompletedOutput, RowOutputs, TickDirectives, TickInput};
use super::worker::{Collected, Graph};

/// The ticks of a run.
#[derive(Default)]
pub(super) struct Ticks {
    /// Newest tick that is complete on all workers.
    complete: Time,
    /// Ticks in the graph, each with the number of events up to it.
    in_graph: VecDeque<(Time, u64)>,
    /// Events up to the last tick.
    events: u64,
    /// Events up to the newest complete tick.
    complete_events: u64,
    /// Events and tick of the last completed output.
    reported: (u64, Time),
    /// Times and numbers of tick inputs, as far back as removals of names may still refer to them.
    numbers: VecDeque<(Time, u64)>,
    /// Number of the tick input before those in `numbers`.
    number_before: u64,
}

impl Ticks {
    /// Number of ticks in the graph.
    pub(super) fn in_graph(&self) -> usize {
        self.in_graph.len()
    }

    /// Newest tick that is complete on all workers.
    pub(super) fn complete(&self) -> Time {
        self.complete
    }

    /// Sends a tick input to the graph.
    pub(super) fn send(&mut self, input: &mut GraphInput, tick: TickInput) {
        let TickInput { number, at, since, mut events, mut items, mut controls, taken, directives } = tick;
        let TickDirectives { barrier, known, finish_reconcile, positions: _ } = directives;
        let mut tick = input.tick(since, at);
        if let Some(barrier) = barrier {
            tick.barrier(barrier);
        }
        for (key, items) in known {
            tick.known(key, items);
        }
        if finish_reconcile {
            tick.finish_reconcile();
        }
        tick.items(&mut items);
        tick.controls(&mut controls);
        tick.events(&mut events);
        drop(tick);
        self.events = taken;
        self.push(input.last());
        self.numbers.push_back((input.last(), number));
    }

    /// Records a tick that was sent to the graph.
    pub(super) fn push(&mut self, time: Time) {
        self.in_graph.push_back((time, self.events));
    }

    /// Removes the ticks that are complete.
    pub(super) fn retire(&mut self, probe: &ProbeHandle<Time>) {
        while let Some((time, events)) = self.in_graph.front().copied().filter(|(time, _)| !probe.less_equal(time)) {
            (self.complete, self.complete_events) = (time, events);
            self.in_graph.pop_front();
        }
        while self.numbers.get(1).is_some_and(|(time, _)| *time < self.complete) {
            self.number_before = self.numbers.pop_front().map_or(self.number_before, |(_, number)| number);
        }
    }

    /// The number of the last tick input no later than `time`.
    fn number_at(&self, time: Time) -> u64 {
        let earlier = self.numbers.iter().take_while(|(sent, _)| *sent <= time);
        earlier.last().map_or(self.number_before, |(_, number)| *number)
    }

    /// Takes complete output that is not yet taken: changes, rows, names, or only the progress of events.
    pub(super) fn take_completed(&mut self, graph: &Graph) -> Option<CompletedOutput> {
        let upper = graph.probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(Time::MAX);
        let changes = take_before(&graph.changes, upper);
        let forgotten = take_before(&graph.forgotten, upper);
        let rows = |collected: &Collected<RowChange>| take_before(collected, upper).into_values().flatten().collect();
        let rows = RowOutputs { similar_items: rows(&graph.similar_items), similar_users: rows(&graph.similar_users) };
        let progress = (self.complete_events, self.complete);
        if changes.is_empty() && rows.is_empty() && forgotten.is_empty() && self.reported == progress {
            return None;
        }
        self.reported = progress;
        let with_number = |(time, names): (Time, Vec<Forgotten>)| {
            let number = self.number_at(time);
            names.into_iter().map(move |name| (name, ms_of(time), number))
        };
        let forgotten = forgotten.into_iter().flat_map(with_number).collect();
        let changes: Vec<ListChange> = changes.into_values().flatten().collect();
        let at = changes.last().map_or(0, |change| change.at).max(ms_of(self.complete));
        Some(CompletedOutput { at, time: self.complete, events: self.complete_events, changes, rows, forgotten })
    }
}

/// Takes out everything before `upper`.
fn take_before<D>(collected: &Collected<D>, upper: Time) -> BTreeMap<Time, Vec<D>> {
    let mut all = collected.borrow_mut();
    let rest = all.split_off(&upper);
    std::mem::replace(&mut *all, rest)
}
