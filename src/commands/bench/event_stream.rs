//! Simulated events of a benchmark: those with a level, with the changes of the audience that they cause, or all.

use std::collections::VecDeque;

use dataflows::{Driver, Event};
use schema::{Effect, Levels, id64};
use simulator::{Generator, Options};

use crate::commands::simulation::generator;
use crate::failure::Failure;
use crate::stop::Stop;

/// Number of events of an endless simulation: more than any benchmark takes, and valid at all rates of at least 1.
pub(super) const ENDLESS: u64 = 3_000_000_000;

/// Batch size of a preload.
const PRELOAD_BATCH: usize = 10_000;

/// A valid event. Names are numbers, so it takes 48 bytes and all events of a step fit into memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedEvent {
    pub(super) ts: u64,
    pub(super) action: &'static str,
    pub(super) user: u32,
    pub(super) item: u32,
    pub(super) room: u32,
    /// Watch time, for `watch`.
    pub(super) dwell_ms: Option<u32>,
    pub(super) effect: Effect,
    /// Whether the event brings its user into the audience.
    pub(super) joins: bool,
}

impl SimulatedEvent {
    /// The event as an input of the graph.
    pub(super) fn event(&self) -> Event {
        let name = |prefix, number| id64(&format!("{prefix}{number}"));
        Event { user: name('u', self.user), item: name('p', self.item), ts: self.ts, effect: self.effect, scope: None }
    }
}

/// Generates events and tracks the audience.
pub(super) struct EventStream {
    generator: Generator,
    levels: Levels,
    /// Whether events without a level are left out.
    only_counting: bool,
    /// Time in ms that a user stays in the audience after an event; unlimited if `None`.
    audience: Option<u64>,
    /// Timestamp of the last event by user; 0 outside the audience.
    newest: Vec<u64>,
    /// Events that may still keep their user in the audience, ordered by timestamp.
    stays: VecDeque<(u64, u32)>,
}

impl EventStream {
    /// The events that have a level.
    pub(super) fn new(options: Options, levels: Levels, audience: Option<u64>) -> Result<Self, Failure> {
        let newest = vec![0; options.users as usize];
        let generator = generator(options).map_err(Failure::Usage)?;
        Ok(EventStream { generator, levels, only_counting: true, audience, newest, stays: VecDeque::new() })
    }

    /// All events, as a run reads them.
    pub(super) fn all(options: Options, levels: Levels) -> Result<Self, Failure> {
        Ok(EventStream { only_counting: false, ..EventStream::new(options, levels, None)? })
    }

    /// The next event. Appends to `left` the users who leave the audience before it.
    pub(super) fn next_event(&mut self, left: &mut Vec<u32>) -> Option<SimulatedEvent> {
        let mut next = loop {
            let event = self.generator.next_event()?;
            let Ok(effect) = self.levels.effect(event.action, event.dwell_ms) else { continue };
            if self.only_counting && effect.level().is_none() {
                continue;
            }
            let number = |name: &str, prefix: &str| {
                let number = name.strip_prefix(prefix).and_then(|digits| digits.parse::<u32>().ok());
                number.expect("simulated names are numbered")
            };
            let (user, item, room) = (number(event.user, "u"), number(event.item, "p"), number(event.room, "room"));
            let dwell_ms = event.dwell_ms.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX));
            let (ts, action) = (event.ts, event.action);
            break SimulatedEvent { ts, action, user, item, room, dwell_ms, effect, joins: false };
        };
        if let Some(span) = self.audience {
            while let Some((ts, user)) = self.stays.front().copied().filter(|(ts, _)| ts + span <= next.ts) {
                self.stays.pop_front();
                // A later event may keep the user in the audience.
                if self.newest[user as usize] == ts {
                    self.newest[user as usize] = 0;
                    left.push(user);
                }
            }
            self.stays.push_back((next.ts, next.user));
        }
        let newest = &mut self.newest[next.user as usize];
        next.joins = std::mem::replace(newest, next.ts) == 0;
        Some(next)
    }

    /// The next `count` events as inputs of the graph; fewer at the end of the simulation.
    pub(super) fn events(&mut self, count: usize) -> Vec<Event> {
        let mut left = Vec::new();
        let next = || {
            left.clear();
            self.next_event(&mut left).map(|event| event.event())
        };
        std::iter::from_fn(next).take(count).collect()
    }

    /// Feeds the next `events` events in large batches and calls `observe` for each. Returns how many were fed.
    pub(super) fn preload(
        &mut self,
        driver: &mut Driver<'_>,
        events: u64,
        stop: &Stop,
        mut observe: impl FnMut(&Event),
    ) -> u64 {
        let mut loaded = 0;
        while loaded < events && !stop.is_set() {
            let count = (events - loaded).min(PRELOAD_BATCH as u64);
            let batch = self.events(usize::try_from(count).expect("at most a batch"));
            if batch.is_empty() {
                break;
            }
            batch.iter().for_each(&mut observe);
            driver.tick(&batch);
            loaded += batch.len() as u64;
        }
        loaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with a scan of all earlier events.
    #[test]
    fn tracks_users_who_join_and_leave_the_audience() {
        let options = Options { events: 5_000, users: 300, items: 50, rooms: 3, ..Options::default() };
        let span = 700;
        let mut stream =
            EventStream::new(options, Levels::default(), Some(span)).unwrap_or_else(|_| panic!("valid options"));
        let (mut left, mut all, mut joined, mut gone) = (Vec::new(), Vec::<SimulatedEvent>::new(), 0, 0);
        while let Some(event) = stream.next_event(&mut left) {
            let mut before = all.iter().rev().filter(|other| other.user == event.user);
            assert_eq!(event.joins, before.next().is_none_or(|last| last.ts + span <= event.ts));
            for user in left.drain(..) {
                let last = all.iter().rev().find(|other| other.user == user).expect("an earlier event");
                assert!(last.ts + span <= event.ts && last.ts + span > all.last().unwrap().ts);
                gone += 1;
            }
            joined += u32::from(event.joins);
            all.push(event);
        }
        assert!(joined > 100 && gone > 100 && joined >= gone, "{joined} {gone}");
    }
}
