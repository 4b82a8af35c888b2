use super::Source;
use crate::operators::{Dense, RowCache};
use crate::{ItemId, Neighbour, Weight};

/// Similar items of the items in the profile. Members are the items, weighted by the profile.
pub(in crate::lists) struct SimilarItemsSource;

impl Source for SimilarItemsSource {
    type Member = (ItemId, Weight);
    type Entry = Neighbour;

    fn member((item, weight): &Self::Member) -> (u64, Weight) {
        (*item, *weight)
    }

    fn entry(neighbour: &Neighbour) -> (ItemId, u32) {
        (neighbour.item, u32::from(neighbour.similarity))
    }

    fn intern(rows: &mut RowCache, row: u64) -> Dense {
        rows.intern(row)
    }
}
