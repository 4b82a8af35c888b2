//! When the viewers of a phase are evaluated although they did nothing (docs/semantics.md, "Freshness").

use crate::operators::CoalescedTicks;
use crate::similarity::quantise::PHASES;
use crate::{MAX_MS, Time, first_of, ms_of};

/// The boundaries of the 64 phases, and what of them is due.
///
/// A phase is *settled* if nothing has changed since its last boundary. Its next one is then no tick of its own, because
/// evaluations would find nothing: in a quiet graph nothing falls due.
#[derive(Debug)]
pub(super) struct Boundaries {
    /// Milliseconds from one boundary of a viewer to the next. 0: each tick is one, for all.
    refresh: u64,
    /// By phase: the first boundary that has not passed.
    next: Vec<u64>,
    /// By phase: the tick of the last boundary.
    settled: Vec<Time>,
    /// The last tick with a change.
    changed: Time,
    coalesced: CoalescedTicks,
    /// The first time at which a phase that is not settled has a boundary.
    due: Option<Time>,
    has_ended: bool,
}

impl Boundaries {
    pub(super) fn new(refresh: u64) -> Self {
        let (next, settled) = (vec![0; PHASES as usize], vec![0; PHASES as usize]);
        Boundaries {
            refresh,
            next,
            settled,
            changed: 0,
            coalesced: CoalescedTicks::default(),
            due: None,
            has_ended: false,
        }
    }

    /// All phases.
    pub(super) fn phases() -> Vec<u32> {
        (0..PHASES).collect()
    }

    /// All times from `since` to `tick` are one tick.
    pub(super) fn coalesce(&mut self, since: Time, tick: Time) {
        self.coalesced.forget_before(since);
        self.coalesced.insert(since, tick);
    }

    /// No tick follows.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The next tick that takes place because of a boundary.
    pub(super) fn due(&self) -> Option<Time> {
        self.due.filter(|_| !self.has_ended).map(|due| self.coalesced.tick_of(due))
    }

    /// The first time that a tick at `time` takes together.
    pub(super) fn since(&self, time: Time) -> Time {
        self.coalesced.range_of(time).0
    }

    /// Advances to `time`, which must be later than all before, and returns the phases whose viewers must be looked at.
    /// `has_changed`: whether anything changes at `time` that a list depends on.
    pub(super) fn reach(&mut self, time: Time, has_changed: bool) -> Vec<u32> {
        if has_changed {
            self.changed = time;
        }
        if self.refresh == 0 {
            self.coalesced.forget_before(time);
            return if has_changed { Self::phases() } else { Vec::new() };
        }
        // Boundaries before `since` had ticks of their own, or were quiet.
        let (since, tick) = self.coalesced.range_of(time);
        let mut reached = Vec::new();
        if time == tick {
            for phase in 0..PHASES {
                let at = phase as usize;
                if first_of(self.next[at]) < since {
                    self.next[at] = self.first_boundary(phase, since);
                }
                if first_of(self.next[at]) <= tick {
                    self.next[at] = self.first_boundary(phase, tick + 1);
                    if self.settled[at] < self.changed {
                        reached.push(phase);
                    }
                    self.settled[at] = tick;
                }
            }
            self.coalesced.forget_before(tick + 1);
        }
        let unsettled = (0..PHASES as usize).filter(|at| self.settled[*at] < self.changed);
        self.due = unsettled.map(|at| first_of(self.next[at])).min();
        reached
    }

    /// The first boundary of a phase at a millisecond that begins at `time` or later; [`MAX_MS`] if there is none before that.
    fn first_boundary(&self, phase: u32, time: Time) -> u64 {
        let begins = first_of(ms_of(time)) == time;
        let ms = if begins { ms_of(time) } else { ms_of(time) + 1 };
        let early = u64::from(phase) * self.refresh / u64::from(PHASES);
        // n * refresh - early for the least n that reaches ms.
        ((ms + early).div_ceil(self.refresh) * self.refresh - early).min(MAX_MS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_boundary(ms: u64, phase: u32, refresh: u64) -> bool {
        (ms + u64::from(phase) * refresh / 64).is_multiple_of(refresh)
    }

    proptest! {
        /// Ticks of one or of several milliseconds: exactly the phases with a boundary in them are reached, and between two
        /// ticks what is due has a tick of its own.
        #[test]
        fn reaches_what_has_a_boundary_in_the_tick(
            refresh in 1_u64..200,
            steps in prop::collection::vec((0_u64..300, 0_u64..100, any::<bool>()), 1..30),
        ) {
            let mut boundaries = Boundaries::new(refresh);
            let (mut last, mut dirty) = (first_of(1_000), vec![false; 64]);
            for (gap, length, has_changed) in steps {
                let since = (ms_of(last) + gap).max(ms_of(last));
                let since = crate::next(last, since);
                let tick = crate::next(last, ms_of(since) + length);
                // Ticks of their own, in order.
                while let Some(due) = boundaries.due().filter(|due| *due < since) {
                    let reached = boundaries.reach(due, false);
                    for phase in 0..64_u32 {
                        let expected = dirty[phase as usize] && is_boundary(ms_of(due), phase, refresh);
                        prop_assert_eq!(reached.contains(&phase), expected);
                        dirty[phase as usize] &= !expected;
                    }
                }
                for phase in 0..64_u32 {
                    let quiet = (ms_of(last) + 1..ms_of(since)).all(|ms| !is_boundary(ms, phase, refresh));
                    prop_assert!(quiet || !dirty[phase as usize], "a boundary of phase {} was passed over", phase);
                }
                if since < tick {
                    boundaries.coalesce(since, tick);
                    prop_assert_eq!(boundaries.reach(since, false), Vec::<u32>::new());
                    prop_assert!(boundaries.due().is_none_or(|due| due >= tick));
                }
                let reached = boundaries.reach(tick, has_changed);
                for phase in 0..64_u32 {
                    dirty[phase as usize] |= has_changed;
                    let within = (ms_of(since)..=ms_of(tick)).filter(|ms| first_of(*ms) >= since);
                    let at_boundary = within.into_iter().any(|ms| is_boundary(ms, phase, refresh));
                    prop_assert_eq!(reached.contains(&phase), at_boundary && dirty[phase as usize]);
                    dirty[phase as usize] &= !at_boundary;
                }
                last = tick;
            }
        }
    }
}
