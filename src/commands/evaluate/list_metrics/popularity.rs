use super::{Catalogue, ListMetric};

/// Mean popularity of the items of a list: the share of all users who have touched the item.
pub(super) struct Popularity;

impl ListMetric for Popularity {
    fn name(&self) -> &'static str {
        "popularity"
    }

    #[allow(clippy::cast_precision_loss)]
    fn value(&self, list: &[u32], catalogue: &Catalogue) -> Option<f64> {
        let sum: f64 = list.iter().map(|item| catalogue.popularity(*item)).sum();
        (!list.is_empty()).then(|| sum / list.len() as f64)
    }
}

#[cfg(test)]
#[test]
fn is_the_mean_share_of_users() {
    let catalogue = super::catalogue();
    assert_eq!(Popularity.value(&[0, 1], &catalogue), Some(0.75));
    assert_eq!(Popularity.value(&[2, 3], &catalogue), Some(0.125));
    assert_eq!(Popularity.value(&[], &catalogue), None);
}
