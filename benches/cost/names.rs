use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use dataflows::types::{ItemId, UserId};

/// Ids are hashes already.
#[derive(Clone, Copy, Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("ids are written as u64");
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

type Numbers = HashMap<u64, u32, BuildHasherDefault<Identity>>;

/// Users by dense numbers, in the order they came.
#[derive(Default)]
pub(crate) struct Users {
    numbers: Numbers,
    ids: Vec<UserId>,
}

impl Users {
    pub(crate) fn number(&mut self, id: UserId) -> u32 {
        *self.numbers.entry(id).or_insert_with(|| {
            self.ids.push(id);
            u32::try_from(self.ids.len() - 1).expect("fewer users than 2^32")
        })
    }

    pub(crate) fn id(&self, number: u32) -> UserId {
        self.ids[number as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Number of phases of the quantised logarithm: the phase of two items is the xor of the low bits of their ids.
pub(crate) const PHASES: u32 = 64;

/// Items by nearly dense numbers whose low six bits are those of the id: the phase of a pair is then in its numbers, and
/// what is sorted by number can be searched by phase. The price is some numbers that no item has.
pub(crate) struct Items {
    numbers: Numbers,
    ids: Vec<ItemId>,
    of_class: [u32; PHASES as usize],
}

impl Default for Items {
    fn default() -> Self {
        Items { numbers: Numbers::default(), ids: Vec::new(), of_class: [0; PHASES as usize] }
    }
}

impl Items {
    pub(crate) fn number(&mut self, id: ItemId) -> u32 {
        *self.numbers.entry(id).or_insert_with(|| {
            let class = (id % u64::from(PHASES)) as u32;
            let before = &mut self.of_class[class as usize];
            let number = *before * PHASES + class;
            *before += 1;
            assert!(number < super::pairs::MOST_ITEMS, "too many items");
            if self.ids.len() <= number as usize {
                self.ids.resize((*before * PHASES) as usize, 0);
            }
            self.ids[number as usize] = id;
            number
        })
    }

    /// The id of each number.
    pub(crate) fn ids(&self) -> &[ItemId] {
        &self.ids
    }
}
