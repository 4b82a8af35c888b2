//! Splits a log into training events and test cases.

mod arguments;
mod at_once;
mod timeline;

use std::ops::Range;

use serde::Serialize;

use super::log::{Log, LogEvent, OtherEvent};

pub(super) use self::arguments::ProtocolArgs;
pub(super) use self::timeline::Timeline;

/// Split of a log. Serialised for the report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub(super) enum Protocol {
    /// The last events of each user are predicted together from all other events, earlier or later.
    Last {
        /// Number of events held out of each user.
        last: usize,
    },
    /// Each event is predicted from the state just before it, then used for training.
    Prequential {
        /// First predicted event; earlier ones are used for training only.
        from: Cut,
        /// Largest number of events predicted from one state, at least 1.
        tick: usize,
    },
    /// Each event but the first of the users that begin at the cut or later is predicted from the state just before it,
    /// then used for training. Later events of earlier users are left out.
    Sessions {
        /// First event of the earliest test user.
        from: Cut,
        /// Largest number of events predicted from one state, at least 1.
        tick: usize,
    },
    /// The last visit of each user is predicted from the state just before it.
    NextVisit {
        /// Shortest pause between two visits.
        gap_ms: u64,
    },
    /// All later events of a user are predicted at once from all earlier events.
    Time {
        /// First predicted event.
        from: Cut,
    },
}

/// Position in a log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Cut {
    /// After this share of the events, 0 to 1.
    Share(f64),
    /// At the first event at or after this millisecond.
    #[serde(rename = "ms")]
    At(u64),
}

impl Cut {
    /// Index of the first event after the cut, and its time. Events of the same millisecond stay together.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn apply(self, log: &Log) -> (usize, Option<u64>) {
        let at = match self {
            Cut::Share(share) => {
                let position = (share * log.events.len() as f64).round() as usize;
                let Some(event) = log.events.get(position) else { return (log.events.len(), None) };
                event.ts
            }
            Cut::At(ms) => ms,
        };
        (log.events.partition_point(|event| event.ts < at), Some(at))
    }
}

/// Test case: a user and the items of the predicted events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) user: u32,
    /// Relevant items, without duplicates.
    pub(super) relevant: Vec<u32>,
}

/// A protocol applied to a log.
#[derive(Debug)]
pub(super) struct Plan {
    /// Indices of the training events before the first prediction, ascending.
    pub(super) train: Vec<u32>,
    pub(super) steps: Steps,
    /// Times by user from which events without a level are left out.
    others_end: Vec<u64>,
}

#[derive(Debug)]
pub(super) enum Steps {
    /// Cases predicted from the training events.
    AtOnce {
        cases: Vec<Case>,
        /// Time of the predictions. Without one nothing expires.
        at: Option<u64>,
    },
    /// Cases predicted from the states just before them.
    InTime(Timeline),
}

impl Protocol {
    pub(super) fn plan(self, log: &Log) -> Plan {
        match self {
            Protocol::Last { last } => at_once::last(log, last),
            Protocol::Prequential { from, tick } => timeline::prequential(log, from, tick),
            Protocol::Sessions { from, tick } => timeline::sessions(log, from, tick),
            Protocol::NextVisit { gap_ms } => timeline::next_visit(log, gap_ms),
            Protocol::Time { from } => at_once::time(log, from),
        }
    }

    /// Whether the predictions have a point in time, so that events expire and users leave the audience.
    pub(super) fn has_time(self) -> bool {
        !matches!(self, Protocol::Last { .. })
    }

    /// Whether each case has one relevant item, so that recall equals the hit rate.
    pub(super) fn is_single(self) -> bool {
        match self {
            Protocol::Last { last } => last == 1,
            Protocol::Prequential { .. } | Protocol::Sessions { .. } => true,
            Protocol::NextVisit { .. } | Protocol::Time { .. } => false,
        }
    }
}

impl Plan {
    /// Number of cases.
    pub(super) fn cases(&self) -> usize {
        match &self.steps {
            Steps::AtOnce { cases, .. } => cases.len(),
            Steps::InTime(timeline) => timeline.cases(),
        }
    }

    /// Whether events expire.
    pub(super) fn has_time(&self) -> bool {
        !matches!(self.steps, Steps::AtOnce { at: None, .. })
    }

    /// Events that are used for training until the end.
    pub(super) fn learnt<'l>(&'l self, log: &'l Log) -> impl Iterator<Item = &'l LogEvent> {
        let later = match &self.steps {
            Steps::AtOnce { .. } => None,
            Steps::InTime(timeline) => Some(timeline.steps(log).map(|step| step.event)),
        };
        let train = self.train.iter().map(|position| &log.events[*position as usize]);
        train.chain(later.into_iter().flatten())
    }

    /// Number of events without a level that happened before the first prediction.
    pub(super) fn others_before(&self, log: &Log) -> usize {
        match &self.steps {
            Steps::AtOnce { .. } => log.others.len(),
            Steps::InTime(timeline) => log.others.partition_point(|event| event.ts < timeline.start(log)),
        }
    }

    /// Those of these events without a level that are not left out.
    pub(super) fn known(&self, others: &[OtherEvent]) -> Vec<OtherEvent> {
        others.iter().filter(|event| event.ts < self.others_end[event.user as usize]).copied().collect()
    }

    /// Number of events that are neither learnt nor predicted.
    pub(super) fn left_out(&self) -> usize {
        match &self.steps {
            Steps::AtOnce { .. } => 0,
            Steps::InTime(timeline) => timeline.left_out(),
        }
    }
}

/// Indices of the events before the first prediction.
fn before(range: Range<usize>) -> Vec<u32> {
    range.map(position).collect()
}

fn position(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 events")
}
