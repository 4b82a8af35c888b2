//! Every viewer's list: a look-up over the rows that lie with the viewers, not a join that stores contributions.
//!
//! A source gives a viewer weighted rows: similar items of each item of the profile, the history of each similar user. A
//! viewer keeps these weights, k best, reserve and floor. When the value of a candidate in a row changes, or the weight of a
//! row, totals that are kept move along, and the floor rises by as much as any other may have risen. Only a candidate that
//! may come near the best is totalled anew, with one probe for each row held; nobody stores contributions, and leaving the
//! audience is a drop.

mod viewers;

use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use self::viewers::{CandidateDelta, ITEMS, RowDelta, USERS, Viewers, Work};
use crate::dense::Dense;
use crate::gauges::{Gauges, add};
use crate::operator::{Out, OutputCapabilities, Stash, TOGETHER, complete_before, earlier, give};
use crate::rows::Rows;
use crate::{
    Collection, Config, Diff, ItemId, Level, List, Neighbour, SimilarUser, SimilarUsers, Subscription, Time, UserId,
    Weight,
};

/// Keeps each viewer's `k` best items, totalled over the sources; empty lists are not in the collection.
///
/// `profiles` must lie where the viewers do, and so the similar users; rows are sent there. Cost of an update of a profile:
/// a pass over the rows the viewer holds, `stairs * neighbours` and `similar_users * history` candidates; of a similar user:
/// a pass over what it has; of a changed value in a row: a look at each holder's kept candidates, and one probe into each
/// row held by each holder whose list it can reach. A row that a whole crowd holds is worked off in slices.
pub fn lists<'scope>(
    profiles: Collection<'scope, (UserId, (ItemId, Weight))>,
    neighbours: Collection<'scope, (Subscription, Neighbour)>,
    users: Option<SimilarUsers<'scope>>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> Collection<'scope, (UserId, List)> {
    let scope = profiles.inner.scope();
    let mut builder = OperatorBuilder::new("Lists".into(), scope);
    let mut profiles = builder.new_input(profiles.inner, Pipeline);
    let to_viewers = |update: &((Subscription, Neighbour), Time, Diff)| update.0.0.worker;
    let mut neighbours = builder.new_input(neighbours.inner, Exchange::new(to_viewers));
    // A source that is switched off has no inputs.
    let mut users = users.map(|users| {
        let to_viewers = |update: &((Subscription, (ItemId, Level)), Time, Diff)| update.0.0.worker;
        let similar = builder.new_input(users.similar.inner, Pipeline);
        (similar, builder.new_input(users.histories.inner, Exchange::new(to_viewers)))
    });
    let (out, lists) = builder.new_output();
    let mut rows = Rows::default();
    let mut viewers = Viewers::new(config.k, [config.sources.items, config.sources.users].map(i64::from));
    let slice = config.slice;
    let gauges = Arc::clone(gauges);

    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |_| {
        let mut out: Out<((UserId, List), Time, Diff)> = OutputBuilder::from(out);
        let mut held = OutputCapabilities::new(1);
        let mut stashes = Stashes::new();
        let mut tick: Option<Tick> = None;
        let mut updates = Vec::new();

        move |frontiers| {
            profiles.for_each(|capability, data| stashes.profiles.put(held.retain(&capability), data));
            neighbours.for_each(|capability, data| stashes.neighbours.put(held.retain(&capability), data));
            if let Some((similar, histories)) = &mut users {
                similar.for_each(|capability, data| stashes.similar.put(held.retain(&capability), data));
                histories.for_each(|capability, data| stashes.histories.put(held.retain(&capability), data));
            }
            let upper = complete_before(frontiers);

            let mut fuel = slice;
            loop {
                let complete = stashes.first().filter(|time| *time < upper);
                let Some(mut now) = tick
                    .take()
                    .or_else(|| complete.map(|time| Tick::begin(time, &stashes.take(time), &mut viewers, &mut rows)))
                else {
                    break;
                };
                let time = now.time;
                let done = now.advance(&mut fuel, &mut viewers, &mut rows, &mut |user, list, diff| {
                    updates.push(((user, list), time, diff));
                });
                give(&mut out, &held, 0, time, &mut updates);
                if !done {
                    tick = Some(now);
                    activator.activate();
                    break;
                }
            }
            let Work { totals, rescans, lists } = std::mem::take(&mut viewers.work);
            add(&gauges.totals, totals);
            add(&gauges.rescans, rescans);
            add(&gauges.lists, lists);
            let now = tick.as_ref().map(|tick| tick.time);
            held.release_before(earlier(now, stashes.first()));
        }
    });
    lists.as_collection()
}

