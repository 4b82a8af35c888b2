//! The viewers of this worker: their profiles, their most similar users, and the emitted ones.

use schema::{IdMap, shrink_if_sparse};

use super::{Member, SimilarUser};
use crate::operators::{
    Dense, Holder, IdFilter, PREFETCH_BATCH, Profile, Ranked, RowCache, TopK, Totals, ViewerId, ViewerState, capacity,
    load_lines, prefetch, slot_mut, update_holders,
};
use crate::similarity::quantise::{phase, phased};
use crate::{Config, Diff, ItemId, Logarithm, ProfileItem, Similarity, UserId, Weight};

/// A viewer of an item, and what the item means in the viewer's profile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ItemViewer {
    viewer: ViewerId,
    share: Share,
}

impl Holder for ItemViewer {
    fn viewer(self) -> ViewerId {
        self.viewer
    }
}

/// The level and the stair of an item in a viewer's profile, packed into the weight of a [`Profile`].
#[derive(Clone, Copy, Debug, Default)]
struct Share(Weight);

impl Share {
    fn of(item: ProfileItem) -> Self {
        Share(Weight::from(item.stair) << 8 | Weight::from(item.level))
    }

    /// `min(level(u, i), level(v, i)) * stair(m_ui)` for the level of a user v. All items of a profile make less than 2^29.
    fn with(self, level: u32) -> u32 {
        (self.0 & 0xFF).min(level) * (self.0 >> 8)
    }

    /// `p_ui`: the most that a user can share.
    fn weight(self) -> u32 {
        self.with(u32::MAX)
    }
}

/// Hot fields: enough to discard most updates. Kept in a separate array so that a batch stays in cache.
#[derive(Clone, Copy, Debug)]
struct HotFields {
    /// Floor of the ranking. A user that scores less, before and after, changes nothing.
    threshold: i32,
    me: Dense,
    state: ViewerState,
}

#[derive(Debug)]
struct Viewer {
    user: UserId,
    /// Items of the profile, with packed shares as weights.
    profile: Profile,
    ranking: TopK<i32>,
    /// Similar users that were emitted last, best first.
    emitted: Vec<Similar>,
}

/// A user and its similarity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Similar {
    user: Dense,
    similarity: u16,
}

/// Members of a rescan that cost as much as one probe of a viewer, with everything that follows from it.
const MEMBERS_PER_PROBE: usize = 8;
/// A tick with fewer changed users than one in this many viewers is not weighed against a rescan.
const VIEWERS_PER_USER: usize = 4;

/// Work since the gauges were last updated.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Recomputed shares of a viewer and a user.
    pub(super) shared: usize,
    /// Emitted changes of similar users.
    pub(super) similar: usize,
}

/// All viewers of a worker, and the samples of their items.
///
/// A membership (item, user) is in two rows: the user in the row of the item, with all users that a viewer of the item is
/// compared with, and the item in the row of the user, with all viewers that are compared with the user.
pub(super) struct Viewers {
    /// Number of similar users of a viewer.
    keep: usize,
    /// Rise of a score when the square of the shared weight doubles.
    step: i32,
    /// Rows of items and users. Released at the end of a tick.
    pub(super) rows: RowCache<ItemViewer>,
    /// Fine logarithms of activity, for sampled users.
    activity: Vec<u32>,
    ids: IdMap<ViewerId>,
    viewers: Vec<Viewer>,
    /// Hot fields by viewer.
    hot: Vec<HotFields>,
    /// Kept users by viewer, with false positives.
    kept: Vec<IdFilter>,
    free: Vec<ViewerId>,
    /// Viewers to flush when the tick is complete, each once.
    dirty: Vec<ViewerId>,
    /// Viewers and their items with a share that this tick may have changed.
    changed_shares: Vec<(ViewerId, Dense)>,
    pub(super) work: Work,
    logarithm: Logarithm,
    similarity: Similarity,
    /// Scratch space by viewer: 1 plus the weight shared with the current user, or 0.
    shared: Vec<u32>,
    /// Viewers with an entry in `shared`.
    reached: Vec<ViewerId>,
    /// Reached viewers whose ranking may change, with the score of the user.
    affected: Vec<(ViewerId, Option<i32>)>,
    totals: Totals,
    candidates: Vec<Ranked<i32>>,
    similar: Vec<Similar>,
}

