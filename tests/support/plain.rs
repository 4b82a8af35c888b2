//! The textbook graph: the recommendations of the oracle by arrange, join and reduce, one function per concept.
//!
//! The twin of the graph that ships, on the same borders, for tests (stage by stage) and as the baseline of the
//! benchmarks. It knows no retention and no audience: those are in the collections it is given. Every `reduce`
//! re-reads its whole group for each change of it.
//!
//! Users and items are their id64. As the program's own arithmetic is under test too, logarithms and similarities
//! are the oracle's.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;

use super::oracle::Params;
use super::oracle::exact::{fine_log, q, q_with_phase, similarity};

/// A collection of this graph; a diff is a count.
pub(crate) type Rows<'scope, D> = VecCollection<'scope, u64, D, isize>;

/// The id64 of a user.
pub(crate) type User = u64;
/// The id64 of an item.
pub(crate) type Item = u64;
/// What an event or an interaction tells, 1 to 15.
pub(crate) type Level = u8;
/// When an item was touched.
pub(crate) type Ts = u64;

/// The interactions of each user in the order of the history, from all events of that user.
fn in_order(events: &[(&(Item, Ts, Level), isize)], cap: usize) -> Vec<(Item, Level)> {
    let mut touched: BTreeMap<Item, Ts> = BTreeMap::new();
    for &(&(item, ts, _), _) in events {
        let latest = touched.entry(item).or_default();
        *latest = ts.max(*latest);
    }
    let mut order: Vec<(Reverse<Ts>, Item)> = touched.into_iter().map(|(item, ts)| (Reverse(ts), item)).collect();
    order.sort_unstable();
    let mut levels: BTreeMap<Item, Level> = BTreeMap::new();
    for &(&(item, ts, level), _) in events {
        // The items touched after this event stand before its place in the order.
        if order.partition_point(|place| *place < (Reverse(ts), item)) < cap {
            let highest = levels.entry(item).or_default();
            *highest = level.max(*highest);
        }
    }
    order.into_iter().filter_map(|(_, item)| levels.get(&item).map(|level| (item, *level))).collect()
}

/// The history of each user, at most `cap` items with their levels, from events that are all retained.
pub(crate) fn history(events: Rows<'_, (User, (Item, Ts, Level))>, cap: usize) -> Rows<'_, (User, (Item, Level))> {
    events.reduce_named("history", move |_user, events, out| {
        out.extend(in_order(events, cap).into_iter().map(|interaction| (interaction, 1)));
    })
}

/// The profile of each user: every item of the history with its `p`, which is 0 beyond the stairs.
pub(crate) fn profiles<'scope>(
    events: Rows<'scope, (User, (Item, Ts, Level))>,
    params: &Params,
) -> Rows<'scope, (User, (Item, u32))> {
    let (cap, stairs) = (params.history, params.stairs.clone());
    let weight = move |rank: usize| match stairs.iter().position(|end| rank < *end) {
        Some(step) => 1 << (stairs.len() - 1 - step),
        None => 0,
    };
    events.reduce_named("profiles", move |_user, events, out| {
        let ranked = in_order(events, cap).into_iter().enumerate();
        out.extend(ranked.map(|(rank, (item, level))| ((item, u32::from(level) * weight(rank)), 1)));
    })
}

/// The popularity of each item, as the weight of the item.
pub(crate) fn popularity(history: Rows<'_, (User, (Item, Level))>) -> Rows<'_, Item> {
    history.explode(|(_user, (item, level))| Some((item, isize::from(level))))
}

/// The co-occurrence of each pair of different items, in both directions, as the weight of the pair.
pub(crate) fn cooccurrence(history: Rows<'_, (User, (Item, Level))>) -> Rows<'_, (Item, Item)> {
    let by_user = history.arrange_by_key_named("history by user");
    by_user
        .clone()
        .join_core(by_user, |_user, &(i, level_i), &(j, level_j)| {
            (i != j).then_some(((i, j), isize::from(level_i.min(level_j))))
        })
        .explode(Some)
}

/// An accumulated weight, which is positive or there would be no row.
fn count_of(weight: isize) -> u64 {
    u64::try_from(weight).expect("no collection here holds less than nothing")
}

/// The kept neighbours `j` of each item `i`, with their similarity.
pub(crate) fn similar_items<'scope>(
    cooccurrence: Rows<'scope, (Item, Item)>,
    popularity: Rows<'scope, Item>,
    params: &Params,
) -> Rows<'scope, (Item, (Item, u32))> {
    let &Params { resolution: s, shrink, min_cooccurrence, neighbours, .. } = params;
    let logs = popularity
        .count_total()
        .map(move |(item, popularity)| (item, fine_log(count_of(popularity) + shrink, s)))
        .arrange_by_key_named("logarithms by item");
    let pairs = cooccurrence
        .count_total()
        .map(|((i, j), count)| (i, j, count_of(count)))
        .filter(move |(_, _, count)| *count >= min_cooccurrence)
        .map(move |(i, j, count)| (i, (j, 2 * q(count, s))));
    pairs
        .arrange_by_key_named("pairs by i")
        .join_core(logs.clone(), |&i, &(j, q_count), &log_i| Some((j, (i, q_count, log_i))))
        .arrange_by_key_named("pairs by j")
        .join_core(logs, move |&j, &(i, q_count, log_i), &log_j| {
            let rank = q_count - q_with_phase(log_j, i, j);
            Some((i, (Reverse(rank), j, rank - q_with_phase(log_i, i, j))))
        })
        // Best first, as the values of a group are sorted.
        .reduce_named("similar items", move |_i, candidates, kept| {
            let best = candidates.iter().take(neighbours);
            kept.extend(best.map(|((_, j, exponent), _)| ((*j, *exponent), 1)));
        })
        .map(move |(i, (j, exponent))| (i, (j, u32::try_from(similarity(exponent, s)).expect("at most 1024"))))
}

/// The list of each user in `profiles`, if it is not empty: the `k` best items that are not in the profile, with
/// their totals. A user's profile holds the whole history.
pub(crate) fn lists<'scope>(
    profiles: Rows<'scope, (User, (Item, u32))>,
    similar_items: Rows<'scope, (Item, (Item, u32))>,
    k: usize,
    weight: i64,
) -> Rows<'scope, (User, Vec<(Item, i64)>)> {
    let seen = profiles.clone().map(|(user, (item, _))| (user, item)).arrange_by_self_named("seen");
    let profiles = profiles
        .filter(|(_, (_, p))| *p > 0)
        .map(|(user, (item, p))| (item, (user, p)))
        .arrange_by_key_named("profiles by item");
    let similar = similar_items.arrange_by_key_named("similar items by item");
    let contributions = profiles
        .join_core(similar, |_i, &(user, p), &(j, v)| Some(((user, j), isize::try_from(p * v).expect("64 bits"))))
        .explode(Some);
    let of_seen =
        contributions.clone().arrange_by_self_named("contributions").join_core(seen, |pair, (), ()| Some(*pair));
    contributions
        .concat(of_seen.negate())
        .count_total()
        .map(move |((user, item), score)| (user, (Reverse(weight * i64::try_from(score).expect("64 bits")), item)))
        .filter(|(_, (Reverse(total), _))| *total > 0)
        .reduce_named("lists", move |_user, totals, list| {
            let best = totals.iter().take(k).map(|((Reverse(total), item), _)| (*item, *total));
            list.push((best.collect::<Vec<_>>(), 1));
        })
}
