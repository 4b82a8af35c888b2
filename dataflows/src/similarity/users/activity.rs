use schema::{IdMap, shrink_if_sparse};

use crate::operators::{ReplicatedRows, replicate_rows};
use crate::{Collection, Config, Diff, Logarithm, Subscription, UserId};

/// The fine logarithm of each user's activity, for its subscribers: a row with one entry. The activity is the multiplicity
/// of the user in `weights`.
pub fn activity<'scope>(
    weights: Collection<'scope, UserId>,
    subscriptions: Collection<'scope, Subscription>,
    config: &Config,
) -> Collection<'scope, (Subscription, u32)> {
    let activities = Activities { sums: IdMap::default(), logarithm: Logarithm::new(config.resolution) };
    replicate_rows("Activity", weights, |user| (*user, ()), subscriptions, activities, config.slice).0
}

struct Activities {
    /// Activity by user, above 0.
    sums: IdMap<u64>,
    logarithm: Logarithm,
}

impl ReplicatedRows for Activities {
    type Update = ();
    type Value = u32;

    fn apply(&mut self, user: UserId, updates: &[(u64, (), Diff)], emit: &mut impl FnMut(u32, Diff)) {
        let diff: Diff = updates.iter().map(|(.., diff)| diff).sum();
        let sum = self.sums.entry(user).or_default();
        let old = *sum;
        *sum =
            old.checked_add_signed(diff as i64).expect("an activity is a sum over items, each retracted at most once");
        let new = *sum;
        if new == 0 {
            self.sums.remove(&user);
            shrink_if_sparse(&mut self.sums);
        }
        let fine = |sum: u64| (sum > 0).then(|| self.logarithm.fine(sum));
        if fine(old) != fine(new) {
            for (fine, diff) in [(fine(old), -1), (fine(new), 1)] {
                if let Some(fine) = fine {
                    emit(fine, diff);
                }
            }
        }
    }

    fn emit_row(&self, user: UserId, emit: &mut impl FnMut(u32)) {
        if let Some(sum) = self.sums.get(&user) {
            emit(self.logarithm.fine(*sum));
        }
    }
}
