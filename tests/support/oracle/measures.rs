//! The measures of similarity of two items: `graph.similarity`.

use serde::{Deserialize, Serialize};

use super::exact::{log48, power, q, q_with_phase, similarity};
use super::{History, Params};

/// The key `graph.similarity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Cosine, quantised and shrunk.
    Cosine,
    /// Jaccard index, shrunk.
    Jaccard,
    /// Log-likelihood ratio.
    Llr,
    /// Co-occurrence.
    Count,
}

/// What the formulas need to know of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ItemStats {
    /// `id64` of its name.
    pub(crate) id: u64,
    /// [`fine_log`](super::exact::fine_log) of [`compared_popularity`].
    pub(crate) log: u64,
}

/// What a measure compares co-occurrences with: `D_i` or `2 N_i`.
///
/// > As a pair counts up to twice, it is compared with twice the popularities: `D_i = 2 (N_i + shrink)`.
///
/// > Let `c = p(q(C_ij))`, `n_i = p(q_ij(2 N_i))`, `n_j = p(q_ij(2 N_j))`.
pub(crate) fn compared_popularity(popularity: u64, params: &Params) -> u64 {
    match params.similarity {
        Measure::Cosine | Measure::Jaccard => 2 * (popularity + params.shrink),
        Measure::Llr | Measure::Count => 2 * popularity,
    }
}

/// > The population T is twice the sum over users of the highest level in `H_u`; where all levels are 1 it is twice the
/// > number of users.
pub(crate) fn population(history: &History) -> u64 {
    let highest = |interactions: &Vec<(String, u8, u64)>| interactions.iter().map(|(_, level, _)| *level).max();
    2 * history.values().filter_map(highest).map(u64::from).sum::<u64>()
}

/// The `rank` of j among the similar items of i, and `v_ij`. `None`: j is not similar. `log_t` is `floor(64 * log2(T))`.
pub(crate) fn rank(count: u64, i: ItemStats, j: ItemStats, log_t: u64, params: &Params) -> Option<(i64, u64)> {
    let s = params.resolution;
    let q_count = q(count, s);
    let n_i = q_with_phase(i.log, i.id, j.id);
    let n_j = q_with_phase(j.log, i.id, j.id);
    // The joins of the reference graph also pair counts and popularities of different ticks. There a count may exceed a
    // popularity, so the popularity is raised to it; the results of these pairs cancel out.
    let (n_i, n_j) =
        if params.similarity == Measure::Cosine { (n_i, n_j) } else { (n_i.max(q_count), n_j.max(q_count)) };
    match params.similarity {
        // > `rank = 2 q(C_ij) - q_ij(D_j)`
        Measure::Cosine => Some((2 * q_count - n_j, similarity(2 * q_count - n_i - n_j, s))),
        Measure::Jaccard => {
            // > Let `a = q_ij(D_i) - q(C_ij)` and `b = q_ij(D_j) - q(C_ij)`. They are not negative, as no pair has a
            // > higher count than twice the popularity of either of its items. Then
            // > `rank = floor(2^46 / (p(a) + p(b) - 2^16))`, where 2^30 stands for 1, and
            // > `v_ij = max(1, floor(rank / 2^20 + 1/2))`.
            let rank = (1 << 46) / (power(n_i - q_count, s) + power(n_j - q_count, s) - (1 << 16));
            Some((i64::try_from(rank).expect("at most 2^31"), ((rank + (1 << 19)) / (1 << 20)).max(1)))
        }
        Measure::Llr => {
            // > `t_i = floor((floor(64 * log2(T)) + id64(i) mod 64) / 64)`
            let rounded = (log_t + i.id % 64) / 64;
            let rank = llr_rank(power(q_count, s), power(n_i, s), power(n_j, s), 1 << (16 + rounded))?;
            // > `v_ij = max(1, min(1024, floor(sqrt(16 rank))))`
            let v = (1..=1024).rev().find(|v| v * v <= 16 * rank).unwrap_or(1);
            Some((i64::try_from(rank).expect("at most 2^31"), v))
        }
        Measure::Count => {
            // > **`count`**: `rank = q(C_ij)`, `v_ij = min(1024, floor(p(q(C_ij)) / 2^16 + 1/2))`.
            Some((q_count, ((power(q_count, s) + (1 << 15)) / (1 << 16)).min(1024)))
        }
    }
}

/// The rank by the log-likelihood ratio; `t` is `2^(16 + t_i)`.
///
/// > The table is `c`, `n_i - c`, `n_j - c` and `max(0, 2^(16 + t_i) - n_i - n_j + c)`. Its sum is `m`, its margins are
/// > `n_i`, `m - n_i`, `n_j`, `m - n_j`. j is not similar if `c m <= n_i n_j`, that is, when the two occur together no
/// > more often than by chance. With `X(x) = x * floor(2^48 * log2(x))`, `X(0) = 0`, let `G` be the sum of X over the
/// > table and of X(m), less the sum of X over the margins. `rank = max(0, min(2^31 - 1, floor(G / 2^60)))`
pub(crate) fn llr_rank(c: u64, n_i: u64, n_j: u64, t: u64) -> Option<u64> {
    let neither = (i128::from(t) - i128::from(n_i) - i128::from(n_j) + i128::from(c)).max(0);
    let table = [i128::from(c), i128::from(n_i - c), i128::from(n_j - c), neither];
    let total: i128 = table.iter().sum();
    let margins = [i128::from(n_i), i128::from(n_j)].map(|n| [n, total - n]);
    if i128::from(c) * total <= margins[0][0] * margins[1][0] {
        return None;
    }
    let x = |x: &i128| if *x == 0 { 0 } else { x * i128::from(log48(u64::try_from(*x).expect("no cell is negative"))) };
    let g = table.iter().map(x).sum::<i128>() + x(&total) - margins.as_flattened().iter().map(x).sum::<i128>();
    Some(u64::try_from(g.div_euclid(1 << 60).clamp(0, (1 << 31) - 1)).expect("not negative"))
}
