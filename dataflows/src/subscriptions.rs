//! Rows told to the workers that want them: in full when a worker comes to want one, as differences after that.
//!
//! What a join of rows and interest says, without an arrangement of either.

use differential_dataflow::{AsCollection, ExchangeData};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::operator::{IdMap, Out, OutputCapabilities, Stash, complete_before, earlier, give, shrink_if_sparse};
use crate::{Collection, Diff, Subscriber, Subscription, Time, UserId};

/// Rows by the id64 of an item or a user, and how they change.
pub(crate) trait Rows: 'static {
    /// What comes in for a row.
    type Update: Copy + 'static;
    /// What a row consists of.
    type Value: ExchangeData;

    /// Applies all updates of a row in a tick and tells the difference they make.
    fn apply(&mut self, row: u64, updates: &[(u64, Self::Update, Diff)], tell: &mut impl FnMut(Self::Value, Diff));

    /// Tells all of a row.
    fn tell(&self, row: u64, tell: &mut impl FnMut(Self::Value));

    /// Goes on with what the updates applied last mean for `aside`, an update a unit of fuel. Returns whether that is
    /// done.
    fn proceed(&mut self, _fuel: &mut usize, _aside: &mut impl FnMut(UserId, Diff)) -> bool {
        true
    }
}

/// What comes out: rows for the workers that want them, to be exchanged by the worker, and what else follows.
pub(crate) type Subscribed<'scope, V> = (Collection<'scope, (Subscription, V)>, Collection<'scope, UserId>);

/// Keeps `rows` where they belong and tells them to whom they concern. `split` finds the row of an update.
///
/// Cost: an update to each worker that wants the row for each of its values that changes. Works in slices.
pub(crate) fn wanted<'scope, D: ExchangeData, R: Rows>(
    name: &str,
    updates: Collection<'scope, D>,
    split: fn(&D) -> (u64, R::Update),
    interest: Collection<'scope, Subscription>,
    mut rows: R,
    slice: usize,
) -> Subscribed<'scope, R::Value> {
    let scope = updates.inner.scope();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let again = scope.activator_for(builder.operator_info().address);
    let mut updates =
        builder.new_input(updates.inner, Exchange::new(move |update: &(D, Time, Diff)| split(&update.0).0));
    let by_row = |update: &(Subscription, Time, Diff)| update.0.row;
    let mut interest = builder.new_input(interest.inner, Exchange::new(by_row));
    let (told_out, told): (_, Stream<'scope, Time, Vec<((Subscription, R::Value), Time, Diff)>>) = builder.new_output();
    let (aside_out, aside): (_, Stream<'scope, Time, Vec<(UserId, Time, Diff)>>) = builder.new_output();

    builder.build(move |_| {
        let mut told_out: Out<((Subscription, R::Value), Time, Diff)> = OutputBuilder::from(told_out);
        let mut aside_out: Out<(UserId, Time, Diff)> = OutputBuilder::from(aside_out);
        let mut held = OutputCapabilities::new(2);
        let mut update_stash = Stash::new();
        let mut interest_stash = Stash::new();
        let mut workers: IdMap<Vec<Subscriber>> = IdMap::default();
        let mut tick: Option<Tick<R::Update>> = None;
        let (mut told, mut aside) = (Vec::new(), Vec::new());

        move |frontiers| {
            updates.for_each(|capability, data| update_stash.put(held.retain(&capability), data));
            interest.for_each(|capability, data| interest_stash.put(held.retain(&capability), data));
            let upper = complete_before(frontiers);

            let mut fuel = slice;
            loop {
                let complete = earlier(update_stash.first(), interest_stash.first()).filter(|time| *time < upper);
                let Some(time) = tick.as_ref().map(|tick| tick.time).or(complete) else { break };
                let now = tick.get_or_insert_with(|| {
                    // 1. Who wants what: rows as they were, so that what changes is told to all alike.
                    for (Subscription { row, subscriber }, _, diff) in interest_stash.take(time).into_iter().flatten() {
                        rows.tell(row, &mut |value| told.push(((Subscription { row, subscriber }, value), time, diff)));
                        want(&mut workers, row, subscriber, diff);
                    }
                    let updates = update_stash.take(time).into_iter().flatten();
                    let split = |(data, _, diff): (D, Time, Diff)| {
                        let (row, update) = split(&data);
                        (row, update, diff)
                    };
                    let mut updates: Vec<_> = updates.map(split).collect();
                    updates.sort_by_key(|(row, ..)| *row);
                    Tick { time, updates, at: 0 }
                });
                // 2. What changes, row by row.
                let done = loop {
                    if !rows.proceed(&mut fuel, &mut |user, diff| aside.push((user, time, diff))) {
                        break false;
                    }
                    let Some(updates) = now.next() else { break true };
                    if fuel == 0 {
                        break false;
                    }
                    fuel = fuel.saturating_sub(updates.len());
                    let row = updates[0].0;
                    let wanting = workers.get(&row).map_or(&[][..], Vec::as_slice);
                    rows.apply(row, updates, &mut |value, diff| {
                        let of = |subscriber: &Subscriber| Subscription { row, subscriber: *subscriber };
                        told.extend(wanting.iter().map(|worker| ((of(worker), value.clone()), time, diff)));
                    });
                    now.at += updates.len();
                };
                give(&mut told_out, &held, 0, time, &mut told);
                give(&mut aside_out, &held, 1, time, &mut aside);
                if !done {
                    again.activate();
                    break;
                }
                tick = None;
            }
            let now = tick.as_ref().map(|tick| tick.time);
            held.release_before(earlier(now, earlier(update_stash.first(), interest_stash.first())));
        }
    });
    (told.as_collection(), aside.as_collection())
}

/// A tick being worked off: its updates, those of a row side by side, and how many are applied.
struct Tick<U> {
    time: Time,
    updates: Vec<(u64, U, Diff)>,
    at: usize,
}

impl<U> Tick<U> {
    /// The updates of the next row.
    fn next(&self) -> Option<&[(u64, U, Diff)]> {
        self.updates[self.at..].chunk_by(|a, b| a.0 == b.0).next()
    }
}

/// A worker wants a row, or no longer does. Subscription is told once a tick, netted.
fn want(workers: &mut IdMap<Vec<Subscriber>>, row: u64, worker: Subscriber, diff: Diff) {
    let wanting = workers.entry(row).or_default();
    if diff > 0 {
        wanting.push(worker);
    } else {
        wanting.retain(|wants| *wants != worker);
        if wanting.is_empty() {
            workers.remove(&row);
            shrink_if_sparse(workers);
        }
    }
}
