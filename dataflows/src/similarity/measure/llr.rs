use std::cell::RefCell;

use schema::{IdMap, spread};

use super::{Formula, Pair};
use crate::similarity::quantise::{Powers, floor_of_log2_times};
use crate::{Config, Logarithm};

/// Dunning's log-likelihood ratio of the contingency table both, one, the other, neither; "Accurate methods for the
/// statistics of surprise and coincidence", 1993. Pairs that co-occur no more often than by chance are not similar.
///
/// A rank takes sixteen logarithms of 48 bits. There are few distinct arguments, so ranks are cached.
pub(crate) struct Llr {
    powers: Powers,
    /// Logarithm of the population.
    logarithm: Logarithm,
    /// Ranks by the four logarithms of a pair.
    cache: RefCell<IdMap<Option<i32>>>,
}

/// Entries at which the cache is cleared: about 24 MB.
const CACHE_ENTRIES: usize = 1 << 20;

impl Llr {
    fn compute(&self, pair: Pair) -> Option<i32> {
        // As in `Jaccard`: a popularity may not be applied yet, so it is at least the co-occurrence.
        let [c, i, j] = [pair.count, pair.own.max(pair.count), pair.partner.max(pair.count)].map(|q| self.powers.of(q));
        let neither = ((1 << Powers::BITS << pair.population) + c).saturating_sub(i + j);
        let bits = g_test(c, i - c, j - c, neither)? >> (FRACTION + Powers::BITS - 4);
        Some(i32::try_from(bits).unwrap_or(i32::MAX))
    }
}

impl Formula for Llr {
    const READS_OWN: bool = true;

    fn new(config: &Config) -> Self {
        Llr { powers: Powers::new(config.resolution), logarithm: Logarithm::new(1), cache: RefCell::default() }
    }

    fn popularity(&self, popularity: u64) -> u64 {
        2 * popularity
    }

    fn population(&self, population: u64) -> u32 {
        self.logarithm.fine(2 * population)
    }

    /// In sixteenths of a bit.
    fn rank(&self, pair: Pair) -> Option<i32> {
        let Pair { count, own, partner, population } = pair;
        // Each is below 2^16, so the key is unique.
        let key = spread([count, own, partner, population].iter().fold(0, |key, q| key << 16 | u64::from(*q)));
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHE_ENTRIES {
            cache.clear();
        }
        *cache.entry(key).or_insert_with(|| self.compute(pair))
    }

    /// The square root, about the number of standard deviations above chance.
    #[inline]
    fn similarity(&self, rank: i32, _own: u32) -> u16 {
        let root = (16 * u64::from(rank.cast_unsigned())).isqrt().clamp(1, 1024);
        u16::try_from(root).expect("at most 1024")
    }
}

/// Fraction bits of a logarithm.
const FRACTION: u32 = 48;

/// Half the log-likelihood ratio of the table, over ln 2, times 2^48; `None` if both co-occur no more often than by
/// chance. Exactly the sum of `X(x) = x * floor(2^48 * log2(x))` over the table and its total, minus that over its margins.
fn g_test(both: u64, one: u64, other: u64, neither: u64) -> Option<i128> {
    let (i, j, total) = (both + one, both + other, both + one + other + neither);
    if u128::from(both) * u128::from(total) <= u128::from(i) * u128::from(j) {
        return None;
    }
    let x = |x: u64| if x == 0 { 0 } else { i128::from(x) * i128::from(floor_of_log2_times(x, 1 << FRACTION)) };
    let inside = x(both) + x(one) + x(other) + x(neither) + x(total);
    Some((inside - x(i) - x(j) - x(total - i) - x(total - j)).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_published_values() {
        for (table, expected) in
            [([110, 2442, 111, 29_114], 270.72), ([29, 13, 123, 31_612], 263.90), ([9, 12, 429, 31_327], 48.94)]
        {
            let [both, one, other, neither] = table;
            #[allow(clippy::cast_precision_loss)]
            let half = g_test(both, one, other, neither).unwrap() as f64 / f64::from(FRACTION).exp2();
            let llr = 2.0 * std::f64::consts::LN_2 * half;
            assert!((llr - expected).abs() < 0.005, "{table:?}: {llr}");
        }
    }

    #[test]
    fn co_occurrence_below_chance_is_not_similar() {
        assert_eq!(g_test(1, 99, 99, 801), None);
        assert_eq!(g_test(10, 90, 90, 810), None, "exactly chance");
        assert!(g_test(11, 89, 89, 811).is_some());
        assert_eq!(g_test(5, 0, 0, 0), None, "all users have both");
    }
}
