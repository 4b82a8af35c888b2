//! The items of the catalogue, their times, and the records that are ahead of the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schema::{CATALOGUE_GROUPS, IdMap, Statement, shrink_if_sparse};

use super::attributes::{Attributes, AttributesChange, Needs, Words};
use super::item::Item;
use super::{EligibilityChange, ItemRecord};
use crate::gauges::{Gauges, set};
use crate::operators::{SharedSnapshots, Shares, Slicing, earlier};
use crate::{Catalogue, ItemId, Time, ms_of};

/// Small slices: a snapshot takes one at a time, and a growing one is rehashed.
pub(super) const SLICING: Slicing = Slicing { groups: CATALOGUE_GROUPS, slices_per_group: 64 };

/// An item with what the operator knows of it beside its records.
pub(super) struct Entry {
    /// Shared with the snapshot that is being taken.
    pub(super) item: Arc<Item>,
    /// Whether it was eligible after the last tick in which it was looked at; `None` before the first.
    eligible: Option<bool>,
    /// Its attributes after that tick, if it has any.
    attributes: Option<Box<Attributes>>,
    /// The millisecond of its timer, which may be too early; [`u64::MAX`] without one.
    timer: u64,
}

impl Default for Entry {
    fn default() -> Self {
        Entry { item: Arc::default(), eligible: None, attributes: None, timer: u64::MAX }
    }
}

impl Shares<Item> for Entry {
    fn shared(&self) -> &Arc<Item> {
        &self.item
    }
}

/// Entries of a slice by item.
pub(super) type Slice = IdMap<Entry>;

/// What changes for the operators downstream in a tick, each item at most once.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) eligibility: Vec<EligibilityChange>,
    pub(super) attributes: Vec<AttributesChange>,
}

/// The items of the catalogue.
pub(super) struct Items {
    config: Catalogue,
    needs: Needs,
    words: Words,
    slices: Vec<Slice>,
    /// Items of which more than a deletion is kept.
    stated: usize,
    /// Deletions by time and item.
    deletions: BTreeSet<(u64, ItemId)>,
    /// The latest of the deletions that were dropped.
    dropped: Option<u64>,
    /// Records ahead of the clock, by the millisecond at which they act, in the order of arrival.
    held: BTreeMap<u64, Vec<ItemRecord>>,
    /// Number of held records by item.
    held_items: IdMap<u32>,
    timers: BTreeMap<u64, Vec<ItemId>>,
    /// Items with a record or a timer in this tick.
    touched: BTreeSet<ItemId>,
    /// Items with a record in this tick of which nothing is kept.
    forgotten: Vec<ItemId>,
    counts: Counts,
}

/// What the summary tells of the catalogue.
#[derive(Default)]
struct Counts {
    eligible: u64,
    empty_intervals: u64,
    stale: u64,
    full: u64,
}

