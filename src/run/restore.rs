//! Going on where another run ended: its snapshot enters the graph through the same door as events, and the output is
//! compared with the lists that result.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use connectors::HeldLists;
use connectors::snapshot::{GroupFile, Manifest, Store};
use dataflows::{Event, Mark};
use schema::id64;

use super::clock::{Clock, now};
use super::reader::{Break, Opening, Out, Reader};
use super::stop::Stop;

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
    pub holds: Arc<HeldLists>,
}

/// How much of a snapshot was let in.
#[derive(PartialEq, Eq)]
enum Loaded {
    Whole,
    /// The run is to stop.
    InPart,
}

impl Reader {
    /// Lets a snapshot and the output's lists into the graph, if there is something to go on from.
    pub(super) fn restore(&mut self, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        let Some(Resume { manifest, holds }) = self.resume.take() else { return Ok(()) };
        self.edge.at = match self.edge.clock {
            Clock::Event => 0,
            Clock::Wall => now(),
        };
        if let Some(manifest) = &manifest {
            self.edge.at = self.edge.at.max(manifest.time.ms);
            if self.load_all(manifest, out, stop)? == Loaded::InPart {
                return Ok(());
            }
        }
        for holds in holds.lists.chunks(HELD_AT_ONCE) {
            self.edge.feed.told.holds = holds.iter().map(|(user, items)| self.edge.held(user, items)).collect();
            self.edge.send(out)?;
        }
        self.edge.feed.told.mark = manifest.is_some().then_some(Mark::Loaded);
        self.edge.opening = self.opening(&holds);
        self.edge.feed.told.opens = self.edge.opening == Opening::Done;
        if self.edge.saves {
            self.edge.feed.told.positions = Some(self.positions());
        }
        self.edge.send(out)
    }

    /// When the output is to be compared with the lists.
    fn opening(&self, holds: &HeldLists) -> Opening {
        if self.waits_for_backfill() {
            return Opening::Backfilled;
        }
        // A replay compares where the output ended: what it holds of later ticks than the snapshot's is made again first.
        let is_there = self.edge.clock == Clock::Wall || self.edge.at > holds.at;
        if is_there { Opening::Done } else { Opening::After(holds.at) }
    }

    /// Lets the events of a snapshot in.
    fn load_all(&mut self, manifest: &Manifest, out: &mut Out<'_>, stop: &Stop) -> Result<Loaded, Break> {
        let store = self.store.clone().expect("whoever goes on from a snapshot has the store");
        self.edge.feed.told.mark = Some(Mark::Loading);
        for file in &manifest.groups {
            if stop.is_set() {
                return Ok(Loaded::InPart);
            }
            self.load(&store, file)?;
            if self.edge.feed.events.len() >= LOADED_AT_ONCE {
                self.edge.send(out)?;
            }
        }
        if !self.edge.feed.events.is_empty() || self.edge.feed.told.mark.is_some() {
            self.edge.send(out)?;
        }
        Ok(Loaded::Whole)
    }

    fn load(&mut self, store: &Store, file: &GroupFile) -> Result<(), Break> {
        let interactions = store.read_group(file).map_err(|error| Break::Failed(error.into()))?;
        self.edge.progress.restored.fetch_add(interactions.len() as u64, Relaxed);
        let (feed, at) = (self.edge.feed.number, self.edge.at);
        let names = Arc::clone(&self.edge.names);
        for interaction in interactions.iter() {
            let held_until = if interaction.ts > at { interaction.ts } else { 0 };
            let (user, _) = names.users().intern(interaction.user, feed, held_until);
            let (item, _) = names.items().intern(interaction.item, feed, held_until);
            self.edge.feed.events.push(Event { user, item, ts: interaction.ts, level: interaction.level });
        }
        Ok(())
    }
}

impl super::reader::Edge {
    /// A list that the output holds. Its names stay known to the end of the run: a user whose last event expires before the
    /// output opens is let go of by the graph, and the end of the list is still to be sent.
    fn held(&self, user: &str, items: &[String]) -> (u64, Vec<u64>) {
        let feed = self.feed.number;
        self.names.users().intern(user, feed, u64::MAX);
        for item in items {
            self.names.items().intern(item, feed, u64::MAX);
        }
        (id64(user), items.iter().map(|item| id64(item)).collect())
    }
}
