//! Accuracy metrics of a list.

/// Ranks of the relevant items in a list.
pub(super) struct Hits {
    /// Ranks from 0, ascending.
    ranks: Vec<usize>,
    /// Number of relevant items, in the list or not; at least 1.
    relevant: usize,
}

impl Hits {
    /// `relevant` has at least one item and no duplicates.
    pub(super) fn of(list: &[u32], relevant: &[u32]) -> Self {
        let is_hit = |(_, item): &(usize, &u32)| relevant.contains(item);
        Hits { ranks: list.iter().enumerate().filter(is_hit).map(|(rank, _)| rank).collect(), relevant: relevant.len() }
    }

    /// Ranks of the hits among the first `k` items.
    fn within(&self, k: usize) -> impl Iterator<Item = usize> + '_ {
        self.ranks.iter().copied().take_while(move |rank| *rank < k)
    }
}

/// Metric of the first k items of a list against the relevant items, averaged over lists.
pub(super) struct Metric {
    /// Name in JSON.
    pub(super) name: &'static str,
    /// Name in tables and charts.
    pub(super) title: &'static str,
    /// Value from 0 to 1 for hits and k.
    pub(super) value: fn(&Hits, usize) -> f64,
}

/// All metrics, in the order of the report.
pub(super) static METRICS: [Metric; 4] = [
    Metric { name: "hit_rate", title: "hit rate", value: hit_rate },
    Metric { name: "recall", title: "recall", value: recall },
    Metric { name: "ndcg", title: "NDCG", value: ndcg },
    Metric { name: "mrr", title: "MRR", value: reciprocal_rank },
];

/// 1 if a relevant item is among the first k.
fn hit_rate(hits: &Hits, k: usize) -> f64 {
    f64::from(u8::from(hits.within(k).next().is_some()))
}

/// Share of the relevant items that are among the first k. With one relevant item it equals the hit rate.
#[allow(clippy::cast_precision_loss)]
fn recall(hits: &Hits, k: usize) -> f64 {
    hits.within(k).count() as f64 / hits.relevant as f64
}

/// Normalised discounted cumulative gain with binary gains (Järvelin and Kekäläinen 2002): the sum of
/// `1 / log2(rank + 2)` over the hits (ranks from 0), divided by that of the ideal list of k items.
fn ndcg(hits: &Hits, k: usize) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let ideal: f64 = (0..hits.relevant.min(k)).map(discount).sum();
    hits.within(k).map(discount).sum::<f64>() / ideal
}

/// Reciprocal rank (from 1) of the first hit among the first k, 0 without a hit. Its average is the mean reciprocal rank.
#[allow(clippy::cast_precision_loss)]
fn reciprocal_rank(hits: &Hits, k: usize) -> f64 {
    hits.within(k).next().map_or(0.0, |rank| 1.0 / (rank as f64 + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_values(metric: fn(&Hits, usize) -> f64, relevant: &[u32], expected: &[(usize, f64)]) {
        let hits = Hits::of(&[10, 11, 12, 13, 14], relevant);
        for (k, value) in expected {
            let found = metric(&hits, *k);
            assert!((found - value).abs() < 1e-12, "at {k} of {relevant:?}: {found}, not {value}");
        }
    }

    #[test]
    fn hit_rate_is_one_for_any_hit() {
        assert_values(hit_rate, &[12], &[(1, 0.0), (2, 0.0), (3, 1.0), (5, 1.0)]);
        assert_values(hit_rate, &[14, 11, 99], &[(1, 0.0), (2, 1.0), (5, 1.0)]);
        assert_values(hit_rate, &[99], &[(5, 0.0)]);
    }

    #[test]
    fn recall_is_a_share_of_all_relevant_items() {
        assert_values(recall, &[12], &[(2, 0.0), (3, 1.0)]);
        assert_values(recall, &[14, 11, 99, 98], &[(1, 0.0), (2, 0.25), (5, 0.5)]);
    }

    #[test]
    fn ndcg_discounts_later_hits() {
        // One relevant item at rank 2: 1 / log2(4) = 0.5 of at most 1.
        assert_values(ndcg, &[12], &[(2, 0.0), (3, 0.5), (5, 0.5)]);
        assert_values(ndcg, &[10], &[(1, 1.0)]);
        // Ranks 1 and 4 of three relevant items: (1/log2(3) + 1/log2(6)) / (1 + 1/log2(3) + 1/2) = 1.0177826 / 2.1309298.
        let (third, sixth) = (1.0 / 3_f64.log2(), 1.0 / 6_f64.log2());
        assert_values(ndcg, &[14, 11, 99], &[(2, third / (1.0 + third)), (5, (third + sixth) / (1.5 + third))]);
        assert!(((third + sixth) / (1.5 + third) - 0.477_624).abs() < 1e-6);
    }

    #[test]
    fn reciprocal_rank_counts_only_the_first_hit() {
        assert_values(reciprocal_rank, &[12], &[(2, 0.0), (3, 1.0 / 3.0), (5, 1.0 / 3.0)]);
        assert_values(reciprocal_rank, &[14, 11, 99], &[(1, 0.0), (2, 0.5), (5, 0.5)]);
    }
}
