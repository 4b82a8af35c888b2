//! The retained events of one user, and the history that they make.

use crate::{Audience, Config, ItemId, Level, ProfileItem};

/// A retained event. Kept small: a user has up to `history` of them and a few more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) item: ItemId,
    /// The timestamp, then [`Touch::LATEST`], then the level.
    packed: u64,
}

impl Touch {
    /// Bit of an event that is known to be the latest of its item. So a history is read without a search for each event.
    const LATEST: u64 = 1 << 4;

    /// A level takes four bits, and a timestamp below 2^44 fits beside it.
    pub(super) fn new(item: ItemId, ts: u64, level: Level) -> Self {
        Touch { item, packed: ts << 5 | u64::from(level) }
    }

    pub(super) fn ts(&self) -> u64 {
        self.packed >> 5
    }

    pub(super) fn level(&self) -> Level {
        (self.packed & 15) as Level
    }

    /// Whether it is an event with the same item, timestamp and level.
    fn is_same(&self, other: &Touch) -> bool {
        self.item == other.item && (self.packed | Touch::LATEST) == (other.packed | Touch::LATEST)
    }

    fn is_latest(&self) -> bool {
        self.packed & Touch::LATEST != 0
    }

    fn set_latest(&mut self, latest: bool) {
        self.packed = self.packed & !Touch::LATEST | if latest { Touch::LATEST } else { 0 };
    }

    /// The order of a history: descending by timestamp, then ascending by id64, then descending by level.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        other.ts().cmp(&self.ts()).then(self.item.cmp(&other.item)).then(other.level().cmp(&self.level()))
    }
}

/// What a user did with an item. The default is nothing: the item is not in the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interaction {
    /// Timestamp of the latest event.
    pub(super) touched: u64,
    /// Highest level of the events; 0 if the item is not in the history.
    pub(super) level: Level,
    /// Factor of the basket rank in the profile; 0 beyond the profile.
    pub(super) stair: u16,
    /// What is left of an item that is not in the history.
    pub(super) trace: Trace,
}

/// What a user has of an item that is not in the history: an event that was taken back, a retraction, a skip or presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trace {
    /// Nothing, or the item is in the history.
    #[default]
    None,
    /// Its name is held, as the user's state has it.
    Held,
    /// It is kept out of the list as well.
    KeptOut,
}

impl Interaction {
    fn latest(touch: &Touch) -> Self {
        Interaction { touched: touch.ts(), level: touch.level(), ..Interaction::default() }
    }

    /// The item as the profile has it; `None` if it is neither in the history nor kept out of the list.
    pub(super) fn profile_item(self, item: ItemId) -> Option<ProfileItem> {
        let level = if self.stair > 0 { self.level } else { 0 };
        (self.level > 0 || self.trace == Trace::KeptOut).then_some(ProfileItem { item, level, stair: self.stair })
    }

    /// Whether the user's state has the item though the history does not.
    pub(super) fn is_trace(self) -> bool {
        self.level == 0 && self.trace != Trace::None
    }
}

/// A history, newest item first, each item once; after it items that left a trace only.
pub(super) type History = Vec<(ItemId, Interaction)>;

/// Sets the factors of the newest interactions of a history, which are the profile.
pub(super) fn set_stairs(history: &mut [(ItemId, Interaction)], config: &Config) {
    let mut rank = 0;
    let mut before = None;
    for (_, interaction) in history.iter_mut().take(config.profile_length()) {
        // Each interaction is compared with the one directly before it, so a basket may be longer than `basket`.
        rank += usize::from(before.is_some_and(|before| before - interaction.touched >= config.basket));
        interaction.stair = config.stair(rank) as u16;
        before = Some(interaction.touched);
    }
}

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
    /// they make, without stairs and with nothing taken back, into `history`. Returns whether an event is retained that was not
    /// retained before.
    ///
    /// Read newest first, an event counts if it is within the retention and fewer than `history` items were touched after it;
    /// these are the distinct items read before it. It can still matter if no later event of its item has at least its level.
    /// An event that fails a test fails it for ever, so the state is a function of the set of events. The latest event of an
    /// item fails last. A retraction that caps an event caps the earlier ones up to its level too, so no event matters that a
    /// later one has outdone.
    pub(super) fn absorb(&mut self, new: &[Touch], now: u64, config: &Config, history: &mut History) -> bool {
        // An event that was retained and is repeated is no new one.
        let unknown = new.iter().filter(|touch| !self.0.iter().any(|known| known.is_same(touch)));
        let unknown: Vec<Touch> = unknown.copied().collect();
        if !new.is_empty() {
            self.0.extend_from_slice(new);
            self.0.sort_unstable_by(Touch::order);
            for Touch { item, .. } in new {
                let of_item = self.0.iter_mut().filter(|touch| touch.item == *item);
                of_item.enumerate().for_each(|(at, touch)| touch.set_latest(at == 0));
            }
        }
        history.clear();
        self.0.retain(|touch| {
            if history.len() >= config.history || config.expires(touch.ts()) <= now {
                return false;
            }
            if touch.is_latest() {
                history.push((touch.item, Interaction::latest(touch)));
                return true;
            }
            let interaction = interaction_of(touch.item, history);
            let can_matter = touch.level() > interaction.level;
            interaction.level = interaction.level.max(touch.level());
            can_matter
        });
        unknown.iter().any(|new| self.0.iter().any(|touch| touch.is_same(new)))
    }

    /// Writes the history, without stairs and with nothing taken back, into `into`.
    pub(super) fn history(&self, into: &mut History) {
        into.clear();
        for touch in &self.0 {
            if touch.is_latest() {
                into.push((touch.item, Interaction::latest(touch)));
            } else {
                // An older event is retained only if its level is higher.
                interaction_of(touch.item, into).level = touch.level();
            }
        }
    }

    /// Drops events. Returns the timestamp of the newest of them. What they have displaced does not come back.
    pub(super) fn remove_if(&mut self, drops: impl Fn(&Touch) -> bool) -> Option<u64> {
        let newest = self.0.iter().find(|touch| drops(touch)).map(Touch::ts)?;
        self.0.retain(|touch| !drops(touch));
        for at in 0..self.0.len() {
            let item = self.0[at].item;
            let is_latest = self.0[..at].iter().all(|newer| newer.item != item);
            self.0[at].set_latest(is_latest);
        }
        Some(newest)
    }

    /// Timestamp of the newest event, which is always among the retained ones.
    pub(super) fn newest(&self) -> Option<u64> {
        Some(self.0.first()?.ts())
    }

    /// Whether the events keep the user in the audience at `now`.
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

