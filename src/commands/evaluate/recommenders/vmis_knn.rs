//! VMIS-kNN, the session recommender of Serenade (Kersbergen, Sprangers and Schelter, SIGMOD 2022).
//!
//! Each user of the log is one session: the set of the items touched so far. The newest session is that with the last event
//! in the order of the log. For a user, the other sessions vote:
//!
//! 1. The window is the user's last L events, at most [`ITEMS`]. Q is the set of its items. An item at position `pos` from
//!    the end (0 is the newest; its newest one if it occurs again) gives `(L - pos) / |Q|` to each of the newest
//!    [`RECENT_SESSIONS`] other sessions with it.
//! 2. Of the sessions that got something, the newest [`RECENT_SESSIONS`] are kept, and of those the [`NEIGHBOURS`] with the
//!    largest sums `sim(h)`, newer ones first among equal ones.
//! 3. An item scores the sum over the neighbours h with it of `lambda(p) sim(h)`, times `idf(i)`. p counts positions from 1:
//!    that of the newest item of the window in h. `lambda(p) = 1 - 0.1 p`, and `idf(i) = ln(|S| / |S_i|)` or 1 where that is
//!    not positive, over all other sessions S.
//!
//! That is the article's idf; Serenade's code has the number of (session, item) pairs in the place of |S|.
//!
//! Equal scores are ordered by id. Nothing is rounded but the idf and the product with it: sums are integers, in units of
//! `1 / (10 |Q|)`, a factor that all items of a list have in common.
//!
//! Sessions grow with every event, so any of them can become the newest of its items. The index therefore holds all sessions
//! of an item and selects the newest for each list: a list costs the number of sessions with the items of the window, and
//! the number of items in the neighbours.

use std::cmp::Reverse;

use dataflows::types::ItemId;

use super::super::training_stats::TrainingStats;
use super::{Recommender, TrainingEvent};

/// Sessions looked at for each item, and in total: `m_most_recent_sessions` of Serenade's default configuration.
const RECENT_SESSIONS: usize = 500;
/// Sessions that vote: `neighborhood_size_k` there.
const NEIGHBOURS: usize = 500;
/// Events of the window: `max_items_in_session` there.
const ITEMS: usize = 2;

#[derive(Clone, Copy, Debug)]
struct Parameters {
    recent_sessions: usize,
    neighbours: usize,
    /// Below 10, so that every position has a positive weight.
    items: usize,
}

/// Recommends the items of sessions that share the user's last items.
pub(super) struct VmisKnn {
    ids: Vec<ItemId>,
    length: usize,
    parameters: Parameters,
    /// Sessions by user.
    sessions: Vec<Session>,
    /// Sessions with an item, by item.
    sessions_of: Vec<Vec<u32>>,
    /// Number of sessions with an event.
    begun: usize,
    /// Number of events so far.
    events: u64,
    /// Votes for each item; all 0 between lists.
    votes: Vec<u64>,
}

#[derive(Clone, Default)]
struct Session {
    /// Number of the last event, from 1; 0 without events.
    newest: u64,
    /// Items, each once.
    items: Vec<u32>,
    /// Items of the last events, newest last.
    window: Vec<u32>,
}

struct Neighbour {
    session: u32,
    /// `|Q|` times the similarity.
    similarity: u64,
    /// Position of the newest shared item of the window, from 1.
    position: u64,
}

impl VmisKnn {
    pub(super) fn new(ids: &[ItemId], users: usize, length: usize) -> Self {
        let parameters = Parameters { recent_sessions: RECENT_SESSIONS, neighbours: NEIGHBOURS, items: ITEMS };
        VmisKnn {
            ids: ids.to_vec(),
            length,
            parameters,
            sessions: vec![Session::default(); users],
            sessions_of: vec![Vec::new(); ids.len()],
            begun: 0,
            events: 0,
            votes: vec![0; ids.len()],
        }
    }

    /// Keeps the newest sessions, in any order.
    fn keep_recent<T>(&self, sessions: &mut Vec<T>, session: impl Fn(&T) -> u32) {
        let most = self.parameters.recent_sessions;
        if sessions.len() > most {
            sessions.select_nth_unstable_by_key(most, |entry| Reverse(self.sessions[session(entry) as usize].newest));
            sessions.truncate(most);
        }
    }

    fn neighbours(&self, user: u32) -> Vec<Neighbour> {
        let window = &self.sessions[user as usize].window;
        let mut given: Vec<Neighbour> = Vec::new();
        for (pos, item) in window.iter().rev().enumerate() {
            if window.iter().rev().take(pos).any(|newer| newer == item) {
                continue;
            }
            let others = self.sessions_of[*item as usize].iter().copied().filter(|session| *session != user);
            let mut sessions: Vec<u32> = others.collect();
            self.keep_recent(&mut sessions, |session| *session);
            let (similarity, position) = ((window.len() - pos) as u64, pos as u64 + 1);
            given.extend(sessions.into_iter().map(|session| Neighbour { session, similarity, position }));
        }
        given.sort_unstable_by_key(|neighbour| (neighbour.session, neighbour.position));
        let mut neighbours: Vec<Neighbour> = Vec::new();
        for next in given {
            match neighbours.last_mut().filter(|last| last.session == next.session) {
                // A session with two items of the window keeps the position of the newer one.
                Some(last) => last.similarity += next.similarity,
                None => neighbours.push(next),
            }
        }
        self.keep_recent(&mut neighbours, |neighbour| neighbour.session);
        neighbours.sort_unstable_by_key(|neighbour| {
            (Reverse(neighbour.similarity), Reverse(self.sessions[neighbour.session as usize].newest))
        });
        neighbours.truncate(self.parameters.neighbours);
        neighbours
    }

