//! Resuming from an earlier run: its snapshot enters the graph as events, and the output is reconciled with the resulting
//! lists.
//!
//! Threads read and decode files ahead of the reader, while the graph processes earlier ones.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use connectors::SinkState;
use crossbeam_channel::{Receiver, bounded};
use dataflows::{Barrier, Event};
use schema::id64;
use snapshots::{Interactions, Manifest, Store, StoreError};

use super::clock::{Clock, now};
use super::reader::{Break, Out, OutputGate, Reader};
use crate::stop::Stop;

/// Minimum of events of a snapshot in one tick. A tick has whole groups.
const LOAD_BATCH: usize = 20_000;

/// Lists of the output in one tick.
const LISTS_BATCH: usize = 10_000;

/// What a run resumes from. Nothing is sent before the input that existed at its start is read.
#[derive(Clone, Default)]
pub struct Resume {
    /// Manifest of the snapshot, if there is one.
    pub manifest: Option<Arc<Manifest>>,
    /// Lists that the output holds.
    pub holds: Arc<SinkState>,
}

/// Threads that decode groups. Two are far faster than the graph.
const DECODERS: usize = 2;

impl Reader {
    /// Loads the snapshot and the lists of the output into the graph, if the run resumes.
    pub(super) fn restore(&mut self, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        let Some(Resume { manifest, holds }) = self.resume.take() else { return Ok(()) };
        self.edge.at = match self.edge.clock {
            Clock::Event => 0,
            // Time never goes back, not even before what was sent.
            Clock::Wall => holds.at.max(now()),
        };
        if let Some(manifest) = &manifest {
            self.edge.at = self.edge.at.max(manifest.time.ms);
            self.load_all(manifest, out, stop)?;
        }
        for lists in holds.lists.chunks(LISTS_BATCH) {
            self.edge.feed.told.holds = lists.iter().map(|(user, items)| self.edge.known_list(user, items)).collect();
            self.edge.send(out)?;
        }
        self.edge.feed.told.barrier = manifest.is_some().then_some(Barrier::LoadEnd);
        self.edge.opening = self.opening(&holds);
        self.edge.feed.told.opens = self.edge.opening == OutputGate::Done;
        if self.edge.saves {
            self.edge.feed.told.positions = Some(self.positions());
        }
        self.edge.send(out)
    }

    /// When to reconcile the output with the lists.
    fn opening(&self, holds: &SinkState) -> OutputGate {
        if self.waits_for_backfill() {
            return OutputGate::Backfilled;
        }
        // A replay first recomputes what the output holds of ticks after the snapshot, and reconciles where it ended.
        let is_reached = self.edge.clock == Clock::Wall || self.edge.at > holds.at;
        if is_reached { OutputGate::Done } else { OutputGate::After(holds.at) }
    }

    /// Loads the events of a snapshot.
    fn load_all(&mut self, manifest: &Arc<Manifest>, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        let store = self.store.clone().expect("a run that resumes from a snapshot has a store");
        self.edge.feed.told.barrier = Some(Barrier::LoadBegin);
        for group in decoded(&store, manifest) {
            if stop.is_set() {
                return Err(Break::Stopped);
            }
            self.load(&group.map_err(|error| Break::Failed(error.into()))?);
            if self.edge.feed.events.len() >= LOAD_BATCH {
                self.edge.send(out)?;
            }
        }
        if !self.edge.feed.events.is_empty() || self.edge.feed.told.barrier.is_some() {
            self.edge.send(out)?;
        }
        Ok(())
    }

