use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

use super::viewers::{Viewers, Work};
use super::{Member, SimilarUser};
use crate::gauges::{Gauges, add};
use crate::operators::{Dense, Input, Output, PREFETCH_BATCH, SlicedOperator, StageBuilder};
use crate::{Collection, Config, Diff, ProfileItem, Subscription, Time, UserId};

/// Maintains the users most similar to each viewer.
///
/// `profiles` and `members` must be located with the viewers; `activity` is sent there. Cost of a change of a viewer's profile:
/// a pass over `stairs * sample` members. Cost of a change of a sampled user: a probe for each viewer of each item that samples
/// the user. On average these are at most `sample` times the audience's share of all users, whatever the popularity of the
/// item.
pub fn rank_similar_users<'scope>(
    profiles: Collection<'scope, (UserId, ProfileItem)>,
    members: Collection<'scope, (Subscription, Member)>,
    activity: Collection<'scope, (Subscription, u32)>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> Collection<'scope, (UserId, SimilarUser)> {
    let mut builder = StageBuilder::new("Similar users", profiles.inner.scope());
    let members = builder.input(members.inner, Pipeline);
    let to_viewers = |update: &((Subscription, u32), Time, Diff)| update.0.0.worker();
    let activity = builder.input(activity.inner, Exchange::new(to_viewers));
    let profiles = builder.input(profiles.inner, Pipeline);
    let (output, similar) = builder.output();
    let (viewers, gauges) = (Viewers::new(config), Arc::clone(gauges));
    let operator = UserRanking { members, activity, profiles, output, viewers, changed: Vec::new(), gauges };
    builder.build(config.slice, operator);
    similar.as_collection()
}

/// Probes that cost as much as one recomputed total, a unit of fuel.
const PROBES: usize = 32;
/// Fuel to flush a viewer, at most.
const FLUSH: usize = 100;

struct UserRanking {
    members: Input<((Subscription, Member), Time, Diff)>,
    activity: Input<((Subscription, u32), Time, Diff)>,
    profiles: Input<((UserId, ProfileItem), Time, Diff)>,
    output: Output<((UserId, SimilarUser), Time, Diff)>,
    viewers: Viewers,
    /// Users with a change in this tick, each with an item that may no longer sample it, if that is the change. Sorted,
    /// and processed from the end.
    changed: Vec<(Dense, Option<Dense>)>,
    gauges: Arc<Gauges>,
}

impl SlicedOperator for UserRanking {
    fn begin(&mut self, time: Time) {
        let UserRanking { members, activity, profiles, viewers, changed, .. } = self;
        for ((Subscription { row: item, .. }, member), _, diff) in members.take(time).into_iter().flatten() {
            let (user, item) = viewers.update_sample(item, member, diff);
            changed.push((user, Some(item)));
        }
        for ((Subscription { row: user, .. }, fine), _, diff) in activity.take(time).into_iter().flatten() {
            changed.push((viewers.update_activity(user, fine, diff), None));
        }
        for ((user, item), _, diff) in profiles.take(time).into_iter().flatten() {
            viewers.update_profile(user, item, diff);
        }
        viewers.update_holders();
        changed.sort_unstable();
        changed.dedup();
        let mut users: Vec<Dense> = changed.iter().map(|(user, _)| *user).collect();
        users.dedup();
        if viewers.rescan_costs_less(users.into_iter()) {
            viewers.mark_all_for_rescan();
            changed.clear();
        }
    }

    fn advance(&mut self, time: Time, fuel: &mut usize) -> bool {
        let UserRanking { viewers, changed, output, .. } = self;
        let mut emitted = output.buffer();
        while let Some((user, _)) = changed.last() {
            if *fuel == 0 {
                return false;
            }
            let first = changed.partition_point(|changed| changed.0 < *user);
            let probes = viewers.apply_user(*user, changed[first..].iter().filter_map(|(_, item)| *item));
            changed.truncate(first);
            *fuel = fuel.saturating_sub(1 + probes / PROBES);
        }
        let mut flushed = 0;
        loop {
            if *fuel == 0 {
                return false;
            }
            if flushed % PREFETCH_BATCH == 0 {
                viewers.prefetch_dirty();
            }
            if !viewers.flush(&mut |user, similar, diff| emitted.push(((user, similar), time, diff))) {
                break;
            }
            flushed += 1;
            *fuel = fuel.saturating_sub(FLUSH);
        }
        viewers.rows.release();
        true
    }

