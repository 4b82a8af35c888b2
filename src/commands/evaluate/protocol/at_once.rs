//! Protocols that predict all cases from one state.

use super::super::log::Log;
use super::{Case, Cut, Plan, Steps, before, position};

/// Holds out the last `last` events of each user with more. A user with fewer is used for training: there would be nothing
/// to predict from.
pub(super) fn last(log: &Log, last: usize) -> Plan {
    let mut left = vec![0_usize; log.users.len()];
    for event in &log.events {
        left[event.user as usize] += 1;
    }
    let has_cases: Vec<bool> = left.iter().map(|events| *events > last).collect();
    let mut cases = Cases::new(log);
    let mut train = Vec::new();
    let mut others_end = vec![u64::MAX; log.users.len()];
    for (index, event) in log.events.iter().enumerate() {
        let user = event.user as usize;
        if has_cases[user] && left[user] <= last {
            cases.add(event.user, event.item);
            others_end[user] = others_end[user].min(event.ts);
        } else {
            train.push(position(index));
        }
        left[user] -= 1;
    }
    Plan { train, steps: Steps::AtOnce { cases: cases.finish(), at: None }, others_end }
}

/// Holds out all events after the cut.
pub(super) fn time(log: &Log, from: Cut) -> Plan {
    let (from, at) = from.apply(log);
    let mut cases = Cases::new(log);
    for event in &log.events[from..] {
        cases.add(event.user, event.item);
    }
    let others_end = vec![at.unwrap_or(u64::MAX); log.users.len()];
    Plan { train: before(0..from), steps: Steps::AtOnce { cases: cases.finish(), at }, others_end }
}

/// Cases by user, ordered by their first held-out event.
struct Cases {
    cases: Vec<Case>,
    case_of_user: Vec<Option<usize>>,
}

impl Cases {
    fn new(log: &Log) -> Self {
        Cases { cases: Vec::new(), case_of_user: vec![None; log.users.len()] }
    }

    fn add(&mut self, user: u32, item: u32) {
        let case = *self.case_of_user[user as usize].get_or_insert_with(|| {
            self.cases.push(Case { user, relevant: Vec::new() });
            self.cases.len() - 1
        });
        self.cases[case].relevant.push(item);
    }

    fn finish(mut self) -> Vec<Case> {
        for case in &mut self.cases {
            case.relevant.sort_unstable();
            case.relevant.dedup();
        }
        self.cases
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::log::tests::log;
    use super::super::Protocol;
    use super::*;

    fn cases(plan: &Plan) -> Vec<(u32, Vec<u32>)> {
        let Steps::AtOnce { cases, .. } = &plan.steps else { panic!("not at once") };
        cases.iter().map(|case| (case.user, case.relevant.clone())).collect()
    }

    #[test]
    fn last_holds_out_the_last_event_of_users_with_several() {
        let log = log(&[("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("a", "z", 3), ("c", "y", 4), ("b", "x", 5)]);
        let plan = Protocol::Last { last: 1 }.plan(&log);
        assert_eq!(plan.train, [0, 1, 2, 4]);
        assert_eq!(cases(&plan), [(0, vec![2]), (1, vec![0])]);
        assert!(!plan.has_time());
    }

    #[test]
    fn the_last_events_are_held_out_together_of_users_with_more() {
        let events = [("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("b", "z", 4), ("c", "x", 5), ("a", "x", 6)];
        let log = log(&[&events[..], &[("c", "y", 7), ("c", "y", 8)]].concat());
        let plan = Protocol::Last { last: 2 }.plan(&log);
        // Of a: y and x; of c: y twice; b has only two events.
        assert_eq!(plan.train, [0, 1, 3, 4]);
        assert_eq!(cases(&plan), [(0, vec![0, 1]), (2, vec![1])]);
        let none = Protocol::Last { last: 3 }.plan(&log);
        assert_eq!((none.train.len(), none.cases()), (8, 0));
    }

    #[test]
    fn time_keeps_events_of_a_millisecond_together() {
        let log = log(&[("a", "x", 1), ("b", "y", 2), ("a", "y", 2), ("b", "x", 2), ("b", "y", 7), ("b", "x", 7)]);
        for from in [Cut::Share(0.5), Cut::At(2), Cut::Share(1.0 / 6.0)] {
            let plan = Protocol::Time { from }.plan(&log);
            assert_eq!(plan.train, [0]);
            assert_eq!(cases(&plan), [(1, vec![0, 1]), (0, vec![1])]);
            assert!(plan.has_time());
        }
        let at_the_end = Protocol::Time { from: Cut::Share(1.0) }.plan(&log);
        assert_eq!((at_the_end.train.len(), at_the_end.cases()), (6, 0));
    }

    /// The state is that of the cut, even if the next event is much later.
    #[test]
    fn time_predicts_at_the_cut() {
        let log = log(&[("a", "x", 1), ("b", "y", 2), ("a", "y", 90)]);
        for (from, expected) in [(Cut::At(50), Some(50)), (Cut::Share(0.6), Some(90)), (Cut::Share(1.0), None)] {
            let Steps::AtOnce { at, .. } = Protocol::Time { from }.plan(&log).steps else { panic!("not at once") };
            assert_eq!(at, expected);
        }
    }
}
