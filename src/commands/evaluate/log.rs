//! A log in memory: events ordered by time, with names as numbers. Those with a level are predicted and learnt. The others are
//! for the graph only.
//!
//! Nothing depends on the order of the lines: many logs have only dates, and sorting such a log by item would decide
//! which of a day's events is the last one.

use std::cmp::Ordering;
use std::collections::HashMap;

use connectors::{Batch, Polled, RawEvent, RejectLog};
use dataflows::Event;
use dataflows::types::{ItemId, UserId};
use schema::{Effect, IdMap, Levels, Reason, id64, mix};

use super::progress::Progress;
use crate::config::Config;
use crate::engine::{Input, latest, rejected};
use crate::failure::Failure;
use crate::stop::Stop;

/// Event of the log; 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogEvent {
    pub(super) ts: u64,
    pub(super) user: u32,
    pub(super) item: u32,
    /// Watch time, or [`NO_DWELL`].
    dwell_ms: u32,
    action: u16,
    /// Whether it has a level.
    counts: bool,
}

/// An event without a level: a retraction, a skip, or one that only shows that its user is there. 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OtherEvent {
    pub(super) ts: u64,
    /// It need not be an item of the log.
    item: ItemId,
    pub(super) user: u32,
    dwell_ms: u32,
    action: u16,
}

const NO_DWELL: u32 = u32::MAX;

/// Events ordered by timestamp. Events of the same time are in a random order, drawn from the seed.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Those with a level.
    pub(super) events: Vec<LogEvent>,
    /// Those without one, of users that have events with a level.
    pub(super) others: Vec<OtherEvent>,
    /// Ids of users by number, in order of appearance.
    pub(super) users: Vec<UserId>,
    /// Ids of items by number, in order of appearance.
    pub(super) items: Vec<ItemId>,
    actions: Vec<String>,
    /// Number of users with events on several items at one time: their order is drawn.
    pub(super) tied_users: usize,
    /// Number of events that take back others.
    pub(super) retractions: u64,
    pub(super) skips: u64,
    /// Number of other valid events without a level.
    pub(super) ignored: u64,
    pub(super) rejected: u64,
    /// Whether the log had more events than the limit, of which the earliest were kept.
    pub(super) cut: bool,
}

impl Log {
    /// Reads all inputs, validates events as a run with this configuration does, and sorts them; `seed` draws the order of
    /// events of the same time. Keeps the first `limit` events in this order. `None` if it was stopped.
    pub(super) fn read(
        inputs: Vec<Input>,
        config: &Config,
        limit: usize,
        seed: u64,
        progress: &mut Progress,
        stop: &Stop,
    ) -> Result<Option<Self>, Failure> {
        let mut builder = Builder::default();
        let mut rejects = RejectLog::default();
        let latest = latest(config.input.max_skew);
        let mut reject = |rejected: &schema::Rejected| {
            rejects.record(rejected).map_err(|error| Failure::Running(anyhow::Error::new(error)))
        };
        for mut input in inputs {
            let mut batch = Batch::default();
            let mut polled = Polled::Ready;
            while polled != Polled::Finished {
                if stop.is_set() {
                    return Ok(None);
                }
                batch.clear();
                polled = input.source.poll(&mut batch).map_err(|error| Failure::Running(error.into()))?;
                batch.rejected.iter().try_for_each(&mut reject)?;
                for (at, event) in (0..batch.len()).filter_map(|at| Some((at, batch.get(at)?))) {
                    let reason = match config.levels.effect(event.action, event.dwell_ms) {
                        Err(reason) => reason,
                        Ok(_) if event.ts > latest => Reason::Future { ts: event.ts, limit: latest },
                        Ok(effect) => match builder.push(event, effect) {
                            Ok(()) => continue,
                            Err(reason) => reason,
                        },
                    };
                    rejected::<schema::Event>(reason, &*input.source, &batch, at).iter().try_for_each(&mut reject)?;
                }
                // Each time an eighth has come on top, so that an event is moved eight times at most.
                if builder.log.events.len() > limit + limit / 8 + 10_000 {
                    builder.keep_earliest(limit, seed);
                }
                progress.at(builder.log.events.len());
            }
        }
        builder.keep_earliest(limit, seed);
        let mut log = builder.log;
        log.rejected = rejects.total();
        log.sort(seed);
        log.tied_users = log.count_tied_users();
        Ok(Some(log))
    }

