//! Co-occurrence counts, and their changes by a batch.

use super::differences::{Differences, Interaction, ItemChange};
use super::names::PHASES;
use super::prefetch::prefetch;

/// Slot of a row: the number of the other item plus one in the high half, the count in the low half; 0 if free.
type Slot = u64;

const MIN_SLOTS: usize = PHASES as usize;

/// Counts of one item with others: a hash table with linear probing. Home slots are ordered by the phase class of the other
/// item (the low six bits of its number), so that the counts of a class are adjacent.
///
/// Counts of zero keep their slots until the table is rebuilt.
#[derive(Default)]
struct Row {
    slots: Box<[Slot]>,
    used: usize,
}

/// Home slot of an item in a table of `slots` (a power of two).
#[inline]
fn home(item: u32, slots: usize) -> usize {
    let class = u64::from(item % PHASES) << 58;
    let within = schema::spread(u64::from(item / PHASES)) >> 6;
    ((class | within) >> (64 - slots.trailing_zeros())) as usize
}

#[inline]
fn item_of(slot: Slot) -> u32 {
    ((slot >> 32) as u32).wrapping_sub(1)
}

#[inline]
fn count_of(slot: Slot) -> u32 {
    slot as u32
}

impl Row {
    /// Adds to a count. Returns the old and the new count.
    #[inline]
    fn add(&mut self, item: u32, change: i32) -> (u32, u32) {
        let key = u64::from(item + 1) << 32;
        let mask = self.slots.len().wrapping_sub(1);
        if mask != usize::MAX {
            let mut at = home(item, self.slots.len());
            loop {
                let slot = &mut self.slots[at & mask];
                if *slot & !0xFFFF_FFFF == key {
                    let old = count_of(*slot);
                    let new = old.checked_add_signed(change).expect("a count is not negative");
                    *slot = key | u64::from(new);
                    return (old, new);
                }
                if *slot == 0 {
                    break;
                }
                at += 1;
            }
        }
        let new = u32::try_from(change).expect("a count is not negative");
        self.insert(key | u64::from(new));
        (0, new)
    }

    #[cold]
    fn insert(&mut self, slot: Slot) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let live = self.slots.iter().filter(|slot| count_of(**slot) > 0).count();
            let slots = ((live + 1) * 2).next_power_of_two().max(MIN_SLOTS);
            let old = std::mem::replace(&mut self.slots, vec![0; slots].into());
            self.used = live;
            for slot in old.into_iter().filter(|slot| count_of(*slot) > 0) {
                self.place(slot);
            }
        }
        self.place(slot);
        self.used += 1;
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = home(item_of(slot), self.slots.len());
        while self.slots[at & mask] != 0 {
            at += 1;
        }
        self.slots[at & mask] = slot;
    }
}

/// Change of a count by at most 30 in either direction, with the other item: below
/// [`MAX_ITEMS`](super::names::MAX_ITEMS), so that 26 bits hold it.
#[derive(Clone, Copy, Default)]
struct Change(u32);

impl Change {
    fn new(item: u32, change: i32) -> Self {
        Change((item << 6) | (change + 32).cast_unsigned())
    }

    fn parts(self) -> (u32, i32) {
        (self.0 >> 6, (self.0 & 63).cast_signed() - 32)
    }
}

/// Changes with prefetched slots. That many cache lines fit into the second-level cache.
const PREFETCH_BATCH: usize = 256;

/// The rankings that changed counts may affect.
pub(crate) trait Rankings {
    /// Decides whether a changed count can affect one row.
    type Filter: Copy;

    /// The filter of a row; `None` if the row is not maintained.
    fn filter(&self, row: u32) -> Option<Self::Filter>;

    /// Records a changed count if it may affect the row of the filter.
    fn push_if_relevant(&mut self, filter: Self::Filter, item: u32, old: u32, new: u32);
}

/// All co-occurrences, stored in both directions.
#[derive(Default)]
pub(crate) struct Pairs {
    rows: Vec<Row>,
    /// Number of changes by row, later the position of the next change.
    starts: Vec<u32>,
    /// Changes of the batch, grouped by row.
    changes: Vec<Change>,
    /// Milliseconds below which a pair counts twice.
    near: u64,
}

/// What a pair of interactions of one user adds to a count.
#[inline]
fn share(a: Interaction, b: Interaction, near: u64) -> i32 {
    i32::from(a.level.min(b.level)) * if a.touched.abs_diff(b.touched) < near { 2 } else { 1 }
}