/// What has come of each input and is not yet complete.
struct Stashes {
    profiles: Stash<((UserId, (ItemId, Weight)), Time, Diff)>,
    neighbours: Stash<((Subscription, Neighbour), Time, Diff)>,
    similar: Stash<((UserId, SimilarUser), Time, Diff)>,
    histories: Stash<((Subscription, (ItemId, Level)), Time, Diff)>,
}

impl Stashes {
    fn new() -> Self {
        Stashes { profiles: Stash::new(), neighbours: Stash::new(), similar: Stash::new(), histories: Stash::new() }
    }

    fn first(&self) -> Option<Time> {
        let (items, users) = ((&self.profiles, &self.neighbours), (&self.similar, &self.histories));
        let first = [items.0.first(), items.1.first(), users.0.first(), users.1.first()];
        first.into_iter().flatten().min()
    }

    fn take(&mut self, time: Time) -> Updates {
        Updates {
            profiles: self.profiles.take(time),
            neighbours: self.neighbours.take(time),
            similar: self.similar.take(time),
            histories: self.histories.take(time),
        }
    }
}

/// All that a tick brings, in the containers in which it came.
#[derive(Default)]
struct Updates {
    profiles: Vec<Vec<((UserId, (ItemId, Weight)), Time, Diff)>>,
    neighbours: Vec<Vec<((Subscription, Neighbour), Time, Diff)>>,
    similar: Vec<Vec<((UserId, SimilarUser), Time, Diff)>>,
    histories: Vec<Vec<((Subscription, (ItemId, Level)), Time, Diff)>>,
}

/// What settling a viewer costs at most, in totals taken anew.
const SETTLING: usize = 16;

/// When a tick would touch each viewer more often than this, all candidates of the viewers it reaches are gone through:
/// most would be in the end. Small in tests, which have few viewers and are to see both.
const MOST_TOUCHES: usize = if cfg!(test) { 2 } else { 16 };

/// A tick being worked off, in slices.
struct Tick {
    time: Time,
    /// Candidates whose value changed, row by row, and how far their holders have been told.
    changed: Vec<CandidateDelta>,
    /// Whether so much changed that holders are not told what: all of their totals are taken anew.
    takes_all: bool,
    row: usize,
    holder: usize,
}

impl Tick {
    /// Applies the updates of a tick to rows, profiles and similar users.
    fn begin(time: Time, updates: &Updates, viewers: &mut Viewers, rows: &mut Rows) -> Self {
        debug_assert!(viewers.unsettled.is_empty(), "the tick before is done");
        // 1. Profiles and similar users, by rows as they were.
        viewers.profile(&updates.profiles, rows);
        viewers.follow(&updates.similar, rows);
        // 2. Rows: from now on every total is taken from values as they are at the end of the tick.
        let mut changed: Vec<CandidateDelta> = Vec::new();
        let similarity = |neighbour: &Neighbour| (neighbour.item, u32::from(neighbour.similarity));
        change(&mut changed, ITEMS, &updates.neighbours, Rows::intern, similarity, rows);
        let level = |(item, level): &(ItemId, Level)| (*item, u32::from(*level));
        change(&mut changed, USERS, &updates.histories, Rows::intern_user, level, rows);
        viewers.hold(rows);
        let touches: usize = changed.iter().map(|changed| rows.get(changed.row).holders.len()).sum();
        let takes_all = touches > MOST_TOUCHES * viewers.len();
        Tick { time, changed, takes_all, row: 0, holder: 0 }
    }

