//! Simulated events as a benchmark offers them: those that count, with what is known of their users beforehand.

use simulator::{Generator, Options};
use std::collections::VecDeque;

use dataflows::Event;
use schema::{Effect, Levels, id64};

use crate::commands::generate;
use crate::failure::Failure;

/// More than any benchmark takes, at any rate of the simulation less than the hundred years it may last.
pub(super) const ENDLESS: u64 = 3_000_000_000;

/// An event that counts. Names are numbers: 48 bytes, so that a whole step can be made before it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedEvent {
    pub(super) ts: u64,
    pub(super) action: &'static str,
    pub(super) user: u32,
    pub(super) item: u32,
    pub(super) room: u32,
    /// For `watch`.
    pub(super) dwell_ms: Option<u32>,
    pub(super) level: u8,
    /// It brings its user into the audience.
    pub(super) joins: bool,
}

impl SimulatedEvent {
    /// As the graph takes it.
    pub(super) fn event(&self) -> Event {
        let name = |prefix, number| id64(&format!("{prefix}{number}"));
        Event { user: name('u', self.user), item: name('p', self.item), ts: self.ts, level: self.level, scope: None }
    }
}

/// Makes events one after the other. What the levels ignore is left out: an event offered is an event that works.
pub(super) struct EventStream {
    generator: Generator,
    levels: Levels,
    /// How long a user stays in the audience after an event; for ever if `None`.
    audience: Option<u64>,
    /// By user, the newest event while it keeps them in the audience; 0 outside.
    newest: Vec<u64>,
    /// Every event that may still keep somebody in the audience, in order.
    stays: VecDeque<(u64, u32)>,
}

impl EventStream {
    pub(super) fn new(options: Options, levels: Levels, audience: Option<u64>) -> Result<Self, Failure> {
        let newest = vec![0; options.users as usize];
        let generator = Generator::new(options).map_err(|errors| Failure::Usage(generate::mistakes(&errors)))?;
        Ok(EventStream { generator, levels, audience, newest, stays: VecDeque::new() })
    }

    /// The next event, and into `left` the users who leave the audience as it comes.
    pub(super) fn next_event(&mut self, left: &mut Vec<u32>) -> Option<SimulatedEvent> {
        let (mut offered, user) = loop {
            let event = self.generator.next_event()?;
            let Ok(Effect::Counts(level)) = self.levels.effect(event.action, event.dwell_ms) else { continue };
            let number = |name: &str, prefix: &str| {
                let number = name.strip_prefix(prefix).and_then(|digits| digits.parse::<u32>().ok());
                number.expect("the simulation numbers its users, items and rooms")
            };
            let (user, item, room) = (number(event.user, "u"), number(event.item, "p"), number(event.room, "room"));
            let dwell_ms = event.dwell_ms.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX));
            let (ts, action) = (event.ts, event.action);
            break (SimulatedEvent { ts, action, user, item, room, dwell_ms, level, joins: false }, user);
        };
        if let Some(span) = self.audience {
            while let Some((ts, user)) = self.stays.front().copied().filter(|(ts, _)| ts + span <= offered.ts) {
                self.stays.pop_front();
                // Unless a later event keeps them.
                if self.newest[user as usize] == ts {
                    self.newest[user as usize] = 0;
                    left.push(user);
                }
            }
            self.stays.push_back((offered.ts, user));
        }
        let newest = &mut self.newest[user as usize];
        offered.joins = std::mem::replace(newest, offered.ts) == 0;
        Some(offered)
    }

    /// The next `count` events as the graph takes them, fewer at the end of the simulation.
    pub(super) fn events(&mut self, count: usize) -> Vec<Event> {
        let mut left = Vec::new();
        let next = || {
            left.clear();
            self.next_event(&mut left).map(|offered| offered.event())
        };
        std::iter::from_fn(next).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a look at all events before.
    #[test]
    fn who_joins_and_who_leaves_is_known_beforehand() {
        let options = Options { events: 5_000, users: 300, items: 50, rooms: 3, ..Options::default() };
        let span = 700;
        let mut maker =
            EventStream::new(options, Levels::default(), Some(span)).unwrap_or_else(|_| panic!("valid options"));
        let (mut left, mut all, mut joined, mut gone) = (Vec::new(), Vec::<SimulatedEvent>::new(), 0, 0);
        while let Some(event) = maker.next_event(&mut left) {
            let mut before = all.iter().rev().filter(|other| other.user == event.user);
            assert_eq!(event.joins, before.next().is_none_or(|last| last.ts + span <= event.ts));
            for user in left.drain(..) {
                let last = all.iter().rev().find(|other| other.user == user).expect("they were there");
                assert!(last.ts + span <= event.ts && last.ts + span > all.last().unwrap().ts);
                gone += 1;
            }
            joined += u32::from(event.joins);
            all.push(event);
        }
        assert!(joined > 100 && gone > 100 && joined >= gone, "{joined} {gone}");
    }
}
