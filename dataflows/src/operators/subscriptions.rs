//! Demand-driven replication of rows: a worker that subscribes to a row gets all of it once, and differences after that.
//!
//! The output equals a join of rows and subscriptions, without an arrangement of either.

use differential_dataflow::{AsCollection, ExchangeData};
use schema::{IdMap, shrink_if_sparse};
use timely::dataflow::channels::pact::Exchange;

use super::{Input, Output, SlicedOperator, StageBuilder};
use crate::{Collection, Diff, Subscriber, Subscription, Time};

/// Rows by the id64 of an item or a user.
pub(crate) trait ReplicatedRows: 'static {
    /// An update of a row, as it arrives.
    type Update: Copy + 'static;
    /// An entry of a row, as subscribers see it.
    type Value: ExchangeData;

    /// Applies all updates of a row in a tick and emits the changed entries.
    fn apply(&mut self, row: u64, updates: &[(u64, Self::Update, Diff)], emit: &mut impl FnMut(Self::Value, Diff));

    /// Emits all entries of a row.
    fn emit_row(&self, row: u64, emit: &mut impl FnMut(Self::Value));
}

/// Maintains `rows` on their workers and emits them for the subscribers, to be exchanged by worker. `split` finds the row of an
/// update.
///
/// Cost: an emitted update for each subscriber of a row and each changed entry. Sliced; an update costs a unit of fuel.
pub(crate) fn replicate_rows<'scope, D: ExchangeData, R: ReplicatedRows>(
    name: &str,
    updates: Collection<'scope, D>,
    split: fn(&D) -> (u64, R::Update),
    subscriptions: Collection<'scope, Subscription>,
    rows: R,
    slice: usize,
) -> Collection<'scope, (Subscription, R::Value)> {
    let mut builder = StageBuilder::new(name, updates.inner.scope());
    let by_row = Exchange::new(move |update: &(D, Time, Diff)| split(&update.0).0);
    let updates = builder.input(updates.inner, by_row);
    let by_row = Exchange::new(|update: &(Subscription, Time, Diff)| update.0.row);
    let subscriptions = builder.input(subscriptions.inner, by_row);
    let (emitted, emitted_rows) = builder.output();
    let subscribers = IdMap::default();
    let (tick, applied) = (Vec::new(), 0);
    let operator = Replication { updates, subscriptions, emitted, split, rows, subscribers, tick, applied };
    builder.build(slice, operator);
    emitted_rows.as_collection()
}

struct Replication<D, R: ReplicatedRows> {
    updates: Input<(D, Time, Diff)>,
    subscriptions: Input<(Subscription, Time, Diff)>,
    emitted: Output<((Subscription, R::Value), Time, Diff)>,
    split: fn(&D) -> (u64, R::Update),
    rows: R,
    /// Subscribers by row.
    subscribers: IdMap<Vec<Subscriber>>,
    /// Updates of the tick, by row.
    tick: Vec<(u64, R::Update, Diff)>,
    /// Number of updates that are applied.
    applied: usize,
}

impl<D: ExchangeData, R: ReplicatedRows> Replication<D, R> {
    /// Adds or removes a subscriber. Subscriptions are netted within a tick.
    fn subscribe(&mut self, Subscription { row, subscriber }: Subscription, diff: Diff) {
        let subscribers = self.subscribers.entry(row).or_default();
        if diff > 0 {
            subscribers.push(subscriber);
        } else {
            subscribers.retain(|known| *known != subscriber);
            if subscribers.is_empty() {
                self.subscribers.remove(&row);
                shrink_if_sparse(&mut self.subscribers);
            }
        }
    }
}

impl<D: ExchangeData, R: ReplicatedRows> SlicedOperator for Replication<D, R> {
    fn begin(&mut self, time: Time) {
        // New subscribers get rows as they were before the tick, so that changes are the same for all subscribers.
        for (subscription, _, diff) in self.subscriptions.take(time).into_iter().flatten() {
            let mut emitted = self.emitted.buffer();
            self.rows.emit_row(subscription.row, &mut |value| emitted.push(((subscription, value), time, diff)));
            drop(emitted);
            self.subscribe(subscription, diff);
        }
        self.applied = 0;
        let split = |(data, _, diff): (D, Time, Diff)| {
            let (row, update) = (self.split)(&data);
            (row, update, diff)
        };
        self.tick = self.updates.take(time).into_iter().flatten().map(split).collect();
        self.tick.sort_by_key(|(row, ..)| *row);
    }

    fn advance(&mut self, time: Time, fuel: &mut usize) -> bool {
        let mut emitted = self.emitted.buffer();
        while let Some(updates) = self.tick[self.applied..].chunk_by(|a, b| a.0 == b.0).next() {
            if *fuel == 0 {
                return false;
            }
            *fuel = fuel.saturating_sub(updates.len());
            let row = updates[0].0;
            let subscribers = self.subscribers.get(&row).map_or(&[][..], Vec::as_slice);
            self.rows.apply(row, updates, &mut |value, diff| {
                let subscription = |subscriber: &Subscriber| Subscription { row, subscriber: *subscriber };
                emitted.extend(subscribers.iter().map(|to| ((subscription(to), value.clone()), time, diff)));
            });
            self.applied += updates.len();
        }
        self.tick = Vec::new();
        true
    }
}
