//! The source `users` (user-based collaborative filtering), one function per definition.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::exact::{fine_log, floor_log2_times, q, q_with_phase, similarity};
use super::{History, Params, popularity};

/// > The sample `V_i` of an item: the `sample` users with the smallest `id64(user) xor id64(item)` (as unsigned numbers)
/// > among those with i in `H_u`.
///
/// Returns the sampled users of each item with their levels.
pub(crate) fn samples<'h>(history: &'h History, params: &Params) -> BTreeMap<&'h str, BTreeMap<&'h str, u64>> {
    let mut holders: BTreeMap<&str, Vec<(u64, &str, u64)>> = BTreeMap::new();
    for (user, interactions) in history {
        for (item, level, _) in interactions {
            holders.entry(item).or_default().push((
                params.ids.id64(user) ^ params.ids.id64(item),
                user,
                u64::from(*level),
            ));
        }
    }
    let smallest = |mut holders: Vec<(u64, &'h str, u64)>| {
        holders.sort_unstable();
        holders.into_iter().take(params.sample).map(|(_, user, level)| (user, level)).collect()
    };
    holders.into_iter().map(|(item, holders)| (item, smallest(holders))).collect()
}

/// > Rarity `f_i = max(1, 32 - floor(log2(N_i)))`: a rare item says more.
pub(crate) fn rarity(popularity: u64) -> u64 {
    32_u64.saturating_sub(floor_log2_times(1, popularity)).max(1)
}

/// > Activity `M_v` = sum of `level(v, i) * f_i` over `H_v`.
pub(crate) fn activity<'h>(history: &'h History, rarity: &BTreeMap<&str, u64>) -> BTreeMap<&'h str, u64> {
    let sum = |interactions: &Vec<(String, u8, u64)>| {
        interactions.iter().map(|(item, level, _)| u64::from(*level) * rarity[item.as_str()]).sum()
    };
    history.iter().map(|(user, interactions)| (user.as_str(), sum(interactions))).collect()
}

/// > For u in the audience `W_uv` = sum of `min(level(u, i), level(v, i)) * f_i` over the i in `H_u` with v in `V_i`.
///
/// > The similar users of u are those v != u with `W_uv > 0`, ranked by `2 q(W_uv) - q_uv(M_v)` descending, then id64(v)
/// > ascending. The first `similar_users` are kept. `V_i` may contain u, who is skipped and not replaced.
///
/// > Their similarity is the quantised cosine, without shrinking, whatever `graph.similarity` is:
/// > `w_uv = max(1, min(1024, floor(0.5 + 1024 * 2^((2 q(W_uv) - q_uv(M_u) - q_uv(M_v)) / (2 s)))))`.
///
/// > N, V and M are over all users, in the audience or not. Only users of the audience have similar users.
///
/// Returns the kept users with their `w_uv`, best first. Users without similar users are absent.
pub(crate) fn similar_users(
    history: &History,
    audience: &BTreeSet<&str>,
    params: &Params,
) -> BTreeMap<String, Vec<(String, u64)>> {
    let s = params.resolution;
    let samples = samples(history, params);
    let rarity = popularity(history).into_iter().map(|(item, popularity)| (item, rarity(popularity))).collect();
    let activity = activity(history, &rarity);
    let mut similar = BTreeMap::new();
    for u in audience {
        let mut shared: BTreeMap<&str, u64> = BTreeMap::new();
        for (i, level_u, _) in &history[*u] {
            for (v, level_v) in samples[i.as_str()].iter().filter(|(v, _)| *v != u) {
                *shared.entry(v).or_default() += level_v.min(&u64::from(*level_u)) * rarity[i.as_str()];
            }
        }
        let mut ranked = Vec::new();
        for (v, weight) in shared {
            let (id_u, id_v) = (params.ids.id64(u), params.ids.id64(v));
            let rank = 2 * q(weight, s) - q_with_phase(fine_log(activity[v], s), id_u, id_v);
            let exponent = rank - q_with_phase(fine_log(activity[u], s), id_u, id_v);
            ranked.push((Reverse(rank), id_v, v, exponent));
        }
        ranked.sort_unstable();
        ranked.truncate(params.similar_users);
        if !ranked.is_empty() {
            let kept = ranked.into_iter().map(|(_, _, v, exponent)| (v.to_owned(), similarity(exponent, s)));
            similar.insert((*u).to_owned(), kept.collect());
        }
    }
    similar
}

/// > The source `users`: `score(u, j) = sum over the similar users of w_uv * level(v, j)`, for j in `H_v` and not in
/// > `H_u`.
///
/// The result still contains the items of `H_u`; [`lists`](super::lists) removes them.
pub(crate) fn scores<'h>(similar: Option<&Vec<(String, u64)>>, history: &'h History) -> BTreeMap<&'h str, u64> {
    let mut score: BTreeMap<&str, u64> = BTreeMap::new();
    for (v, w_uv) in similar.into_iter().flatten() {
        for (j, level, _) in &history[v] {
            *score.entry(j).or_default() += w_uv * u64::from(*level);
        }
    }
    score
}
