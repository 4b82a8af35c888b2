//! Every viewer's list: a look-up over the rows that lie with the viewers, not a join that stores contributions.
//!
//! A viewer keeps profile, k best, reserve and floor. When the similarity of (i, j) changes, each viewer with i in the
//! profile takes j's total anew with one probe for each item of the profile; nobody stores contributions, and leaving
//! the audience is a drop.

mod profile;
mod rows;
mod totals;
mod viewers;

use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use self::rows::Rows;
use self::viewers::{Changed, Crowd, TOGETHER, Viewers, Work};
use crate::gauges::{Gauges, add};
use crate::operator::{Held, Out, Stash, complete_before, earlier, give};
use crate::{Collection, Config, Diff, Interest, ItemId, List, Neighbour, Time, UserId, Weight};

/// Keeps each viewer's `k` best items, totalled over the profile; empty lists are not in the collection.
///
/// `profiles` must lie where the viewers do, `neighbours` is sent there. Cost of a profile update: a pass over
/// `stairs * neighbours` candidates; of a changed similarity: one probe into each row of the profile of each holder whose
/// list it can reach. A row that a whole crowd holds is worked off in slices.
pub fn lists<'scope>(
    profiles: Collection<'scope, (UserId, (ItemId, Weight))>,
    neighbours: Collection<'scope, (Interest, Neighbour)>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> Collection<'scope, (UserId, List)> {
    let scope = profiles.inner.scope();
    let mut builder = OperatorBuilder::new("Lists".into(), scope);
    let mut profiles = builder.new_input(profiles.inner, Pipeline);
    let to_viewers = |update: &((Interest, Neighbour), Time, Diff)| update.0.0.worker;
    let mut neighbours = builder.new_input(neighbours.inner, Exchange::new(to_viewers));
    let (out, lists) = builder.new_output();
    let mut rows = Rows::default();
    let mut viewers = Viewers::new(config.k, config.items);
    let slice = config.slice;
    let gauges = Arc::clone(gauges);

    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |_| {
        let mut out: Out<((UserId, List), Time, Diff)> = OutputBuilder::from(out);
        let mut held = Held::new(1);
        let mut profile_stash = Stash::new();
        let mut neighbour_stash = Stash::new();
        let mut tick: Option<Tick> = None;
        let mut updates = Vec::new();

        move |frontiers| {
            profiles.for_each(|capability, data| profile_stash.put(held.retain(&capability), data));
            neighbours.for_each(|capability, data| neighbour_stash.put(held.retain(&capability), data));
            let upper = complete_before(frontiers);

            let mut fuel = slice;
            loop {
                let complete = earlier(profile_stash.first(), neighbour_stash.first()).filter(|time| *time < upper);
                let Some(mut now) = tick.take().or_else(|| {
                    complete.map(|time| {
                        Tick::begin(
                            time,
                            &profile_stash.take(time),
                            &neighbour_stash.take(time),
                            &mut viewers,
                            &mut rows,
                        )
                    })
                }) else {
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
            held.release_before(earlier(now, earlier(profile_stash.first(), neighbour_stash.first())));
        }
    });
    lists.as_collection()
}

/// What settling a viewer costs at most, in totals taken anew.
const SETTLING: usize = 16;

/// When a tick would touch each viewer more often than this, all candidates of the viewers it reaches are gone through:
/// most would be in the end. Small in tests, which have few viewers and are to see both.
const MOST_TOUCHES: usize = if cfg!(test) { 2 } else { 16 };

/// A tick being worked off, in slices.
struct Tick {
    time: Time,
    /// Similarities that changed, row by row, and how far their holders have been told.
    changed: Vec<Changed>,
    /// Whether so much changed that holders are not told what: all of their totals are taken anew.
    takes_all: bool,
    row: usize,
    holder: usize,
}

impl Tick {
    /// Applies the updates of a tick to rows and profiles.
    fn begin(
        time: Time,
        profiles: &[Vec<((UserId, (ItemId, Weight)), Time, Diff)>],
        neighbours: &[Vec<((Interest, Neighbour), Time, Diff)>],
        viewers: &mut Viewers,
        rows: &mut Rows,
    ) -> Self {
        // 1. Rows, so that every total is taken from similarities as they are at the end of the tick.
        let mut changed: Vec<Changed> = Vec::new();
        let updates = neighbours.iter().flat_map(|updates| updates.chunk_by(|a, b| a.0.0.item == b.0.0.item));
        let updates: Vec<_> = updates.map(|same| (rows.intern(same[0].0.0.item), same)).collect();
        for some in updates.chunks(TOGETHER) {
            std::hint::black_box(some.iter().fold(0, |seen, (row, _)| seen ^ rows.get(*row).peek()));
            for (row, same) in some {
                let first = changed.len();
                for ((_, neighbour), _, diff) in *same {
                    let item = rows.intern(neighbour.item);
                    let (old, new) = rows.update(*row, item, *neighbour, *diff);
                    // A retraction and an insertion of one row come close together: they are one change.
                    match changed[first..].iter_mut().find(|changed| changed.item == item) {
                        Some(changed) => changed.new = new,
                        None => changed.push(Changed { row: *row, item, old, new }),
                    }
                }
            }
        }
        // 2. Profiles.
        viewers.update(profiles, rows);
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
        // 3. Candidates whose similarity to an item of a profile changed.
        while let Some(Changed { row, .. }) = self.changed.get(self.row).copied() {
            let changed = self.changed[self.row..].chunk_by(|a, b| a.row == b.row).next().unwrap_or_default();
            let crowd = Crowd::new(changed);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What a tick brings: profiles set anew (empty: the viewer leaves), and similarities (0: no neighbour any more).
    type Step = (Vec<(u64, Vec<(u64, Weight)>)>, Vec<(u64, u64, u16)>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let profile = (0..6_u64, prop::collection::vec((0..14_u64, 0..4_u32), 0..5));
        let similarity = (0..14_u64, 0..14_u64, prop::sample::select(vec![0_u16, 0, 0, 1, 1, 2, 3, 50, 1024]));
        // Most ticks leave the profiles as they are: then totals are taken one by one.
        let profiles = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(profile, 0..4)];
        let step = (profiles, prop::collection::vec(similarity, 0..16));
        prop::collection::vec(step, 1..60)
    }

    fn name(item: u64, generation: u64) -> ItemId {
        // Several agree in the low six bits.
        (item + 100 * generation).wrapping_mul(0x9E37_79B9_7F4A_7C15) & !0x38
    }

    fn expected(
        profile: &BTreeMap<ItemId, Weight>,
        rows: &BTreeMap<ItemId, BTreeMap<ItemId, u16>>,
        k: usize,
        source: i64,
    ) -> Vec<ItemId> {
        let mut totals: BTreeMap<ItemId, i64> = BTreeMap::new();
        for (item, weight) in profile {
            for (neighbour, similarity) in rows.get(item).into_iter().flatten() {
                *totals.entry(*neighbour).or_default() += i64::from(*weight) * i64::from(*similarity) * source;
            }
        }
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
            source in prop::sample::select(vec![0_i64, 1, 4, 4]),
            slice in prop::sample::select(vec![1_usize, 3, 1_000]),
            pieces in prop::sample::select(vec![1_usize, 2, 100]),
            turn in any::<u64>(),
        ) {
            let mut viewers = Viewers::new(k, source);
            let mut rows = Rows::default();
            let mut profiles: BTreeMap<UserId, BTreeMap<ItemId, Weight>> = BTreeMap::new();
            let mut similar: BTreeMap<ItemId, BTreeMap<ItemId, u16>> = BTreeMap::new();
            let mut lists: BTreeMap<UserId, List> = BTreeMap::new();
            let (half, mut random) = (steps.len() / 2, turn | 1);
            let everybody_leaves: Step = ((0..6).map(|user| (user, Vec::new())).collect(), Vec::new());
            let mut all: Vec<(usize, Step)> = steps.into_iter().enumerate().collect();
            all.push((usize::MAX, everybody_leaves.clone()));
            all.insert(half, (usize::MAX, everybody_leaves));
            for (time, (step, (sets, changes))) in (0..).zip(all) {
                let generation = u64::from(step >= half);
                let (mut profile_updates, mut neighbour_updates) = (Vec::new(), Vec::new());
                for (user, entries) in sets {
                    let new: BTreeMap<_, _> =
                        entries.into_iter().map(|(item, weight)| (name(item, generation), weight)).collect();
                    let old = profiles.insert(user, new.clone()).unwrap_or_default();
                    profile_updates.extend(old.into_iter().map(|entry| ((user, entry), time, -1)));
                    profile_updates.extend(new.into_iter().map(|entry| ((user, entry), time, 1)));
                }
                let mut moved: BTreeMap<(ItemId, ItemId), u16> = BTreeMap::new();
                for (row, item, similarity) in changes.iter().filter(|(row, item, _)| row != item) {
                    moved.insert((name(*row, generation), name(*item, generation)), *similarity);
                }
                if step == usize::MAX {
                    let all = similar.iter().flat_map(|(row, items)| items.keys().map(|item| ((*row, *item), 0)));
                    moved = all.collect();
                }
                for ((item, neighbour), new) in moved {
                    let row = similar.entry(item).or_default();
                    let old = if new > 0 { row.insert(neighbour, new) } else { row.remove(&neighbour) };
                    let told = |similarity, diff| {
                        ((Interest { item, worker: 0 }, Neighbour { item: neighbour, similarity }), time, diff)
                    };
                    // What comes first, then what goes: as the rankings tell it.
                    neighbour_updates.extend((new > 0).then(|| told(new, 1)));
                    neighbour_updates.extend(old.map(|old| told(old, -1)));
                }
                // Profiles in any order.
                for at in (1..profile_updates.len()).rev() {
                    random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    profile_updates.swap(at, (random >> 33) as usize % (at + 1));
                }
                let containers: Vec<Vec<_>> = neighbour_updates.chunks(pieces).map(<[_]>::to_vec).collect();
                let mut tick = Tick::begin(time, &[profile_updates], &containers, &mut viewers, &mut rows);
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
                for (user, profile) in &profiles {
                    let list: Vec<ItemId> =
                        lists.get(user).into_iter().flatten().map(|scored| scored.item).collect();
                    prop_assert_eq!(list, expected(profile, &similar, k, source), "user {} at {}", user, time);
                }
                if step == usize::MAX {
                    let names = (0..14).flat_map(|item| [name(item, 0), name(item, 1)]);
                    prop_assert!(names.into_iter().all(|item| rows.ids().get(item).is_none()), "an item is held");
                    prop_assert!(viewers.is_empty(), "a viewer is held");
                }
            }
        }
    }
}
