//! The co-occurrence counts of one item: an open-addressing table of 8 bytes a slot, ordered by phase.
//!
//! The home slot of a partner is its phase followed by a hash, scaled to the table. So the partners of one phase are
//! adjacent: when the popularity of the item crosses a threshold, the affected sixty-fourth of its pairs is read without
//! the rest.
//!
//! Without an identity key anyone who can write events can choose items of a single phase, whose home slots would all lie in a
//! sixty-fourth of the table. So a table in which an entry lies far from its home slot gives up the order.

use std::ops::Range;

use crate::operators::Dense;
use crate::similarity::quantise::{PHASES, phase};

const FREE: Dense = Dense::MAX;
const SMALLEST: usize = 4;
/// An entry farther from its home slot ends the order by phase. In a table that is four fifths full of random entries the
/// longest run of used slots grows by 43 for each factor of e: this one has 10^10 entries.
const MAX_DISPLACEMENT: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Slot {
    partner: Dense,
    count: u32,
}

/// Partners of an item with their counts, which are never 0. Linear probing; at most four fifths full.
///
/// A user adds at most 30 to a count: 32 bits hold it for 143 million users who have both items at the highest level, close in
/// time.
#[derive(Debug)]
pub(super) struct Pairs {
    /// The low six bits of the item's id, all that the phases of its pairs depend on.
    item: u8,
    /// Whether the slots are ordered by phase.
    is_ordered: bool,
    /// Number of used slots.
    len: u32,
    slots: Box<[Slot]>,
}

