//! What becomes of a list once it is known what its user did: the figures of one system.

use super::bootstrap::Tally;
use super::known::TrainingStats;
use super::metrics::{Hits, METRICS};
use super::shapes::{Catalogue, Coverage, SHAPES};

/// Items taken, told apart by what was known of them and of their user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// All that the user had not touched before.
    New,
    /// Of them, known items taken by known users: what a system can know something of.
    Warm,
    /// Of the new ones, those of users without any event before.
    ColdUsers,
    /// Of the new ones, items that nobody had touched before.
    ColdItems,
    /// What the user had touched before: nobody recommends it, so it counts apart.
    Repeats,
}

pub(super) const GROUPS: [Group; 5] = [Group::New, Group::Warm, Group::ColdUsers, Group::ColdItems, Group::Repeats];

impl Group {
    pub(super) fn name(self) -> &'static str {
        match self {
            Group::New => "new",
            Group::Warm => "warm",
            Group::ColdUsers => "cold_users",
            Group::ColdItems => "cold_items",
            Group::Repeats => "repeats",
        }
    }

    fn holds(self, user: u32, item: u32, known: &TrainingStats) -> bool {
        let repeat = known.touched(user, item);
        match self {
            Group::New => !repeat,
            Group::Warm => !repeat && known.user(user) && known.item(item),
            Group::ColdUsers => !repeat && !known.user(user),
            Group::ColdItems => !repeat && !known.item(item),
            Group::Repeats => repeat,
        }
    }
}

/// Judges the lists of one system.
pub(super) struct Judge {
    ks: Vec<usize>,
    /// Of each group every metric at every k.
    pub(super) groups: Vec<Tally>,
    /// Whether there was a list at all, then every shape at every k.
    pub(super) lists: Tally,
    pub(super) coverage: Coverage,
}

impl Judge {
    pub(super) fn new(ks: &[usize], items: usize) -> Self {
        Judge {
            ks: ks.to_vec(),
            groups: GROUPS.iter().map(|_| Tally::new(METRICS.len() * ks.len())).collect(),
            lists: Tally::new(1 + SHAPES.len() * ks.len()),
            coverage: Coverage::new(ks, items),
        }
    }

    /// A user had this list and took these items, each once. `sampled`: also what takes long is measured of it.
    pub(super) fn judge(
        &mut self,
        user: u32,
        list: &[u32],
        taken: &[u32],
        known: &TrainingStats,
        catalogue: &Catalogue,
        sampled: bool,
    ) {
        let Judge { ks, groups, lists, coverage } = self;
        for (group, tally) in GROUPS.iter().zip(groups) {
            let taken: Vec<u32> = taken.iter().copied().filter(|item| group.holds(user, *item, known)).collect();
            if !taken.is_empty() {
                let hits = Hits::of(list, &taken);
                let values = METRICS.iter().flat_map(|metric| ks.iter().map(|k| Some(metric.value(&hits, *k))));
                tally.add(user, values);
            }
        }
        let shapes = SHAPES.iter().flat_map(|shape| {
            let measured = sampled || !shape.is_slow();
            let value = move |k: &usize| shape.value(&list[..list.len().min(*k)], catalogue);
            ks.iter().map(move |k| if measured { value(k) } else { None })
        });
        let answered = f64::from(u8::from(!list.is_empty()));
        lists.add(user, [Some(answered)].into_iter().chain(shapes));
        coverage.add(list);
    }
}
