use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::operator::{IdMap, shrink_if_sparse};
use crate::subscriptions::{Rows, wanted};
use crate::{Collection, Config, Diff, ItemId, Level, Subscription, UserId};

/// A user in the sample of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Of the user for the item.
    pub level: Level,
    /// How much the item says, `f`: 1 to 32.
    pub rarity: u8,
}

/// Of each wanted item the sample of those who have it; and every user as often as its activity is.
///
/// Keeps all who have an item, in the order in which they would be sampled: some 15 bytes for each interaction. Cost of an
/// interaction: a search among those who have the item, and if it reaches the sample a pass over that. When an item's
/// rarity changes, as its popularity doubles or halves, the activity of all who have it does; in slices.
pub fn samples<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    interest: Collection<'scope, Subscription>,
    config: &Config,
) -> (Collection<'scope, (Subscription, Member)>, Collection<'scope, UserId>) {
    let samples = Samples { sample: config.sample, ..Samples::default() };
    wanted("Samples", history, |(user, (item, level))| (*item, (*user, *level)), interest, samples, config.slice)
}

/// `f = max(1, 32 - floor(log2(N)))`.
fn rarity(popularity: u64) -> u8 {
    32_u32.saturating_sub(popularity.max(1).ilog2()).max(1) as u8
}

/// Users by the order in which an item samples them: `id64(user) xor id64(item)`.
type Order = u64;

/// Those who have an item.
#[derive(Default)]
struct Holders {
    levels: BTreeMap<Order, Level>,
    popularity: u64,
    /// The last of the sample, if there are others: who comes after it does not matter.
    last: Option<Order>,
}

#[derive(Default)]
struct Samples {
    sample: usize,
    items: IdMap<Holders>,
    /// An item whose rarity changed by so much, and who is the next to hear of it.
    crossing: Option<(ItemId, Diff, Order)>,
    /// Room for an item's moves, and for its sample before.
    moved: Vec<(Order, Diff)>,
    before: Vec<(Order, Level)>,
    /// What the updates applied last mean for activity.
    active: Vec<(UserId, Diff)>,
}

impl Rows for Samples {
    type Update = (UserId, Level);
    type Value = Member;

    fn apply(&mut self, item: ItemId, updates: &[(u64, (UserId, Level), Diff)], tell: &mut impl FnMut(Member, Diff)) {
        self.moved.clear();
        self.moved.extend(updates.iter().map(|(_, (user, level), diff)| (user ^ item, Diff::from(*level) * diff)));
        differential_dataflow::consolidation::consolidate(&mut self.moved);
        if self.moved.is_empty() {
            return;
        }
        let holders = self.items.entry(item).or_default();
        let old_popularity = holders.popularity;
        let diff: Diff = self.moved.iter().map(|(_, diff)| diff).sum();
        let popularity =
            old_popularity.checked_add_signed(diff as i64).expect("a popularity is a sum, none taken back twice");
        holders.popularity = popularity;
        // Nothing is told, and nobody has a weight, from before there was the item or after.
        let new = rarity(if popularity > 0 { popularity } else { old_popularity });
        let old = if old_popularity > 0 { rarity(old_popularity) } else { new };
        let reaches = self.moved.iter().any(|(order, _)| holders.last.is_none_or(|last| *order <= last));
        let retold = reaches || old != new;
        self.before.clear();
        if retold {
            self.before.extend(holders.sampled(self.sample));
        }

        for (order, diff) in &self.moved {
            holders.adjust(*order, *diff);
            self.active.push((order ^ item, diff * Diff::from(old)));
        }
        if old != new {
            self.crossing = Some((item, Diff::from(new) - Diff::from(old), 0));
        }
        if retold {
            let member = |(order, level): (Order, Level), rarity| Member { user: order ^ item, level, rarity };
            let mut before = self.before.iter().copied().peekable();
            let (mut last, mut count) = (None, 0);
            for now in holders.sampled(self.sample) {
                (last, count) = (Some(now.0), count + 1);
                while let Some(gone) = before.next_if(|before| before.0 < now.0) {
                    tell(member(gone, old), -1);
                }
                let was = before.next_if(|before| before.0 == now.0);
                if was != Some(now) || old != new {
                    if let Some(was) = was {
                        tell(member(was, old), -1);
                    }
                    tell(member(now, new), 1);
                }
            }
            before.for_each(|gone| tell(member(gone, old), -1));
            holders.last = last.filter(|_| holders.levels.len() > count);
        }
        if holders.levels.is_empty() {
            self.items.remove(&item);
            shrink_if_sparse(&mut self.items);
        }
    }

    fn tell(&self, item: ItemId, tell: &mut impl FnMut(Member)) {
        let Some(holders) = self.items.get(&item) else { return };
        let rarity = rarity(holders.popularity);
        holders.sampled(self.sample).for_each(|(order, level)| tell(Member { user: order ^ item, level, rarity }));
    }

    fn proceed(&mut self, fuel: &mut usize, aside: &mut impl FnMut(UserId, Diff)) -> bool {
        self.active.drain(..).for_each(|(user, diff)| aside(user, diff));
        let Some((item, diff, next)) = self.crossing.take() else { return true };
        let Some(holders) = self.items.get(&item) else { return true };
        for (order, level) in holders.levels.range(next..) {
            if *fuel == 0 {
                self.crossing = Some((item, diff, *order));
                return false;
            }
            *fuel -= 1;
            aside(order ^ item, Diff::from(*level) * diff);
        }
        true
    }
}

impl Holders {
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
