//! The viewers of this worker: profiles, rankings, and the emitted lists.

use schema::{IdMap, shrink_if_sparse};

use super::followers::ListUpdate;
use super::source::{OWN_ITEMS, SOURCES, Source};
use crate::operators::{
    Dense, PREFETCH_BATCH, Profile, Ranked, Row, RowCache, TopK, Totals, UpdateBatches, ViewerId, ViewerState,
    capacity, load_lines, mask_bit, prefetch, update_holders,
};
use crate::{Diff, List, Scored, Time, UserId};

/// The total of a single candidate takes a probe into each row of the viewer. More than this many cost as much as a
/// rescan.
const MAX_RAISED: usize = 4;

/// Hot fields: enough to discard most updates. Kept in a separate array so that a batch stays in cache.
#[derive(Clone, Copy, Debug)]
struct HotFields {
    /// [`TopK::mask`] of the kept candidates, perhaps with further bits.
    kept: u64,
    state: ViewerState,
}

#[derive(Debug)]
struct Viewer {
    user: UserId,
    /// Weights of rows, by source.
    profiles: [Profile; SOURCES],
    ranking: TopK<i64>,
    /// List that was emitted last.
    list: List,
    /// Candidates that are not kept and whose total may have risen in this tick.
    raised: Vec<Dense>,
}

/// Work since the gauges were last updated.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Recomputed totals of single candidates.
    pub(super) totals: usize,
    /// Rescanned viewers.
    pub(super) rescans: usize,
    /// Changed lists.
    pub(super) lists: usize,
}

/// A changed value of a candidate in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct CandidateDelta {
    pub(super) source: usize,
    pub(super) row: Dense,
    pub(super) item: Dense,
    pub(super) old: u32,
    pub(super) new: u32,
}

/// All changes of a row in a tick.
pub(super) struct RowDelta<'a> {
    /// Changed candidates; at least one.
    changed: &'a [CandidateDelta],
    /// Bits of the candidates in a [`TopK::mask`].
    items: u64,
    /// Whether a value rises.
    rises: bool,
}

impl<'a> RowDelta<'a> {
    pub(super) fn new(changed: &'a [CandidateDelta]) -> Self {
        let items = changed.iter().fold(0, |items, changed| items | mask_bit(changed.item));
        RowDelta { changed, items, rises: changed.iter().any(|changed| changed.new > changed.old) }
    }
}

/// All viewers of a worker.
#[derive(Default)]
pub(super) struct Viewers {
    k: usize,
    /// Weights of the sources.
    weights: [i64; SOURCES],
    ids: IdMap<ViewerId>,
    viewers: Vec<Viewer>,
    /// Hot fields by viewer.
    hot: Vec<HotFields>,
    free: Vec<ViewerId>,
    /// Viewers to flush, each once.
    pub(super) dirty: Vec<ViewerId>,
    /// Viewers with changed members in this tick.
    changed_members: Vec<ViewerId>,
    pub(super) work: Work,
    totals: Totals,
    candidates: Vec<Ranked<i64>>,
}

impl Viewers {
    pub(super) fn new(k: usize, weights: [i64; SOURCES]) -> Self {
        Viewers { k, weights, ..Viewers::default() }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.free.len() == self.viewers.len()
    }

    /// Applies the updates of the viewers' own items, in any order. These viewers are rescanned.
    pub(super) fn apply_own_items<S: Source>(
        &mut self,
        updates: &UpdateBatches<(UserId, S::Member)>,
        rows: &mut RowCache,
    ) {
        // A retraction and its insertion are mostly adjacent.
        let mut last: Option<(u64, Dense)> = None;
        for same in updates.iter().flat_map(|updates| updates.chunk_by(|a, b| a.0.0 == b.0.0)) {
            let id = self.viewer_of(same[0].0.0);
            self.changed_members.push(id);
            self.mark(id, ViewerState::Rescan);
            let profile = &mut self.viewers[id as usize].profiles[OWN_ITEMS];
            if profile.is_empty() {
                profile.reserve(same.len());
            }
            for ((_, member), _, diff) in same {
                let (item, weight) = S::member(member);
                let row = match last {
                    Some((same, row)) if same == item => row,
                    _ => S::intern(rows, item),
                };
                last = Some((item, row));
                if profile.add(row, weight, *diff) {
                    rows.add_reference(row);
                }
            }
        }
    }

