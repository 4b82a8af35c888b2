//! The viewers of this worker: profiles, rankings, and the lists they were sent last.

use super::rows::{Rows, ViewerId};
use super::totals::Totals;
use crate::dense::Dense;
use crate::operator::{IdMap, give_back};
use crate::top_k::{Ranked, TopK, bit};
use crate::{Diff, ItemId, List, Scored, UserId, Weight};

/// An item of a viewer's history.
#[derive(Clone, Copy, Debug)]
struct Entry {
    item: Dense,
    /// 0 beyond the stairs.
    weight: Weight,
    /// This viewer's place among the item's holders, unless the weight is 0.
    place: u32,
    /// How often the item is in the profile: once, or not at all, or twice amid a tick's updates.
    present: i32,
}

/// Not among the holders.
const NO_PLACE: u32 = u32::MAX;

/// What a tick has done to a viewer so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing.
    Settled,
    /// Some candidates may have another total.
    Touched,
    /// All totals may be others: the profile is, or too many candidates are touched to take them one by one.
    Rescan,
}

/// Viewers whose cache lines are looked at together before they are settled one by one.
pub(super) const TOGETHER: usize = 8;

/// A candidate taken by itself costs a look into each row of the profile; about so many cost as much as a pass over all
/// candidates.
const MOST_TOUCHED: usize = 4;

/// What decides of most touches that they are of no account. Apart from the rest, so that a crowd's lies close together.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// The kept candidates, as [`TopK::mask`] tells; perhaps some more.
    kept: u64,
    state: State,
}

#[derive(Debug)]
struct Viewer {
    user: UserId,
    entries: Vec<Entry>,
    ranking: TopK<i64>,
    list: List,
    /// Candidates that are not kept and whose total this tick may have raised.
    touched: Vec<Dense>,
}

/// What has been done since somebody looked.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Totals of single candidates taken anew.
    pub(super) totals: usize,
    /// Viewers whose candidates were all gone through.
    pub(super) rescans: usize,
    /// Lists that changed.
    pub(super) lists: usize,
}

/// A neighbour of an item that went from one similarity to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changed {
    /// The item whose row it is.
    pub(super) row: Dense,
    /// The neighbour.
    pub(super) item: Dense,
    pub(super) old: u32,
    pub(super) new: u32,
}

/// What the holders of one item are told.
pub(super) struct Crowd<'a> {
    /// The changed neighbours of the item.
    pub(super) changed: &'a [Changed],
    /// Their places in a [`TopK::mask`].
    items: u64,
    /// Whether one of them rises.
    rises: bool,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(changed: &'a [Changed]) -> Self {
        let items = changed.iter().fold(0, |items, changed| items | bit(changed.item));
        Crowd { changed, items, rises: changed.iter().any(|changed| changed.new > changed.old) }
    }
}

/// All viewers of a worker.
pub(super) struct Viewers {
    k: usize,
    /// Weight of the source.
    weight: i64,
    ids: IdMap<ViewerId>,
    viewers: Vec<Viewer>,
    /// By viewer.
    heads: Vec<Head>,
    free: Vec<ViewerId>,
    /// Viewers to be looked at when the tick is complete, each once.
    pub(super) unsettled: Vec<ViewerId>,
    pub(super) work: Work,
    totals: Totals,
    candidates: Vec<Ranked<i64>>,
}

