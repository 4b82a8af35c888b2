//! Going on where another run ended: its snapshot enters the graph through the same door as events, and the output is
//! compared with the lists that result.
//!
//! Files are read and decoded by threads beside the reader, while the graph works on those before.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use connectors::SinkState;
use crossbeam_channel::{Receiver, bounded};
use dataflows::{Barrier, Event, ListKey, Scope};
use schema::{TRENDING, id64, room_of};
use snapshots::{Interactions, Manifest, Store, StoreError};

use super::clock::{Clock, now};
use super::reader::{Break, Out, OutputGate, Reader};
use crate::stop::Stop;

/// Events of a snapshot that enter in one tick, at least; then it is as long as its last group.
const LOADED_AT_ONCE: usize = 20_000;

/// Lists of the output told in one tick.
const HELD_AT_ONCE: usize = 10_000;

/// Where a run goes on from. Until what was there at its start is read, nothing is sent.
#[derive(Clone, Default)]
pub struct Resume {
    /// The snapshot, if there is one.
    pub manifest: Option<Arc<Manifest>>,
    /// What the output holds.
    pub holds: Arc<SinkState>,
}

/// Threads that decode: they outrun the graph by far.
const DECODERS: usize = 2;

impl Reader {
    /// Lets a snapshot and the output's lists into the graph, if there is something to go on from.
    pub(super) fn restore(&mut self, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        let Some(Resume { manifest, holds }) = self.resume.take() else { return Ok(()) };
        self.edge.at = match self.edge.clock {
            Clock::Event => 0,
            // Time never goes back, not even behind what was sent.
            Clock::Wall => holds.at.max(now()),
        };
        if let Some(manifest) = &manifest {
            self.edge.at = self.edge.at.max(manifest.time.ms);
            self.load_all(manifest, out, stop)?;
        }
        for holds in holds.lists.chunks(HELD_AT_ONCE) {
            self.edge.feed.directives.known = holds.iter().map(|(user, items)| self.edge.held(user, items)).collect();
            self.edge.send(out)?;
        }
        self.edge.feed.directives.barrier = manifest.is_some().then_some(Barrier::LoadEnd);
        self.edge.opening = self.opening(&holds);
        self.edge.feed.directives.finish_reconcile = self.edge.opening == OutputGate::Done;
        if self.edge.saves {
            self.edge.feed.directives.positions = Some(self.positions());
        }
        self.edge.send(out)
    }

    /// When the output is to be compared with the lists.
    fn opening(&self, holds: &SinkState) -> OutputGate {
        if self.waits_for_backfill() {
            return OutputGate::Backfilled;
        }
        // A replay compares where the output ended: what it holds of later ticks than the snapshot's is made again first.
        let is_there = self.edge.clock == Clock::Wall || self.edge.at > holds.at;
        if is_there { OutputGate::Done } else { OutputGate::After(holds.at) }
    }

    /// Lets the events of a snapshot in.
    fn load_all(&mut self, manifest: &Arc<Manifest>, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        let store = self.store.clone().expect("whoever goes on from a snapshot has the store");
        self.edge.feed.directives.barrier = Some(Barrier::LoadBegin);
        for group in decoded(&store, manifest) {
            if stop.is_set() {
                return Err(Break::Stopped);
            }
            self.load(&group.map_err(|error| Break::Failed(error.into()))?);
            if self.edge.feed.events.len() >= LOADED_AT_ONCE {
                self.edge.send(out)?;
            }
        }
        if !self.edge.feed.events.is_empty() || self.edge.feed.directives.barrier.is_some() {
            self.edge.send(out)?;
        }
        Ok(())
    }