    /// Applies the updates of members of another source, in any order, with the rows as of before the tick. Totals are
    /// adjusted unless the viewer is rescanned anyway: mostly one member has a slightly different weight.
    pub(super) fn apply_members<S: Source>(
        &mut self,
        source: usize,
        updates: &UpdateBatches<(UserId, S::Member)>,
        rows: &mut RowCache,
    ) {
        let by_viewer: Vec<_> = updates.iter().flat_map(|updates| updates.chunk_by(|a, b| a.0.0 == b.0.0)).collect();
        for batch in by_viewer.chunks(PREFETCH_BATCH) {
            let first = self.changed_members.len();
            for same in batch {
                let id = self.viewer_of(same[0].0.0);
                self.changed_members.push(id);
            }
            let changed = self.changed_members[first..].iter();
            prefetch(changed.map(|id| self.viewers[*id as usize].profiles[source].load()));
            for (same, at) in batch.iter().zip(first..) {
                self.apply_members_of::<S>(self.changed_members[at], source, same, rows);
            }
        }
    }

    fn apply_members_of<S: Source>(
        &mut self,
        id: ViewerId,
        source: usize,
        updates: &[((UserId, S::Member), Time, Diff)],
        rows: &mut RowCache,
    ) {
        // A retraction and its insertion are adjacent.
        for same in updates.chunk_by(|a, b| S::member(&a.0.1).0 == S::member(&b.0.1).0) {
            let row = S::intern(rows, S::member(&same[0].0.1).0);
            let profile = &mut self.viewers[id as usize].profiles[source];
            let mut change = 0;
            for ((_, member), _, diff) in same {
                let (_, weight) = S::member(member);
                change += i64::from(weight) * *diff as i64;
                if profile.add(row, weight, *diff) {
                    rows.add_reference(row);
                }
            }
            let change = change * self.weights[source];
            if change != 0 && self.hot[id as usize].state != ViewerState::Rescan {
                let deltas = rows.get(row).candidates().map(|(item, value)| (item, change * i64::from(value)));
                self.apply_delta(id, deltas, rows);
            }
        }
    }

    /// After all updates of a tick: makes the viewers holders of exactly the rows with a weight.
    pub(super) fn update_holders(&mut self, rows: &mut RowCache) {
        let changed = std::mem::take(&mut self.changed_members);
        for batch in changed.chunks(PREFETCH_BATCH) {
            let profiles = || batch.iter().flat_map(|id| &self.viewers[*id as usize].profiles);
            prefetch(profiles().flat_map(Profile::pending).map(|row| rows.get(row).holders.len()));
            let last = |row| rows.get(row).holders.last().map_or(0, |id| *id);
            prefetch(profiles().flat_map(Profile::pending).map(last));
            for id in batch {
                for source in 0..SOURCES {
                    update_holders(&mut self.viewers, *id, |viewer| &mut viewer.profiles[source], |_| *id, rows);
                }
                if self.viewers[*id as usize].has_left() {
                    self.mark(*id, ViewerState::Rescan);
                }
            }
        }
    }

    /// Applies the changes of a row to one of its holders.
    #[inline]
    pub(super) fn apply_row(&mut self, id: ViewerId, delta: &RowDelta, rows: &RowCache) {
        let hot = &self.hot[id as usize];
        if hot.state == ViewerState::Rescan || !(delta.rises || hot.kept & delta.items != 0) {
            return;
        }
        let CandidateDelta { source, row, .. } = delta.changed[0];
        let weight = i64::from(self.viewers[id as usize].profiles[source].weight(row)) * self.weights[source];
        let deltas = delta.changed.iter();
        let deltas = deltas.map(|changed| (changed.item, weight * (i64::from(changed.new) - i64::from(changed.old))));
        self.apply_delta(id, deltas, rows);
    }

