//! Scores of one system: accuracy of its lists against the relevant items, and other properties of the lists.

use super::bootstrap::Tally;
use super::list_metrics::{Catalogue, Coverage, LIST_METRICS};
use super::metrics::{Hits, METRICS};
use super::training_stats::TrainingStats;

/// Group of relevant items, by what the training events have of the item and its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemGroup {
    /// Items that the user had not touched before.
    New,
    /// New items, where user and item have earlier events.
    Warm,
    /// New items of users without earlier events.
    ColdUsers,
    /// New items without earlier events.
    ColdItems,
    /// Items that the user had touched before. They are never recommended, so they are counted separately.
    Repeats,
}

pub(super) const ITEM_GROUPS: [ItemGroup; 5] =
    [ItemGroup::New, ItemGroup::Warm, ItemGroup::ColdUsers, ItemGroup::ColdItems, ItemGroup::Repeats];

impl ItemGroup {
    pub(super) fn name(self) -> &'static str {
        match self {
            ItemGroup::New => "new",
            ItemGroup::Warm => "warm",
            ItemGroup::ColdUsers => "cold_users",
            ItemGroup::ColdItems => "cold_items",
            ItemGroup::Repeats => "repeats",
        }
    }

    fn contains(self, user: u32, item: u32, training: &TrainingStats) -> bool {
        let repeat = training.has_interacted(user, item);
        match self {
            ItemGroup::New => !repeat,
            ItemGroup::Warm => !repeat && training.has_user(user) && training.has_item(item),
            ItemGroup::ColdUsers => !repeat && !training.has_user(user),
            ItemGroup::ColdItems => !repeat && !training.has_item(item),
            ItemGroup::Repeats => repeat,
        }
    }
}

/// Scores of the lists of one system.
pub(super) struct SystemScores {
    ks: Vec<usize>,
    /// Every metric at every k, by group.
    pub(super) groups: Vec<Tally>,
    /// Whether the list was not empty, then every list metric at every k.
    pub(super) lists: Tally,
    pub(super) coverage: Coverage,
}

impl SystemScores {
    pub(super) fn new(ks: &[usize], items: usize) -> Self {
        SystemScores {
            ks: ks.to_vec(),
            groups: ITEM_GROUPS.iter().map(|_| Tally::new(METRICS.len() * ks.len())).collect(),
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
        let SystemScores { ks, groups, lists, coverage } = self;
        for (group, tally) in ITEM_GROUPS.iter().zip(groups) {
            let relevant: Vec<u32> =
                relevant.iter().copied().filter(|item| group.contains(user, *item, training)).collect();
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
