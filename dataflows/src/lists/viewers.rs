//! The viewers of this worker: profiles, rankings, and the lists they were sent last.

use super::rows::{RowId, Rows, ViewerId};
use super::totals::Totals;
use crate::operator::{IdMap, give_back};
use crate::top_k::{Ranked, TopK};
use crate::{Diff, ItemId, List, Scored, UserId, Weight};

/// An item of a viewer's history.
#[derive(Clone, Copy, Debug)]
struct Entry {
    item: ItemId,
    weight: Weight,
    /// The item's row and this viewer's place among its holders, unless the weight is 0.
    row: RowId,
    place: u32,
}

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

/// A candidate taken by itself costs a probe into each row of the profile; about so many cost as much as a pass over all
/// candidates.
const MOST_TOUCHED: usize = 8;

#[derive(Debug)]
struct Viewer {
    user: UserId,
    entries: Vec<Entry>,
    ranking: TopK,
    list: List,
    state: State,
    /// The candidates that this tick may have given another total.
    touched: Vec<ItemId>,
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

/// All viewers of a worker.
pub(super) struct Viewers {
    k: usize,
    /// Weight of the source.
    weight: i64,
    ids: IdMap<ViewerId>,
    viewers: Vec<Viewer>,
    free: Vec<ViewerId>,
    /// Viewers to be looked at when the tick is complete, each once.
    pub(super) unsettled: Vec<ViewerId>,
    pub(super) work: Work,
    totals: Totals,
    candidates: Vec<Ranked>,
}

impl Viewers {
    pub(super) fn new(k: usize, weight: i64) -> Self {
        Viewers {
            k,
            weight,
            ids: IdMap::default(),
            viewers: Vec::new(),
            free: Vec::new(),
            unsettled: Vec::new(),
            work: Work::default(),
            totals: Totals::default(),
            candidates: Vec::new(),
        }
    }

    /// Applies the updates of one item in a user's profile, a retraction and an insertion at most.
    pub(super) fn update(
        &mut self,
        user: UserId,
        item: ItemId,
        updates: impl Iterator<Item = (Weight, Diff)>,
        rows: &mut Rows,
    ) {
        let id = self.of(user);
        self.unsettle(id, State::Rescan);
        let mut new = None;
        for (weight, diff) in updates {
            if diff > 0 {
                new = Some(weight);
            }
        }
        let at = self.viewers[id as usize].entries.iter().position(|entry| entry.item == item);
        let old = at.map(|at| self.viewers[id as usize].entries[at]);
        // An item that stays in the profile with another weight keeps its place among the holders.
        if let (Some(at), Some(old), Some(weight)) = (at, old, new)
            && (old.weight > 0) == (weight > 0)
        {
            self.viewers[id as usize].entries[at].weight = weight;
            return;
        }
        if let (Some(at), Some(old)) = (at, old) {
            self.viewers[id as usize].entries.swap_remove(at);
            if old.weight > 0 {
                self.leave(old, rows);
            }
        }
        if let Some(weight) = new {
            let (row, place) = if weight > 0 { join(id, item, rows) } else { (0, 0) };
            self.viewers[id as usize].entries.push(Entry { item, weight, row, place });
        }
    }

    /// A neighbour of an item in the viewer's profile went from one similarity to another: its total is to be taken anew.
    pub(super) fn touch(&mut self, id: ViewerId, item: ItemId, (old, new): (u16, u16)) {
        let viewer = &self.viewers[id as usize];
        // What is not kept and does not rise stays where it is: beneath the floor.
        if viewer.state == State::Rescan || (new <= old && !viewer.ranking.contains(item)) {
            return;
        }
        self.unsettle(id, State::Touched);
        let viewer = &mut self.viewers[id as usize];
        if !viewer.touched.contains(&item) {
            viewer.touched.push(item);
        }
        if viewer.touched.len() > MOST_TOUCHED {
            viewer.touched.clear();
            viewer.state = State::Rescan;
        }
    }

