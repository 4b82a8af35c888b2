//! Properties of lists beyond accuracy.

mod coverage;

use super::log::LogEvent;

pub(super) use self::coverage::Coverage;

/// Users of each item.
pub(super) struct Catalogue {
    /// Users by item, ascending, without duplicates.
    users: Vec<Vec<u32>>,
    /// Number of users with an event.
    total_users: usize,
    /// Tags by item, as ascending numbers; none without a catalogue.
    tags: Vec<Vec<u32>>,
}

impl Catalogue {
    pub(super) fn new<'e>(items: usize, events: impl Iterator<Item = &'e LogEvent>) -> Self {
        let mut users = vec![Vec::new(); items];
        let mut all = std::collections::HashSet::new();
        for event in events {
            users[event.item as usize].push(event.user);
            all.insert(event.user);
        }
        for users in &mut users {
            users.sort_unstable();
            users.dedup();
            users.shrink_to_fit();
        }
        Catalogue { users, total_users: all.len(), tags: Vec::new() }
    }

    /// With the tags of each item.
    pub(super) fn with_tags(mut self, tags: Vec<Vec<u32>>) -> Self {
        self.tags = tags;
        self
    }

    pub(super) fn has_tags(&self) -> bool {
        !self.tags.is_empty()
    }

    /// Jaccard similarity of the tags of two items; 0 without any.
    #[allow(clippy::cast_precision_loss)]
    fn likeness(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (&self.tags[a as usize], &self.tags[b as usize]);
        let both = a.iter().filter(|tag| b.binary_search(tag).is_ok()).count();
        both as f64 / (a.len() + b.len() - both).max(1) as f64
    }

    /// Share of all users who have touched an item.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn popularity(&self, item: u32) -> f64 {
        self.users[item as usize].len() as f64 / self.total_users.max(1) as f64
    }

    /// Cosine similarity of two items as sets of users.
    #[allow(clippy::cast_precision_loss)]
    fn similarity(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (&self.users[a as usize], &self.users[b as usize]);
        let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
        if few.is_empty() {
            return 0.0;
        }
        let both = few.iter().filter(|user| many.binary_search(user).is_ok()).count();
        both as f64 / (few.len() as f64 * many.len() as f64).sqrt()
    }
}

/// Metric of the first k items of a list, independent of the relevant items, averaged over lists.
pub(super) struct ListMetric {
    pub(super) name: &'static str,
    /// Value for a list; `None` if undefined.
    pub(super) value: fn(&[u32], &Catalogue) -> Option<f64>,
    /// Whether it is so slow that it is measured on a sample of the lists only.
    pub(super) is_slow: bool,
}

/// Name of the metric that exists only with a catalogue.
pub(super) const TAG_DIVERSITY: &str = "tag_diversity";

/// All list metrics, in the order of the report.
pub(super) static LIST_METRICS: [ListMetric; 3] = [
    ListMetric { name: "popularity", value: popularity, is_slow: false },
    ListMetric { name: "diversity", value: diversity, is_slow: true },
    ListMetric { name: TAG_DIVERSITY, value: tag_diversity, is_slow: false },
];

/// Intra-list diversity by the catalogue: one minus the mean Jaccard similarity of the tags of two items of the list,
/// derived tags included. 0: all items have the same tags; 1: no two items share a tag.
#[allow(clippy::cast_precision_loss)]
fn tag_diversity(list: &[u32], catalogue: &Catalogue) -> Option<f64> {
    let pairs = list.iter().enumerate().flat_map(|(at, a)| list[at + 1..].iter().map(move |b| (*a, *b)));
    let count = list.len() * list.len().saturating_sub(1) / 2;
    let is_defined = catalogue.has_tags() && count > 0;
    is_defined.then(|| 1.0 - pairs.map(|(a, b)| catalogue.likeness(a, b)).sum::<f64>() / count as f64)
}

/// Mean popularity of the items of a list: the share of all users who have touched the item.
#[allow(clippy::cast_precision_loss)]
fn popularity(list: &[u32], catalogue: &Catalogue) -> Option<f64> {
    let sum: f64 = list.iter().map(|item| catalogue.popularity(*item)).sum();
    (!list.is_empty()).then(|| sum / list.len() as f64)
}

/// Intra-list diversity: one minus the mean similarity of two items of the list (Smyth and `McClave` 2001). Similarity is the
/// cosine of the sets of users of the items, not of attributes. 0: all items have the same users; 1: no two items share a
/// user.
#[allow(clippy::cast_precision_loss)]
fn diversity(list: &[u32], catalogue: &Catalogue) -> Option<f64> {
    let pairs = list.iter().enumerate().flat_map(|(at, a)| list[at + 1..].iter().map(move |b| (*a, *b)));
    let similar: f64 = pairs.map(|(a, b)| catalogue.similarity(a, b)).sum();
    let count = list.len() * list.len().saturating_sub(1) / 2;
    (count > 0).then(|| 1.0 - similar / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        // x: a, b, c, d; y: a, b; z: c; w: no users.
        let log = super::super::log::tests::log(&[
            ("a", "x", 1),
            ("b", "x", 1),
            ("c", "x", 1),
            ("d", "x", 1),
            ("a", "y", 2),
            ("b", "y", 2),
            ("a", "y", 3),
            ("c", "z", 4),
        ]);
        Catalogue::new(4, log.events.iter())
    }

    #[test]
    fn popularity_is_the_mean_share_of_users() {
        let catalogue = catalogue();
        assert_eq!(popularity(&[0, 1], &catalogue), Some(0.75));
        assert_eq!(popularity(&[2, 3], &catalogue), Some(0.125));
        assert_eq!(popularity(&[], &catalogue), None);
    }

    #[test]
    fn tag_diversity_is_one_minus_the_mean_jaccard_of_pairs() {
        let tagged = catalogue().with_tags(vec![vec![1, 2], vec![1, 2], vec![2, 3], vec![]]);
        assert_eq!(tag_diversity(&[0, 1], &tagged), Some(0.0));
        // 1/3 with each of the first two.
        assert_eq!(tag_diversity(&[0, 1, 2], &tagged), Some(1.0 - (1.0 + 2.0 / 3.0) / 3.0));
        assert_eq!(tag_diversity(&[0, 3], &tagged), Some(1.0));
        assert_eq!(tag_diversity(&[0], &tagged), None);
        assert_eq!(tag_diversity(&[0, 1], &catalogue()), None);
    }

    #[test]
    fn diversity_is_one_minus_the_mean_cosine_of_pairs() {
        let catalogue = catalogue();
        let assert_close = |list: &[u32], expected: f64| {
            let found = diversity(list, &catalogue).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        };
        // x and y: 2 / sqrt(4 * 2); x and z: 1 / sqrt(4); y and z: 0.
        let (xy, xz) = (2.0 / 8_f64.sqrt(), 0.5);
        assert_close(&[0, 1], 1.0 - xy);
        assert_close(&[0, 1, 2], 1.0 - (xy + xz) / 3.0);
        assert_close(&[0, 3], 1.0);
        assert_eq!(diversity(&[0], &catalogue), None);
    }
}
