//! What a user took back, skipped and only attended (docs/semantics.md, "Taking back"). Most users have none of it.

use std::cmp::Reverse;

use schema::Effect;

use super::history::{History, Interaction, Touches, Trace, set_stairs};
use super::users::NewEvents;
use crate::controls::EventControls;
use crate::{Audience, Config, Event, ItemId, Level};

/// Skips that are kept for a user.
const SKIPS: usize = 64;

/// A retraction. The derived order is that of the text: by timestamp, then id64, `of` and `leaves`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Retraction {
    ts: u64,
    item: ItemId,
    of: Level,
    leaves: Level,
}

/// The retractions and skips of a user that are in force, and when the user was last there without a level.
///
/// Its state is a function of the set of events: of what is dropped because there is newer, nothing comes back before what is
/// newer is gone, and by then it is gone itself.
#[derive(Debug, Default)]
pub(super) struct TakingBack {
    /// Newest first.
    retractions: Vec<Retraction>,
    /// Timestamp and item, newest first.
    skips: Vec<(u64, ItemId)>,
    /// The newest event without a level, while it keeps the user in the audience and no retained event with a level does so
    /// as long. Any of them would do; the item makes it one of all orders.
    presence: Option<(u64, ItemId)>,
    /// Timestamp of the newest paused event, as long as the same. Its item is not kept.
    paused: Option<u64>,
}

impl TakingBack {
    pub(super) fn is_empty(&self) -> bool {
        self.retractions.is_empty() && self.skips.is_empty() && self.presence.is_none() && self.paused.is_none()
    }

    /// Adds new events and drops what is not in force as of `now`. `newest`: timestamp of the newest event with a level. Returns
    /// whether a retraction or a skip is in force that was not before.
    pub(super) fn absorb(&mut self, new: &NewEvents, newest: Option<u64>, now: u64, config: &Config) -> bool {
        let mut unknown_retractions = Vec::new();
        let mut unknown_skips = Vec::new();
        for &Event { item, ts, effect, .. } in &new.others {
            match effect {
                Effect::Retracts { of, leaves } => {
                    let retraction = Retraction { ts, item, of, leaves };
                    if !self.retractions.contains(&retraction) {
                        unknown_retractions.push(retraction);
                        self.retractions.push(retraction);
                    }
                }
                Effect::Skips => {
                    if !self.skips.contains(&(ts, item)) {
                        unknown_skips.push((ts, item));
                        self.skips.push((ts, item));
                    }
                }
                Effect::Counts(_) | Effect::Attends => {}
            }
            self.presence = self.presence.max(Some((ts, item)));
        }
        if !unknown_retractions.is_empty() {
            self.retractions.sort_unstable_by_key(|retraction| Reverse(*retraction));
        }
        self.retractions.truncate(config.history);
        self.retractions.retain(|retraction| config.expires(retraction.ts) > now);
        if !unknown_skips.is_empty() {
            self.skips.sort_unstable_by_key(|skip| Reverse(*skip));
        }
        self.skips.truncate(SKIPS);
        self.skips.retain(|(ts, _)| end_of_skip(*ts, config) > now);
        let keeps = |ts: u64| {
            newest.is_none_or(|newest| newest < ts) && span_of(config).is_some_and(|span| ts.saturating_add(span) > now)
        };
        self.presence = self.presence.filter(|(ts, _)| keeps(*ts));
        let newest_paused = new.paused.iter().map(|(_, ts)| *ts).max();
        self.paused = self.paused.max(newest_paused).filter(|ts| keeps(*ts));
        unknown_retractions.iter().any(|new| self.retractions.contains(new))
            || unknown_skips.iter().any(|new| self.skips.contains(new))
    }

