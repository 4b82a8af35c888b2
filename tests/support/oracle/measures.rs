//! By what two items are similar: `graph.similarity`.

use serde::{Deserialize, Serialize};

use super::exact::{log48, power, q, q_with_phase, similarity};
use super::{History, Params};

/// The key `graph.similarity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Shrunk.
    Cosine,
    /// Shrunk.
    Jaccard,
    /// Log-likelihood ratio.
    Llr,
    /// Co-occurrence.
    Count,
}

/// An item as the formulas see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct About {
    /// `id64` of its name.
    pub(crate) id: u64,
    /// The popularity as [`read`], as `floor(64 * s * log2(x))`.
    pub(crate) log: u64,
}

/// > `shrink` is added by the cosine and by Jaccard.
pub(crate) fn read(popularity: u64, params: &Params) -> u64 {
    match params.similarity {
        Measure::Cosine | Measure::Jaccard => popularity + params.shrink,
        Measure::Llr | Measure::Count => popularity,
    }
}

/// > population `T`: sum over users of the highest level in `H_u`.
pub(crate) fn population(history: &History) -> u64 {
    let highest = |interactions: &Vec<(String, u8, u64)>| interactions.iter().map(|(_, level, _)| *level).max();
    history.values().filter_map(highest).map(u64::from).sum()
}

/// How j ranks among the similar items of i, and `v_ij`; `None` if they are not similar. `log_t` is
/// `floor(64 * log2(T))`.
pub(crate) fn rank(count: u64, i: About, j: About, log_t: u64, params: &Params) -> Option<(i64, u64)> {
    let s = params.resolution;
    let q_count = q(count, s);
    let n_i = q_with_phase(i.log, i.id, j.id);
    let n_j = q_with_phase(j.log, i.id, j.id);
    // No pair has more than either of it. The joins of the textbook graph meet counts and popularities of different ticks on
    // the way, which cancel out.
    let (n_i, n_j) =
        if params.similarity == Measure::Cosine { (n_i, n_j) } else { (n_i.max(q_count), n_j.max(q_count)) };
    match params.similarity {
        Measure::Cosine => Some((2 * q_count - n_j, similarity(2 * q_count - n_i - n_j, s))),
        Measure::Jaccard => {
            // > `rank = floor(2^46 / (p(a) + p(b) - 2^16))`, `v = max(1, floor(rank / 2^20 + 1/2))`
            let rank = (1 << 46) / (power(n_i - q_count, s) + power(n_j - q_count, s) - (1 << 16));
            Some((i64::try_from(rank).expect("at most 2^31"), ((rank + (1 << 19)) / (1 << 20)).max(1)))
        }
        Measure::Llr => {
            // > `t_i = floor((floor(64 * log2(T)) + id64(i) mod 64) / 64)`
            let rounded = (log_t + i.id % 64) / 64;
            let rank = surprise(power(q_count, s), power(n_i, s), power(n_j, s), 1 << (16 + rounded))?;
            // > `v = max(1, min(1024, floor(sqrt(16 * rank))))`
            let v = (1..=1024).rev().find(|v| v * v <= 16 * rank).unwrap_or(1);
            Some((i64::try_from(rank).expect("at most 2^31"), v))
        }
        Measure::Count => {
            // > `v = min(1024, floor(p(q(C)) / 2^16 + 1/2))`
            Some((q_count, ((power(q_count, s) + (1 << 15)) / (1 << 16)).min(1024)))
        }
    }
}

/// > The table of both, one, the other and neither; its margins and its total. Not similar when together no more
/// > often than by chance. `G` is the sum of `X` over the table and its total less that over its margins;
/// > `rank = max(0, min(2^31 - 1, floor(G / 2^60)))`.
pub(crate) fn surprise(c: u64, n_i: u64, n_j: u64, t: u64) -> Option<u64> {
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
