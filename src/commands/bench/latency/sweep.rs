//! Which rates are tried, and what is too much.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The latest that 99 of 100 events may be.
pub(in super::super) const LIMIT: Duration = Duration::from_millis(50);
/// A step is cut short when an event has waited for this long.
pub(super) const HOPELESS: Duration = Duration::from_secs(2);
/// Mean latencies below this are no sign of a backlog, whatever their trend.
const CALM: Duration = Duration::from_millis(10);
/// The highest rate.
pub(super) const FASTEST: u64 = 1_000_000;

/// What came of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Verdict {
    /// It is sustained.
    StateSize,
    /// More than one event in a hundred was later than the limit.
    Late,
    /// More events waited at the end than arrive within the limit.
    Behind,
    /// Events waited ever longer.
    Growing,
    /// The step was cut short, as an event waited too long.
    Cut,
}

impl Verdict {
    pub(super) fn words(self) -> &'static str {
        match self {
            Verdict::StateSize => "held",
            Verdict::Late => "late",
            Verdict::Behind => "behind",
            Verdict::Growing => "growing",
            Verdict::Cut => "cut",
        }
    }
}

/// What a verdict goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    pub(super) rate: u64,
    pub(super) p99: Duration,
    /// Mean latency of the events in the second and in the last quarter of the step.
    pub(super) early: Duration,
    pub(super) late: Duration,
    /// Events not settled when the last one was due.
    pub(super) backlog: u64,
    pub(super) cut: bool,
}

impl Signs {
    /// By Little's law a backlog is the rate times the mean latency, so a backlog that grows shows as a mean that grows:
    /// one that grows evenly from nothing is 7/3 as large in the last quarter as in the second; a steady one is equal in both.
    pub(super) fn verdict(&self) -> Verdict {
        let limit = u64::try_from(u128::from(self.rate) * LIMIT.as_millis() / 1_000).unwrap_or(u64::MAX);
        if self.cut {
            Verdict::Cut
        } else if self.p99 > LIMIT {
            Verdict::Late
        } else if self.backlog > limit.max(1) {
            Verdict::Behind
        } else if self.late > CALM && self.late > self.early * 2 {
            Verdict::Growing
        } else {
            Verdict::StateSize
        }
    }
}

/// Rates one after the other; which comes next follows from how the ones before went.
#[derive(Debug)]
pub(super) struct Sweep {
    given: VecDeque<u64>,
    /// Whether the rate that is just sustained is looked for, or only what is given is tried.
    search: bool,
    /// It is not looked for beyond this.
    fastest: u64,
    bisections: u32,
    halved: bool,
    tried: Vec<(u64, bool)>,
}

/// The rates of every sweep.
const ALWAYS: [u64; 3] = [1_000, 5_000, 20_000];
const BISECTIONS: u32 = 4;

impl Sweep {
    /// Of these rates alone, or, if there are none, whatever finds the saturation up to `fastest`.
    pub(super) fn new(rates: &[u64], fastest: u64) -> Self {
        let search = rates.is_empty();
        let given = if search { ALWAYS.into() } else { rates.iter().copied().collect() };
        Sweep { given, search, fastest, bisections: 0, halved: false, tried: Vec::new() }
    }

    pub(super) fn next_rate(&mut self) -> Option<u64> {
        self.given.pop_front().or_else(|| self.searched()).or_else(|| {
            // With the saturation known, one look at half of it: how it is to live with.
            let half = self.saturation()? / 2;
            (!std::mem::replace(&mut self.halved, true) && half > 0).then_some(half)
        })
    }

    fn searched(&mut self) -> Option<u64> {
        if !self.search {
            return None;
        }
        match (self.held(), self.failed()) {
            (None, None) => None,
            (Some(held), None) => (held < self.fastest).then(|| (held * 2).min(self.fastest)),
            (None, Some(failed)) => (failed > 10).then_some(failed / 4),
            (Some(held), Some(failed)) => {
                let near = failed * 10 <= held * 11 || self.bisections == BISECTIONS;
                self.bisections += 1;
                (!near).then(|| between(held, failed)).filter(|rate| (held + 1..failed).contains(rate))
            }
        }
    }

    pub(super) fn tell(&mut self, rate: u64, held: bool) {
        self.tried.push((rate, held));
    }

