use serde::{Deserialize, Serialize};

use crate::{Collection, ItemId, UserId, Weight};

/// A worker that needs to know what is similar to an item, as one of its viewers has the item in the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interest {
    /// The item.
    pub item: ItemId,
    /// The worker.
    pub worker: u64,
}

/// Which items' neighbours are wanted where: the audience's profiles without the items beyond the stairs. The profiles
/// lie with their users, so the worker that runs this is the one that wants to know.
pub fn interest<'scope>(profiles: Collection<'scope, (UserId, (ItemId, Weight))>) -> Collection<'scope, Interest> {
    let worker = profiles.inner.scope().index() as u64;
    profiles.flat_map(move |(_user, (item, weight))| (weight > 0).then_some(Interest { item, worker }))
}
