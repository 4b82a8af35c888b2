//! An evaluation: the best candidates of one viewer, from the rows of its profile.

use std::cmp::Reverse;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use schema::Wish;

use super::pools::Pool;
use super::preferences::Wishes;
use super::rows::Rows;
use super::viewers::Viewer;
use crate::config::Sources;
use crate::operators::{Dense, PREFETCH_BATCH, Ranked, Totals, prefetch, select_best};
use crate::similarity::quantise::{phase, phased};
use crate::{Config, ListReason, Logarithm, ReasonSource, Scored, Similarity, UserId, Word};

/// Evaluates lists, in memory that all evaluations of a worker share.
#[derive(Debug)]
pub(super) struct Evaluator {
    /// Length of a list, or of the pool from which it is picked.
    length: usize,
    why: usize,
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
    /// Candidates without a group, and the best one of each group; none of those that the viewer cannot have.
    single: Vec<Ranked<i64>>,
    of_groups: HashMap<Word, Option<Ranked<i64>>>,
    /// The best candidates.
    best: Vec<Ranked<i64>>,
    /// By item: one more than its place among the best ones, else 0; all 0 between two uses.
    places: Vec<u32>,
}

impl Evaluator {
    pub(super) fn new(config: &Config) -> Self {
        Evaluator {
            why: config.why,
            length: if config.catalogue.is_some() { config.pool_length() } else { config.k },
            similar_users: config.similar_users,
            weights: config.sources,
            logarithm: Logarithm::new(config.user_resolution),
            similarity: Similarity::new(config.user_resolution),
            shared: Totals::default(),
            compared: Vec::new(),
            similar: Vec::new(),
            totals: Totals::default(),
            single: Vec::new(),
            of_groups: HashMap::default(),
            best: Vec::new(),
            places: Vec::new(),
        }
    }

    /// The best candidates of a viewer: a pool if there is a catalogue, else no more than its list. Its similar users
    /// have just been found if they are a source.
    ///
    /// Cost: a pass over the similar items of the profile, and over the histories of the similar users; with reasons, two.
    pub(super) fn pool(&mut self, viewer: &Viewer, rows: &Rows, wishes: Option<Wishes<'_>>) -> Pool {
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
        let candidates = candidates.filter_map(|(id, score)| {
            let score = wishes.map_or(Some(score), |wishes| wished(score, wishes.of(rows.ids().name(id))))?;
            Some(Ranked { score, id })
        });
        if rows.has_groups() {
            self.of_groups.extend(viewer.items().filter_map(|item| rows.group(item)).map(|group| (group, None)));
            for candidate in candidates {
                match rows.group(candidate.id).map(|group| self.of_groups.entry(group)) {
                    None => self.single.push(candidate),
                    Some(Entry::Vacant(first)) => drop(first.insert(Some(candidate))),
                    Some(Entry::Occupied(mut known)) => {
                        if let Some(best) = known.get_mut()
                            && candidate.order(best, rows.ids()).is_lt()
                        {
                            *best = candidate;
                        }
                    }
                }
            }
            let of_groups = self.of_groups.drain().filter_map(|(_, best)| best);
            select_best(self.single.drain(..).chain(of_groups), self.length, rows.ids(), &mut self.best);
        } else {
            select_best(candidates, self.length, rows.ids(), &mut self.best);
        }
        self.best.sort_unstable_by(|a, b| a.order(b, rows.ids()));
        let scored = |ranked: &Ranked<i64>| Scored { item: rows.ids().name(ranked.id), score: ranked.score };
        let items = self.best.iter().map(scored).collect();
        let why = if self.why > 0 { self.reasons(viewer, rows, wishes) } else { Vec::new() };
        Pool { items, why }
    }

    /// The terms of the totals of the best candidates, largest first, and what a wish takes away. Cost: the pass that found the
    /// totals, again.
    fn reasons(&mut self, viewer: &Viewer, rows: &Rows, wishes: Option<Wishes<'_>>) -> Vec<Vec<ListReason>> {
        self.places.resize(rows.ids().bound().max(self.places.len()), 0);
        self.best.iter().zip(1..).for_each(|(ranked, place)| self.places[ranked.id as usize] = place);
        let place_of = |item: Dense| (self.places[item as usize] as usize).checked_sub(1);
        let mut reasons: Vec<Vec<ListReason>> = vec![Vec::new(); self.best.len()];
        let weight = i64::from(self.weights.items);
        for entry in viewer.profile().filter(|_| weight > 0) {
            let source = ReasonSource::Item(rows.ids().name(entry.item));
            let weight = weight * i64::from(entry.weight());
            for (item, similarity) in rows.get(entry.item).candidates.iter() {
                if let Some(place) = place_of(item) {
                    reasons[place].push(ListReason { source, points: weight * i64::from(similarity) });
                }
            }
        }
        let weight = i64::from(self.weights.users);
        let mut of_users: Vec<(u32, i64)> = vec![(0, 0); self.best.len()];
        for (user, similarity) in self.similar.iter().filter(|_| weight > 0) {
            let weight = weight * i64::from(*similarity);
            for (item, level) in rows.get(*user).candidates.iter() {
                if let Some(place) = place_of(item) {
                    let (users, points) = &mut of_users[place];
                    *users += 1;
                    *points += weight * i64::from(level);
                }
            }
        }
        for ((reasons, (users, points)), ranked) in reasons.iter_mut().zip(of_users).zip(&self.best) {
            if users > 0 {
                reasons.push(ListReason { source: ReasonSource::Users(users), points });
            }
            let sum = reasons.iter().map(|reason| reason.points).sum::<i64>();
            let is_less = wishes.is_some_and(|wishes| wishes.of(rows.ids().name(ranked.id)) == Some(Wish::Less));
            debug_assert_eq!(if is_less { sum / LESS } else { sum }, ranked.score, "all terms of a sum");
            // Of equal ones items come first, by their ids.
            reasons.sort_unstable_by_key(|reason| (Reverse(reason.points), reason.source));
            reasons.truncate(self.why);
            if is_less {
                reasons.push(ListReason { source: ReasonSource::Less, points: ranked.score - sum });
            }
        }
        self.best.iter().for_each(|ranked| self.places[ranked.id as usize] = 0);
        reasons
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

/// The part of the total that `less` leaves.
const LESS: i64 = 4;

/// A total as the viewer wishes; `None` if the item is no candidate.
fn wished(total: i64, wish: Option<Wish>) -> Option<i64> {
    match wish {
        None => Some(total),
        Some(Wish::Less) => Some(total / LESS).filter(|total| *total > 0),
        Some(Wish::NotInterested) => None,
    }
}

/// `q'_uv` of an activity, or of the weight of a profile.
fn against(fine: u32, u: Dense, v: Dense) -> i32 {
    phased(fine, phase(u64::from(u), u64::from(v))).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_next_to_nothing_is_no_candidate() {
        let less = [1, 3, 4, 7, 8].map(|total| wished(total, Some(Wish::Less)));
        assert_eq!(less, [None, None, Some(1), Some(1), Some(2)]);
        assert_eq!((wished(3, None), wished(3, Some(Wish::NotInterested))), (Some(3), None));
    }
}
