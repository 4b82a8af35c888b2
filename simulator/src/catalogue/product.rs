/// What a product is, and until or since when, in milliseconds of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Has no record yet.
    Unlisted { until: u64 },
    /// Can be had: units left of the lot that came in at `since`.
    InStock { left: u32, since: u64 },
    /// Comes back.
    OutOfStock { until: u64 },
    /// Comes back.
    Hidden { until: u64 },
    /// Is deleted next.
    Discontinued { until: u64 },
    /// Is listed again.
    Deleted { until: u64 },
}

impl Stage {
    /// When the stage ends by itself.
    pub(super) fn until(self) -> Option<u64> {
        match self {
            Stage::InStock { .. } => None,
            Stage::Unlisted { until }
            | Stage::OutOfStock { until }
            | Stage::Hidden { until }
            | Stage::Discontinued { until }
            | Stage::Deleted { until } => Some(until),
        }
    }
}

/// What changes of a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub(super) stage: Stage,
    /// Units of a lot.
    pub(super) lot: u32,
    /// Rooms that have it on show now.
    pub(super) shows: u32,
    /// Price without a discount, in percent of the list price.
    pub(super) percent: u8,
    /// Discount in percent; 0 while it is not on show.
    pub(super) discount: u8,
    /// What no record has stated yet.
    pub(super) changes: Changes,
}

/// Which fields of an item have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes(u8);

impl Changes {
    pub(super) const NONE: Changes = Changes(0);
    pub(super) const AVAILABILITY: Changes = Changes(1);
    pub(super) const PRICE: Changes = Changes(2);
    pub(super) const ROOM: Changes = Changes(4);
    /// All fields: the item has no record, or was deleted.
    pub(super) const ALL: Changes = Changes(15);

    pub(super) fn add(&mut self, other: Changes) {
        self.0 |= other.0;
    }

    pub(super) fn has(self, other: Changes) -> bool {
        self.0 & other.0 == other.0
    }
}
