/// How much of the catalogue is recommended to anybody. It has no interval: a resample always misses items.
pub(in super::super) struct Coverage {
    ks: Vec<usize>,
    /// By item, the best rank (from 0) in any list.
    best: Vec<usize>,
}

impl Coverage {
    pub(in super::super) fn new(ks: &[usize], items: usize) -> Self {
        Coverage { ks: ks.to_vec(), best: vec![usize::MAX; items] }
    }

    pub(in super::super) fn add(&mut self, list: &[u32]) {
        for (rank, item) in list.iter().enumerate() {
            let best = &mut self.best[*item as usize];
            *best = rank.min(*best);
        }
    }

    /// For each k the share of `known` items that are among the first k of some list.
    #[allow(clippy::cast_precision_loss)]
    pub(in super::super) fn shares(&self, known: usize) -> Vec<f64> {
        let within = |k: &usize| self.best.iter().filter(|best| *best < k).count();
        self.ks.iter().map(|k| within(k) as f64 / known.max(1) as f64).collect()
    }
}

#[cfg(test)]
#[test]
fn an_item_is_covered_by_one_list() {
    let mut coverage = Coverage::new(&[1, 2, 3], 10);
    coverage.add(&[4, 7, 5]);
    coverage.add(&[4, 5]);
    assert_eq!(coverage.shares(8), [1.0 / 8.0, 3.0 / 8.0, 3.0 / 8.0]);
}