    /// Applies changes of totals that come from one row. Totals of kept candidates are adjusted. Of the others only a bound
    /// is known, the floor, which rises by the largest change. A candidate that may enter the k best is recorded as raised.
    #[inline]
    fn apply_delta(&mut self, id: ViewerId, deltas: impl Iterator<Item = (Dense, i64)>, rows: &RowCache) {
        let hot = &mut self.hot[id as usize];
        let viewer = &mut self.viewers[id as usize];
        let (mut rise, mut is_visible) = (0, false);
        for (item, delta) in deltas {
            let total = |total: i64| Some(total + delta).filter(|total| *total > 0);
            let may_be_kept = hot.kept & mask_bit(item) != 0;
            if let Some(rank) = may_be_kept.then(|| viewer.ranking.adjust(item, rows.ids(), total)).flatten() {
                // A change within the reserve changes no list.
                is_visible |= rank < self.k;
            } else if delta > rise && !viewer.has_seen(item) {
                if viewer.ranking.slack(self.k).is_some_and(|slack| delta < slack) {
                    rise = delta;
                } else if !viewer.raised.contains(&item) {
                    viewer.raised.push(item);
                    is_visible = true;
                }
            }
        }
        viewer.ranking.raise_floor(rise);
        if is_visible || viewer.ranking.needs_rescan(self.k) {
            let state = if viewer.raised.len() > MAX_RAISED { ViewerState::Rescan } else { ViewerState::Dirty };
            self.mark(id, state);
        }
    }

    /// Number of viewers.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Prefetches what [`Viewers::flush`] reads of the next dirty viewers.
    pub(super) fn prefetch_dirty(&self, rows: &RowCache) {
        let next = || {
            let next = self.dirty.iter().rev().take(PREFETCH_BATCH);
            next.map(|id| (&self.viewers[*id as usize], self.hot[*id as usize].state))
        };
        let list = |viewer: &Viewer| load_lines(&viewer.list, |scored| scored.item as u32);
        prefetch(next().map(|(viewer, _)| viewer.ranking.load() ^ list(viewer)));
        // Only recomputed totals read rows.
        let rows_read = || {
            let next = next().filter(|(viewer, state)| *state == ViewerState::Rescan || !viewer.raised.is_empty());
            next.flat_map(|(viewer, _)| viewer.weighted_rows(self.weights)).map(|(row, _)| rows.get(row))
        };
        prefetch(rows_read().map(Row::len));
        prefetch(rows_read().map(Row::load));
    }

    /// Flushes a viewer. Returns the old and the new list if the sequence of items changed.
    pub(super) fn flush(&mut self, id: ViewerId, rows: &RowCache) -> Option<ListUpdate> {
        let state = std::mem::replace(&mut self.hot[id as usize].state, ViewerState::Clean);
        let viewer = &mut self.viewers[id as usize];
        let mut raised = std::mem::take(&mut viewer.raised);
        if state == ViewerState::Dirty {
            self.work.totals += raised.len();
            for item in &raised {
                let total = viewer.total(*item, self.weights, rows);
                let total = Some(total).filter(|total| *total > 0);
                viewer.ranking.update(*item, total, capacity(self.k), rows.ids());
            }
        }
        raised.clear();
        viewer.raised = raised;
        if state == ViewerState::Rescan || viewer.ranking.needs_rescan(self.k) {
            self.rescan(id, rows);
        }
        let viewer = &mut self.viewers[id as usize];
        self.hot[id as usize].kept = viewer.ranking.mask();
        let order_changed = viewer.ranking.take_order_changed(self.k);
        let best = viewer.ranking.best(self.k);
        let name = |ranked: &Ranked<i64>| rows.ids().name(ranked.id);
        let same = !order_changed || best.iter().map(name).eq(viewer.list.iter().map(|scored| scored.item));
        let change = (!same).then(|| {
            let list = viewer.best(self.k, rows);
            let old = std::mem::replace(&mut viewer.list, list.clone());
            (viewer.user, old, list)
        });
        self.work.lists += usize::from(change.is_some());
        if viewer.has_left() {
            self.ids.remove(&viewer.user);
            shrink_if_sparse(&mut self.ids);
            // The slot is reused; its memory is freed now.
            *viewer = Viewer::new(0);
            self.free.push(id);
        }
        change
    }