    fn load(&mut self, group: &Decoded) {
        self.edge.progress.restored.fetch_add(group.rows.len() as u64, Relaxed);
        let (feed, at) = (self.edge.feed.number, self.edge.at);
        let names = Arc::clone(&self.edge.names);
        // One look at the names for a whole group: nobody else needs them yet.
        let (mut users, mut items) = (names.users(), names.items());
        for (name, id) in group.rows.users().zip(&group.users) {
            users.know(*id, name, feed, 0);
        }
        for (name, id) in group.rows.items().zip(&group.items) {
            items.know(*id, name, feed, 0);
        }
        // At the snapshot's tick: before it they would be events of the future, and all that time be lived through again.
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
            let scope = self.edge.trend(ts, (item, item_name), group.rows.room(row));
            self.edge.feed.events.push(Event { user, item, ts, level, scope });
        }
    }
}

/// The rows of a group, and the ids of its names by their places.
struct Decoded {
    rows: Interactions,
    users: Vec<u64>,
    items: Vec<u64>,
}

/// Reads all groups of a snapshot, a few ahead, in the order in which they are ready: the graph takes them in any.
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
                // Nobody takes it when the run is to end.
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
    /// A list that the output holds. Its names stay known to the end of the run: a user whose last event expires before the
    /// output opens is let go of by the graph, and the end of the list is still to be sent.
    fn held(&self, user: &str, items: &[String]) -> (ListKey, Vec<u64>) {
        let feed = self.feed.number;
        self.names.users().intern(user, feed, u64::MAX);
        for item in items {
            self.names.items().intern(item, feed, u64::MAX);
        }
        (self.list_key(user), items.iter().map(|item| id64(item)).collect())
    }

    /// The list of a user, or a trending list by its reserved name. Without trending lists, reserved names are users' names.
    fn list_key(&self, name: &str) -> ListKey {
        match name {
            _ if self.trending.is_none() => ListKey::User(id64(name)),
            TRENDING => ListKey::Everywhere,
            _ if room_of(name).is_some() => ListKey::Room(Scope::new(id64(name))),
            _ => ListKey::User(id64(name)),
        }
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
    use snapshots::{RunId, Time, group_of};

    const NOW: u64 = 1_763_900_000_000;

    /// A user for each of the first groups, who did something each day, and one event ahead of the clock.
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
            time: Time { ms: NOW, sequence: 1 },
            meaning: serde_json::Map::default(),
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
            meaning: serde_json::Map::default(),
            inputs: vec![],
        };
        (state, manifest)
    }

    #[test]
    fn a_snapshot_enters_at_its_tick_and_its_past_is_not_lived_through_again() {
        let folder = tempfile::tempdir().unwrap();
        let (state, manifest) = state(folder.path());
        let resume = Resume { manifest: Some(Arc::new(manifest)), ..Resume::default() };
        let shared =
            Shared { clock: Clock::Event, stop: Stop::default(), names: Arc::default(), progress: Arc::default() };
        let (config, rejects) = (Config::load(None, &[]).unwrap(), Rejects::new(RejectLog::default()));
        let reader = Reader::new(&config, vec![], rejects, shared.clone(), Arc::default(), Some(&state), Some(resume));
        let (out, feeds) = unbounded();
        assert!(reader.run(&out, &Stop::default(), &Waker::default()).is_none());
        drop(out);
        let feeds: Vec<TickInput> = feeds.iter().collect();
        assert!(feeds.iter().all(|feed| (feed.since, feed.at) == (NOW, NOW)));
        assert_eq!(feeds.iter().map(|feed| feed.events.len()).sum::<usize>(), 3 * 21);
        assert_eq!(feeds.first().and_then(|feed| feed.directives.barrier), Some(Barrier::LoadBegin));
        // Where the inputs go on is told with the end of it, and not before.
        let told = feeds.iter().position(|feed| feed.directives.positions.is_some());
        assert_eq!(told, feeds.iter().position(|feed| feed.directives.barrier == Some(Barrier::LoadEnd)));
        assert!(shared.names.users().get(feeds[0].events[0].user).is_some());
    }
}
