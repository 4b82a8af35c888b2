//! The viewers of this worker: profiles, rankings, and the lists they were sent last.

use crate::dense::Dense;
use crate::operator::{IdMap, TOGETHER, shrink_if_sparse};
use crate::profile::Profile;
use crate::rows::{Rows, ViewerId, hold};
use crate::top_k::{Ranked, TopK, bit};
use crate::totals::Totals;
use crate::{Diff, ItemId, List, Scored, SimilarUser, UserId, Weight};

/// The sources of recommendations. Rows of similar items weigh what the profile says, rows of similar users (their
/// histories) what their similarity is.
pub(super) const ITEMS: usize = 0;
pub(super) const USERS: usize = 1;
const SOURCES: usize = 2;

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
    /// Of each source.
    profiles: [Profile; SOURCES],
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

/// A candidate of a row that went from one value to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct CandidateDelta {
    pub(super) source: usize,
    pub(super) row: Dense,
    pub(super) item: Dense,
    pub(super) old: u32,
    pub(super) new: u32,
}

/// What the holders of one row are told.
pub(super) struct RowDelta<'a> {
    /// The changed candidates of the row.
    pub(super) changed: &'a [CandidateDelta],
    /// Their places in a [`TopK::mask`].
    items: u64,
    /// Whether one of them rises.
    rises: bool,
}

impl<'a> RowDelta<'a> {
    pub(super) fn new(changed: &'a [CandidateDelta]) -> Self {
        let items = changed.iter().fold(0, |items, changed| items | bit(changed.item));
        RowDelta { changed, items, rises: changed.iter().any(|changed| changed.new > changed.old) }
    }
}

/// All viewers of a worker.
pub(super) struct Viewers {
    k: usize,
    /// Of the sources.
    weights: [i64; SOURCES],
    ids: IdMap<ViewerId>,
    viewers: Vec<Viewer>,
    /// By viewer.
    heads: Vec<Head>,
    free: Vec<ViewerId>,
    /// Viewers to be looked at when the tick is complete, each once.
    pub(super) unsettled: Vec<ViewerId>,
    /// Viewers whose profile or similar users changed in this tick.
    moved: Vec<ViewerId>,
    pub(super) work: Work,
    totals: Totals,
    candidates: Vec<Ranked<i64>>,
}