    /// The list of a viewer with the scores of now, when no viewer is dirty.
    pub(super) fn list(&self, user: UserId, rows: &RowCache) -> List {
        let viewer = self.ids.get(&user).map(|id| &self.viewers[*id as usize]);
        viewer.map(|viewer| viewer.best(self.k, rows)).unwrap_or_default()
    }

    /// Totals all candidates in the rows of a viewer.
    fn rescan(&mut self, id: ViewerId, rows: &RowCache) {
        self.work.rescans += 1;
        let viewer = &mut self.viewers[id as usize];
        self.totals.reserve(rows.ids().bound());
        self.totals.exclude(viewer.profiles[OWN_ITEMS].items().iter().copied());
        for (row, weight) in viewer.weighted_rows(self.weights) {
            self.totals.add(rows.get(row).candidates().map(|(item, value)| (item, weight * i64::from(value))));
        }
        // The k best so far are mostly among the k best again. If all of them still have a score, the new k-th best scores
        // at least as much as the worst of them, and candidates that score much less need not be ranked.
        let best = viewer.ranking.best(self.k);
        let worst = best.iter().map(|ranked| self.totals.get(ranked.id)).min().filter(|_| best.len() == self.k);
        let cut = worst.map_or(0, |worst| worst - worst / 4);
        let mut floor = 0;
        for (id, score) in self.totals.drain() {
            if score >= cut {
                self.candidates.push(Ranked { score, id });
            } else {
                floor = floor.max(score);
            }
        }
        let floor = Some(floor).filter(|floor| *floor > 0);
        viewer.ranking.rebuild(&mut self.candidates, floor, capacity(self.k), rows.ids());
    }

    fn viewer_of(&mut self, user: UserId) -> ViewerId {
        *self.ids.entry(user).or_insert_with(|| {
            let new = Viewer::new(user);
            if let Some(id) = self.free.pop() {
                self.viewers[id as usize] = new;
                return id;
            }
            self.viewers.push(new);
            self.hot.push(HotFields { kept: 0, state: ViewerState::Clean });
            ViewerId::try_from(self.viewers.len() - 1).expect("fewer viewers than 2^32")
        })
    }

    /// Records the effect of an update on a viewer.
    #[inline]
    pub(super) fn mark(&mut self, id: ViewerId, state: ViewerState) {
        if self.hot[id as usize].state.raise(state) {
            self.dirty.push(id);
        }
    }
}

impl Viewer {
    fn new(user: UserId) -> Self {
        let profiles = Default::default();
        Viewer { user, profiles, ranking: TopK::default(), list: List::new(), raised: Vec::new() }
    }

    fn best(&self, k: usize, rows: &RowCache) -> List {
        let scored = |ranked: &Ranked<i64>| Scored { item: rows.ids().name(ranked.id), score: ranked.score };
        self.ranking.best(k).iter().map(scored).collect()
    }

    /// Whether the viewer has no members of any source.
    fn has_left(&self) -> bool {
        self.profiles.iter().all(Profile::is_empty)
    }

    /// Whether the item is in the viewer's history, and so excluded from the list.
    #[inline]
    fn has_seen(&self, item: Dense) -> bool {
        self.profiles[OWN_ITEMS].items().contains(&item)
    }

    /// The rows with a weight, and their weights including that of the source.
    #[inline]
    fn weighted_rows(&self, weights: [i64; SOURCES]) -> impl Iterator<Item = (Dense, i64)> {
        let sources = self.profiles.iter().zip(weights).filter(|(_, weight)| *weight > 0);
        sources.flat_map(|(profile, weight)| profile.weights().map(move |(row, own)| (row, weight * i64::from(own))))
    }

    /// The total of a candidate; 0 if it is excluded. One probe into each row.
    fn total(&self, item: Dense, weights: [i64; SOURCES], rows: &RowCache) -> i64 {
        if self.has_seen(item) {
            return 0;
        }
        self.weighted_rows(weights).map(|(row, weight)| weight * i64::from(rows.get(row).value(item))).sum()
    }
}
