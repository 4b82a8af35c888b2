use super::{Catalogue, ListMetric};

/// Intra-list diversity: one minus the mean similarity of two items of the list (Smyth and `McClave` 2001). Similarity is the
/// cosine of the sets of users of the items, not of attributes. 0: all items have the same users; 1: no two items share a
/// user.
pub(super) struct Diversity;

impl ListMetric for Diversity {
    fn name(&self) -> &'static str {
        "diversity"
    }

    #[allow(clippy::cast_precision_loss)]
    fn value(&self, list: &[u32], catalogue: &Catalogue) -> Option<f64> {
        let pairs = list.iter().enumerate().flat_map(|(at, a)| list[at + 1..].iter().map(move |b| (*a, *b)));
        let similar: f64 = pairs.map(|(a, b)| catalogue.similarity(a, b)).sum();
        let count = list.len() * list.len().saturating_sub(1) / 2;
        (count > 0).then(|| 1.0 - similar / count as f64)
    }

    fn is_slow(&self) -> bool {
        true
    }
}

#[cfg(test)]
#[test]
fn one_minus_the_mean_cosine_of_pairs() {
    let catalogue = super::catalogue();
    let assert_close = |list: &[u32], expected: f64| {
        let found = Diversity.value(list, &catalogue).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    };
    // x and y: 2 / sqrt(4 * 2); x and z: 1 / sqrt(4); y and z: 0.
    let (xy, xz) = (2.0 / 8_f64.sqrt(), 0.5);
    assert_close(&[0, 1], 1.0 - xy);
    assert_close(&[0, 1, 2], 1.0 - (xy + xz) / 3.0);
    assert_close(&[0, 3], 1.0);
    assert_eq!(Diversity.value(&[0], &catalogue), None);
}
