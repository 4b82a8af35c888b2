//! Why an item is in a list: `docs/semantics.md`, "Reasons", one function per definition.

use std::cmp::Reverse;

use super::{Basis, Params, profile};

/// A term of a total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// Where it comes from.
    pub(crate) source: ReasonSource,
    /// The term.
    pub(crate) points: i64,
}

/// Where a term of a total comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReasonSource {
    /// This item of the profile.
    Item(String),
    /// So many similar users. A reader is told `other` if they are fewer than three.
    Users(usize),
}

/// > for each i of the profile that has j among its similar items `weight * p_ui * v_ij`
fn terms_of_items(basis: &Basis, user: &str, item: &str, params: &Params) -> Vec<Reason> {
    let mut terms = Vec::new();
    for entry in profile(basis.history_of(user), params) {
        let similar = basis.similar_items.get(&entry.item).into_iter().flatten();
        for (_, v_ij) in similar.filter(|(j, _)| j == item) {
            let score = i64::try_from(entry.weight() * v_ij).expect("far below 2^63");
            let source = ReasonSource::Item(entry.item.clone());
            terms.push(Reason { source, points: params.items_weight * score });
        }
    }
    terms
}

/// > and for the source `users` one term, its weight times its score.
///
/// > The latter says of how many similar users its term is the sum
///
/// Returns none if no similar user has j.
fn term_of_users(basis: &Basis, user: &str, item: &str, params: &Params) -> Option<Reason> {
    let (mut score, mut users) = (0, 0);
    for (v, w_uv) in basis.similar_users.get(user).into_iter().flatten() {
        for (_, level, _) in basis.history_of(v).iter().filter(|(j, ..)| j == item) {
            score += i64::try_from(*w_uv).expect("at most 1024") * i64::from(*level);
            users += 1;
        }
    }
    (users > 0).then(|| Reason { source: ReasonSource::Users(users), points: params.users_weight * score })
}

/// > A total is a sum, and its terms are the **reasons** of the item, in points
///
/// > the largest, ties in the order of id64(i), the source `users` last.
///
/// Returns all reasons of an eligible j of u, the largest first. A source without a weight gives none.
pub(crate) fn reasons(basis: &Basis, user: &str, item: &str, params: &Params) -> Vec<Reason> {
    let mut reasons = terms_of_items(basis, user, item, params);
    reasons.extend(term_of_users(basis, user, item, params));
    reasons.retain(|reason| reason.points > 0);
    reasons.sort_by_key(|reason| {
        let id = match &reason.source {
            ReasonSource::Item(i) => Some(params.ids.id64(i)),
            ReasonSource::Users(_) => None,
        };
        (Reverse(reason.points), id.is_none(), id)
    });
    reasons
}

/// > `graph.why` is how many of them, at most, are shown with an item of a list
pub(crate) fn shown(reasons: &[Reason], params: &Params) -> Vec<Reason> {
    reasons.iter().take(params.why).cloned().collect()
}
