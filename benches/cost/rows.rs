//! Rows of the most similar items, for each item in a profile of the audience.

use std::collections::VecDeque;

use dataflows::Config;
use dataflows::operators::{Logarithm, Similarity};
use dataflows::types::ItemId;

use super::names::PHASES;
use super::pairs::{Pairs, Rankings};
use super::prefetch::prefetch;
use super::top_entries::{ABSENT, CLOSED, Entry, OPEN, Score, ScoreChange, TopEntries};

/// Published neighbour of an item.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) item: u32,
    pub(crate) similarity: u32,
}

/// Batches for which a row without subscribers is maintained.
const GRACE: u32 = 64;

/// Rows with prefetched entries.
const PREFETCH_BATCH: usize = 16;

/// All rows.
pub(crate) struct Rows {
    popularity: Vec<u32>,
    /// Fine logarithm of twice the sum of popularity and shrink, by item.
    fine: Vec<u32>,
    top: Vec<TopEntries>,
    /// Score of the cut by row: `CLOSED` for a row that is not maintained, `OPEN` if all entries are stored.
    cuts: Vec<Score>,
    score_changes: Vec<ScoreChange>,
    /// Score changes grouped by row.
    sorted: Vec<ScoreChange>,
    /// End of each row in `sorted`.
    ends: Vec<u32>,
    /// Rows to publish.
    dirty: Vec<u32>,
    /// Rows to rescan.
    rescans: Vec<u32>,
    published: Vec<Neighbour>,
    lengths: Vec<u32>,
    /// Whether the published row changed in this batch, by row.
    changed: Vec<bool>,
    /// Published rows that changed in this batch.
    changes: Vec<u32>,
    /// Number of batches.
    batches: u32,
    /// Batch in which a row lost its last subscriber, 0 if it has one.
    unsubscribed_since: Vec<u32>,
    /// Rows without subscribers, with the batch since when.
    released: VecDeque<(u32, u32)>,
    pool: Vec<Entry>,
    logarithm: Logarithm,
    similarity: Similarity,
    neighbours: usize,
    capacity: usize,
    least: u32,
    shrink: u64,
    pub(crate) scans: u64,
    pub(crate) moves: u64,
}

/// The lowest score that can affect one row.
#[derive(Clone, Copy)]
pub(crate) struct RowFilter {
    row: u32,
    cut: Score,
}

impl Rankings for Rows {
    type Filter = RowFilter;

    #[inline]
    fn filter(&self, row: u32) -> Option<RowFilter> {
        let cut = self.cuts[row as usize];
        (cut != CLOSED).then_some(RowFilter { row, cut })
    }

    /// Records the score change if the entry may reach the cut before or after it.
    #[inline]
    fn push_if_relevant(&mut self, RowFilter { row, cut }: RowFilter, item: u32, old: u32, new: u32) {
        let quantised = self.quantised(row, item);
        if self.twice(old.max(new)) - quantised >= cut {
            let (old, new) = (self.score(old, quantised), self.score(new, quantised));
            if old != new {
                self.score_changes.push(ScoreChange { row, item, old, new });
            }
        }
    }
}

