//! Cohorts: viewers who must have the same list, so that it is computed once.
//!
//! Most viewers of a product that goes viral have seen nothing else. The rankings of all of them follow from the same sample,
//! and without cohorts each change of the sample would be a change of every one of them. A viewer is in a cohort while its
//! history is a single item and the user is not in the sample of that item. Then the similar users and the list depend on
//! the item, the level and the phase of the user alone (`docs/semantics.md`). One member, the representative, stands for
//! the others, its followers, in the operators behind this one. The followers get its list.
//!
//! A viewer with more items, or in the sample, is computed alone until it leaves the audience. So a viewer enters a cohort
//! only when it enters the audience, and moves between cohorts when its level changes. Before, after and while it is in a
//! cohort, it never costs more than a viewer alone: a representative is an ordinary viewer of the next operators.

use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate;
use schema::{IdMap, shrink_if_sparse};
use timely::dataflow::channels::pact::Pipeline;

use crate::operators::{Input, Output, SlicedOperator, StageBuilder};
use crate::similarity::quantise::PHASES;
use crate::{Collection, Diff, Member, ProfileItem, Subscription, Time, UserId};

/// A cohort of one worker. Reused when the cohort is empty.
pub type CohortId = u32;

/// A part in a cohort. A cohort of one member has neither part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The member whose list is computed.
    Representative(UserId),
    /// A member who gets the list of the representative.
    Follower(UserId),
}

/// The outputs of [`cohorts`], all on the worker of the viewer.
pub struct Cohorts<'scope> {
    /// Profiles of the viewers without the followers.
    pub profiles: Collection<'scope, (UserId, ProfileItem)>,
    /// The cohorts with more than one member: one representative and its followers. `None` if there are no cohorts.
    pub roles: Option<Collection<'scope, (CohortId, Role)>>,
}

/// Groups the viewers of this worker into cohorts. All inputs must be located with the viewers. `members` has the samples of
/// all items of the viewers.
///
/// Cost: a look-up for each update. Memory: some 50 bytes a viewer or sampled user.
pub fn cohorts<'scope>(
    profiles: Collection<'scope, (UserId, ProfileItem)>,
    members: Collection<'scope, (Subscription, Member)>,
) -> Cohorts<'scope> {
    let mut builder = StageBuilder::new("Cohorts", profiles.inner.scope());
    let profiles = builder.input(profiles.inner, Pipeline);
    let members = builder.input(members.inner, Pipeline);
    let (profiles_output, own_profiles) = builder.output();
    let (roles_output, roles) = builder.output();
    let operator = CohortStage { profiles, members, profiles_output, roles_output, state: State::default() };
    builder.build(usize::MAX, operator);
    Cohorts { profiles: own_profiles.as_collection(), roles: Some(roles.as_collection()) }
}

#[derive(Default)]
struct CohortStage {
    profiles: Input<((UserId, ProfileItem), Time, Diff)>,
    members: Input<((Subscription, Member), Time, Diff)>,
    profiles_output: Output<((UserId, ProfileItem), Time, Diff)>,
    roles_output: Output<((CohortId, Role), Time, Diff)>,
    state: State,
}

impl SlicedOperator for CohortStage {
    fn begin(&mut self, time: Time) {
        let CohortStage { state, .. } = self;
        let mut profiles = self.profiles_output.buffer();
        let mut roles = self.roles_output.buffer();
        for ((_, member), _, diff) in self.members.take(time).into_iter().flatten() {
            state.update_sample(member.user, diff);
        }
        for updates in self.profiles.take(time) {
            for of_user in updates.chunk_by(|a, b| a.0.0 == b.0.0) {
                state.update_profile(of_user, &mut profiles);
            }
        }
        state.assign();
        state.emit(time, &mut profiles, &mut roles);
        state.end_tick();
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Not in the audience.
    #[default]
    Outside,
    /// Computed alone, with this many items.
    Alone(u32),
    /// In this slot of a cohort. The representative is in the first.
    Cohort(CohortId, u32),
}

impl Place {
    /// Whether the operators behind this one know the history.
    fn is_seen(self) -> bool {
        matches!(self, Place::Alone(_) | Place::Cohort(_, 0))
    }

