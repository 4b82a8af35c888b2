//! Similar users: maintains the users most similar to each viewer, from the viewer's profile and the histories of all users.
//!
//! As with similar items, rows are replicated to the workers that subscribe to them, and a viewer keeps the best. The
//! viewers of an item are compared with a bounded sample of the users who have it ([`samples`]). The sum of a user's
//! levels is its [`activity`]. [`rank_similar_users`] adds up what a viewer shares with the sampled users; shares of pairs
//! of users are not stored.

mod activity;
mod histories;
mod rank;
mod samples;
mod viewers;

use std::sync::Arc;

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Exchange;

pub use self::activity::activity;
pub use self::histories::histories;
pub use self::rank::rank_similar_users;
pub use self::samples::{Member, samples};
use crate::gauges::Gauges;
use crate::{
    Collection, Config, Diff, ItemId, Level, ProfileItem, Subscriber, Subscription, Time, UserId, row_subscriptions,
};

/// A similar user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SimilarUser {
    /// Id of the similar user.
    pub user: UserId,
    /// Quantised cosine of the viewer's profile and the history of the similar user, 1 to 1024.
    pub similarity: u16,
}

/// The inputs of the source `users` of the lists.
pub struct SimilarUsers<'scope> {
    /// Similar users by viewer. Located with the viewer.
    pub similar: Collection<'scope, (UserId, SimilarUser)>,
    /// Histories of similar users, for their subscribers. Located with the user; to be exchanged by worker.
    pub histories: Collection<'scope, (Subscription, (ItemId, Level))>,
}

/// Samples the users of each item that the workers subscribe to. `history` has the histories of all users. The samples are
/// located with the subscribers.
pub fn sampled_users<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    subscriptions: Collection<'scope, Subscription>,
    config: &Config,
) -> Collection<'scope, (Subscription, Member)> {
    let to_viewers = |update: &((Subscription, Member), Time, Diff)| update.0.0.worker();
    samples(history, subscriptions, config).inner.exchange(to_viewers).as_collection()
}

/// The source `users`. `profiles` are those of the viewers to rank for, and `members` the samples of the items in them. Both
/// are located with the viewers.
pub fn similar_users<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    profiles: Collection<'scope, (UserId, ProfileItem)>,
    members: Collection<'scope, (Subscription, Member)>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> SimilarUsers<'scope> {
    let me = Subscriber::worker(history.inner.scope().index());
    let compared = row_subscriptions(me, members.clone(), "Compared users", |(_, member)| Some(member.user));
    let activity = activity(history.clone(), compared, config);
    let similar = rank_similar_users(profiles, members, activity, config, gauges);
    let followed = row_subscriptions(me, similar.clone(), "Followed users", |(_, similar)| Some(similar.user));
    SimilarUsers { similar, histories: histories(history, followed, config) }
}
