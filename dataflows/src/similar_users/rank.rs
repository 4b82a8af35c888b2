use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::viewers::{Viewers, Work};
use super::{Member, SimilarUser};
use crate::dense::Dense;
use crate::gauges::{Gauges, add};
use crate::operator::{Out, OutputCapabilities, Stash, TOGETHER, complete_before, earlier, give};
use crate::{Collection, Config, Diff, ItemId, Level, Subscription, Time, UserId};

/// Keeps the users that are most like each viewer.
///
/// `watching` must lie where the viewers do, and so `members`; `activity` is sent there. Cost of a change of a viewer's
/// history: a pass over `history * sample` members; of a change of a sampled user: a look at each viewer of each item by
/// which it is sampled, of which there are `sample` times the audience's share of all users on average, whatever the
/// popularity of the item.
pub fn look_up<'scope>(
    watching: Collection<'scope, (UserId, (ItemId, Level))>,
    members: Collection<'scope, (Subscription, Member)>,
    activity: Collection<'scope, (Subscription, u32)>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> Collection<'scope, (UserId, SimilarUser)> {
    let scope = watching.inner.scope();
    let mut builder = OperatorBuilder::new("Similar users".into(), scope);
    let again = scope.activator_for(builder.operator_info().address);
    let mut watching = builder.new_input(watching.inner, Pipeline);
    let mut members = builder.new_input(members.inner, Pipeline);
    let to_viewers = |update: &((Subscription, u32), Time, Diff)| update.0.0.worker();
    let mut activity = builder.new_input(activity.inner, Exchange::new(to_viewers));
    let (out, similar) = builder.new_output();
    let mut viewers = Viewers::new(config);
    let slice = config.slice;
    let gauges = Arc::clone(gauges);

    builder.build(move |_| {
        let mut out: Out<((UserId, SimilarUser), Time, Diff)> = OutputBuilder::from(out);
        let mut held = OutputCapabilities::new(1);
        let mut watching_stash = Stash::new();
        let mut member_stash = Stash::new();
        let mut activity_stash = Stash::new();
        let mut tick: Option<Tick> = None;
        let mut updates = Vec::new();

        move |frontiers| {
            watching.for_each(|capability, data| watching_stash.put(held.retain(&capability), data));
            members.for_each(|capability, data| member_stash.put(held.retain(&capability), data));
            activity.for_each(|capability, data| activity_stash.put(held.retain(&capability), data));
            let upper = complete_before(frontiers);

            let mut fuel = slice;
            loop {
                let first = earlier(watching_stash.first(), earlier(member_stash.first(), activity_stash.first()));
                let complete = first.filter(|time| *time < upper);
                let Some(time) = tick.as_ref().map(|tick| tick.time).or(complete) else { break };
                let now = tick.get_or_insert_with(|| {
                    let members = member_stash.take(time);
                    Tick::begin(time, &members, &activity_stash.take(time), &watching_stash.take(time), &mut viewers)
                });
                let done = now.advance(&mut fuel, &mut viewers, &mut |user, similar, diff| {
                    updates.push(((user, similar), time, diff));
                });
                give(&mut out, &held, 0, time, &mut updates);
                if !done {
                    again.activate();
                    break;
                }
                tick = None;
            }
            let Work { shared, rescans, similar } = std::mem::take(&mut viewers.work);
            add(&gauges.shared, shared);
            add(&gauges.comparisons, rescans);
            add(&gauges.similar_users, similar);
            let first = earlier(watching_stash.first(), earlier(member_stash.first(), activity_stash.first()));
            held.release_before(earlier(tick.as_ref().map(|tick| tick.time), first));
        }
    });
    similar.as_collection()
}

/// A tick being worked off, in slices.
struct Tick {
    time: Time,
    /// Users of whom something has changed, each with an item that it may not be sampled by any more, if that is it; in
    /// order, from the last one on.
    changed: Vec<(Dense, Option<Dense>)>,
}

/// Looks at a viewer's share in a user that cost as much as a total taken anew.
const LOOKS: usize = 32;
/// What settling a viewer costs at most, in totals taken anew.
const SETTLING: usize = 100;

