//! An evaluation: the list of one viewer, from the rows of its profile.

use std::cmp::Reverse;

use super::rows::Rows;
use super::viewers::Viewer;
use crate::config::Sources;
use crate::operators::{Dense, PREFETCH_BATCH, Ranked, Totals, prefetch, select_best};
use crate::similarity::quantise::{phase, phased};
use crate::{Config, List, Logarithm, Scored, Similarity, UserId};

/// Evaluates lists, in memory that all evaluations of a worker share.
#[derive(Debug)]
pub(super) struct Evaluator {
    /// Length of a list, or of the pool that is kept of it.
    length: usize,
    similar_users: usize,
    weights: Sources,
    pub(super) logarithm: Logarithm,
    similarity: Similarity,
    /// What each user shares with the viewer.
    shared: Totals,
    compared: Vec<Ranked<i32>>,
    /// The similar users of the viewer, with their similarities.
    similar: Vec<(Dense, u16)>,
    /// The totals of the candidates.
    totals: Totals,
    /// The best candidates.
    best: Vec<Ranked<i64>>,
}

impl Evaluator {
    pub(super) fn new(config: &Config) -> Self {
        Evaluator {
            length: if config.catalogue.is_some() { config.pool_length() } else { config.k },
            similar_users: config.similar_users,
            weights: config.sources,
            logarithm: Logarithm::new(config.user_resolution),
            similarity: Similarity::new(config.user_resolution),
            shared: Totals::default(),
            compared: Vec::new(),
            similar: Vec::new(),
            totals: Totals::default(),
            best: Vec::new(),
        }
    }

    /// The list of a viewer, or the pool if there is a catalogue. Its similar users have just been found if they are a source. Cost: a pass over the similar items of
    /// the profile, and over the histories of the similar users.
    pub(super) fn list(&mut self, viewer: &Viewer, rows: &Rows) -> List {
        self.totals.reserve(rows.ids().bound());
        self.totals.exclude(viewer.items());
        let weight = i64::from(self.weights.items);
        if weight > 0 {
            prefetch(viewer.profile().map(|entry| rows.get(entry.item).candidates.load()));
            for entry in viewer.profile() {
                let weight = weight * i64::from(entry.weight());
                let row = rows.get(entry.item).candidates.iter();
                self.totals.add(row.map(|(item, similarity)| (item, weight * i64::from(similarity))));
            }
        }
        let weight = i64::from(self.weights.users);
        if weight > 0 {
            for batch in self.similar.chunks(PREFETCH_BATCH) {
                prefetch(batch.iter().map(|(user, _)| rows.get(*user).candidates.load()));
                for (user, similarity) in batch {
                    let weight = weight * i64::from(*similarity);
                    let history = rows.get(*user).candidates.iter();
                    self.totals.add(history.map(|(item, level)| (item, weight * i64::from(level))));
                }
            }
        }
        let candidates = self.totals.drain().filter(|(id, _)| rows.may_list(*id));
        let candidates = candidates.map(|(id, score)| Ranked { score, id });
        select_best(candidates, self.length, rows.ids(), &mut self.best);
        self.best.sort_unstable_by(|a, b| a.order(b, rows.ids()));
        let scored = |ranked: &Ranked<i64>| Scored { item: rows.ids().name(ranked.id), score: ranked.score };
        self.best.iter().map(scored).collect()
    }

    /// Finds the similar users of a viewer. Cost: a pass over the samples of the profile.
    pub(super) fn find_similar_users(&mut self, viewer: &Viewer, rows: &Rows) {
        self.shared.reserve(rows.ids().bound());
        self.shared.exclude(std::iter::once(viewer.me));
        prefetch(viewer.profile().map(|entry| rows.get(entry.item).sample.load()));
        let mut weight: u64 = 0;
        for entry in viewer.profile() {
            weight += u64::from(entry.weight());
            let (own, stair) = (u16::from(entry.level), i64::from(entry.stair));
            let members = rows.get(entry.item).sample.iter();
            self.shared.add(members.map(|(user, level)| (user, i64::from(own.min(level)) * stair)));
        }
        let compared = self.shared.drain().map(|(user, shared)| {
            let shared = self.logarithm.q(shared.unsigned_abs()).cast_signed();
            Ranked { score: 2 * shared - against(rows.activity(user), viewer.me, user), id: user }
        });
        select_best(compared, self.similar_users, rows.ids(), &mut self.compared);
        let own = self.logarithm.fine(weight);
        self.similar.clear();
        for Ranked { score, id } in &self.compared {
            self.similar.push((*id, self.similarity.of(score - against(own, viewer.me, *id))));
        }
    }

    /// The similar users that were found last, most similar first, ties by id64.
    pub(super) fn similar_users(&self, rows: &Rows) -> Vec<(UserId, u16)> {
        let named = self.similar.iter().map(|(user, similarity)| (rows.ids().name(*user), *similarity));
        let mut row: Vec<_> = named.collect();
        row.sort_unstable_by_key(|(user, similarity)| (Reverse(*similarity), *user));
        row
    }
}

/// `q'_uv` of an activity, or of the weight of a profile.
fn against(fine: u32, u: Dense, v: Dense) -> i32 {
    phased(fine, phase(u64::from(u), u64::from(v))).cast_signed()
}
