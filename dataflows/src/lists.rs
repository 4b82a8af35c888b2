//! The list of each viewer, computed from rows that are cached with the viewers.
//!
//! A source gives a viewer weighted rows: similar items of each item of the profile, the history of each similar user. The
//! operator stores these weights and the k best candidates with a reserve and a floor. When the value of a candidate or the
//! weight of a row changes, the totals of kept candidates are adjusted, and the floor rises by the largest possible rise of
//! any other candidate. Only a candidate that may enter the k best is totalled again, with one probe into each row of the
//! viewer. Contributions are not stored, so a viewer that leaves the audience costs no more than dropping its state.

mod followers;
mod source;
mod sources;
mod viewers;

use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::channels::pact::Pipeline;

use self::followers::{Followers, ListUpdate};
use self::source::{OWN_ITEMS, SOURCES};
use self::sources::AnySource;
pub use self::sources::CandidateSource;
use self::viewers::{CandidateDelta, RowDelta, Viewers, Work};
use crate::cohorts::{CohortId, Role};
use crate::gauges::{Gauges, add};
use crate::operators::{Input, Output, PREFETCH_BATCH, RowCache, SlicedOperator, StageBuilder, ViewerState};
use crate::{Collection, Config, Diff, List, Time, UserId};

/// Maintains the `k` best items of each viewer over all sources. Empty lists are not in the collection. The followers in
/// `roles` have no input of their own and get the list of their representative.
///
/// A list is updated only if its sequence of items changes, and it keeps its scores until then. The retraction of a follower
/// may have other scores than its insertion.
///
/// The first source is that of similar items, because its members, the viewers' own items, are excluded from the lists. A
/// source that is left out has no inputs. Cost of a profile update: a pass over the rows of the viewer,
/// `stairs * neighbours` and `similar_users * history` candidates. Cost of a similar user: a pass over its history. Cost of a
/// changed value in a row: a search among the kept candidates of each holder, and one probe into each row of each holder
/// whose list may change. A row with many holders is processed in slices.
///
/// # Panics
///
/// If there is no source, or more than the operator has room for.
pub fn lists<'scope>(
    sources: Vec<CandidateSource<'scope>>,
    roles: Option<Collection<'scope, (CohortId, Role)>>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> Collection<'scope, (UserId, List)> {
    assert!(sources.len() <= SOURCES, "SOURCES counts all sources");
    let mut builder = StageBuilder::new("Lists", sources[OWN_ITEMS].scope);
    let mut weights = [0; SOURCES];
    for (weight, source) in weights.iter_mut().zip(&sources) {
        *weight = source.weight.into();
    }
    let sources = sources.into_iter().map(|source| (source.connect)(&mut builder)).collect();
    let roles = roles.map(|roles| builder.input(roles.inner, Pipeline)).unwrap_or_default();
    let (output, lists) = builder.output();
    let (viewers, gauges) = (Viewers::new(config.k, weights), Arc::clone(gauges));
    builder.build(config.slice, Lists { sources, roles, output, viewers, gauges, ..Lists::default() });
    lists.as_collection()
}

/// Fuel to flush a viewer, at most.
const FLUSH: usize = 16;

/// If a tick would apply more changed rows a viewer than this, all affected viewers are rescanned instead: most of them
/// would be in the end. Small in tests, which have few viewers and must cover both cases.
const MAX_ROWS_PER_VIEWER: usize = if cfg!(test) { 2 } else { 16 };

#[derive(Default)]
struct Lists {
    sources: Vec<Box<dyn AnySource>>,
    roles: Input<((CohortId, Role), Time, Diff)>,
    output: Output<((UserId, List), Time, Diff)>,
    viewers: Viewers,
    followers: Followers,
    rows: RowCache,
    /// Changed candidates of the tick, grouped by row.
    changed: Vec<CandidateDelta>,
    /// Whether the holders of changed rows are rescanned instead of getting each change.
    rescan: bool,
    /// First change of the current row.
    row: usize,
    /// Next holder of the current row.
    holder: usize,
    gauges: Arc<Gauges>,
}

impl SlicedOperator for Lists {
    fn begin(&mut self, time: Time) {
        let Lists { sources, viewers, rows, changed, .. } = self;
        debug_assert!(viewers.dirty.is_empty(), "the previous tick is done");
        // 1. Profiles and similar users, with the rows as of before the tick.
        for (source, input) in sources.iter().enumerate() {
            input.apply_members(time, source, viewers, rows);
        }
        // 2. Rows. All totals from here on use the values at the end of the tick.
        for (source, input) in sources.iter().enumerate() {
            input.apply_rows(time, source, changed, rows);
        }
        viewers.update_holders(rows);
        let applied: usize = changed.iter().map(|changed| rows.get(changed.row).holders.len()).sum();
        self.rescan = applied > MAX_ROWS_PER_VIEWER * viewers.len();
        for ((cohort, role), _, diff) in self.roles.take(time).into_iter().flatten() {
            let mut emitted = self.output.buffer();
            self.followers.update(cohort, role, diff, &mut |update| push(&mut emitted, time, update));
        }
    }