    fn held(&self) -> Option<u64> {
        self.tried.iter().filter(|(_, held)| *held).map(|(rate, _)| *rate).max()
    }

    /// The lowest rate that was too much; one below a rate that was held was disturbed by something else.
    fn failed(&self) -> Option<u64> {
        let held = self.held().unwrap_or(0);
        self.tried.iter().filter(|(rate, fine)| !fine && *rate > held).map(|(rate, _)| *rate).min()
    }

    /// The highest rate that is sustained, if a higher one was tried and was not.
    pub(super) fn saturation(&self) -> Option<u64> {
        self.failed().and_then(|_| self.held())
    }
}

/// The geometric mean, to two digits.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn between(low: u64, high: u64) -> u64 {
    let mean = (low as f64 * high as f64).sqrt() as u64;
    let step = 10_u64.pow(mean.max(1).ilog10().saturating_sub(1));
    (mean + step / 2) / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs() -> Signs {
        let ms = Duration::from_millis;
        Signs { rate: 1_000, p99: ms(20), early: ms(5), late: ms(5), backlog: 3, cut: false }
    }

    #[test]
    fn each_sign_of_too_much_is_seen() {
        let ms = Duration::from_millis;
        assert_eq!(signs().verdict(), Verdict::StateSize);
        assert_eq!(Signs { p99: ms(50), backlog: 50, ..signs() }.verdict(), Verdict::StateSize);
        assert_eq!(Signs { p99: ms(51), ..signs() }.verdict(), Verdict::Late);
        assert_eq!(Signs { backlog: 51, ..signs() }.verdict(), Verdict::Behind);
        assert_eq!(Signs { cut: true, ..signs() }.verdict(), Verdict::Cut);
        // Grows evenly from 0 to 40 ms: 15 in the second quarter, 35 in the last.
        assert_eq!(Signs { p99: ms(40), early: ms(15), late: ms(35), ..signs() }.verdict(), Verdict::Growing);
        assert_eq!(Signs { p99: ms(40), early: ms(35), late: ms(35), ..signs() }.verdict(), Verdict::StateSize);
        assert_eq!(Signs { early: Duration::from_micros(80), late: ms(8), ..signs() }.verdict(), Verdict::StateSize);
    }

    fn sweep(rates: &[u64], capacity: u64) -> (Vec<u64>, Option<u64>) {
        let mut sweep = Sweep::new(rates, FASTEST);
        let mut tried = Vec::new();
        while let Some(rate) = sweep.next_rate() {
            sweep.tell(rate, rate <= capacity);
            tried.push(rate);
            assert!(tried.len() < 50, "{tried:?}");
        }
        (tried, sweep.saturation())
    }

    #[test]
    fn a_sweep_finds_the_saturation_and_looks_at_half_of_it() {
        let (tried, found) = sweep(&[], 70_000);
        assert_eq!(tried[..5], [1_000, 5_000, 20_000, 40_000, 80_000]);
        let found = found.expect("it is found");
        assert!((63_000..=70_000).contains(&found), "{found} {tried:?}");
        assert_eq!(tried.last(), Some(&(found / 2)));
        for capacity in [3, 40, 700, 3_000, 12_000] {
            let (tried, found) = sweep(&[], capacity);
            assert_eq!(tried[..3], [1_000, 5_000, 20_000]);
            assert!(found.is_none_or(|found| found <= capacity && found * 4 > capacity), "{capacity} {tried:?}");
        }
        assert_eq!(sweep(&[], u64::MAX).1, None);
    }

    #[test]
    fn given_rates_are_what_is_tried() {
        assert_eq!(sweep(&[10, 500], 1_000), (vec![10, 500], None));
        assert_eq!(sweep(&[10, 500, 2_000], 1_000), (vec![10, 500, 2_000, 250], Some(500)));
        assert_eq!(sweep(&[5_000], 1_000), (vec![5_000], None));
    }

    #[test]
    fn a_disturbed_step_below_a_held_one_is_no_saturation() {
        let mut sweep = Sweep::new(&[100, 200, 300], FASTEST);
        for (rate, held) in [(100, false), (200, true), (300, false)] {
            assert_eq!(sweep.next_rate(), Some(rate));
            sweep.tell(rate, held);
        }
        assert_eq!(sweep.saturation(), Some(200));
    }
}
