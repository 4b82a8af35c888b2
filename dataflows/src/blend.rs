//! How a list is filled up when it is read: `docs/trending.md`.

use crate::{ItemId, UserId};

/// Where an entry of a shown list is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The user's own list.
    Personal,
    /// What trends in the room.
    Room,
    /// What trends everywhere.
    Everywhere,
    /// New items that are to be tried.
    New,
}

/// What a list is filled up from. Each best first; without it an empty one.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlendSources<'a> {
    /// What trends in the room that the user is in.
    pub room: &'a [ItemId],
    /// What trends everywhere.
    pub everywhere: &'a [ItemId],
    /// Items that deserve to be seen, in any order: new ones of the catalogue, which nobody may have touched yet.
    pub new: &'a [ItemId],
    /// New items in a list, at most.
    pub explore: usize,
    /// Decides, with the user, which new items are taken: another seed, others. Change it as often as they are to rotate.
    pub seed: u64,
}

/// What makes neighbours strangers (2^64 over the golden ratio, odd). Without it the nearest items to `user xor seed` would be
/// taken: by far the same ones in the next hour, and some items by many times as many users as others.
pub const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The list that a user is shown, at most `k` items, each once, with where they are from.
///
/// The last `explore` places are for new items, those with the smallest `(id64(item) xor id64(user) xor seed) * SPREAD` (modulo
/// 2^64, as unsigned numbers; see [`SPREAD`]) among the ones that are neither `seen` nor in the personal list. Before them
/// stands the personal list in its order, then, while there is room, what trends in the user's room and what trends
/// everywhere, without what is seen or in the list already. Places that new items do not take are filled as the others. A
/// pure function: the same for everybody who computes it.
///
/// `seen` is what the user has touched, as far as it is known here; the personal list needs no such look. Time is `k` times
/// the length of what trends, and a glance at each new item.
///
/// ```
/// use dataflows::{BlendSources, Origin, shown};
///
/// let filling = BlendSources { room: &[3, 1], everywhere: &[4, 5], ..BlendSources::default() };
/// let list = shown(7, &[1, 2], &filling, |item| item == 4, 4);
/// assert_eq!(list, [(1, Origin::Personal), (2, Origin::Personal), (3, Origin::Room), (5, Origin::Everywhere)]);
/// ```
pub fn shown(
    user: UserId,
    personal: &[ItemId],
    filling: &BlendSources<'_>,
    seen: impl Fn(ItemId) -> bool,
    k: usize,
) -> Vec<(ItemId, Origin)> {
    let explore = filling.explore.min(k);
    // The first ones so far, in order, with what they are ordered by.
    let mut new: Vec<(u64, ItemId)> = Vec::with_capacity(explore + 1);
    for item in filling.new {
        let place = ((item ^ user ^ filling.seed).wrapping_mul(SPREAD), *item);
        if new.len() == explore && new.last().is_none_or(|last| *last <= place) {
            continue;
        }
        if let Err(at) = new.binary_search(&place)
            && !personal.contains(item)
            && !seen(*item)
        {
            new.insert(at, place);
            new.truncate(explore);
        }
    }
    let new: Vec<ItemId> = new.into_iter().map(|(_, item)| item).collect();
    let room = k - new.len();
    let unseen = |items: &'_ [ItemId], origin| -> Vec<(ItemId, Origin)> {
        items.iter().filter(|item| !seen(**item)).map(|item| (*item, origin)).collect()
    };
    let personal = personal.iter().map(|item| (*item, Origin::Personal));
    let trending = unseen(filling.room, Origin::Room).into_iter().chain(unseen(filling.everywhere, Origin::Everywhere));
    let mut list: Vec<(ItemId, Origin)> = Vec::with_capacity(k);
    for (item, origin) in personal.chain(trending) {
        if list.len() == room {
            break;
        }
        if !new.contains(&item) && list.iter().all(|(known, _)| *known != item) {
            list.push((item, origin));
        }
    }
    list.extend(new.into_iter().map(|item| (item, Origin::New)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use Origin::{Everywhere, New, Personal, Room};
    use proptest::prelude::*;

    #[test]
    fn whoever_has_no_list_sees_what_trends_and_something_new() {
        let filling =
            BlendSources { room: &[1], everywhere: &[1, 2, 3, 4], new: &[8, 9], explore: 1, ..BlendSources::default() };
        assert_eq!(shown(0, &[], &filling, |_| false, 4), [(1, Room), (2, Everywhere), (3, Everywhere), (9, New)]);
        // Another user, or another seed, another new one.
        assert_eq!(shown(1, &[], &filling, |_| false, 1), [(8, New)]);
        assert_eq!(shown(0, &[], &BlendSources { seed: 1, ..filling }, |_| false, 1), [(8, New)]);
        // A full list of one's own gives up its last place, and only if there is something new.
        assert_eq!(shown(0, &[5, 6, 7], &filling, |_| false, 3), [(5, Personal), (6, Personal), (9, New)]);
        assert_eq!(shown(0, &[5, 6, 7], &filling, |item| item > 7, 3), [(5, Personal), (6, Personal), (7, Personal)]);
    }

    fn items() -> impl Strategy<Value = Vec<ItemId>> {
        prop::collection::vec(0..20_u64, 0..12)
    }

    /// Ids as names have them, and seeds as hours do: neighbours.
    #[test]
    fn another_hour_other_new_items_and_each_its_share() {
        let id = |number: u64| {
            (number + 1).wrapping_mul(0xd1b5_4a32_d192_ed03).rotate_left(29).wrapping_mul(0xabc9_8388_fb8f_ac03)
        };
        let new: Vec<ItemId> = (0..100).map(id).collect();
        let picks = |seed: u64| -> Vec<ItemId> {
            let filling = BlendSources { new: &new, explore: 1, seed, ..BlendSources::default() };
            (1_000..6_000).map(|user| shown(id(user), &[], &filling, |_| false, 10)[0].0).collect()
        };
        let (this, next) = (picks(490_000), picks(490_001));
        let same = this.iter().zip(&next).filter(|(this, next)| this == next).count();
        assert!(same < 200, "{same} of 5,000 users see the same again");
        for item in &new {
            let share = this.iter().filter(|pick| *pick == item).count();
            assert!((20..100).contains(&share), "an item is shown to {share} users, 50 on average");
        }
    }

    proptest! {
        #[test]
        fn it_is_bounded_ordered_and_without_what_is_seen(
            personal in items(),
            (room, everywhere, new) in (items(), items(), items()),
            (explore, k) in (0..6_usize, 0..12_usize),
            (user, seed) in (any::<u64>(), any::<u64>()),
            seen in items(),
        ) {
            let mut own = Vec::new();
            personal.iter().filter(|item| !seen.contains(item)).for_each(|item| {
                if !own.contains(item) { own.push(*item) }
            });
            let filling = BlendSources { room: &room, everywhere: &everywhere, new: &new, explore, seed };
            let list = shown(user, &own, &filling, |item| seen.contains(&item), k);
            let items: Vec<ItemId> = list.iter().map(|(item, _)| *item).collect();
            let mut unique = items.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), items.len());
            prop_assert!(items.len() <= k && items.iter().all(|item| !seen.contains(item)));
            // By origin in this order, one's own in the order they had from the first on.
            prop_assert!(list.is_sorted_by_key(|(_, origin)| *origin));
            let of = |origin| list.iter().filter(move |(_, from)| *from == origin).map(|(item, _)| *item);
            prop_assert!(of(Personal).eq(own.iter().copied().take(of(Personal).count())));
            prop_assert!(of(New).count() <= explore);
            prop_assert!(of(Personal).count() >= own.len().min(k.saturating_sub(explore)));
            // Nothing that could stand there is left out while there is room.
            if list.len() < k {
                let all = own.iter().chain(&room).chain(&everywhere).filter(|item| !seen.contains(item));
                prop_assert!(all.clone().all(|item| items.contains(item)));
            }
            // New items may come in any order, twice, and the list is the same.
            let mut others: Vec<ItemId> = new.iter().chain(&new).copied().collect();
            others.reverse();
            prop_assert_eq!(shown(user, &own, &BlendSources { new: &others, ..filling }, |item| seen.contains(&item), k), list);
        }
    }
}
