//! `[catalogue]`: the items of the shop.

use super::Snapshot::ListsRecomputed;
use super::{Key, Section, key};
use crate::config::rules::{choice, integer, names};

/// The catalogue: `[catalogue]`. It has an effect only in a run with an input of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Whether items that have no record are eligible.
    pub unknown: Unknown,
    /// Items of which records are kept, and deletions that are kept, at most.
    pub max_items: usize,
    /// Names of the groups of tags. A list of tags without a group is of `default`.
    pub tag_groups: Vec<String>,
}

/// Whether items that have no record are eligible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// They are not recommended.
    #[default]
    Ineligible,
    /// They are recommended as if there were no catalogue.
    Eligible,
}

impl Default for Catalogue {
    fn default() -> Self {
        let tag_groups = ["default", "merchant", "visual"].map(str::to_owned).into();
        Catalogue { unknown: Unknown::default(), max_items: 5_000_000, tag_groups }
    }
}

impl Catalogue {
    /// The part that the graph knows.
    pub fn graph(&self) -> dataflows::Catalogue {
        let unknown_is_eligible = self.unknown == Unknown::Eligible;
        dataflows::Catalogue { unknown_is_eligible, max_items: self.max_items }
    }
}

pub(super) fn section() -> Section {
    Section {
        name: "catalogue",
        doc: "The items of the shop: what they are, and when they may be recommended. See docs/catalogue.md.",
        keys: vec![
            Key {
                name: "unknown",
                doc: "Whether items that have events and no record in the catalogue may be recommended.",
                snapshot: ListsRecomputed,
                ..key(choice([("ineligible", Unknown::Ineligible), ("eligible", Unknown::Eligible)]), |config| {
                    &mut config.catalogue.unknown
                })
            },
            Key {
                name: "max_items",
                doc: "Items in the catalogue, and deletions that are remembered, at most. It bounds memory: a record of \
                      another item counts for nothing.",
                ..key(integer(1..=100_000_000), |config| &mut config.catalogue.max_items)
            },
            Key {
                name: "tag_groups",
                doc: "Names of the groups of tags of an item, each a field of its own, so that different programs can \
                      write them. A list of tags without a group is of `default`.",
                ..key(names(1..=8), |config| &mut config.catalogue.tag_groups)
            },
        ],
        ..Section::EMPTY
    }
}