    /// Settles a viewer; if its list is another sequence of items than the last one sent, says what it was and is.
    pub(super) fn settle(&mut self, id: ViewerId, rows: &mut Rows) -> Option<(UserId, List, List)> {
        let viewer = &mut self.viewers[id as usize];
        let state = std::mem::replace(&mut viewer.state, State::Settled);
        let touched = std::mem::take(&mut viewer.touched);
        if state == State::Touched {
            self.work.totals += touched.len();
            for item in touched {
                let total = viewer.total(item, rows) * self.weight;
                viewer.ranking.update(item, Some(total).filter(|total| *total > 0), capacity(self.k));
            }
        }
        if state == State::Rescan || viewer.ranking.is_short(self.k) {
            self.rescan(id, rows);
        }
        let viewer = &mut self.viewers[id as usize];
        let best = viewer.ranking.best(self.k);
        let same = best.iter().map(|ranked| ranked.id).eq(viewer.list.iter().map(|scored| scored.item));
        let change = (!same).then(|| {
            let list: List = best.iter().map(|ranked| Scored { item: ranked.id, score: ranked.score }).collect();
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
        let profile = || viewer.entries.iter().filter(|entry| entry.weight > 0);
        let candidates: usize = profile().map(|entry| rows.get(entry.row).len()).sum();
        self.totals.restart(candidates + viewer.entries.len());
        // Seen items, as a contribution of minus infinity.
        for entry in &viewer.entries {
            self.totals.add(entry.item, i64::MIN);
        }
        for entry in profile() {
            for (item, similarity) in rows.get(entry.row).neighbours() {
                self.totals.add(item, i64::from(entry.weight) * i64::from(similarity) * self.weight);
            }
        }
        let positive = self.totals.iter().filter(|(_, total)| *total > 0);
        self.candidates.extend(positive.map(|(id, score)| Ranked { score, id }));
        viewer.ranking = TopK::choose(&mut self.candidates, capacity(self.k));
    }

    fn of(&mut self, user: UserId) -> ViewerId {
        *self.ids.entry(user).or_insert_with(|| {
            let new = Viewer::new(user);
            if let Some(id) = self.free.pop() {
                self.viewers[id as usize] = new;
                return id;
            }
            self.viewers.push(new);
            ViewerId::try_from(self.viewers.len() - 1).expect("fewer viewers than 2^32")
        })
    }

    fn unsettle(&mut self, id: ViewerId, state: State) {
        let viewer = &mut self.viewers[id as usize];
        if viewer.state == State::Settled {
            self.unsettled.push(id);
        }
        viewer.state = state;
    }

    /// Takes a viewer off an item's holders; the last holder moves to its place.
    fn leave(&mut self, entry: Entry, rows: &mut Rows) {
        let row = rows.get_mut(entry.row);
        row.holders.swap_remove(entry.place as usize);
        if let Some(moved) = row.holders.get(entry.place as usize) {
            let moved = &mut self.viewers[*moved as usize];
            let held = moved.entries.iter_mut().find(|other| other.weight > 0 && other.row == entry.row);
            held.expect("a holder has the item in its profile").place = entry.place;
        }
        rows.release(entry.row);
    }
}

impl Viewer {
    fn new(user: UserId) -> Self {
        Viewer {
            user,
            entries: Vec::new(),
            ranking: TopK::default(),
            list: List::new(),
            state: State::Settled,
            touched: Vec::new(),
        }
    }

    /// Total of a candidate over the profile, 0 if it was seen: a probe into each row of the profile.
    fn total(&self, item: ItemId, rows: &Rows) -> i64 {
        let mut total = 0;
        for entry in &self.entries {
            if entry.item == item {
                return 0;
            }
            if entry.weight > 0 {
                total += i64::from(entry.weight) * i64::from(rows.get(entry.row).similarity(item));
            }
        }
        total
    }
}

/// Adds a viewer to an item's holders.
fn join(id: ViewerId, item: ItemId, rows: &mut Rows) -> (RowId, u32) {
    let row = rows.of(item);
    let holders = &mut rows.get_mut(row).holders;
    holders.push(id);
    (row, u32::try_from(holders.len() - 1).expect("fewer viewers than 2^32"))
}

/// A reserve as large as the list itself, so that a viewer is seldom gone through again.
fn capacity(k: usize) -> usize {
    2 * k
}
