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
    /// Rarity `f` of the item, 1 to 32: the weight of the item in the similarity of users.
    pub rarity: u8,
}

/// The sample of the users who have an item, for the subscribers of the item; and every user with its activity as
/// multiplicity.
///
/// Stores all users of an item in sampling order: about 15 bytes an interaction. Cost of an interaction: a search among the
/// users of the item, and a pass over the sample if it changes. When the popularity of an item doubles or halves, its
/// rarity changes, and with it the activity of all its users; this is sliced.
pub fn samples<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    subscriptions: Collection<'scope, Subscription>,
    config: &Config,
) -> (Collection<'scope, (Subscription, Member)>, Collection<'scope, UserId>) {
    let samples = Samples { sample: config.sample, ..Samples::default() };
    let split = |(user, (item, level)): &(UserId, (ItemId, Level))| (*item, (*user, *level));
    replicate_rows("Samples", history, split, subscriptions, samples, config.slice)
}

/// `f = max(1, 32 - floor(log2(N)))`.
fn rarity(popularity: u64) -> u8 {
    32_u32.saturating_sub(popularity.max(1).ilog2()).max(1) as u8
}

/// Sampling order of the users of an item: `id64(user) xor id64(item)`.
type Order = u64;

/// The users who have an item.
#[derive(Default)]
struct ItemUsers {
    levels: BTreeMap<Order, Level>,
    popularity: u64,
    /// Last user of the sample if there are more users. Users behind it do not affect the sample.
    last: Option<Order>,
}

#[derive(Default)]
struct Samples {
    sample: usize,
    items: IdMap<ItemUsers>,
    /// Item with a changed rarity, the change, and the next user whose activity is to be updated.
    crossing: Option<(ItemId, Diff, Order)>,
    /// Scratch space: the level changes of one item.
    changes: Vec<(Order, Diff)>,
    /// Scratch space: the sample of one item before the tick.
    before: Vec<(Order, Level)>,
    /// Activity updates that follow from the last applied updates.
    activity_updates: Vec<(UserId, Diff)>,
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
        let old_popularity = users.popularity;
        let diff: Diff = self.changes.iter().map(|(_, diff)| diff).sum();
        let popularity = old_popularity
            .checked_add_signed(diff as i64)
            .expect("a popularity is a sum over users, each retracted at most once");
        users.popularity = popularity;
        // A new item was not emitted before and an emptied one is not emitted now, so their rarity does not change.
        let new = rarity(if popularity > 0 { popularity } else { old_popularity });
        let old = if old_popularity > 0 { rarity(old_popularity) } else { new };
        let reaches = self.changes.iter().any(|(order, _)| users.last.is_none_or(|last| *order <= last));
        let emits = reaches || old != new;
        self.before.clear();
        if emits {
            self.before.extend(users.sampled(self.sample));
        }

        for (order, diff) in &self.changes {
            users.adjust(*order, *diff);
            self.activity_updates.push((order ^ item, diff * Diff::from(old)));
        }
        if old != new {
            self.crossing = Some((item, Diff::from(new) - Diff::from(old), 0));
        }
        if emits {
            let member = |(order, level): (Order, Level), rarity| Member { user: order ^ item, level, rarity };
            let mut before = self.before.iter().copied().peekable();
            let (mut last, mut count) = (None, 0);
            for now in users.sampled(self.sample) {
                (last, count) = (Some(now.0), count + 1);
                while let Some(removed) = before.next_if(|before| before.0 < now.0) {
                    emit(member(removed, old), -1);
                }
                let was = before.next_if(|before| before.0 == now.0);
                if was != Some(now) || old != new {
                    if let Some(was) = was {
                        emit(member(was, old), -1);
                    }
                    emit(member(now, new), 1);
                }
            }
            before.for_each(|removed| emit(member(removed, old), -1));
            users.last = last.filter(|_| users.levels.len() > count);
        }
        if users.levels.is_empty() {
            self.items.remove(&item);
            shrink_if_sparse(&mut self.items);
        }
    }

    fn emit_row(&self, item: ItemId, emit: &mut impl FnMut(Member)) {
        let Some(users) = self.items.get(&item) else { return };
        let rarity = rarity(users.popularity);
        users.sampled(self.sample).for_each(|(order, level)| emit(Member { user: order ^ item, level, rarity }));
    }

    fn advance(&mut self, fuel: &mut usize, emit: &mut impl FnMut(UserId, Diff)) -> bool {
        self.activity_updates.drain(..).for_each(|(user, diff)| emit(user, diff));
        let Some((item, diff, next)) = self.crossing.take() else { return true };
        let Some(users) = self.items.get(&item) else { return true };
        for (order, level) in users.levels.range(next..) {
            if *fuel == 0 {
                self.crossing = Some((item, diff, *order));
                return false;
            }
            *fuel -= 1;
            emit(order ^ item, Diff::from(*level) * diff);
        }
        true
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
