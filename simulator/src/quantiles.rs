use crate::random::Random;

const STEPS: usize = 2_048;

/// A distribution as a table of quantiles with linear interpolation. A draw is one look-up without floating-point
/// arithmetic. The tables are built with `libm`, which computes the same bits on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Quantiles(Vec<u64>);

impl Quantiles {
    /// Tabulates `value(p)` at evenly spaced p; the first and the last are half a step away from 0 and 1.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand steps")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, quantiles are positive")]
    fn tabulate(value: impl Fn(f64) -> f64) -> Self {
        let edge = 0.5 / STEPS as f64;
        let at = |step: usize| (step as f64 / STEPS as f64).clamp(edge, 1.0 - edge);
        Quantiles((0..=STEPS).map(|step| libm::round(value(at(step))) as u64).collect())
    }

    /// A lognormal distribution with this median and standard deviation of the logarithm, capped at `most`.
    pub(crate) fn lognormal(median: f64, deviation: f64, most: f64) -> Self {
        Quantiles::tabulate(|p| (median * libm::exp(deviation * normal_quantile(p))).min(most))
    }

    /// Distribution of the acting user when the activity of users is lognormal with this deviation. User `n` has the
    /// activity of quantile n / users. The share of all activity below quantile q is cdf(quantile(q) - deviation); this
    /// is its inverse, so no table of users is needed.
    pub(crate) fn by_activity(users: u32, deviation: f64) -> Self {
        let users = f64::from(users);
        Quantiles::tabulate(|p| users * normal_cdf(normal_quantile(p) + deviation))
    }

    pub(crate) fn draw(&self, random: &mut Random) -> u64 {
        self.at(random.fraction())
    }

    /// The value at `fraction` / 2^32.
    #[expect(clippy::cast_possible_truncation, reason = "a fraction of a difference of 64 bits")]
    pub(crate) fn at(&self, fraction: u32) -> u64 {
        let position = u64::from(fraction) * STEPS as u64;
        let step = usize::try_from(position >> 32).expect("below the number of steps");
        let (low, high) = (self.0[step], self.0[step + 1]);
        low + (((u128::from(high - low)) * u128::from(position & 0xffff_ffff)) >> 32) as u64
    }

    /// Mean of [`Quantiles::draw`], exact up to rounding.
    pub(crate) fn mean(&self) -> u64 {
        let inner: u64 = self.0[1..STEPS].iter().sum();
        (inner + u64::midpoint(self.0[0], self.0[STEPS])) / STEPS as u64
    }

    /// Every value multiplied by `up / down`.
    pub(crate) fn scaled(&self, up: u64, down: u64) -> Self {
        let scale = |value: &u64| u64::try_from(u128::from(*value) * u128::from(up) / u128::from(down));
        Quantiles(self.0.iter().map(|value| scale(value).unwrap_or(u64::MAX >> 16)).collect())
    }

    /// Residual time of a renewal interval at a random moment: draws are accepted with a probability proportional to
    /// their length (length bias), and the moment is uniform within the interval.
    pub(crate) fn residual(&self, random: &mut Random) -> u64 {
        loop {
            let whole = self.draw(random);
            if random.below(self.0[STEPS].max(1)) < whole.max(1) {
                return random.below(whole.max(1));
            }
        }
    }
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// The inverse by bisection: exact to the last digits; it runs a few thousand times in all.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lognormal_matches_its_quantiles_and_mean() {
        let table = Quantiles::lognormal(50_000.0, 1.0, f64::MAX);
        assert_eq!(table.at(1 << 31), 50_000);
        let one_sigma = table.at(3_613_547_970);
        assert!(one_sigma.abs_diff(135_914) < 200, "{one_sigma}");
        // exp(1/2) times the median, less the tail beyond the last step.
        assert!(table.mean().abs_diff(82_436) < 1_000, "{}", table.mean());
        assert_eq!(Quantiles::lognormal(50_000.0, 1.0, 60_000.0).at(u32::MAX), 60_000);
    }

    #[test]
    fn activity_is_distributed_as_lognormal() {
        let table = Quantiles::by_activity(1_000_000, 1.0);
        // Activity of the most active tenth of users: 1 - cdf(1.2816 - 1) = 38.9 %.
        let mut random = Random::new(1);
        let top = (0..100_000).filter(|_| table.draw(&mut random) >= 900_000).count();
        assert!(top.abs_diff(38_900) < 600, "{top}");
    }

    #[test]
    fn residuals_have_half_the_length_biased_mean() {
        let table = Quantiles::lognormal(1_000.0, 0.5, f64::MAX);
        let mut random = Random::new(1);
        let mean = (0..100_000).map(|_| table.residual(&mut random)).sum::<u64>() / 100_000;
        // E(x^2) / (2 E(x)) = 1000 exp(1.5 * 0.25) / 2.
        assert!(mean.abs_diff(727) < 15, "{mean}");
    }
}