    /// Sorts the events, separates those without a level, and numbers the users and items of the others in the order in which
    /// they appear then.
    fn sort(&mut self, seed: u64) {
        let Log { events, others, users, items, actions, .. } = self;
        events.sort_unstable_by(in_order(users, items, actions, seed));
        others.extend(events.iter().filter(|event| !event.counts).map(|event| OtherEvent {
            ts: event.ts,
            item: items[event.item as usize],
            user: event.user,
            dwell_ms: event.dwell_ms,
            action: event.action,
        }));
        events.retain(|event| event.counts);
        let numbered = renumber(events, users, |event| &mut event.user);
        let numbers: IdMap<u32> = numbered.iter().copied().zip(0..).collect();
        others.retain_mut(|event| match numbers.get(&users[event.user as usize]) {
            Some(number) => {
                event.user = *number;
                true
            }
            // It has no list that could be predicted or that anything could follow from.
            None => false,
        });
        *users = numbered;
        *items = renumber(events, items, |event| &mut event.item);
    }

    fn count_tied_users(&self) -> usize {
        let mut tied = vec![false; self.users.len()];
        let mut first_item: IdMap<u32> = IdMap::default();
        for at_one_time in self.events.chunk_by(|a, b| a.ts == b.ts).filter(|events| events.len() > 1) {
            first_item.clear();
            for event in at_one_time {
                let first = *first_item.entry(u64::from(event.user)).or_insert(event.item);
                tied[event.user as usize] |= first != event.item;
            }
        }
        tied.iter().filter(|tied| **tied).count()
    }

    /// Effect of an event under other levels than those it was read with; `None` if they reject it.
    fn effect(&self, action: u16, dwell_ms: u32, levels: &Levels) -> Option<Effect> {
        let dwell_ms = Some(dwell_ms).filter(|ms| *ms != NO_DWELL).map(i64::from);
        levels.effect(&self.actions[usize::from(action)], dwell_ms).ok()
    }

    /// The event as an input of the graph.
    pub(super) fn event(&self, event: &LogEvent, levels: &Levels) -> Option<Event> {
        let effect = self.effect(event.action, event.dwell_ms, levels)?;
        let (user, item) = (self.users[event.user as usize], self.items[event.item as usize]);
        Some(Event { user, item, ts: event.ts, effect, scope: None })
    }

    /// An event without a level as an input of the graph.
    pub(super) fn other_event(&self, event: &OtherEvent, levels: &Levels) -> Option<Event> {
        let effect = self.effect(event.action, event.dwell_ms, levels)?;
        Some(Event { user: self.users[event.user as usize], item: event.item, ts: event.ts, effect, scope: None })
    }
}

/// The order of events: by time, and at the same time as drawn from the seed.
fn in_order(
    users: &[UserId],
    items: &[ItemId],
    actions: &[String],
    seed: u64,
) -> impl Fn(&LogEvent, &LogEvent) -> Ordering {
    let draw = move |event: &LogEvent| {
        let (user, item) = (users[event.user as usize], items[event.item as usize]);
        // Ids and actions settle what a collision of the draw, and events that differ in the action only, leave open.
        (mix(mix(mix(seed) ^ user) ^ item), user, item, &actions[usize::from(event.action)], event.dwell_ms)
    };
    move |a, b| a.ts.cmp(&b.ts).then_with(|| draw(a).cmp(&draw(b)))
}

/// Numbers the ids by their first event. Returns the ids by their new numbers.
fn renumber(events: &mut [LogEvent], ids: &[u64], number: fn(&mut LogEvent) -> &mut u32) -> Vec<u64> {
    let mut numbers = vec![None; ids.len()];
    let mut renumbered = Vec::with_capacity(ids.len());
    for event in events {
        let old = number(event);
        *old = *numbers[*old as usize].get_or_insert_with(|| {
            renumbered.push(ids[*old as usize]);
            renumbered.len() as u32 - 1
        });
    }
    renumbered
}

#[derive(Default)]
struct Builder {
    log: Log,
    users: Numbers,
    items: Numbers,
    actions: HashMap<String, u16>,
}

/// Numbers and names by id.
type Numbers = IdMap<(u32, Box<str>)>;

