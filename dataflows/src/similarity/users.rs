//! What similar users are found from: a bounded sample of the users of each item ([`samples`]), and their [`histories`].
//!
//! As with similar items, rows are replicated to the workers that subscribe to them. The users who are similar to a viewer are
//! found when the viewer's list is evaluated, and not kept.

mod histories;
mod samples;

use differential_dataflow::AsCollection;
use timely::dataflow::operators::Exchange;

pub use self::histories::histories;
pub use self::samples::{Member, samples};
use crate::{
    Collection, ComparedUsers, Config, Diff, ItemId, Level, Subscriber, Subscription, Time, UserId, row_subscriptions,
};

/// The users with whom this worker's viewers are compared: the samples of the items in their profiles, which `subscriptions`
/// has, and the histories of the sampled users. `history` has the histories of all users.
pub fn compared_users<'scope>(
    history: Collection<'scope, (UserId, (ItemId, Level))>,
    subscriptions: Collection<'scope, Subscription>,
    config: &Config,
) -> ComparedUsers<'scope> {
    let me = Subscriber::worker(history.inner.scope().index());
    let to_viewers = |update: &((Subscription, Member), Time, Diff)| update.0.0.worker();
    let members = samples(history.clone(), subscriptions, config).inner.exchange(to_viewers).as_collection();
    let compared = row_subscriptions(me, members.clone(), "Compared users", |(_, member)| Some(member.user));
    ComparedUsers { members, histories: histories(history, compared, config) }
}
