//! Warnings about inputs that are valid and probably not what the user meant.

use std::collections::BTreeMap;

use schema::{Reason, looks_like_seconds, shown};

use super::inputs::InputRecord;
use crate::engine::progress::timestamp;

/// Unknown actions that the warning names.
const LISTED_ACTIONS: usize = 20;

/// Jumps of the event clock that are reported one by one.
const REPORTED_JUMPS: u64 = 3;

/// Records in a row that `input.max_jump` rejects before it is probably wrong itself.
const REPORTED_REJECTED_JUMPS: u64 = 100;

/// What the records of a run have in common.
#[derive(Debug)]
pub(super) struct InputChecks {
    /// The clock moves by the timestamps of events.
    follows_events: bool,
    retention: u64,
    jumps: u64,
    /// Records rejected one after the other because of `input.max_jump`.
    rejected_jumps: u64,
    /// Events, and those of them whose timestamp looks like seconds.
    events: u64,
    in_seconds: u64,
    /// Least timestamp of a catalogue record; [`u64::MAX`] without one.
    first_item: u64,
    /// Latest time of the run.
    latest: u64,
    /// Numbers of records by unknown action: the first ones, and those with any other.
    unknown: BTreeMap<String, u64>,
    more_unknown: u64,
}

impl InputChecks {
    pub(super) fn new(follows_events: bool, retention: u64) -> Self {
        InputChecks {
            follows_events,
            retention,
            jumps: 0,
            rejected_jumps: 0,
            events: 0,
            in_seconds: 0,
            first_item: u64::MAX,
            latest: 0,
            unknown: BTreeMap::new(),
            more_unknown: 0,
        }
    }

    /// A record was taken. An event moved the time of the run from `before` to `after`.
    pub(super) fn taken(&mut self, source: &str, record: InputRecord<'_>, before: u64, after: u64) {
        let event = match record {
            InputRecord::Event(event) => event,
            InputRecord::Item(item) => return self.first_item = self.first_item.min(item.ts),
            InputRecord::Control(_) => return,
        };
        self.events += 1;
        self.rejected_jumps = 0;
        self.latest = after;
        self.in_seconds += u64::from(looks_like_seconds(event.ts));
        if !self.follows_events || before == 0 || after - before <= self.retention {
            return;
        }
        self.jumps += 1;
        if self.jumps > REPORTED_JUMPS {
            return;
        }
        let place = event.position.place(source);
        let (from, to) = (timestamp(before).unwrap_or_default(), timestamp(after).unwrap_or_default());
        tracing::warn!(
            "{place}: time jumps from {from} to {to}, by more than graph.retention: all events before have expired; if this \
             timestamp is wrong, leave the record out (--where), or sort the input by time"
        );
    }

    /// A record was rejected.
    pub(super) fn rejected(&mut self, reason: &Reason) {
        if let Reason::TimeJump { latest, .. } = reason {
            self.rejected_jumps += 1;
            if self.rejected_jumps == REPORTED_REJECTED_JUMPS {
                tracing::warn!(
                    "{REPORTED_REJECTED_JUMPS} records in a row were rejected because of input.max_jump, and time stands at {}: if \
                     the input paused, restart with a longer input.max_jump, or without it",
                    timestamp(*latest).unwrap_or_default()
                );
            }
            return;
        }
        let Reason::UnknownAction { action } = reason else { return };
        let is_full = self.unknown.len() >= LISTED_ACTIONS;
        match self.unknown.get_mut(action) {
            Some(count) => *count += 1,
            None if is_full => self.more_unknown += 1,
            None => drop(self.unknown.insert(action.clone(), 1)),
        }
    }

    /// Reports what holds for all records, at the end of the inputs.
    pub(super) fn report(&self) {
        if self.jumps > REPORTED_JUMPS {
            tracing::warn!("time jumped by more than graph.retention {} times in all", self.jumps);
        }
        if (1..REPORTED_REJECTED_JUMPS).contains(&self.rejected_jumps) {
            tracing::warn!(
                "the last records, {} in number, were rejected because of input.max_jump: if the input paused before them, start \
                 again with a longer input.max_jump, or without it",
                self.rejected_jumps
            );
        }
        if self.events > 0 && self.in_seconds == self.events && self.follows_events {
            tracing::warn!(
                "all events lie in 1970: their timestamps look like seconds, use --columns ts=NAME:s (or ts=NAME:s after ? of \
                 the input)"
            );
        }
        if self.follows_events && self.first_item < u64::MAX && self.first_item > self.latest {
            tracing::warn!(
                "the whole catalogue lies after the last event, from {} on: nothing of it held while lists were computed; add \
                 --catalogue-time 0 if it has always been so",
                timestamp(self.first_item).unwrap_or_default()
            );
        }
        // The first unknown action was logged as the first rejected record of its kind.
        if self.unknown.len() > 1 {
            let names: Vec<String> =
                self.unknown.iter().map(|(action, count)| format!("`{}` {count}", shown(action))).collect();
            let more = match self.more_unknown {
                0 => String::new(),
                more => format!(", and {more} records with others"),
            };
            tracing::warn!(
                "unknown actions: {}{more}; add a level under [levels] for those that count, and an entry under [retractions] for \
                 those that take back another",
                names.join(", ")
            );
        }
    }
}
