//! Recent interest of users, in buckets of time, and the weight that it gives to items in each scope.
//!
//! The total of an item is a sum over users, so each worker emits its part as a collection of weights, and the trending
//! operator adds them up. The weight of a bucket halves whenever a bucket ends, and with it that of every item in it.

use std::collections::BTreeMap;

use std::rc::Rc;

use hashbrown::HashMap;
use schema::{Effect, IdMap};

use super::history::Touch;
use crate::controls::EventControls;
use crate::{Diff, Event, ItemId, MAX_MS, Scope, Time, Trending, UserId};

/// The interest of this worker's users. Memory: about 60 bytes for each user, item and scope in a bucket, until the bucket
/// leaves the window.
pub(super) struct Trends {
    trending: Trending,
    /// Whether events may be excluded later, so that those beside the highest are kept.
    keeps_all: bool,
    /// Current bucket.
    now: u64,
    buckets: BTreeMap<u64, Bucket>,
}

#[derive(Default)]
struct Bucket {
    /// For each user, item and scope.
    interest: HashMap<(UserId, ItemId, Option<Scope>), Interest>,
    /// Sums of these levels over the users.
    sums: HashMap<(Option<Scope>, ItemId), Diff>,
}

/// The events of a user on an item in a scope and a bucket.
struct Interest {
    /// One with the largest level.
    highest: Touch,
    /// If events may be excluded later, the others that would matter then: those that no later one of at least their level follows.
    others: Vec<Touch>,
}

impl Interest {
    fn events(&self) -> impl Iterator<Item = &Touch> {
        std::iter::once(&self.highest).chain(&self.others)
    }

    /// Adds an event, and keeps those that may matter.
    fn add(&mut self, touch: Touch, keeps_all: bool) {
        if !keeps_all {
            if self.highest.level() < touch.level() {
                self.highest = touch;
            }
            return;
        }
        let outdoes = |a: &Touch, b: &Touch| a.ts() >= b.ts() && a.level() >= b.level();
        if self.events().any(|known| outdoes(known, &touch)) {
            return;
        }
        self.others.retain(|known| !outdoes(&touch, known));
        if touch.level() >= self.highest.level() {
            let before = std::mem::replace(&mut self.highest, touch);
            self.others.extend((!outdoes(&touch, &before)).then_some(before));
        } else {
            self.others.push(touch);
        }
    }

    /// Drops events. Returns whether any are left.
    fn remove_if(&mut self, drops: impl Fn(&Touch) -> bool) -> bool {
        self.others.retain(|touch| !drops(touch));
        if !drops(&self.highest) {
            return true;
        }
        let next = (0..self.others.len()).max_by_key(|at| self.others[*at].level());
        if let Some(next) = next {
            self.highest = self.others.swap_remove(next);
        }
        next.is_some()
    }
}

/// Updates of the weights of items.
pub(super) type WeightUpdates = Vec<((Option<Scope>, ItemId), Time, Diff)>;

impl Trends {
    /// `keeps_all`: whether events may be excluded later.
    pub(super) fn new(trending: Trending, keeps_all: bool) -> Self {
        Trends { trending, keeps_all, now: 0, buckets: BTreeMap::new() }
    }

    /// The next millisecond at which a weight changes without an event. Always after the last tick.
    pub(super) fn next_due(&self) -> Option<u64> {
        let (oldest, _) = self.buckets.first_key_value()?;
        Some(((*oldest).max(self.now) + 1).saturating_mul(self.trending.bucket)).filter(|due| *due <= MAX_MS)
    }

    /// Advances to the tick at `time`, of millisecond `now`.
    pub(super) fn advance(&mut self, time: Time, now: u64, weights: &mut WeightUpdates) {
        let before = std::mem::replace(&mut self.now, now / self.trending.bucket);
        if before == self.now {
            return;
        }
        // One update for an item, over all buckets.
        let mut changed: HashMap<(Option<Scope>, ItemId), Diff> = HashMap::new();
        for (bucket, Bucket { sums, .. }) in self.buckets.range(..self.now) {
            let diff = weight(&self.trending, *bucket, self.now) - weight(&self.trending, *bucket, before);
            for (of, sum) in sums {
                *changed.entry(*of).or_default() += diff * *sum;
            }
        }
        weights.extend(changed.into_iter().filter(|(_, diff)| *diff != 0).map(|(of, diff)| (of, time, diff)));
        let oldest = self.now.saturating_sub(self.trending.buckets.into());
        self.buckets = self.buckets.split_off(&oldest);
    }

    /// Adds an event at the tick at `time`, to the scope of all events and to its own. Its bucket counts once it has ended.
    pub(super) fn add(&mut self, event: &Event, time: Time, weights: &mut WeightUpdates) {
        self.add_to(None, event, time, weights);
        if event.scope.is_some() {
            self.add_to(event.scope, event, time, weights);
        }
    }

