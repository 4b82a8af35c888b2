//! The viewers of this worker: their histories, who is most like them, and whom they were told.

use super::{Member, SimilarUser};
use crate::dense::{Dense, place};
use crate::operator::{IdMap, TOGETHER, shrink_if_sparse};
use crate::profile::Profile;
use crate::quantise::{phase, phased};
use crate::rows::{Holder, Rows, ViewerId, hold};
use crate::top_k::{Ranked, Sieve, TopK};
use crate::totals::Totals;
use crate::{Config, Diff, ItemId, Level, Logarithm, Similarity, UserId, Weight};

/// A viewer who has an item, and how much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher {
    viewer: ViewerId,
    level: u32,
}

impl Holder for Watcher {
    fn viewer(self) -> ViewerId {
        self.viewer
    }
}

/// A member's level and the item's rarity, as the value of a row.
#[derive(Clone, Copy, Debug)]
struct Share(u32);

impl Share {
    fn of(member: Member) -> Self {
        Share(u32::from(member.rarity) << 8 | u32::from(member.level))
    }

    /// `min(level(u, i), level(v, i)) * f_i`.
    fn with(self, level: u32) -> u32 {
        (self.0 & 0xFF).min(level) * (self.0 >> 8)
    }
}

/// What a tick has done to a viewer so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing.
    Settled,
    /// Somebody similar may be more or less so.
    Touched,
    /// Everybody may: the viewer's history is another.
    Rescan,
}

/// What decides of most that is shared that it is of no account.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Who scores less, before and after, changes nothing.
    bar: i32,
    me: Dense,
    state: State,
}

#[derive(Debug)]
struct Viewer {
    user: UserId,
    /// The history: items weigh their levels.
    history: Profile,
    ranking: TopK<i32>,
    told: Vec<Similar>,
}

/// Somebody similar, and how similar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Similar {
    user: Dense,
    similarity: u16,
}

/// Members that a viewer is compared with in the time of a look at one viewer's share in a user, what follows from it
/// included.
const MEMBERS: usize = 8;
/// A tick that changes fewer users than one for so many viewers is not weighed up.
const GLANCE: usize = 4;

/// What has been done since somebody looked.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// What viewers share with one user, taken anew.
    pub(super) shared: usize,
    /// Viewers who were compared with everybody.
    pub(super) rescans: usize,
    /// Similar users that changed.
    pub(super) similar: usize,
}

/// All viewers of a worker, and the samples of what they have.
///
/// A membership (item, user) lies in two rows: the user in the item's, by which a viewer finds everybody it is compared
/// with, and the item in the user's, by which everybody is found who is compared with that user.
pub(super) struct Viewers {
    keep: usize,
    /// By so much a score rises when the square of what is shared doubles.
    step: i32,
    rows: Rows<Watcher>,
    /// Of every user in a sample and every viewer: the fine logarithm of activity.
    activity: Vec<u32>,
    ids: IdMap<ViewerId>,
    viewers: Vec<Viewer>,
    /// By viewer.
    heads: Vec<Head>,
    /// By viewer, for those who score less than the bar: the kept ones, perhaps some more.
    kept: Vec<Sieve>,
    free: Vec<ViewerId>,
    /// Viewers to be looked at when the tick is complete, each once.
    unsettled: Vec<ViewerId>,
    /// Items of viewers whose level a tick may have changed.
    moved: Vec<(ViewerId, Dense)>,
    pub(super) work: Work,
    logarithm: Logarithm,
    similarity: Similarity,
    /// By viewer: 0, or 1 and what is shared with the user at hand; and those for whom it is not 0.
    shared: Vec<u32>,
    reached: Vec<ViewerId>,
    /// Those of them for whom it may matter, with the score.
    concerned: Vec<(ViewerId, Option<i32>)>,
    totals: Totals,
    candidates: Vec<Ranked<i32>>,
    similar: Vec<Similar>,
}

