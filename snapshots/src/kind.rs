use schema::{CATALOGUE_GROUPS, IdKey, KEY_GROUPS, catalogue_group, key_group};
use serde::{Deserialize, Serialize};

use crate::files::{CATALOGUE, CONTROLS, GROUPS};

/// What the rows of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// [`Interactions`](crate::Interactions), in [`KEY_GROUPS`] groups of users.
    Interactions,
    /// [`StatementRows`](crate::StatementRows), in [`CATALOGUE_GROUPS`] groups of items.
    Catalogue,
    /// [`StatementRows`](crate::StatementRows), in [`KEY_GROUPS`] groups of users.
    Controls,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Interactions, Kind::Catalogue, Kind::Controls];

    /// Number of groups.
    pub const fn groups(self) -> usize {
        match self {
            Kind::Interactions | Kind::Controls => KEY_GROUPS,
            Kind::Catalogue => CATALOGUE_GROUPS,
        }
    }

    /// What messages call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Interactions => "interactions",
            Kind::Catalogue => "catalogue",
            Kind::Controls => "controls",
        }
    }

    /// The folder of its files.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Kind::Interactions => GROUPS,
            Kind::Catalogue => CATALOGUE,
            Kind::Controls => CONTROLS,
        }
    }

    /// What its groups are of.
    pub(crate) const fn owner(self) -> &'static str {
        match self {
            Kind::Interactions | Kind::Controls => "user",
            Kind::Catalogue => "item",
        }
    }

    /// Checks that all names, of users or of items, belong to a group.
    pub(crate) fn check_group<'n>(
        self,
        group: u8,
        ids: IdKey,
        mut names: impl Iterator<Item = &'n str>,
    ) -> Result<(), String> {
        let group_of: fn(u64) -> u8 = match self {
            Kind::Interactions | Kind::Controls => key_group,
            Kind::Catalogue => catalogue_group,
        };
        match names.find(|name| group_of(ids.id64(name)) != group) {
            Some(name) => Err(format!("{} `{name}` belongs to another group", self.owner())),
            None => Ok(()),
        }
    }
}
