use crate::operator::{IdMap, shrink_if_sparse};
use crate::subscriptions::{Rows, wanted};
use crate::{Collection, Config, Diff, ItemId, Level, Subscription, UserId};

/// The histories of wanted users. Keeps everybody's: 9 bytes for each interaction.
pub fn histories<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    interest: Collection<'scope, Subscription>,
    config: &Config,
) -> Collection<'scope, (Subscription, (ItemId, Level))> {
    wanted("Histories", history, |(user, of)| (*user, *of), interest, Histories::default(), config.slice).0
}

/// What a user has, in parallel, in no order.
#[derive(Default)]
struct History {
    items: Vec<ItemId>,
    levels: Vec<Level>,
}

#[derive(Default)]
struct Histories {
    users: IdMap<History>,
    /// Room for a user's moves.
    moved: Vec<(ItemId, Diff)>,
}

impl Rows for Histories {
    type Update = (ItemId, Level);
    type Value = (ItemId, Level);

    fn apply(
        &mut self,
        user: UserId,
        updates: &[(u64, (ItemId, Level), Diff)],
        tell: &mut impl FnMut((ItemId, Level), Diff),
    ) {
        self.moved.clear();
        self.moved.extend(updates.iter().map(|(_, (item, level), diff)| (*item, Diff::from(*level) * diff)));
        differential_dataflow::consolidation::consolidate(&mut self.moved);
        let history = self.users.entry(user).or_default();
        for (item, diff) in &self.moved {
            let at = history.items.iter().position(|held| held == item);
            let old = at.map_or(0, |at| history.levels[at]);
            let new = Level::try_from(Diff::from(old) + diff).expect("a level is 0 to 15");
            match at {
                None => {
                    history.items.push(*item);
                    history.levels.push(new);
                }
                Some(at) if new == 0 => {
                    history.items.swap_remove(at);
                    history.levels.swap_remove(at);
                }
                Some(at) => history.levels[at] = new,
            }
            for (level, diff) in [(old, -1), (new, 1)] {
                if level > 0 {
                    tell((*item, level), diff);
                }
            }
        }
        if history.items.is_empty() {
            self.users.remove(&user);
            shrink_if_sparse(&mut self.users);
        }
    }

    fn tell(&self, user: UserId, tell: &mut impl FnMut((ItemId, Level))) {
        let Some(history) = self.users.get(&user) else { return };
        history.items.iter().copied().zip(history.levels.iter().copied()).for_each(tell);
    }
}
