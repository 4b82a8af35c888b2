//! Fills up a personal list with trending and new items when it is read: `docs/trending.md`.

use schema::spread;

use crate::types::{ItemId, UserId};

/// The origin of an item in a blended list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The user's personal list.
    Personal,
    /// The trending list of the room.
    Room,
    /// The trending list of all events.
    Everywhere,
    /// New items to explore.
    New,
}

/// The lists that fill up a personal list, each best first, or empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlendSources<'a> {
    /// Trending list of the user's room.
    pub room: &'a [ItemId],
    /// Trending list of all events.
    pub everywhere: &'a [ItemId],
    /// New items of the catalogue that should get exposure, in any order.
    pub new: &'a [ItemId],
    /// Largest number of new items in a list.
    pub explore: usize,
    /// Chooses, together with the user, the new items. Change it as often as they should rotate.
    pub seed: u64,
}

/// The list to show to a user: at most `k` items, each once, with their origins.
///
/// The last `explore` places are for new items: those with the smallest `spread(id64(item) xor id64(user) xor seed)`
/// ([`schema::spread`]) that are neither `seen` nor in the personal list. Before them come the personal list in its order and
/// then, while there is room, the trending list of the room and that of all events, without items that are seen or already in
/// the list. Places without a new item are filled like the others. This is a pure function: every caller gets the same list.
///
/// `seen`: whether the user has touched an item, as far as the caller knows. Items of the personal list are not checked.
/// Cost: `k` times the length of the trending lists, and one comparison for each new item.
///
/// ```
/// use dataflows::blend::{BlendSources, Origin, blend};
///
/// let sources = BlendSources { room: &[3, 1], everywhere: &[4, 5], ..BlendSources::default() };
/// let list = blend(7, &[1, 2], &sources, |item| item == 4, 4);
/// assert_eq!(list, [(1, Origin::Personal), (2, Origin::Personal), (3, Origin::Room), (5, Origin::Everywhere)]);
/// ```
pub fn blend(
    user: UserId,
    personal: &[ItemId],
    sources: &BlendSources<'_>,
    seen: impl Fn(ItemId) -> bool,
    k: usize,
) -> Vec<(ItemId, Origin)> {
    let explore = sources.explore.min(k);
    // The first new items so far, sorted by rank.
    let mut new: Vec<(u64, ItemId)> = Vec::with_capacity(explore + 1);
    for item in sources.new {
        // Without the spread the items nearest to `user xor seed` would be chosen: mostly the same ones with the next seed,
        // and some items for many times more users than others.
        let rank = (spread(item ^ user ^ sources.seed), *item);
        if new.len() == explore && new.last().is_none_or(|last| *last <= rank) {
            continue;
        }
        if let Err(at) = new.binary_search(&rank)
            && !personal.contains(item)
            && !seen(*item)
        {
            new.insert(at, rank);
            new.truncate(explore);
        }
    }
    let new: Vec<ItemId> = new.into_iter().map(|(_, item)| item).collect();
    let room = k - new.len();
    let unseen = |items: &'_ [ItemId], origin| -> Vec<(ItemId, Origin)> {
        items.iter().filter(|item| !seen(**item)).map(|item| (*item, origin)).collect()
    };
    let personal = personal.iter().map(|item| (*item, Origin::Personal));
    let trending = unseen(sources.room, Origin::Room).into_iter().chain(unseen(sources.everywhere, Origin::Everywhere));
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
    fn a_user_without_a_list_gets_trending_and_new_items() {
        let sources =
            BlendSources { room: &[1], everywhere: &[1, 2, 3, 4], new: &[8, 9], explore: 1, ..BlendSources::default() };
        assert_eq!(blend(0, &[], &sources, |_| false, 4), [(1, Room), (2, Everywhere), (3, Everywhere), (9, New)]);
        // Another user or another seed gets another new item.
        assert_eq!(blend(1, &[], &sources, |_| false, 1), [(8, New)]);
        assert_eq!(blend(0, &[], &BlendSources { seed: 1, ..sources }, |_| false, 1), [(8, New)]);
        // A full personal list gives up its last place only if there is an unseen new item.
        assert_eq!(blend(0, &[5, 6, 7], &sources, |_| false, 3), [(5, Personal), (6, Personal), (9, New)]);
        assert_eq!(blend(0, &[5, 6, 7], &sources, |item| item > 7, 3), [(5, Personal), (6, Personal), (7, Personal)]);
    }

    fn items() -> impl Strategy<Value = Vec<ItemId>> {
        prop::collection::vec(0..20_u64, 0..12)
    }

    /// Ids are spread as those of names, and seeds are consecutive as hours are.
    #[test]
    fn the_next_seed_chooses_other_new_items_and_every_item_gets_its_share() {
        let id = |number: u64| {
            (number + 1).wrapping_mul(0xd1b5_4a32_d192_ed03).rotate_left(29).wrapping_mul(0xabc9_8388_fb8f_ac03)
        };
        let new: Vec<ItemId> = (0..100).map(id).collect();
        let picks = |seed: u64| -> Vec<ItemId> {
            let sources = BlendSources { new: &new, explore: 1, seed, ..BlendSources::default() };
            (1_000..6_000).map(|user| blend(id(user), &[], &sources, |_| false, 10)[0].0).collect()
        };
        let (this, next) = (picks(490_000), picks(490_001));
        let same = this.iter().zip(&next).filter(|(this, next)| this == next).count();
        assert!(same < 200, "{same} of 5,000 users get the same item again");
        for item in &new {
            let share = this.iter().filter(|pick| *pick == item).count();
            assert!((20..100).contains(&share), "an item is shown to {share} users, 50 on average");
        }
    }

    proptest! {
        #[test]
        fn a_list_is_bounded_ordered_and_without_seen_items(
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
            let sources = BlendSources { room: &room, everywhere: &everywhere, new: &new, explore, seed };
            let list = blend(user, &own, &sources, |item| seen.contains(&item), k);
            let items: Vec<ItemId> = list.iter().map(|(item, _)| *item).collect();
            let mut unique = items.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), items.len());
            prop_assert!(items.len() <= k && items.iter().all(|item| !seen.contains(item)));
            // Sorted by origin; personal items keep their order, from the first one on.
            prop_assert!(list.is_sorted_by_key(|(_, origin)| *origin));
            let of = |origin| list.iter().filter(move |(_, from)| *from == origin).map(|(item, _)| *item);
            prop_assert!(of(Personal).eq(own.iter().copied().take(of(Personal).count())));
            prop_assert!(of(New).count() <= explore);
            prop_assert!(of(Personal).count() >= own.len().min(k.saturating_sub(explore)));
            // While there is room, no eligible item is left out.
            if list.len() < k {
                let all = own.iter().chain(&room).chain(&everywhere).filter(|item| !seen.contains(item));
                prop_assert!(all.clone().all(|item| items.contains(item)));
            }
            // Neither the order of new items nor duplicates change the list.
            let mut others: Vec<ItemId> = new.iter().chain(&new).copied().collect();
            others.reverse();
            prop_assert_eq!(blend(user, &own, &BlendSources { new: &others, ..sources }, |item| seen.contains(&item), k), list);
        }
    }
}