    fn deactivate(&mut self, _done_before: Time) {
        let Work { shared, similar } = std::mem::take(&mut self.viewers.work);
        add(&self.gauges.shared, shared);
        add(&self.gauges.similar_users, similar);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::similarity::quantise::{phase, phased};
    use crate::{ItemId, Level, Logarithm, Similarity, Subscriber};

    const USERS: u64 = 10;
    const ITEMS: u64 = 8;

    /// Level and stair of an item in a profile.
    type Share = (Level, u16);

    /// The input of a tick: members of samples (level 0: removed), activities of users, and profiles of viewers (level 0:
    /// removed, stair 0: beyond the profile).
    type Step = (Vec<(u64, u64, u8)>, Vec<(u64, u64)>, Vec<(u64, u64, Share)>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let level = prop::sample::select(vec![0_u8, 0, 1, 1, 2, 15]);
        let of_item = (0..ITEMS, 0..USERS, level);
        let members = prop_oneof![
            3 => prop::collection::vec(of_item.clone(), 0..4),
            1 => prop::collection::vec(of_item.clone(), 0..40)
        ];
        let activities = prop::collection::vec((0..USERS, 1_u64..60), 0..3);
        let stair = prop::sample::select(vec![0_u16, 1, 2, 8]);
        let of_profile = (of_item, stair).prop_map(|((item, user, level), stair)| (item, user, (level, stair)));
        let profiles = prop_oneof![2 => Just(Vec::new()), 2 => prop::collection::vec(of_profile, 0..8)];
        prop::collection::vec((members, activities, profiles), 1..60)
    }

    /// Some users and items share a name, and several names agree in the low six bits.
    fn name(n: u64, generation: u64) -> u64 {
        schema::spread(n + 100 * generation) & !0x38
    }

    /// Consolidates the changes of a tick.
    struct Consolidated<K, V>(BTreeMap<K, V>);

    impl<K: Ord + Copy, V: PartialEq + Copy> Consolidated<K, V> {
        fn set(&mut self, now: BTreeMap<K, V>, mut update: impl FnMut(K, V, Diff)) {
            let before = std::mem::replace(&mut self.0, now);
            for (key, old) in before.iter().filter(|(key, old)| self.0.get(key) != Some(old)) {
                update(*key, *old, -1);
            }
            for (key, new) in self.0.iter().filter(|(key, new)| before.get(key) != Some(new)) {
                update(*key, *new, 1);
            }
        }
    }

    type Emitted = BTreeMap<(UserId, SimilarUser), Diff>;

    fn expected(
        members: &BTreeMap<(ItemId, UserId), Level>,
        activity: &BTreeMap<UserId, u32>,
        profiles: &BTreeMap<(UserId, ItemId), Share>,
        config: &Config,
    ) -> Emitted {
        let resolution = config.user_resolution;
        let (logarithm, similarity) = (Logarithm::new(resolution), Similarity::new(resolution));
        let viewers: BTreeSet<UserId> = profiles.keys().map(|(user, _)| *user).collect();
        let mut emitted = Emitted::new();
        for u in viewers {
            let mut shared: BTreeMap<UserId, u64> = BTreeMap::new();
            let mut own = 0;
            for ((_, item), (own_level, stair)) in profiles.range((u, 0)..=(u, u64::MAX)) {
                own += u64::from(*own_level) * u64::from(*stair);
                for ((_, v), level) in members.range((*item, 0)..=(*item, u64::MAX)) {
                    *shared.entry(*v).or_default() += u64::from(*level.min(own_level)) * u64::from(*stair);
                }
            }
            shared.retain(|v, shared| *v != u && *shared > 0);
            let against = |fine: u32, v: UserId| phased(fine, phase(u, v)).cast_signed();
            let ranked = shared.into_iter().map(|(v, shared)| {
                let rank = against(activity[&v], v) - 2 * logarithm.q(shared).cast_signed();
                (rank, v, against(logarithm.fine(own), v))
            });
            let mut ranked: Vec<_> = ranked.collect();
            ranked.sort_unstable();
            for (negative, user, own) in ranked.into_iter().take(config.similar_users) {
                emitted.insert((u, SimilarUser { user, similarity: similarity.of(-negative - own) }), 1);
            }
        }
        emitted
    }

    proptest! {
        /// Compares with ranking from scratch after each tick. All users are replaced halfway, so that ids are reused. At
        /// the end all state is empty.
        #[test]
        fn equals_ranking_from_scratch_and_releases_all_state(
            steps in steps(),
            similar_users in prop::sample::select(vec![1_usize, 2, 3, 20]),
            resolution in prop::sample::select(vec![1_u32, 2, 4]),
            slice in prop::sample::select(vec![1_usize, 3, 1_000]),
            reversed in any::<bool>(),
        ) {
            let config = Config { user_resolution: resolution, similar_users, ..Config::default() };
            let (members_in, activity_in, profiles_in) = (Input::default(), Input::default(), Input::default());
            let mut operator = UserRanking {
                members: members_in.clone(),
                activity: activity_in.clone(),
                profiles: profiles_in.clone(),
                output: Output::default(),
                viewers: Viewers::new(&config),
                changed: Vec::new(),
                gauges: Arc::default(),
            };
            let (mut members, mut profiles) = (Consolidated(BTreeMap::new()), Consolidated(BTreeMap::new()));
            let mut activity = Consolidated(BTreeMap::new());
            let mut activities: BTreeMap<UserId, u64> = BTreeMap::new();
            let mut emitted = Emitted::new();
            let half = steps.len() / 2;
            let mut all: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
            all.push(None);
            all.insert(half, None);
            for (time, step) in (0..).zip(all) {
                let generation = u64::from(time > half as u64);
                let (mut levels, mut shares) = (members.0.clone(), profiles.0.clone());
                let is_empty = step.is_none();
                match step {
                    None => {
                        levels.clear();
                        shares.clear();
                    }
                    Some((sampled, active, viewed)) => {
                        activities.extend(active.iter().map(|(user, sum)| (name(*user, generation), *sum)));
                        for (item, user, level) in sampled {
                            levels.insert((name(item, generation), name(user, generation)), level);
                        }
                        for (item, user, share) in viewed {
                            shares.insert((name(user, generation), name(item, generation)), share);
                        }
                    }
                }
                levels.retain(|_, level| *level > 0);
                shares.retain(|_, (level, _)| *level > 0);
                let logarithm = Logarithm::new(resolution);
                let fine = |user| (user, logarithm.fine(activities.get(&user).copied().unwrap_or(1)));
                let fines: BTreeMap<UserId, u32> = levels.keys().map(|(_, user)| fine(*user)).collect();

                let (mut member_updates, mut activity_updates, mut profile_updates) = (vec![], vec![], vec![]);
                members.set(levels, |(row, user), level, diff| {
                    member_updates.push(((Subscription { row, subscriber: Subscriber::Worker(0) }, Member { user, level }), time, diff));
                });
                activity.set(fines, |row, fine, diff| {
                    activity_updates.push(((Subscription { row, subscriber: Subscriber::Worker(0) }, fine), time, diff));
                });
                profiles.set(shares, |(user, item), (level, stair), diff| {
                    let level = if stair > 0 { level } else { 0 };
                    profile_updates.push(((user, ProfileItem { item, level, stair }), time, diff));
                });
                if reversed {
                    member_updates.reverse();
                    activity_updates.reverse();
                    profile_updates.reverse();
                }
                members_in.put(time, vec![member_updates]);
                activity_in.put(time, vec![activity_updates]);
                profiles_in.put(time, vec![profile_updates]);
                operator.begin(time);
                while !operator.advance(time, &mut slice.clone()) {}
                for (similar, _, diff) in std::mem::take(&mut *operator.output.buffer()) {
                    *emitted.entry(similar).or_default() += diff;
                }
                emitted.retain(|_, diff| *diff != 0);
                prop_assert_eq!(&emitted, &expected(&members.0, &activity.0, &profiles.0, &config), "after tick {}", time);
                prop_assert!(!is_empty || operator.viewers.is_empty(), "state is left");
            }
        }
    }
}
