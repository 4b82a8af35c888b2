use super::{Hits, Metric};

/// Discounted cumulative gain, `sum of 1 / log2(rank + 2)` over the hits (ranks from 0), as a share of what the best
/// possible list of k items would have: Järvelin and Kekäläinen 2002, with binary gains.
pub(super) struct Ndcg;

impl Metric for Ndcg {
    fn name(&self) -> &'static str {
        "ndcg"
    }

    fn value(&self, hits: &Hits, k: usize) -> f64 {
        let best: f64 = (0..hits.relevant.min(k)).map(discount).sum();
        hits.within(k).map(discount).sum::<f64>() / best
    }
}

#[allow(clippy::cast_precision_loss)]
fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 2.0).log2()
}

#[cfg(test)]
#[test]
fn later_hits_are_worth_less() {
    // One item relevant, at rank 2: 1 / log2(4) = 0.5 of at most 1.
    super::assert_values(&Ndcg, &[12], &[(2, 0.0), (3, 0.5), (5, 0.5)]);
    super::assert_values(&Ndcg, &[10], &[(1, 1.0)]);
    // Ranks 1 and 4 of three relevant: (1/log2(3) + 1/log2(6)) / (1 + 1/log2(3) + 1/2) = 1.0177826 / 2.1309298.
    let (third, sixth) = (1.0 / 3_f64.log2(), 1.0 / 6_f64.log2());
    super::assert_values(&Ndcg, &[14, 11, 99], &[(2, third / (1.0 + third)), (5, (third + sixth) / (1.5 + third))]);
    assert!(((third + sixth) / (1.5 + third) - 0.477_624).abs() < 1e-6);
}
