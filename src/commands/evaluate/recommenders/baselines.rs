//! The baselines to choose from.

use clap::ValueEnum;

use super::super::log::Log;
use super::{RandomItems, RankedItems, Recommender, VmisKnn};

/// A baseline that is evaluated on the same cases as deltarec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Baseline {
    /// Items by number of users
    Popularity,
    /// Items by time of the last event
    Recency,
    /// Any items, drawn again for each list
    Random,
    /// Nearest neighbours of the user's last two items among the newest sessions, each user being a session
    VmisKnn,
}

impl Baseline {
    /// Name in reports and on the command line.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Baseline::Popularity => "popularity",
            Baseline::Recency => "recency",
            Baseline::Random => "random",
            Baseline::VmisKnn => "vmis-knn",
        }
    }

    /// The baseline for lists of `length` items.
    pub(in super::super) fn build(self, log: &Log, length: usize, seed: u64) -> Box<dyn Recommender> {
        match self {
            Baseline::Popularity => Box::new(RankedItems::popularity(&log.items, length)),
            Baseline::Recency => Box::new(RankedItems::recency(&log.items, length)),
            Baseline::Random => Box::new(RandomItems::new(seed, log.items.len(), length)),
            Baseline::VmisKnn => Box::new(VmisKnn::new(&log.items, log.users.len(), length)),
        }
    }
}
