//! Similar users: maintains the users most similar to each viewer, from histories.
//!
//! As with similar items, rows are replicated to the workers that subscribe to them, and a viewer keeps the best. The
//! viewers of an item are compared with a bounded sample of the users who have it ([`samples`]). The total of a user's
//! history is its [`activity`]. [`rank_similar_users`] adds up what a viewer shares with the sampled users; shares of pairs
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
use crate::{Collection, Config, Diff, ItemId, Level, Subscriber, Subscription, Time, UserId, row_subscriptions};

/// A similar user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SimilarUser {
    /// Id of the similar user.
    pub user: UserId,
    /// Quantised cosine of both histories, 1 to 1024.
    pub similarity: u16,
}

/// The inputs of the source `users` of the lists.
pub struct SimilarUsers<'scope> {
    /// Similar users by viewer. Located with the viewer.
    pub similar: Collection<'scope, (UserId, SimilarUser)>,
    /// Histories of similar users, for their subscribers. Located with the user; to be exchanged by worker.
    pub histories: Collection<'scope, (Subscription, (ItemId, Level))>,
}

/// What all rankings of similar users start from.
pub struct SampledUsers<'scope> {
    /// The samples of the items that viewers have. Located with the viewers.
    pub members: Collection<'scope, (Subscription, Member)>,
    /// Every user with its activity as multiplicity.
    weights: Collection<'scope, UserId>,
}

/// Samples the users of each item for the viewers. `history` has the histories of all users, `audience_histories` those of
/// the audience, located with the viewers.
pub fn sampled_users<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    audience_histories: Collection<'scope, (UserId, (ItemId, Level))>,
    config: &Config,
) -> SampledUsers<'scope> {
    let me = Subscriber::worker(history.inner.scope().index());
    let viewed_items = row_subscriptions(me, audience_histories, "Viewed items", |(_, (item, _))| *item);
    let (members, weights) = samples(history, viewed_items, config);
    let to_viewers = |update: &((Subscription, Member), Time, Diff)| update.0.0.worker();
    SampledUsers { members: members.inner.exchange(to_viewers).as_collection(), weights }
}

/// The source `users`. `audience_histories` has the histories of the viewers to rank for, located with the viewers.
pub fn similar_users<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    audience_histories: Collection<'scope, (UserId, (ItemId, Level))>,
    SampledUsers { members, weights }: SampledUsers<'scope>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> SimilarUsers<'scope> {
    let me = Subscriber::worker(history.inner.scope().index());
    let viewers = audience_histories.clone().map(|(user, _)| user);
    let compared = members.clone().map(|(_, member)| member.user).concat(viewers);
    let activity = activity(weights, row_subscriptions(me, compared, "Compared users", |user| *user), config);
    let similar = rank_similar_users(audience_histories, members, activity, config, gauges);
    let followed = row_subscriptions(me, similar.clone(), "Followed users", |(_, similar)| similar.user);
    SimilarUsers { similar, histories: histories(history, followed, config) }
}
