//! Resuming from an earlier run: its snapshot enters the graph as events, and the output is reconciled with the resulting
//! lists.
//!
//! Threads read and decode files ahead of the reader, while the graph processes earlier ones.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, bounded};
use dataflows::{Barrier, Event, Scope};
use schema::{IdKey, ListKey, trending_in};
use snapshots::{Interactions, Manifest, Store, StoreError};

use super::Resume;
use super::clock::{Clock, now};
use super::names::Table;
use super::reader::{Break, OutputGate, Reader, retain_trending_names};
use super::snapshot::{FieldNames, NamedControl, NamedRecord, read_catalogue, read_controls};
use super::supervisor::{Part, Reporter};
use crate::config::Config;
use crate::faults;

/// Minimum of events of a snapshot in one tick. A tick has whole groups.
const LOAD_BATCH: usize = 20_000;

/// Lists of the output in one tick.
const LISTS_BATCH: usize = 10_000;

/// Threads that decode groups. Two are far faster than the graph.
const DECODERS: usize = 2;

impl Reader {
    /// Loads the snapshot and the lists of the output into the graph, if the run resumes.
    pub(super) fn restore(&mut self) -> Result<(), Break> {
        let Some(Resume { manifest, sink_state }) = self.resume.take() else { return Ok(()) };
        self.ticks.at = match self.ticks.shared.clock {
            Clock::Event => 0,
            // Time never goes back, not even before the newest change in the sink.
            Clock::Wall => sink_state.at.max(now()),
        };
        if let Some(manifest) = &manifest {
            self.ticks.at = self.ticks.at.max(manifest.time.ms);
            self.load_all(manifest)?;
        }
        for lists in sink_state.lists.chunks(LISTS_BATCH) {
            let known = lists.iter().filter_map(|(key, items)| self.ticks.known_list(key, items)).collect();
            self.ticks.tick.directives.known = known;
            self.ticks.send()?;
        }
        self.ticks.tick.directives.barrier = manifest.is_some().then_some(Barrier::LoadEnd);
        self.gate = OutputGate::at_resume(&self.inputs, self.ticks.shared.clock, self.ticks.at, sink_state.at);
        self.ticks.tick.directives.finish_reconcile = self.gate == OutputGate::Open;
        self.send_with_positions()
    }

    /// Loads the catalogue, the controls and the events of a snapshot. Controls come before the events that they are about.
    fn load_all(&mut self, manifest: &Arc<Manifest>) -> Result<(), Break> {
        let store = self.store.clone().expect("a run that resumes from a snapshot has a store");
        self.ticks.tick.directives.barrier = Some(Barrier::LoadBegin);
        let fields = FieldNames::new(&self.ticks.config.catalogue.tag_groups);
        for records in read_catalogue(&store, manifest, self.ticks.shared.ids, &fields) {
            self.load_records(records.map_err(|error| Break::Failed(error.into()))?);
            if self.ticks.tick.len() >= LOAD_BATCH {
                self.ticks.send()?;
            }
        }
        for records in read_controls(&store, manifest, self.ticks.shared.ids) {
            if self.ticks.shared.stop.is_set() {
                return Err(Break::Stopped);
            }
            self.load_controls(records.map_err(|error| Break::Failed(error.into()))?);
            if self.ticks.tick.len() >= LOAD_BATCH {
                self.ticks.send()?;
            }
        }
        let mut loaded = 0;
        for group in decoded(&store, manifest, self.ticks.shared.ids, &self.ticks.shared.reporter) {
            if self.ticks.shared.stop.is_set() {
                return Err(Break::Stopped);
            }
            self.load(&group.map_err(|error| Break::Failed(error.into()))?);
            if self.ticks.tick.len() >= LOAD_BATCH {
                self.ticks.send()?;
            }
            loaded += 1;
        }
        if loaded < manifest.groups.len() {
            // A decoder has panicked, which ends the run. What is loaded is not the snapshot.
            return Err(Break::Stopped);
        }
        if !self.ticks.tick.is_empty() || self.ticks.tick.directives.barrier.is_some() {
            self.ticks.send()?;
        }
        Ok(())
    }

