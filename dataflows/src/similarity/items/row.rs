//! An item with subscribers: its ranking, and the neighbours that were emitted.

use crate::operators::{Dense, TopK, load_lines};
use crate::{Diff, Subscriber};

/// A partner and its similarity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Similar {
    pub(super) partner: Dense,
    pub(super) similarity: u16,
}

/// A partner that must be ranked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct TouchedPartner {
    pub(super) partner: Dense,
    /// Co-occurrence with the item, exact at or above the threshold, or [`UNKNOWN`]. Of several, the last one counts.
    pub(super) count: u32,
}

/// The count must be looked up: it fell below the threshold and may have fallen further.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// Updates of a ranking without subscribers before it is dropped. Many get a subscriber again soon, and a rebuild scans
/// all pairs of the item.
const IDLE_UPDATES: u8 = 64;

/// An owned item that has subscribers, or had some a short while ago.
#[derive(Default)]
pub(super) struct Row {
    /// Best partners; `None` if the ranking must be rebuilt.
    pub(super) ranking: Option<TopK<i32>>,
    /// Number of updates of the ranking since the last subscriber left.
    idle_updates: u8,
    /// Whether the row is in the list of dirty rows.
    pub(super) dirty: bool,
    /// Subscribers, each with the multiplicity of its subscription.
    subscribers: Vec<(Subscriber, Diff)>,
    /// Subscribers to which `neighbours` were emitted.
    synced: Vec<Subscriber>,
    /// Neighbours that were emitted last, best first.
    neighbours: Vec<Similar>,
}

impl Row {
    /// Adds or removes a subscriber.
    pub(super) fn subscribe(&mut self, subscriber: Subscriber, diff: Diff) {
        match self.subscribers.iter().position(|(known, _)| *known == subscriber) {
            None => self.subscribers.push((subscriber, diff)),
            Some(at) => {
                self.subscribers[at].1 += diff;
                if self.subscribers[at].1 == 0 {
                    self.subscribers.swap_remove(at);
                }
            }
        }
    }

    /// Loads what ranking the row reads, for [`prefetch`](crate::operators::prefetch).
    pub(super) fn load(&self) -> Dense {
        load_lines(&self.neighbours, |similar| similar.partner) ^ self.ranking.as_ref().map_or(0, TopK::load)
    }

    pub(super) fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }

    /// Drops a ranking that has had no subscriber for a while.
    pub(super) fn age(&mut self) {
        self.idle_updates = if self.has_subscribers() { 0 } else { self.idle_updates + 1 };
        if self.idle_updates > IDLE_UPDATES {
            self.ranking = None;
        }
    }

    /// Emits the differences to existing subscribers, all `neighbours` (best first) to new ones, and retractions to those
    /// that left. `scratch` is 0 for every item, before and after.
    pub(super) fn emit(
        &mut self,
        neighbours: &[Similar],
        scratch: &mut [u16],
        emit: &mut impl FnMut(Subscriber, Similar, Diff),
    ) {
        self.synced.retain(|subscriber| {
            let stays = self.subscribers.iter().any(|(known, _)| known == subscriber);
            if !stays {
                self.neighbours.iter().for_each(|neighbour| emit(*subscriber, *neighbour, -1));
            }
            stays
        });
        let (old, new) = differing_range(&self.neighbours, neighbours);
        for before in old {
            scratch[before.partner as usize] = before.similarity;
        }
        // Insertions first, so that a neighbour with a new similarity keeps its slot in the row caches.
        for inserted in new {
            let before = &mut scratch[inserted.partner as usize];
            if *before == inserted.similarity {
                *before = 0;
            } else {
                self.synced.iter().for_each(|subscriber| emit(*subscriber, *inserted, 1));
            }
        }
        for removed in old {
            if std::mem::take(&mut scratch[removed.partner as usize]) > 0 {
                self.synced.iter().for_each(|subscriber| emit(*subscriber, *removed, -1));
            }
        }
        if !(old.is_empty() && new.is_empty()) {
            self.neighbours.clear();
            self.neighbours.extend_from_slice(neighbours);
        }
        for (subscriber, _) in &self.subscribers {
            if !self.synced.contains(subscriber) {
                for neighbour in neighbours {
                    emit(*subscriber, *neighbour, 1);
                }
                self.synced.push(*subscriber);
            }
        }
    }
}

/// Two rows without their common prefix and suffix. Mostly short or empty.
fn differing_range<'a>(old: &'a [Similar], new: &'a [Similar]) -> (&'a [Similar], &'a [Similar]) {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    (&old[..old.len() - tail], &new[..new.len() - tail])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_a_ranking_that_stays_without_subscribers() {
        let mut row = Row { ranking: Some(TopK::default()), ..Row::default() };
        row.subscribe(Subscriber::Worker(7), 1);
        (0..1_000).for_each(|_| row.age());
        row.subscribe(Subscriber::Worker(7), -1);
        for _ in 0..IDLE_UPDATES {
            row.age();
            assert!(row.ranking.is_some());
        }
        row.age();
        assert!(row.ranking.is_none());
    }
}
