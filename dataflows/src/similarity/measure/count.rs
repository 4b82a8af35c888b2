use super::{Formula, Pair};
use crate::Config;
use crate::similarity::quantise::Powers;

/// `C`. Does not read popularities, so they cause no crossings.
pub(crate) struct Count {
    powers: Powers,
}

impl Formula for Count {
    const READS_OWN: bool = false;

    fn new(config: &Config) -> Self {
        Count { powers: Powers::new(config.resolution) }
    }

    fn popularity(&self, _popularity: u64) -> u64 {
        1
    }

    #[inline]
    fn rank(&self, pair: Pair) -> Option<i32> {
        Some(pair.count.cast_signed())
    }

    #[inline]
    fn similarity(&self, rank: i32, _own: u32) -> u16 {
        let rounded = (self.powers.of(rank.cast_unsigned()) + (1 << (Powers::BITS - 1))) >> Powers::BITS;
        u16::try_from(rounded.min(1024)).expect("at most 1024")
    }
}