    /// Inverse document frequency of an item among the sessions of other users.
    #[allow(clippy::cast_precision_loss)]
    fn idf(&self, user: u32, item: u32, training: &TrainingStats) -> f64 {
        let sessions = self.begun - usize::from(training.has_user(user));
        let with_item = self.sessions_of[item as usize].len() - usize::from(training.has_interacted(user, item));
        let idf = (sessions as f64 / with_item as f64).ln();
        if idf > 0.0 { idf } else { 1.0 }
    }
}

impl Recommender for VmisKnn {
    #[allow(clippy::cast_precision_loss)]
    fn recommend(&mut self, user: u32, training: &TrainingStats, into: &mut Vec<u32>) {
        let mut candidates = Vec::new();
        for Neighbour { session, similarity, position } in self.neighbours(user) {
            for item in &self.sessions[session as usize].items {
                let votes = &mut self.votes[*item as usize];
                if *votes == 0 {
                    candidates.push(*item);
                }
                *votes += (10 - position) * similarity;
            }
        }
        let mut scored = Vec::with_capacity(candidates.len());
        for item in candidates {
            let votes = std::mem::take(&mut self.votes[item as usize]);
            if training.may_recommend(user, item) {
                scored.push((votes as f64 * self.idf(user, item, training), self.ids[item as usize], item));
            }
        }
        scored.sort_unstable_by(|(a, a_id, _), (b, b_id, _)| b.total_cmp(a).then(a_id.cmp(b_id)));
        into.extend(scored.iter().take(self.length).map(|(.., item)| *item));
    }