impl Viewers {
    pub(super) fn new(config: &Config) -> Self {
        Viewers {
            keep: config.similar_users,
            step: config.user_resolution.cast_signed(),
            rows: RowCache::default(),
            activity: Vec::new(),
            ids: IdMap::default(),
            viewers: Vec::new(),
            hot: Vec::new(),
            kept: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            changed_shares: Vec::new(),
            work: Work::default(),
            logarithm: Logarithm::new(config.user_resolution),
            similarity: Similarity::new(config.user_resolution),
            shared: Vec::new(),
            reached: Vec::new(),
            affected: Vec::new(),
            totals: Totals::default(),
            candidates: Vec::new(),
            similar: Vec::new(),
        }
    }

    /// Step 1: applies an update of the sample of an item. Returns the dense ids of user and item.
    pub(super) fn update_sample(&mut self, item: ItemId, member: Member, diff: Diff) -> (Dense, Dense) {
        let (item, user) = (self.rows.intern(item), self.rows.intern_user(member.user));
        let level = u32::from(member.level);
        self.rows.update(item, user, level, diff);
        self.rows.update(user, item, level, diff);
        (user, item)
    }

    /// Step 2: applies an update of a user's activity, a fine logarithm. Retraction and insertion add up to the new value.
    pub(super) fn update_activity(&mut self, user: UserId, fine: u32, diff: Diff) -> Dense {
        let dense = self.rows.intern_user(user);
        let activity = slot_mut(&mut self.activity, dense);
        *activity = if diff > 0 { activity.wrapping_add(fine) } else { activity.wrapping_sub(fine) };
        dense
    }

    /// Step 3: applies an update of a viewer's profile. Items beyond it make no difference.
    pub(super) fn update_profile(&mut self, user: UserId, item: ProfileItem, diff: Diff) {
        if !item.is_in_profile() {
            return;
        }
        let viewer = self.viewer_of(user);
        self.mark(viewer, ViewerState::Rescan);
        let row = self.rows.intern(item.item);
        if self.viewers[viewer as usize].profile.add(row, Share::of(item).0, diff) {
            self.rows.add_reference(row);
        }
        self.changed_shares.push((viewer, row));
    }

    /// Step 4, after steps 1 to 3: makes the viewers holders of the rows of their items, with their shares.
    pub(super) fn update_holders(&mut self) {
        for id in &self.dirty {
            let holder = |share| ItemViewer { viewer: *id, share: Share(share) };
            update_holders(&mut self.viewers, *id, |viewer| &mut viewer.profile, holder, &mut self.rows);
        }
        for (viewer, item) in self.changed_shares.drain(..) {
            if let Some((share, slot)) = self.viewers[viewer as usize].profile.share(item) {
                self.rows.get_mut(item).holders[slot as usize].share = Share(share);
            }
        }
    }

    /// Whether a rescan of all viewers costs less than applying the changes of these users one by one.
    pub(super) fn rescan_costs_less(&self, users: impl ExactSizeIterator<Item = Dense>) -> bool {
        // Most ticks are decided here: each membership has at least one viewer.
        if users.len() < self.ids.len() / VIEWERS_PER_USER {
            return false;
        }
        let probes: usize = users
            .flat_map(|user| self.rows.get(user).candidates())
            .map(|(item, _)| self.rows.get(item).holders.len())
            .sum();
        let others = self.ids.values().filter(|id| self.hot[**id as usize].state != ViewerState::Rescan);
        let items = others.flat_map(|id| self.viewers[*id as usize].profile.weights());
        let members: usize = items.map(|(item, _)| self.rows.get(item).len()).sum();
        probes * MEMBERS_PER_PROBE > members
    }

    /// Instead of step 5: marks all viewers for a rescan.
    pub(super) fn mark_all_for_rescan(&mut self) {
        let ids: Vec<ViewerId> = self.ids.values().copied().collect();
        for id in ids {
            self.mark(id, ViewerState::Rescan);
        }
    }

