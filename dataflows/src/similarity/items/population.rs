//! The population: the largest popularity that one item could have. T is twice that.

use schema::{IdMap, shrink_if_sparse};

use crate::operators::map_in_order;
use crate::{Collection, Diff, ItemId, Level, UserId};

/// Number of interactions of a user by level.
type Levels = [i16; 16];

/// The population as the multiplicity of `()`: the sum over users of the highest level in their history. No popularity
/// exceeds it. If all levels are 1, it is the number of users.
///
/// `history` must be located with the users and arrive in the order of its times. Memory: 32 bytes a user.
pub(super) fn population<'scope>(history: Collection<'scope, (UserId, (ItemId, Level))>) -> Collection<'scope, ()> {
    let mut users: IdMap<Levels> = IdMap::default();
    map_in_order(history, "Population", move |(user, (_item, level)), diff| {
        let levels = users.entry(user).or_default();
        let before = highest(levels);
        levels[usize::from(level)] += i16::try_from(diff).expect("a history has at most 1,000 items");
        let change = highest(levels) - before;
        if *levels == Levels::default() {
            users.remove(&user);
            shrink_if_sparse(&mut users);
        }
        // Retractions and insertions of a tick come in any order: intermediate changes cancel out.
        (change != 0).then_some(((), change))
    })
}

fn highest(levels: &Levels) -> Diff {
    levels.iter().rposition(|count| *count > 0).map_or(0, usize::cast_signed)
}
