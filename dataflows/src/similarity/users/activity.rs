use schema::{IdMap, shrink_if_sparse};

use crate::operators::{ReplicatedRows, replicate_rows};
use crate::{Collection, Config, Diff, ItemId, Level, Logarithm, Subscription, UserId};

/// The fine logarithm of each user's activity, for its subscribers: a row with one entry. The activity is the sum of the
/// levels of the history, times the highest stair.
pub fn activity<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    subscriptions: Collection<'scope, Subscription>,
    config: &Config,
) -> Collection<'scope, (Subscription, u32)> {
    let activities = Activities {
        levels: IdMap::default(),
        highest_stair: config.stair(0).into(),
        logarithm: Logarithm::new(config.user_resolution),
    };
    let split = |(user, (_, level)): &(UserId, (ItemId, Level))| (*user, *level);
    replicate_rows("Activity", history, split, subscriptions, activities, config.slice)
}

struct Activities {
    /// Sum of levels by user, above 0.
    levels: IdMap<u32>,
    highest_stair: u64,
    logarithm: Logarithm,
}

impl Activities {
    /// The fine logarithm for a sum of levels; `None` without a history.
    fn fine(&self, levels: u32) -> Option<u32> {
        (levels > 0).then(|| self.logarithm.fine(self.highest_stair * u64::from(levels)))
    }
}

impl ReplicatedRows for Activities {
    type Update = Level;
    type Value = u32;

    fn apply(&mut self, user: UserId, updates: &[(u64, Level, Diff)], emit: &mut impl FnMut(u32, Diff)) {
        let diff: Diff = updates.iter().map(|(_, level, diff)| Diff::from(*level) * diff).sum();
        let sum = self.levels.entry(user).or_default();
        let old = *sum;
        *sum = old.checked_add_signed(diff as i32).expect("each level is retracted at most once");
        let new = *sum;
        if new == 0 {
            self.levels.remove(&user);
            shrink_if_sparse(&mut self.levels);
        }
        let (old, new) = (self.fine(old), self.fine(new));
        if old != new {
            for (fine, diff) in [(old, -1), (new, 1)] {
                if let Some(fine) = fine {
                    emit(fine, diff);
                }
            }
        }
    }

    fn emit_row(&self, user: UserId, emit: &mut impl FnMut(u32)) {
        self.levels.get(&user).and_then(|levels| self.fine(*levels)).into_iter().for_each(emit);
    }
}
