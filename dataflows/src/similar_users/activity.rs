use crate::operator::{IdMap, shrink_if_sparse};
use crate::subscriptions::{Rows, wanted};
use crate::{Collection, Config, Diff, Logarithm, Subscription, UserId};

/// Of each wanted user the fine logarithm of its activity. `weights` has every user as often as its activity is; each
/// wanted row has one value.
pub fn activity<'scope>(
    weights: Collection<'scope, UserId>,
    interest: Collection<'scope, Subscription>,
    config: &Config,
) -> Collection<'scope, (Subscription, u32)> {
    let activities = Activities { sums: IdMap::default(), logarithm: Logarithm::new(config.resolution) };
    wanted("Activity", weights, |user| (*user, ()), interest, activities, config.slice).0
}

struct Activities {
    /// Of each user, above 0.
    sums: IdMap<u64>,
    logarithm: Logarithm,
}

impl Rows for Activities {
    type Update = ();
    type Value = u32;

    fn apply(&mut self, user: UserId, updates: &[(u64, (), Diff)], tell: &mut impl FnMut(u32, Diff)) {
        let diff: Diff = updates.iter().map(|(.., diff)| diff).sum();
        let sum = self.sums.entry(user).or_default();
        let old = *sum;
        *sum = old.checked_add_signed(diff as i64).expect("an activity is a sum, nothing taken back twice");
        let new = *sum;
        if new == 0 {
            self.sums.remove(&user);
            shrink_if_sparse(&mut self.sums);
        }
        let fine = |sum: u64| (sum > 0).then(|| self.logarithm.fine(sum));
        if fine(old) != fine(new) {
            for (fine, diff) in [(fine(old), -1), (fine(new), 1)] {
                if let Some(fine) = fine {
                    tell(fine, diff);
                }
            }
        }
    }

    fn tell(&self, user: UserId, tell: &mut impl FnMut(u32)) {
        if let Some(sum) = self.sums.get(&user) {
            tell(self.logarithm.fine(*sum));
        }
    }
}
