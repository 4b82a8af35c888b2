use super::CandidateSource;
use crate::lists::source::Source;
use crate::operators::{Dense, RowCache};
use crate::{Collection, ItemId, Neighbour, ProfileItem, Subscription, UserId, Weight};

/// Similar items of the items in the profile. Members are the items, weighted by the profile.
pub(in crate::lists) struct SimilarItemsSource;

impl<'scope> CandidateSource<'scope> {
    /// Items similar to those in the profile. `profiles` must be located with the viewers; rows are sent there.
    pub fn similar_items(
        weight: u32,
        profiles: Collection<'scope, (UserId, ProfileItem)>,
        neighbours: Collection<'scope, (Subscription, Neighbour)>,
    ) -> Self {
        Self::new::<SimilarItemsSource>(weight, profiles, neighbours)
    }
}

impl Source for SimilarItemsSource {
    type Member = ProfileItem;
    type Entry = Neighbour;

    fn member(item: &ProfileItem) -> (u64, Weight) {
        (item.item, item.weight())
    }

    fn entry(neighbour: &Neighbour) -> (ItemId, u32) {
        (neighbour.item, u32::from(neighbour.similarity))
    }

    fn intern(rows: &mut RowCache, row: u64) -> Dense {
        rows.intern(row)
    }
}
