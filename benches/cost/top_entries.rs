//! The top entries of a row, sorted under score changes.

use dataflows::types::ItemId;

/// `2 q(C_ij) - q_ij(N_j + shrink)`.
pub(crate) type Score = i32;

/// Entry of a row, ordered by score, descending, then by id.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) id: ItemId,
    pub(crate) item: u32,
    pub(crate) score: Score,
}

impl Entry {
    fn precedes(&self, score: Score, id: ItemId) -> bool {
        self.score > score || (self.score == score && self.id < id)
    }
}

/// Top entries of a row. Invariant: an entry is stored exactly if it reaches the cut.
#[derive(Default)]
pub(crate) struct TopEntries {
    pub(crate) entries: Vec<Entry>,
    /// Largest id that reaches the cut with a score equal to it.
    pub(crate) cut_id: ItemId,
    /// Whether published entries may have changed.
    pub(crate) dirty: bool,
}

impl TopEntries {
    /// Applies a score change. Returns the first changed position.
    pub(crate) fn adjust(
        &mut self,
        cut: &mut Score,
        change: &ScoreChange,
        id: ItemId,
        capacity: usize,
    ) -> Option<usize> {
        let reaches_cut = |score: Score| score > *cut || (score == *cut && id <= self.cut_id);
        let entries = &mut self.entries;
        let at = |entries: &[Entry], score| entries.partition_point(|entry| entry.precedes(score, id));
        match (reaches_cut(change.old), reaches_cut(change.new)) {
            (false, false) => None,
            (true, false) => {
                let old = at(entries, change.old);
                entries.remove(old);
                Some(old)
            }
            (false, true) => {
                let new = at(entries, change.new);
                entries.insert(new, Entry { id, item: change.item, score: change.new });
                if entries.len() > capacity {
                    entries.pop();
                    let last = entries.last().expect("the capacity is at least one");
                    (*cut, self.cut_id) = (last.score, last.id);
                }
                Some(new)
            }
            (true, true) => {
                let (old, new) = (at(entries, change.old), at(entries, change.new));
                entries[old].score = change.new;
                if old < new {
                    entries[old..new].rotate_left(1);
                } else {
                    entries[new..=old].rotate_right(1);
                }
                Some(old.min(new))
            }
        }
    }
}

/// Change of a score that may affect its row.
#[derive(Clone, Copy, Default)]
pub(crate) struct ScoreChange {
    pub(crate) row: u32,
    pub(crate) item: u32,
    pub(crate) old: Score,
    pub(crate) new: Score,
}

/// Cut that no score reaches.
pub(crate) const CLOSED: Score = Score::MAX;
/// Cut that all scores reach.
pub(crate) const OPEN: Score = Score::MIN + 1;
/// Score of an absent entry; it reaches no cut.
pub(crate) const ABSENT: Score = Score::MIN;