/// The interaction of an item whose latest event was read.
fn interaction_of(item: ItemId, history: &mut History) -> &mut Interaction {
    let found = history.iter_mut().find(|(other, _)| *other == item);
    &mut found.expect("the latest event of an item comes first and is dropped last").1
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The history by definition, from all events.
    fn expected(events: &[(ItemId, u64, Level)], now: u64, config: &Config) -> History {
        let is_retained = |ts: u64| ts + config.retention > now;
        let retained: Vec<_> = events.iter().copied().filter(|(_, ts, _)| is_retained(*ts)).collect();
        let mut touched: BTreeMap<ItemId, u64> = BTreeMap::new();
        for (item, ts, _) in &retained {
            let latest = touched.entry(*item).or_default();
            *latest = ts.max(latest).to_owned();
        }
        let mut levels: BTreeMap<ItemId, Level> = BTreeMap::new();
        for (item, ts, level) in &retained {
            let after = touched.iter().filter(|(other, at)| (Reverse(**at), **other) < (Reverse(*ts), *item)).count();
            if after < config.history {
                let highest = levels.entry(*item).or_default();
                *highest = level.max(highest).to_owned();
            }
        }
        let mut history: Vec<_> =
            levels.into_iter().map(|(item, level)| (Reverse(touched[&item]), item, level)).collect();
        history.sort_unstable();
        let mut basket_rank = 0;
        let ranked = history.iter().enumerate().map(|(rank, (Reverse(touched), item, level))| {
            if rank > 0 && history[rank - 1].0.0 - touched >= config.basket {
                basket_rank += 1;
            }
            let stair = if rank < config.profile_length() { config.stair(basket_rank) as u16 } else { 0 };
            (*item, Interaction { touched: *touched, level: *level, stair, ..Interaction::default() })
        });
        ranked.collect()
    }

    proptest! {
        /// Late, simultaneous and repeated events, in several ticks, with expiry and displacement.
        #[test]
        fn equals_the_definition_after_every_tick(
            ticks in prop::collection::vec(
                (prop::collection::vec((0_u64..8, 0_u64..12, 1_u8..5), 0..6), 0_u64..8), 1..30,
            ),
            history in 1_usize..7,
            retention in 5_u64..60,
            basket in 0_u64..6,
            stairs in prop::sample::select(vec![vec![1], vec![1, 3], vec![1, 2, 4, 6]]),
        ) {
            let config = Config { history, retention, basket, stairs, ..Config::default() };
            let (mut touches, mut events, mut now) = (Touches::default(), Vec::new(), 100);
            let (mut after, mut read) = (History::new(), History::new());
            for (drawn, step) in ticks {
                now += step;
                let new: Vec<_> = drawn.into_iter().map(|(item, age, level)| (item, now - age, level)).collect();
                events.extend_from_slice(&new);
                let new: Vec<Touch> = new.into_iter().map(|(item, ts, level)| Touch::new(item, ts, level)).collect();
                touches.absorb(&new, now, &config, &mut after);
                touches.history(&mut read);
                set_stairs(&mut after, &config);
                set_stairs(&mut read, &config);
                prop_assert_eq!(&after, &read);
                prop_assert_eq!(&after, &expected(&events, now, &config), "at {}", now);
            }
        }
    }

    #[test]
    fn touches_of_one_go_share_a_stair() {
        let config = Config { basket: 1_000, stairs: vec![1, 2, 4, 24], ..Config::default() };
        // The third is within a second of the second, though not of the first.
        let at = [10_000, 9_100, 8_200, 7_200, 6_200, 5_000, 4_999];
        let new: Vec<Touch> = (0..).zip(at).map(|(item, ts)| Touch::new(item, ts, 1)).collect();
        let mut history = History::new();
        Touches::default().absorb(&new, 10_000, &config, &mut history);
        set_stairs(&mut history, &config);
        let stairs: Vec<u16> = history.iter().map(|(_, interaction)| interaction.stair).collect();
        assert_eq!(stairs, [8, 8, 8, 4, 2, 2, 2]);
    }
}
