//! The co-occurrence counts of one item: an open-addressing table of 8 bytes a slot, ordered by phase.
//!
//! The home of a partner is its phase followed by a hash, so the partners of one phase lie in one stretch of the table:
//! when the item's popularity crosses a threshold, the sixty-fourth of its pairs that moves is read without the rest.

use std::ops::Range;

use super::dense::Dense;
use crate::quantise::{PHASES, phase};

const FREE: Dense = Dense::MAX;
const SMALLEST: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Slot {
    partner: Dense,
    count: u32,
}

/// Partners of an item with their counts, none of them 0. Linear probing; at most three quarters full.
#[derive(Debug)]
pub(super) struct Pairs {
    item: Dense,
    slots: Vec<Slot>,
    len: usize,
}

impl Pairs {
    pub(super) fn new(item: Dense) -> Self {
        Pairs { item, slots: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, partner: Dense) -> u32 {
        if self.slots.is_empty() {
            return 0;
        }
        let slot = self.slots[self.find(partner)];
        if slot.partner == partner { slot.count } else { 0 }
    }

    /// Adds `diff` to a count, which never falls below 0: every user's share is taken back at most once. Returns the
    /// count before and after.
    pub(super) fn add(&mut self, partner: Dense, diff: i64) -> (u32, u32) {
        if 4 * (self.len + 1) > 3 * self.slots.len() {
            self.resize((2 * self.slots.len()).max(SMALLEST));
        }
        let at = self.find(partner);
        let slot = &mut self.slots[at];
        let old = if slot.partner == partner { slot.count } else { 0 };
        let new =
            u32::try_from(i64::from(old) + diff).expect("a co-occurrence is a sum over users, none taken back twice");
        match (old, new) {
            (0, 0) => {}
            (0, _) => {
                *slot = Slot { partner, count: new };
                self.len += 1;
            }
            (_, 0) => {
                self.remove(at);
                self.len -= 1;
                if self.slots.len() > SMALLEST && 8 * self.len < self.slots.len() {
                    self.resize((self.slots.len() / 4).max(SMALLEST));
                }
            }
            _ => slot.count = new,
        }
        (old, new)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Dense, u32)> {
        self.slots.iter().filter(|slot| slot.partner != FREE).map(|slot| (slot.partner, slot.count))
    }

    /// The partners whose phase lies in `phases`, read from their stretch of the table alone.
    pub(super) fn in_phases(&self, phases: Range<u32>) -> impl Iterator<Item = Dense> {
        let (start, end) = if self.slots.is_empty() || phases.is_empty() {
            (0, 0)
        } else {
            (self.home_of_phase(phases.start), self.home_of_phase(phases.end))
        };
        let mask = self.slots.len().wrapping_sub(1);
        // From the first home on; past the last one as long as displaced entries may follow.
        (start..start + self.slots.len())
            .map(move |at| (at, self.slots[at & mask]))
            .take_while(move |(at, slot)| *at < end || slot.partner != FREE)
            .filter(move |(_, slot)| slot.partner != FREE && phases.contains(&self.phase(slot.partner)))
            .map(|(_, slot)| slot.partner)
    }

    fn phase(&self, partner: Dense) -> u32 {
        phase(u64::from(self.item), u64::from(partner))
    }

    fn bits(&self) -> u32 {
        self.slots.len().trailing_zeros()
    }

    /// The first slot at which a partner of this phase can have its home.
    fn home_of_phase(&self, phase: u32) -> usize {
        phase as usize * self.slots.len() / PHASES as usize
    }

    fn home(&self, partner: Dense) -> usize {
        let phase = self.phase(partner);
        let rest = (partner / PHASES).wrapping_mul(0x9E37_79B1) >> 6;
        ((phase << 26 | rest) >> (32 - self.bits())) as usize
    }

    /// Where the partner is, or would be.
    fn find(&self, partner: Dense) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.home(partner);
        while self.slots[at].partner != partner && self.slots[at].partner != FREE {
            at = (at + 1) & mask;
        }
        at
    }

    /// Empties a slot and moves back what was displaced by it.
    fn remove(&mut self, mut hole: usize) {
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.partner == FREE {
                break;
            }
            // An entry may move to the hole if its home does not lie behind it.
            let from_home = at.wrapping_sub(self.home(slot.partner)) & mask;
            if from_home >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = Slot { partner: FREE, count: 0 };
    }

    fn resize(&mut self, capacity: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot { partner: FREE, count: 0 }; capacity]);
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

    proptest! {
        #[test]
        fn equals_a_map_and_finds_phases(
            item in 0_u32..64,
            deltas in prop::collection::vec((0_u32..600, -4_i64..6), 1..600),
            start in 0_u32..64,
            width in 0_u32..64,
        ) {
            let mut pairs = Pairs::new(item);
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
            let mut found: Vec<u32> = pairs.in_phases(phases.clone()).collect();
            found.sort_unstable();
            let expected: Vec<u32> =
                model.keys().copied().filter(|partner| phases.contains(&((partner ^ item) & 63))).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_empty_table_has_no_phases() {
        assert_eq!(Pairs::new(3).in_phases(0..64).count(), 0);
    }
}
