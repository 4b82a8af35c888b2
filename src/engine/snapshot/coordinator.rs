//! The coordinator's thread: receives messages, applies them to its [`SnapshotState`], and executes the actions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};
use dataflows::snapshot::SnapshotChunk;
use dataflows::{ControlRecord, ItemRecord};
use snapshots::{Depth, Interactions, Kind, Manifest, RunId, StatementRows, StoreError};

use super::pool::{PackJob, Rows, injected};
use super::state::{Action, Event, SnapshotState};
use super::{FieldNames, Files, Outcome, Shard, Snapshot, SnapshotMessage, controls, input_positions, manifest};
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
    pub(super) interactions: BTreeMap<u8, Interactions>,
    pub(super) statements: BTreeMap<u8, StatementRows>,
    pub(super) controls: BTreeMap<u8, StatementRows>,
    /// Fields of the catalogue, if the run has one.
    pub(super) catalogue: Option<FieldNames>,
    /// Whether packers rest in between.
    pub(super) is_paced: bool,
    /// Result of the last snapshot that ended.
    pub(super) last: Result<(), StoreError>,
}

/// Interval at which the output is polled when the snapshot waits for nothing else. A message for each flush would wake
/// this thread all the time.
const OUTPUT_POLL: Duration = Duration::from_millis(2);

const RETAINED: &str = "names are retained while a snapshot is taken";

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
                self.clear_rows();
                self.is_paced = !snapshot.is_last;
                self.apply(Event::Begin(snapshot));
            }
            SnapshotMessage::Changed { snapshot, shards } => self.apply(Event::Changed { snapshot, shards }),
            SnapshotMessage::Interactions(chunk) => {
                self.take(from, Kind::Interactions, &chunk, Self::append_interactions);
            }
            SnapshotMessage::Catalogue(chunk) => self.take(from, Kind::Catalogue, &chunk, Self::append_statements),
            SnapshotMessage::Controls(chunk) => self.take(from, Kind::Controls, &chunk, Self::append_controls),
            SnapshotMessage::Wanted { .. } | SnapshotMessage::Taken => {}
        }
    }

    /// Takes a chunk of a worker, which `append` adds to the rows of its group.
    fn take<D>(
        &mut self,
        from: Option<usize>,
        kind: Kind,
        chunk: &SnapshotChunk<D>,
        append: impl FnOnce(&mut Self, &SnapshotChunk<D>),
    ) {
        let snapshot = chunk.snapshot;
        if self.state.is_writing(snapshot) {
            append(self, chunk);
        }
        if chunk.last {
            self.apply(Event::Sent { snapshot, shard: Shard { kind, group: chunk.group } });
        }
        if let Some(worker) = from {
            self.reply(worker, SnapshotMessage::Taken);
            self.waker.wake();
        }
    }

    fn apply(&mut self, event: Event) {
        for action in self.state.apply(event) {
            match action {
                Action::Request { snapshot, shards } => {
                    for worker in 0..self.workers {
                        self.reply(worker, SnapshotMessage::Wanted { snapshot, shards: shards.clone() });
                    }
                    self.waker.wake();
                }
                Action::Store { snapshot, shard } => self.store(snapshot, shard),
                Action::Publish(snapshot, files) => {
                    let result = self.publish(&snapshot, files);
                    self.apply(Event::Published(result));
                }
                Action::End { snapshot, result } => self.end(snapshot, result),
            }
        }
    }

    /// Adds events to the rows of their group.
    fn append_interactions(&mut self, chunk: &SnapshotChunk<dataflows::Event>) {
        let rows = self.interactions.entry(chunk.group).or_default();
        let names = &self.shared.names;
        for &dataflows::Event { user, item, ts, effect, scope } in &chunk.rows {
            if !rows.push_known(user, item, ts, effect) {
                // The reader and the writer need the names too, so they are locked only for names that are new here.
                let (users, items, trending) = (names.users(), names.items(), names.trending());
                let item_name = items.get(item).or_else(|| trending.items.get(item)).expect(RETAINED);
                rows.push((user, users.get(user).expect(RETAINED)), (item, item_name), ts, effect);
            }
            if let Some(scope) = scope {
                rows.set_room(scope.id(), names.trending().rooms.get(scope.id()).expect(RETAINED));
            }
        }
    }

    /// Adds records of the catalogue to the rows of their group.
    fn append_statements(&mut self, chunk: &SnapshotChunk<ItemRecord>) {
        let Some(fields) = &self.catalogue else { return };
        let rows = self.statements.entry(chunk.group).or_default();
        for records in chunk.rows.chunk_by(|a, b| a.item == b.item) {
            // Copied, so that nothing is formatted while the names are locked.
            let name = self.shared.names.items().get(records[0].item).expect(RETAINED).to_owned();
            for record in records {
                fields.append(rows, &name, record);
            }
        }
    }

    /// Adds controls to the rows of their group.
    fn append_controls(&mut self, chunk: &SnapshotChunk<ControlRecord>) {
        let rows = self.controls.entry(chunk.group).or_default();
        for records in chunk.rows.chunk_by(|a, b| a.user == b.user) {
            // Copied, so that nothing is formatted while the names are locked.
            let name = self.shared.names.users().get(records[0].user).expect(RETAINED).to_owned();
            for record in records {
                controls::append(rows, &name, record);
            }
        }
    }

    fn clear_rows(&mut self) {
        self.interactions.clear();
        self.statements.clear();
        self.controls.clear();
    }

    /// Sends the rows of a shard to the pool, and blocks while all packers are busy: then requests queue up, workers
    /// keep the rest, and memory stays bounded.
    fn store(&mut self, snapshot: u64, shard: Shard) {
        let rows = match shard.kind {
            Kind::Interactions => self.interactions.remove(&shard.group).map(Rows::Interactions),
            Kind::Catalogue => self.statements.remove(&shard.group).map(Rows::Catalogue),
            Kind::Controls => self.controls.remove(&shard.group).map(Rows::Controls),
        };
        let Some(rows) = rows.filter(|rows| !rows.is_empty()) else {
            self.apply(Event::Stored { snapshot, shard, file: Ok(None) });
            return;
        };
        let job = PackJob { snapshot, shard, rows, is_paced: self.is_paced };
        select! {
            send(self.pool, job) -> sent => sent.expect("the pool lives as long as its jobs"),
            // The run is over, and the main loop ends next.
            recv(self.output) -> _ => {}
        }
    }

    fn publish(&self, snapshot: &Snapshot, files: Files) -> Result<(), StoreError> {
        injected("snapshot.publish")?;
        let settings = &self.settings;
        let (events, others) = snapshot.positions.split_at(settings.inputs.len().min(snapshot.positions.len()));
        let (catalogue, controls) = others.split_at(settings.catalogue.len().min(others.len()));
        let inputs = input_positions(&settings.inputs, events);
        let compatibility = settings.compatibility.clone();
        let id = (snapshot.number, self.run);
        let manifest = manifest(id, snapshot.time, compatibility, inputs, self.workers, files);
        let catalogue_inputs = input_positions(&settings.catalogue, catalogue);
        let control_inputs = input_positions(&settings.controls, controls);
        settings.store.publish(&Manifest { catalogue_inputs, control_inputs, ..manifest })?;
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
        self.clear_rows();
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