    /// Adds records of the catalogue to the tick, at the tick of the snapshot.
    fn load_records(&mut self, records: Vec<NamedRecord>) {
        let (tick, at) = (self.ticks.tick.number, self.ticks.at);
        let names = Arc::clone(&self.ticks.shared.names);
        let mut names = names.lock(self.ticks.config.graph.trending.is_some());
        (self.ticks.tick.since, self.ticks.tick.at) = (at, at);
        for (name, record) in records {
            // Names that collide were rejected before they came into a snapshot.
            if let Ok(claim) = names.claim_item((record.item, &name)) {
                claim.hold_record(tick);
                self.ticks.tick.items.push(record);
            }
        }
    }

    /// Adds controls to the tick, at the tick of the snapshot.
    fn load_controls(&mut self, records: Vec<NamedControl>) {
        let (tick, at) = (self.ticks.tick.number, self.ticks.at);
        let names = Arc::clone(&self.ticks.shared.names);
        let mut users = names.users();
        (self.ticks.tick.since, self.ticks.tick.at) = (at, at);
        for (name, record) in records {
            // Names that collide were rejected before they came into a snapshot.
            if let Ok(claim) = users.claim(record.user, &name) {
                claim.hold_control(tick, record.ts);
                self.ticks.tick.controls.push(record);
            }
        }
    }

    fn load(&mut self, group: &Decoded) {
        let (tick, at) = (self.ticks.tick.number, self.ticks.at);
        let (mut latest_of_user, mut latest_of_item) = (vec![0; group.users.len()], vec![0; group.items.len()]);
        for (user, item, ts, _) in group.rows.numbered() {
            latest_of_user[user] = ts.max(latest_of_user[user]);
            latest_of_item[item] = ts.max(latest_of_item[item]);
        }
        let Config { graph, input, .. } = &self.ticks.config;
        let names = Arc::clone(&self.ticks.shared.names);
        // One lock for a whole group: no other thread needs the names yet.
        let mut names = names.lock(graph.trending.is_some());
        let has_user = hold_all(&mut names.users, group.rows.users().zip(&group.users).zip(latest_of_user), tick);
        let has_item = hold_all(&mut names.items, group.rows.items().zip(&group.items).zip(latest_of_item), tick);
        // At the tick of the snapshot: earlier, the events would be ahead of the clock, and every timer until then would fire.
        (self.ticks.tick.since, self.ticks.tick.at) = (at, at);
        self.ticks.tick.events.reserve(group.rows.len());
        let item_names: Vec<&str> = group.rows.items().collect();
        let mut left_out = 0_u64;
        for (row, (user, item, ts, effect)) in group.rows.numbered().enumerate() {
            if !has_user[user] || !has_item[item] {
                left_out += 1;
                continue;
            }
            let item_name = item_names[item];
            let (user, item) = (group.users[user], group.items[item]);
            let scope = graph
                .trending
                .filter(|_| effect.level().is_some())
                .map(|trending| trending.expires(ts))
                .filter(|until| *until > at)
                .and_then(|until| {
                    let room = group.rows.room(row).filter(|_| input.rooms);
                    let room = room.map(|room| (self.ticks.shared.ids.id64(&trending_in(room)), room));
                    retain_trending_names(&mut names, (item, item_name), room, until)
                });
            self.ticks.tick.events.push(Event { user, item, ts, effect, scope });
        }
        self.ticks.shared.progress.restored.fetch_add(group.rows.len() as u64 - left_out, Relaxed);
        if left_out > 0 {
            tracing::warn!(
                rows = left_out,
                "rows of the snapshot are left out: their names have the ids of other names"
            );
        }
    }
}

/// Holds the ids of names, each with the latest timestamp of its events. Returns for each whether it is held: one whose id
/// another name has is not. Only a state from before such names were rejected has any.
fn hold_all<'a>(table: &mut Table, names: impl Iterator<Item = ((&'a str, &'a u64), u64)>, tick: u64) -> Vec<bool> {
    names.map(|((name, id), latest)| table.claim(*id, name).map(|claim| claim.hold(tick, latest)).is_ok()).collect()
}

