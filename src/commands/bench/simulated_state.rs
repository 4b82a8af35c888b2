//! Writes a snapshot of simulated interactions without running the graph, for benchmarks that start with a large state.

use std::sync::Arc;

use jiff::Timestamp;
use schema::{Effect, KEY_GROUPS, id64, key_group};
use serde_json::Map;
use snapshots::{GraphTime, Interactions, Manifest, RunId, Store};

use super::event_stream::{EventStream, SimulatedEvent};
use crate::engine::{Interval, Resume, SnapshotSettings};
use crate::failure::Failure;
use crate::stop::Stop;

/// Histories of simulated users.
pub(super) struct SimulatedState {
    /// Limit of a history.
    history: usize,
    /// Item, timestamp and level of each interaction by user, newest last.
    users: Vec<Vec<(u32, u64, u8)>>,
    /// Number of interactions by item.
    items: Vec<u32>,
    pub(super) interactions: u64,
    latest: u64,
}

impl SimulatedState {
    /// Applies events until the state has this many interactions, the stream ends, or the benchmark is stopped.
    pub(super) fn fill(stream: &mut EventStream, interactions: u64, history: usize, stop: &Stop) -> Self {
        let mut state = SimulatedState { history, users: Vec::new(), items: Vec::new(), interactions: 0, latest: 0 };
        let mut left = Vec::new();
        while state.interactions < interactions && !stop.is_set() {
            left.clear();
            let Some(event) = stream.next_event(&mut left) else { break };
            state.apply(event);
        }
        state
    }

    fn apply(&mut self, SimulatedEvent { ts, user, item, effect, .. }: SimulatedEvent) {
        let Some(level) = effect.level() else { return };
        self.latest = self.latest.max(ts);
        let history = slot_mut(&mut self.users, user);
        let previous = history.iter().position(|(other, ..)| *other == item).map(|at| history.remove(at));
        if previous.is_none() {
            self.interactions += 1;
            *slot_mut(&mut self.items, item) += 1;
            if history.len() == self.history {
                let (oldest, ..) = history.remove(0);
                self.interactions -= 1;
                *slot_mut(&mut self.items, oldest) -= 1;
            }
        }
        history.push((item, ts, level.max(previous.map_or(0, |(.., level)| level))));
    }

    /// The item with the most interactions.
    pub(super) fn most_popular_item(&self) -> String {
        let item = self.items.iter().enumerate().max_by_key(|(_, count)| **count);
        format!("p{}", item.map_or(0, |(item, _)| item))
    }

    /// Co-occurrence updates when the state is loaded, each history at once.
    pub(super) fn pair_updates(&self) -> u64 {
        self.users.iter().map(|user| (user.len() * user.len().saturating_sub(1)) as u64).sum()
    }

    /// Writes the state as snapshot 1.
    pub(super) fn store(&self, store: &Store) -> Result<Manifest, Failure> {
        let mut users_by_group: Vec<Vec<u32>> = vec![Vec::new(); KEY_GROUPS];
        for user in (0..self.users.len() as u32).filter(|user| !self.users[*user as usize].is_empty()) {
            users_by_group[usize::from(key_group(id64(&format!("u{user}"))))].push(user);
        }
        let run = RunId::random();
        let mut groups = Vec::new();
        for (group, users) in (0..=u8::MAX).zip(&users_by_group) {
            let mut rows = Interactions::default();
            for user in users {
                let name = format!("u{user}");
                for (item, ts, level) in &self.users[*user as usize] {
                    let item = format!("p{item}");
                    rows.push((id64(&name), &name), (id64(&item), &item), *ts, Effect::Counts(*level));
                }
            }
            groups.push(store.put_group(1, run, group, &rows)?);
        }
        let manifest = Manifest {
            version: Manifest::VERSION_WITHOUT_CONTROLS,
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
            catalogue: Vec::new(),
            catalogue_inputs: Vec::new(),
            controls: Vec::new(),
            control_inputs: Vec::new(),
        };
        store.publish(&manifest)?;
        Ok(manifest)
    }
}

/// Arguments of a run that resumes from a snapshot, with an empty output.
pub(super) fn resume_from(store: Store, manifest: Manifest, interval: Interval) -> (SnapshotSettings, Resume) {
    let state = SnapshotSettings {
        store: Arc::new(store),
        newest: manifest.sequence,
        interval,
        keep: 1,
        compatibility: Map::new(),
        inputs: vec!["paced events".into()],
        catalogue: Vec::new(),
        controls: Vec::new(),
    };
    (state, Resume { manifest: Some(Arc::new(manifest)), sink_state: Arc::default() })
}

fn slot_mut<T: Default + Clone>(table: &mut Vec<T>, at: u32) -> &mut T {
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
    fn histories_match_the_reported_number_of_interactions() {
        let options = Options { events: 100_000, users: 100, items: 400, rooms: 3, ..Options::default() };
        let stream =
            || EventStream::new(options.clone(), Levels::default(), None).unwrap_or_else(|_| panic!("valid options"));
        let state = SimulatedState::fill(&mut stream(), 1_000, 20, &Stop::default());
        assert_eq!(state.users.iter().map(|user| user.len() as u64).sum::<u64>(), 1_000);
        let (mut again, mut seen) = (stream(), BTreeSet::new());
        while again
            .next_event(&mut Vec::new())
            .is_some_and(|event| event.ts <= state.latest && seen.insert((event.ts, event.user)))
        {}
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let manifest = state.store(&store).unwrap_or_else(|_| panic!("cannot store the state"));
        assert_eq!((manifest.rows, manifest.time.ms), (1_000, state.latest));
        for history in &state.users {
            assert!(history.len() <= 20 && history.is_sorted_by_key(|(_, ts, _)| *ts));
            assert_eq!(history.iter().map(|(item, ..)| item).collect::<BTreeSet<_>>().len(), history.len());
        }
    }
}