    fn advance(&mut self, time: Time, fuel: &mut usize) -> bool {
        let Lists { viewers, followers, rows, output, .. } = self;
        let mut emitted = output.buffer();
        // 3. Changed candidates, for each holder of their row.
        while let Some(CandidateDelta { row, .. }) = self.changed.get(self.row).copied() {
            let changed = self.changed[self.row..].chunk_by(|a, b| a.row == b.row).next().unwrap_or_default();
            let delta = RowDelta::new(changed);
            while let Some(holder) = rows.get(row).holders.get(self.holder) {
                if *fuel == 0 {
                    return false;
                }
                if self.rescan {
                    *fuel -= 1;
                    viewers.mark(*holder, ViewerState::Rescan);
                } else {
                    *fuel = fuel.saturating_sub(changed.len());
                    viewers.apply_row(*holder, &delta, rows);
                }
                self.holder += 1;
            }
            self.row += changed.len();
            self.holder = 0;
        }
        self.changed.clear();
        self.row = 0;
        // 4. Lists.
        while !viewers.dirty.is_empty() {
            viewers.prefetch_dirty(rows);
            for _ in 0..PREFETCH_BATCH {
                let Some(viewer) = viewers.dirty.pop() else { break };
                if let Some(update) = viewers.flush(viewer, rows) {
                    followers.list_changed(update.0);
                    push(&mut emitted, time, update);
                }
                *fuel = fuel.saturating_sub(FLUSH);
                if *fuel == 0 && !viewers.dirty.is_empty() {
                    return false;
                }
            }
        }
        // 5. Lists of followers.
        let mut emit = |update| push(&mut emitted, time, update);
        while let Some(changed) = followers.flush(|user| viewers.list(user, rows), &mut emit) {
            *fuel = fuel.saturating_sub(changed);
            if *fuel == 0 && followers.is_dirty() {
                return false;
            }
        }
        // 6. Ids without references.
        rows.release();
        true
    }

    fn deactivate(&mut self, _done_before: Time) {
        let Work { totals, rescans, lists } = std::mem::take(&mut self.viewers.work);
        add(&self.gauges.totals, totals);
        add(&self.gauges.rescans, rescans);
        add(&self.gauges.lists, lists + std::mem::take(&mut self.followers.lists));
    }
}