    /// Goes on until the tick is done or the fuel is used up; tells which lists changed. Returns whether it is done.
    fn advance(
        &mut self,
        fuel: &mut usize,
        viewers: &mut Viewers,
        rows: &mut Rows,
        tell: &mut impl FnMut(UserId, List, Diff),
    ) -> bool {
        // 3. Candidates whose value in a row that is held changed.
        while let Some(CandidateDelta { row, .. }) = self.changed.get(self.row).copied() {
            let changed = self.changed[self.row..].chunk_by(|a, b| a.row == b.row).next().unwrap_or_default();
            let crowd = RowDelta::new(changed);
            while let Some(holder) = rows.get(row).holders.get(self.holder) {
                if *fuel == 0 {
                    return false;
                }
                if self.takes_all {
                    *fuel -= 1;
                    viewers.surprise(*holder);
                } else {
                    *fuel = fuel.saturating_sub(changed.len());
                    viewers.touch(*holder, &crowd, rows);
                }
                self.holder += 1;
            }
            self.row += changed.len();
            self.holder = 0;
        }
        self.changed.clear();
        self.row = 0;
        // 4. Lists.
        while !viewers.unsettled.is_empty() {
            viewers.peek(rows);
            for _ in 0..TOGETHER {
                let Some(viewer) = viewers.unsettled.pop() else { break };
                if let Some((user, old, new)) = viewers.settle(viewer, rows) {
                    for (list, diff) in [(old, -1), (new, 1)] {
                        if !list.is_empty() {
                            tell(user, list, diff);
                        }
                    }
                }
                *fuel = fuel.saturating_sub(SETTLING);
                if *fuel == 0 && !viewers.unsettled.is_empty() {
                    return false;
                }
            }
        }
        // 5. Names that nothing refers to any more.
        rows.release();
        true
    }
}

