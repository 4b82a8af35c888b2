use std::collections::BTreeMap;

use crate::Time;

/// Ticks that stand for several times ([`Barrier::Coalesce`](crate::Barrier::Coalesce)): what falls due within them happens in
/// the tick at their end.
#[derive(Debug, Default)]
pub(crate) struct CoalescedTicks(BTreeMap<Time, Time>);

impl CoalescedTicks {
    /// All times from `since` to `tick` are one tick.
    pub(crate) fn insert(&mut self, since: Time, tick: Time) {
        self.0.insert(since, tick);
    }

    /// The coalesced times that contain `time`: the first one, and the tick that stands for them. One time alone stands for
    /// itself.
    pub(crate) fn range_of(&self, time: Time) -> (Time, Time) {
        let range = self.0.range(..=time).next_back().filter(|(_, tick)| **tick >= time);
        range.map_or((time, time), |(since, tick)| (*since, *tick))
    }

    /// The tick in which something happens that is due at `due`.
    pub(crate) fn tick_of(&self, due: Time) -> Time {
        self.range_of(due).1
    }

    /// Forgets the ticks before `time`.
    pub(crate) fn forget_before(&mut self, time: Time) {
        self.0.retain(|_, tick| *tick >= time);
    }
}
