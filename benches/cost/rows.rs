//! The most similar items of each item that somebody in the audience has in the profile.

use std::collections::VecDeque;

use dataflows::Config;
use dataflows::operators::{Logarithm, Similarity};
use dataflows::types::ItemId;

use super::best::{ABSENT, Best, EVERYTHING, Entry, Hit, NOTHING, Score};
use super::names::PHASES;
use super::pairs::Pairs;

/// A neighbour in a row as viewers see it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) item: u32,
    pub(crate) similarity: u32,
}

/// Batches for which a row that nobody wants is kept up.
const GRACE: u32 = 64;

/// Rows that are read, each cache line, before they are worked on: waiting for all at once.
const AHEAD: usize = 16;

/// All rows.
pub(crate) struct Rows {
    popularity: Vec<u32>,
    /// Of each item the fine logarithm of its popularity with the shrink.
    fine: Vec<u32>,
    best: Vec<Best>,
    /// Of each row the cut's score: `NOTHING` where nobody wants it, `EVERYTHING` where all there is is kept.
    cuts: Vec<Score>,
    hits: Vec<Hit>,
    /// The hits by row, and of each row where its hits end.
    sorted: Vec<Hit>,
    ends: Vec<u32>,
    dirty: Vec<u32>,
    short: Vec<u32>,
    published: Vec<Neighbour>,
    lengths: Vec<u32>,
    /// Whether the published row changed in this batch, and the rows that did.
    changed: Vec<bool>,
    changes: Vec<u32>,
    /// Batches so far; of each row the one in which it lost the last interest, 0 if it has some; these rows by batch.
    batches: u32,
    unwanted_since: Vec<u32>,
    fading: VecDeque<(u32, u32)>,
    pool: Vec<Entry>,
    logarithm: Logarithm,
    similarity: Similarity,
    neighbours: usize,
    kept: usize,
    least: u32,
    shrink: u64,
    pub(crate) scans: u64,
    pub(crate) moves: u64,
}

/// Says whether a changed count can matter to one row.
#[derive(Clone, Copy)]
pub(crate) struct Judge {
    row: u32,
    cut: Score,
}

impl Judge {
    /// Files a change that may be in the best of the row before or after it.
    #[inline]
    pub(crate) fn look(self, rows: &mut Rows, item: u32, old: u32, new: u32) {
        let quantised = rows.quantised(self.row, item);
        let above = rows.twice(old.max(new)) - quantised;
        if above >= self.cut {
            let (old, new) = (rows.score(old, quantised), rows.score(new, quantised));
            if old != new {
                rows.hits.push(Hit { row: self.row, item, old, new });
            }
        }
    }
}

/// The quantised logarithm in a phase.
#[inline]
fn step(fine: u32, phase: u32) -> Score {
    ((fine + phase) / PHASES).cast_signed()
}

#[inline]
fn phase(i: u32, j: u32) -> u32 {
    (i ^ j) % PHASES
}

impl Rows {
    pub(crate) fn new(config: &Config) -> Self {
        Rows {
            popularity: Vec::new(),
            fine: Vec::new(),
            best: Vec::new(),
            cuts: Vec::new(),
            hits: Vec::new(),
            sorted: Vec::new(),
            ends: Vec::new(),
            dirty: Vec::new(),
            short: Vec::new(),
            published: Vec::new(),
            lengths: Vec::new(),
            changed: Vec::new(),
            changes: Vec::new(),
            batches: 0,
            unwanted_since: Vec::new(),
            fading: VecDeque::new(),
            pool: Vec::new(),
            logarithm: Logarithm::new(config.resolution),
            similarity: Similarity::new(config.resolution),
            neighbours: config.neighbours,
            kept: config.neighbours + (config.neighbours / 3).max(4),
            least: config.min_cooccurrence,
            shrink: u64::from(config.shrink),
            scans: 0,
            moves: 0,
        }
    }

    pub(crate) fn grow(&mut self, items: usize) {
        let nobody = self.logarithm.fine(self.shrink);
        self.popularity.resize(items, 0);
        self.fine.resize(items, nobody);
        self.best.resize_with(items, Best::default);
        self.cuts.resize(items, NOTHING);
        self.ends.resize(items, 0);
        self.published.resize(items * self.neighbours, Neighbour::default());
        self.lengths.resize(items, 0);
        self.unwanted_since.resize(items, 0);
        self.changed.resize(items, false);
        self.changes.drain(..).for_each(|row| self.changed[row as usize] = false);
    }

