//! The coordinator's thread: receives messages, applies them to its [`SnapshotState`], and executes the actions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};
use dataflows::snapshot::SnapshotChunk;
use snapshots::{Depth, GroupFile, Interactions, RunId, StoreError};

use super::pool::{PackJob, injected};
use super::state::{Action, Event, SnapshotState};
use super::{Files, Outcome, Snapshot, SnapshotMessage, input_positions, manifest};
use crate::engine::tick::Waker;
use crate::engine::{Shared, SnapshotSettings};

/// Collects the rows of all workers and writes them as snapshots. It runs at normal priority, unlike the threads of the
/// pool: it locks the names for moments, and threads that events wait for lock them too.
pub(super) struct SnapshotCoordinator {
    pub(super) settings: SnapshotSettings,
    /// Distinguishes the files of this run from those of others.
    pub(super) run: RunId,
    /// Workers of all processes.
    pub(super) workers: usize,
    pub(super) shared: Shared,
    pub(super) waker: Waker,
    pub(super) requests: Receiver<(Option<usize>, SnapshotMessage)>,
    pub(super) replies: Sender<(usize, SnapshotMessage)>,
    /// Tick up to which all changes are in the output.
    pub(super) written: Arc<AtomicU64>,
    /// Disconnected when the output ends.
    pub(super) output: Receiver<Infallible>,
    pub(super) pool: Sender<PackJob>,
    pub(super) stored: Receiver<Event>,
    pub(super) outcomes: Sender<Outcome>,
    pub(super) state: SnapshotState,
    /// Received rows by group.
    pub(super) rows: BTreeMap<u8, Interactions>,
    /// Whether packers rest in between.
    pub(super) is_paced: bool,
    /// Result of the last snapshot that ended.
    pub(super) last: Result<(), StoreError>,
}

/// Interval at which the output is polled when the snapshot waits for nothing else. A message for each flush would wake
/// this thread all the time.
const OUTPUT_POLL: Duration = Duration::from_millis(2);

/// What the coordinator's thread waits for.
enum Input {
    Request(Option<usize>, SnapshotMessage),
    Event(Event),
}