    fn load(&mut self, group: &Decoded) {
        self.edge.progress.restored.fetch_add(group.rows.len() as u64, Relaxed);
        let (tick, at) = (self.edge.feed.number, self.edge.at);
        let names = Arc::clone(&self.edge.names);
        // One lock for a whole group: no other thread needs the names yet.
        let (mut users, mut items) = (names.users(), names.items());
        for (name, id) in group.rows.users().zip(&group.users) {
            users.know(*id, name, tick, 0);
        }
        for (name, id) in group.rows.items().zip(&group.items) {
            items.know(*id, name, tick, 0);
        }
        // At the tick of the snapshot: earlier, the events would be ahead of the clock, and every timer until then would fire.
        (self.edge.feed.since, self.edge.feed.at) = (at, at);
        self.edge.feed.events.reserve(group.rows.len());
        let item_names: Vec<&str> = group.rows.items().collect();
        for (row, (user, item, ts, level)) in group.rows.numbered().enumerate() {
            let item_name = item_names[item];
            let (user, item) = (group.users[user], group.items[item]);
            if ts > at {
                users.hold(user, ts);
                items.hold(item, ts);
            }
            let event = Event { user, item, ts, level };
            self.edge.trend(&event, item_name, group.rows.room(row));
            self.edge.feed.events.push(event);
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
fn decoded(store: &Arc<Store>, manifest: &Arc<Manifest>) -> Receiver<Result<Decoded, StoreError>> {
    let (ready, groups) = bounded(DECODERS);
    let next = Arc::new(AtomicUsize::new(0));
    for _ in 0..DECODERS {
        let (store, manifest, next, ready) =
            (Arc::clone(store), Arc::clone(manifest), Arc::clone(&next), ready.clone());
        let decode = move || {
            while let Some(file) = manifest.groups.get(next.fetch_add(1, Relaxed)) {
                let group = store.read_group(file).map(|rows| Decoded {
                    users: rows.users().map(id64).collect(),
                    items: rows.items().map(id64).collect(),
                    rows,
                });
                let failed = group.is_err();
                // The receiver is gone when the run shuts down.
                if ready.send(group).is_err() || failed {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("decoder".into())
            .spawn(decode)
            .expect("threads can be started at the beginning of a run");
    }
    groups
}

impl super::reader::TickBuilder {
    /// The ids of a list that the output holds. Its names are kept to the end of the run: the graph may forget a user
    /// before the output opens, and the end of its list is still to be sent.
    fn known_list(&self, user: &str, items: &[String]) -> (u64, Vec<u64>) {
        let tick = self.feed.number;
        self.names.users().intern(user, tick, u64::MAX);
        for item in items {
            self.names.items().intern(item, tick, u64::MAX);
        }
        (id64(user), items.iter().map(|item| id64(item)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::reader::Rejects;
    use crate::engine::tick::{TickInput, Waker};
    use crate::engine::{Interval, Shared, State};
    use connectors::RejectLog;
    use crossbeam_channel::unbounded;
    use snapshots::{GraphTime, RunId, group_of};

    const NOW: u64 = 1_763_900_000_000;

    /// A snapshot with one user in each of the first groups: an event a day, and one ahead of the clock.
    fn state(folder: &std::path::Path) -> (State, Manifest) {
        let store = Store::open(folder.to_str().unwrap()).unwrap();
        let run = RunId(7);
        let user_of = |group| (0..10_000).map(|n| format!("u{n}")).find(|user| group_of(id64(user)) == group).unwrap();
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
        let state = State {
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
        let shared =
            Shared { clock: Clock::Event, stop: Stop::default(), names: Arc::default(), progress: Arc::default() };
        let (config, rejects) = (Config::load(None, &[]).unwrap(), Rejects::new(RejectLog::default()));
        let reader = Reader::new(&config, vec![], rejects, shared.clone(), Arc::default(), Some(&state), Some(resume));
        let (out, ticks) = unbounded();
        assert!(reader.run(&out, &Stop::default(), &Waker::default()).is_none());
        drop(out);
        let ticks: Vec<TickInput> = ticks.iter().collect();
        assert!(ticks.iter().all(|tick| (tick.since, tick.at) == (NOW, NOW)));
        assert_eq!(ticks.iter().map(|tick| tick.events.len()).sum::<usize>(), 3 * 21);
        assert_eq!(ticks.first().and_then(|tick| tick.told.barrier), Some(Barrier::LoadBegin));
        // The positions of the inputs come with the end of the load, not before.
        let positions = ticks.iter().position(|tick| tick.told.positions.is_some());
        assert_eq!(positions, ticks.iter().position(|tick| tick.told.barrier == Some(Barrier::LoadEnd)));
        assert!(shared.names.users().get(ticks[0].events[0].user).is_some());
    }
}
