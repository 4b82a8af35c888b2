//! Protocols that predict each case from the state just before it.

use std::collections::HashMap;
use std::slice;

use super::super::log::{Log, LogEvent};
use super::{Cut, Plan, Steps, before};

/// What is done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    LeftOut,
    Learnt,
    /// Predicted, then learnt.
    Predicted,
}

/// Events after the training events, in the order of time.
#[derive(Debug)]
pub(in super::super) struct Timeline {
    /// Index of the first event.
    from: usize,
    roles: Vec<Role>,
    /// Relevant items of the cases that are whole visits, by the index of their first event.
    visits: HashMap<usize, Vec<u32>>,
    /// Largest number of events predicted from one state, at least 1.
    pub(in super::super) tick: usize,
}

/// An event to learn, after it was predicted.
pub(in super::super) struct Step<'l> {
    pub(in super::super) event: &'l LogEvent,
    /// Relevant items of the case that is predicted just before the event, without duplicates; empty without a case.
    pub(in super::super) relevant: &'l [u32],
}

impl Timeline {
    /// The plan that trains with all events before the timeline.
    fn plan(self, log: &Log) -> Plan {
        let others_end = vec![u64::MAX; log.users.len()];
        Plan { train: before(0..self.from), steps: Steps::InTime(self), others_end }
    }

    /// The time of the first event.
    pub(super) fn start(&self, log: &Log) -> u64 {
        log.events.get(self.from).map_or(u64::MAX, |event| event.ts)
    }

    /// All events but those that are left out.
    pub(in super::super) fn steps<'l>(&'l self, log: &'l Log) -> impl Iterator<Item = Step<'l>> {
        let events = (self.from..).zip(&log.events[self.from..]).zip(&self.roles);
        events.filter_map(|((index, event), role)| match role {
            Role::LeftOut => None,
            Role::Learnt => Some(Step { event, relevant: &[] }),
            Role::Predicted => {
                let relevant = self.visits.get(&index).map_or(slice::from_ref(&event.item), Vec::as_slice);
                Some(Step { event, relevant })
            }
        })
    }

    pub(super) fn cases(&self) -> usize {
        self.count(Role::Predicted)
    }

    pub(super) fn left_out(&self) -> usize {
        self.count(Role::LeftOut)
    }

    fn count(&self, role: Role) -> usize {
        self.roles.iter().filter(|other| **other == role).count()
    }
}

/// Predicts all events after the cut.
pub(super) fn prequential(log: &Log, from: Cut, tick: usize) -> Plan {
    let (from, _) = from.apply(log);
    let roles = vec![Role::Predicted; log.events.len() - from];
    Timeline { from, roles, visits: HashMap::new(), tick }.plan(log)
}

/// Predicts all events but the first of the users whose first event is after the cut, and leaves the other users' events
/// after the cut out.
pub(super) fn sessions(log: &Log, from: Cut, tick: usize) -> Plan {
    let (from, _) = from.apply(log);
    let mut is_old = vec![false; log.users.len()];
    for event in &log.events[..from] {
        is_old[event.user as usize] = true;
    }
    let mut has_begun = vec![false; log.users.len()];
    let role = |event: &LogEvent| match event.user as usize {
        user if is_old[user] => Role::LeftOut,
        user if std::mem::replace(&mut has_begun[user], true) => Role::Predicted,
        _ => Role::Learnt,
    };
    let roles = log.events[from..].iter().map(role).collect();
    let timeline = Timeline { from, roles, visits: HashMap::new(), tick };
    let start = timeline.start(log);
    let others_end = is_old.iter().map(|is_old| if *is_old { start } else { u64::MAX }).collect();
    Plan { others_end, ..timeline.plan(log) }
}

