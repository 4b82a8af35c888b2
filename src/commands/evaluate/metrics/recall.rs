use super::{Hits, Metric};

/// Share of the relevant items that are among the first k. With one relevant item it equals the hit rate.
pub(super) struct Recall;

impl Metric for Recall {
    fn name(&self) -> &'static str {
        "recall"
    }

    #[allow(clippy::cast_precision_loss)]
    fn value(&self, hits: &Hits, k: usize) -> f64 {
        hits.within(k).count() as f64 / hits.relevant as f64
    }
}

#[cfg(test)]
#[test]
fn is_a_share_of_all_relevant_items() {
    super::assert_values(&Recall, &[12], &[(2, 0.0), (3, 1.0)]);
    super::assert_values(&Recall, &[14, 11, 99, 98], &[(1, 0.0), (2, 0.25), (5, 0.5)]);
}
