use schema::{IdMap, shrink_if_sparse};

use crate::operators::{ReplicatedRows, replicate_rows};
use crate::{Collection, Config, Diff, ItemId, Level, Subscription, UserId};

/// Histories by user, for their subscribers. Stores the histories of all users: 9 bytes an interaction.
pub fn histories<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    subscriptions: Collection<'scope, Subscription>,
    config: &Config,
) -> Collection<'scope, (Subscription, (ItemId, Level))> {
    let split = |(user, interaction): &(UserId, (ItemId, Level))| (*user, *interaction);
    replicate_rows("Histories", history, split, subscriptions, Histories::default(), config.slice)
}

/// Items and levels of a user, parallel, in no order.
#[derive(Default)]
struct History {
    items: Vec<ItemId>,
    levels: Vec<Level>,
}

#[derive(Default)]
struct Histories {
    users: IdMap<History>,
    /// Scratch space: the level changes of one user.
    changes: Vec<(ItemId, Diff)>,
}

impl ReplicatedRows for Histories {
    type Update = (ItemId, Level);
    type Value = (ItemId, Level);

    fn apply(
        &mut self,
        user: UserId,
        updates: &[(u64, (ItemId, Level), Diff)],
        emit: &mut impl FnMut((ItemId, Level), Diff),
    ) {
        self.changes.clear();
        self.changes.extend(updates.iter().map(|(_, (item, level), diff)| (*item, Diff::from(*level) * diff)));
        differential_dataflow::consolidation::consolidate(&mut self.changes);
        let history = self.users.entry(user).or_default();
        for (item, diff) in &self.changes {
            let at = history.items.iter().position(|known| known == item);
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
                    emit((*item, level), diff);
                }
            }
        }
        if history.items.is_empty() {
            self.users.remove(&user);
            shrink_if_sparse(&mut self.users);
        }
    }

    fn emit_row(&self, user: UserId, emit: &mut impl FnMut((ItemId, Level))) {
        let Some(history) = self.users.get(&user) else { return };
        history.items.iter().copied().zip(history.levels.iter().copied()).for_each(emit);
    }
}
