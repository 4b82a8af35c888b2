//! Properties of lists beyond accuracy, one file each.

mod coverage;
mod diversity;
mod popularity;

use super::log::LogEvent;

pub(super) use self::coverage::Coverage;
use self::diversity::Diversity;
use self::popularity::Popularity;

/// Users of each item.
pub(super) struct Catalogue {
    /// Users by item, ascending, without duplicates.
    users: Vec<Vec<u32>>,
    /// Number of users with an event.
    total_users: usize,
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
        Catalogue { users, total_users: all.len() }
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

/// Metric of the first k items of a list, independent of the relevant items; `None` if undefined. Averaged over lists.
pub(super) trait ListMetric: Sync {
    fn name(&self) -> &'static str;
    fn value(&self, list: &[u32], catalogue: &Catalogue) -> Option<f64>;
    /// Whether it is so slow that it is measured on a sample of the lists only.
    fn is_slow(&self) -> bool {
        false
    }
}

/// All list metrics, in the order of the report.
pub(super) static LIST_METRICS: [&dyn ListMetric; 2] = [&Popularity, &Diversity];

#[cfg(test)]
fn catalogue() -> Catalogue {
    // x: a, b, c, d; y: a, b; z: c; w: no users.
    let log = super::log::tests::log(&[
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
