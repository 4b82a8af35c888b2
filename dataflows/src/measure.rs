//! How similar two items are: one interface over formulas of quantised counts, all on integers.
//!
//! A formula reads nothing but the quantised logarithms of a pair, so whatever it is, a count that stays between two thresholds
//! changes no similarity, and what a crossing touches is the same sixty-fourth of an item's pairs.

mod cosine;
mod count;
mod jaccard;
mod llr;

use serde::{Serialize, Serializer};

pub(crate) use self::cosine::Cosine;
pub(crate) use self::count::Count;
pub(crate) use self::jaccard::Jaccard;
pub(crate) use self::llr::Llr;
use crate::Config;

/// By what items are similar: the formulas of `docs/semantics.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Shrunk cosine.
    #[default]
    Cosine,
    /// Shrunk Jaccard: what both have of what either has.
    Jaccard,
    /// Log-likelihood ratio (G-test): how surprising it is that they occur together.
    Llr,
    /// Co-occurrence alone, whatever the popularities.
    Count,
}

impl Measure {
    /// All of them, the default first.
    pub const ALL: [Measure; 4] = [Measure::Cosine, Measure::Jaccard, Measure::Llr, Measure::Count];

    /// As it is written in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Measure::Cosine => "cosine",
            Measure::Jaccard => "jaccard",
            Measure::Llr => "llr",
            Measure::Count => "count",
        }
    }
}

/// As its name.
impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The quantised logarithms of a pair of items, as the row of one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    /// `q(C)`.
    pub(crate) count: u32,
    /// `q_ij` of the item whose row it is; 0 unless [`Formula::READS_OWN`].
    pub(crate) own: u32,
    /// `q_ij` of the partner.
    pub(crate) partner: u32,
    /// `log2` of the population, rounded as the item whose row it is does.
    pub(crate) population: u32,
}

/// A measure. Ranks and similarities are functions of a [`Pair`] alone, and a rank never falls when only `count` rises.
pub(crate) trait Formula: 'static {
    /// Whether ranks depend on the popularity of the item whose row it is: then its crossings move its own row too.
    const READS_OWN: bool;

    fn new(config: &Config) -> Self;

    /// What the logarithm of a popularity is taken of.
    fn popularity(&self, popularity: u64) -> u64;

    /// `floor(64 * log2(T))` of the population, if that is read.
    fn population(&self, _population: u64) -> u32 {
        0
    }

    /// The higher, the more similar; `None`: not similar.
    fn rank(&self, pair: Pair) -> Option<i32>;

    /// The similarity, 1 to 1024, of a partner of this rank; `own` is `q_ij` of the item whose row it is.
    fn similarity(&self, rank: i32, own: u32) -> u16;
}