    /// `q_ij(N_j + shrink)`.
    #[inline]
    fn quantised(&self, i: u32, j: u32) -> Score {
        step(self.fine[j as usize], phase(i, j))
    }

    /// `2 q(C)`.
    #[inline]
    fn twice(&self, count: u32) -> Score {
        2 * self.logarithm.q(u64::from(count)).cast_signed()
    }

    /// The score of a count.
    #[inline]
    fn score(&self, count: u32, quantised: Score) -> Score {
        if count < self.least { ABSENT } else { self.twice(count) - quantised }
    }

    /// A row that a look at its changes is worth.
    pub(crate) fn judge(&self, row: u32) -> Option<Judge> {
        let cut = self.cuts[row as usize];
        (cut != NOTHING).then_some(Judge { row, cut })
    }

    /// Nobody wants these rows any more. They are dropped some batches later, as many are soon wanted again and ranking
    /// a row costs more than keeping it ranked.
    pub(crate) fn fade(&mut self, unwanted: impl Iterator<Item = u32>) {
        self.batches += 1;
        for row in unwanted {
            self.unwanted_since[row as usize] = self.batches;
            self.fading.push_back((self.batches, row));
        }
        while let Some((since, row)) = self.fading.front().copied().filter(|(since, _)| since + GRACE <= self.batches) {
            self.fading.pop_front();
            if self.unwanted_since[row as usize] == since {
                self.best[row as usize].entries = Vec::new();
                self.cuts[row as usize] = NOTHING;
                self.lengths[row as usize] = 0;
            }
        }
    }

    /// Takes changes of popularity, the counts as they were. Only phases whose step is crossed are visited: an item's row
    /// is also its column, and the classes of the column lie apart.
    pub(crate) fn change_popularities(&mut self, changes: impl Iterator<Item = (u32, i32)>, pairs: &Pairs) {
        for (item, change) in changes {
            let popularity = &mut self.popularity[item as usize];
            *popularity = popularity.checked_add_signed(change).expect("who leaves had come");
            let new = self.logarithm.fine(u64::from(*popularity) + self.shrink);
            let old = std::mem::replace(&mut self.fine[item as usize], new);
            if old == new {
                continue;
            }
            // The own row's similarities have the popularity in them, too.
            self.mark(item);
            for phase in 0..PHASES {
                let (before, after) = (step(old, phase), step(new, phase));
                if before == after {
                    continue;
                }
                let least = before.min(after);
                pairs.class(item, phase ^ (item % PHASES), |row, count| {
                    if count >= self.least {
                        let twice = self.twice(count);
                        if twice - least >= self.cuts[row as usize] {
                            self.hits.push(Hit { row, item, old: twice - before, new: twice - after });
                        }
                    }
                });
            }
        }
    }

    /// Takes what was filed, row by row: those of popularities before those of counts, as they were filed.
    pub(crate) fn apply_hits(&mut self, ids: &[ItemId]) {
        self.ends.fill(0);
        self.hits.iter().for_each(|hit| self.ends[hit.row as usize] += 1);
        let mut total = 0;
        for end in &mut self.ends {
            (*end, total) = (total, total + *end);
        }
        if self.sorted.len() < self.hits.len() {
            self.sorted.resize(self.hits.len(), Hit::default());
        }
        for hit in self.hits.drain(..) {
            let next = &mut self.ends[hit.row as usize];
            self.sorted[*next as usize] = hit;
            *next += 1;
        }
        let sorted = std::mem::take(&mut self.sorted);
        let sorted_hits = &sorted[..total as usize];
        let same_row = |a: &Hit, b: &Hit| a.row == b.row;
        let mut ahead = sorted_hits.chunk_by(same_row).map(|hits| hits[0].row as usize);
        for (n, hits) in sorted_hits.chunk_by(same_row).enumerate() {
            if n % AHEAD == 0 {
                let rows = ahead.by_ref().take(AHEAD).map(|row| &self.best[row].entries);
                let seen = rows.flat_map(|entries| entries.iter().step_by(4)).fold(0, |seen, entry| seen ^ entry.item);
                std::hint::black_box(seen);
            }
            self.apply(hits, ids);
        }
        self.sorted = sorted;
    }

