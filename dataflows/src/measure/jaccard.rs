use super::{Formula, Pair};
use crate::Config;
use crate::quantise::Powers;

/// `C / (N_i + shrink + N_j + shrink - C)`, as `1 / (2^(a/s) + 2^(b/s) - 1)`: a and b are by how much the logarithms of the
/// popularities exceed that of the co-occurrence.
pub(crate) struct Jaccard {
    shrink: u64,
    powers: Powers,
}

impl Formula for Jaccard {
    const READS_OWN: bool = true;

    fn new(config: &Config) -> Self {
        Jaccard { shrink: config.shrink.into(), powers: Powers::new(config.resolution) }
    }

    fn popularity(&self, popularity: u64) -> u64 {
        popularity + self.shrink
    }

    /// In steps of 2^-30. What is together more often than one of it is only for a moment, before its popularity has come.
    #[inline]
    fn rank(&self, pair: Pair) -> Option<i32> {
        let [a, b] = [pair.own, pair.partner].map(|q| self.powers.of(q.saturating_sub(pair.count)));
        let rank = (1_u64 << (30 + Powers::BITS)) / (a + b - (1 << Powers::BITS));
        Some(i32::try_from(rank).expect("at most 2^30, as a and b are at least 1"))
    }

    #[inline]
    fn similarity(&self, rank: i32, _own: u32) -> u16 {
        u16::try_from((rank + (1 << 19)) >> 20).expect("at most 1024").max(1)
    }
}
