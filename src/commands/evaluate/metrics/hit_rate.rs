use super::{Hits, Metric};

/// 1 if a relevant item is among the first k.
pub(super) struct HitRate;

impl Metric for HitRate {
    fn name(&self) -> &'static str {
        "hit_rate"
    }

    fn value(&self, hits: &Hits, k: usize) -> f64 {
        f64::from(u8::from(hits.within(k).next().is_some()))
    }
}

#[cfg(test)]
#[test]
fn any_hit_is_one() {
    super::assert_values(&HitRate, &[12], &[(1, 0.0), (2, 0.0), (3, 1.0), (5, 1.0)]);
    super::assert_values(&HitRate, &[14, 11, 99], &[(1, 0.0), (2, 1.0), (5, 1.0)]);
    super::assert_values(&HitRate, &[99], &[(5, 0.0)]);
}