/// Calls `visit` for each changed pair of one user: changed items with each other and with the other items.
#[inline]
fn for_each_pair(changed: &[ItemChange], others: &[ItemChange], near: u64, mut visit: impl FnMut(u32, u32, i32)) {
    for (n, a) in changed.iter().enumerate() {
        let mut pair = |b: &ItemChange| {
            let change = share(a.new, b.new, near) - share(a.old, b.old, near);
            if change != 0 {
                visit(a.item, b.item, change);
            }
        };
        changed[n + 1..].iter().for_each(&mut pair);
        others.iter().for_each(&mut pair);
    }
}

impl Pairs {
    pub(crate) fn new(near: u64) -> Self {
        Pairs { near, ..Pairs::default() }
    }

    pub(crate) fn grow(&mut self, items: usize) {
        self.rows.resize_with(items, Row::default);
        self.starts.resize(items + 1, 0);
    }

    /// Applies a batch. A counting sort groups its changes by row, so that each row is fetched once. Returns the number of
    /// changes, both directions.
    pub(crate) fn apply(&mut self, differences: &Differences, rankings: &mut impl Rankings) -> u64 {
        // After the prefix sum an entry is the start of its row; after the distribution it is the end.
        self.starts.fill(0);
        for (changed, others) in differences.users() {
            for_each_pair(changed, others, self.near, |a, b, _| {
                self.starts[a as usize] += 1;
                self.starts[b as usize] += 1;
            });
        }
        let mut total = 0_u32;
        for start in &mut self.starts {
            (*start, total) = (total, total.checked_add(*start).expect("a batch has fewer pairs than 2^32"));
        }
        if self.changes.len() < total as usize {
            self.changes.resize(total as usize, Change::default());
        }
        for (changed, others) in differences.users() {
            for_each_pair(changed, others, self.near, |a, b, change| {
                for (i, j) in [(a, b), (b, a)] {
                    let next = &mut self.starts[i as usize];
                    self.changes[*next as usize] = Change::new(j, change);
                    *next += 1;
                }
            });
        }
        self.count(rankings);
        u64::from(total)
    }

    /// Applies the grouped changes. Most slots are not in cache, and a probe sequence that waits for memory delays the
    /// next one, so the home slots of several rows are prefetched together.
    fn count(&mut self, rankings: &mut impl Rankings) {
        let (mut row, mut start) = (0, 0);
        while row < self.rows.len() {
            let (first, from) = (row, start);
            while row < self.rows.len() && start < from + PREFETCH_BATCH {
                let slots = &*self.rows[row].slots;
                let end = self.starts[row] as usize;
                if !slots.is_empty() {
                    let homes = self.changes[start..end].iter().map(|change| home(change.parts().0, slots.len()));
                    prefetch(homes.map(|home| slots[home] as u32));
                }
                (row, start) = (row + 1, end);
            }
            let mut start = from;
            for (item, row) in self.rows[first..row].iter_mut().enumerate() {
                let item = first + item;
                let end = self.starts[item] as usize;
                let changes = self.changes[start..end].iter().map(|change| change.parts());
                start = end;
                if let Some(filter) = rankings.filter(item as u32) {
                    for (other, change) in changes {
                        let (old, new) = row.add(other, change);
                        rankings.push_if_relevant(filter, other, old, new);
                    }
                } else {
                    for (other, change) in changes {
                        row.add(other, change);
                    }
                }
            }
        }
    }

    /// Counts above zero of an item.
    pub(crate) fn row(&self, item: u32) -> impl Iterator<Item = (u32, u32)> {
        let live = self.rows[item as usize].slots.iter().filter(|slot| count_of(**slot) > 0);
        live.map(|slot| (item_of(*slot), count_of(*slot)))
    }

    /// Visits the counts above zero of an item with the items of a phase class.
    #[inline]
    pub(crate) fn for_each_in_class(&self, item: u32, class: u32, mut visit: impl FnMut(u32, u32)) {
        let slots = &self.rows[item as usize].slots;
        if slots.is_empty() {
            return;
        }
        let homes = slots.len() / PHASES as usize;
        let first = homes * class as usize;
        // Displaced entries follow the home slots, up to the first free slot.
        let homes = slots[first..first + homes].iter();
        let beyond = slots[first + homes.len()..].iter().chain(slots.iter()).take_while(|slot| **slot != 0);
        for slot in homes.chain(beyond) {
            if count_of(*slot) > 0 && item_of(*slot) % PHASES == class {
                visit(item_of(*slot), count_of(*slot));
            }
        }
    }

    /// Number of counts above zero, and bytes of all tables.
    pub(crate) fn size(&self) -> (u64, u64) {
        let live = (0..self.rows.len()).map(|item| self.row(item as u32).count() as u64).sum();
        let bytes = self.rows.iter().map(|row| size_of_val(&*row.slots) as u64).sum();
        (live, bytes)
    }
}