impl Pairs {
    pub(super) fn new(item: Dense) -> Self {
        Pairs { item: (item % PHASES) as u8, is_ordered: true, len: 0, slots: Box::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) fn get(&self, partner: Dense) -> u32 {
        if self.slots.is_empty() {
            return 0;
        }
        let slot = self.slots[self.find(partner)];
        if slot.partner == partner { slot.count } else { 0 }
    }

    /// Loads the home slot of a partner, for [`prefetch`](crate::operators::prefetch).
    #[inline]
    pub(super) fn load(&self, partner: Dense) -> u32 {
        if self.slots.is_empty() { 0 } else { self.slots[self.home(partner)].partner }
    }

    /// Adds `diff` to a count. Returns the count before and after. It never falls below 0, because the share of a user is
    /// retracted at most once.
    #[inline]
    pub(super) fn add(&mut self, partner: Dense, diff: i64) -> (u32, u32) {
        if 5 * (self.len() + 1) > 4 * self.slots.len() {
            // Grows by a half: each pair is moved twice in the long run, and a third of the slots is free on average.
            self.resize(self.slots.len() + self.slots.len() / 2 + SMALLEST);
        }
        let at = self.find(partner);
        let slot = &mut self.slots[at];
        let old = if slot.partner == partner { slot.count } else { 0 };
        let new = u32::try_from(i64::from(old) + diff)
            .expect("a co-occurrence is a sum over users, each retracted at most once");
        match (old, new) {
            (0, 0) => {}
            (0, _) => {
                *slot = Slot { partner, count: new };
                self.len += 1;
                if self.is_ordered && self.distance(self.home(partner), at) > MAX_DISPLACEMENT {
                    self.is_ordered = false;
                    self.resize(self.slots.len());
                }
            }
            (_, 0) => {
                self.remove(at);
                self.len -= 1;
                if self.slots.len() > 2 * SMALLEST && 5 * self.len() < 2 * self.slots.len() {
                    self.resize(self.len() + self.len() / 2 + SMALLEST);
                }
            }
            _ => slot.count = new,
        }
        (old, new)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Dense, u32)> {
        self.slots.iter().filter(|slot| slot.partner != FREE).map(|slot| (slot.partner, slot.count))
    }

    /// The partners with a phase in `phases`, and their counts. Reads only their part of the table.
    pub(super) fn in_phases(&self, phases: Range<u32>) -> impl Iterator<Item = (Dense, u32)> {
        let (start, end) = if self.slots.is_empty() || phases.is_empty() {
            (0, 0)
        } else if !self.is_ordered {
            (0, self.slots.len())
        } else {
            (self.home_of_phase(phases.start), self.home_of_phase(phases.end))
        };
        let slots = self.slots.len();
        // From the first home slot on; past the last one as long as displaced entries may follow.
        (start..start + slots)
            .map(move |at| (at, self.slots[if at < slots { at } else { at - slots }]))
            .take_while(move |(at, slot)| *at < end || slot.partner != FREE)
            .filter(move |(_, slot)| slot.partner != FREE && phases.contains(&self.phase(slot.partner)))
            .map(|(_, slot)| (slot.partner, slot.count))
    }

    fn phase(&self, partner: Dense) -> u32 {
        phase(u64::from(self.item), u64::from(partner))
    }

    /// The first possible home slot of a phase.
    fn home_of_phase(&self, phase: u32) -> usize {
        self.scaled(u64::from(phase) << 26)
    }

    #[inline]
    fn home(&self, partner: Dense) -> usize {
        let (phase, rest) = (self.phase(partner) << 26, (partner / PHASES).wrapping_mul(0x9E37_79B1));
        self.scaled(u64::from(if self.is_ordered { phase | rest >> 6 } else { phase.wrapping_add(rest) }))
    }

    /// Maps 32 bits to a slot, monotonically.
    #[inline]
    fn scaled(&self, hash: u64) -> usize {
        ((hash * self.slots.len() as u64) >> 32) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }

    /// Slots from `from` forward to `at`, with wrap-around.
    fn distance(&self, from: usize, at: usize) -> usize {
        if at >= from { at - from } else { at + self.slots.len() - from }
    }

    /// The slot of a partner, or the free slot where it would be inserted.
    #[inline]
    fn find(&self, partner: Dense) -> usize {
        let mut at = self.home(partner);
        while self.slots[at].partner != partner && self.slots[at].partner != FREE {
            at = self.next(at);
        }
        at
    }

    /// Empties a slot and moves displaced entries back.
    fn remove(&mut self, mut hole: usize) {
        let mut at = hole;
        loop {
            at = self.next(at);
            let slot = self.slots[at];
            if slot.partner == FREE {
                break;
            }
            // An entry may move to the hole unless its home lies between the two.
            if self.distance(self.home(slot.partner), at) >= self.distance(hole, at) {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = Slot { partner: FREE, count: 0 };
    }

    fn resize(&mut self, capacity: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot { partner: FREE, count: 0 }; capacity].into());
        for slot in old {
            if slot.partner != FREE {
                let at = self.find(slot.partner);
                self.slots[at] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Slots that are read to find all partners.
    fn probes(pairs: &Pairs) -> usize {
        let found = (0..pairs.slots.len()).filter(|at| pairs.slots[*at].partner != FREE);
        found.map(|at| pairs.distance(pairs.home(pairs.slots[at].partner), at) + 1).sum()
    }

    #[test]
    fn partners_of_one_phase_cost_no_more_than_those_of_all() {
        const PARTNERS: u32 = 20_000;
        let of_step = |step: u32| {
            let mut pairs = Pairs::new(7);
            for partner in 0..PARTNERS {
                pairs.add(partner * step + 3, 2);
            }
            assert!((0..PARTNERS).all(|partner| pairs.get(partner * step + 3) == 2));
            pairs
        };
        let (ordinary, crafted) = (of_step(1), of_step(PHASES));
        assert!(ordinary.is_ordered && !crafted.is_ordered);
        assert!(probes(&crafted) < 2 * probes(&ordinary), "{} and {}", probes(&crafted), probes(&ordinary));
        let phase = crafted.phase(3);
        assert_eq!(crafted.in_phases(phase..phase + 1).count(), PARTNERS as usize);
        assert_eq!(crafted.in_phases(0..phase).count() + crafted.in_phases(phase + 1..64).count(), 0);
        let mut emptied = crafted;
        for partner in 0..PARTNERS {
            emptied.add(partner * PHASES + 3, -2);
        }
        assert_eq!((emptied.len(), emptied.iter().count()), (0, 0));
    }

    proptest! {
        #[test]
        fn equals_a_map_and_reads_phases(
            item in 0_u32..64,
            is_ordered in any::<bool>(),
            deltas in prop::collection::vec((0_u32..600, -4_i64..6), 1..600),
            start in 0_u32..64,
            width in 0_u32..64,
        ) {
            let mut pairs = Pairs { is_ordered, ..Pairs::new(item) };
            let mut model: BTreeMap<u32, u32> = BTreeMap::new();
            for (partner, diff) in deltas {
                let old = model.get(&partner).copied().unwrap_or(0);
                let diff = diff.max(-i64::from(old));
                let new = u32::try_from(i64::from(old) + diff).unwrap();
                prop_assert_eq!(pairs.add(partner, diff), (old, new));
                if new == 0 { model.remove(&partner); } else { model.insert(partner, new); }
                prop_assert_eq!(pairs.len(), model.len());
            }
            prop_assert_eq!(pairs.iter().collect::<BTreeMap<_, _>>(), model.clone());
            for (partner, count) in &model {
                prop_assert_eq!(pairs.get(*partner), *count);
            }
            let phases = start..(start + width).min(64);
            let mut found: Vec<(u32, u32)> = pairs.in_phases(phases.clone()).collect();
            found.sort_unstable();
            let expected: Vec<(u32, u32)> =
                model.into_iter().filter(|(partner, _)| phases.contains(&((partner ^ item) & 63))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_empty_table_has_no_partners() {
        assert_eq!(Pairs::new(3).in_phases(0..64).count(), 0);
    }
}
