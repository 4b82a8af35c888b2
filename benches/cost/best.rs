//! The best of a row, kept sorted while scores change.

use dataflows::types::ItemId;

/// `2 q(C_ij) - q_ij(N_j + shrink)`.
pub(crate) type Score = i32;

/// An item in another's row: better by score, then by the lower id.
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

/// The best of a row. What is not among them does not reach the cut; what is does.
#[derive(Default)]
pub(crate) struct Best {
    pub(crate) entries: Vec<Entry>,
    /// Of equal scores the largest id above the cut.
    pub(crate) cut_id: ItemId,
    /// Some of the published ones may have changed.
    pub(crate) dirty: bool,
}

impl Best {
    /// Changes a score. Returns the first place that changed.
    pub(crate) fn shift(&mut self, cut: &mut Score, hit: &Hit, id: ItemId, kept: usize) -> Option<usize> {
        let holds = |score: Score| score > *cut || (score == *cut && id <= self.cut_id);
        let entries = &mut self.entries;
        let at = |entries: &[Entry], score| entries.partition_point(|entry| entry.precedes(score, id));
        match (holds(hit.old), holds(hit.new)) {
            (false, false) => None,
            (true, false) => {
                let old = at(entries, hit.old);
                entries.remove(old);
                Some(old)
            }
            (false, true) => {
                let new = at(entries, hit.new);
                entries.insert(new, Entry { id, item: hit.item, score: hit.new });
                if entries.len() > kept {
                    entries.pop();
                    let last = entries.last().expect("more than one is kept");
                    (*cut, self.cut_id) = (last.score, last.id);
                }
                Some(new)
            }
            (true, true) => {
                let (old, new) = (at(entries, hit.old), at(entries, hit.new));
                entries[old].score = hit.new;
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

/// A changed score that may matter to its row.
#[derive(Clone, Copy, Default)]
pub(crate) struct Hit {
    pub(crate) row: u32,
    pub(crate) item: u32,
    pub(crate) old: Score,
    pub(crate) new: Score,
}

/// As a cut: nothing reaches it.
pub(crate) const NOTHING: Score = Score::MAX;
/// As a cut: everything reaches it.
pub(crate) const EVERYTHING: Score = Score::MIN + 1;
/// The score of what is not in a row: reaches no cut.
pub(crate) const ABSENT: Score = Score::MIN;