    /// Takes the changes of one row, and publishes it if they matter: what else there is to know is known by now.
    fn apply(&mut self, hits: &[Hit], ids: &[ItemId]) {
        let row = hits[0].row;
        let (best, cut) = (&mut self.best[row as usize], &mut self.cuts[row as usize]);
        let mut first = usize::MAX;
        for hit in hits {
            if let Some(at) = best.shift(cut, hit, ids[hit.item as usize], self.kept) {
                first = first.min(at);
                self.moves += 1;
            }
        }
        if best.entries.len() < self.neighbours && *cut != EVERYTHING {
            self.mark(row);
        } else if first < self.neighbours || best.dirty {
            self.publish_row(row);
        }
    }

    fn mark(&mut self, row: u32) {
        if self.cuts[row as usize] != NOTHING && !std::mem::replace(&mut self.best[row as usize].dirty, true) {
            self.dirty.push(row);
        }
    }

    /// Ranks the rows that are newly wanted and those that lost so many that the next one may be beneath the cut.
    pub(crate) fn rank(&mut self, wanted: impl Iterator<Item = u32>, pairs: &Pairs, ids: &[ItemId]) {
        let (best, cuts, neighbours) = (&self.best, &self.cuts, self.neighbours);
        let is_short = |row: &u32| {
            best[*row as usize].entries.len() < neighbours && !matches!(cuts[*row as usize], EVERYTHING | NOTHING)
        };
        let mut short = std::mem::take(&mut self.short);
        short.extend(self.dirty.iter().copied().filter(is_short));
        for row in wanted {
            self.unwanted_since[row as usize] = 0;
            if self.cuts[row as usize] == NOTHING {
                short.push(row);
            }
        }
        short.drain(..).for_each(|row| self.scan(row, pairs, ids));
        self.short = short;
    }

    fn scan(&mut self, row: u32, pairs: &Pairs, ids: &[ItemId]) {
        let by_rank = |a: &Entry, b: &Entry| b.score.cmp(&a.score).then(a.id.cmp(&b.id));
        let mut pool = std::mem::take(&mut self.pool);
        let (kept, mut cut) = (self.kept, EVERYTHING);
        pool.clear();
        for (item, count) in pairs.row(row) {
            let score = self.score(count, self.quantised(row, item));
            if score >= cut {
                pool.push(Entry { id: ids[item as usize], item, score });
                if pool.len() >= 4 * kept {
                    pool.select_nth_unstable_by(kept - 1, by_rank);
                    pool.truncate(kept);
                    cut = pool[kept - 1].score;
                }
            }
        }
        let all = cut == EVERYTHING && pool.len() <= kept;
        pool.sort_unstable_by(by_rank);
        pool.truncate(kept);
        let best = &mut self.best[row as usize];
        best.entries.clear();
        best.entries.extend_from_slice(&pool);
        (self.cuts[row as usize], best.cut_id) =
            pool.last().filter(|_| !all).map_or((EVERYTHING, ItemId::MAX), |last| (last.score, last.id));
        self.pool = pool;
        self.scans += 1;
        self.mark(row);
    }

    /// Computes the similarities of the rows that may have changed and notes those that did.
    pub(crate) fn publish(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for row in &dirty {
            if self.best[*row as usize].dirty && self.cuts[*row as usize] != NOTHING {
                self.publish_row(*row);
            }
            self.best[*row as usize].dirty = false;
        }
        self.dirty = dirty;
        self.dirty.clear();
    }

    fn publish_row(&mut self, row: u32) {
        let best = &mut self.best[row as usize];
        best.dirty = false;
        let length = best.entries.len().min(self.neighbours);
        let start = row as usize * self.neighbours;
        let mut changed = std::mem::replace(&mut self.lengths[row as usize], length as u32) != length as u32;
        let fine = self.fine[row as usize];
        for (entry, place) in best.entries.iter().zip(&mut self.published[start..start + length]) {
            let own = step(fine, phase(row, entry.item));
            let similarity = u32::from(self.similarity.of(entry.score - own));
            let neighbour = Neighbour { item: entry.item, similarity };
            changed |= std::mem::replace(place, neighbour) != neighbour;
        }
        if changed {
            self.changed[row as usize] = true;
            self.changes.push(row);
        }
    }

    /// Whether the row changed in this batch.
    #[inline]
    pub(crate) fn has_changed(&self, row: u32) -> bool {
        self.changed[row as usize]
    }

    /// The neighbours of an item.
    #[inline]
    pub(crate) fn neighbours(&self, row: u32) -> &[Neighbour] {
        let start = row as usize * self.neighbours;
        &self.published[start..start + self.lengths[row as usize] as usize]
    }
}