impl Viewers {
    pub(super) fn new(k: usize, weight: i64) -> Self {
        Viewers {
            k,
            weight,
            ids: IdMap::default(),
            viewers: Vec::new(),
            heads: Vec::new(),
            free: Vec::new(),
            unsettled: Vec::new(),
            work: Work::default(),
            totals: Totals::default(),
            candidates: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.free.len() == self.viewers.len()
    }

    /// Applies the updates of a tick to the profiles, in any order.
    pub(super) fn update<T>(&mut self, updates: &[Vec<((UserId, (ItemId, Weight)), T, Diff)>], rows: &mut Rows) {
        debug_assert!(self.unsettled.is_empty(), "the tick before is done");
        // 1. Add up: a weight taken back and one put in its place make the new weight.
        let mut last: Option<(UserId, ViewerId)> = None;
        for ((user, (item, weight)), _, diff) in updates.iter().flatten() {
            let (user, item, weight, diff) = (*user, *item, *weight, *diff);
            let id = match last {
                Some((same, id)) if same == user => id,
                _ => {
                    let id = self.of(user);
                    self.unsettle(id, State::Rescan);
                    id
                }
            };
            last = Some((user, id));
            let entries = &mut self.viewers[id as usize].entries;
            let item = rows.intern(item);
            let at = entries.iter().position(|entry| entry.item == item).unwrap_or_else(|| {
                rows.mention(item);
                entries.push(Entry { item, weight: 0, place: NO_PLACE, present: 0 });
                entries.len() - 1
            });
            let entry = &mut entries[at];
            entry.weight = entry.weight.wrapping_add_signed(diff as i32 * weight.cast_signed());
            entry.present += diff as i32;
        }
        // 2. Hold the rows of what has a weight now, and only those.
        for at in 0..self.unsettled.len() {
            self.hold(self.unsettled[at], rows);
        }
    }

    /// Makes a viewer a holder of exactly the rows of its profile.
    fn hold(&mut self, id: ViewerId, rows: &mut Rows) {
        let mut at = 0;
        while let Some(entry) = self.viewers[id as usize].entries.get(at).copied() {
            let held = entry.place != NO_PLACE;
            if held && entry.weight == 0 {
                self.leave(entry, rows);
                self.viewers[id as usize].entries[at].place = NO_PLACE;
            } else if !held && entry.weight > 0 {
                let holders = &mut rows.get_mut(entry.item).holders;
                self.viewers[id as usize].entries[at].place =
                    u32::try_from(holders.len()).expect("fewer viewers than 2^32");
                holders.push(id);
            }
            if entry.present == 0 {
                rows.forget(entry.item);
                self.viewers[id as usize].entries.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Neighbours of an item in the viewer's profile went from one similarity to another.
    #[inline]
    pub(super) fn touch(&mut self, id: ViewerId, crowd: &Crowd, rows: &Rows) {
        let head = &self.heads[id as usize];
        if head.state == State::Rescan || !(crowd.rises || head.kept & crowd.items != 0) {
            return;
        }
        for changed in crowd.changed {
            self.touch_one(id, changed, rows);
        }
    }

    #[inline]
    fn touch_one(&mut self, id: ViewerId, changed: &Changed, rows: &Rows) {
        let head = &mut self.heads[id as usize];
        // What is not kept and does not rise stays where it is: beneath the floor.
        let rises = changed.new > changed.old;
        let may_be_kept = head.kept & bit(changed.item) != 0;
        if head.state == State::Rescan || !(rises || may_be_kept) {
            return;
        }
        let viewer = &mut self.viewers[id as usize];
        let entries = &viewer.entries;
        let kept = may_be_kept
            && viewer.ranking.revise(changed.item, rows.ids(), |total| {
                let profile = entries.iter().find(|entry| entry.item == changed.row);
                let weight = i64::from(profile.expect("a holder has the item in its profile").weight) * self.weight;
                let total = total + weight * (i64::from(changed.new) - i64::from(changed.old));
                Some(total).filter(|total| *total > 0)
            });
        if !kept {
            if !rises {
                return;
            }
            if !viewer.touched.contains(&changed.item) {
                viewer.touched.push(changed.item);
            }
        }
        if head.state == State::Settled {
            self.unsettled.push(id);
        }
        head.state = if viewer.touched.len() > MOST_TOUCHED { State::Rescan } else { State::Touched };
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// All totals of a viewer may be others.
    #[inline]
    pub(super) fn surprise(&mut self, id: ViewerId) {
        self.unsettle(id, State::Rescan);
    }

    /// Reads what settling the next [`TOGETHER`] viewers will read, so that all of it is waited for together.
    pub(super) fn peek(&self, rows: &Rows) {
        let next = || {
            let next = self.unsettled.iter().rev().take(TOGETHER);
            next.map(|id| (&self.viewers[*id as usize], self.heads[*id as usize].state))
        };
        let viewers = next().map(|(viewer, _)| {
            let list = viewer.list.iter().step_by(4).fold(0, |seen, scored| seen ^ scored.item);
            viewer.ranking.peek() ^ list as u32
        });
        std::hint::black_box(viewers.fold(0, |seen, line| seen ^ line));
        // The rows are looked at only for totals taken anew.
        let profiles = || {
            let looked_at = next().filter(|(viewer, state)| *state == State::Rescan || !viewer.touched.is_empty());
            looked_at.flat_map(|(viewer, _)| viewer.entries.iter().filter(|entry| entry.weight > 0))
        };
        std::hint::black_box(profiles().fold(0, |seen, entry| seen ^ rows.get(entry.item).len()));
        std::hint::black_box(profiles().fold(0, |seen, entry| seen ^ rows.get(entry.item).peek()));
    }

    /// Settles a viewer; if its list is another sequence of items than the last one sent, says what it was and is.
    pub(super) fn settle(&mut self, id: ViewerId, rows: &Rows) -> Option<(UserId, List, List)> {
        let state = std::mem::replace(&mut self.heads[id as usize].state, State::Settled);
        let viewer = &mut self.viewers[id as usize];
        let mut touched = std::mem::take(&mut viewer.touched);
        if state == State::Touched {
            self.work.totals += touched.len();
            for item in &touched {
                let total = viewer.total(*item, rows) * self.weight;
                let total = Some(total).filter(|total| *total > 0);
                viewer.ranking.update(*item, total, capacity(self.k), rows.ids());
            }
        }
        touched.clear();
        viewer.touched = touched;
        if state == State::Rescan || viewer.ranking.is_short(self.k) {
            self.rescan(id, rows);
        }
        let viewer = &mut self.viewers[id as usize];
        self.heads[id as usize].kept = viewer.ranking.mask();
        let moved = viewer.ranking.has_moved(self.k);
        let best = viewer.ranking.best(self.k);
        let name = |ranked: &Ranked<i64>| rows.ids().name(ranked.id);
        let same = !moved || best.iter().map(name).eq(viewer.list.iter().map(|scored| scored.item));
        let change = (!same).then(|| {
            let list: List = best.iter().map(|ranked| Scored { item: name(ranked), score: ranked.score }).collect();
            let old = std::mem::replace(&mut viewer.list, list.clone());
            (viewer.user, old, list)
        });
        self.work.lists += usize::from(change.is_some());
        if viewer.entries.is_empty() {
            self.ids.remove(&viewer.user);
            give_back(&mut self.ids);
            // The place is used again; what was in it is freed now.
            *viewer = Viewer::new(0);
            self.free.push(id);
        }
        change
    }

    /// Goes through all candidates of a viewer: the neighbours of its profile's items.
    fn rescan(&mut self, id: ViewerId, rows: &Rows) {
        self.work.rescans += 1;
        let viewer = &mut self.viewers[id as usize];
        self.totals.reserve(rows.ids().bound());
        let profile = || viewer.entries.iter().filter(|entry| entry.weight > 0);
        // Seen items, as a contribution of minus infinity.
        self.totals.exclude(viewer.entries.iter().map(|entry| entry.item));
        for entry in profile() {
            let weight = i64::from(entry.weight);
            let neighbours = rows.get(entry.item).neighbours();
            self.totals.add(neighbours.map(|(item, similarity)| (item, weight * i64::from(similarity))));
        }
        // The k best so far are mostly among the k best again. If all of them still score, the k-th best scores at least
        // as much as the worst of them, and what scores much less need not be ranked.
        let best = viewer.ranking.best(self.k);
        let worst = best.iter().map(|ranked| self.totals.get(ranked.id)).min().filter(|_| best.len() == self.k);
        let cut = worst.map_or(0, |worst| worst - worst / 4);
        let mut floor = 0;
        for (id, total) in self.totals.drain() {
            if total >= cut {
                self.candidates.push(Ranked { score: total * self.weight, id });
            } else {
                floor = floor.max(total);
            }
        }
        if self.weight == 0 {
            self.candidates.clear();
        }
        let floor = Some(floor * self.weight).filter(|floor| *floor > 0);
        viewer.ranking.choose(&mut self.candidates, floor, capacity(self.k), rows.ids());
    }

    fn of(&mut self, user: UserId) -> ViewerId {
        *self.ids.entry(user).or_insert_with(|| {
            let new = Viewer::new(user);
            if let Some(id) = self.free.pop() {
                self.viewers[id as usize] = new;
                return id;
            }
            self.viewers.push(new);
            self.heads.push(Head { kept: 0, state: State::Settled });
            ViewerId::try_from(self.viewers.len() - 1).expect("fewer viewers than 2^32")
        })
    }

    fn unsettle(&mut self, id: ViewerId, state: State) {
        let head = &mut self.heads[id as usize];
        if head.state == State::Settled {
            self.unsettled.push(id);
        }
        head.state = state;
    }

    /// Takes a viewer off an item's holders; the last holder moves to its place.
    fn leave(&mut self, entry: Entry, rows: &mut Rows) {
        let holders = &mut rows.get_mut(entry.item).holders;
        holders.swap_remove(entry.place as usize);
        if let Some(moved) = holders.get(entry.place as usize) {
            let moved = &mut self.viewers[*moved as usize];
            let held = moved.entries.iter_mut().find(|other| other.item == entry.item);
            held.expect("a holder has the item in its profile").place = entry.place;
        }
    }
}

impl Viewer {
    fn new(user: UserId) -> Self {
        Viewer { user, entries: Vec::new(), ranking: TopK::default(), list: List::new(), touched: Vec::new() }
    }

    /// Total of a candidate over the profile, 0 if it was seen: a look into each row of the profile.
    fn total(&self, item: Dense, rows: &Rows) -> i64 {
        let mut total = 0;
        for entry in &self.entries {
            if entry.item == item {
                return 0;
            }
            if entry.weight > 0 {
                total += i64::from(entry.weight) * i64::from(rows.get(entry.item).similarity(item));
            }
        }
        total
    }
}

/// A reserve as large as the list itself, so that a viewer is seldom gone through again.
fn capacity(k: usize) -> usize {
    2 * k
}
