//! What lists are like, whether they are right or not: each measure in a file of its own.

mod coverage;
mod diversity;
mod popularity;

use super::log::LogEvent;

pub(super) use self::coverage::Coverage;
use self::diversity::Diversity;
use self::popularity::Popularity;

/// Who has touched which item.
pub(super) struct Catalogue {
    /// Different users of each item, rising.
    users: Vec<Vec<u32>>,
    /// All users with an event.
    audience: usize,
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
        Catalogue { users, audience: all.len() }
    }

    /// The share of all users who have touched an item.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn popularity(&self, item: u32) -> f64 {
        self.users[item as usize].len() as f64 / self.audience.max(1) as f64
    }

    /// Cosine of two items as sets of users.
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

/// A measure of the first k items of a list by themselves; nothing where it has no meaning. Averaged over lists.
pub(super) trait ListMetric: Sync {
    fn name(&self) -> &'static str;
    fn value(&self, list: &[u32], catalogue: &Catalogue) -> Option<f64>;
    /// Whether it takes so long that a sample of the lists must do.
    fn is_slow(&self) -> bool {
        false
    }
}

/// In the order in which they are told.
pub(super) static LIST_METRICS: [&dyn ListMetric; 2] = [&Popularity, &Diversity];

#[cfg(test)]
fn catalogue() -> Catalogue {
    // x: a, b, c, d; y: a, b; z: c; w: nobody.
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
