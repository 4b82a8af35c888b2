//! Chooses the rates of the steps and decides whether a rate is held.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limit of the 99th percentile of the latency.
pub(super) const LIMIT: Duration = Duration::from_millis(50);
/// A step is aborted when an event has waited for this long.
pub(super) const ABORT_AFTER: Duration = Duration::from_secs(2);
/// Mean latencies below this do not indicate a backlog, whatever their trend.
const NEGLIGIBLE: Duration = Duration::from_millis(10);
/// Highest rate.
pub(super) const MAX_RATE: u64 = 1_000_000;

/// Result of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// The rate is sustained.
    Held,
    /// The 99th percentile was above the limit.
    Late,
    /// More events waited at the end than arrive within the limit.
    Behind,
    /// The latency grew during the step.
    Growing,
    /// The step was aborted because an event waited too long.
    Cut,
}

impl Verdict {
    pub(super) fn name(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Late => "late",
            Verdict::Behind => "behind",
            Verdict::Growing => "growing",
            Verdict::Cut => "cut",
        }
    }
}

/// Measurements that decide the verdict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symptoms {
    pub(super) rate: u64,
    pub(super) p99: Duration,
    /// Mean latency of the events in the second quarter of the step.
    pub(super) early: Duration,
    /// Mean latency of the events in the last quarter of the step.
    pub(super) late: Duration,
    /// Events not completed when the last one was due.
    pub(super) backlog: u64,
    pub(super) cut: bool,
}

impl Symptoms {
    /// By Little's law the backlog is the rate times the mean latency, so a growing backlog is a growing mean. The mean of
    /// a backlog that grows linearly from zero is 7/3 as large in the last quarter as in the second.
    pub(super) fn verdict(&self) -> Verdict {
        let limit = u64::try_from(u128::from(self.rate) * LIMIT.as_millis() / 1_000).unwrap_or(u64::MAX);
        if self.cut {
            Verdict::Cut
        } else if self.p99 > LIMIT {
            Verdict::Late
        } else if self.backlog > limit.max(1) {
            Verdict::Behind
        } else if self.late > NEGLIGIBLE && self.late > self.early * 2 {
            Verdict::Growing
        } else {
            Verdict::Held
        }
    }
}

/// Sequence of rates, chosen from the results of the previous ones.
#[derive(Debug)]
pub(super) struct RateSearch {
    initial: VecDeque<u64>,
    /// Whether to search for the saturation after the initial rates.
    search: bool,
    max_rate: u64,
    bisections: u32,
    halved: bool,
    /// Rates tried, and whether they were held.
    results: Vec<(u64, bool)>,
}

/// Initial rates of a search.
const INITIAL: [u64; 3] = [1_000, 5_000, 20_000];
const MAX_BISECTIONS: u32 = 4;

impl RateSearch {
    /// Tries the given rates, or searches for the saturation up to `max_rate` if there are none.
    pub(super) fn new(rates: &[u64], max_rate: u64) -> Self {
        let search = rates.is_empty();
        let initial = if search { INITIAL.into() } else { rates.iter().copied().collect() };
        RateSearch { initial, search, max_rate, bisections: 0, halved: false, results: Vec::new() }
    }

    pub(super) fn next_rate(&mut self) -> Option<u64> {
        self.initial.pop_front().or_else(|| self.next_searched()).or_else(|| {
            // Once the saturation is known, half of it is measured as a typical load.
            let half = self.saturation()? / 2;
            (!std::mem::replace(&mut self.halved, true) && half > 0).then_some(half)
        })
    }

    fn next_searched(&mut self) -> Option<u64> {
        if !self.search {
            return None;
        }
        match (self.highest_held(), self.lowest_failed()) {
            (None, None) => None,
            (Some(held), None) => (held < self.max_rate).then(|| (held * 2).min(self.max_rate)),
            (None, Some(failed)) => (failed > 10).then_some(failed / 4),
            (Some(held), Some(failed)) => {
                let close = failed * 10 <= held * 11 || self.bisections == MAX_BISECTIONS;
                self.bisections += 1;
                (!close).then(|| geometric_mean(held, failed)).filter(|rate| (held + 1..failed).contains(rate))
            }
        }
    }

    pub(super) fn record(&mut self, rate: u64, held: bool) {
        self.results.push((rate, held));
    }