impl Tick {
    fn begin(
        time: Time,
        members: &[Vec<((Subscription, Member), Time, Diff)>],
        activity: &[Vec<((Subscription, u32), Time, Diff)>],
        watching: &[Vec<((UserId, (ItemId, Level)), Time, Diff)>],
        viewers: &mut Viewers,
    ) -> Self {
        let mut changed = Vec::new();
        for ((Subscription { row: item, .. }, member), _, diff) in members.iter().flatten() {
            let (user, item) = viewers.sample(*item, *member, *diff);
            changed.push((user, Some(item)));
        }
        for ((Subscription { row: user, .. }, fine), _, diff) in activity.iter().flatten() {
            changed.push((viewers.activity(*user, *fine, *diff), None));
        }
        for ((user, (item, level)), _, diff) in watching.iter().flatten() {
            viewers.watch(*user, *item, *level, *diff);
        }
        viewers.hold();
        changed.sort_unstable();
        changed.dedup();
        let mut users: Vec<Dense> = changed.iter().map(|(user, _)| *user).collect();
        users.dedup();
        if viewers.scanning_costs_less(users.into_iter()) {
            viewers.scan_all();
            changed.clear();
        }
        Tick { time, changed }
    }

    /// Goes on until the tick is done or the fuel is used up. Returns whether it is done.
    fn advance(
        &mut self,
        fuel: &mut usize,
        viewers: &mut Viewers,
        tell: &mut impl FnMut(UserId, SimilarUser, Diff),
    ) -> bool {
        while let Some((user, _)) = self.changed.last() {
            if *fuel == 0 {
                return false;
            }
            let first = self.changed.partition_point(|changed| changed.0 < *user);
            let looks = viewers.compare(*user, self.changed[first..].iter().filter_map(|(_, item)| *item));
            self.changed.truncate(first);
            *fuel = fuel.saturating_sub(1 + looks / LOOKS);
        }
        let mut settled = 0;
        loop {
            if *fuel == 0 {
                return false;
            }
            if settled % TOGETHER == 0 {
                viewers.peek();
            }
            if !viewers.settle(tell) {
                break;
            }
            settled += 1;
            *fuel = fuel.saturating_sub(SETTLING);
        }
        viewers.release();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::quantise::{phase, phased};
    use crate::{Logarithm, Similarity, Subscriber};

    const USERS: u64 = 10;
    const ITEMS: u64 = 8;

    /// What a tick brings: members of samples (level 0: none any more), rarities of items, activities of users, and levels
    /// of viewers (0: none any more).
    type Step = (Vec<(u64, u64, u8)>, Vec<(u64, u8)>, Vec<(u64, u64)>, Vec<(u64, u64, u8)>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let level = prop::sample::select(vec![0_u8, 0, 1, 1, 2, 15]);
        let of_item = (0..ITEMS, 0..USERS, level);
        let members = prop_oneof![
            3 => prop::collection::vec(of_item.clone(), 0..4),
            1 => prop::collection::vec(of_item.clone(), 0..40)
        ];
        let rarities = prop::collection::vec((0..ITEMS, 1_u8..4), 0..2);
        let activities = prop::collection::vec((0..USERS, 1_u64..60), 0..3);
        let watching = prop_oneof![2 => Just(Vec::new()), 2 => prop::collection::vec(of_item, 0..8)];
        prop::collection::vec((members, rarities, activities, watching), 1..60)
    }

    /// Some users and items have one name, and several agree in the low six bits.
    fn name(n: u64, generation: u64) -> u64 {
        (n + 100 * generation).wrapping_mul(0x9E37_79B9_7F4A_7C15) & !0x38
    }

    /// What a tick changes, netted.
    struct Netted<K, V>(BTreeMap<K, V>);

    impl<K: Ord + Copy, V: PartialEq + Copy> Netted<K, V> {
        fn to(&mut self, now: BTreeMap<K, V>, mut update: impl FnMut(K, V, Diff)) {
            let before = std::mem::replace(&mut self.0, now);
            for (key, old) in before.iter().filter(|(key, old)| self.0.get(key) != Some(old)) {
                update(*key, *old, -1);
            }
            for (key, new) in self.0.iter().filter(|(key, new)| before.get(key) != Some(new)) {
                update(*key, *new, 1);
            }
        }
    }

    type Subscribed = BTreeMap<(UserId, SimilarUser), Diff>;

    fn expected(
        members: &BTreeMap<(ItemId, UserId), (Level, u8)>,
        activity: &BTreeMap<UserId, u32>,
        watching: &BTreeMap<(UserId, ItemId), Level>,
        config: &Config,
    ) -> Subscribed {
        let (logarithm, similarity) = (Logarithm::new(config.resolution), Similarity::new(config.resolution));
        let viewers: BTreeSet<UserId> = watching.keys().map(|(user, _)| *user).collect();
        let mut told = Subscribed::new();
        for u in viewers {
            let mut shared: BTreeMap<UserId, u64> = BTreeMap::new();
            for ((_, item), own) in watching.range((u, 0)..=(u, u64::MAX)) {
                for ((_, v), (level, rarity)) in members.range((*item, 0)..=(*item, u64::MAX)) {
                    *shared.entry(*v).or_default() += u64::from(*level.min(own)) * u64::from(*rarity);
                }
            }
            shared.remove(&u);
            let against = |of: UserId, v: UserId| phased(activity[&of], phase(u, v)).cast_signed();
            let ranked = shared
                .into_iter()
                .map(|(v, shared)| (against(v, v) - 2 * logarithm.q(shared).cast_signed(), v, against(u, v)));
            let mut ranked: Vec<_> = ranked.collect();
            ranked.sort_unstable();
            for (negative, user, own) in ranked.into_iter().take(config.similar_users) {
                told.insert((u, SimilarUser { user, similarity: similarity.of(-negative - own) }), 1);
            }
        }
        told
    }

    proptest! {
        /// Against comparing everybody from scratch after each tick, everybody replaced halfway so that ids are used again;
        /// and in the end nothing is held of anybody.
        #[test]
        fn equals_comparing_everybody_and_lets_go_of_everything(
            steps in steps(),
            similar_users in prop::sample::select(vec![1_usize, 2, 3, 20]),
            resolution in prop::sample::select(vec![1_u32, 2, 4]),
            slice in prop::sample::select(vec![1_usize, 3, 1_000]),
            reversed in any::<bool>(),
        ) {
            let config = Config { resolution, similar_users, ..Config::default() };
            let mut viewers = Viewers::new(&config);
            let (mut members, mut watching) = (Netted(BTreeMap::new()), Netted(BTreeMap::new()));
            let mut activity = Netted(BTreeMap::new());
            let mut rarities: BTreeMap<ItemId, u8> = BTreeMap::new();
            let mut activities: BTreeMap<UserId, u64> = BTreeMap::new();
            let mut told = Subscribed::new();
            let half = steps.len() / 2;
            let mut all: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
            all.push(None);
            all.insert(half, None);
            for (time, step) in (0..).zip(all) {
                let generation = u64::from(time > half as u64);
                let (mut levels, mut watched) = (members.0.clone(), watching.0.clone());
                let lets_go = step.is_none();
                match step {
                    None => {
                        levels.clear();
                        watched.clear();
                    }
                    Some((moves, rare, active, watch)) => {
                        rarities.extend(rare.iter().map(|(item, rarity)| (name(*item, generation), *rarity)));
                        activities.extend(active.iter().map(|(user, sum)| (name(*user, generation), *sum)));
                        for (item, user, level) in moves {
                            levels.insert((name(item, generation), name(user, generation)), (level, 1));
                        }
                        for (item, user, level) in watch {
                            watched.insert((name(user, generation), name(item, generation)), level);
                        }
                    }
                }
                levels.retain(|_, (level, _)| *level > 0);
                watched.retain(|_, level| *level > 0);
                for ((item, _), (_, rarity)) in &mut levels {
                    *rarity = rarities.get(item).copied().unwrap_or(1);
                }
                let compared = levels.keys().map(|(_, user)| *user).chain(watched.keys().map(|(user, _)| *user));
                let logarithm = Logarithm::new(resolution);
                let fine = |user| (user, logarithm.fine(activities.get(&user).copied().unwrap_or(1)));
                let fines: BTreeMap<UserId, u32> = compared.map(fine).collect();

                let (mut member_updates, mut activity_updates, mut watching_updates) = (vec![], vec![], vec![]);
                members.to(levels, |(row, user), (level, rarity), diff| {
                    member_updates.push(((Subscription { row, subscriber: Subscriber::Worker(0) }, Member { user, level, rarity }), time, diff));
                });
                activity.to(fines, |row, fine, diff| {
                    activity_updates.push(((Subscription { row, subscriber: Subscriber::Worker(0) }, fine), time, diff));
                });
                watching.to(watched, |(user, item), level, diff| {
                    watching_updates.push(((user, (item, level)), time, diff));
                });
                if reversed {
                    member_updates.reverse();
                    activity_updates.reverse();
                    watching_updates.reverse();
                }
                let (activity_updates, watching_updates) = ([activity_updates], [watching_updates]);
                let mut tick =
                    Tick::begin(time, &[member_updates], &activity_updates, &watching_updates, &mut viewers);
                while !tick.advance(&mut slice.clone(), &mut viewers, &mut |user, similar, diff| {
                    *told.entry((user, similar)).or_default() += diff;
                }) {}
                told.retain(|_, diff| *diff != 0);
                prop_assert_eq!(&told, &expected(&members.0, &activity.0, &watching.0, &config), "after tick {}", time);
                prop_assert!(!lets_go || viewers.is_empty(), "somebody is held");
            }
        }
    }
}