/// Quantised logarithm in a phase.
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
            top: Vec::new(),
            cuts: Vec::new(),
            score_changes: Vec::new(),
            sorted: Vec::new(),
            ends: Vec::new(),
            dirty: Vec::new(),
            rescans: Vec::new(),
            published: Vec::new(),
            lengths: Vec::new(),
            changed: Vec::new(),
            changes: Vec::new(),
            batches: 0,
            unsubscribed_since: Vec::new(),
            released: VecDeque::new(),
            pool: Vec::new(),
            logarithm: Logarithm::new(config.resolution),
            similarity: Similarity::new(config.resolution),
            neighbours: config.neighbours,
            capacity: config.neighbours + (config.neighbours / 3).max(4),
            least: config.min_cooccurrence,
            shrink: u64::from(config.shrink),
            scans: 0,
            moves: 0,
        }
    }

    pub(crate) fn grow(&mut self, items: usize) {
        self.popularity.resize(items, 0);
        self.fine.resize(items, self.logarithm.fine(2 * self.shrink));
        self.top.resize_with(items, TopEntries::default);
        self.cuts.resize(items, CLOSED);
        self.ends.resize(items, 0);
        self.published.resize(items * self.neighbours, Neighbour::default());
        self.lengths.resize(items, 0);
        self.unsubscribed_since.resize(items, 0);
        self.changed.resize(items, false);
        self.changes.drain(..).for_each(|row| self.changed[row as usize] = false);
    }

    /// `q_ij(D_j)`.
    #[inline]
    fn quantised(&self, i: u32, j: u32) -> Score {
        step(self.fine[j as usize], phase(i, j))
    }

    /// `2 q(C)`.
    #[inline]
    fn twice(&self, count: u32) -> Score {
        2 * self.logarithm.q(u64::from(count)).cast_signed()
    }

    /// Score of a count.
    #[inline]
    fn score(&self, count: u32, quantised: Score) -> Score {
        if count < self.least { ABSENT } else { self.twice(count) - quantised }
    }

    /// Releases rows without subscribers after a grace period: many are subscribed again soon, and a rescan costs more than
    /// maintaining a row.
    pub(crate) fn release(&mut self, unsubscribed: impl Iterator<Item = u32>) {
        self.batches += 1;
        for row in unsubscribed {
            self.unsubscribed_since[row as usize] = self.batches;
            self.released.push_back((self.batches, row));
        }
        while let Some((since, row)) = self.released.front().copied().filter(|(since, _)| since + GRACE <= self.batches)
        {
            self.released.pop_front();
            if self.unsubscribed_since[row as usize] == since {
                self.top[row as usize].entries = Vec::new();
                self.cuts[row as usize] = CLOSED;
                self.lengths[row as usize] = 0;
            }
        }
    }

    /// Applies changes of popularity, before the counts change. Visits only the phases in which the quantised logarithm
    /// changes: the row of an item is also its column, and the column is ordered by phase class.
    pub(crate) fn change_popularities(&mut self, changes: impl Iterator<Item = (u32, i32)>, pairs: &Pairs) {
        for (item, change) in changes {
            let popularity = &mut self.popularity[item as usize];
            *popularity = popularity.checked_add_signed(change).expect("a popularity is not negative");
            let new = self.logarithm.fine(2 * (u64::from(*popularity) + self.shrink));
            let old = std::mem::replace(&mut self.fine[item as usize], new);
            if old == new {
                continue;
            }
            // The similarities of the item's own row depend on its popularity too.
            self.mark_dirty(item);
            for phase in 0..PHASES {
                let (before, after) = (step(old, phase), step(new, phase));
                if before == after {
                    continue;
                }
                let least = before.min(after);
                pairs.for_each_in_class(item, phase ^ (item % PHASES), |row, count| {
                    if count >= self.least {
                        let twice = self.twice(count);
                        if twice - least >= self.cuts[row as usize] {
                            self.score_changes.push(ScoreChange { row, item, old: twice - before, new: twice - after });
                        }
                    }
                });
            }
        }
    }

    /// Applies the recorded score changes row by row, in the order in which they were recorded.
    pub(crate) fn apply_score_changes(&mut self, ids: &[ItemId]) {
        self.ends.fill(0);
        self.score_changes.iter().for_each(|change| self.ends[change.row as usize] += 1);
        let mut total = 0;
        for end in &mut self.ends {
            (*end, total) = (total, total + *end);
        }
        if self.sorted.len() < self.score_changes.len() {
            self.sorted.resize(self.score_changes.len(), ScoreChange::default());
        }
        for change in self.score_changes.drain(..) {
            let next = &mut self.ends[change.row as usize];
            self.sorted[*next as usize] = change;
            *next += 1;
        }
        let sorted = std::mem::take(&mut self.sorted);
        let sorted_changes = &sorted[..total as usize];
        let same_row = |a: &ScoreChange, b: &ScoreChange| a.row == b.row;
        let mut ahead = sorted_changes.chunk_by(same_row).map(|score_changes| score_changes[0].row as usize);
        for (n, score_changes) in sorted_changes.chunk_by(same_row).enumerate() {
            if n % PREFETCH_BATCH == 0 {
                let rows = ahead.by_ref().take(PREFETCH_BATCH).map(|row| &self.top[row].entries);
                prefetch(rows.flat_map(|entries| entries.iter().step_by(4)).map(|entry| entry.item));
            }
            self.apply(score_changes, ids);
        }
        self.sorted = sorted;
    }

    /// Applies the score changes of one row, and publishes it if published entries changed.
    fn apply(&mut self, score_changes: &[ScoreChange], ids: &[ItemId]) {
        let row = score_changes[0].row;
        let (top, cut) = (&mut self.top[row as usize], &mut self.cuts[row as usize]);
        let mut first = usize::MAX;
        for change in score_changes {
            if let Some(at) = top.adjust(cut, change, ids[change.item as usize], self.capacity) {
                first = first.min(at);
                self.moves += 1;
            }
        }
        if top.entries.len() < self.neighbours && *cut != OPEN {
            self.mark_dirty(row);
        } else if first < self.neighbours || top.dirty {
            self.publish_row(row);
        }
    }

    fn mark_dirty(&mut self, row: u32) {
        if self.cuts[row as usize] != CLOSED && !std::mem::replace(&mut self.top[row as usize].dirty, true) {
            self.dirty.push(row);
        }
    }

    /// Rescans the newly subscribed rows, and those with fewer entries than neighbours above the cut.
    pub(crate) fn rank(&mut self, subscribed: impl Iterator<Item = u32>, pairs: &Pairs, ids: &[ItemId]) {
        let (top, cuts, neighbours) = (&self.top, &self.cuts, self.neighbours);
        let needs_rescan =
            |row: &u32| top[*row as usize].entries.len() < neighbours && !matches!(cuts[*row as usize], OPEN | CLOSED);
        let mut rescans = std::mem::take(&mut self.rescans);
        rescans.extend(self.dirty.iter().copied().filter(needs_rescan));
        for row in subscribed {
            self.unsubscribed_since[row as usize] = 0;
            if self.cuts[row as usize] == CLOSED {
                rescans.push(row);
            }
        }
        rescans.drain(..).for_each(|row| self.scan(row, pairs, ids));
        self.rescans = rescans;
    }

    fn scan(&mut self, row: u32, pairs: &Pairs, ids: &[ItemId]) {
        let by_rank = |a: &Entry, b: &Entry| b.score.cmp(&a.score).then(a.id.cmp(&b.id));
        let mut pool = std::mem::take(&mut self.pool);
        let (capacity, mut cut) = (self.capacity, OPEN);
        pool.clear();
        for (item, count) in pairs.row(row) {
            let score = self.score(count, self.quantised(row, item));
            if score >= cut {
                pool.push(Entry { id: ids[item as usize], item, score });
                if pool.len() >= 4 * capacity {
                    pool.select_nth_unstable_by(capacity - 1, by_rank);
                    pool.truncate(capacity);
                    cut = pool[capacity - 1].score;
                }
            }
        }
        let all = cut == OPEN && pool.len() <= capacity;
        pool.sort_unstable_by(by_rank);
        pool.truncate(capacity);
        let top = &mut self.top[row as usize];
        top.entries.clear();
        top.entries.extend_from_slice(&pool);
        (self.cuts[row as usize], top.cut_id) =
            pool.last().filter(|_| !all).map_or((OPEN, ItemId::MAX), |last| (last.score, last.id));
        self.pool = pool;
        self.scans += 1;
        self.mark_dirty(row);
    }

    /// Publishes the dirty rows.
    pub(crate) fn publish(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for row in &dirty {
            if self.top[*row as usize].dirty && self.cuts[*row as usize] != CLOSED {
                self.publish_row(*row);
            }
            self.top[*row as usize].dirty = false;
        }
        self.dirty = dirty;
        self.dirty.clear();
    }

    fn publish_row(&mut self, row: u32) {
        let top = &mut self.top[row as usize];
        top.dirty = false;
        let length = top.entries.len().min(self.neighbours);
        let start = row as usize * self.neighbours;
        let mut changed = std::mem::replace(&mut self.lengths[row as usize], length as u32) != length as u32;
        let fine = self.fine[row as usize];
        for (entry, slot) in top.entries.iter().zip(&mut self.published[start..start + length]) {
            let own = step(fine, phase(row, entry.item));
            let similarity = u32::from(self.similarity.of(entry.score - own));
            let neighbour = Neighbour { item: entry.item, similarity };
            changed |= std::mem::replace(slot, neighbour) != neighbour;
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

    /// Published neighbours of an item.
    #[inline]
    pub(crate) fn neighbours(&self, row: u32) -> &[Neighbour] {
        let start = row as usize * self.neighbours;
        &self.published[start..start + self.lengths[row as usize] as usize]
    }
}
