//! State transitions of the snapshot coordinator, without any I/O: takes an [`Event`], returns the [`Action`]s that follow.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::time::Time;
use snapshots::{GroupFile, StoreError};

use super::{Files, Snapshot};

/// The snapshot under way, if any, and what the next one builds on.
pub(super) struct SnapshotState {
    /// Workers of all processes.
    workers: usize,
    phase: Phase,
    /// Tick up to which all changes are in the output.
    output: Time,
    /// Tick and files of the last complete snapshot. Groups that do not change keep their files.
    base: Time,
    files: Files,
}

enum Phase {
    /// No snapshot is under way.
    Idle,
    /// Waiting for the changed groups of each worker.
    Collecting { snapshot: Snapshot, reports: usize, changed: BTreeSet<u8> },
    /// Waiting for the rows of the changed groups and for their files.
    Writing {
        snapshot: Snapshot,
        /// Workers that have rows to send yet, by group.
        open: BTreeMap<u8, usize>,
        /// Groups whose file is not stored, open ones included.
        unstored: usize,
        files: Files,
        failure: Option<StoreError>,
    },
    /// All files are stored. Waiting for the output to reach the tick, then for the manifest.
    Committing { snapshot: Snapshot, files: Files, publishing: bool },
}

#[derive(Debug)]
pub(super) enum Event {
    Begin(Snapshot),
    /// A worker reports the groups that changed on it.
    Changed {
        snapshot: u64,
        groups: Vec<u8>,
    },
    /// A worker sent its last rows of a group.
    Sent {
        snapshot: u64,
        group: u8,
    },
    /// The file of a group is stored; `None`: the group has no rows.
    Stored {
        snapshot: u64,
        group: u8,
        file: Result<Option<GroupFile>, StoreError>,
    },
    /// All changes up to this tick are in the output.
    Output(Time),
    /// The manifest is written, or not.
    Published(Result<(), StoreError>),
}

#[derive(Debug)]
pub(super) enum Action {
    /// Request these groups from every worker.
    Request { snapshot: u64, groups: Vec<u8> },
    /// Store the received rows of a group.
    Store { snapshot: u64, group: u8 },
    /// Write the manifest.
    Publish(Snapshot, Files),
    /// The snapshot has ended.
    End { snapshot: u64, result: Result<(), StoreError> },
}

impl SnapshotState {
    /// `files`: of the snapshot that the run continues.
    pub(super) fn new(workers: usize, files: Option<Files>) -> Self {
        // What is loaded from a snapshot counts as older than any tick of the run.
        let base = Time::from(files.is_some());
        SnapshotState { workers, phase: Phase::Idle, output: 0, base, files: files.unwrap_or_default() }
    }

    /// Tick of the last complete snapshot whose files can be reused; 0: none.
    pub(super) fn base(&self) -> Time {
        self.base
    }

    /// Whether rows of this snapshot are expected. Rows of one that was replaced may still arrive.
    pub(super) fn is_writing(&self, number: u64) -> bool {
        matches!(&self.phase, Phase::Writing { snapshot, .. } if snapshot.number == number)
    }