/// The rows of a group, and the id of each name, by index.
struct Decoded {
    rows: Interactions,
    users: Vec<u64>,
    items: Vec<u64>,
}

/// Reads all groups of a snapshot ahead of the receiver, in the order in which they are ready: the graph needs none.
fn decoded(
    store: &Arc<Store>,
    manifest: &Arc<Manifest>,
    ids: IdKey,
    reporter: &Reporter,
) -> Receiver<Result<Decoded, StoreError>> {
    let (ready, groups) = bounded(DECODERS);
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..DECODERS {
        let (store, manifest, next, ready) =
            (Arc::clone(store), Arc::clone(manifest), Arc::clone(&next), ready.clone());
        let decode = move || {
            faults::hit_infallible("decoder.start");
            while let Some(file) = manifest.groups.get(next.fetch_add(1, Relaxed)) {
                let group = store.read_group(file).map(|rows| Decoded {
                    users: rows.users().map(|name| ids.id64(name)).collect(),
                    items: rows.items().map(|name| ids.id64(name)).collect(),
                    rows,
                });
                let failed = group.is_err();
                // Sending fails when the run shuts down.
                if ready.send(group).is_err() || failed {
                    break;
                }
            }
            Ok(())
        };
        reporter.spawn(Part::Helper("decoder"), tracing::error_span!("decoder"), decode);
    }
    groups
}

