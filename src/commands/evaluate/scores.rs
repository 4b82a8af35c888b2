//! What becomes of a list once it is known what its user did: the figures of one system.

use super::bootstrap::Tally;
use super::list_metrics::{Catalogue, Coverage, LIST_METRICS};
use super::metrics::{Hits, METRICS};
use super::training_stats::TrainingStats;

/// Items relevant, told apart by what was known of them and of their user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemGroup {
    /// All that the user had not touched before.
    New,
    /// Of them, known items relevant by known users: what a system can know something of.
    Warm,
    /// Of the new ones, those of users without any event before.
    ColdUsers,
    /// Of the new ones, items that nobody had touched before.
    ColdItems,
    /// What the user had touched before: nobody recommends it, so it counts apart.
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

    fn holds(self, user: u32, item: u32, known: &TrainingStats) -> bool {
        let repeat = known.touched(user, item);
        match self {
            ItemGroup::New => !repeat,
            ItemGroup::Warm => !repeat && known.user(user) && known.item(item),
            ItemGroup::ColdUsers => !repeat && !known.user(user),
            ItemGroup::ColdItems => !repeat && !known.item(item),
            ItemGroup::Repeats => repeat,
        }
    }
}

/// Judges the lists of one system.
pub(super) struct SystemScores {
    ks: Vec<usize>,
    /// Of each group every metric at every k.
    pub(super) groups: Vec<Tally>,
    /// Whether there was a list at all, then every shape at every k.
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

    /// A user had this list and took these items, each once. `sampled`: also what takes long is measured of it.
    pub(super) fn scores(
        &mut self,
        user: u32,
        list: &[u32],
        relevant: &[u32],
        known: &TrainingStats,
        catalogue: &Catalogue,
        sampled: bool,
    ) {
        let SystemScores { ks, groups, lists, coverage } = self;
        for (group, tally) in ITEM_GROUPS.iter().zip(groups) {
            let relevant: Vec<u32> = relevant.iter().copied().filter(|item| group.holds(user, *item, known)).collect();
            if !relevant.is_empty() {
                let hits = Hits::of(list, &relevant);
                let values = METRICS.iter().flat_map(|metric| ks.iter().map(|k| Some(metric.value(&hits, *k))));
                tally.add(user, values);
            }
        }
        let shapes = LIST_METRICS.iter().flat_map(|shape| {
            let measured = sampled || !shape.is_slow();
            let value = move |k: &usize| shape.value(&list[..list.len().min(*k)], catalogue);
            ks.iter().map(move |k| if measured { value(k) } else { None })
        });
        let answered = f64::from(u8::from(!list.is_empty()));
        lists.add(user, [Some(answered)].into_iter().chain(shapes));
        coverage.add(list);
    }
}
