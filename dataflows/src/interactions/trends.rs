//! Recent interest of users, in buckets of time, and the weight that it gives to items in each scope.
//!
//! The total of an item is a sum over users, so each worker emits its part as a collection of weights, and the trending
//! operator adds them up. The weight of a bucket halves whenever a bucket ends, and with it that of every item in it.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use schema::Effect;

use super::history::Touch;
use crate::{Diff, Event, ItemId, MAX_MS, Scope, Time, Trending, UserId};

/// The interest of this worker's users. Memory: about 60 bytes for each user, item and scope in a bucket, until the bucket
/// leaves the window.
pub(super) struct Trends {
    trending: Trending,
    /// Current bucket.
    now: u64,
    buckets: BTreeMap<u64, Bucket>,
}

#[derive(Default)]
struct Bucket {
    /// An event with the largest level, for each user, item and scope.
    interest: HashMap<(UserId, ItemId, Option<Scope>), Touch>,
    /// Sums of these levels over the users.
    sums: HashMap<(Option<Scope>, ItemId), Diff>,
}

/// Updates of the weights of items.
pub(super) type WeightUpdates = Vec<((Option<Scope>, ItemId), Time, Diff)>;

impl Trends {
    pub(super) fn new(trending: Trending) -> Self {
        Trends { trending, now: 0, buckets: BTreeMap::new() }
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

    /// Adds an event at the tick at `time`, to the scope of all events and to its own. The bucket of an event ahead of the
    /// clock counts once it has ended.
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
        let known =
            bucket.interest.entry((event.user, event.item, scope)).or_insert(Touch::new(event.item, event.ts, 0));
        if known.level() >= level {
            return;
        }
        let more = level - std::mem::replace(known, touch).level();
        *bucket.sums.entry((scope, event.item)).or_default() += Diff::from(more);
        let weight = weight(&self.trending, number, self.now);
        if weight > 0 {
            weights.push(((scope, event.item), time, weight * Diff::from(more)));
        }
    }

    /// Real events that make the same state. Those of a room are there without a scope, too.
    pub(super) fn events(&self) -> impl Iterator<Item = Event> {
        let interest = self.buckets.values().flat_map(|bucket| &bucket.interest);
        interest.map(|(&(user, item, scope), touch)| Event {
            user,
            item,
            ts: touch.ts(),
            effect: Effect::Counts(touch.level()),
            scope,
        })
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
    use super::*;

    const TRENDING: Trending = Trending { k: 1, bucket: 10, buckets: 3 };

    #[test]
    fn a_level_counts_once_its_bucket_has_ended_and_halves_until_it_is_gone() {
        let mut trends = Trends::new(TRENDING);
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
        let mut trends = Trends::new(TRENDING);
        let mut weights = WeightUpdates::new();
        trends.advance(0, 125, &mut weights);
        for (ts, weight) in [(89, None), (90, Some(1)), (119, Some(4)), (120, None), (990, None)] {
            trends.add(&Event { user: ts, item: 9, ts, effect: Effect::Counts(1), scope: None }, 0, &mut weights);
            assert_eq!(weights.pop().map(|(_, _, diff)| diff), weight, "{ts}");
        }
    }
}
