//! Interning of user and item ids.

use dataflows::types::{ItemId, UserId};
use schema::IdMap;

/// Users with dense numbers, in order of appearance.
#[derive(Default)]
pub(crate) struct Users {
    numbers: IdMap<u32>,
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

/// Number of phases of the quantised logarithm. The phase of two items is the xor of the low bits of their ids.
pub(crate) const PHASES: u32 = 64;

/// Limit of item numbers: the change of a pair has 26 bits for one.
pub(crate) const MAX_ITEMS: u32 = 1 << 26;

/// Items with nearly dense numbers that have the low six bits of the id. The phase of a pair then follows from the numbers,
/// and tables sorted by number can be searched by phase. Some numbers are unused.
pub(crate) struct Items {
    numbers: IdMap<u32>,
    ids: Vec<ItemId>,
    /// Number of items by phase class.
    class_sizes: [u32; PHASES as usize],
}

impl Default for Items {
    fn default() -> Self {
        Items { numbers: IdMap::default(), ids: Vec::new(), class_sizes: [0; PHASES as usize] }
    }
}

impl Items {
    pub(crate) fn number(&mut self, id: ItemId) -> u32 {
        *self.numbers.entry(id).or_insert_with(|| {
            let class = (id % u64::from(PHASES)) as u32;
            let size = &mut self.class_sizes[class as usize];
            let number = *size * PHASES + class;
            *size += 1;
            assert!(number < MAX_ITEMS, "too many items");
            if self.ids.len() <= number as usize {
                self.ids.resize((*size * PHASES) as usize, 0);
            }
            self.ids[number as usize] = id;
            number
        })
    }

    /// Ids by number.
    pub(crate) fn ids(&self) -> &[ItemId] {
        &self.ids
    }
}
