//! Similarity measures of items: formulas of quantised counts, on integers.
//!
//! A formula reads only the quantised logarithms of a pair. So a count between two thresholds changes no similarity, and a
//! crossing touches the same sixty-fourth of an item's pairs, whatever the formula.

mod cosine;
mod count;
mod jaccard;
mod llr;

pub(crate) use self::cosine::Cosine;
pub(crate) use self::count::Count;
pub(crate) use self::jaccard::Jaccard;
pub(crate) use self::llr::Llr;
use crate::Config;
use serde::{Serialize, Serializer};

/// The similarity measure of items. `docs/semantics.md` has the formulas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Shrunk cosine.
    #[default]
    Cosine,
    /// Shrunk Jaccard: intersection over union.
    Jaccard,
    /// Log-likelihood ratio (G-test) of the co-occurrence.
    Llr,
    /// Co-occurrence alone, without popularities.
    Count,
}

/// The name of the measure.
impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Measure {
    /// All measures, the default first.
    pub const ALL: [Measure; 4] = [Measure::Cosine, Measure::Jaccard, Measure::Llr, Measure::Count];

    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Measure::Cosine => "cosine",
            Measure::Jaccard => "jaccard",
            Measure::Llr => "llr",
            Measure::Count => "count",
        }
    }
}

/// The quantised logarithms of a pair of items, in the row of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    /// `q(C)`.
    pub(crate) count: u32,
    /// `q_ij` of the item of the row; 0 unless [`Formula::READS_OWN`].
    pub(crate) own: u32,
    /// `q_ij` of the partner.
    pub(crate) partner: u32,
    /// `log2` of the population, rounded with the phase of the item of the row.
    pub(crate) population: u32,
}

/// The formula of a measure. Ranks and similarities are functions of a [`Pair`] alone. A rank never falls when only
/// `count` rises.
pub(crate) trait Formula: 'static {
    /// Whether ranks depend on the popularity of the item of the row: then its crossings also change its own row.
    const READS_OWN: bool;

    fn new(config: &Config) -> Self;

    /// The argument of the logarithm of a popularity. A pair counts up to twice, so it is compared with twice the popularity.
    fn popularity(&self, popularity: u64) -> u64;

    /// `floor(64 * log2(T))`, T being twice the population, if the formula reads it.
    fn population(&self, _population: u64) -> u32 {
        0
    }

    /// Rank of a pair: higher is more similar; `None` is not similar.
    fn rank(&self, pair: Pair) -> Option<i32>;

    /// Similarity, 1 to 1024, of a partner with this rank. `own` is `q_ij` of the item of the row.
    fn similarity(&self, rank: i32, own: u32) -> u16;
}