/// Applies updates of the rows of a source, which come row by row, and notes which candidates have another value.
fn change<V>(
    changed: &mut Vec<CandidateDelta>,
    source: usize,
    updates: &[Vec<((Subscription, V), Time, Diff)>],
    intern: impl Fn(&mut Rows, u64) -> Dense,
    split: impl Fn(&V) -> (ItemId, u32),
    rows: &mut Rows,
) {
    let updates = updates.iter().flat_map(|updates| updates.chunk_by(|a, b| a.0.0.row == b.0.0.row));
    let updates: Vec<_> = updates.map(|same| (intern(rows, same[0].0.0.row), same)).collect();
    for some in updates.chunks(TOGETHER) {
        std::hint::black_box(some.iter().fold(0, |seen, (row, _)| seen ^ rows.get(*row).peek()));
        for (row, same) in some {
            let first = changed.len();
            for ((_, of), _, diff) in *same {
                let (item, value) = split(of);
                let item = rows.intern(item);
                let (old, new) = rows.update(*row, item, value, *diff);
                // A retraction and an insertion of one row come close together: they are one change.
                match changed[first..].iter_mut().find(|changed| changed.item == item) {
                    Some(changed) => changed.new = new,
                    None => changed.push(CandidateDelta { source, row: *row, item, old, new }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Weights of a viewer set anew (none: the viewer leaves).
    type Sets = Vec<(u64, Vec<(u64, Weight)>)>;
    /// Values of candidates in rows (0: none any more).
    type Changes = Vec<(u64, u64, u16)>;
    /// What a tick brings: profiles and similarities of items; similar users and levels of items in their histories.
    type Step = ((Sets, Changes), (Sets, Changes));

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let profile = (0..6_u64, prop::collection::vec((0..14_u64, 0..4_u32), 0..5));
        let similarity = (0..14_u64, 0..14_u64, prop::sample::select(vec![0_u16, 0, 0, 1, 1, 2, 3, 50, 1024]));
        // Most ticks leave the profiles as they are: then totals are taken one by one.
        let profiles = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(profile, 0..4)];
        let items = (profiles, prop::collection::vec(similarity, 0..16));
        let similar = (0..6_u64, prop::collection::vec((0..9_u64, 1..1_025_u32), 0..4));
        let similar = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(similar, 0..4)];
        let level = (0..9_u64, 0..14_u64, prop::sample::select(vec![0_u16, 0, 1, 2, 15]));
        let users = (similar, prop::collection::vec(level, 0..8));
        prop::collection::vec((items, users), 1..60)
    }

    fn name(item: u64, generation: u64) -> ItemId {
        // Several agree in the low six bits.
        (item + 100 * generation).wrapping_mul(0x9E37_79B9_7F4A_7C15) & !0x38
    }

    /// By viewer, what each row weighs; by row, what each candidate is worth.
    #[derive(Default)]
    struct Source {
        weights: BTreeMap<UserId, BTreeMap<u64, Weight>>,
        rows: BTreeMap<u64, BTreeMap<ItemId, u16>>,
    }

    impl Source {
        /// Sets weights and values and tells the differences, in no order but that what comes in a row comes before
        /// what goes.
        fn apply(
            &mut self,
            (sets, changes): (Sets, Changes),
            generation: u64,
            weigh: &mut impl FnMut(UserId, u64, Weight, Diff),
            value: &mut impl FnMut(u64, ItemId, u16, Diff),
        ) {
            for (user, entries) in sets {
                let new: BTreeMap<_, _> =
                    entries.into_iter().map(|(row, weight)| (name(row, generation), weight)).collect();
                let old = self.weights.insert(user, new.clone()).unwrap_or_default();
                for (entries, diff) in [(old, -1), (new, 1)] {
                    for (row, weight) in entries {
                        weigh(user, row, weight, diff);
                    }
                }
            }
            let named = |(row, item, new): (u64, u64, u16)| ((name(row, generation), name(item, generation)), new);
            self.change(changes.into_iter().map(named).collect(), value);
        }

        fn change(&mut self, moved: BTreeMap<(u64, ItemId), u16>, value: &mut impl FnMut(u64, ItemId, u16, Diff)) {
            for ((row, item), new) in moved {
                let values = self.rows.entry(row).or_default();
                let old = if new > 0 { values.insert(item, new) } else { values.remove(&item) };
                if new > 0 {
                    value(row, item, new, 1);
                }
                if let Some(old) = old {
                    value(row, item, old, -1);
                }
            }
        }

        fn clear(&mut self, value: &mut impl FnMut(u64, ItemId, u16, Diff)) {
            let all = self.rows.iter().flat_map(|(row, items)| items.keys().map(|item| ((*row, *item), 0)));
            self.change(all.collect(), value);
        }

        fn add(&self, user: UserId, source: i64, totals: &mut BTreeMap<ItemId, i64>) {
            for (row, weight) in self.weights.get(&user).into_iter().flatten() {
                for (item, value) in self.rows.get(row).into_iter().flatten() {
                    *totals.entry(*item).or_default() += i64::from(*weight) * i64::from(*value) * source;
                }
            }
        }
    }

    fn expected(user: UserId, sources: &[Source; 2], k: usize, weights: [i64; 2]) -> Vec<ItemId> {
        let mut totals: BTreeMap<ItemId, i64> = BTreeMap::new();
        sources.iter().zip(weights).for_each(|(source, weight)| source.add(user, weight, &mut totals));
        let profile = &sources[ITEMS].weights[&user];
        let mut best: Vec<(i64, ItemId)> = totals
            .into_iter()
            .filter(|(item, total)| *total > 0 && !profile.contains_key(item))
            .map(|(item, total)| (-total, item))
            .collect();
        best.sort_unstable();
        best.truncate(k);
        best.into_iter().map(|(_, item)| item).collect()
    }

    proptest! {
        /// Against totals from scratch, with retractions and insertions in any order and in several containers, the
        /// catalogue changed halfway so that ids are used again; and in the end nothing is held of anything.
        #[test]
        fn equals_totals_from_scratch_and_lets_go_of_everything(
            steps in steps(),
            k in prop::sample::select(vec![1_usize, 2, 3, 20]),
            items in prop::sample::select(vec![0_i64, 1, 4, 4]),
            users in prop::sample::select(vec![0_i64, 1, 50]),
            slice in prop::sample::select(vec![1_usize, 3, 1_000]),
            pieces in prop::sample::select(vec![1_usize, 2, 100]),
            turn in any::<u64>(),
        ) {
            let mut viewers = Viewers::new(k, [items, users]);
            let mut rows = Rows::default();
            let mut sources = [Source::default(), Source::default()];
            let mut lists: BTreeMap<UserId, List> = BTreeMap::new();
            let (half, mut random) = (steps.len() / 2, turn | 1);
            let nothing = || (0..6).map(|user| (user, Vec::new())).collect();
            let everybody_leaves: Step = ((nothing(), Vec::new()), (nothing(), Vec::new()));
            let mut all: Vec<(usize, Step)> = steps.into_iter().enumerate().collect();
            all.push((usize::MAX, everybody_leaves.clone()));
            all.insert(half, (usize::MAX, everybody_leaves));
            for (time, (step, (of_items, of_users))) in (0..).zip(all) {
                let generation = u64::from(step >= half);
                let (mut profiles, mut neighbours, mut similar, mut histories) = (vec![], vec![], vec![], vec![]);
                let at = |row| Subscription { row, worker: 0 };
                let mut weigh = |user, row, weight, diff| profiles.push(((user, (row, weight)), time, diff));
                let mut value = |row, item, similarity, diff| {
                    neighbours.push(((at(row), Neighbour { item, similarity }), time, diff));
                };
                // No item is similar to itself.
                let (sets, mut changes) = of_items;
                changes.retain(|(row, item, _)| row != item);
                sources[ITEMS].apply((sets, changes), generation, &mut weigh, &mut value);
                if step == usize::MAX {
                    sources[ITEMS].clear(&mut value);
                }
                let mut weigh = |user, row, weight: Weight, diff| {
                    let similarity = u16::try_from(weight).unwrap();
                    similar.push(((user, SimilarUser { user: row, similarity }), time, diff));
                };
                let mut value = |row, item, level: u16, diff| {
                    histories.push(((at(row), (item, Level::try_from(level).unwrap())), time, diff));
                };
                sources[USERS].apply(of_users, generation, &mut weigh, &mut value);
                if step == usize::MAX {
                    sources[USERS].clear(&mut value);
                }
                // Profiles in any order, and similar users every other time.
                let mut place = |at: usize| {
                    random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    (random >> 33) as usize % (at + 1)
                };
                (1..profiles.len()).rev().for_each(|at| profiles.swap(at, place(at)));
                if place(1) == 0 {
                    (1..similar.len()).rev().for_each(|at| similar.swap(at, place(at)));
                }
                let updates = Updates {
                    profiles: vec![profiles],
                    neighbours: neighbours.chunks(pieces).map(<[_]>::to_vec).collect(),
                    similar: similar.chunks(pieces).map(<[_]>::to_vec).collect(),
                    histories: histories.chunks(pieces).map(<[_]>::to_vec).collect(),
                };
                let mut tick = Tick::begin(time, &updates, &mut viewers, &mut rows);
                let mut told = Vec::new();
                while !tick.advance(&mut slice.clone(), &mut viewers, &mut rows, &mut |user, list, diff| {
                    told.push((user, list, diff));
                }) {}
                for (user, list, diff) in told {
                    if diff < 0 {
                        prop_assert_eq!(lists.remove(&user), Some(list));
                    } else {
                        prop_assert_eq!(lists.insert(user, list), None);
                    }
                }
                let seen: Vec<UserId> = sources[ITEMS].weights.keys().copied().collect();
                for user in &seen {
                    let list: Vec<ItemId> =
                        lists.get(user).into_iter().flatten().map(|scored| scored.item).collect();
                    prop_assert_eq!(list, expected(*user, &sources, k, [items, users]), "user {} at {}", user, time);
                }
                if step == usize::MAX {
                    prop_assert!(rows.is_empty(), "an item or a user is held");
                    prop_assert!(viewers.is_empty(), "a viewer is held");
                }
            }
        }
    }
}
