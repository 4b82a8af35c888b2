//! Snapshots of the catalogue: the items of a slice are shared with the snapshot until its turn comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schema::{CATALOGUE_GROUPS, KEY_GROUPS, catalogue_group};
use timely::scheduling::Activator;

use super::ItemRecord;
use super::item::Item;
use super::items::{SLICES, Slice, group_of, slice_of};
use crate::{Groups, ItemId, SnapshotChunk, SnapshotSink, Time};

/// Takes the snapshots of the catalogue. Without a sink it records nothing.
pub(super) struct Snapshots {
    sink: Option<Box<dyn SnapshotSink<ItemRecord>>>,
    /// Tick of the last change of each group; 0 if it never changed.
    changed: [Time; CATALOGUE_GROUPS],
    /// Whether a snapshot is being loaded. What it brings does not change the files.
    loading: bool,
    running: Option<Running>,
}

struct Running {
    number: u64,
    /// Next slice to emit. All slices before it are done.
    next_slice: usize,
    wanted: Option<Groups>,
    /// Slices that changed before their turn, as they were.
    early: BTreeMap<usize, Vec<(ItemId, Arc<Item>)>>,
    /// Records ahead of the clock, by slice.
    held: BTreeMap<usize, Vec<ItemRecord>>,
}

/// Delay until the sink is asked again.
const RETRY: Duration = Duration::from_millis(1);

impl Snapshots {
    pub(super) fn new(sink: Option<Box<dyn SnapshotSink<ItemRecord>>>) -> Self {
        Snapshots { sink, changed: [0; CATALOGUE_GROUPS], loading: false, running: None }
    }

    pub(super) fn set_loading(&mut self, loading: bool) {
        self.loading = loading;
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading
    }

    /// Records that what is kept of an item changes at `time`.
    pub(super) fn mark_changed(&mut self, item: ItemId, time: Time) {
        if !self.loading {
            self.changed[usize::from(catalogue_group(item))] = time;
        }
    }

    /// Must be called before an item of the slice changes at `time`.
    pub(super) fn before_change(&mut self, item: ItemId, slice: &Slice, time: Time) {
        if self.sink.is_none() {
            return;
        }
        self.mark_changed(item, time);
        let at = slice_of(item);
        if let Some(running) = self.running.as_mut().filter(|running| at >= running.next_slice && running.wants(at)) {
            running.early.entry(at).or_insert_with(|| shared(slice));
        }
    }

    /// Begins a snapshot of the present state, and abandons one that is still running.
    pub(super) fn begin<'h>(&mut self, number: u64, since: Time, held: impl Iterator<Item = &'h ItemRecord>) {
        let Some(sink) = &mut self.sink else { return };
        let mut changed = [false; KEY_GROUPS];
        changed.iter_mut().zip(&self.changed).for_each(|(flag, tick)| *flag = *tick > since || since == 0);
        changed[CATALOGUE_GROUPS..].fill(false);
        sink.begin(number, &changed);
        let mut by_slice: BTreeMap<usize, Vec<ItemRecord>> = BTreeMap::new();
        for record in held {
            by_slice.entry(slice_of(record.item)).or_default().push(record.clone());
        }
        self.running = Some(Running { number, next_slice: 0, wanted: None, early: BTreeMap::new(), held: by_slice });
    }

    /// Emits a slice of the running snapshot, and has the operator activated again if there are more.
    pub(super) fn advance(&mut self, slices: &[Slice], activator: &Activator) {
        let (Some(sink), Some(running)) = (&mut self.sink, &mut self.running) else { return };
        if running.wanted.is_none() {
            running.wanted = sink.wanted(running.number);
        }
        if running.wanted.is_none() || !sink.has_room() {
            activator.activate_after(RETRY);
            return;
        }
        while running.next_slice < SLICES && !running.wants(running.next_slice) {
            running.early.remove(&running.next_slice);
            running.next_slice += 1;
        }
        if running.next_slice == SLICES {
            self.running = None;
            return;
        }
        sink.push(running.next_chunk(slices));
        activator.activate();
    }
}

impl Running {
    fn wants(&self, slice: usize) -> bool {
        self.wanted.is_none_or(|wanted| wanted[usize::from(group_of(slice))])
    }

    fn next_chunk(&mut self, slices: &[Slice]) -> SnapshotChunk<ItemRecord> {
        let at = self.next_slice;
        self.next_slice += 1;
        let items = self.early.remove(&at).unwrap_or_else(|| shared(&slices[at]));
        let records = |(item, state): &(ItemId, Arc<Item>)| {
            let item = *item;
            state.records().map(move |(ts, statement)| ItemRecord { item, ts, statement }).collect::<Vec<_>>()
        };
        let mut rows: Vec<ItemRecord> = items.iter().flat_map(records).collect();
        rows.extend(self.held.remove(&at).unwrap_or_default());
        let group = group_of(at);
        let last = self.next_slice == SLICES || group_of(self.next_slice) != group;
        SnapshotChunk { snapshot: self.number, group, rows, last }
    }
}

fn shared(slice: &Slice) -> Vec<(ItemId, Arc<Item>)> {
    slice.iter().map(|(item, entry)| (*item, Arc::clone(&entry.item))).collect()
}
