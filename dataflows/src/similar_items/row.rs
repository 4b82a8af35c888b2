//! What is kept of an item that somebody wants to know about: its ranking, and what was told to whom.

use crate::dense::Dense;
use crate::top_k::TopK;
use crate::{Diff, Subscriber};

/// A partner and how similar it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Similar {
    pub(super) partner: Dense,
    pub(super) similarity: u16,
}

/// A partner that is to be ranked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touched {
    pub(super) partner: Dense,
    /// How much it has in common with the item, as far as that matters, or [`UNKNOWN`]. Of several the last one holds.
    pub(super) count: u32,
}

/// The count must be looked up: it fell out of what is told, and may have fallen further.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// So often a ranking that nobody wants is brought up to date before it is given up: many are soon wanted again, and
/// making one anew goes through all pairs of the item.
const PATIENCE: u8 = 64;

/// An item owned by this worker that somebody wants to know about, or did a short while ago.
#[derive(Default)]
pub(super) struct Row {
    /// The best partners; `None` if they are to be chosen anew.
    pub(super) ranking: Option<TopK<i32>>,
    /// How often the ranking was brought up to date since nobody wants it.
    unwanted: u8,
    /// Whether the row is to be looked at by the rankings.
    pub(super) dirty: bool,
    /// Which workers want to know, and how often that was said.
    wanted: Vec<(Subscriber, Diff)>,
    /// Which workers have been told what, best first.
    told: Vec<Subscriber>,
    neighbours: Vec<Similar>,
}

impl Row {
    /// A worker wants to know the neighbours, or no longer does.
    pub(super) fn want(&mut self, worker: Subscriber, diff: Diff) {
        match self.wanted.iter().position(|(wants, _)| *wants == worker) {
            None => self.wanted.push((worker, diff)),
            Some(at) => {
                self.wanted[at].1 += diff;
                if self.wanted[at].1 == 0 {
                    self.wanted.swap_remove(at);
                }
            }
        }
    }

    /// Reads what ranking the row will read, a cache line at a time.
    pub(super) fn peek(&self) -> Dense {
        let told =
            self.neighbours.iter().step_by(64 / size_of::<Similar>()).fold(0, |seen, similar| seen ^ similar.partner);
        told ^ self.ranking.as_ref().map_or(0, TopK::peek)
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Gives up the ranking if nobody has wanted it for a while.
    pub(super) fn age(&mut self) {
        self.unwanted = if self.is_wanted() { 0 } else { self.unwanted + 1 };
        if self.unwanted > PATIENCE {
            self.ranking = None;
        }
    }

    /// Tells the workers that were told before what is different, new ones all, and those that left that all is gone.
    /// `neighbours` are those now, best first; `scratch` is 0 for every item, and is left so.
    pub(super) fn tell(
        &mut self,
        neighbours: &[Similar],
        scratch: &mut [u16],
        tell: &mut impl FnMut(Subscriber, Similar, Diff),
    ) {
        self.told.retain(|worker| {
            let stays = self.wanted.iter().any(|(wants, _)| wants == worker);
            if !stays {
                self.neighbours.iter().for_each(|neighbour| tell(*worker, *neighbour, -1));
            }
            stays
        });
        let (old, new) = different(&self.neighbours, neighbours);
        for before in old {
            scratch[before.partner as usize] = before.similarity;
        }
        // What comes first, so that a neighbour with another similarity keeps its place where it is looked up.
        for come in new {
            let before = &mut scratch[come.partner as usize];
            if *before == come.similarity {
                *before = 0;
            } else {
                self.told.iter().for_each(|worker| tell(*worker, *come, 1));
            }
        }
        for gone in old {
            if std::mem::take(&mut scratch[gone.partner as usize]) > 0 {
                self.told.iter().for_each(|worker| tell(*worker, *gone, -1));
            }
        }
        if !(old.is_empty() && new.is_empty()) {
            self.neighbours.clear();
            self.neighbours.extend_from_slice(neighbours);
        }
        for (worker, _) in &self.wanted {
            if !self.told.contains(worker) {
                for neighbour in neighbours {
                    tell(*worker, *neighbour, 1);
                }
                self.told.push(*worker);
            }
        }
    }
}

/// The stretches in which two rows differ: most often they are empty or short.
fn different<'a>(old: &'a [Similar], new: &'a [Similar]) -> (&'a [Similar], &'a [Similar]) {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    (&old[..old.len() - tail], &new[..new.len() - tail])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ranking_that_nobody_wants_is_given_up_in_the_end() {
        let mut row = Row { ranking: Some(TopK::default()), ..Row::default() };
        row.want(Subscriber::Worker(7), 1);
        (0..1_000).for_each(|_| row.age());
        row.want(Subscriber::Worker(7), -1);
        for _ in 0..PATIENCE {
            row.age();
            assert!(row.ranking.is_some());
        }
        row.age();
        assert!(row.ranking.is_none());
    }
}