    fn highest_held(&self) -> Option<u64> {
        self.results.iter().filter(|(_, held)| *held).map(|(rate, _)| *rate).max()
    }

    /// The lowest failed rate above all rates held. A failure below a rate held had another cause.
    fn lowest_failed(&self) -> Option<u64> {
        let highest = self.highest_held().unwrap_or(0);
        self.results.iter().filter(|(rate, held)| !held && *rate > highest).map(|(rate, _)| *rate).min()
    }

    /// The highest rate held, if a higher rate failed.
    pub(super) fn saturation(&self) -> Option<u64> {
        self.lowest_failed().and_then(|_| self.highest_held())
    }
}

/// The geometric mean, rounded to two digits.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn geometric_mean(low: u64, high: u64) -> u64 {
    let mean = (low as f64 * high as f64).sqrt() as u64;
    let step = 10_u64.pow(mean.max(1).ilog10().saturating_sub(1));
    (mean + step / 2) / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symptoms() -> Symptoms {
        let ms = Duration::from_millis;
        Symptoms { rate: 1_000, p99: ms(20), early: ms(5), late: ms(5), backlog: 3, cut: false }
    }

    #[test]
    fn each_symptom_of_overload_has_a_verdict() {
        let ms = Duration::from_millis;
        assert_eq!(symptoms().verdict(), Verdict::Held);
        assert_eq!(Symptoms { p99: ms(50), backlog: 50, ..symptoms() }.verdict(), Verdict::Held);
        assert_eq!(Symptoms { p99: ms(51), ..symptoms() }.verdict(), Verdict::Late);
        assert_eq!(Symptoms { backlog: 51, ..symptoms() }.verdict(), Verdict::Behind);
        assert_eq!(Symptoms { cut: true, ..symptoms() }.verdict(), Verdict::Cut);
        // Linear growth from 0 to 40 ms: 15 ms in the second quarter, 35 ms in the last.
        assert_eq!(Symptoms { p99: ms(40), early: ms(15), late: ms(35), ..symptoms() }.verdict(), Verdict::Growing);
        assert_eq!(Symptoms { p99: ms(40), early: ms(35), late: ms(35), ..symptoms() }.verdict(), Verdict::Held);
        assert_eq!(Symptoms { early: Duration::from_micros(80), late: ms(8), ..symptoms() }.verdict(), Verdict::Held);
    }

    fn search(rates: &[u64], capacity: u64) -> (Vec<u64>, Option<u64>) {
        let mut search = RateSearch::new(rates, MAX_RATE);
        let mut tried = Vec::new();
        while let Some(rate) = search.next_rate() {
            search.record(rate, rate <= capacity);
            tried.push(rate);
            assert!(tried.len() < 50, "{tried:?}");
        }
        (tried, search.saturation())
    }

    #[test]
    fn finds_the_saturation_and_tries_half_of_it() {
        let (tried, found) = search(&[], 70_000);
        assert_eq!(tried[..5], [1_000, 5_000, 20_000, 40_000, 80_000]);
        let found = found.expect("the saturation");
        assert!((63_000..=70_000).contains(&found), "{found} {tried:?}");
        assert_eq!(tried.last(), Some(&(found / 2)));
        for capacity in [3, 40, 700, 3_000, 12_000] {
            let (tried, found) = search(&[], capacity);
            assert_eq!(tried[..3], [1_000, 5_000, 20_000]);
            assert!(found.is_none_or(|found| found <= capacity && found * 4 > capacity), "{capacity} {tried:?}");
        }
        assert_eq!(search(&[], u64::MAX).1, None);
    }

    #[test]
    fn tries_only_the_given_rates() {
        assert_eq!(search(&[10, 500], 1_000), (vec![10, 500], None));
        assert_eq!(search(&[10, 500, 2_000], 1_000), (vec![10, 500, 2_000, 250], Some(500)));
        assert_eq!(search(&[5_000], 1_000), (vec![5_000], None));
    }

    #[test]
    fn a_failed_rate_below_a_held_rate_is_ignored() {
        let mut search = RateSearch::new(&[100, 200, 300], MAX_RATE);
        for (rate, held) in [(100, false), (200, true), (300, false)] {
            assert_eq!(search.next_rate(), Some(rate));
            search.record(rate, held);
        }
        assert_eq!(search.saturation(), Some(200));
    }
}