impl Viewers {
    pub(super) fn new(config: &Config) -> Self {
        Viewers {
            keep: config.similar_users,
            step: config.resolution.cast_signed(),
            rows: Rows::default(),
            activity: Vec::new(),
            ids: IdMap::default(),
            viewers: Vec::new(),
            heads: Vec::new(),
            kept: Vec::new(),
            free: Vec::new(),
            unsettled: Vec::new(),
            moved: Vec::new(),
            work: Work::default(),
            logarithm: Logarithm::new(config.resolution),
            similarity: Similarity::new(config.resolution),
            shared: Vec::new(),
            reached: Vec::new(),
            concerned: Vec::new(),
            totals: Totals::default(),
            candidates: Vec::new(),
            similar: Vec::new(),
        }
    }

    /// Step 1: a user is in the sample of an item, or no longer, or otherwise. Returns both.
    pub(super) fn sample(&mut self, item: ItemId, member: Member, diff: Diff) -> (Dense, Dense) {
        let (item, user) = (self.rows.intern(item), self.rows.intern_user(member.user));
        let share = Share::of(member);
        self.rows.update(item, user, share.0, diff);
        self.rows.update(user, item, share.0, diff);
        (user, item)
    }

    /// Step 2: a user's activity is or is not this, as a fine logarithm; both add up to what it is now.
    pub(super) fn activity(&mut self, user: UserId, fine: u32, diff: Diff) -> Dense {
        let dense = self.rows.intern_user(user);
        let activity = place(&mut self.activity, dense);
        *activity = if diff > 0 { activity.wrapping_add(fine) } else { activity.wrapping_sub(fine) };
        // Its own similarities all weigh differently.
        if let Some(viewer) = self.ids.get(&user).copied() {
            self.unsettle(viewer, State::Touched);
        }
        dense
    }

    /// Step 3: a viewer has or does not have an item.
    pub(super) fn watch(&mut self, user: UserId, item: ItemId, level: Level, diff: Diff) {
        let viewer = self.of(user);
        self.unsettle(viewer, State::Rescan);
        let item = self.rows.intern(item);
        if self.viewers[viewer as usize].history.add(item, Weight::from(level), diff) {
            self.rows.mention(item);
        }
        self.moved.push((viewer, item));
    }

    /// Step 4, after all of these: viewers hold the rows of what they have, and only those, with their levels.
    pub(super) fn hold(&mut self) {
        for id in &self.unsettled {
            let watcher = |level| Watcher { viewer: *id, level };
            hold(&mut self.viewers, *id, |viewer| &mut viewer.history, watcher, &mut self.rows);
        }
        for (viewer, item) in self.moved.drain(..) {
            if let Some((level, place)) = self.viewers[viewer as usize].history.share(item) {
                self.rows.get_mut(item).holders[place as usize].level = level;
            }
        }
    }

    /// Whether comparing these users (each with viewers it shares something with) costs more than comparing all viewers
    /// with everybody.
    pub(super) fn scanning_costs_less(&self, users: impl ExactSizeIterator<Item = Dense>) -> bool {
        // Most ticks are told by a glance: a membership has a viewer or more.
        if users.len() < self.ids.len() / GLANCE {
            return false;
        }
        let looks: usize = users
            .flat_map(|user| self.rows.get(user).candidates())
            .map(|(item, _)| self.rows.get(item).holders.len())
            .sum();
        let calm = self.ids.values().filter(|id| self.heads[**id as usize].state != State::Rescan);
        let items = calm.flat_map(|id| self.viewers[*id as usize].history.weights());
        let members: usize = items.map(|(item, _)| self.rows.get(item).len()).sum();
        looks * MEMBERS > members
    }

    /// Instead of step 5: all viewers are to be compared with everybody.
    pub(super) fn scan_all(&mut self) {
        let ids: Vec<ViewerId> = self.ids.values().copied().collect();
        for id in ids {
            self.unsettle(id, State::Rescan);
        }
    }