/// Predicts the last visit of each user with two visits or more, at its first event. A pause of `gap_ms` or more separates
/// two visits.
pub(super) fn next_visit(log: &Log, gap_ms: u64) -> Plan {
    // The first event of each user's last visit, unless it is also the first visit.
    let mut starts: Vec<Option<usize>> = vec![None; log.users.len()];
    let mut latest: Vec<Option<u64>> = vec![None; log.users.len()];
    for (index, event) in log.events.iter().enumerate() {
        let latest = &mut latest[event.user as usize];
        if latest.is_some_and(|before| event.ts - before >= gap_ms) {
            starts[event.user as usize] = Some(index);
        }
        *latest = Some(event.ts);
    }
    let from = starts.iter().flatten().min().copied().unwrap_or(log.events.len());
    let mut visits: HashMap<usize, Vec<u32>> = HashMap::new();
    for (index, event) in (from..).zip(&log.events[from..]) {
        if let Some(start) = starts[event.user as usize].filter(|start| *start <= index) {
            visits.entry(start).or_default().push(event.item);
        }
    }
    for relevant in visits.values_mut() {
        relevant.sort_unstable();
        relevant.dedup();
    }
    let role = |index| if visits.contains_key(&index) { Role::Predicted } else { Role::Learnt };
    let roles = (from..log.events.len()).map(role).collect();
    Timeline { from, roles, visits, tick: 1 }.plan(log)
}

#[cfg(test)]
mod tests {
    use super::super::super::log::tests::log;
    use super::super::Protocol;
    use super::*;

    /// Steps after the training events: time, user and relevant items.
    fn steps(log: &Log, protocol: Protocol) -> (usize, Vec<(u64, u32, Vec<u32>)>) {
        let plan = protocol.plan(log);
        let Steps::InTime(timeline) = &plan.steps else { panic!("not in time") };
        let steps = timeline.steps(log).map(|step| (step.event.ts, step.event.user, step.relevant.to_vec())).collect();
        (plan.train.len(), steps)
    }

    #[test]
    fn prequential_predicts_every_event_after_the_cut() {
        let log = log(&[("a", "x", 1), ("b", "y", 2), ("a", "y", 3)]);
        let (train, steps) = steps(&log, Protocol::Prequential { from: Cut::At(2), tick: 1 });
        assert_eq!((train, steps), (1, vec![(2, 1, vec![1]), (3, 0, vec![1])]));
    }

    #[test]
    fn sessions_predicts_later_events_of_users_that_begin_after_the_cut() {
        let events = [("a", "x", 1), ("b", "y", 5), ("a", "y", 6), ("b", "x", 7), ("c", "x", 7), ("b", "x", 8)];
        let log = log(&events);
        let protocol = Protocol::Sessions { from: Cut::At(5), tick: 1 };
        let (train, steps) = steps(&log, protocol);
        // The second event of a is left out, the first of b and c are learnt only. b repeats x.
        let expected = vec![(5, 1, vec![]), (7, 1, vec![0]), (7, 2, vec![]), (8, 1, vec![0])];
        assert_eq!((train, steps), (1, expected));
        let plan = protocol.plan(&log);
        assert_eq!((plan.cases(), plan.left_out()), (2, 1));
        let learnt: Vec<u64> = plan.learnt(&log).map(|event| event.ts).collect();
        assert_eq!(learnt, [1, 5, 7, 7, 8]);
    }

    #[test]
    fn next_visit_predicts_the_last_visit_at_its_first_event() {
        let events = [("a", "x", 0), ("a", "y", 9), ("b", "x", 10), ("a", "z", 19), ("c", "z", 20), ("a", "x", 28)];
        let log = log(&[&events[..], &[("b", "y", 30), ("a", "z", 31), ("b", "z", 39)]].concat());
        // With a gap of 10 a has visits at 0 and 9, and from 19 to 31; b at 10, and at 30 and 39; c only one.
        let (train, found) = steps(&log, Protocol::NextVisit { gap_ms: 10 });
        let expected = [
            (19, 0, vec![0, 2]),
            (20, 2, vec![]),
            (28, 0, vec![]),
            (30, 1, vec![1, 2]),
            (31, 0, vec![]),
            (39, 1, vec![]),
        ];
        assert_eq!((train, &found[..]), (3, &expected[..]));
        // With a gap of 11 all events of a are one visit; with 21 no user has two.
        let cases = |gap_ms| Protocol::NextVisit { gap_ms }.plan(&log).cases();
        assert_eq!([10, 11, 20, 21].map(cases), [2, 1, 1, 0]);
    }
}
