//! A log in memory: events with an effect, ordered by time, with names as numbers.

use connectors::{Batch, Polled, RawEvent, RejectLog};
use dataflows::Event;
use dataflows::types::{ItemId, UserId};
use schema::{Effect, IdMap, Levels, Reason, id64};

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
}

const NO_DWELL: u32 = u32::MAX;

/// Events with an effect, ordered by timestamp, then by input, then by line.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) events: Vec<LogEvent>,
    /// Ids of users by number, in order of appearance.
    pub(super) users: Vec<UserId>,
    /// Ids of items by number, in order of appearance.
    pub(super) items: Vec<ItemId>,
    actions: Vec<String>,
    /// Number of valid events that the levels ignore.
    pub(super) ignored: u64,
    pub(super) rejected: u64,
    /// Whether the log was truncated at the limit.
    pub(super) cut: bool,
}

impl Log {
    /// Reads all inputs, validates events as a run with this configuration does, and sorts them. Reads at most `limit`
    /// events. `None` if it was stopped.
    pub(super) fn read(
        inputs: Vec<Input>,
        config: &Config,
        limit: usize,
        progress: &mut Progress,
        stop: &Stop,
    ) -> Result<Option<Self>, Failure> {
        let mut builder = Builder::default();
        let mut rejects = RejectLog::default();
        let latest = latest(config.input.max_skew);
        let mut reject = |rejected: &schema::Rejected| {
            rejects.record(rejected).map_err(|error| Failure::Running(anyhow::Error::new(error)))
        };
        'inputs: for mut input in inputs {
            let mut batch = Batch::default();
            let mut polled = Polled::Ready;
            while polled != Polled::Finished {
                if stop.is_set() {
                    return Ok(None);
                }
                batch.clear();
                polled = input.source.poll(&mut batch).map_err(|error| Failure::Running(error.into()))?;
                batch.rejected.iter().try_for_each(&mut reject)?;
                for event in (0..batch.len()).filter_map(|at| batch.get(at)) {
                    let reason = match config.levels.effect(event.action, event.dwell_ms) {
                        Err(reason) => reason,
                        Ok(_) if event.ts > latest => Reason::Future { ts: event.ts, limit: latest },
                        Ok(Effect::Ignored) => {
                            builder.log.ignored += 1;
                            continue;
                        }
                        Ok(Effect::Counts(_)) if builder.log.events.len() < limit => match builder.push(event) {
                            Ok(()) => continue,
                            Err(reason) => reason,
                        },
                        Ok(Effect::Counts(_)) => {
                            builder.log.cut = true;
                            break 'inputs;
                        }
                    };
                    reject(&rejected(reason, input.source.name(), event))?;
                }
                progress.at(builder.log.events.len());
            }
        }
        let mut log = builder.log;
        log.rejected = rejects.total();
        // A stable sort keeps the order of the inputs.
        log.events.sort_by_key(|event| event.ts);
        Ok(Some(log))
    }

    /// Level of an event under other levels than those it was read with; `None` if they ignore or reject it.
    fn level(&self, event: &LogEvent, levels: &Levels) -> Option<u8> {
        let dwell_ms = Some(event.dwell_ms).filter(|ms| *ms != NO_DWELL).map(i64::from);
        match levels.effect(&self.actions[usize::from(event.action)], dwell_ms) {
            Ok(Effect::Counts(level)) => Some(level),
            Ok(Effect::Ignored) | Err(_) => None,
        }
    }

    /// The event as an input of the graph.
    pub(super) fn event(&self, event: &LogEvent, levels: &Levels) -> Option<Event> {
        let level = self.level(event, levels)?;
        Some(Event {
            user: self.users[event.user as usize],
            item: self.items[event.item as usize],
            ts: event.ts,
            level,
            scope: None,
        })
    }
}

#[derive(Default)]
struct Builder {
    log: Log,
    users: Numbers,
    items: Numbers,
}

/// Numbers and names by id.
type Numbers = IdMap<(u32, Box<str>)>;

impl Builder {
    /// Fails if a name has the id of another one.
    fn push(&mut self, event: RawEvent<'_>) -> Result<(), Reason> {
        let user = number(&mut self.users, &mut self.log.users, "user", event.user)?;
        let item = number(&mut self.items, &mut self.log.items, "item", event.item)?;
        let actions = &mut self.log.actions;
        let action = actions.iter().position(|action| action == event.action).unwrap_or_else(|| {
            actions.push(event.action.to_owned());
            actions.len() - 1
        });
        let dwell_ms = event.dwell_ms.map_or(NO_DWELL, |ms| u32::try_from(ms).unwrap_or(NO_DWELL - 1));
        let action = u16::try_from(action).expect("an action of the configuration");
        self.log.events.push(LogEvent { ts: event.ts, user, item, dwell_ms, action });
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
            builder.push(RawEvent::new(user, item, "view", *ts, position)).unwrap();
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
            builder.push(RawEvent::new(user, "x", "view", 1, position))
        };
        push("u13758").unwrap();
        assert!(matches!(push("=,CGPL9A"), Err(Reason::NameCollision { field: "user", .. })));
        push("u13758").unwrap();
        assert_eq!((builder.log.users.len(), builder.log.events.len()), (1, 2));
    }

    #[test]
    fn sorts_events_by_time_and_interns_names() {
        let log = log(&[("b", "x", 5), ("a", "x", 3), ("a", "y", 5)]);
        let events: Vec<_> = log.events.iter().map(|event| (event.user, event.item, event.ts)).collect();
        assert_eq!(events, [(1, 0, 3), (0, 0, 5), (1, 1, 5)]);
        assert_eq!(log.users, [id64("b"), id64("a")]);
        let event = log.event(&log.events[0], &Levels::default()).unwrap();
        assert_eq!(event, Event { user: id64("a"), item: id64("x"), ts: 3, level: 1, scope: None });
    }
}
