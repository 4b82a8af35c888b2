use super::{Formula, Pair};
use crate::Config;
use crate::similarity::quantise::Powers;

/// `C / (D_i + D_j - C)`, `D = 2 (N + shrink)`, computed as `1 / (2^(a/s) + 2^(b/s) - 1)`, where a and b are the logarithms
/// of `D_i` and `D_j` minus that of the co-occurrence.
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
        2 * (popularity + self.shrink)
    }

    /// In steps of 2^-30. A co-occurrence above twice a popularity is transient: the popularity of the same tick is not
    /// applied yet.
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
