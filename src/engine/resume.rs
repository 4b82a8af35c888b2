//! Resuming from an earlier run: its snapshot enters the graph as events, and the output is reconciled with the resulting
//! lists.
//!
//! Threads read and decode files ahead of the reader, while the graph processes earlier ones.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, bounded};
use dataflows::{Barrier, Event, Scope};
use schema::{ListKey, id64};
use snapshots::{Interactions, Manifest, Store, StoreError};

use super::Resume;
use super::clock::{Clock, now};
use super::reader::{Break, OutputGate, Reader};
use super::supervisor::{Part, Reporter};
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
            let known = lists.iter().map(|(key, items)| self.ticks.known_list(key, items)).collect();
            self.ticks.tick.directives.known = known;
            self.ticks.send()?;
        }
        self.ticks.tick.directives.barrier = manifest.is_some().then_some(Barrier::LoadEnd);
        self.gate = OutputGate::at_resume(&self.inputs, self.ticks.shared.clock, self.ticks.at, sink_state.at);
        self.ticks.tick.directives.finish_reconcile = self.gate == OutputGate::Open;
        self.send_with_positions()
    }

    /// Loads the events of a snapshot.
    fn load_all(&mut self, manifest: &Arc<Manifest>) -> Result<(), Break> {
        let store = self.store.clone().expect("a run that resumes from a snapshot has a store");
        self.ticks.tick.directives.barrier = Some(Barrier::LoadBegin);
        let mut loaded = 0;
        for group in decoded(&store, manifest, &self.ticks.shared.reporter) {
            if self.ticks.shared.stop.is_set() {
                return Err(Break::Stopped);
            }
            self.load(&group.map_err(|error| Break::Failed(error.into()))?);
            if self.ticks.tick.events.len() >= LOAD_BATCH {
                self.ticks.send()?;
            }
            loaded += 1;
        }
        if loaded < manifest.groups.len() {
            // A decoder has panicked, which ends the run. What is loaded is not the snapshot.
            return Err(Break::Stopped);
        }
        if !self.ticks.tick.events.is_empty() || self.ticks.tick.directives.barrier.is_some() {
            self.ticks.send()?;
        }
        Ok(())
    }

    fn load(&mut self, group: &Decoded) {
        self.ticks.shared.progress.restored.fetch_add(group.rows.len() as u64, Relaxed);
        let (tick, at) = (self.ticks.tick.number, self.ticks.at);
        let names = Arc::clone(&self.ticks.shared.names);
        // One lock for a whole group: no other thread needs the names yet.
        let (mut users, mut items) = (names.users(), names.items());
        for (name, id) in group.rows.users().zip(&group.users) {
            users.insert(*id, name, tick, 0);
        }
        for (name, id) in group.rows.items().zip(&group.items) {
            items.insert(*id, name, tick, 0);
        }
        // At the tick of the snapshot: earlier, the events would be ahead of the clock, and every timer until then would fire.
        (self.ticks.tick.since, self.ticks.tick.at) = (at, at);
        self.ticks.tick.events.reserve(group.rows.len());
        let item_names: Vec<&str> = group.rows.items().collect();
        for (row, (user, item, ts, level)) in group.rows.numbered().enumerate() {
            let item_name = item_names[item];
            let (user, item) = (group.users[user], group.items[item]);
            if ts > at {
                users.retain_until(user, ts);
                items.retain_until(item, ts);
            }
            let scope = self.ticks.retain_trending_names(ts, (item, item_name), group.rows.room(row));
            self.ticks.tick.events.push(Event { user, item, ts, level, scope });
        }
    }
}

/// The rows of a group, and the id of each name, by index.
struct Decoded {
    rows: Interactions,
    users: Vec<u64>,
    items: Vec<u64>,
}