impl Viewers {
    pub(super) fn new(k: usize, weights: [i64; SOURCES]) -> Self {
        Viewers {
            k,
            weights,
            ids: IdMap::default(),
            viewers: Vec::new(),
            heads: Vec::new(),
            free: Vec::new(),
            unsettled: Vec::new(),
            moved: Vec::new(),
            work: Work::default(),
            totals: Totals::default(),
            candidates: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.free.len() == self.viewers.len()
    }

    /// Adds up a tick's updates to the profiles, in any order. All totals of these viewers are others.
    pub(super) fn profile<T>(&mut self, updates: &[Vec<((UserId, (ItemId, Weight)), T, Diff)>], rows: &mut Rows) {
        // What is taken back and put in its place mostly comes together.
        let mut last: Option<(ItemId, Dense)> = None;
        for same in updates.iter().flat_map(|updates| updates.chunk_by(|a, b| a.0.0 == b.0.0)) {
            let id = self.of(same[0].0.0);
            self.moved.push(id);
            self.unsettle(id, State::Rescan);
            let profile = &mut self.viewers[id as usize].profiles[ITEMS];
            if profile.is_empty() {
                profile.reserve(same.len());
            }
            for ((_, (item, weight)), _, diff) in same {
                let row = match last {
                    Some((same, row)) if same == *item => row,
                    _ => rows.intern(*item),
                };
                last = Some((*item, row));
                if profile.add(row, *weight, *diff) {
                    rows.mention(row);
                }
            }
        }
    }

    /// Adds up a tick's updates of similar users, in any order, while the rows are as they were before the tick. A viewer
    /// whose profile is as it was goes on from its totals: most have one similar user who is a little more or less so.
    pub(super) fn follow<T>(&mut self, updates: &[Vec<((UserId, SimilarUser), T, Diff)>], rows: &mut Rows) {
        let of_viewers: Vec<_> = updates.iter().flat_map(|updates| updates.chunk_by(|a, b| a.0.0 == b.0.0)).collect();
        for some in of_viewers.chunks(TOGETHER) {
            let first = self.moved.len();
            for same in some {
                let id = self.of(same[0].0.0);
                self.moved.push(id);
            }
            let profiles = self.moved[first..].iter().map(|id| &self.viewers[*id as usize].profiles[USERS]);
            std::hint::black_box(profiles.fold(0, |seen, profile| seen ^ profile.peek()));
            for (same, at) in some.iter().zip(first..) {
                self.follow_one(self.moved[at], same, rows);
            }
        }
    }

    fn follow_one<T>(&mut self, id: ViewerId, updates: &[((UserId, SimilarUser), T, Diff)], rows: &mut Rows) {
        // What is taken back and put in its place comes together.
        for same in updates.chunk_by(|a, b| a.0.1.user == b.0.1.user) {
            let row = rows.intern_user(same[0].0.1.user);
            let profile = &mut self.viewers[id as usize].profiles[USERS];
            let mut more = 0;
            for ((_, similar), _, diff) in same {
                let weight = Weight::from(similar.similarity);
                more += i64::from(weight) * *diff as i64;
                if profile.add(row, weight, *diff) {
                    rows.mention(row);
                }
            }
            let more = more * self.weights[USERS];
            if more != 0 && self.heads[id as usize].state != State::Rescan {
                let moves = rows.get(row).candidates().map(|(item, value)| (item, more * i64::from(value)));
                self.shift(id, moves, rows);
            }
        }
    }

    /// After all updates of a tick: viewers hold the rows of what has a weight now, and only those.
    pub(super) fn hold(&mut self, rows: &mut Rows) {
        let moved = std::mem::take(&mut self.moved);
        for some in moved.chunks(TOGETHER) {
            let pending = || some.iter().flat_map(|id| &self.viewers[*id as usize].profiles).flat_map(Profile::pending);
            std::hint::black_box(pending().fold(0, |seen, row| seen ^ rows.get(row).holders.len()));
            std::hint::black_box(
                pending().fold(0, |seen, row| seen ^ rows.get(row).holders.last().map_or(0, |id| *id)),
            );
            for id in some {
                for source in [ITEMS, USERS] {
                    hold(&mut self.viewers, *id, |viewer| &mut viewer.profiles[source], |_| *id, rows);
                }
                if self.viewers[*id as usize].has_left() {
                    self.unsettle(*id, State::Rescan);
                }
            }
        }
    }

    /// Candidates of a row that the viewer holds went from one value to another.
    #[inline]
    pub(super) fn touch(&mut self, id: ViewerId, crowd: &RowDelta, rows: &Rows) {
        let head = &self.heads[id as usize];
        if head.state == State::Rescan || !(crowd.rises || head.kept & crowd.items != 0) {
            return;
        }
        let CandidateDelta { source, row, .. } = crowd.changed[0];
        let weight = i64::from(self.viewers[id as usize].profiles[source].weight(row)) * self.weights[source];
        let moves = crowd.changed.iter();
        let moves = moves.map(|changed| (changed.item, weight * (i64::from(changed.new) - i64::from(changed.old))));
        self.shift(id, moves, rows);
    }

    /// The totals of candidates, by one row, are so much more than they were. What is kept moves along; of the others only
    /// a bound is known, which rises by the largest move. One that may come to be among the best is looked at.
    #[inline]
    fn shift(&mut self, id: ViewerId, moves: impl Iterator<Item = (Dense, i64)>, rows: &Rows) {
        let head = &mut self.heads[id as usize];
        let viewer = &mut self.viewers[id as usize];
        let (mut lift, mut concerns) = (0, false);
        for (item, more) in moves {
            let total = |total: i64| Some(total + more).filter(|total| *total > 0);
            let is_kept = head.kept & bit(item) != 0;
            if let Some(rank) = is_kept.then(|| viewer.ranking.revise(item, rows.ids(), total)).flatten() {
                // What moves in the reserve concerns nobody.
                concerns |= rank < self.k;
            } else if more > lift && !viewer.has_seen(item) {
                if viewer.ranking.room(self.k).is_some_and(|room| more < room) {
                    lift = more;
                } else if !viewer.touched.contains(&item) {
                    viewer.touched.push(item);
                    concerns = true;
                }
            }
        }
        viewer.ranking.lift(lift);
        if concerns || viewer.ranking.is_short(self.k) {
            let state = if viewer.touched.len() > MOST_TOUCHED { State::Rescan } else { State::Touched };
            self.unsettle(id, state);
        }
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
            looked_at.flat_map(|(viewer, _)| viewer.held(self.weights))
        };
        std::hint::black_box(profiles().fold(0, |seen, (item, _)| seen ^ rows.get(item).len()));
        std::hint::black_box(profiles().fold(0, |seen, (item, _)| seen ^ rows.get(item).peek()));
    }

