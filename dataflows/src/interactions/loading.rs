//! The ticks in which a snapshot is loaded, known to the operators downstream.

use std::cell::Cell;
use std::rc::Rc;

use crate::Time;

/// The ticks in which a snapshot is loaded, shared by the operators of one worker. The interactions operator writes it. An
/// operator that reads it at a complete tick sees it up to date, because the interactions operator has passed that tick.
///
/// The audience is empty in these ticks, so work that only viewers need can wait until the end of them.
#[derive(Clone, Debug)]
pub struct Loading {
    /// First tick, and the tick that completes the load. [`Time::MAX`] while unknown.
    ticks: Rc<Cell<(Time, Time)>>,
}

impl Default for Loading {
    fn default() -> Self {
        Loading { ticks: Rc::new(Cell::new((Time::MAX, Time::MAX))) }
    }
}

impl Loading {
    /// Loading begins with this tick.
    pub(super) fn begin(&self, time: Time) {
        self.ticks.set((time, Time::MAX));
    }

    /// Loading is complete with this tick.
    pub(super) fn end(&self, time: Time) {
        self.ticks.set((self.ticks.get().0, time));
    }

    /// Whether the interactions operator is loading now.
    pub(super) fn is_loading(&self) -> bool {
        let (first, last) = self.ticks.get();
        first < last && last == Time::MAX
    }

    /// If tick `time` is part of a load: a lower bound on the tick at which the load ends. Everything before `upper` is complete. A
    /// load that the end of the input has cut short is over.
    pub(crate) fn continues_until(&self, time: Time, upper: Time) -> Option<Time> {
        let (first, last) = self.ticks.get();
        (first..last).contains(&time).then_some(last.min(upper)).filter(|until| *until < Time::MAX)
    }
}
