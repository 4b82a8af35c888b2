//! The interactions of a simulated shop as a snapshot, made without a graph: for what begins with much held.

use std::sync::Arc;

use jiff::Timestamp;
use schema::id64;
use serde_json::Map;
use snapshots::{GraphTime, Interactions, Manifest, RunId, Store, group_of};

use super::simulated::{EventStream, SimulatedEvent};
use crate::engine::{Interval, Resume, State};
use crate::failure::Failure;
use crate::stop::Stop;

/// Histories of users, by the numbers of users and items.
pub(super) struct SimulatedState {
    history: usize,
    /// Item, time and level; the newest last.
    users: Vec<Vec<(u32, u64, u8)>>,
    /// Interactions of each item.
    items: Vec<u32>,
    pub(super) interactions: u64,
    latest: u64,
}

impl SimulatedState {
    /// Takes events of the simulation until so many interactions are held. Fewer if it is stopped.
    pub(super) fn fill(maker: &mut EventStream, interactions: u64, history: usize, stop: &Stop) -> Self {
        let mut shop = SimulatedState { history, users: Vec::new(), items: Vec::new(), interactions: 0, latest: 0 };
        let mut left = Vec::new();
        while shop.interactions < interactions && !stop.is_set() {
            left.clear();
            let Some(event) = maker.next_event(&mut left) else { break };
            shop.take(event);
        }
        shop
    }

    fn take(&mut self, SimulatedEvent { ts, user, item, level, .. }: SimulatedEvent) {
        self.latest = self.latest.max(ts);
        let user = room(&mut self.users, user);
        let held = user.iter().position(|(held, ..)| *held == item).map(|at| user.remove(at));
        if held.is_none() {
            self.interactions += 1;
            *room(&mut self.items, item) += 1;
            if user.len() == self.history {
                let (oldest, ..) = user.remove(0);
                self.interactions -= 1;
                *room(&mut self.items, oldest) -= 1;
            }
        }
        user.push((item, ts, level.max(held.map_or(0, |(.., level)| level))));
    }

    /// The item of the most interactions.
    pub(super) fn hottest(&self) -> String {
        let hottest = self.items.iter().enumerate().max_by_key(|(_, count)| **count);
        format!("p{}", hottest.map_or(0, |(item, _)| item))
    }

    /// Updates of co-occurrences that loading it takes: each user comes once, with the whole history.
    pub(super) fn pair_updates(&self) -> u64 {
        self.users.iter().map(|user| (user.len() * user.len().saturating_sub(1)) as u64).sum()
    }

    /// Stores all of it as the first snapshot.
    pub(super) fn store(&self, store: &Store) -> Result<Manifest, Failure> {
        let mut of_group: Vec<Vec<u32>> = vec![Vec::new(); snapshots::GROUPS];
        for user in (0..self.users.len() as u32).filter(|user| !self.users[*user as usize].is_empty()) {
            of_group[usize::from(group_of(id64(&format!("u{user}"))))].push(user);
        }
        let run = RunId::random();
        let mut groups = Vec::new();
        for (group, users) in (0..=u8::MAX).zip(&of_group) {
            let mut rows = Interactions::default();
            for user in users {
                let name = format!("u{user}");
                for (item, ts, level) in &self.users[*user as usize] {
                    let item = format!("p{item}");
                    rows.push((id64(&name), &name), (id64(&item), &item), *ts, *level);
                }
            }
            groups.push(store.put_group(1, run, group, &rows)?);
        }
        let manifest = Manifest {
            version: Manifest::VERSION,
            deltarec: env!("CARGO_PKG_VERSION").into(),
            sequence: 1,
            run,
            taken: Timestamp::now(),
            time: GraphTime { ms: self.latest, sequence: 1 },
            compatibility: Map::new(),
            inputs: Vec::new(),
            output: None,
            workers: 0,
            rows: self.interactions,
            groups,
        };
        store.publish(&manifest)?;
        Ok(manifest)
    }
}

/// What a run needs to go on from a snapshot, to an output that holds nothing yet.
pub(super) fn state(store: Store, manifest: Manifest, interval: Interval) -> (State, Resume) {
    let state = State {
        store: Arc::new(store),
        newest: manifest.sequence,
        interval,
        keep: 1,
        compatibility: Map::new(),
        inputs: vec!["paced events".into()],
    };
    (state, Resume { manifest: Some(Arc::new(manifest)), holds: Arc::default() })
}

fn room<T: Default + Clone>(table: &mut Vec<T>, at: u32) -> &mut T {
    let at = at as usize;
    if table.len() <= at {
        table.resize(at + 1, T::default());
    }
    &mut table[at]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use schema::Levels;
    use simulator::Options;

    #[test]
    fn a_shop_holds_what_it_says() {
        let options = Options { events: 100_000, users: 100, items: 400, rooms: 3, ..Options::default() };
        let maker =
            || EventStream::new(options.clone(), Levels::default(), None).unwrap_or_else(|_| panic!("valid options"));
        let shop = SimulatedState::fill(&mut maker(), 1_000, 20, &Stop::default());
        assert_eq!(shop.users.iter().map(|user| user.len() as u64).sum::<u64>(), 1_000);
        let (mut again, mut seen) = (maker(), BTreeSet::new());
        while again
            .next_event(&mut Vec::new())
            .is_some_and(|event| event.ts <= shop.latest && seen.insert((event.ts, event.user)))
        {}
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let manifest = shop.store(&store).unwrap_or_else(|_| panic!("it can be stored"));
        assert_eq!((manifest.rows, manifest.time.ms), (1_000, shop.latest));
        for user in &shop.users {
            assert!(user.len() <= 20 && user.is_sorted_by_key(|(_, ts, _)| *ts));
            assert_eq!(user.iter().map(|(item, ..)| item).collect::<BTreeSet<_>>().len(), user.len());
        }
    }
}
