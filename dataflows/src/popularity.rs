use crate::{Collection, Diff, ItemId, Level, UserId};

/// Popularity of the items: each item, with the sum of its levels as its multiplicity.
pub fn popularity<'scope>(history: Collection<'scope, (UserId, (ItemId, Level))>) -> Collection<'scope, ItemId> {
    history.explode(|(_user, (item, level))| Some((item, Diff::from(level))))
}
