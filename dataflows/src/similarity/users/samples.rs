use std::collections::BTreeMap;

use schema::{IdMap, shrink_if_sparse};
use serde::{Deserialize, Serialize};

use crate::operators::{ReplicatedRows, replicate_rows};
use crate::{Collection, Config, Diff, ItemId, Level, Subscription, UserId};

/// A user in the sample of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Id of the sampled user.
    pub user: UserId,
    /// Level of the user for the item.
    pub level: Level,
}

/// The sample of the users who have an item, for the subscribers of the item.
///
/// Stores all users of an item in sampling order: about 15 bytes an interaction. Cost of an interaction: a search among the
/// users of the item, and a pass over the sample if it changes.
pub fn samples<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    subscriptions: Collection<'scope, Subscription>,
    config: &Config,
) -> Collection<'scope, (Subscription, Member)> {
    let samples = Samples { sample: config.sample, ..Samples::default() };
    let split = |(user, (item, level)): &(UserId, (ItemId, Level))| (*item, (*user, *level));
    replicate_rows("Samples", history, split, subscriptions, samples, config.slice)
}

/// Sampling order of the users of an item: `id64(user) xor id64(item)`.
type Order = u64;

/// The users who have an item.
#[derive(Default)]
struct ItemUsers {
    levels: BTreeMap<Order, Level>,
    /// Last user of the sample if there are more users. Users behind it do not affect the sample.
    last: Option<Order>,
}

#[derive(Default)]
struct Samples {
    sample: usize,
    items: IdMap<ItemUsers>,
    /// Scratch space: the level changes of one item.
    changes: Vec<(Order, Diff)>,
    /// Scratch space: the sample of one item before the tick.
    before: Vec<(Order, Level)>,
}

impl ReplicatedRows for Samples {
    type Update = (UserId, Level);
    type Value = Member;

    fn apply(&mut self, item: ItemId, updates: &[(u64, (UserId, Level), Diff)], emit: &mut impl FnMut(Member, Diff)) {
        self.changes.clear();
        self.changes.extend(updates.iter().map(|(_, (user, level), diff)| (user ^ item, Diff::from(*level) * diff)));
        differential_dataflow::consolidation::consolidate(&mut self.changes);
        if self.changes.is_empty() {
            return;
        }
        let users = self.items.entry(item).or_default();
        let is_affected = self.changes.iter().any(|(order, _)| users.last.is_none_or(|last| *order <= last));
        self.before.clear();
        if is_affected {
            self.before.extend(users.sampled(self.sample));
        }
        self.changes.iter().for_each(|(order, diff)| users.adjust(*order, *diff));
        if is_affected {
            let member = |(order, level): (Order, Level)| Member { user: order ^ item, level };
            let mut before = self.before.iter().copied().peekable();
            let (mut last, mut count) = (None, 0);
            for now in users.sampled(self.sample) {
                (last, count) = (Some(now.0), count + 1);
                while let Some(removed) = before.next_if(|before| before.0 < now.0) {
                    emit(member(removed), -1);
                }
                let was = before.next_if(|before| before.0 == now.0);
                if was != Some(now) {
                    if let Some(was) = was {
                        emit(member(was), -1);
                    }
                    emit(member(now), 1);
                }
            }
            before.for_each(|removed| emit(member(removed), -1));
            users.last = last.filter(|_| users.levels.len() > count);
        }
        if users.levels.is_empty() {
            self.items.remove(&item);
            shrink_if_sparse(&mut self.items);
        }
    }

    fn emit_row(&self, item: ItemId, emit: &mut impl FnMut(Member)) {
        let Some(users) = self.items.get(&item) else { return };
        users.sampled(self.sample).for_each(|(order, level)| emit(Member { user: order ^ item, level }));
    }
}

impl ItemUsers {
    fn sampled(&self, sample: usize) -> impl Iterator<Item = (Order, Level)> {
        self.levels.iter().map(|(order, level)| (*order, *level)).take(sample)
    }

    fn adjust(&mut self, order: Order, diff: Diff) {
        let level = self.levels.get(&order).copied().unwrap_or(0);
        let level = Level::try_from(Diff::from(level) + diff).expect("a level is 0 to 15");
        if level > 0 {
            self.levels.insert(order, level);
        } else {
            self.levels.remove(&order);
        }
    }
}