impl super::reader::TickBuilder {
    /// The ids of a list in the output. Its names are retained to the end of the run: the graph may forget a user before the
    /// output opens, and the end of its list has still to be emitted.
    ///
    /// `None`: another name holds the id of the list, so it cannot be compared. An item whose id another name holds is left
    /// out, so the list differs and is emitted.
    fn known_list(&self, key: &ListKey, items: &[String]) -> Option<(dataflows::ListKey, Vec<u64>)> {
        let ids = self.shared.ids;
        let tick = self.tick.number;
        let trends = self.config.graph.trending.is_some();
        let mut names = self.shared.names.lock(trends);
        let wire = key.to_string();
        let id = ids.id64(&wire);
        let list = match (key, &mut names.trending) {
            (ListKey::Everywhere, Some(_)) => dataflows::ListKey::Everywhere,
            (ListKey::Room(room), Some(trending)) => {
                trending.rooms.check(id, room).ok()?;
                trending.rooms.retain(id, room, u64::MAX);
                dataflows::ListKey::Room(Scope::new(id))
            }
            // Without trending lists, reserved names are users' names.
            _ => {
                names.users.claim(id, &wire).ok()?.hold(tick, u64::MAX);
                dataflows::ListKey::User(id)
            }
        };
        let mut hold = |item: &String| {
            let id = ids.id64(item);
            names.items.claim(id, item).ok()?.hold(tick, u64::MAX);
            Some(id)
        };
        Some((list, items.iter().filter_map(&mut hold).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::names::Names;
    use crate::engine::reader::{Inputs, Rejects, TickSender};
    use crate::engine::supervisor::{OutputWatch, Supervisor};
    use crate::engine::tick::{TickInput, Waker};
    use crate::engine::{Interval, Shared, SnapshotSettings};
    use crate::stop::Stop;
    use connectors::RejectLog;
    use crossbeam_channel::unbounded;
    use dataflows::ControlRecord;
    use schema::{Control, Effect, id64, key_group};
    use snapshots::{GraphTime, RunId, StatementRows};

    const NOW: u64 = 1_763_900_000_000;

    /// A snapshot with one user in each of the first groups: an event a day, one ahead of the clock, and a control.
    fn state(folder: &std::path::Path) -> (SnapshotSettings, Manifest) {
        let store = Store::open(folder.to_str().unwrap()).unwrap();
        let run = RunId(7);
        let user_of = |group| (0..10_000).map(|n| format!("u{n}")).find(|user| key_group(id64(user)) == group).unwrap();
        let groups = [0, 1, 2].map(|group| {
            let mut rows = Interactions::default();
            let user = user_of(group);
            for day in 0..20 {
                rows.push((id64(&user), &user), (day, &format!("p{day}")), NOW - day * 86_400_000, Effect::Counts(1));
            }
            rows.push((id64(&user), &user), (77, "ahead"), NOW + 5, Effect::Counts(1));
            store.put_group(1, run, group, &rows).unwrap()
        });
        let controls = [0, 1, 2].map(|group| {
            let mut rows = StatementRows::default();
            rows.push(&user_of(group), "forget", NOW - 7, Some("\"p3\""));
            store.put_controls(1, run, group, &rows).unwrap()
        });
        let manifest = Manifest {
            version: Manifest::VERSION,
            deltarec: "0.1.0".into(),
            sequence: 1,
            run,
            taken: "2026-11-24T04:00:00Z".parse().unwrap(),
            time: GraphTime { ms: NOW, sequence: 1 },
            compatibility: serde_json::Map::default(),
            inputs: vec![],
            output: None,
            workers: 1,
            rows: groups.iter().map(|group| group.rows).sum(),
            groups: groups.into(),
            catalogue: Vec::new(),
            catalogue_inputs: Vec::new(),
            controls: controls.into(),
            control_inputs: Vec::new(),
        };
        let state = SnapshotSettings {
            store: Arc::new(store),
            newest: 1,
            interval: Interval::never(),
            keep: 1,
            compatibility: serde_json::Map::default(),
            inputs: vec![],
            catalogue: vec![],
            controls: vec![],
        };
        (state, manifest)
    }

    #[test]
    fn loads_a_snapshot_at_its_tick() {
        let folder = tempfile::tempdir().unwrap();
        let (state, manifest) = state(folder.path());
        let resume = Resume { manifest: Some(Arc::new(manifest)), ..Resume::default() };
        let supervisor = Supervisor::new(Stop::default(), 0);
        let shared = Shared {
            clock: Clock::Event,
            stop: Stop::default(),
            ids: IdKey::default(),
            names: Arc::new(Names::new(u64::MAX)),
            progress: Arc::default(),
            ending: supervisor.ending.clone(),
            reporter: supervisor.reporter.clone(),
        };
        let config = Config::load(None, &[]).unwrap();
        let rejects = Rejects::new(RejectLog::default(), OutputWatch::new(String::new));
        let (sender, ticks) = unbounded();
        let out = TickSender { ticks: sender, waker: Waker::default(), waiting: Arc::default() };
        let inputs = Inputs::new(vec![], vec![], vec![]);
        let reader =
            Reader::new(config, inputs, rejects, shared.clone(), out, Some(Arc::clone(&state.store)), Some(resume));
        reader.run().unwrap();
        let ticks: Vec<TickInput> = ticks.iter().collect();
        assert!(ticks.iter().all(|tick| (tick.since, tick.at) == (NOW, NOW)));
        assert_eq!(ticks.iter().map(|tick| tick.events.len()).sum::<usize>(), 3 * 21);
        let controls: Vec<&ControlRecord> = ticks.iter().flat_map(|tick| &tick.controls).collect();
        assert_eq!(controls.len(), 3);
        for ControlRecord { user, ts, control, item } in controls {
            assert_eq!(
                (*ts, control, *item),
                (NOW - 7, &Control::Forget { item: Some("p3".into()) }, Some(id64("p3")))
            );
            assert!(ticks.iter().flat_map(|tick| &tick.events).any(|event| event.user == *user));
        }
        // No event comes in an earlier tick than the controls.
        let first = |has: fn(&TickInput) -> bool| ticks.iter().position(has).unwrap();
        assert!(first(|tick| !tick.controls.is_empty()) <= first(|tick| !tick.events.is_empty()));
        assert_eq!(ticks.first().and_then(|tick| tick.directives.barrier), Some(Barrier::LoadBegin));
        // The positions of the inputs come with the end of the load, not before.
        let positions = ticks.iter().position(|tick| tick.directives.positions.is_some());
        assert_eq!(positions, ticks.iter().position(|tick| tick.directives.barrier == Some(Barrier::LoadEnd)));
        assert!(shared.names.users().get(ticks[0].events[0].user).is_some());
    }
}
