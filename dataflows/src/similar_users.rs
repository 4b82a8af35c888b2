//! Similar users: histories in, for each viewer those who are most like it out.
//!
//! As with similar items, rows lie where they are wanted and a viewer keeps the best. Whom an item's viewers are compared
//! with is a bounded sample of those who have it (*samples*); how much a user has of everything is *activity*; and in the
//! *look-up* rows of samples lie with the viewers, who add up what they share. What two users share is not stored.

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
pub use self::rank::look_up;
pub use self::samples::{Member, samples};
use crate::gauges::Gauges;
use crate::{Collection, Config, Diff, ItemId, Level, Subscription, Time, UserId, row_subscriptions};

/// A similar user and how similar, 1 to 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SimilarUser {
    /// The similar user.
    pub user: UserId,
    /// Quantised cosine of what both have, 1 to 1024.
    pub similarity: u16,
}

/// What the source `users` makes recommendations of.
pub struct SimilarUsers<'scope> {
    /// Of each viewer the similar users. Lies with the viewer.
    pub similar: Collection<'scope, (UserId, SimilarUser)>,
    /// The histories of similar users, for each worker whose viewers need them. Lies with the user; to be exchanged by
    /// the worker.
    pub histories: Collection<'scope, (Subscription, (ItemId, Level))>,
}

/// The source `users`. `history` is everybody's, `watching` that of the audience, which lies with the viewers.
pub fn similar_users<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    watching: Collection<'scope, (UserId, (ItemId, Level))>,
    config: &Config,
    gauges: &Arc<Gauges>,
) -> SimilarUsers<'scope> {
    let watched = row_subscriptions(watching.clone(), "Watched items", |(_, (item, _))| *item);
    let (members, weights) = samples(history.clone(), watched, config);
    let to_viewers = |update: &((Subscription, Member), Time, Diff)| update.0.0.worker();
    let members = members.inner.exchange(to_viewers).as_collection();
    let users = members.clone().map(|(_, member)| member.user).concat(watching.clone().map(|(user, _)| user));
    let activity = activity(weights, row_subscriptions(users, "Compared users", |user| *user), config);
    let similar = look_up(watching, members, activity, config, gauges);
    let followed = row_subscriptions(similar.clone(), "Followed users", |(_, similar)| similar.user);
    SimilarUsers { similar, histories: histories(history, followed, config) }
}