    /// Step 5: compares a changed user with all viewers that share an item with it, or did share one of `removed`. Returns
    /// the number of probes.
    pub(super) fn apply_user(&mut self, user: Dense, removed: impl Iterator<Item = Dense>) -> usize {
        self.shared.resize(self.viewers.len(), 0);
        let mut probes = 0;
        let removed = removed.map(|item| (item, 0));
        for (item, level) in self.rows.get(user).candidates().chain(removed) {
            let holders = &self.rows.get(item).holders;
            probes += holders.len();
            for holder in holders {
                let shared = &mut self.shared[holder.viewer as usize];
                if *shared == 0 {
                    *shared = 1;
                    self.reached.push(holder.viewer);
                }
                *shared += holder.share.with(level);
            }
        }
        self.work.shared += self.reached.len();
        let fine = self.activity.get(user as usize).copied().unwrap_or(0);
        for viewer in self.reached.drain(..) {
            let shared = std::mem::take(&mut self.shared[viewer as usize]) - 1;
            let hot = &self.hot[viewer as usize];
            if hot.state == ViewerState::Rescan || hot.me == user {
                continue;
            }
            let score = score(u64::from(shared), fine, hot.me, user, &self.logarithm);
            if score.is_some_and(|score| score >= hot.threshold) || self.kept[viewer as usize].may_contain(user) {
                self.affected.push((viewer, score));
            }
        }
        for batch in self.affected.chunks(PREFETCH_BATCH) {
            let rankings = || batch.iter().map(|(viewer, _)| &self.viewers[*viewer as usize].ranking);
            prefetch(rankings().map(|ranking| ranking.best(1).len()));
            prefetch(rankings().map(TopK::load));
            for (viewer, score) in batch {
                let hot = &mut self.hot[*viewer as usize];
                let ranking = &mut self.viewers[*viewer as usize].ranking;
                let changed = ranking.update(user, *score, capacity(self.keep), self.rows.ids());
                self.kept[*viewer as usize].add(user);
                hot.threshold = ranking.floor().unwrap_or(i32::MIN);
                // A change within the reserve changes no output.
                let is_visible = changed < self.keep || ranking.needs_rescan(self.keep);
                if is_visible && hot.state.raise(ViewerState::Dirty) {
                    self.dirty.push(*viewer);
                }
            }
        }
        self.affected.clear();
        probes
    }

    /// Prefetches what [`Viewers::flush`] reads of the next dirty viewers.
    pub(super) fn prefetch_dirty(&self) {
        let next = || self.dirty.iter().rev().take(PREFETCH_BATCH).map(|id| &self.viewers[*id as usize]);
        prefetch(next().map(|viewer| viewer.user ^ viewer.emitted.len() as u64));
        prefetch(next().map(|viewer| viewer.ranking.load() ^ load_lines(&viewer.emitted, |similar| similar.user)));
    }

    /// Step 6: flushes one dirty viewer: emits the changes of its similar users. Returns whether there was one.
    pub(super) fn flush(&mut self, emit: &mut impl FnMut(UserId, SimilarUser, Diff)) -> bool {
        let Some(id) = self.dirty.pop() else { return false };
        let state = std::mem::replace(&mut self.hot[id as usize].state, ViewerState::Clean);
        if state == ViewerState::Rescan || self.viewers[id as usize].ranking.needs_rescan(self.keep) {
            self.rescan(id);
        }
        let hot = &mut self.hot[id as usize];
        let viewer = &mut self.viewers[id as usize];
        hot.threshold = viewer.ranking.floor().unwrap_or(i32::MIN);
        self.kept[id as usize] = viewer.ranking.id_filter();
        let weights = viewer.profile.weights().map(|(_, share)| u64::from(Share(share).weight()));
        let own = self.logarithm.fine(weights.sum());
        self.similar.clear();
        self.similar.extend(viewer.ranking.best(self.keep).iter().map(|ranked| {
            let exponent = ranked.score - against(own, hot.me, ranked.id);
            Similar { user: ranked.id, similarity: self.similarity.of(exponent) }
        }));
        if self.similar != viewer.emitted {
            let ids = self.rows.ids();
            let mut emit = |Similar { user, similarity }: &Similar, diff: Diff| {
                self.work.similar += 1;
                emit(viewer.user, SimilarUser { user: ids.name(*user), similarity: *similarity }, diff);
            };
            // Mostly the same users in the same order have a new similarity, as the profile of their viewer weighs more. A
            // retraction directly precedes its insertion, so that downstream operators look the user up once.
            for (rank, now) in self.similar.iter().enumerate() {
                let is_it = |was: &&Similar| was.user == now.user;
                let was = viewer.emitted.get(rank).filter(is_it).or_else(|| viewer.emitted.iter().find(is_it));
                if was != Some(now) {
                    if let Some(was) = was {
                        emit(was, -1);
                    }
                    emit(now, 1);
                }
            }
            for (rank, was) in viewer.emitted.iter().enumerate() {
                let is_it = |now: &Similar| now.user == was.user;
                if !self.similar.get(rank).is_some_and(is_it) && !self.similar.iter().any(is_it) {
                    emit(was, -1);
                }
            }
            viewer.emitted.clone_from(&self.similar);
        }
        if viewer.profile.is_empty() {
            self.ids.remove(&viewer.user);
            shrink_if_sparse(&mut self.ids);
            self.rows.remove_reference(hot.me);
            *viewer = Viewer::new(0);
            self.free.push(id);
        }
        true
    }

