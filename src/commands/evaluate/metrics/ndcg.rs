use super::{Hits, Metric};

/// Normalised discounted cumulative gain with binary gains (Järvelin and Kekäläinen 2002): the sum of
/// `1 / log2(rank + 2)` over the hits (ranks from 0), divided by that of the ideal list of k items.
pub(super) struct Ndcg;

impl Metric for Ndcg {
    fn name(&self) -> &'static str {
        "ndcg"
    }

    fn value(&self, hits: &Hits, k: usize) -> f64 {
        let ideal: f64 = (0..hits.relevant.min(k)).map(discount).sum();
        hits.within(k).map(discount).sum::<f64>() / ideal
    }
}

#[allow(clippy::cast_precision_loss)]
fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 2.0).log2()
}

#[cfg(test)]
#[test]
fn later_hits_are_worth_less() {
    // One relevant item at rank 2: 1 / log2(4) = 0.5 of at most 1.
    super::assert_values(&Ndcg, &[12], &[(2, 0.0), (3, 0.5), (5, 0.5)]);
    super::assert_values(&Ndcg, &[10], &[(1, 1.0)]);
    // Ranks 1 and 4 of three relevant items: (1/log2(3) + 1/log2(6)) / (1 + 1/log2(3) + 1/2) = 1.0177826 / 2.1309298.
    let (third, sixth) = (1.0 / 3_f64.log2(), 1.0 / 6_f64.log2());
    super::assert_values(&Ndcg, &[14, 11, 99], &[(2, third / (1.0 + third)), (5, (third + sixth) / (1.5 + third))]);
    assert!(((third + sixth) / (1.5 + third) - 0.477_624).abs() < 1e-6);
}