impl Builder {
    /// Drops all events but the first `limit` in their order, which is not that of the lines, and the names of the others.
    fn keep_earliest(&mut self, limit: usize, seed: u64) {
        let Log { events, users, items, actions, cut, .. } = &mut self.log;
        if events.len() <= limit {
            return;
        }
        *cut = true;
        events.select_nth_unstable_by(limit, in_order(users, items, actions, seed));
        events.truncate(limit);
        *users = renumber(events, users, |event| &mut event.user);
        *items = renumber(events, items, |event| &mut event.item);
        for (numbers, ids) in [(&mut self.users, &*users), (&mut self.items, &*items)] {
            let mut names = std::mem::take(numbers);
            let kept = ids.iter().zip(0..).filter_map(|(id, number)| Some((*id, (number, names.remove(id)?.1))));
            *numbers = kept.collect();
        }
    }

    /// Fails if a name has the id of another one.
    fn push(&mut self, event: RawEvent<'_>, effect: Effect) -> Result<(), Reason> {
        let user = number(&mut self.users, &mut self.log.users, "user", event.user)?;
        let item = number(&mut self.items, &mut self.log.items, "item", event.item)?;
        let action = self.actions.get(event.action).copied().unwrap_or_else(|| {
            let number = u16::try_from(self.log.actions.len()).expect("the configuration bounds the actions");
            self.log.actions.push(event.action.to_owned());
            self.actions.insert(event.action.to_owned(), number);
            number
        });
        let dwell_ms = event.dwell_ms.map_or(NO_DWELL, |ms| u32::try_from(ms).unwrap_or(NO_DWELL - 1));
        let counts = effect.level().is_some();
        self.log.events.push(LogEvent { ts: event.ts, user, item, dwell_ms, action, counts });
        match effect {
            Effect::Counts(_) => {}
            Effect::Retracts { .. } => self.log.retractions += 1,
            Effect::Skips => self.log.skips += 1,
            Effect::Attends => self.log.ignored += 1,
        }
        Ok(())
    }
}

