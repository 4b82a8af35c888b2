//! Why an item is in a list: `docs/semantics.md`, "Reasons", one function per definition.

use std::cmp::Reverse;

use super::{Basis, Params, profile, quarter};

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
    /// A `less` has made the total a quarter.
    Less,
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
/// > Where a `less` has made the total a quarter there is one more reason, `less`, with the negative difference as its points;
/// > [...] as the last, beside the `graph.why` others.
///
/// Returns all reasons of an eligible j of u, the largest first, then `less`. A source without a weight gives none.
pub(crate) fn reasons(basis: &Basis, user: &str, item: &str, params: &Params) -> Vec<Reason> {
    let mut reasons = terms_of_items(basis, user, item, params);
    reasons.extend(term_of_users(basis, user, item, params));
    reasons.retain(|reason| reason.points > 0);
    reasons.sort_by_key(|reason| {
        let id = match &reason.source {
            ReasonSource::Item(i) => Some(params.ids.id64(i)),
            ReasonSource::Users(_) | ReasonSource::Less => None,
        };
        (Reverse(reason.points), id.is_none(), id)
    });
    let sum: i64 = reasons.iter().map(|reason| reason.points).sum();
    if sum > 0 && basis.counts_less(user, item) {
        reasons.push(Reason { source: ReasonSource::Less, points: quarter(sum) - sum });
    }
    reasons
}

/// > `graph.why` is how many of them, at most, are shown with an item of a list
///
/// > [`less`] is shown, as the last, beside the `graph.why` others, unless `graph.why` is 0.
pub(crate) fn shown(reasons: &[Reason], params: &Params) -> Vec<Reason> {
    if params.why == 0 {
        return Vec::new();
    }
    let (less, others): (Vec<&Reason>, Vec<&Reason>) =
        reasons.iter().partition(|reason| reason.source == ReasonSource::Less);
    others.into_iter().take(params.why).chain(less).cloned().collect()
}
