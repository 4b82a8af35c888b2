//! The catalogue: what is stated of each item, and which items are eligible (docs/semantics.md, "Catalogue").
//!
//! Worker 0, which is where records come in, has the catalogue of all items. The others only learn which items are eligible. So
//! the texts of a catalogue are in memory once, in the process that also has all names, and its bounds hold for all of it.

mod attributes;
mod eligibility;
mod item;
mod items;

use std::sync::Arc;

use schema::Statement;
use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Exchange as _;
use timely::dataflow::operators::vec::Map;
use timely::scheduling::Activator;

use self::attributes::Needs;
pub use self::attributes::{Attributes, AttributesChange, Word, tags_after};
pub(crate) use self::eligibility::EligibleItems;
use self::item::Item;
use self::items::{Changes, Items, SLICING};
use crate::gauges::{Gauges, set};
use crate::operators::{CoalescedTicks, Input, Output, SharedSnapshots, SlicedOperator, StageBuilder, Stored};
use crate::{Barrier, Catalogue, Config, Forgotten, ItemId, SnapshotSink, Time, WorkerBarrier, first_of, ms_of};

/// A catalogue record as the graph takes it: the item's name mapped to an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// The item.
    pub item: ItemId,
    /// Milliseconds since the Unix epoch, below [`crate::MAX_MS`]. The record acts in its tick, or at its own timestamp
    /// if that is later.
    pub ts: u64,
    /// What is stated.
    pub statement: Statement,
}

/// An item that has become eligible, or is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EligibilityChange {
    /// The item.
    pub item: ItemId,
    /// Whether it is eligible from this tick on.
    pub eligible: bool,
}

/// The outputs of [`catalogue`].
pub struct CatalogueOutputs<'scope> {
    /// Items whose eligibility changed, each once a tick. On worker 0.
    pub eligibility: Stream<'scope, Time, Vec<EligibilityChange>>,
    /// Items whose attributes changed, as far as lists depend on them, each once a tick. On worker 0.
    pub attributes: Stream<'scope, Time, Vec<AttributesChange>>,
    /// Items that records named and of which nothing is kept after the tick. On worker 0.
    pub forgotten: Stream<'scope, Time, Vec<Forgotten>>,
}

/// What worker 0 emits, on every worker.
pub(crate) fn on_all_workers<'scope, D: ExchangeData + Clone>(
    stream: &Stream<'scope, Time, Vec<D>>,
) -> Stream<'scope, Time, Vec<D>> {
    let peers = stream.scope().peers() as u64;
    let copies = stream.clone().flat_map(move |data| (0..peers).map(move |worker| (worker, data.clone())));
    copies.exchange(|(worker, _)| *worker).map(|(_, data)| data)
}

/// Keeps the catalogue, and emits the items whose eligibility or attributes change: because of a record, or because a time has
/// come.
///
/// Cost of a record: a search among the fields of its item for each field that it states. Memory: 40 bytes a field and its text.
pub fn catalogue<'scope>(
    records: Stream<'scope, Time, Vec<ItemRecord>>,
    barriers: Stream<'scope, Time, Vec<WorkerBarrier>>,
    catalogue: Catalogue,
    config: &Config,
    gauges: &Arc<Gauges>,
    snapshots: Option<Box<dyn SnapshotSink<ItemRecord>>>,
) -> CatalogueOutputs<'scope> {
    let mut builder = StageBuilder::new("Catalogue", records.scope());
    let activator = builder.activator.clone();
    let records = builder.input(records, Pipeline);
    let barriers = builder.input(barriers, Exchange::new(|barrier: &WorkerBarrier| barrier.worker));
    let (eligibility_output, eligibility) = builder.output();
    let (attributes_output, attributes) = builder.output();
    let (forgotten_output, forgotten) = builder.output();
    let operator = Operator {
        records,
        barriers,
        eligibility: eligibility_output,
        attributes: attributes_output,
        forgotten: forgotten_output,
        items: Items::new(catalogue, Needs::of(config)),
        changes: Changes::default(),
        coalesced: CoalescedTicks::default(),
        end: Time::MAX,
        snapshots: SharedSnapshots::new(SLICING, snapshots),
        activator,
        gauges: Arc::clone(gauges),
    };
    builder.build(1, operator);
    CatalogueOutputs { eligibility, attributes, forgotten }
}

impl Stored for Item {
    type Row = ItemRecord;

    fn rows(&self, item: u64) -> Vec<ItemRecord> {
        self.records().map(|(ts, statement)| ItemRecord { item, ts, statement }).collect()
    }

    fn id_of(row: &ItemRecord) -> u64 {
        row.item
    }
}

struct Operator {
    records: Input<ItemRecord>,
    barriers: Input<WorkerBarrier>,
    eligibility: Output<EligibilityChange>,
    attributes: Output<AttributesChange>,
    forgotten: Output<Forgotten>,
    items: Items,
    /// Reused buffers of the changes of a tick.
    changes: Changes,
    coalesced: CoalescedTicks,
    end: Time,
    snapshots: SharedSnapshots<Item>,
    activator: Activator,
    gauges: Arc<Gauges>,
}

impl SlicedOperator for Operator {
    fn due(&self) -> Option<Time> {
        let due = self.items.next_due().map(first_of).filter(|due| *due < self.end)?;
        Some(self.coalesced.tick_of(due))
    }

    fn begin(&mut self, time: Time) {
        let mut input_ends = false;
        let mut snapshot = None;
        for WorkerBarrier { barrier, .. } in self.barriers.take(time).into_iter().flatten() {
            match barrier {
                Barrier::Coalesce { tick } => self.coalesced.insert(time, tick),
                Barrier::End => self.end = time,
                Barrier::InputEnds => input_ends = true,
                Barrier::LoadBegin => self.snapshots.set_loading(true),
                Barrier::LoadEnd => self.snapshots.set_loading(false),
                Barrier::Snapshot { number, since } => snapshot = Some((number, since)),
                Barrier::EvaluateAll | Barrier::Evaluate { .. } => {}
            }
        }
        if self.coalesced.tick_of(time) != time {
            return; // What is due happens in the tick that stands for this time.
        }
        let arrived = self.records.take(time).into_iter().flatten();
        self.items.tick(time, arrived, &mut self.snapshots, &mut self.changes);
        self.forgotten.buffer().extend(self.items.take_forgotten().map(Forgotten::CatalogueItem));
        if input_ends {
            self.items.end(ms_of(time), &mut self.changes);
        }
        self.eligibility.buffer().append(&mut self.changes.eligibility);
        self.attributes.buffer().append(&mut self.changes.attributes);
        if let Some((number, since)) = snapshot {
            self.snapshots.begin(number, since, self.items.held());
        }
        self.coalesced.forget_before(time);
    }

    fn deactivate(&mut self, _done_before: Time) {
        self.snapshots.advance(self.items.slices(), &self.activator);
        set(&self.gauges.next_catalogue, self.due().map_or(u64::MAX, ms_of));
        self.items.set_gauges(&self.gauges);
    }
}
