//! When a snapshot is loaded, for those behind the door.

use std::cell::Cell;
use std::rc::Rc;

use crate::Time;

/// In which ticks a snapshot is loaded, shared by the operators of one worker. The door tells it; whoever comes to a tick
/// that is complete knows of it, as the door has passed that tick.
///
/// In these ticks nobody is in the audience, so what only matters to viewers can wait for the end of them.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The first tick, and the one with which all is there.
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

    /// With this tick all is there.
    pub(super) fn end(&self, time: Time) {
        self.ticks.set((self.ticks.get().0, time));
    }

    /// Whether the door, where it is now, has more to load.
    pub(super) fn is_under_way(&self) -> bool {
        let (first, last) = self.ticks.get();
        first < last && last == Time::MAX
    }

    /// Until when loading goes on after `time`, at least, if it does; everything before `upper` is complete. Loading that the
    /// end of the input has cut short is over.
    pub(crate) fn goes_on_after(&self, time: Time, upper: Time) -> Option<Time> {
        let (first, last) = self.ticks.get();
        (first..last).contains(&time).then_some(last.min(upper)).filter(|until| *until < Time::MAX)
    }
}