/// Reads all groups of a snapshot ahead of the receiver, in the order in which they are ready: the graph needs none.
fn decoded(store: &Arc<Store>, manifest: &Arc<Manifest>, reporter: &Reporter) -> Receiver<Result<Decoded, StoreError>> {
    let (ready, groups) = bounded(DECODERS);
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..DECODERS {
        let (store, manifest, next, ready) =
            (Arc::clone(store), Arc::clone(manifest), Arc::clone(&next), ready.clone());
        let decode = move || {
            faults::hit_infallible("decoder.start");
            while let Some(file) = manifest.groups.get(next.fetch_add(1, Relaxed)) {
                let group = store.read_group(file).map(|rows| Decoded {
                    users: rows.users().map(id64).collect(),
                    items: rows.items().map(id64).collect(),
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
    fn known_list(&self, key: &ListKey, items: &[String]) -> (dataflows::ListKey, Vec<u64>) {
        let tick = self.tick.number;
        self.shared.names.users().intern(&key.to_string(), tick, u64::MAX);
        for item in items {
            self.shared.names.items().intern(item, tick, u64::MAX);
        }
        (self.list_key(key), items.iter().map(|item| id64(item)).collect())
    }

    /// The graph's key of a list. Without trending lists, reserved names are users' names.
    fn list_key(&self, key: &ListKey) -> dataflows::ListKey {
        let id = id64(&key.to_string());
        match key {
            ListKey::Everywhere if self.config.graph.trending.is_some() => dataflows::ListKey::Everywhere,
            ListKey::Room(_) if self.config.graph.trending.is_some() => dataflows::ListKey::Room(Scope::new(id)),
            _ => dataflows::ListKey::User(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::reader::{Rejects, TickSender};
    use crate::engine::supervisor::{OutputWatch, Supervisor};
    use crate::engine::tick::{TickInput, Waker};
    use crate::engine::{Interval, Shared, SnapshotSettings};
    use crate::stop::Stop;
    use connectors::RejectLog;
    use crossbeam_channel::unbounded;
    use schema::key_group;
    use snapshots::{GraphTime, RunId};

    const NOW: u64 = 1_763_900_000_000;

    /// A snapshot with one user in each of the first groups: an event a day, and one ahead of the clock.
    fn state(folder: &std::path::Path) -> (SnapshotSettings, Manifest) {
        let store = Store::open(folder.to_str().unwrap()).unwrap();
        let run = RunId(7);
        let user_of = |group| (0..10_000).map(|n| format!("u{n}")).find(|user| key_group(id64(user)) == group).unwrap();
        let groups = [0, 1, 2].map(|group| {
            let mut rows = Interactions::default();
            let user = user_of(group);
            for day in 0..20 {
                rows.push((id64(&user), &user), (day, &format!("p{day}")), NOW - day * 86_400_000, 1);
            }
            rows.push((id64(&user), &user), (77, "ahead"), NOW + 5, 1);
            store.put_group(1, run, group, &rows).unwrap()
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
        };
        let state = SnapshotSettings {
            store: Arc::new(store),
            newest: 1,
            interval: Interval::never(),
            keep: 1,
            compatibility: serde_json::Map::default(),
            inputs: vec![],
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
            names: Arc::default(),
            progress: Arc::default(),
            ending: supervisor.ending.clone(),
            reporter: supervisor.reporter.clone(),
        };
        let config = Config::load(None, &[]).unwrap();
        let rejects = Rejects::new(RejectLog::default(), OutputWatch::new(String::new));
        let (sender, ticks) = unbounded();
        let out = TickSender { ticks: sender, waker: Waker::default(), waiting: Arc::default() };
        let reader =
            Reader::new(config, vec![], rejects, shared.clone(), out, Some(Arc::clone(&state.store)), Some(resume));
        reader.run().unwrap();
        let ticks: Vec<TickInput> = ticks.iter().collect();
        assert!(ticks.iter().all(|tick| (tick.since, tick.at) == (NOW, NOW)));
        assert_eq!(ticks.iter().map(|tick| tick.events.len()).sum::<usize>(), 3 * 21);
        assert_eq!(ticks.first().and_then(|tick| tick.directives.barrier), Some(Barrier::LoadBegin));
        // The positions of the inputs come with the end of the load, not before.
        let positions = ticks.iter().position(|tick| tick.directives.positions.is_some());
        assert_eq!(positions, ticks.iter().position(|tick| tick.directives.barrier == Some(Barrier::LoadEnd)));
        assert!(shared.names.users().get(ticks[0].events[0].user).is_some());
    }
}