    /// Compares a viewer with all users in the samples of its items.
    fn rescan(&mut self, id: ViewerId) {
        let me = self.hot[id as usize].me;
        let viewer = &mut self.viewers[id as usize];
        let rows = &self.rows;
        self.totals.reserve(rows.ids().bound());
        let profile = || viewer.profile.weights();
        prefetch(profile().map(|(item, _)| rows.get(item).load()));
        self.totals.exclude(std::iter::once(me));
        for (item, share) in profile() {
            let members = rows.get(item).candidates();
            self.totals.add(members.map(|(user, level)| (user, i64::from(Share(share).with(level)))));
        }
        let (activity, logarithm) = (&self.activity, &self.logarithm);
        let score = |user: Dense, shared: i64| {
            score(shared.unsigned_abs(), activity[user as usize], me, user, logarithm).unwrap_or(i32::MIN)
        };
        // The best so far are mostly among the best again. Users that score a step less than the worst of them need not be
        // ranked.
        let best = viewer.ranking.best(self.keep);
        let scores = best.iter().map(|ranked| score(ranked.id, self.totals.get(ranked.id)));
        let worst = scores.min().filter(|_| best.len() == self.keep);
        let cut = worst.map_or(i32::MIN, |worst| worst.saturating_sub(self.step));
        let mut floor = None;
        for (id, shared) in self.totals.drain() {
            let score = score(id, shared);
            if score >= cut {
                self.candidates.push(Ranked { score, id });
            } else {
                floor = floor.max(Some(score));
            }
        }
        viewer.ranking.rebuild(&mut self.candidates, floor, capacity(self.keep), rows.ids());
    }

    fn viewer_of(&mut self, user: UserId) -> ViewerId {
        if let Some(id) = self.ids.get(&user) {
            return *id;
        }
        let me = self.rows.intern_user(user);
        self.rows.add_reference(me);
        let hot = HotFields { threshold: i32::MIN, me, state: ViewerState::Clean };
        let id = self.free.pop().unwrap_or_else(|| {
            self.viewers.push(Viewer::new(user));
            self.hot.push(hot);
            self.kept.push(IdFilter::default());
            ViewerId::try_from(self.viewers.len() - 1).expect("fewer viewers than 2^32")
        });
        self.viewers[id as usize].user = user;
        self.hot[id as usize] = hot;
        self.kept[id as usize] = IdFilter::default();
        self.ids.insert(user, id);
        id
    }

    fn mark(&mut self, id: ViewerId, state: ViewerState) {
        if self.hot[id as usize].state.raise(state) {
            self.dirty.push(id);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.free.len() == self.viewers.len()
            && self.rows.is_empty()
            && self.activity.iter().all(|fine| *fine == 0)
    }
}

impl Viewer {
    fn new(user: UserId) -> Self {
        Viewer { user, profile: Profile::default(), ranking: TopK::default(), emitted: Vec::new() }
    }
}

/// `2 q'(W_uv) - q'_uv(A_v)`; `None` if nothing is shared.
fn score(shared: u64, fine: u32, me: Dense, user: Dense, logarithm: &Logarithm) -> Option<i32> {
    (shared > 0).then(|| 2 * logarithm.q(shared).cast_signed() - against(fine, me, user))
}

/// `q'_uv` of an activity, or of the weight of a profile.
fn against(fine: u32, u: Dense, v: Dense) -> i32 {
    phased(fine, phase(u64::from(u), u64::from(v))).cast_signed()
}