impl SnapshotCoordinator {
    /// Takes snapshots until the workers or the output end. Returns the failure of the last snapshot, if it failed.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        loop {
            let timeout = if self.state.awaits_output() { OUTPUT_POLL } else { Duration::MAX };
            let input = select! {
                recv(self.requests) -> request => request.map(|(from, message)| Input::Request(from, message)),
                recv(self.stored) -> event => event.map(Input::Event),
                recv(self.output) -> end => end.map(|end| match end {}),
                default(timeout) => Ok(Input::Event(Event::Output(self.written.load(Acquire)))),
            };
            match input {
                Ok(Input::Request(from, message)) => self.receive(from, message),
                Ok(Input::Event(event)) => self.apply(event),
                // A snapshot under way is abandoned, which is no failure.
                Err(_) => return if self.state.is_idle() { self.last } else { Ok(()) },
            }
        }
    }

    fn receive(&mut self, from: Option<usize>, message: SnapshotMessage) {
        match message {
            SnapshotMessage::Begin(snapshot) => {
                self.rows.clear();
                self.is_paced = !snapshot.is_last;
                self.apply(Event::Begin(snapshot));
            }
            SnapshotMessage::Changed { snapshot, groups } => self.apply(Event::Changed { snapshot, groups }),
            SnapshotMessage::Interactions(chunk) => {
                let (snapshot, group) = (chunk.snapshot, chunk.group);
                if self.state.is_writing(snapshot) {
                    self.append(&chunk);
                }
                if chunk.last {
                    self.apply(Event::Sent { snapshot, group });
                }
                if let Some(worker) = from {
                    self.reply(worker, SnapshotMessage::Taken);
                    self.waker.wake();
                }
            }
            SnapshotMessage::Wanted { .. } | SnapshotMessage::Taken => {}
        }
    }

    fn apply(&mut self, event: Event) {
        for action in self.state.apply(event) {
            match action {
                Action::Request { snapshot, groups } => {
                    for worker in 0..self.workers {
                        self.reply(worker, SnapshotMessage::Wanted { snapshot, groups: groups.clone() });
                    }
                    self.waker.wake();
                }
                Action::Store { snapshot, group } => self.store(snapshot, group),
                Action::Publish(snapshot, files) => {
                    let result = self.publish(&snapshot, files);
                    self.apply(Event::Published(result));
                }
                Action::End { snapshot, result } => self.end(snapshot, result),
            }
        }
    }

    /// Adds rows to those of their group.
    fn append(&mut self, chunk: &SnapshotChunk<dataflows::Event>) {
        const RETAINED: &str = "names are retained while a snapshot is taken";
        let rows = self.rows.entry(chunk.group).or_default();
        let names = &self.shared.names;
        for &dataflows::Event { user, item, ts, level, scope } in &chunk.rows {
            if !rows.push_known(user, item, ts, level) {
                // The reader and the writer need the names too, so they are locked only for names that are new here.
                let (users, items, trending) = (names.users(), names.items(), names.trending());
                let item_name = items.get(item).or_else(|| trending.items.get(item)).expect(RETAINED);
                rows.push((user, users.get(user).expect(RETAINED)), (item, item_name), ts, level);
            }
            if let Some(scope) = scope {
                rows.set_room(scope.id(), names.trending().rooms.get(scope.id()).expect(RETAINED));
            }
        }
    }

    /// Sends the rows of a group to the pool, and blocks while all packers are busy: then requests queue up, workers keep the
    /// rest, and memory stays bounded.
    fn store(&mut self, snapshot: u64, group: u8) {
        let rows = self.rows.remove(&group).unwrap_or_default();
        if rows.is_empty() {
            self.apply(Event::Stored { snapshot, group, file: Ok(None) });
            return;
        }
        let job = PackJob { snapshot, group, rows, is_paced: self.is_paced };
        select! {
            send(self.pool, job) -> sent => sent.expect("the pool lives as long as its jobs"),
            // The run is over, and the main loop ends next.
            recv(self.output) -> _ => {}
        }
    }

    fn publish(&self, snapshot: &Snapshot, files: Files) -> Result<(), StoreError> {
        injected("snapshot.publish")?;
        let files: Vec<GroupFile> = files.into_values().collect();
        let settings = &self.settings;
        let inputs = input_positions(&settings.inputs, &snapshot.positions);
        let compatibility = settings.compatibility.clone();
        let id = (snapshot.number, self.run);
        settings.store.publish(&manifest(id, snapshot.time, compatibility, inputs, self.workers, files))?;
        // Files that are not deleted now are deleted after the next snapshot.
        if let Err(error) = settings.store.prune(settings.keep, None, Depth::Sizes) {
            tracing::warn!(%error, "cannot delete old snapshots");
        }
        Ok(())
    }

    fn end(&mut self, snapshot: u64, result: Result<(), StoreError>) {
        let lost = matches!(result, Err(StoreError::Taken { .. }));
        if let Err(error) = &result {
            tracing::warn!(snapshot, %error, "snapshot failed, the previous one stays valid");
            if lost {
                // The other run continues, so this one must not.
                self.shared.stop.set();
            }
            if let Err(error) = self.settings.store.discard(snapshot, self.run) {
                tracing::warn!(snapshot, %error, "cannot delete the files of a failed snapshot yet");
            }
        }
        let outcome = Outcome { failed: result.is_err(), lost, base: self.state.base() };
        self.last = result;
        self.rows.clear();
        self.shared.names.remove_deferred();
        // Sending fails only when the run is over.
        self.outcomes.send(outcome).unwrap_or_default();
        self.waker.wake();
    }

    fn reply(&self, worker: usize, message: SnapshotMessage) {
        // Sending fails only when the run is over.
        self.replies.send((worker, message)).unwrap_or_default();
    }
}
