//! Confidence intervals of means by the bootstrap over users (Efron 1979).

use std::collections::HashMap;

use serde::Serialize;

use super::random::{Purpose, Random};

/// Sums and counts of several columns of values by user.
#[derive(Debug)]
pub(super) struct Tally {
    width: usize,
    users: Vec<u32>,
    row_of: HashMap<u32, usize>,
    /// `(sum, count)` of each column, one row per user.
    cells: Vec<(f64, u32)>,
    cases: u64,
}

impl Tally {
    pub(super) fn new(width: usize) -> Self {
        Tally { width, users: Vec::new(), row_of: HashMap::new(), cells: Vec::new(), cases: 0 }
    }

    /// Adds a case of a user; `None` for a column without a value.
    pub(super) fn add(&mut self, user: u32, values: impl IntoIterator<Item = Option<f64>>) {
        let row = *self.row_of.entry(user).or_insert_with(|| {
            self.users.push(user);
            self.cells.resize(self.cells.len() + self.width, (0.0, 0));
            self.users.len() - 1
        });
        self.cases += 1;
        let cells = &mut self.cells[row * self.width..][..self.width];
        for (cell, value) in cells.iter_mut().zip(values) {
            if let Some(value) = value {
                *cell = (cell.0 + value, cell.1 + 1);
            }
        }
    }

    pub(super) fn cases(&self) -> u64 {
        self.cases
    }

    pub(super) fn users(&self) -> &[u32] {
        &self.users
    }

    /// Mean of each column, with the cases of each user weighted by `weight`.
    fn means(&self, weight: impl Fn(u32) -> u32) -> Vec<Option<f64>> {
        let mut totals = vec![(0.0, 0.0); self.width];
        for (user, row) in self.users.iter().zip(self.cells.chunks(self.width.max(1))) {
            let weight = f64::from(weight(*user));
            if weight > 0.0 {
                for (total, (sum, count)) in totals.iter_mut().zip(row) {
                    *total = (total.0 + weight * sum, total.1 + weight * f64::from(*count));
                }
            }
        }
        totals.into_iter().map(|(sum, count)| (count > 0.0).then(|| sum / count)).collect()
    }
}

/// Mean over cases with its 95% interval (percentiles 2.5 and 97.5 of the resamples).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Estimate {
    /// Mean; absent without cases.
    pub(super) mean: Option<f64>,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    /// Mean of each resample.
    #[serde(skip)]
    pub(super) resamples: Vec<f64>,
}

impl Estimate {
    fn of(mean: Option<f64>, resamples: Vec<f64>) -> Self {
        let mut sorted: Vec<f64> = resamples.iter().copied().filter(|mean| mean.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |quantile: f64| quantile_of(&sorted, quantile);
        Estimate { mean, low: at(0.025), high: at(0.975), resamples }
    }

    /// Paired difference to another mean over the same cases. Both use the same resamples, so effects of the users that are
    /// common to both cancel.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mean = self.mean.zip(other.mean).map(|(a, b)| a - b);
        Self::of(mean, self.resamples.iter().zip(&other.resamples).map(|(a, b)| a - b).collect())
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn quantile_of(sorted: &[f64], quantile: f64) -> Option<f64> {
    let at = (quantile * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(at).copied()
}

/// Resamples users with replacement. It resamples users, not cases, because the cases of one user are not independent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bootstrap {
    pub(super) resamples: u32,
    pub(super) seed: u64,
}

impl Bootstrap {
    /// Means of the columns of each tally. `users` must contain all users of the tallies, and must be the same, in the same
    /// order, for all estimates to be compared.
    pub(super) fn estimates(&self, users: &[u32], tallies: &[&Tally]) -> Vec<Vec<Estimate>> {
        let empty = |tally: &&Tally| vec![Vec::new(); tally.width];
        let mut drawn: Vec<Vec<Vec<f64>>> = tallies.iter().map(empty).collect();
        let mut random = Random::new(self.seed, Purpose::Resamples);
        let mut weights = vec![0_u32; users.iter().max().map_or(0, |user| *user as usize + 1)];
        for _ in 0..self.resamples {
            weights.fill(0);
            for _ in users {
                weights[users[random.below(users.len())] as usize] += 1;
            }
            for (tally, columns) in tallies.iter().zip(&mut drawn) {
                let means = tally.means(|user| weights[user as usize]);
                for (column, mean) in columns.iter_mut().zip(means) {
                    column.push(mean.unwrap_or(f64::NAN));
                }
            }
        }
        let estimates = |(tally, resamples): (&&Tally, Vec<Vec<f64>>)| {
            tally.means(|_| 1).into_iter().zip(resamples).map(|(mean, drawn)| Estimate::of(mean, drawn)).collect()
        };
        tallies.iter().zip(drawn).map(estimates).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 400 users with one case each, the first 100 of them hits: the standard error of a share of 0.25 is
    /// sqrt(0.25 * 0.75 / 400) = 0.02165.
    #[test]
    fn the_interval_of_a_share_is_that_of_the_binomial() {
        let users: Vec<u32> = (0..400).collect();
        let mut tally = Tally::new(2);
        for user in &users {
            tally.add(*user, [Some(f64::from(u8::from(*user < 100))), None]);
        }
        let estimates = &Bootstrap { resamples: 2_000, seed: 1 }.estimates(&users, &[&tally])[0];
        let Estimate { mean, low: Some(low), high: Some(high), .. } = &estimates[0] else { panic!("{estimates:?}") };
        assert_eq!(*mean, Some(0.25));
        for (end, expected) in [(low, 0.25 - 1.96 * 0.02165), (high, 0.25 + 1.96 * 0.02165)] {
            assert!((end - expected).abs() < 0.004, "{end}, not about {expected}");
        }
        assert_eq!((estimates[1].mean, estimates[1].low), (None, None), "no figures, no mean");
    }

    /// All cases of a user are drawn or none: two users with a hundred cases each are two users.
    #[test]
    fn cases_of_one_user_are_drawn_together() {
        let mut tally = Tally::new(1);
        for user in [0, 1] {
            for _ in 0..100 {
                tally.add(user, [Some(f64::from(user))]);
            }
        }
        let estimate = &Bootstrap { resamples: 500, seed: 3 }.estimates(&[0, 1], &[&tally])[0][0];
        assert_eq!((estimate.mean, estimate.low, estimate.high), (Some(0.5), Some(0.0), Some(1.0)));
    }

    #[test]
    fn a_constant_difference_has_a_narrow_interval() {
        let users: Vec<u32> = (0..50).collect();
        let (mut a, mut b) = (Tally::new(1), Tally::new(1));
        for user in &users {
            let value = f64::from(user % 7);
            a.add(*user, [Some(value + 0.25)]);
            b.add(*user, [Some(value)]);
        }
        let estimates = Bootstrap { resamples: 300, seed: 5 }.estimates(&users, &[&a, &b]);
        let difference = estimates[0][0].minus(&estimates[1][0]);
        for value in [difference.mean, difference.low, difference.high] {
            assert!((value.unwrap() - 0.25).abs() < 1e-9);
        }
    }
}