    /// Takes back what a history of `touches` shows, as of the last [`absorb`](Self::absorb), and adds the items that
    /// are kept out of the list, and those that are known for nothing else; likewise what the controls say.
    pub(super) fn apply(
        &self,
        controls: Option<&EventControls>,
        touches: &Touches,
        config: &Config,
        history: &mut History,
    ) {
        let covers = |item, ts| controls.is_some_and(|controls| controls.covers(item, ts));
        let is_retracted = |item: ItemId| {
            controls.is_some_and(|controls| controls.may_void(item))
                || self.retractions.iter().any(|retraction| retraction.item == item)
        };
        if history.iter().any(|(item, _)| is_retracted(*item)) {
            for (item, interaction) in history.iter_mut().filter(|(item, _)| is_retracted(*item)) {
                (interaction.level, interaction.touched) = (0, 0);
                for touch in touches.iter().filter(|touch| touch.item == *item) {
                    let level = self.level_left(controls, *item, touch.ts(), touch.level());
                    interaction.level = interaction.level.max(level);
                    if level > 0 {
                        interaction.touched = interaction.touched.max(touch.ts());
                    }
                }
                if interaction.level == 0 {
                    interaction.trace = Trace::Held;
                }
            }
            // What is void goes to the end.
            history.sort_unstable_by_key(|(item, interaction)| (Reverse(interaction.touched), *item));
            history.sort_by_key(|(_, interaction)| interaction.level == 0);
        }
        let interactions = history.iter().take_while(|(_, interaction)| interaction.level > 0).count();
        set_stairs(&mut history[..interactions], config);
        let retracted = self
            .retractions
            .iter()
            .map(|Retraction { ts, item, leaves, .. }| (*item, *leaves == 0 && !covers(*item, *ts)));
        let skipped = self.skips.iter().map(|(ts, item)| (*item, !covers(*item, *ts)));
        let present = self.presence.iter().map(|(_, item)| (*item, false));
        let unwanted = controls.map_or(&[][..], EventControls::kept_out).iter().map(|item| (*item, true));
        for (item, keeps_out) in retracted.chain(skipped).chain(present).chain(unwanted) {
            let at = history.iter().position(|(known, _)| *known == item).unwrap_or_else(|| {
                history.push((item, Interaction { trace: Trace::Held, ..Interaction::default() }));
                history.len() - 1
            });
            let (_, interaction) = &mut history[at];
            // An item with an event that is not void is in the history, and so not in the list either. Without a history there is
            // no list.
            if keeps_out && interaction.level == 0 && interactions > 0 {
                interaction.trace = Trace::KeptOut;
            }
        }
    }

    /// The level that an event is left with.
    fn level_left(&self, controls: Option<&EventControls>, item: ItemId, ts: u64, level: Level) -> Level {
        if controls.is_some_and(|controls| controls.voids(item, ts)) {
            return 0;
        }
        let caps = |of: &&Retraction| of.item == item && ts <= of.ts && level <= of.of;
        let capping = |of: &&Retraction| caps(of) && !controls.is_some_and(|controls| controls.covers(item, of.ts));
        let least = self.retractions.iter().filter(capping).map(|retraction| retraction.leaves).min();
        least.map_or(level, |least| level.min(least))
    }

    /// Until when the user is in the audience, whatever else it did.
    pub(super) fn exit(&self, config: &Config) -> Option<u64> {
        let presence = self.presence.map(|(ts, _)| ts);
        Some(presence.max(self.paused)?.saturating_add(span_of(config)?))
    }

    /// When the first retraction expires, the first skip ends, or presence does.
    pub(super) fn due(&self, config: &Config) -> Option<u64> {
        let retraction = self.retractions.last().map(|retraction| config.expires(retraction.ts));
        let skip = self.skips.last().map(|(ts, _)| end_of_skip(*ts, config));
        [retraction, skip, self.exit(config)].into_iter().flatten().min()
    }

    /// Drops what is paused, but for the presence.
    pub(super) fn drop_paused(&mut self, controls: &EventControls) {
        let dropped = |ts: u64| controls.is_paused(ts).then_some(ts);
        let retractions = self.retractions.iter().filter_map(|retraction| dropped(retraction.ts));
        let newest = retractions.chain(self.skips.iter().filter_map(|(ts, _)| dropped(*ts))).max();
        self.paused = self.paused.max(newest);
        self.retractions.retain(|retraction| dropped(retraction.ts).is_none());
        self.skips.retain(|(ts, _)| dropped(*ts).is_none());
        if let Some((ts, _)) = self.presence.filter(|(ts, _)| dropped(*ts).is_some()) {
            self.paused = self.paused.max(Some(ts));
            self.presence = None;
        }
    }

    /// Counts a paused event of this time as presence.
    pub(super) fn attend_paused(&mut self, ts: u64) {
        self.paused = self.paused.max(Some(ts));
    }

    /// Events that make the same state, each once: a retraction or a skip is presence too. A paused event stands as presence on
    /// `known`, an item of the user's events; without one it is not stored.
    pub(super) fn events(&self, known: Option<ItemId>) -> impl Iterator<Item = (ItemId, u64, Effect)> {
        let retraction =
            |&Retraction { ts, item, of, leaves }: &Retraction| (item, ts, Effect::Retracts { of, leaves });
        let skips = self.skips.iter().map(|(ts, item)| (*item, *ts, Effect::Skips));
        let is_another = |at: &&(u64, ItemId)| {
            self.skips.contains(at) || self.retractions.iter().any(|known| (known.ts, known.item) == **at)
        };
        let presence =
            self.presence.iter().filter(move |at| !is_another(at)).map(|(ts, item)| (*item, *ts, Effect::Attends));
        let paused = self.paused.zip(known).map(|(ts, item)| (item, ts, Effect::Attends));
        self.retractions.iter().map(retraction).chain(skips).chain(presence).chain(paused)
    }
}

