//! The retained events of one user, and the history that they make.

use crate::{Audience, Config, ItemId, Level};

/// A retained event. Kept small: a user has up to `history` of them and a few more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) item: ItemId,
    ts_and_level: u64,
}

impl Touch {
    /// A level takes four bits, and a timestamp below 2^44 the other sixty.
    pub(super) fn new(item: ItemId, ts: u64, level: Level) -> Self {
        Touch { item, ts_and_level: ts << 4 | u64::from(level) }
    }

    pub(super) fn ts(&self) -> u64 {
        self.ts_and_level >> 4
    }

    pub(super) fn level(&self) -> Level {
        (self.ts_and_level & 15) as Level
    }

    /// The order of a history: descending by timestamp, then ascending by id64, then descending by level.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        other.ts().cmp(&self.ts()).then(self.item.cmp(&other.item)).then(other.level().cmp(&self.level()))
    }
}

/// One item of a history.
pub(super) type Interaction = (ItemId, Level);

/// A user's retained events, newest first.
#[derive(Debug, Default)]
pub(super) struct Touches(Vec<Touch>);

impl Touches {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The retained events, newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Touch> {
        self.0.iter()
    }

    /// Adds new events in any order and retains, as of `now`, those that count and can still matter. Writes the history that
    /// they make into `history`.
    ///
    /// Read newest first, an event counts if it is within the retention and fewer than `history` items were touched after it;
    /// these are the distinct items read before it. It can still matter if no later event of its item has at least its level.
    /// An event that fails a test fails it for ever, so the state is a function of the set of events.
    pub(super) fn absorb(&mut self, new: &[Touch], now: u64, config: &Config, history: &mut Vec<Interaction>) {
        if !new.is_empty() {
            self.0.extend_from_slice(new);
            self.0.sort_unstable_by(Touch::order);
        }
        history.clear();
        self.0.retain(|touch| {
            if history.len() >= config.history || config.expires(touch.ts()) <= now {
                return false;
            }
            match history.iter_mut().find(|(item, _)| *item == touch.item) {
                Some((_, level)) if *level >= touch.level() => false,
                Some((_, level)) => {
                    *level = touch.level();
                    true
                }
                None => {
                    history.push((touch.item, touch.level()));
                    true
                }
            }
        });
    }

    /// Writes the history into `into`: newest item first, each item once, with the highest level of its events.
    pub(super) fn history(&self, into: &mut Vec<Interaction>) {
        into.clear();
        for touch in &self.0 {
            match into.iter_mut().find(|(item, _)| *item == touch.item) {
                // An older event is retained only if its level is higher.
                Some((_, level)) => *level = touch.level(),
                None => into.push((touch.item, touch.level())),
            }
        }
    }

    /// Whether the user is in the audience at `now`. The newest event is always among the retained ones.
    pub(super) fn in_audience(&self, now: u64, config: &Config) -> bool {
        match (self.0.first(), config.audience) {
            (None, _) => false,
            (Some(_), Audience::All) => true,
            (Some(newest), Audience::Within(span)) => newest.ts().saturating_add(span) > now,
        }
    }

    /// When the oldest event expires.
    pub(super) fn expiry(&self, config: &Config) -> Option<u64> {
        Some(config.expires(self.0.last()?.ts()))
    }

    /// When the user leaves the audience, if it is in the audience at `now`.
    pub(super) fn exit(&self, now: u64, config: &Config) -> Option<u64> {
        match config.audience {
            Audience::All => None,
            Audience::Within(span) => Some(self.0.first()?.ts().saturating_add(span)).filter(|exit| *exit > now),
        }
    }
}
