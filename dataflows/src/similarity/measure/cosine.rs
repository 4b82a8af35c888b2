use super::{Formula, Pair};
use crate::{Config, Similarity};

/// `C / sqrt(D_i D_j)`, `D = 2 (N + shrink)`. `D_i` is a common factor of a row, so ranks omit it.
pub(crate) struct Cosine {
    shrink: u64,
    similarity: Similarity,
}

impl Formula for Cosine {
    const READS_OWN: bool = false;

    fn new(config: &Config) -> Self {
        Cosine { shrink: config.shrink.into(), similarity: Similarity::new(config.resolution) }
    }

    fn popularity(&self, popularity: u64) -> u64 {
        2 * (popularity + self.shrink)
    }

    #[inline]
    fn rank(&self, pair: Pair) -> Option<i32> {
        Some(2 * pair.count.cast_signed() - pair.partner.cast_signed())
    }

    #[inline]
    fn similarity(&self, rank: i32, own: u32) -> u16 {
        self.similarity.of(rank - own.cast_signed())
    }
}
