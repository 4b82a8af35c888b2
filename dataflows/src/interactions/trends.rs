//! What users showed of interest lately, in buckets of time, and what that weighs in each scope.
//!
//! T is a sum over users, so each worker's part of it goes out as a collection of weights and is added up behind. A
//! bucket that ends, and every older one, weighs another power of two: once a bucket every item in it moves.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use hashbrown::HashMap;

use super::history::Touch;
use crate::{Diff, Event, ItemId, MAX_MS, Scope, Time, Trending, UserId};

/// The interest of this worker's users. Memory: some 60 bytes for each user, item and scope of a bucket, while the bucket
/// is in the window or ahead.
pub(super) struct Trends {
    trending: Trending,
    /// The current bucket.
    now: u64,
    buckets: BTreeMap<u64, Bucket>,
}

#[derive(Default)]
struct Bucket {
    /// Of each user and item in each scope an event with the largest level.
    interest: HashMap<(UserId, ItemId, Scope), Touch>,
    /// The sums of those levels over the users.
    sums: HashMap<(Scope, ItemId), Diff>,
}

/// Changes of T.
pub(super) type Weights = Vec<((Scope, ItemId), Time, Diff)>;

impl Trends {
    pub(super) fn new(trending: Trending) -> Self {
        Trends { trending, now: 0, buckets: BTreeMap::new() }
    }

    /// The next millisecond at which something weighs more or less by itself. Always after the tick last taken.
    pub(super) fn next_due(&self) -> Option<u64> {
        let (oldest, _) = self.buckets.first_key_value()?;
        Some(((*oldest).max(self.now) + 1).saturating_mul(self.trending.bucket)).filter(|due| *due <= MAX_MS)
    }

    /// Goes on to the tick at `time`, of millisecond `now`.
    pub(super) fn advance(&mut self, time: Time, now: u64, weights: &mut Weights) {
        let before = std::mem::replace(&mut self.now, now / self.trending.bucket);
        if before == self.now {
            return;
        }
        // One update for an item, however many of its buckets move.
        let mut moved: HashMap<(Scope, ItemId), Diff> = HashMap::new();
        for (bucket, Bucket { sums, .. }) in self.buckets.range(..self.now) {
            let diff = weight(&self.trending, *bucket, self.now) - weight(&self.trending, *bucket, before);
            for (of, sum) in sums {
                *moved.entry(*of).or_default() += diff * *sum;
            }
        }
        weights.extend(moved.into_iter().filter(|(_, diff)| *diff != 0).map(|(of, diff)| (of, time, diff)));
        let oldest = self.now.saturating_sub(self.trending.buckets.into());
        self.buckets = self.buckets.split_off(&oldest);
    }

    /// Takes an event at the tick at `time`. One that lies ahead is in a bucket that counts when it has ended.
    pub(super) fn see(&mut self, event: &Event, scope: Scope, time: Time, weights: &mut Weights) {
        let number = event.ts / self.trending.bucket;
        if number + u64::from(self.trending.buckets) < self.now {
            return;
        }
        let bucket = match self.buckets.entry(number) {
            Entry::Occupied(bucket) => bucket.into_mut(),
            Entry::Vacant(free) => free.insert(Bucket::default()),
        };
        let touch = Touch::new(event.item, event.ts, event.level);
        let known =
            bucket.interest.entry((event.user, event.item, scope)).or_insert(Touch::new(event.item, event.ts, 0));
        if known.level() >= event.level {
            return;
        }
        let more = event.level - std::mem::replace(known, touch).level();
        *bucket.sums.entry((scope, event.item)).or_default() += Diff::from(more);
        let weight = weight(&self.trending, number, self.now);
        if weight > 0 {
            weights.push(((scope, event.item), time, weight * Diff::from(more)));
        }
    }

    /// Events that make the same of what is held: they are real ones. Those of a room are also events without one.
    pub(super) fn events(&self) -> impl Iterator<Item = (Event, Option<Scope>)> {
        let interest = self.buckets.values().flat_map(|bucket| &bucket.interest);
        interest.map(|(&(user, item, scope), touch)| {
            let event = Event { user, item, ts: touch.ts(), level: touch.level() };
            (event, Some(scope).filter(|scope| *scope != self.trending.everywhere))
        })
    }
}

/// What a level in `bucket` weighs while bucket `now` is the current one.
fn weight(trending: &Trending, bucket: u64, now: u64) -> Diff {
    match now.checked_sub(bucket) {
        Some(age @ 1..) if age <= u64::from(trending.buckets) => 1 << (u64::from(trending.buckets) - age),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRENDING: Trending = Trending { k: 1, bucket: 10, buckets: 3, everywhere: 1 };

    #[test]
    fn a_level_counts_once_its_bucket_is_over_and_halves_until_it_is_gone() {
        let mut trends = Trends::new(TRENDING);
        let mut weights = Weights::new();
        trends.advance(0, 105, &mut weights);
        for level in [1, 5, 5, 2] {
            trends.see(&Event { user: 7, item: 9, ts: 104, level }, 1, 0, &mut weights);
        }
        assert_eq!((weights.len(), trends.next_due()), (0, Some(110)));
        for (now, diff) in [(110, 20), (120, -10), (130, -5), (140, -5)] {
            assert_eq!(trends.next_due(), Some(now));
            trends.advance(0, now, &mut weights);
            assert_eq!(std::mem::take(&mut weights), [((1, 9), 0, diff)], "at {now}");
        }
        // The bucket goes when it counts nothing.
        assert_eq!((trends.next_due(), trends.buckets.len()), (None, 0));
    }

    #[test]
    fn a_late_event_counts_what_it_would_have_counted() {
        let mut trends = Trends::new(TRENDING);
        let mut weights = Weights::new();
        trends.advance(0, 125, &mut weights);
        for (ts, weight) in [(89, None), (90, Some(1)), (119, Some(4)), (120, None), (990, None)] {
            trends.see(&Event { user: ts, item: 9, ts, level: 1 }, 1, 0, &mut weights);
            assert_eq!(weights.pop().map(|(_, _, diff)| diff), weight, "{ts}");
        }
    }
}