/// Emits the retraction of a list and its successor; empty lists are not in the collection.
fn push(emitted: &mut Vec<((UserId, List), Time, Diff)>, time: Time, (user, old, new): ListUpdate) {
    let lists = [(old, -1), (new, 1)].into_iter().filter(|(list, _)| !list.is_empty());
    emitted.extend(lists.map(|(list, diff)| ((user, list), time, diff)));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::sources::{SimilarItemsSource, SimilarUsersSource, SourceInput};
    use super::*;
    use crate::{ItemId, Level, Neighbour, ProfileItem, SimilarUser, Subscriber, Subscription, Weight};

    const ITEMS: usize = 0;
    const USERS: usize = 1;

    /// New weights of a viewer (none: the viewer leaves).
    type Sets = Vec<(u64, Vec<(u64, Weight)>)>;
    /// Values of candidates in rows (0: removed).
    type Changes = Vec<(u64, u64, u16)>;
    /// The input of a tick: profiles and similarities of items; similar users and levels of items in their histories.
    type Step = ((Sets, Changes), (Sets, Changes));

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let profile = (0..6_u64, prop::collection::vec((0..14_u64, 0..4_u32), 0..5));
        let similarity = (0..14_u64, 0..14_u64, prop::sample::select(vec![0_u16, 0, 0, 1, 1, 2, 3, 50, 1024]));
        // Most ticks do not change profiles: then totals are recomputed one by one.
        let profiles = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(profile, 0..4)];
        let items = (profiles, prop::collection::vec(similarity, 0..16));
        let similar = (0..6_u64, prop::collection::vec((0..9_u64, 1..1_025_u32), 0..4));
        let similar = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(similar, 0..4)];
        let level = (0..9_u64, 0..14_u64, prop::sample::select(vec![0_u16, 0, 1, 2, 15]));
        let users = (similar, prop::collection::vec(level, 0..8));
        prop::collection::vec((items, users), 1..60)
    }

    fn name(item: u64, generation: u64) -> ItemId {
        // Several names agree in the low six bits.
        schema::spread(item + 100 * generation) & !0x38
    }

    /// The model of a source: weights of rows by viewer, and values of candidates by row.
    #[derive(Default)]
    struct SourceModel {
        weights: BTreeMap<UserId, BTreeMap<u64, Weight>>,
        rows: BTreeMap<u64, BTreeMap<ItemId, u16>>,
    }

    impl SourceModel {
        /// Sets weights and values and emits the differences, in no order except that insertions into a row precede
        /// retractions.
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

        fn change(&mut self, changes: BTreeMap<(u64, ItemId), u16>, value: &mut impl FnMut(u64, ItemId, u16, Diff)) {
            for ((row, item), new) in changes {
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

    fn expected(user: UserId, sources: &[SourceModel; 2], k: usize, weights: [i64; 2]) -> Vec<ItemId> {
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
        /// Compares with totals from scratch. Retractions and insertions come in any order and in several containers. The
        /// catalogue is replaced halfway, so that ids are reused. At the end all state is empty.
        #[test]
        fn equals_totals_from_scratch_and_releases_all_state(
            steps in steps(),
            k in prop::sample::select(vec![1_usize, 2, 3, 20]),
            items in prop::sample::select(vec![0_i64, 1, 4, 4]),
            users in prop::sample::select(vec![0_i64, 1, 50]),
            slice in prop::sample::select(vec![1_usize, 3, 1_000]),
            pieces in prop::sample::select(vec![1_usize, 2, 100]),
            seed in any::<u64>(),
        ) {
            let of_items = SourceInput::<SimilarItemsSource>::detached();
            let of_users = SourceInput::<SimilarUsersSource>::detached();
            let inputs: Vec<Box<dyn AnySource>> = vec![Box::new(of_items.clone()), Box::new(of_users.clone())];
            let viewers = Viewers::new(k, [items, users]);
            let mut operator = Lists { sources: inputs, viewers, ..Lists::default() };
            let mut sources = [SourceModel::default(), SourceModel::default()];
            let mut lists: BTreeMap<UserId, List> = BTreeMap::new();
            let (half, mut random) = (steps.len() / 2, seed | 1);
            let nothing = || (0..6).map(|user| (user, Vec::new())).collect();
            let removal: Step = ((nothing(), Vec::new()), (nothing(), Vec::new()));
            let mut all: Vec<(usize, Step)> = steps.into_iter().enumerate().collect();
            all.push((usize::MAX, removal.clone()));
            all.insert(half, (usize::MAX, removal));
            for (time, (step, (items_step, users_step))) in (0..).zip(all) {
                let generation = u64::from(step >= half);
                let (mut profiles, mut neighbours, mut similar, mut histories) = (vec![], vec![], vec![], vec![]);
                let at = |row| Subscription { row, subscriber: Subscriber::Worker(0) };
                let mut weigh = |user, item, weight: Weight, diff| {
                    let stair = u16::try_from(weight).unwrap();
                    profiles.push(((user, ProfileItem { item, level: (stair > 0).into(), stair }), time, diff));
                };
                let mut value = |row, item, similarity, diff| {
                    neighbours.push(((at(row), Neighbour { item, similarity }), time, diff));
                };
                // No item is similar to itself.
                let (sets, mut changes) = items_step;
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
                sources[USERS].apply(users_step, generation, &mut weigh, &mut value);
                if step == usize::MAX {
                    sources[USERS].clear(&mut value);
                }
                // Profiles come in any order, similar users in every other tick.
                let mut place = |at: usize| {
                    random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    (random >> 33) as usize % (at + 1)
                };
                (1..profiles.len()).rev().for_each(|at| profiles.swap(at, place(at)));
                if place(1) == 0 {
                    (1..similar.len()).rev().for_each(|at| similar.swap(at, place(at)));
                }
                of_items.members.put(time, vec![profiles]);
                of_items.rows.put(time, neighbours.chunks(pieces).map(<[_]>::to_vec).collect());
                of_users.members.put(time, similar.chunks(pieces).map(<[_]>::to_vec).collect());
                of_users.rows.put(time, histories.chunks(pieces).map(<[_]>::to_vec).collect());
                operator.begin(time);
                while !operator.advance(time, &mut slice.clone()) {}
                for ((user, list), _, diff) in std::mem::take(&mut *operator.output.buffer()) {
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
                    prop_assert!(operator.rows.is_empty(), "an item or a user is left");
                    prop_assert!(operator.viewers.is_empty(), "a viewer is left");
                }
            }
        }
    }
}
