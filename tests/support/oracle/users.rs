//! The source `users` (user-based collaborative filtering), one function per definition.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::Eligible;
use super::exact::{fine_log, q, q_with_phase, similarity};
use super::{History, Params, ProfileEntry, profile, stair};

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

/// > For u in the audience `W_uv` = sum of `min(level(u, i), level(v, i)) * stair(m_ui)` over the i in the profile of u
/// > with v in `V_i`: recent items say more.
///
/// Takes the profile of u. Returns `W_uv` by v where it is above 0. `V_i` may contain u, and so may the result.
pub(crate) fn shared<'h>(
    profile: &[ProfileEntry],
    samples: &BTreeMap<&'h str, BTreeMap<&'h str, u64>>,
) -> BTreeMap<&'h str, u64> {
    let mut shared: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in profile {
        for (v, level_v) in &samples[entry.item.as_str()] {
            *shared.entry(v).or_default() += entry.level.min(*level_v) * entry.stair;
        }
    }
    shared
}

/// > `B_u` = sum of `p_ui` over the profile of u
pub(crate) fn profile_weight(profile: &[ProfileEntry]) -> u64 {
    profile.iter().map(ProfileEntry::weight).sum()
}

/// > `A_v` = `stair(0)` * sum of `level(v, i)` over `H_v`
pub(crate) fn activity<'h>(history: &'h History, params: &Params) -> BTreeMap<&'h str, u64> {
    let sum = |interactions: &Vec<(String, u8, u64)>| -> u64 {
        interactions.iter().map(|(_, level, _)| u64::from(*level)).sum()
    };
    history.iter().map(|(user, interactions)| (user.as_str(), stair(0, params) * sum(interactions))).collect()
}

/// > `q'` is q with `s = user_resolution`. The similar users of u are those v != u with `W_uv > 0`, ranked by
/// > `2 q'(W_uv) - q'_uv(A_v)` descending, then id64(v) ascending. The first `similar_users` are kept. `V_i` may contain
/// > u, who is skipped and not replaced.
///
/// > Their similarity is the quantised cosine, without shrinking, whatever `graph.similarity` is:
/// > `w_uv = max(1, min(1024, floor(0.5 + 1024 * 2^((2 q'(W_uv) - q'_uv(A_v) - q'_uv(B_u)) / (2 * user_resolution)))))`.
///
/// > V and A are over all users, in the audience or not. Only users of the audience have similar users.
///
/// Returns the kept users with their `w_uv`, best first. Users without similar users are absent.
pub(crate) fn similar_users(
    history: &History,
    audience: &BTreeSet<&str>,
    params: &Params,
) -> BTreeMap<String, Vec<(String, u64)>> {
    let s = params.user_resolution;
    let samples = samples(history, params);
    let activity = activity(history, params);
    let mut similar = BTreeMap::new();
    for u in audience {
        // A user of the audience without an interaction has no profile.
        let profile = profile(history.get(*u).map_or(&[], Vec::as_slice), params);
        let b_u = profile_weight(&profile);
        let mut ranked = Vec::new();
        for (v, w) in shared(&profile, &samples).into_iter().filter(|(v, _)| v != u) {
            let (id_u, id_v) = (params.ids.id64(u), params.ids.id64(v));
            let rank = 2 * q(w, s) - q_with_phase(fine_log(activity[v], s), id_u, id_v);
            let exponent = rank - q_with_phase(fine_log(b_u, s), id_u, id_v);
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

/// > The source `users`: `score(u, j) = sum over the similar users of w_uv * level(v, j)`, for eligible j in `H_v` and not
/// > in `H_u`.
///
/// The result still contains the items of `H_u`; [`candidates`](super::candidates) removes them.
pub(crate) fn scores<'h>(
    similar: Option<&Vec<(String, u64)>>,
    history: &'h History,
    eligible: &Eligible,
) -> BTreeMap<&'h str, u64> {
    let mut score: BTreeMap<&str, u64> = BTreeMap::new();
    for (v, w_uv) in similar.into_iter().flatten() {
        for (j, level, _) in history[v].iter().filter(|(j, ..)| eligible.contains(j)) {
            *score.entry(j).or_default() += w_uv * u64::from(*level);
        }
    }
    score
}