fn end_of_skip(ts: u64, config: &Config) -> u64 {
    ts.saturating_add(config.skipped).min(config.expires(ts))
}

/// How long an event keeps its user in the audience; `None` if that needs an interaction.
fn span_of(config: &Config) -> Option<u64> {
    match config.audience {
        Audience::All => None,
        Audience::Within(span) => Some(span),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::prelude::*;
    use schema::Control;

    use super::super::users::UserState;
    use super::*;
    use crate::ControlRecord;

    fn event((item, ts, effect): (ItemId, u64, Effect)) -> Event {
        Event { user: 1, item, ts, effect, scope: None }
    }

    fn absorbed(user: &mut UserState, events: &[(ItemId, u64, Effect)], now: u64, config: &Config) -> (History, bool) {
        let events: Vec<Event> = events.iter().copied().map(event).collect();
        let (mut new, mut history) = (NewEvents::default(), History::new());
        new.set(&events, None);
        let acts = user.absorb(&new, now, config, &mut history);
        (history, acts)
    }

    /// Items with level, touched and trace.
    fn shown(history: &History) -> Vec<(ItemId, Level, u64, Trace)> {
        history.iter().map(|(item, of)| (*item, of.level, of.touched, of.trace)).collect()
    }

    const RETURN: Effect = Effect::Retracts { of: 6, leaves: 1 };
    const UNFOLLOW: Effect = Effect::Retracts { of: 4, leaves: 0 };

    #[test]
    fn the_lowest_cap_holds_and_spares_what_is_higher_or_later() {
        let config = Config::default();
        let mut user = UserState::default();
        let (history, _) = absorbed(
            &mut user,
            &[(1, 10, Effect::Counts(6)), (1, 12, Effect::Counts(2)), (2, 10, Effect::Counts(6)), (2, 11, RETURN)],
            20,
            &config,
        );
        assert_eq!(shown(&history), [(1, 6, 12, Trace::None), (2, 1, 10, Trace::None)]);
        // Of item 1 the click is void, and the purchase is higher: it was touched when that was.
        let (history, acts) = absorbed(&mut user, &[(1, 13, UNFOLLOW), (3, 9, Effect::Counts(1))], 21, &config);
        assert!(acts);
        assert_eq!(shown(&history), [(1, 6, 10, Trace::None), (2, 1, 10, Trace::None), (3, 1, 9, Trace::None)]);
        let (history, _) = absorbed(&mut user, &[(1, 14, RETURN), (1, 12, UNFOLLOW)], 22, &config);
        assert_eq!(shown(&history)[0], (1, 1, 10, Trace::None));
        let (history, _) = absorbed(&mut user, &[(1, 14, Effect::Retracts { of: 15, leaves: 0 })], 23, &config);
        assert_eq!(shown(&history), [(2, 1, 10, Trace::None), (3, 1, 9, Trace::None), (1, 0, 0, Trace::KeptOut)]);
        let (history, acts) = absorbed(&mut user, &[(1, 14, RETURN)], 24, &config);
        assert!(!acts && shown(&history)[2] == (1, 0, 0, Trace::KeptOut), "it repeats another");
        let (history, _) = absorbed(&mut user, &[(1, 15, Effect::Counts(1))], 25, &config);
        assert_eq!(shown(&history)[0], (1, 1, 15, Trace::None), "what follows counts");
    }

    #[test]
    fn a_skip_ends_at_its_own_time_and_presence_with_the_audience() {
        let config = Config { skipped: 100, audience: Audience::Within(30), retention: 1_000, ..Config::default() };
        let mut user = UserState::default();
        absorbed(&mut user, &[(1, 10, Effect::Counts(1))], 10, &config);
        let (history, acts) = absorbed(&mut user, &[(2, 20, Effect::Skips), (3, 25, Effect::Attends)], 25, &config);
        assert!(acts);
        let both = [(1, 1, 10, Trace::None), (2, 0, 0, Trace::KeptOut), (3, 0, 0, Trace::Held)];
        assert_eq!(shown(&history), both);
        assert_eq!((user.exit(25, &config), user.due(&config)), (Some(55), Some(55)));
        let (history, acts) = absorbed(&mut user, &[], 55, &config);
        assert!(!acts && !user.is_in_audience(55, &config));
        assert_eq!(shown(&history), [(1, 1, 10, Trace::None), (2, 0, 0, Trace::KeptOut)]);
        assert_eq!(user.due(&config), Some(120));
        assert_eq!(shown(&absorbed(&mut user, &[], 119, &config).0).len(), 2);
        assert_eq!(shown(&absorbed(&mut user, &[], 120, &config).0), [(1, 1, 10, Trace::None)]);
        assert!(user.taking_back.is_none());
    }

    #[test]
    fn the_newest_retractions_and_skips_are_kept() {
        let config = Config { history: 2, ..Config::default() };
        let mut user = UserState::default();
        let retractions = [(1, 5), (2, 5), (3, 4)].map(|(item, ts)| (item, ts, UNFOLLOW));
        let (history, _) = absorbed(&mut user, &retractions, 10, &config);
        // Nobody without a history has a list.
        assert_eq!(shown(&history), [(2, 0, 0, Trace::Held), (1, 0, 0, Trace::Held)]);
        let skips: Vec<_> = (0..70).map(|n| (100 + n, 20 + n / 2, Effect::Skips)).collect();
        absorbed(&mut user, &skips, 100, &config);
        let kept: Vec<ItemId> = user.taking_back.as_ref().unwrap().skips.iter().map(|(_, item)| *item).collect();
        assert_eq!(kept, (106..170).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_late_pause_drops_what_is_held_and_leaves_the_presence() {
        let config = Config { audience: Audience::Within(30), ..Config::default() };
        let mut user = UserState::default();
        let events =
            [(1, 10, Effect::Counts(2)), (2, 20, Effect::Counts(3)), (1, 21, UNFOLLOW), (3, 22, Effect::Skips)];
        let (history, _) = absorbed(&mut user, &events, 25, &config);
        assert_eq!(shown(&history), [(2, 3, 20, Trace::None), (1, 0, 0, Trace::KeptOut), (3, 0, 0, Trace::KeptOut)]);
        let pause = |ts, control| ControlRecord { user: 1, ts, control, item: None };
        let records = vec![pause(15, Control::Pause), pause(40, Control::Resume)];
        user.set_controls(Rc::new(EventControls::of(records)));
        let (history, _) = absorbed(&mut user, &[], 26, &config);
        assert_eq!(shown(&history), [(1, 2, 10, Trace::None)]);
        // Without the paused events the user would have left at 40.
        assert_eq!(user.exit(26, &config), Some(52));
        // Of the paused events nothing but a time is stored, under an item that is known anyway.
        let stored: Vec<_> = user.events(1).map(|event| (event.item, event.ts, event.effect)).collect();
        assert_eq!(stored, [(1, 10, Effect::Counts(2)), (1, 22, Effect::Attends)]);
    }

    proptest! {
        /// The events of a state make it again, whatever the ticks in which the first ones came.
        #[test]
        fn the_state_is_a_function_of_its_events(
            ticks in prop::collection::vec(
                (prop::collection::vec((0_u64..5, 0_u64..20, any::<prop::sample::Index>()), 0..5), 0_u64..8), 1..12,
            ),
            history in 1_usize..5,
            audience in prop::sample::select(vec![Audience::All, Audience::Within(8)]),
        ) {
            let config = Config { history, audience, retention: 40, skipped: 15, ..Config::default() };
            let effects = [
                Effect::Counts(1), Effect::Counts(4), Effect::Counts(6), RETURN, UNFOLLOW,
                Effect::Retracts { of: 15, leaves: 0 }, Effect::Skips, Effect::Attends,
            ];
            let (mut user, mut all, mut now, mut last) = (UserState::default(), Vec::new(), 100, History::new());
            for (drawn, step) in ticks {
                now += step;
                let events: Vec<_> =
                    drawn.into_iter().map(|(item, age, effect)| (item, now - age, *effect.get(&effects))).collect();
                all.extend_from_slice(&events);
                last = absorbed(&mut user, &events, now, &config).0;
                let mut read = History::new();
                user.history(&config, &mut read);
                prop_assert_eq!(&last, &read);
                prop_assert!(user.due(&config).is_none_or(|due| due > now));
            }
            let stored: Vec<_> = user.events(1).map(|event| (event.item, event.ts, event.effect)).collect();
            let (mut loaded, mut at_once) = (UserState::default(), UserState::default());
            prop_assert_eq!(&absorbed(&mut loaded, &stored, now, &config).0, &last);
            prop_assert_eq!(&absorbed(&mut at_once, &all, now, &config).0, &last);
            prop_assert_eq!(loaded.exit(now, &config), user.exit(now, &config));
            prop_assert_eq!(at_once.due(&config), user.due(&config));
        }
    }
}