    /// Settles a viewer; if its list is another sequence of items than the last one sent, says what it was and is.
    pub(super) fn settle(&mut self, id: ViewerId, rows: &Rows) -> Option<(UserId, List, List)> {
        let state = std::mem::replace(&mut self.heads[id as usize].state, State::Settled);
        let viewer = &mut self.viewers[id as usize];
        let mut touched = std::mem::take(&mut viewer.touched);
        if state == State::Touched {
            self.work.totals += touched.len();
            for item in &touched {
                let total = viewer.total(*item, self.weights, rows);
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
        if viewer.has_left() {
            self.ids.remove(&viewer.user);
            shrink_if_sparse(&mut self.ids);
            // The place is used again; what was in it is freed now.
            *viewer = Viewer::new(0);
            self.free.push(id);
        }
        change
    }

    /// Goes through all candidates of a viewer: those of the rows it holds.
    fn rescan(&mut self, id: ViewerId, rows: &Rows) {
        self.work.rescans += 1;
        let viewer = &mut self.viewers[id as usize];
        self.totals.reserve(rows.ids().bound());
        // Seen items, as a contribution of minus infinity.
        self.totals.exclude(viewer.profiles[ITEMS].items().iter().copied());
        for (row, weight) in viewer.held(self.weights) {
            self.totals.add(rows.get(row).candidates().map(|(item, value)| (item, weight * i64::from(value))));
        }
        // The k best so far are mostly among the k best again. If all of them still score, the k-th best scores at least
        // as much as the worst of them, and what scores much less need not be ranked.
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
        if head.state != State::Rescan {
            head.state = state;
        }
    }
}

impl Viewer {
    fn new(user: UserId) -> Self {
        let profiles = Default::default();
        Viewer { user, profiles, ranking: TopK::default(), list: List::new(), touched: Vec::new() }
    }

    /// Whether nothing is known of the viewer any more.
    fn has_left(&self) -> bool {
        self.profiles.iter().all(Profile::is_empty)
    }

    /// Whether the viewer has the item, which then is not listed.
    #[inline]
    fn has_seen(&self, item: Dense) -> bool {
        self.profiles[ITEMS].items().contains(&item)
    }

    /// The rows held, each with what it weighs in the total, source weight included.
    #[inline]
    fn held(&self, weights: [i64; SOURCES]) -> impl Iterator<Item = (Dense, i64)> {
        let sources = self.profiles.iter().zip(weights).filter(|(_, weight)| *weight > 0);
        sources.flat_map(|(profile, weight)| profile.weights().map(move |(row, own)| (row, weight * i64::from(own))))
    }

    /// Total of a candidate, 0 if it was seen: a look into each row held.
    fn total(&self, item: Dense, weights: [i64; SOURCES], rows: &Rows) -> i64 {
        if self.has_seen(item) {
            return 0;
        }
        self.held(weights).map(|(row, weight)| weight * i64::from(rows.get(row).value(item))).sum()
    }
}

/// A reserve as large as the list itself, so that a viewer is seldom gone through again.
fn capacity(k: usize) -> usize {
    2 * k
}
