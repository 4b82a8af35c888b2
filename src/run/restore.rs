//! Going on where another run ended: its snapshot enters the graph through the same door as events, and the output is
//! compared with the lists that result.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use connectors::HeldLists;
use connectors::snapshot::{GroupFile, Manifest, Store};
use dataflows::{Event, Mark};
use schema::id64;

use super::clock::{Clock, now};
use super::reader::{Break, Out, Reader};
use super::stop::Stop;

/// Events of a snapshot that enter in one tick, at least; then it is as long as its last group.
const LOADED_AT_ONCE: usize = 20_000;

/// Lists of the output told in one tick.
const HELD_AT_ONCE: usize = 10_000;

/// Where a run goes on from.
#[derive(Clone)]
pub struct Resume {
    /// The snapshot.
    pub manifest: Arc<Manifest>,
    /// What the output holds.
    pub holds: Arc<HeldLists>,
}

impl Reader {
    /// Lets a snapshot and the output's lists into the graph, if there is something to go on from.
    pub(super) fn restore(&mut self, out: &mut Out<'_>, stop: &Stop) -> Result<(), Break> {
        let Some(Resume { manifest, holds }) = self.resume.take() else { return Ok(()) };
        let store = self.store.clone().expect("whoever goes on from a snapshot has the store");
        self.edge.at = match self.edge.clock {
            Clock::Event => manifest.time.ms,
            Clock::Wall => manifest.time.ms.max(now()),
        };
        self.edge.feed.told.mark = Some(Mark::Loading);
        for file in &manifest.groups {
            if stop.is_set() {
                return Ok(());
            }
            self.load(&store, file)?;
            if self.edge.feed.events.len() >= LOADED_AT_ONCE {
                self.edge.send(out)?;
            }
        }
        if !self.edge.feed.events.is_empty() || self.edge.feed.told.mark.is_some() {
            self.edge.send(out)?;
        }
        for holds in holds.lists.chunks(HELD_AT_ONCE) {
            self.edge.feed.told.holds = holds.iter().map(|(user, items)| self.edge.held(user, items)).collect();
            self.edge.send(out)?;
        }
        self.edge.feed.told.mark = Some(Mark::Loaded);
        // A replay compares where the output ended: what it holds of later ticks than the snapshot's is made again first.
        let is_there = self.edge.clock == Clock::Wall || self.edge.at > holds.at;
        self.edge.feed.told.opens = is_there;
        self.edge.opens_after = (!is_there).then_some(holds.at);
        self.edge.feed.told.positions = Some(self.positions());
        self.edge.send(out)
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
    /// A list that the output holds. Names that only it has stay known, so that its end can be sent.
    fn held(&self, user: &str, items: &[String]) -> (u64, Vec<u64>) {
        let feed = self.feed.number;
        self.names.users().intern(user, feed, 0);
        for item in items {
            self.names.items().intern(item, feed, 0);
        }
        (id64(user), items.iter().map(|item| id64(item)).collect())
    }
}