    fn add_to(&mut self, scope: Option<Scope>, event: &Event, time: Time, weights: &mut WeightUpdates) {
        let Some(level) = event.effect.level() else { return };
        let number = event.ts / self.trending.bucket;
        if number + u64::from(self.trending.buckets) < self.now {
            return;
        }
        let bucket = self.buckets.entry(number).or_default();
        let touch = Touch::new(event.item, event.ts, level);
        let interest = bucket
            .interest
            .entry((event.user, event.item, scope))
            .or_insert_with(|| Interest { highest: Touch::new(event.item, event.ts, 0), others: Vec::new() });
        let before = interest.highest.level();
        interest.add(touch, self.keeps_all);
        let more = interest.highest.level() - before;
        if more == 0 {
            return;
        }
        *bucket.sums.entry((scope, event.item)).or_default() += Diff::from(more);
        let weight = weight(&self.trending, number, self.now);
        if weight > 0 {
            weights.push(((scope, event.item), time, weight * Diff::from(more)));
        }
    }

    /// Real events that make the same state. Those of a room are there without a scope, too.
    pub(super) fn events(&self) -> impl Iterator<Item = Event> {
        let interest = self.buckets.values().flat_map(|bucket| &bucket.interest);
        interest.flat_map(|(&(user, item, scope), interest)| {
            interest.events().map(move |touch| Event {
                user,
                item,
                ts: touch.ts(),
                effect: Effect::Counts(touch.level()),
                scope,
            })
        })
    }

    /// Drops the events that the controls of these users exclude. Cost: a pass over the interest of all users.
    pub(super) fn remove(&mut self, changed: &IdMap<Rc<EventControls>>, time: Time, weights: &mut WeightUpdates) {
        for (number, Bucket { interest, sums }) in &mut self.buckets {
            let weight = weight(&self.trending, *number, self.now);
            interest.retain(|(user, item, scope), interest| {
                let Some(controls) = changed.get(user) else { return true };
                let before = interest.highest.level();
                let is_left = interest.remove_if(|touch| controls.excludes(*item, touch.ts()));
                let less = before - if is_left { interest.highest.level() } else { 0 };
                if less > 0 {
                    let sum = sums.entry((*scope, *item)).or_default();
                    *sum -= Diff::from(less);
                    if *sum == 0 {
                        sums.remove(&(*scope, *item));
                    }
                    if weight > 0 {
                        weights.push(((*scope, *item), time, -weight * Diff::from(less)));
                    }
                }
                is_left
            });
        }
    }
}

/// Weight of a level in `bucket` while bucket `now` is the current one.
fn weight(trending: &Trending, bucket: u64, now: u64) -> Diff {
    match now.checked_sub(bucket) {
        Some(age @ 1..) if age <= u64::from(trending.buckets) => 1 << (u64::from(trending.buckets) - age),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRENDING: Trending = Trending { k: 1, bucket: 10, buckets: 3 };

    #[test]
    fn a_level_counts_once_its_bucket_has_ended_and_halves_until_it_is_gone() {
        let mut trends = Trends::new(TRENDING, false);
        let mut weights = WeightUpdates::new();
        trends.advance(0, 105, &mut weights);
        for level in [1, 5, 5, 2] {
            trends.add(
                &Event { user: 7, item: 9, ts: 104, effect: Effect::Counts(level), scope: None },
                0,
                &mut weights,
            );
        }
        assert_eq!((weights.len(), trends.next_due()), (0, Some(110)));
        for (now, diff) in [(110, 20), (120, -10), (130, -5), (140, -5)] {
            assert_eq!(trends.next_due(), Some(now));
            trends.advance(0, now, &mut weights);
            assert_eq!(std::mem::take(&mut weights), [((None, 9), 0, diff)], "at {now}");
        }
        // The bucket is dropped once it weighs nothing.
        assert_eq!((trends.next_due(), trends.buckets.len()), (None, 0));
    }

    #[test]
    fn a_late_event_counts_as_if_it_had_been_in_time() {
        let mut trends = Trends::new(TRENDING, false);
        let mut weights = WeightUpdates::new();
        trends.advance(0, 125, &mut weights);
        for (ts, weight) in [(89, None), (90, Some(1)), (119, Some(4)), (120, None), (990, None)] {
            trends.add(&Event { user: ts, item: 9, ts, effect: Effect::Counts(1), scope: None }, 0, &mut weights);
            assert_eq!(weights.pop().map(|(_, _, diff)| diff), weight, "{ts}");
        }
    }

    proptest! {
        /// Whatever a forget covers later, the rest weighs as if it alone had come.
        #[test]
        fn the_highest_of_what_is_left_counts(
            events in prop::collection::vec((0_u64..10, 1_u8..6), 1..12),
            until in prop::option::of(0_u64..10),
        ) {
            let mut interest = Interest { highest: Touch::new(9, events[0].0, 0), others: Vec::new() };
            for (ts, level) in &events {
                interest.add(Touch::new(9, *ts, *level), true);
            }
            let is_left = interest.remove_if(|touch| until.is_some_and(|until| touch.ts() <= until));
            let left = events.iter().filter(|(ts, _)| until.is_none_or(|until| *ts > until));
            let expected = left.map(|(_, level)| *level).max();
            prop_assert_eq!(is_left.then(|| interest.highest.level()), expected);
        }
    }
}
