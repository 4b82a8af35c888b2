//! Accuracy metrics of a list, one file each.

mod hit_rate;
mod mrr;
mod ndcg;
mod recall;

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

/// Metric of the first k items of a list against the relevant items, from 0 to 1; averaged over lists.
pub(super) trait Metric: Sync {
    fn name(&self) -> &'static str;
    fn value(&self, hits: &Hits, k: usize) -> f64;
}

/// All metrics, in the order of the report.
pub(super) static METRICS: [&dyn Metric; 4] = [&hit_rate::HitRate, &recall::Recall, &ndcg::Ndcg, &mrr::Mrr];

#[cfg(test)]
fn assert_values(metric: &impl Metric, relevant: &[u32], expected: &[(usize, f64)]) {
    let hits = Hits::of(&[10, 11, 12, 13, 14], relevant);
    for (k, value) in expected {
        let found = metric.value(&hits, *k);
        assert!((found - value).abs() < 1e-12, "{}@{k} of {relevant:?}: {found}, not {value}", metric.name());
    }
}
