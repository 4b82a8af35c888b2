use super::{Hits, Metric};

/// Reciprocal rank (from 1) of the first hit among the first k, 0 without a hit. Its average is the mean reciprocal rank.
pub(super) struct Mrr;

impl Metric for Mrr {
    fn name(&self) -> &'static str {
        "mrr"
    }

    #[allow(clippy::cast_precision_loss)]
    fn value(&self, hits: &Hits, k: usize) -> f64 {
        hits.within(k).next().map_or(0.0, |rank| 1.0 / (rank as f64 + 1.0))
    }
}

#[cfg(test)]
#[test]
fn only_the_first_hit_counts() {
    super::assert_values(&Mrr, &[12], &[(2, 0.0), (3, 1.0 / 3.0), (5, 1.0 / 3.0)]);
    super::assert_values(&Mrr, &[14, 11, 99], &[(1, 0.0), (2, 0.5), (5, 0.5)]);
}