    /// Whether only the output is missing.
    pub(super) fn awaits_output(&self) -> bool {
        matches!(self.phase, Phase::Committing { .. })
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Applies an event. Events of another snapshot than the one under way change nothing.
    pub(super) fn apply(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match (&mut self.phase, event) {
            (phase, Event::Begin(snapshot)) => {
                *phase = Phase::Collecting { snapshot, reports: 0, changed: BTreeSet::new() };
            }
            (Phase::Collecting { snapshot, reports, changed }, Event::Changed { snapshot: number, groups })
                if snapshot.number == number =>
            {
                *reports += 1;
                changed.extend(groups);
                if *reports == self.workers {
                    let groups: Vec<u8> = changed.iter().copied().collect();
                    self.phase = Phase::Writing {
                        snapshot: snapshot.clone(),
                        open: groups.iter().map(|group| (*group, self.workers)).collect(),
                        unstored: groups.len(),
                        files: self.files.clone(),
                        failure: None,
                    };
                    actions.push(Action::Request { snapshot: number, groups });
                }
            }
            (Phase::Writing { snapshot, open, unstored, failure, .. }, Event::Sent { snapshot: number, group })
                if snapshot.number == number =>
            {
                let Some(workers) = open.get_mut(&group) else { return actions };
                *workers -= 1;
                if *workers == 0 {
                    open.remove(&group);
                    // After a failure the remaining rows are received and dropped: workers send what was requested.
                    match failure {
                        None => actions.push(Action::Store { snapshot: number, group }),
                        Some(_) => *unstored -= 1,
                    }
                }
            }
            (
                Phase::Writing { snapshot, unstored, files, failure, .. },
                Event::Stored { snapshot: number, group, file },
            ) if snapshot.number == number => {
                *unstored -= 1;
                match file {
                    Ok(Some(file)) => drop(files.insert(group, file)),
                    Ok(None) => drop(files.remove(&group)),
                    Err(error) => *failure = Some(error),
                }
            }
            (Phase::Committing { publishing: publishing @ true, snapshot, files }, Event::Published(result)) => {
                *publishing = false;
                if result.is_ok() {
                    (self.base, self.files) = (snapshot.time, std::mem::take(files));
                }
                let number = snapshot.number;
                actions.push(self.end(number, result));
            }
            (_, Event::Output(time)) => self.output = self.output.max(time),
            (_, Event::Changed { .. } | Event::Sent { .. } | Event::Stored { .. } | Event::Published(_)) => {}
        }
        actions.extend(self.advance());
        actions
    }

    /// Transitions that follow without another event.
    fn advance(&mut self) -> Option<Action> {
        if let Phase::Writing { snapshot, unstored: 0, files, failure, .. } = &mut self.phase {
            let number = snapshot.number;
            if let Some(failure) = failure.take() {
                return Some(self.end(number, Err(failure)));
            }
            let (snapshot, files) = (snapshot.clone(), std::mem::take(files));
            self.phase = Phase::Committing { snapshot, files, publishing: false };
        }
        match &mut self.phase {
            Phase::Committing { snapshot, files, publishing: publishing @ false } if snapshot.time <= self.output => {
                *publishing = true;
                Some(Action::Publish(snapshot.clone(), files.clone()))
            }
            _ => None,
        }
    }

    fn end(&mut self, snapshot: u64, result: Result<(), StoreError>) -> Action {
        self.phase = Phase::Idle;
        if matches!(result, Err(StoreError::Damaged { .. })) {
            // Files of an older snapshot, which this one also names, are lost: the next one writes all groups.
            (self.base, self.files) = (0, Files::new());
        }
        Action::End { snapshot, result }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMBER: u64 = 7;
    fn tick(number: u64) -> Time {
        (1 << 30) + number
    }

    fn snapshot(number: u64) -> Snapshot {
        Snapshot { number, time: tick(number), positions: Vec::new(), is_last: false }
    }

    fn file(group: u8, sequence: u64) -> GroupFile {
        GroupFile { group, file: format!("{sequence}"), rows: 1, bytes: 1, xxh3: 0 }
    }

    fn files(groups: &[u8], sequence: u64) -> Files {
        groups.iter().map(|group| (*group, file(*group, sequence))).collect()
    }

    fn failure() -> StoreError {
        StoreError::Damaged { place: "x".into(), reason: "y".into() }
    }

    /// A snapshot of a single worker, up to the point where its manifest is to be written.
    fn publishing(state: &mut SnapshotState, number: u64) {
        state.apply(Event::Begin(snapshot(number)));
        let actions = state.apply(Event::Changed { snapshot: number, groups: vec![5] });
        assert!(matches!(&actions[..], [Action::Request { groups, .. }] if *groups == [5]), "{actions:?}");
        let actions = state.apply(Event::Sent { snapshot: number, group: 5 });
        assert!(matches!(actions[..], [Action::Store { group: 5, .. }]), "{actions:?}");
        assert!(state.apply(Event::Stored { snapshot: number, group: 5, file: Ok(Some(file(5, number))) }).is_empty());
        let actions = state.apply(Event::Output(tick(number)));
        assert!(matches!(actions[..], [Action::Publish(..)]), "{actions:?}");
    }

    #[test]
    fn publishes_without_changes_as_soon_as_the_output_is_written() {
        let mut state = SnapshotState::new(1, Some(files(&[1, 2], 1)));
        state.apply(Event::Output(tick(NUMBER)));
        state.apply(Event::Begin(snapshot(NUMBER)));
        let actions = state.apply(Event::Changed { snapshot: NUMBER, groups: vec![] });
        let [Action::Request { groups, .. }, Action::Publish(_, named)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!((groups.len(), named), (0, &files(&[1, 2], 1)));
        let actions = state.apply(Event::Published(Ok(())));
        assert!(matches!(actions[..], [Action::End { snapshot: NUMBER, result: Ok(()) }]) && state.is_idle());
        assert_eq!(state.base(), tick(NUMBER));
    }

    #[test]
    fn writes_all_groups_after_files_of_an_older_snapshot_were_lost() {
        let mut state = SnapshotState::new(1, Some(files(&[1], 1)));
        assert_eq!(state.base(), 1);
        publishing(&mut state, NUMBER);
        let actions = state.apply(Event::Published(Err(failure())));
        assert!(matches!(actions[..], [Action::End { result: Err(_), .. }]));
        assert_eq!((state.base(), state.files.len()), (0, 0));
    }

    #[test]
    fn keeps_the_files_of_the_snapshot_before_when_another_run_owns_the_store() {
        let mut state = SnapshotState::new(1, Some(files(&[1], 1)));
        publishing(&mut state, NUMBER);
        state.apply(Event::Published(Err(StoreError::Taken { place: "x".into() })));
        assert_eq!((state.base(), &state.files), (1, &files(&[1], 1)));
        publishing(&mut state, NUMBER + 1);
    }

    #[test]
    fn ignores_events_of_other_snapshots() {
        let mut state = SnapshotState::new(1, None);
        let stale = |state: &mut SnapshotState| {
            assert!(state.apply(Event::Changed { snapshot: 3, groups: vec![1] }).is_empty());
            assert!(state.apply(Event::Sent { snapshot: 3, group: 5 }).is_empty());
            assert!(state.apply(Event::Stored { snapshot: 3, group: 5, file: Err(failure()) }).is_empty());
            assert!(!state.is_writing(3));
        };
        stale(&mut state);
        state.apply(Event::Begin(snapshot(NUMBER)));
        stale(&mut state);
        state.apply(Event::Changed { snapshot: NUMBER, groups: vec![5] });
        stale(&mut state);
        assert!(state.is_writing(NUMBER));
    }

    /// Delivers pending events in the order that `choices` gives, until none is left.
    struct Simulation {
        state: SnapshotState,
        pending: Vec<Event>,
        /// Groups that each worker has still to report as sent, in order.
        to_send: Vec<Vec<u8>>,
        stored: BTreeSet<u8>,
        published: Vec<Files>,
        ended: Vec<bool>,
    }

    impl Simulation {
        fn step(&mut self, choice: prop::sample::Index, empty: &[u8], failing: &[u8]) {
            let senders: Vec<usize> =
                (0..self.to_send.len()).filter(|worker| !self.to_send[*worker].is_empty()).collect();
            let choice = choice.index(self.pending.len() + senders.len());
            let event = match choice.checked_sub(self.pending.len()) {
                None => self.pending.swap_remove(choice),
                Some(at) => Event::Sent { snapshot: NUMBER, group: self.to_send[senders[at]].remove(0) },
            };
            for action in self.state.apply(event) {
                match action {
                    Action::Request { groups, .. } => {
                        assert!(self.to_send.iter().all(Vec::is_empty), "requested twice");
                        self.to_send.fill(groups);
                    }
                    Action::Store { group, .. } => {
                        assert!(self.to_send.iter().all(|left| !left.contains(&group)), "stored before all sent it");
                        assert!(self.stored.insert(group), "stored twice");
                        let file = match () {
                            () if failing.contains(&group) => Err(failure()),
                            () => Ok((!empty.contains(&group)).then(|| file(group, NUMBER))),
                        };
                        self.pending.push(Event::Stored { snapshot: NUMBER, group, file });
                    }
                    Action::Publish(_, files) => {
                        assert!(self.state.output >= tick(NUMBER), "published before the output");
                        self.published.push(files);
                        self.pending.push(Event::Published(Ok(())));
                    }
                    Action::End { result, .. } => self.ended.push(result.is_ok()),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_order_of_messages_ends_in_one_complete_snapshot(
            changed in prop::collection::vec(prop::collection::btree_set(0..6_u8, 0..4), 1..4),
            empty in prop::collection::vec(0..6_u8, 0..3),
            failing in prop::option::weighted(0.3, 0..6_u8),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 80),
        ) {
            let before = files(&[0, 1, 2, 3], 1);
            let failing: Vec<u8> = failing.into_iter().collect();
            let mut state = SnapshotState::new(changed.len(), Some(before.clone()));
            state.apply(Event::Begin(snapshot(NUMBER)));
            let wanted: BTreeSet<u8> = changed.iter().flatten().copied().collect();
            let reports = changed.iter().map(|groups| {
                Event::Changed { snapshot: NUMBER, groups: groups.iter().copied().collect() }
            });
            let mut pending: Vec<Event> = reports.collect();
            pending.extend([Event::Output(tick(NUMBER) - 1), Event::Output(tick(NUMBER))]);
            let to_send = vec![Vec::new(); changed.len()];
            let (stored, published, ended) = (BTreeSet::new(), Vec::new(), Vec::new());
            let mut run = Simulation { state, pending, to_send, stored, published, ended };
            for choice in choices {
                if run.pending.is_empty() && run.to_send.iter().all(Vec::is_empty) {
                    break;
                }
                run.step(choice, &empty, &failing);
            }
            prop_assert!(run.state.is_idle());
            let fails = failing.iter().any(|group| wanted.contains(group));
            prop_assert_eq!(&run.ended, &[!fails]);
            if fails {
                prop_assert!(run.published.is_empty());
            } else {
                let mut expected = before;
                for group in &wanted {
                    if empty.contains(group) {
                        expected.remove(group);
                    } else {
                        expected.insert(*group, file(*group, NUMBER));
                    }
                }
                prop_assert_eq!(&run.stored, &wanted);
                prop_assert_eq!(run.published, [expected.clone()]);
                prop_assert_eq!(run.state.files, expected);
            }
        }
    }
}