    /// Step 5: compares a user, of whom something has changed, with all viewers who share something with it, or did by
    /// way of the items `gone`. Returns how many places were looked at.
    pub(super) fn compare(&mut self, user: Dense, gone: impl Iterator<Item = Dense>) -> usize {
        self.shared.resize(self.viewers.len(), 0);
        let mut looks = 0;
        let gone = gone.map(|item| (item, 0));
        for (item, share) in self.rows.get(user).candidates().chain(gone) {
            let watchers = &self.rows.get(item).holders;
            looks += watchers.len();
            for watcher in watchers {
                let shared = &mut self.shared[watcher.viewer as usize];
                if *shared == 0 {
                    *shared = 1;
                    self.reached.push(watcher.viewer);
                }
                *shared += Share(share).with(watcher.level);
            }
        }
        self.work.shared += self.reached.len();
        let fine = self.activity.get(user as usize).copied().unwrap_or(0);
        for viewer in self.reached.drain(..) {
            let shared = std::mem::take(&mut self.shared[viewer as usize]) - 1;
            let head = &self.heads[viewer as usize];
            if head.state == State::Rescan || head.me == user {
                continue;
            }
            let score = score(u64::from(shared), fine, head.me, user, &self.logarithm);
            if score.is_some_and(|score| score >= head.bar) || self.kept[viewer as usize].may_have(user) {
                self.concerned.push((viewer, score));
            }
        }
        for some in self.concerned.chunks(TOGETHER) {
            let rankings = || some.iter().map(|(viewer, _)| &self.viewers[*viewer as usize].ranking);
            std::hint::black_box(rankings().fold(0, |seen, ranking| seen ^ ranking.best(1).len()));
            std::hint::black_box(rankings().fold(0, |seen, ranking| seen ^ ranking.peek()));
            for (viewer, score) in some {
                let head = &mut self.heads[*viewer as usize];
                let ranking = &mut self.viewers[*viewer as usize].ranking;
                let changed = ranking.update(user, *score, capacity(self.keep), self.rows.ids());
                self.kept[*viewer as usize].add(user);
                head.bar = ranking.floor().unwrap_or(i32::MIN);
                // What moves in the reserve concerns nobody.
                let concerns = changed < self.keep || ranking.is_short(self.keep);
                if concerns && head.state == State::Settled {
                    head.state = State::Touched;
                    self.unsettled.push(*viewer);
                }
            }
        }
        self.concerned.clear();
        looks
    }

    /// Reads what settling the next [`TOGETHER`] viewers will read, so that all of it is waited for together.
    pub(super) fn peek(&self) {
        let next = || self.unsettled.iter().rev().take(TOGETHER).map(|id| &self.viewers[*id as usize]);
        std::hint::black_box(next().fold(0, |seen, viewer| seen ^ viewer.user ^ viewer.told.len() as u64));
        let lines = next().map(|viewer| {
            let told = viewer.told.iter().step_by(64 / size_of::<Similar>());
            viewer.ranking.peek() ^ told.fold(0, |seen, told| seen ^ told.user)
        });
        std::hint::black_box(lines.fold(0, |seen, line| seen ^ line));
    }

    /// Step 6: settles a viewer, if there is one left to, and tells how its similar users differ from those told last.
    pub(super) fn settle(&mut self, tell: &mut impl FnMut(UserId, SimilarUser, Diff)) -> bool {
        let Some(id) = self.unsettled.pop() else { return false };
        let state = std::mem::replace(&mut self.heads[id as usize].state, State::Settled);
        if state == State::Rescan || self.viewers[id as usize].ranking.is_short(self.keep) {
            self.rescan(id);
        }
        let head = &mut self.heads[id as usize];
        let viewer = &mut self.viewers[id as usize];
        head.bar = viewer.ranking.floor().unwrap_or(i32::MIN);
        self.kept[id as usize] = viewer.ranking.sieve();
        let own = self.activity.get(head.me as usize).copied().unwrap_or(0);
        self.similar.clear();
        self.similar.extend(viewer.ranking.best(self.keep).iter().map(|ranked| {
            let exponent = ranked.score - against(own, head.me, ranked.id);
            Similar { user: ranked.id, similarity: self.similarity.of(exponent) }
        }));
        if self.similar != viewer.told {
            let ids = self.rows.ids();
            let mut tell = |similar: &Similar, diff: Diff| {
                let told = SimilarUser { user: ids.name(similar.user), similarity: similar.similarity };
                self.work.similar += 1;
                tell(viewer.user, told, diff);
            };
            // Mostly the same users in the same order are otherwise similar, as their viewer is more active. What is taken
            // back and put in its place comes together, so that others look it up once.
            for (rank, now) in self.similar.iter().enumerate() {
                let is_it = |was: &&Similar| was.user == now.user;
                let was = viewer.told.get(rank).filter(is_it).or_else(|| viewer.told.iter().find(is_it));
                if was != Some(now) {
                    if let Some(was) = was {
                        tell(was, -1);
                    }
                    tell(now, 1);
                }
            }
            for (rank, was) in viewer.told.iter().enumerate() {
                let is_it = |now: &Similar| now.user == was.user;
                if !self.similar.get(rank).is_some_and(is_it) && !self.similar.iter().any(is_it) {
                    tell(was, -1);
                }
            }
            viewer.told.clone_from(&self.similar);
        }
        if viewer.history.is_empty() {
            self.ids.remove(&viewer.user);
            shrink_if_sparse(&mut self.ids);
            self.rows.forget(head.me);
            *viewer = Viewer::new(0);
            self.free.push(id);
        }
        true
    }

