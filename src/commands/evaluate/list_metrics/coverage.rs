/// Share of the catalogue that is in any list. It has no interval, because a resample of users always covers fewer items.
pub(in super::super) struct Coverage {
    ks: Vec<usize>,
    /// Best rank (from 0) in any list, by item.
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

    /// For each k the number of items among the first k of any list, divided by `catalogue`.
    #[allow(clippy::cast_precision_loss)]
    pub(in super::super) fn shares(&self, catalogue: usize) -> Vec<f64> {
        let within = |k: &usize| self.best.iter().filter(|best| *best < k).count();
        self.ks.iter().map(|k| within(k) as f64 / catalogue.max(1) as f64).collect()
    }
}

#[cfg(test)]
#[test]
fn counts_an_item_once() {
    let mut coverage = Coverage::new(&[1, 2, 3], 10);
    coverage.add(&[4, 7, 5]);
    coverage.add(&[4, 5]);
    assert_eq!(coverage.shares(8), [1.0 / 8.0, 3.0 / 8.0, 3.0 / 8.0]);
}
