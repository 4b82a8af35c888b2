//! Scores of one system: accuracy of its lists against the relevant items, and other properties of the lists.

use super::bootstrap::Tally;
use super::list_metrics::{Catalogue, Coverage, LIST_METRICS};
use super::metrics::{Hits, METRICS};
use super::training_stats::TrainingStats;

/// Group of relevant items, by what the training events have of the item and its user.
pub(super) struct ItemGroup {
    /// Name in JSON.
    pub(super) name: &'static str,
    /// Name in tables.
    pub(super) title: &'static str,
    contains: fn(u32, u32, &TrainingStats) -> bool,
}

/// All groups, in the order of the report.
static ITEM_GROUPS: [ItemGroup; 6] = [
    ItemGroup { name: "all", title: "all", contains: |_, _, _| true },
    ItemGroup { name: "new", title: "new", contains: is_new },
    ItemGroup { name: "warm", title: "new, user and item known", contains: is_warm },
    ItemGroup {
        name: "cold_users",
        title: "new, user unknown",
        contains: |user, item, training| is_new(user, item, training) && !training.has_user(user),
    },
    ItemGroup {
        name: "cold_items",
        title: "new, item unknown",
        contains: |user, item, training| is_new(user, item, training) && !training.has_item(item),
    },
    ItemGroup { name: "repeats", title: "repeats", contains: |user, item, training| !is_new(user, item, training) },
];

/// Groups of relevant items with results: the new items and parts of them, and the repeats. Where repeats are ordinary cases
/// all items come first; otherwise no system can find them, so they are counted separately.
pub(super) fn item_groups(repeats: bool) -> &'static [ItemGroup] {
    if repeats { &ITEM_GROUPS } else { &ITEM_GROUPS[1..] }
}

/// Index of the group of the main results: new items, or all items where repeats are ordinary cases.
pub(super) const MAIN: usize = 0;

/// Whether the user had not touched the item before.
fn is_new(user: u32, item: u32, training: &TrainingStats) -> bool {
    !training.has_interacted(user, item)
}

fn is_warm(user: u32, item: u32, training: &TrainingStats) -> bool {
    is_new(user, item, training) && training.has_user(user) && training.has_item(item)
}

/// Scores of the lists of one system.
pub(super) struct SystemScores {
    ks: Vec<usize>,
    item_groups: &'static [ItemGroup],
    /// Every metric at every k, by group.
    pub(super) groups: Vec<Tally>,
    /// Whether the list was not empty, then every list metric at every k.
    pub(super) lists: Tally,
    pub(super) coverage: Coverage,
}

impl SystemScores {
    pub(super) fn new(ks: &[usize], items: usize, item_groups: &'static [ItemGroup]) -> Self {
        SystemScores {
            ks: ks.to_vec(),
            item_groups,
            groups: item_groups.iter().map(|_| Tally::new(METRICS.len() * ks.len())).collect(),
            lists: Tally::new(1 + LIST_METRICS.len() * ks.len()),
            coverage: Coverage::new(ks, items),
        }
    }

    /// Adds the list of a user with the relevant items, each once. `sampled` enables the slow list metrics.
    pub(super) fn add(
        &mut self,
        user: u32,
        list: &[u32],
        relevant: &[u32],
        training: &TrainingStats,
        catalogue: &Catalogue,
        sampled: bool,
    ) {
        let SystemScores { ks, item_groups, groups, lists, coverage } = self;
        for (group, tally) in item_groups.iter().zip(groups) {
            let relevant: Vec<u32> =
                relevant.iter().copied().filter(|item| (group.contains)(user, *item, training)).collect();
            if !relevant.is_empty() {
                let hits = Hits::of(list, &relevant);
                let values = METRICS.iter().flat_map(|metric| ks.iter().map(|k| Some((metric.value)(&hits, *k))));
                tally.add(user, values);
            }
        }
        let properties = LIST_METRICS.iter().flat_map(|metric| {
            let measured = sampled || !metric.is_slow;
            let value = move |k: &usize| (metric.value)(&list[..list.len().min(*k)], catalogue);
            ks.iter().map(move |k| if measured { value(k) } else { None })
        });
        let answered = f64::from(u8::from(!list.is_empty()));
        lists.add(user, [Some(answered)].into_iter().chain(properties));
        coverage.add(list);
    }
}
