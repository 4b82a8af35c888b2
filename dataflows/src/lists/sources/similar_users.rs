use super::CandidateSource;
use crate::lists::source::Source;
use crate::operators::{Dense, RowCache};
use crate::{ItemId, Level, SimilarUser, SimilarUsers, Weight};

/// Histories of similar users. Members are the users, weighted by their similarity.
pub(in crate::lists) struct SimilarUsersSource;

impl<'scope> CandidateSource<'scope> {
    /// Items in the histories of similar users.
    pub fn similar_users(weight: u32, SimilarUsers { similar, histories }: SimilarUsers<'scope>) -> Self {
        Self::new::<SimilarUsersSource>(weight, similar, histories)
    }
}

impl Source for SimilarUsersSource {
    type Member = SimilarUser;
    type Entry = (ItemId, Level);

    fn member(similar: &SimilarUser) -> (u64, Weight) {
        (similar.user, Weight::from(similar.similarity))
    }

    fn entry((item, level): &Self::Entry) -> (ItemId, u32) {
        (*item, u32::from(*level))
    }

    fn intern(rows: &mut RowCache, row: u64) -> Dense {
        rows.intern_user(row)
    }
}
