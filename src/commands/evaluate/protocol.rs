//! Splits a log into training events and test cases.

use serde::Serialize;

use super::log::Log;

/// Split of a log. Serialised for the report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub(super) enum Protocol {
    /// Each event is predicted from the state just before it, then used for training.
    Prequential {
        /// First predicted event; earlier ones are used for training only.
        from: Cut,
        /// Largest number of events predicted from one state, at least 1.
        tick: usize,
    },
    /// The last event of each user is predicted from all other events, earlier or later.
    Last,
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
    /// Index of the first event after the cut. Events of the same millisecond stay together.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn position(self, log: &Log) -> usize {
        let at = match self {
            Cut::Share(share) => {
                let position = (share * log.events.len() as f64).round() as usize;
                let Some(event) = log.events.get(position) else { return log.events.len() };
                event.ts
            }
            Cut::At(ms) => ms,
        };
        log.events.partition_point(|event| event.ts < at)
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
    /// Whether events expire. They do not if the predictions have no point in time.
    pub(super) expires: bool,
    pub(super) steps: Steps,
}

#[derive(Debug)]
pub(super) enum Steps {
    /// Cases predicted from the training events.
    Static(Vec<Case>),
    /// Events from index `from` on, at most `tick` from one state.
    Prequential { from: usize, tick: usize },
}

impl Protocol {
    pub(super) fn plan(self, log: &Log) -> Plan {
        match self {
            Protocol::Prequential { from, tick } => {
                let from = from.position(log);
                Plan { train: positions(0..from), expires: true, steps: Steps::Prequential { from, tick } }
            }
            Protocol::Last => leave_last_out(log),
            Protocol::Time { from } => {
                let from = from.position(log);
                let mut cases: Vec<Case> = Vec::new();
                let mut case_of_user = vec![None; log.users.len()];
                for event in &log.events[from..] {
                    let case = *case_of_user[event.user as usize].get_or_insert_with(|| {
                        cases.push(Case { user: event.user, relevant: Vec::new() });
                        cases.len() - 1
                    });
                    cases[case].relevant.push(event.item);
                }
                for case in &mut cases {
                    case.relevant.sort_unstable();
                    case.relevant.dedup();
                }
                Plan { train: positions(0..from), expires: true, steps: Steps::Static(cases) }
            }
        }
    }
}

/// The event of a user with only one is used for training: there would be nothing to predict from.
fn leave_last_out(log: &Log) -> Plan {
    let mut last = vec![0; log.users.len()];
    let mut counts = vec![0_u32; log.users.len()];
    for (position, event) in log.events.iter().enumerate() {
        last[event.user as usize] = position;
        counts[event.user as usize] += 1;
    }
    let is_held_out = |position: &usize| {
        *position == last[log.events[*position].user as usize] && counts[log.events[*position].user as usize] > 1
    };
    let (held_out, train): (Vec<usize>, Vec<usize>) = (0..log.events.len()).partition(is_held_out);
    let case = |position: usize| Case { user: log.events[position].user, relevant: vec![log.events[position].item] };
    Plan { train: positions(train), expires: false, steps: Steps::Static(held_out.into_iter().map(case).collect()) }
}

fn positions(positions: impl IntoIterator<Item = usize>) -> Vec<u32> {
    positions.into_iter().map(|position| u32::try_from(position).expect("fewer than 2^32 events")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::log::tests::log;
    use super::*;

    fn static_cases(plan: &Plan) -> Vec<(u32, Vec<u32>)> {
        let Steps::Static(cases) = &plan.steps else { panic!("not static") };
        cases.iter().map(|case| (case.user, case.relevant.clone())).collect()
    }

    #[test]
    fn last_holds_out_the_last_event_of_users_with_several() {
        let log = log(&[("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("a", "z", 3), ("c", "y", 4), ("b", "x", 5)]);
        let plan = Protocol::Last.plan(&log);
        assert_eq!(plan.train, [0, 1, 2, 4]);
        assert_eq!(static_cases(&plan), [(0, vec![2]), (1, vec![0])]);
        assert!(!plan.expires);
    }

    #[test]
    fn time_keeps_events_of_a_millisecond_together() {
        let log = log(&[("a", "x", 1), ("b", "y", 2), ("a", "y", 2), ("b", "x", 2), ("b", "y", 7), ("b", "x", 7)]);
        for from in [Cut::Share(0.5), Cut::At(2), Cut::Share(1.0 / 6.0)] {
            let plan = Protocol::Time { from }.plan(&log);
            assert_eq!(plan.train, [0]);
            assert_eq!(static_cases(&plan), [(1, vec![0, 1]), (0, vec![1])]);
        }
        let at_the_end = Protocol::Time { from: Cut::Share(1.0) }.plan(&log);
        assert_eq!((at_the_end.train.len(), static_cases(&at_the_end)), (6, vec![]));
    }
}