    fn followed(self) -> Option<CohortId> {
        match self {
            Place::Cohort(cohort, 1..) => Some(cohort),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct User {
    /// Number of samples that contain the user. With a single item it can only be the sample of that.
    samples: u32,
    place: Place,
}

/// The only item of a history. With it a level says all, as the newest item always has the highest stair.
type Single = ProfileItem;

#[derive(Debug)]
struct Cohort {
    /// What the members have in common.
    single: Single,
    class: u16,
    /// The representative, then the followers.
    members: Vec<UserId>,
    /// Whether the cohort is in [`State::changed`].
    is_changed: bool,
}

impl Cohort {
    /// The representative, if it has followers.
    fn representative(&self) -> Option<UserId> {
        self.members.first().copied().filter(|_| self.members.len() > 1)
    }
}

/// A viewer as of the start of the tick.
struct Before {
    user: UserId,
    single: Option<Single>,
    place: Place,
}

#[derive(Default)]
struct State {
    users: IdMap<User>,
    cohorts: Vec<Cohort>,
    free: Vec<CohortId>,
    /// Cohorts by item, sorted by class: level and phase.
    items: IdMap<Vec<(u16, CohortId)>>,
    /// Updates of the tick for users who are not alone.
    pending: Vec<((UserId, ProfileItem), Diff)>,
    /// Users whose cohort may change in this tick.
    touched: Vec<UserId>,
    before: Vec<Before>,
    /// Followers who became representatives in this tick.
    promoted: Vec<UserId>,
    /// Cohorts with changed members, and their representatives as of the start of the tick.
    changed: Vec<(CohortId, Option<UserId>)>,
    /// Users who may be forgotten.
    idle: Vec<UserId>,
}

impl State {
    /// Step 1: applies an update of the sample of some item.
    fn update_sample(&mut self, id: UserId, diff: Diff) {
        let user = self.users.entry(id).or_default();
        user.samples = user.samples.wrapping_add_signed(diff as i32);
        match user.place {
            Place::Cohort(..) => self.touched.push(id),
            Place::Outside if user.samples == 0 => self.idle.push(id),
            _ => {}
        }
    }

    /// Step 2: applies updates of the profile of a user.
    fn update_profile(
        &mut self,
        updates: &[((UserId, ProfileItem), Time, Diff)],
        profiles: &mut Vec<((UserId, ProfileItem), Time, Diff)>,
    ) {
        let id = updates[0].0.0;
        let user = self.users.entry(id).or_default();
        if let Place::Alone(items) = &mut user.place {
            let change: Diff = updates.iter().map(|(.., diff)| diff).sum();
            *items = items.wrapping_add_signed(change as i32);
            if *items == 0 {
                self.idle.push(id);
            }
            profiles.extend_from_slice(updates);
        } else {
            self.touched.push(id);
            self.pending.extend(updates.iter().map(|(data, _, diff)| (*data, *diff)));
        }
    }

    /// Step 3, after steps 1 and 2: moves the touched users to where they belong.
    fn assign(&mut self) {
        consolidate(&mut self.pending);
        self.touched.sort_unstable();
        self.touched.dedup();
        for user in &self.touched {
            let place = self.users[user].place;
            let single = match place {
                Place::Cohort(cohort, _) => Some(self.cohorts[cohort as usize].single),
                _ => None,
            };
            self.before.push(Before { user: *user, single, place });
        }
        let touched = std::mem::take(&mut self.touched);
        for (at, id) in touched.iter().enumerate() {
            let old = self.before[at].single;
            let updates = updates_of(&self.pending, *id);
            let items = Diff::from(old.is_some()) + updates.iter().map(|(_, diff)| diff).sum::<Diff>();
            // Of a single item, either the one before is left or one is new.
            let added = updates.iter().find(|(_, diff)| *diff > 0).map(|((_, single), _)| *single);
            let single = added.or(old).filter(|_| items == 1 && self.users[id].samples == 0);
            if single.is_some() && single == old {
                continue;
            }
            self.leave(*id);
            let place = match (single, items) {
                (Some(single), _) => self.join(*id, single),
                (None, 0) => Place::Outside,
                (None, _) => Place::Alone(u32::try_from(items).expect("an item of a history is retracted once")),
            };
            self.user(*id).place = place;
            if place == Place::Outside {
                self.idle.push(*id);
            }
        }
        for user in self.promoted.drain(..).filter(|user| touched.binary_search(user).is_err()) {
            let Place::Cohort(cohort, _) = self.users[&user].place else { unreachable!("untouched users do not move") };
            let single = Some(self.cohorts[cohort as usize].single);
            self.before.push(Before { user, single, place: Place::Cohort(cohort, u32::MAX) });
        }
        self.touched = touched;
    }

    /// Step 4: emits what the moves change.
    fn emit(
        &mut self,
        time: Time,
        profiles: &mut Vec<((UserId, ProfileItem), Time, Diff)>,
        roles: &mut Vec<((CohortId, Role), Time, Diff)>,
    ) {
        for Before { user, single, place } in &self.before {
            let now = self.users[user].place;
            // A user outside of the audience has no items, so it makes no difference whether they are seen.
            let was_seen = place.is_seen() || *place == Place::Outside && now.is_seen();
            let is_seen = now.is_seen() || now == Place::Outside && was_seen;
            let updates = updates_of(&self.pending, *user);
            if was_seen || is_seen {
                profiles.extend(updates.iter().map(|(data, diff)| (*data, time, *diff)));
            }
            let mut add = |single, diff| profiles.push(((*user, single), time, diff));
            match (was_seen, is_seen, now) {
                (false, true, _) => single.iter().for_each(|single| add(*single, 1)),
                (true, false, Place::Cohort(cohort, _)) => add(self.cohorts[cohort as usize].single, -1),
                _ => {}
            }
            let (old, new) = (place.followed(), now.followed());
            if old != new {
                let role = |cohort| (cohort, Role::Follower(*user));
                roles.extend(old.map(|cohort| (role(cohort), time, -1)));
                roles.extend(new.map(|cohort| (role(cohort), time, 1)));
            }
        }
        for (id, old) in self.changed.drain(..) {
            let cohort = &mut self.cohorts[id as usize];
            cohort.is_changed = false;
            let new = cohort.representative();
            if old != new {
                let role = |user| (id, Role::Representative(user));
                roles.extend(old.map(|user| (role(user), time, -1)));
                roles.extend(new.map(|user| (role(user), time, 1)));
            }
            if cohort.members.is_empty() {
                cohort.members = Vec::new();
                let item = cohort.single.item;
                let of_item = self.items.get_mut(&item).expect("the cohort is one of its item");
                of_item.retain(|(other, _)| *other != cohort.class);
                if of_item.is_empty() {
                    self.items.remove(&item);
                }
                self.free.push(id);
            }
        }
    }

    /// Step 5: forgets what is no longer needed.
    fn end_tick(&mut self) {
        for id in self.idle.drain(..) {
            let Some(user) = self.users.get_mut(&id) else { continue };
            if user.place == Place::Alone(0) {
                user.place = Place::Outside;
            }
            if user.place == Place::Outside && user.samples == 0 {
                self.users.remove(&id);
            }
        }
        shrink_if_sparse(&mut self.users);
        shrink_if_sparse(&mut self.items);
        self.pending.clear();
        self.touched.clear();
        self.before.clear();
    }

    fn user(&mut self, id: UserId) -> &mut User {
        self.users.get_mut(&id).expect("a user with updates is known")
    }

    /// Takes a user out of its cohort, if it is in one. The last member moves into its slot.
    fn leave(&mut self, id: UserId) {
        let Place::Cohort(cohort, slot) = self.users[&id].place else { return };
        self.mark_changed(cohort);
        let members = &mut self.cohorts[cohort as usize].members;
        members.swap_remove(slot as usize);
        if members.capacity() > 1_024 && members.len() < members.capacity() / 8 {
            members.shrink_to(2 * members.len());
        }
        if let Some(moved) = members.get(slot as usize).copied() {
            self.user(moved).place = Place::Cohort(cohort, slot);
            if slot == 0 {
                self.promoted.push(moved);
            }
        }
    }

    fn join(&mut self, id: UserId, single: Single) -> Place {
        let class = u16::from(single.level) * PHASES as u16 + (id % u64::from(PHASES)) as u16;
        let of_item = self.items.entry(single.item).or_default();
        let cohort = match of_item.binary_search_by_key(&class, |(class, _)| *class) {
            Ok(at) => of_item[at].1,
            Err(at) => {
                let new = Cohort { single, class, members: Vec::new(), is_changed: false };
                let cohort = if let Some(cohort) = self.free.pop() {
                    self.cohorts[cohort as usize] = new;
                    cohort
                } else {
                    self.cohorts.push(new);
                    CohortId::try_from(self.cohorts.len() - 1).expect("fewer cohorts than viewers")
                };
                of_item.insert(at, (class, cohort));
                cohort
            }
        };
        self.mark_changed(cohort);
        let members = &mut self.cohorts[cohort as usize].members;
        members.push(id);
        Place::Cohort(cohort, u32::try_from(members.len() - 1).expect("fewer viewers than 2^32"))
    }

    fn mark_changed(&mut self, id: CohortId) {
        let cohort = &mut self.cohorts[id as usize];
        if !std::mem::replace(&mut cohort.is_changed, true) {
            self.changed.push((id, cohort.representative()));
        }
    }
}

/// The updates of one user.
fn updates_of(updates: &[((UserId, ProfileItem), Diff)], user: UserId) -> &[((UserId, ProfileItem), Diff)] {
    let first = updates.partition_point(|((other, _), _)| *other < user);
    let count = updates[first..].iter().take_while(|((other, _), _)| *other == user).count();
    &updates[first..first + count]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::hash::Hash;

    use proptest::prelude::*;

    use super::*;
    use crate::{ItemId, Level, Subscriber};

    /// A tick: new histories of users, and whether each item of them is sampled.
    type Step = Vec<(u64, Vec<(u64, Level, bool)>)>;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let item = (0..3_u64, 1..3_u8, prop::bool::weighted(0.15));
        let history = prop_oneof![
            5 => prop::collection::vec(item.clone(), 1..2),
            1 => prop::collection::vec(item, 0..4),
        ];
        prop::collection::vec(prop::collection::vec((0..20_u64, history), 0..8), 1..40)
    }

    /// Users of two phases.
    fn user(n: u64) -> UserId {
        64 * (n + 1) + n % 2
    }

    /// An item of a history of so many items.
    fn in_profile(item: ItemId, level: Level, items: usize) -> ProfileItem {
        ProfileItem { item, level, stair: 8 >> items }
    }

    /// Adds updates to a collection whose rows have multiplicity 1.
    fn accumulate<D: Ord + Copy>(rows: &mut BTreeSet<D>, updates: &[(D, Time, Diff)]) {
        let mut counts: BTreeMap<D, Diff> = rows.iter().map(|row| (*row, 1)).collect();
        for (row, _, diff) in updates {
            *counts.entry(*row).or_default() += diff;
        }
        counts.retain(|_, count| *count != 0);
        assert!(counts.values().all(|count| *count == 1), "a row occurs once or not at all");
        *rows = counts.into_keys().collect();
    }

    fn of_user<K: PartialEq + Copy + Hash, V: Copy>(rows: &BTreeSet<(K, V)>, user: K) -> Vec<V> {
        rows.iter().filter(|(of, _)| *of == user).map(|(_, value)| *value).collect()
    }

    proptest! {
        /// A viewer that is not passed on follows one that is, and has the same single item, level and phase.
        #[test]
        fn followers_have_the_history_of_their_representative(steps in steps(), seed in any::<u64>()) {
            let mut stage = CohortStage::default();
            let mut histories: BTreeMap<u64, BTreeMap<ItemId, (Level, bool)>> = BTreeMap::new();
            let (mut own_profiles, mut roles) = (BTreeSet::new(), BTreeSet::new());
            let mut followers = 0;
            let mut random = seed | 1;
            let end: Step = (0..20).map(|user| (user, Vec::new())).collect();
            for (time, step) in (0..).zip(steps.into_iter().chain([end])) {
                let (mut profile, mut samples) = (Vec::new(), Vec::new());
                for (n, items) in step {
                    let id = user(n);
                    let new: BTreeMap<_, _> = items.into_iter().map(|(item, level, is)| (item, (level, is))).collect();
                    let old = histories.insert(n, new.clone()).unwrap_or_default();
                    for (items, diff) in [(&old, -1), (&new, 1)] {
                        for (item, (level, is_sampled)) in items {
                            let (other, other_len) = if diff > 0 { (&old, old.len()) } else { (&new, new.len()) };
                            let is_changed = other.get(item).is_none_or(|(other, _)| other != level);
                            if is_changed || other_len != items.len() {
                                profile.push(((id, in_profile(*item, *level, items.len())), time, diff));
                            }
                            if *is_sampled {
                                let member = Member { user: id, level: *level };
                                let at = Subscription { row: *item, subscriber: Subscriber::Worker(0) };
                                samples.push(((at, member), time, diff));
                            }
                        }
                    }
                }
                // Samples come in another order than profiles.
                for at in (1..samples.len()).rev() {
                    random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    samples.swap(at, (random >> 33) as usize % (at + 1));
                }
                stage.profiles.put(time, vec![profile]);
                stage.members.put(time, vec![samples]);
                stage.begin(time);
                accumulate(&mut own_profiles, &std::mem::take(&mut *stage.profiles_output.buffer()));
                accumulate(&mut roles, &std::mem::take(&mut *stage.roles_output.buffer()));

                let parts: BTreeMap<CohortId, Vec<Role>> = roles.iter().fold(BTreeMap::new(), |mut parts, (id, role)| {
                    parts.entry(*id).or_insert_with(Vec::new).push(*role);
                    parts
                });
                let mut follows: BTreeMap<UserId, UserId> = BTreeMap::new();
                for parts in parts.values() {
                    let Role::Representative(first) = parts[0] else { panic!("no representative: {parts:?}") };
                    prop_assert!(parts.len() > 1);
                    for role in &parts[1..] {
                        let Role::Follower(user) = role else { panic!("two representatives: {parts:?}") };
                        prop_assert!(follows.insert(*user, first).is_none());
                    }
                }
                followers += follows.len();
                let common = |n: u64| {
                    let (item, (level, is_sampled)) = histories[&n].iter().next().unwrap();
                    (*item, *level, *is_sampled, histories[&n].len(), user(n) % 64)
                };
                let number = |id: UserId| id / 64 - 1;
                for (n, history) in &histories {
                    let id = user(*n);
                    let passed_on = of_user(&own_profiles, id);
                    if let Some(representative) = follows.get(&id) {
                        prop_assert!(passed_on.is_empty());
                        let (item, level, is_sampled, items, phase) = common(*n);
                        prop_assert_eq!((is_sampled, items), (false, 1));
                        prop_assert_eq!(common(number(*representative)), (item, level, false, 1, phase));
                        prop_assert_eq!(of_user(&own_profiles, *representative), vec![in_profile(item, level, 1)]);
                    } else {
                        let expected: Vec<_> =
                            history.iter().map(|(item, (level, _))| in_profile(*item, *level, history.len())).collect();
                        prop_assert_eq!(passed_on, expected);
                    }
                }
            }
            prop_assert!(stage.state.users.is_empty() && stage.state.items.is_empty() && roles.is_empty());
            prop_assert_eq!(stage.state.free.len(), stage.state.cohorts.len());
            prop_assume!(followers > 0);
        }
    }
}