/// Interns a name. As in a run, the later of two names with the same id is rejected. Ids are those without a key, so that an
/// evaluation can be repeated anywhere.
fn number(numbers: &mut Numbers, ids: &mut Vec<u64>, field: &'static str, name: &str) -> Result<u32, Reason> {
    let id = id64(name);
    let (number, known) = numbers.entry(id).or_insert_with(|| {
        ids.push(id);
        (u32::try_from(ids.len() - 1).expect("fewer than 2^32 events"), name.into())
    });
    if **known == *name {
        return Ok(*number);
    }
    Err(Reason::NameCollision { field, name: name.to_owned(), known: known.as_ref().to_owned() })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A log of views: `(user, item, ts)`.
    pub(in super::super) fn log(events: &[(&str, &str, u64)]) -> Log {
        let mut builder = Builder::default();
        for (user, item, ts) in events {
            let position = schema::Position::Line { line: 1, byte: 0 };
            builder.push(RawEvent::new(user, item, "view", *ts, position), Effect::Counts(1)).unwrap();
        }
        let mut log = builder.log;
        log.events.sort_by_key(|event| event.ts);
        log
    }

    #[test]
    fn the_later_of_two_names_with_one_id_is_rejected() {
        let mut builder = Builder::default();
        let mut push = |user| {
            let position = schema::Position::Line { line: 1, byte: 0 };
            builder.push(RawEvent::new(user, "x", "view", 1, position), Effect::Counts(1))
        };
        push("u13758").unwrap();
        assert!(matches!(push("=,CGPL9A"), Err(Reason::NameCollision { field: "user", .. })));
        push("u13758").unwrap();
        assert_eq!((builder.log.users.len(), builder.log.events.len()), (1, 2));
    }

    #[test]
    fn the_order_of_lines_does_not_matter() {
        let mut lines: Vec<(String, String, u64)> = Vec::new();
        for n in 0..60_u64 {
            lines.push((format!("u{}", n % 7), format!("p{}", n % 11), n / 20));
        }
        let sorted = |lines: &[(String, String, u64)], seed| {
            let events: Vec<_> = lines.iter().map(|(user, item, ts)| (user.as_str(), item.as_str(), *ts)).collect();
            let mut log = log(&events);
            log.sort(seed);
            assert_eq!(log.count_tied_users(), 7);
            (log.events, log.users, log.items)
        };
        let expected = sorted(&lines, 1);
        assert_ne!(sorted(&lines, 2).0, expected.0, "another seed draws another order");
        for _ in 0..20 {
            lines.rotate_left(7);
            lines.swap(3, 31);
            lines.reverse();
            assert_eq!(sorted(&lines, 1), expected);
        }
    }

    #[test]
    fn the_earliest_events_are_kept_whatever_the_order_of_lines() {
        let mut lines: Vec<(String, String, u64)> =
            (0..60_u64).map(|n| (format!("u{}", n % 7), format!("p{}", n % 11), n / 20)).collect();
        let kept = |lines: &[(String, String, u64)], limit, step: usize| {
            let mut builder = Builder::default();
            for (at, (user, item, ts)) in lines.iter().enumerate() {
                let position = schema::Position::Line { line: 1, byte: 0 };
                builder.push(RawEvent::new(user, item, "view", *ts, position), Effect::Counts(1)).unwrap();
                if at % step == 0 {
                    builder.keep_earliest(limit, 5);
                }
            }
            builder.keep_earliest(limit, 5);
            assert_eq!((builder.users.len(), builder.log.cut), (builder.log.users.len(), limit < 60));
            let mut log = builder.log;
            log.sort(5);
            (log.events, log.users, log.items)
        };
        let (all, ..) = kept(&lines, 60, 1);
        for limit in [1, 7, 25, 59] {
            let expected = kept(&lines, limit, 100);
            assert!(expected.0.iter().map(|event| event.ts).eq(all[..limit].iter().map(|event| event.ts)));
            for step in [1, 3, 50] {
                lines.rotate_left(7);
                lines.swap(3, 31);
                lines.reverse();
                assert_eq!(kept(&lines, limit, step), expected, "{limit} {step}");
            }
        }
    }

    #[test]
    fn users_are_tied_by_two_items_at_one_time() {
        let events = [("a", "x", 1), ("a", "x", 1), ("b", "x", 1), ("b", "y", 1), ("c", "x", 1), ("c", "y", 2)];
        assert_eq!(log(&events).count_tied_users(), 1);
    }

    #[test]
    fn events_without_a_level_are_apart_and_number_nothing() {
        let mut builder = Builder::default();
        let levels = Levels::default();
        for (user, item, action, ts) in [
            ("c", "x", "unlike", 1),
            ("b", "y", "dislike", 2),
            ("a", "x", "view", 3),
            ("b", "x", "cart", 4),
            ("a", "z", "return", 5),
            ("b", "x", "cancel", 4),
        ] {
            let position = schema::Position::Line { line: 1, byte: 0 };
            let effect = levels.effect(action, None).unwrap();
            builder.push(RawEvent::new(user, item, action, ts, position), effect).unwrap();
        }
        let mut log = builder.log;
        log.sort(1);
        assert_eq!((&log.users[..], &log.items[..]), (&[id64("a"), id64("b")][..], &[id64("x")][..]));
        assert_eq!(log.events.iter().map(|event| event.ts).collect::<Vec<_>>(), [3, 4]);
        let others: Vec<Event> = log.others.iter().filter_map(|event| log.other_event(event, &levels)).collect();
        let event = |user, item, ts, of, leaves| {
            let effect = Effect::Retracts { of, leaves };
            Event { user: id64(user), item: id64(item), ts, effect, scope: None }
        };
        assert_eq!(others, [event("b", "y", 2, 15, 0), event("b", "x", 4, 6, 1), event("a", "z", 5, 6, 1)]);
        assert_eq!((log.retractions, log.skips, log.ignored), (4, 0, 0));
    }

    #[test]
    fn sorts_events_by_time_and_interns_names() {
        let log = log(&[("b", "x", 5), ("a", "x", 3), ("a", "y", 5)]);
        let events: Vec<_> = log.events.iter().map(|event| (event.user, event.item, event.ts)).collect();
        assert_eq!(events, [(1, 0, 3), (0, 0, 5), (1, 1, 5)]);
        assert_eq!(log.users, [id64("b"), id64("a")]);
        let event = log.event(&log.events[0], &Levels::default()).unwrap();
        assert_eq!(event, Event { user: id64("a"), item: id64("x"), ts: 3, effect: Effect::Counts(1), scope: None });
    }
}
