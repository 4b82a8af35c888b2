//! When anything changed that the lists with an item in their profiles depend on.

use crate::operators::{Dense, slot_mut};
use crate::{Time, ms_of};

/// By item: the last change, and in which intervals of the last `refresh` there were any.
///
/// A boundary reads the last change of every item in a profile, so these are in a table of their own. The intervals tell how long
/// effects have waited. They are a sixty-fourth of `refresh` long, as boundaries are that far apart.
#[derive(Debug)]
pub(super) struct ChangeTimes {
    /// Milliseconds of an interval.
    interval: u64,
    /// By item: the tick of the last change; 0 if there was none.
    last: Vec<Time>,
    /// By item: intervals with a change, as bits. Bit 0 is the interval of the last change, bit 1 the one before it.
    intervals: Vec<u64>,
    /// The tick, and the bits that a change in it sets.
    tick: (Time, u64),
}

impl ChangeTimes {
    pub(super) fn new(refresh: u64) -> Self {
        ChangeTimes {
            interval: refresh.div_ceil(u64::from(u64::BITS)).max(1),
            last: Vec::new(),
            intervals: Vec::new(),
            tick: (0, 1),
        }
    }

    /// Begins a tick, in which all changes since `since` take effect.
    pub(super) fn begin(&mut self, since: Time, tick: Time) {
        self.tick = (tick, 1 | 1 << self.between(since, tick).min(u64::BITS - 1));
    }

    pub(super) fn reserve(&mut self, item: Dense) {
        slot_mut(&mut self.last, item);
        slot_mut(&mut self.intervals, item);
    }

    /// Records that something changed in the tick.
    #[inline]
    pub(super) fn mark(&mut self, item: Dense) {
        let (tick, bits) = self.tick;
        let last = self.last[item as usize];
        if last != tick {
            let earlier = self.intervals[item as usize].checked_shl(self.between(last, tick)).unwrap_or(0);
            self.intervals[item as usize] = earlier | bits;
            self.last[item as usize] = tick;
        }
    }

    /// The tick of the last change.
    #[inline]
    pub(super) fn last(&self, item: Dense) -> Time {
        self.last[item as usize]
    }

    /// The millisecond of the first change after `time`, rounded down to an interval; `None` if there is none. Changes of more than
    /// 64 intervals ago are not known. `from_next`: changes in the interval of `time` itself count only if there are no later ones.
    pub(super) fn first_after(&self, item: Dense, time: Time, from_next: bool) -> Option<u64> {
        let last = self.last[item as usize];
        if last <= time {
            return None;
        }
        // The number of intervals that count.
        let number = (self.between(time, last) + u32::from(!from_next)).min(u64::BITS);
        if number == 0 {
            return Some(ms_of(last));
        }
        let counted = self.intervals[item as usize] << (u64::BITS - number);
        let first = u64::from(number - 1 - counted.leading_zeros());
        Some(((ms_of(last) / self.interval - first) * self.interval).max(ms_of(time)))
    }

    pub(super) fn forget(&mut self, item: Dense) {
        (self.last[item as usize], self.intervals[item as usize]) = (0, 0);
    }

    /// Intervals from that of `earlier` to that of `later`.
    fn between(&self, earlier: Time, later: Time) -> u32 {
        u32::try_from(ms_of(later) / self.interval - ms_of(earlier) / self.interval).unwrap_or(u32::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::first_of;

    proptest! {
        /// Compares with a list of all changes, as far back as the intervals reach. A tick may take several milliseconds together.
        #[test]
        fn finds_the_first_change_after_a_time(
            refresh in prop::sample::select(vec![0_u64, 1, 64, 100, 640, 1_000]),
            ticks in prop::collection::vec((0_u64..120, 0_u64..60), 1..60),
            after in 0_u64..7_000,
            from_next in any::<bool>(),
        ) {
            let mut times = ChangeTimes::new(refresh);
            times.reserve(7);
            let (mut effects, mut last) = (Vec::new(), 1_000);
            for (gap, length) in ticks {
                let since = last + gap;
                last = since + length;
                times.begin(first_of(since), first_of(last));
                times.mark(7);
                effects.extend([since, last]);
            }
            let found = times.first_after(7, first_of(after), from_next);
            prop_assert_eq!(found.is_some(), last > after);
            let Some(found) = found else { return Ok(()) };
            let interval = |ms: u64| ms / times.interval;
            let counts = |ms: &u64| {
                let early = if from_next { interval(*ms) > interval(after) } else { interval(*ms) >= interval(after) };
                early && interval(*ms) + 63 >= interval(last)
            };
            let first = effects.iter().copied().filter(counts).map(interval).min();
            let first = first.map_or(last, |first| (first * times.interval).max(after));
            prop_assert_eq!(found, first);
        }
    }
}
