//! State transitions of the snapshot coordinator, without any I/O: takes an [`Event`], returns the [`Action`]s that follow.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::time::Time;
use snapshots::{GroupFile, Kind, StoreError};

use super::{Files, Shard, Snapshot};

/// The snapshot under way, if any, and what the next one builds on.
pub(super) struct SnapshotState {
    /// Workers of all processes.
    workers: usize,
    /// Kinds of rows that the run has.
    kinds: Vec<Kind>,
    phase: Phase,
    /// Tick up to which all changes are in the output.
    output: Time,
    /// Tick and files of the last complete snapshot. Shards that do not change keep their files.
    base: Time,
    files: Files,
}

enum Phase {
    /// No snapshot is under way.
    Idle,
    /// Waiting for the changed shards of each worker, in a report for each kind.
    Collecting { snapshot: Snapshot, reports: usize, changed: BTreeSet<Shard> },
    /// Waiting for the rows of the changed shards and for their files.
    Writing {
        snapshot: Snapshot,
        /// Number of workers that have rows to send yet.
        open: BTreeMap<Shard, usize>,
        /// Shards whose file is not stored, open ones included.
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
    /// A worker reports the shards of one kind that changed on it.
    Changed {
        snapshot: u64,
        shards: Vec<Shard>,
    },
    /// A worker sent its last rows of a shard.
    Sent {
        snapshot: u64,
        shard: Shard,
    },
    /// The file of a shard is stored; `None`: the shard has no rows.
    Stored {
        snapshot: u64,
        shard: Shard,
        file: Result<Option<GroupFile>, StoreError>,
    },
    /// All changes up to this tick are in the output.
    Output(Time),
    /// The manifest is written, or not.
    Published(Result<(), StoreError>),
}

#[derive(Debug)]
pub(super) enum Action {
    /// Request these shards from every worker.
    Request { snapshot: u64, shards: Vec<Shard> },
    /// Store the received rows of a shard.
    Store { snapshot: u64, shard: Shard },
    /// Write the manifest.
    Publish(Snapshot, Files),
    /// The snapshot has ended.
    End { snapshot: u64, result: Result<(), StoreError> },
}

impl SnapshotState {
    /// `workers`: of all processes; `kinds`: of the rows that the run has and reports; `files`: of the snapshot that the
    /// run continues.
    pub(super) fn new(workers: usize, kinds: Vec<Kind>, files: Option<Files>) -> Self {
        // What is loaded from a snapshot counts as older than any tick of the run.
        let base = Time::from(files.is_some());
        let files = files.unwrap_or_default();
        SnapshotState { workers, kinds, phase: Phase::Idle, output: 0, base, files }
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

    /// Number of workers with rows of a kind. The catalogue is on one worker.
    fn senders(&self, kind: Kind) -> usize {
        match kind {
            Kind::Interactions | Kind::Controls => self.workers,
            Kind::Catalogue => 1,
        }
    }

    /// Number of reports of changed shards: one from each worker for each kind that it has.
    fn reporters(&self) -> usize {
        self.kinds.iter().map(|kind| self.senders(*kind)).sum()
    }

    /// Applies an event. Events of another snapshot than the one under way change nothing.
    pub(super) fn apply(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let reporters = self.reporters();
        match (&mut self.phase, event) {
            (phase, Event::Begin(snapshot)) => {
                *phase = Phase::Collecting { snapshot, reports: 0, changed: BTreeSet::new() };
            }
            (Phase::Collecting { snapshot, reports, changed }, Event::Changed { snapshot: number, shards })
                if snapshot.number == number =>
            {
                *reports += 1;
                changed.extend(shards);
                if *reports == reporters {
                    let shards: Vec<Shard> = changed.iter().copied().collect();
                    let snapshot = snapshot.clone();
                    self.phase = Phase::Writing {
                        snapshot,
                        open: shards.iter().map(|shard| (*shard, self.senders(shard.kind))).collect(),
                        unstored: shards.len(),
                        files: self.files.clone(),
                        failure: None,
                    };
                    actions.push(Action::Request { snapshot: number, shards });
                }
            }
            (Phase::Writing { snapshot, open, unstored, failure, .. }, Event::Sent { snapshot: number, shard })
                if snapshot.number == number =>
            {
                let Some(workers) = open.get_mut(&shard) else { return actions };
                *workers -= 1;
                if *workers == 0 {
                    open.remove(&shard);
                    // After a failure the remaining rows are received and dropped: workers send what was requested.
                    match failure {
                        None => actions.push(Action::Store { snapshot: number, shard }),
                        Some(_) => *unstored -= 1,
                    }
                }
            }
            (
                Phase::Writing { snapshot, unstored, files, failure, .. },
                Event::Stored { snapshot: number, shard, file },
            ) if snapshot.number == number => {
                *unstored -= 1;
                match file {
                    Ok(Some(file)) => drop(files.insert(shard, file)),
                    Ok(None) => drop(files.remove(&shard)),
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
            // Files of an older snapshot, which this one also names, are lost: the next one writes all shards.
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
    const USERS: [Kind; 1] = [Kind::Interactions];

    fn tick(number: u64) -> Time {
        (1 << 30) + number
    }

    fn snapshot(number: u64) -> Snapshot {
        Snapshot { number, time: tick(number), positions: Vec::new(), is_last: false }
    }

    fn users(group: u8) -> Shard {
        Shard { kind: Kind::Interactions, group }
    }

    fn file(shard: Shard, sequence: u64) -> GroupFile {
        GroupFile { group: shard.group, file: format!("{shard:?} of {sequence}"), rows: 1, bytes: 1, xxh3: 0 }
    }

    fn files(shards: impl IntoIterator<Item = Shard>, sequence: u64) -> Files {
        shards.into_iter().map(|shard| (shard, file(shard, sequence))).collect()
    }

    fn failure() -> StoreError {
        StoreError::Damaged { place: "x".into(), reason: "y".into() }
    }

    /// A snapshot of a single worker, up to the point where its manifest is to be written.
    fn publishing(state: &mut SnapshotState, number: u64) {
        state.apply(Event::Begin(snapshot(number)));
        let shard = users(5);
        let actions = state.apply(Event::Changed { snapshot: number, shards: vec![shard] });
        assert!(matches!(&actions[..], [Action::Request { shards, .. }] if *shards == [shard]), "{actions:?}");
        let actions = state.apply(Event::Sent { snapshot: number, shard });
        assert!(matches!(actions[..], [Action::Store { shard: stored, .. }] if stored == shard), "{actions:?}");
        assert!(state.apply(Event::Stored { snapshot: number, shard, file: Ok(Some(file(shard, number))) }).is_empty());
        let actions = state.apply(Event::Output(tick(number)));
        assert!(matches!(actions[..], [Action::Publish(..)]), "{actions:?}");
    }

    #[test]
    fn publishes_without_changes_as_soon_as_the_output_is_written() {
        let before = files([users(1), Shard { kind: Kind::Catalogue, group: 1 }], 1);
        let mut state = SnapshotState::new(1, USERS.to_vec(), Some(before.clone()));
        state.apply(Event::Output(tick(NUMBER)));
        state.apply(Event::Begin(snapshot(NUMBER)));
        let actions = state.apply(Event::Changed { snapshot: NUMBER, shards: vec![] });
        let [Action::Request { shards, .. }, Action::Publish(_, named)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!((shards.len(), named), (0, &before));
        let actions = state.apply(Event::Published(Ok(())));
        assert!(matches!(actions[..], [Action::End { snapshot: NUMBER, result: Ok(()) }]) && state.is_idle());
        assert_eq!(state.base(), tick(NUMBER));
    }

    #[test]
    fn writes_all_groups_after_files_of_an_older_snapshot_were_lost() {
        let mut state = SnapshotState::new(1, USERS.to_vec(), Some(files([users(1)], 1)));
        assert_eq!(state.base(), 1);
        publishing(&mut state, NUMBER);
        let actions = state.apply(Event::Published(Err(failure())));
        assert!(matches!(actions[..], [Action::End { result: Err(_), .. }]));
        assert_eq!((state.base(), state.files.len()), (0, 0));
    }

    #[test]
    fn keeps_the_files_of_the_snapshot_before_when_another_run_owns_the_store() {
        let mut state = SnapshotState::new(1, USERS.to_vec(), Some(files([users(1)], 1)));
        publishing(&mut state, NUMBER);
        state.apply(Event::Published(Err(StoreError::Taken { place: "x".into() })));
        assert_eq!((state.base(), &state.files), (1, &files([users(1)], 1)));
        publishing(&mut state, NUMBER + 1);
    }

    #[test]
    fn ignores_events_of_other_snapshots() {
        let mut state = SnapshotState::new(1, USERS.to_vec(), None);
        let stale = |state: &mut SnapshotState| {
            assert!(state.apply(Event::Changed { snapshot: 3, shards: vec![users(1)] }).is_empty());
            assert!(state.apply(Event::Sent { snapshot: 3, shard: users(5) }).is_empty());
            assert!(state.apply(Event::Stored { snapshot: 3, shard: users(5), file: Err(failure()) }).is_empty());
            assert!(!state.is_writing(3));
        };
        stale(&mut state);
        state.apply(Event::Begin(snapshot(NUMBER)));
        stale(&mut state);
        state.apply(Event::Changed { snapshot: NUMBER, shards: vec![users(5)] });
        stale(&mut state);
        assert!(state.is_writing(NUMBER));
    }

    #[test]
    fn waits_for_the_report_of_the_catalogue() {
        let shard = Shard { kind: Kind::Catalogue, group: 5 };
        let mut state = SnapshotState::new(2, vec![Kind::Interactions, Kind::Catalogue], None);
        state.apply(Event::Begin(snapshot(NUMBER)));
        for _ in 0..2 {
            assert!(state.apply(Event::Changed { snapshot: NUMBER, shards: vec![users(5)] }).is_empty());
        }
        let actions = state.apply(Event::Changed { snapshot: NUMBER, shards: vec![shard] });
        assert!(
            matches!(&actions[..], [Action::Request { shards, .. }] if *shards == [users(5), shard]),
            "{actions:?}"
        );
        // One worker sends statements, and all send interactions.
        let actions = state.apply(Event::Sent { snapshot: NUMBER, shard });
        assert!(matches!(actions[..], [Action::Store { shard: stored, .. }] if stored == shard), "{actions:?}");
        assert!(state.apply(Event::Sent { snapshot: NUMBER, shard: users(5) }).is_empty());
        let actions = state.apply(Event::Sent { snapshot: NUMBER, shard: users(5) });
        assert!(matches!(actions[..], [Action::Store { shard: stored, .. }] if stored == users(5)), "{actions:?}");
    }

    #[test]
    fn waits_for_the_controls_of_all_workers() {
        let shard = Shard { kind: Kind::Controls, group: 5 };
        let mut state = SnapshotState::new(2, vec![Kind::Interactions, Kind::Controls], None);
        state.apply(Event::Begin(snapshot(NUMBER)));
        for shards in [vec![users(5)], vec![shard], vec![]] {
            assert!(state.apply(Event::Changed { snapshot: NUMBER, shards }).is_empty());
        }
        let actions = state.apply(Event::Changed { snapshot: NUMBER, shards: vec![] });
        assert!(
            matches!(&actions[..], [Action::Request { shards, .. }] if *shards == [users(5), shard]),
            "{actions:?}"
        );
        assert!(state.apply(Event::Sent { snapshot: NUMBER, shard }).is_empty());
        let actions = state.apply(Event::Sent { snapshot: NUMBER, shard });
        assert!(matches!(actions[..], [Action::Store { shard: stored, .. }] if stored == shard), "{actions:?}");
    }

    /// Delivers pending events in the order that `choices` gives, until none is left.
    struct Simulation {
        state: SnapshotState,
        pending: Vec<Event>,
        senders: Vec<Sender>,
        stored: BTreeSet<Shard>,
        published: Vec<Files>,
        ended: Vec<bool>,
    }

    /// The state of one kind on one worker.
    struct Sender {
        kind: Kind,
        /// Shards that it has still to report as sent, in order.
        to_send: Vec<Shard>,
    }

    impl Simulation {
        fn is_done(&self) -> bool {
            self.pending.is_empty() && self.senders.iter().all(|sender| sender.to_send.is_empty())
        }

        fn step(&mut self, choice: prop::sample::Index, empty: &[Shard], failing: Option<Shard>) {
            let busy: Vec<usize> =
                (0..self.senders.len()).filter(|sender| !self.senders[*sender].to_send.is_empty()).collect();
            let choice = choice.index(self.pending.len() + busy.len());
            let event = match choice.checked_sub(self.pending.len()) {
                None => self.pending.swap_remove(choice),
                Some(at) => Event::Sent { snapshot: NUMBER, shard: self.senders[busy[at]].to_send.remove(0) },
            };
            for action in self.state.apply(event) {
                match action {
                    Action::Request { shards, .. } => {
                        for Sender { kind, to_send } in &mut self.senders {
                            assert!(to_send.is_empty(), "requested twice");
                            to_send.extend(shards.iter().filter(|shard| shard.kind == *kind));
                        }
                    }
                    Action::Store { shard, .. } => {
                        let is_sent = self.senders.iter().all(|sender| !sender.to_send.contains(&shard));
                        assert!(is_sent, "stored before all sent it");
                        assert!(self.stored.insert(shard), "stored twice");
                        let file = match () {
                            () if failing == Some(shard) => Err(failure()),
                            () => Ok((!empty.contains(&shard)).then(|| file(shard, NUMBER))),
                        };
                        self.pending.push(Event::Stored { snapshot: NUMBER, shard, file });
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

    fn any_shard() -> impl Strategy<Value = Shard> {
        (prop::sample::select(&Kind::ALL), 0..4_u8).prop_map(|(kind, group)| Shard { kind, group })
    }

    proptest! {
        #[test]
        fn any_order_of_messages_ends_in_one_complete_snapshot(
            workers in prop::collection::vec(prop::collection::btree_set(0..6_u8, 0..4), 1..4),
            catalogue in prop::option::of(prop::collection::btree_set(0..6_u8, 0..4)),
            // Of each worker, if the run has any.
            controls in prop::option::of(prop::collection::btree_set(0..6_u8, 0..4)),
            before in prop::collection::btree_set(any_shard(), 0..8),
            empty in prop::collection::vec(any_shard(), 0..3),
            failing in prop::option::weighted(0.3, any_shard()),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 120),
        ) {
            let before = files(before, 1);
            let kinds = [(Kind::Catalogue, catalogue.is_some()), (Kind::Controls, controls.is_some())];
            let kinds = kinds.into_iter().filter_map(|(kind, is_there)| is_there.then_some(kind));
            let kinds = [Kind::Interactions].into_iter().chain(kinds).collect();
            let mut state = SnapshotState::new(workers.len(), kinds, Some(before.clone()));
            state.apply(Event::Begin(snapshot(NUMBER)));
            let of = |kind| move |groups: &BTreeSet<u8>| -> Vec<Shard> {
                groups.iter().map(|group| Shard { kind, group: *group }).collect()
            };
            let mut changed: Vec<Vec<Shard>> = workers.iter().map(of(Kind::Interactions)).collect();
            changed.extend(catalogue.iter().map(of(Kind::Catalogue)));
            // Of the controls each worker has the same changes: those of one are no case of their own.
            let controls: Vec<BTreeSet<u8>> = controls.map(|groups| vec![groups; workers.len()]).unwrap_or_default();
            changed.extend(controls.iter().map(of(Kind::Controls)));
            let wanted: BTreeSet<Shard> = changed.iter().flatten().copied().collect();
            let sender = |kind| move |_: &BTreeSet<u8>| Sender { kind, to_send: Vec::new() };
            let mut senders: Vec<Sender> = workers.iter().map(sender(Kind::Interactions)).collect();
            senders.extend(catalogue.iter().map(sender(Kind::Catalogue)));
            senders.extend(controls.iter().map(sender(Kind::Controls)));
            let reports = changed.into_iter().map(|shards| Event::Changed { snapshot: NUMBER, shards });
            let mut pending: Vec<Event> = reports.collect();
            pending.extend([Event::Output(tick(NUMBER) - 1), Event::Output(tick(NUMBER))]);
            let (stored, published, ended) = (BTreeSet::new(), Vec::new(), Vec::new());
            let mut run = Simulation { state, pending, senders, stored, published, ended };
            for choice in choices {
                if run.is_done() {
                    break;
                }
                run.step(choice, &empty, failing);
            }
            prop_assert!(run.state.is_idle());
            let fails = failing.is_some_and(|shard| wanted.contains(&shard));
            prop_assert_eq!(&run.ended, &[!fails]);
            if fails {
                prop_assert!(run.published.is_empty());
            } else {
                let mut expected = before;
                for shard in &wanted {
                    if empty.contains(shard) {
                        expected.remove(shard);
                    } else {
                        expected.insert(*shard, file(*shard, NUMBER));
                    }
                }
                prop_assert_eq!(&run.stored, &wanted);
                prop_assert_eq!(run.published, [expected.clone()]);
                prop_assert_eq!(run.state.files, expected);
            }
        }
    }
}