impl Items {
    pub(super) fn new(config: Catalogue, needs: Needs) -> Self {
        Items {
            config,
            needs,
            words: Words::default(),
            slices: (0..SLICING.slices()).map(|_| Slice::default()).collect(),
            stated: 0,
            deletions: BTreeSet::new(),
            dropped: None,
            held: BTreeMap::new(),
            held_items: IdMap::default(),
            timers: BTreeMap::new(),
            touched: BTreeSet::new(),
            forgotten: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Records ahead of the clock.
    pub(super) fn held(&self) -> impl Iterator<Item = &ItemRecord> {
        self.held.values().flatten()
    }

    /// Items with a record in the last tick of which nothing is kept.
    pub(super) fn take_forgotten(&mut self) -> impl Iterator<Item = ItemId> {
        self.forgotten.drain(..)
    }

    /// The next millisecond at which something happens without a record. Always after the last tick.
    pub(super) fn next_due(&self) -> Option<u64> {
        earlier(self.held.keys().next().copied(), self.timers.keys().next().copied())
    }

    pub(super) fn set_gauges(&self, gauges: &Gauges) {
        let Counts { eligible, empty_intervals, stale, full } = self.counts;
        set(&gauges.catalogue_items, self.stated as u64);
        set(&gauges.eligible_items, eligible);
        set(&gauges.empty_intervals, empty_intervals);
        set(&gauges.stale_records, stale);
        set(&gauges.catalogue_full, full);
    }

    /// Applies the records of a tick and those ahead of the clock that it reaches, and lets its timers fire. Emits the
    /// changes, in the order of the items.
    pub(super) fn tick(
        &mut self,
        time: Time,
        arrived: impl Iterator<Item = ItemRecord>,
        snapshots: &mut SharedSnapshots<Item>,
        changes: &mut Changes,
    ) {
        let now = ms_of(time);
        let mut due = Vec::new();
        while let Some(first) = self.held.first_entry().filter(|first| *first.key() <= now) {
            due.extend(first.remove());
        }
        for record in &due {
            self.release(record.item);
        }
        for record in arrived {
            if record.ts > now {
                snapshots.mark_changed(record.item, time);
                *self.held_items.entry(record.item).or_default() += 1;
                self.held.entry(record.ts).or_default().push(record);
            } else {
                due.push(record);
            }
        }
        // Of a tick that stands for several milliseconds, the records act in the order of their times.
        due.sort_by_key(|record| record.ts);
        for record in due {
            self.apply(record, time, snapshots);
        }
        while let Some(first) = self.timers.first_entry().filter(|first| *first.key() <= now) {
            let (at, items) = first.remove_entry();
            for item in items {
                if let Some(entry) =
                    self.slices[SLICING.slice_of(item)].get_mut(&item).filter(|entry| entry.timer == at)
                {
                    entry.timer = u64::MAX;
                    self.touched.insert(item);
                }
            }
        }
        for item in std::mem::take(&mut self.touched) {
            self.settle(item, now, changes);
        }
    }

    /// One held record of an item is held no longer.
    fn release(&mut self, item: ItemId) {
        if let Some(count) = self.held_items.get_mut(&item) {
            *count -= 1;
            if *count == 0 {
                self.held_items.remove(&item);
                shrink_if_sparse(&mut self.held_items);
            }
        }
    }

    /// Applies a record, unless a bound forbids it.
    fn apply(&mut self, record: ItemRecord, time: Time, snapshots: &mut SharedSnapshots<Item>) {
        let ItemRecord { item: id, ts, statement } = record;
        self.touched.insert(id);
        // What a snapshot brings was within the bounds.
        let is_new = !snapshots.is_loading();
        if is_new && self.dropped.is_some_and(|dropped| ts <= dropped) {
            self.counts.stale += 1;
            return;
        }
        let slice = &mut self.slices[SLICING.slice_of(id)];
        let is_stated = slice.get(&id).is_some_and(|entry| entry.item.is_stated());
        if is_new && !is_stated && statement != Statement::Deleted && self.stated >= self.config.max_items {
            self.counts.full += 1;
            return;
        }
        snapshots.before_change(id, slice, time);
        let entry = slice.entry(id).or_insert_with(Entry::default);
        let before = (entry.item.has_empty_interval(), entry.item.deleted);
        let item = Arc::make_mut(&mut entry.item);
        item.apply(ts, statement);
        self.stated = self.stated + usize::from(item.is_stated()) - usize::from(is_stated);
        self.counts.empty_intervals =
            self.counts.empty_intervals + u64::from(item.has_empty_interval()) - u64::from(before.0);
        if item.deleted != before.1 {
            if let Some(ts) = before.1 {
                self.deletions.remove(&(ts, id));
            }
            self.deletions.extend(item.deleted.map(|ts| (ts, id)));
            self.drop_deletions(time, snapshots);
        }
    }

    /// Keeps the newest deletions.
    fn drop_deletions(&mut self, time: Time, snapshots: &mut SharedSnapshots<Item>) {
        while self.deletions.len() > self.config.max_items {
            let Some((ts, id)) = self.deletions.pop_first() else { return };
            self.dropped = self.dropped.max(Some(ts));
            self.touched.insert(id);
            let slice = &mut self.slices[SLICING.slice_of(id)];
            snapshots.before_change(id, slice, time);
            if let Some(entry) = slice.get_mut(&id) {
                let item = Arc::make_mut(&mut entry.item);
                // What is stated after it stays; the first time does too.
                item.deleted = None;
                item.first = (!item.fields.is_empty()).then_some(ts);
            }
        }
    }

    /// At the end of the input: emits the changes that follow from the records ahead of the clock. They stay held, for
    /// the snapshot of the end.
    pub(super) fn end(&mut self, now: u64, changes: &mut Changes) {
        let mut items: BTreeMap<ItemId, Item> = BTreeMap::new();
        for ItemRecord { item: id, ts, statement } in self.held.values().flatten() {
            let kept =
                || self.slices[SLICING.slice_of(*id)].get(id).map_or_else(Item::default, |entry| (*entry.item).clone());
            items.entry(*id).or_insert_with(kept).apply(*ts, statement.clone());
        }
        for (id, item) in items {
            let others = self.config.unknown_is_eligible;
            let kept = self.slices[SLICING.slice_of(id)].get(&id);
            let before = kept.and_then(|entry| entry.eligible).unwrap_or(others);
            let eligible = item.is_eligible(now);
            if eligible != before {
                changes.eligibility.push(EligibilityChange { item: id, eligible });
            }
            // Nothing follows that could reuse a word.
            let attributes = self.words.attributes(&item, self.needs);
            if attributes.as_ref() != kept.and_then(|entry| entry.attributes.as_ref()) {
                let attributes = attributes.map_or_else(Attributes::default, |attributes| *attributes);
                changes.attributes.push(AttributesChange { item: id, attributes });
            }
        }
    }

    /// Emits whether an item is eligible and its attributes, if they have changed, sets its timer, and forgets it if nothing is
    /// kept.
    fn settle(&mut self, id: ItemId, now: u64, changes: &mut Changes) {
        let slice = &mut self.slices[SLICING.slice_of(id)];
        let Some(entry) = slice.get_mut(&id) else {
            self.forgotten.extend((!self.held_items.contains_key(&id)).then_some(id));
            return;
        };
        let is_unknown = entry.item.is_unknown();
        let others = self.config.unknown_is_eligible;
        let eligible = if is_unknown { others } else { entry.item.is_eligible(now) };
        let before = entry.eligible.replace(eligible);
        if before.unwrap_or(others) != eligible {
            changes.eligibility.push(EligibilityChange { item: id, eligible });
        }
        let attributes = self.words.attributes(&entry.item, self.needs);
        let before_attributes = std::mem::replace(&mut entry.attributes, attributes);
        if let Some(before) = &before_attributes {
            self.words.release(before);
        }
        if before_attributes != entry.attributes {
            let attributes = entry.attributes.as_deref().cloned().unwrap_or_default();
            changes.attributes.push(AttributesChange { item: id, attributes });
        }
        self.counts.eligible =
            self.counts.eligible + u64::from(eligible && !is_unknown) - u64::from(before == Some(true));
        if is_unknown {
            slice.remove(&id);
            shrink_if_sparse(slice);
            self.forgotten.extend((!self.held_items.contains_key(&id)).then_some(id));
            return;
        }
        if let Some(due) = entry.item.next_due(now).filter(|due| *due < entry.timer) {
            entry.timer = due;
            self.timers.entry(due).or_default().push(id);
        }
    }
}