    fn update(&mut self, events: &[TrainingEvent]) {
        for TrainingEvent { event, new } in events {
            self.events += 1;
            let session = &mut self.sessions[event.user as usize];
            self.begun += usize::from(session.newest == 0);
            session.newest = self.events;
            if session.window.len() == self.parameters.items {
                session.window.remove(0);
            }
            session.window.push(event.item);
            if *new {
                session.items.push(event.item);
                self.sessions_of[event.item as usize].push(event.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::super::log::tests::log;
    use super::*;

    /// Events `(session, item)` in their order, the session of the list, and whether touched items may be recommended.
    struct Slow<'e> {
        events: &'e [(u32, u32)],
        user: u32,
        reminders: bool,
        parameters: Parameters,
    }

    impl Slow<'_> {
        fn items_of(&self, session: u32) -> BTreeSet<u32> {
            self.events.iter().filter(|(other, _)| *other == session).map(|(_, item)| *item).collect()
        }

        fn newest(&self, session: u32) -> usize {
            self.events.iter().rposition(|(other, _)| *other == session).unwrap()
        }

        /// The `m` newest of some sessions, newest first.
        fn recent(&self, sessions: impl Iterator<Item = u32>) -> Vec<u32> {
            let mut sessions: Vec<u32> = sessions.collect();
            sessions.sort_by_key(|session| Reverse(self.newest(*session)));
            sessions.truncate(self.parameters.recent_sessions);
            sessions
        }

        /// Scores as the formula has them, in floating point numbers, and the number of sessions with the item.
        #[allow(clippy::cast_precision_loss)]
        fn scores(&self) -> BTreeMap<u32, (f64, usize)> {
            let sessions: BTreeSet<u32> =
                self.events.iter().map(|(session, _)| *session).filter(|session| *session != self.user).collect();
            let own: Vec<u32> =
                self.events.iter().filter(|(session, _)| *session == self.user).map(|(_, item)| *item).collect();
            let window = &own[own.len().saturating_sub(self.parameters.items)..];
            let unique: BTreeSet<u32> = window.iter().copied().collect();
            // Walk from the newest.
            let mut sums: BTreeMap<u32, usize> = BTreeMap::new();
            let mut walked = BTreeSet::new();
            for (pos, item) in window.iter().rev().enumerate() {
                if walked.insert(*item) {
                    let with_item = sessions.iter().copied().filter(|session| self.items_of(*session).contains(item));
                    for session in self.recent(with_item) {
                        *sums.entry(session).or_default() += window.len() - pos;
                    }
                }
            }
            // Newest first, so that a stable sort keeps newer ones first among equal ones.
            let mut neighbours = self.recent(sums.keys().copied());
            neighbours.sort_by_key(|session| Reverse(sums[session]));
            neighbours.truncate(self.parameters.neighbours);
            let mut scores: BTreeMap<u32, (f64, usize)> = BTreeMap::new();
            for session in neighbours {
                let items = self.items_of(session);
                let similarity = sums[&session] as f64 / unique.len() as f64;
                let position = 1 + window.iter().rev().position(|item| items.contains(item)).unwrap();
                for item in items {
                    let with_item = sessions.iter().filter(|session| self.items_of(**session).contains(&item)).count();
                    let idf = (sessions.len() as f64 / with_item as f64).ln();
                    let idf = if idf <= 0.0 { 1.0 } else { idf };
                    scores.entry(item).or_insert((0.0, with_item)).0 +=
                        (1.0 - 0.1 * position as f64) * idf * similarity;
                }
            }
            let excluded =
                if self.reminders { own.last().copied().into_iter().collect() } else { self.items_of(self.user) };
            scores.retain(|item, _| !excluded.contains(item));
            scores
        }
    }

    /// Item numbers as ids, from the largest to the smallest.
    fn id(item: u32) -> ItemId {
        1_000 - u64::from(item)
    }

    /// Asserts that a list has the best items. Sums of the same numbers in another order may differ in the last digits, so
    /// scores count as equal within a tolerance. Items in equally many sessions are then in the order of ids; between others
    /// rounding decides, as between 3 ln 2 and ln 8.
    fn assert_list(slow: &Slow<'_>, list: &[u32], length: usize) {
        let scores = slow.scores();
        assert_eq!(list.len(), scores.len().min(length), "{list:?} {scores:?}");
        let assert_before = |a: u32, b: u32| {
            let ((a_score, a_sessions), (b_score, b_sessions)) = (scores[&a], scores[&b]);
            let equal = (a_score - b_score).abs() < 1e-9;
            let is_before = if equal { a_sessions != b_sessions || id(a) < id(b) } else { a_score > b_score };
            assert!(is_before, "{a} is before {b} in {list:?} {scores:?}");
        };
        for (at, item) in list.iter().enumerate() {
            for other in scores.keys().filter(|other| !list[..=at].contains(other)) {
                assert_before(*item, *other);
            }
        }
    }

    fn parameters() -> impl Strategy<Value = Parameters> {
        (1..6_usize, 1..6_usize, 1..6_usize).prop_map(|(recent_sessions, neighbours, items)| Parameters {
            recent_sessions,
            neighbours,
            items,
        })
    }

    proptest! {
        #[test]
        fn lists_are_those_of_the_formula(
            events in prop::collection::vec((0..9_u32, 0..8_u32), 1..60),
            parameters in parameters(),
            length in 1..9_usize,
            reminders: bool,
        ) {
            // All names in the order of their numbers, so that the log has the same numbers.
            let names: Vec<(String, String)> =
                events.iter().map(|(user, item)| (user.to_string(), item.to_string())).collect();
            let lines: Vec<(&str, &str, u64)> =
                names.iter().zip(0..).map(|((user, item), ts)| (&**user, &**item, ts)).collect();
            let log = log(&lines);
            let numbered: Vec<(u32, u32)> = log.events.iter().map(|event| (event.user, event.item)).collect();
            let ids: Vec<ItemId> = (0..log.items.len() as u32).map(id).collect();
            let mut training = TrainingStats::new(log.users.len(), log.items.len(), reminders);
            let mut vmis_knn = VmisKnn { parameters, ..VmisKnn::new(&ids, log.users.len(), length) };
            for (at, event) in log.events.iter().enumerate() {
                let mut list = Vec::new();
                vmis_knn.recommend(event.user, &training, &mut list);
                let slow = Slow { events: &numbered[..at], user: event.user, reminders, parameters };
                assert_list(&slow, &list, length);
                let new = training.add(event);
                vmis_knn.update(&[TrainingEvent { event: *event, new }]);
            }
        }
    }

    #[test]
    fn the_last_item_weighs_more() {
        // Users 0 and 1 have x with y; 2 and 3 have z with w; 4 touches x and then z; 5 nothing of that.
        let events = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 0), (4, 2), (5, 4)];
        let mut training = TrainingStats::new(6, 5, false);
        let mut vmis_knn = VmisKnn::new(&[0, 1, 2, 3, 4].map(id), 6, 9);
        let names = ["0", "1", "2", "3", "4", "5"];
        let lines: Vec<_> = events.iter().map(|(user, item)| (names[*user], names[*item], 1)).collect();
        for event in &log(&lines).events {
            let new = training.add(event);
            vmis_knn.update(&[TrainingEvent { event: *event, new }]);
        }
        let mut list_of = |user| {
            let mut list = Vec::new();
            vmis_knn.recommend(user, &training, &mut list);
            list
        };
        // w: 2 neighbours at 0.9 * 1; y: 2 at 0.8 * 0.5.
        assert_eq!(list_of(4), [3, 1]);
        assert_eq!(list_of(5), [] as [u32; 0], "no session shares its item");
    }
}