    /// Step 7: lets go of whom and what nothing refers to any more.
    pub(super) fn release(&mut self) {
        self.rows.release();
    }

    /// Compares a viewer with everybody in the samples of what it has.
    fn rescan(&mut self, id: ViewerId) {
        self.work.rescans += 1;
        let me = self.heads[id as usize].me;
        let viewer = &mut self.viewers[id as usize];
        let rows = &self.rows;
        self.totals.reserve(rows.ids().bound());
        // The rows' cache lines first, so that they are waited for together.
        let history = || viewer.history.weights();
        std::hint::black_box(history().fold(0, |seen, (item, _)| seen ^ rows.get(item).peek()));
        self.totals.exclude(std::iter::once(me));
        for (item, level) in history() {
            let members = rows.get(item).candidates();
            self.totals.add(members.map(|(user, share)| (user, i64::from(Share(share).with(level)))));
        }
        let (activity, logarithm) = (&self.activity, &self.logarithm);
        let score = |user: Dense, shared: i64| {
            score(shared.unsigned_abs(), activity[user as usize], me, user, logarithm).unwrap_or(i32::MIN)
        };
        // The best so far are mostly among the best again: what scores a step less than the worst of them need not be
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
        viewer.ranking.choose(&mut self.candidates, floor, capacity(self.keep), rows.ids());
    }

    fn of(&mut self, user: UserId) -> ViewerId {
        if let Some(id) = self.ids.get(&user) {
            return *id;
        }
        let me = self.rows.intern_user(user);
        self.rows.mention(me);
        let head = Head { bar: i32::MIN, me, state: State::Settled };
        let id = self.free.pop().unwrap_or_else(|| {
            self.viewers.push(Viewer::new(user));
            self.heads.push(head);
            self.kept.push(Sieve::default());
            ViewerId::try_from(self.viewers.len() - 1).expect("fewer viewers than 2^32")
        });
        self.viewers[id as usize].user = user;
        self.heads[id as usize] = head;
        self.kept[id as usize] = Sieve::default();
        self.ids.insert(user, id);
        id
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
        Viewer { user, history: Profile::default(), ranking: TopK::default(), told: Vec::new() }
    }
}

/// `2 q(W_uv) - q_uv(M_v)`, if anything is shared.
fn score(shared: u64, fine: u32, me: Dense, user: Dense, logarithm: &Logarithm) -> Option<i32> {
    (shared > 0).then(|| 2 * logarithm.q(shared).cast_signed() - against(fine, me, user))
}

/// `q_uv(M)`: what activity takes off.
fn against(fine: u32, u: Dense, v: Dense) -> i32 {
    phased(fine, phase(u64::from(u), u64::from(v))).cast_signed()
}

/// A reserve as large as what is kept, so that a viewer is seldom compared with everybody again.
fn capacity(keep: usize) -> usize {
    2 * keep
}
