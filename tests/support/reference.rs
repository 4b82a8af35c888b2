//! The reference implementation: the recommendations of the oracle by arrange, join and reduce, one function a concept.
//!
//! It has the same borders as the graph of the program, so tests compare the two stage by stage, and benchmarks use it as
//! the baseline. It has no retention and no audience: the collections it is given already reflect them. Every `reduce`
//! reads its whole group again for each change.
//!
//! Users and items are id64. Logarithms and similarities are those of the oracle, because the arithmetic of the program is
//! under test too.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;

use super::oracle::Params;
use super::oracle::exact::{fine_log, q, q_with_phase, similarity};
use super::oracle::measures::{ItemStats, Measure, compared_popularity, rank};

/// A collection of this graph; a diff is a count.
pub(crate) type Rows<'scope, D> = VecCollection<'scope, u64, D, isize>;

/// The id64 of a user.
pub(crate) type User = u64;
/// The id64 of an item.
pub(crate) type Item = u64;
/// The id64 of the key of a trending list.
pub(crate) type Scope = u64;
/// The level of an event or an interaction, 1 to 15.
pub(crate) type Level = u8;
/// The time of an event.
pub(crate) type Ts = u64;

/// The interactions of each user in the order of the history, from all events of that user.
fn in_order(events: &[(&(Item, Ts, Level), isize)], cap: usize) -> Vec<(Item, Level, Ts)> {
    let mut touched: BTreeMap<Item, Ts> = BTreeMap::new();
    for &(&(item, ts, _), _) in events {
        let latest = touched.entry(item).or_default();
        *latest = ts.max(*latest);
    }
    let mut order: Vec<(Reverse<Ts>, Item)> = touched.into_iter().map(|(item, ts)| (Reverse(ts), item)).collect();
    order.sort_unstable();
    let mut levels: BTreeMap<Item, Level> = BTreeMap::new();
    for &(&(item, ts, level), _) in events {
        // The items touched after this event precede it in the order.
        if order.partition_point(|place| *place < (Reverse(ts), item)) < cap {
            let highest = levels.entry(item).or_default();
            *highest = level.max(*highest);
        }
    }
    order.into_iter().filter_map(|(Reverse(ts), item)| levels.get(&item).map(|level| (item, *level, ts))).collect()
}

/// The interactions of each user: at most `cap` items with level and last touch. All events are retained.
pub(crate) fn interactions(
    events: Rows<'_, (User, (Item, Ts, Level))>,
    cap: usize,
) -> Rows<'_, (User, (Item, Level, Ts))> {
    events.reduce_named("interactions", move |_user, events, out| {
        out.extend(in_order(events, cap).into_iter().map(|interaction| (interaction, 1)));
    })
}

/// The history of each user: the levels of the interactions.
pub(crate) fn history(interactions: Rows<'_, (User, (Item, Level, Ts))>) -> Rows<'_, (User, (Item, Level))> {
    interactions.map(|(user, (item, level, _))| (user, (item, level)))
}

/// The profile of each user: every item of the history with its level and its stair, which is 0 beyond the profile.
pub(crate) fn profiles<'scope>(
    interactions: Rows<'scope, (User, (Item, Level, Ts))>,
    params: &Params,
) -> Rows<'scope, (User, (Item, Level, u32))> {
    let (basket, stairs) = (params.basket, params.stairs.clone());
    interactions.map(|(user, (item, level, ts))| (user, (Reverse(ts), item, level))).reduce_named(
        "profiles",
        // Newest first, as the values of a group are sorted.
        move |_user, interactions, out| {
            let (mut newer, mut basket_rank) = (None, 0);
            for (rank, ((Reverse(ts), item, level), _)) in interactions.iter().enumerate() {
                basket_rank += usize::from(newer.is_some_and(|newer| newer - ts >= basket));
                newer = Some(*ts);
                // One factor of two for each stair above the basket rank, except the last.
                let stairs_above = stairs.iter().filter(|stair| basket_rank < **stair).count() as u32;
                let in_profile = rank < stairs[stairs.len() - 1];
                let stair = if in_profile { 2_u32.pow(stairs_above - 1) } else { 0 };
                out.push(((*item, *level, stair), 1));
            }
        },
    )
}

/// The weights of the profile of each user: every item of the history with its `p`, which is 0 beyond the profile.
pub(crate) fn weights(profiles: Rows<'_, (User, (Item, Level, u32))>) -> Rows<'_, (User, (Item, u32))> {
    profiles.map(|(user, (item, level, stair))| (user, (item, u32::from(level) * stair)))
}

/// The popularity of each item, as the weight of the item.
pub(crate) fn popularity(history: Rows<'_, (User, (Item, Level))>) -> Rows<'_, Item> {
    history.explode(|(_user, (item, level))| Some((item, isize::from(level))))
}

/// The co-occurrence of each pair of different items, in both directions, as the weight of the pair.
pub(crate) fn cooccurrence<'scope>(
    interactions: Rows<'scope, (User, (Item, Level, Ts))>,
    params: &Params,
) -> Rows<'scope, (Item, Item)> {
    let near = params.near;
    let by_user = interactions.arrange_by_key_named("interactions by user");
    by_user
        .clone()
        .join_core(by_user, move |_user, &(i, level_i, ts_i), &(j, level_j, ts_j)| {
            let times = if ts_i.abs_diff(ts_j) < near { 2 } else { 1 };
            (i != j).then_some(((i, j), times * isize::from(level_i.min(level_j))))
        })
        .explode(Some)
}

/// An accumulated weight; a row with weight 0 does not exist.
fn count_of(weight: isize) -> u64 {
    u64::try_from(weight).expect("no collection here has a negative multiplicity")
}

/// The population, as the only row: twice the highest levels of all users.
fn population(history: Rows<'_, (User, (Item, Level))>) -> Rows<'_, u64> {
    history
        .map(|(user, (_, level))| (user, Reverse(level)))
        .reduce_named("highest levels", |_user, levels, highest| highest.push((levels[0].0.0, 1)))
        .explode(|(_user, level)| Some(((), 2 * isize::from(level))))
        .count_total()
        .map(|((), population)| count_of(population))
}

/// The kept neighbours `j` of each item `i`, with their similarity.
pub(crate) fn similar_items<'scope>(
    cooccurrence: Rows<'scope, (Item, Item)>,
    history: Rows<'scope, (User, (Item, Level))>,
    params: &Params,
) -> Rows<'scope, (Item, (Item, u32))> {
    let &Params { min_cooccurrence, neighbours, .. } = params;
    let of = params.clone();
    let logs = popularity(history.clone())
        .count_total()
        .map(move |(item, popularity)| (item, fine_log(compared_popularity(count_of(popularity), &of), of.resolution)))
        .arrange_by_key_named("logarithms by item");
    let pairs = cooccurrence
        .count_total()
        .map(|((i, j), count)| (i, j, count_of(count)))
        .filter(move |(_, _, count)| *count >= min_cooccurrence)
        .map(move |(i, j, count)| (i, (j, count)))
        .arrange_by_key_named("pairs by i")
        .join_core(logs.clone(), |&i, &(j, count), &log_i| Some((j, (i, count, log_i))))
        .arrange_by_key_named("pairs by j")
        .join_core(logs, |&j, &(i, count, log_i), &log_j| {
            Some((ItemStats { id: i, log: log_i }, ItemStats { id: j, log: log_j }, count))
        });
    let with_population = if params.similarity == Measure::Llr {
        let population = population(history).map(|population| ((), fine_log(population, 1)));
        pairs
            .map(|pair| ((), pair))
            .arrange_by_key_named("pairs")
            .join_core(population.arrange_by_key_named("population"), |(), pair, log_t| Some((*pair, *log_t)))
    } else {
        pairs.map(|pair| (pair, 0))
    };
    let of = params.clone();
    with_population
        .flat_map(move |((i, j, count), log_t)| {
            rank(count, i, j, log_t, &of).map(|(rank, v)| (i.id, (Reverse(rank), j.id, v)))
        })
        // Best first, as the values of a group are sorted.
        .reduce_named("similar items", move |_i, candidates, kept| {
            let best = candidates.iter().take(neighbours);
            kept.extend(best.map(|((_, j, v), _)| ((*j, *v), 1)));
        })
        .map(|(i, (j, v))| (i, (j, u32::try_from(v).expect("at most 1024"))))
}

/// Each item's levels by user, as the weight of (item, user).
fn levels(history: Rows<'_, (User, (Item, Level))>) -> Rows<'_, (Item, (User, Level))> {
    history.map(|(user, (item, level))| (item, (user, level)))
}

/// The sampled users of each item, with their level.
pub(crate) fn samples<'scope>(
    history: Rows<'scope, (User, (Item, Level))>,
    params: &Params,
) -> Rows<'scope, (Item, (User, Level))> {
    let sample = params.sample;
    levels(history).map(|(item, (user, level))| (item, (user ^ item, user, level))).reduce_named(
        "samples",
        move |_item, holders, kept| {
            kept.extend(holders.iter().take(sample).map(|((_, user, level), _)| ((*user, *level), 1)));
        },
    )
}

/// `A` of each user.
pub(crate) fn activity<'scope>(
    history: Rows<'scope, (User, (Item, Level))>,
    params: &Params,
) -> Rows<'scope, (User, u64)> {
    let first_stair = 1 << (params.stairs.len() - 1);
    history
        .explode(move |(user, (_item, level))| Some((user, first_stair * isize::from(level))))
        .count_total()
        .map(|(user, activity)| (user, count_of(activity)))
}

/// The kept similar users `v` of each user with a profile in `profiles`, with their similarity.
pub(crate) fn similar_users<'scope>(
    profiles: Rows<'scope, (User, (Item, Level, u32))>,
    samples: Rows<'scope, (Item, (User, Level))>,
    activity: Rows<'scope, (User, u64)>,
    params: &Params,
) -> Rows<'scope, (User, (User, u32))> {
    let (s, similar_users) = (params.user_resolution, params.similar_users);
    let profiles = profiles.filter(|(_, (_, _, stair))| *stair > 0);
    let activity = activity.map(move |(user, activity)| (user, fine_log(activity, s)));
    let of_profiles = weights(profiles.clone())
        .explode(|(user, (_item, p))| Some((user, isize::try_from(p).expect("64 bits"))))
        .count_total()
        .map(move |(user, weight)| (user, fine_log(count_of(weight), s)));
    let shared = profiles
        .map(|(u, (item, level, stair))| (item, (u, level, stair)))
        .arrange_by_key_named("profiles by item")
        .join_core(samples.arrange_by_key_named("samples by item"), |_item, &(u, level_u, stair), &(v, level_v)| {
            let shared = u32::from(level_u.min(level_v)) * stair;
            (u != v).then(|| ((u, v), isize::try_from(shared).expect("64 bits")))
        })
        .explode(Some)
        .count_total();
    shared
        .map(move |((u, v), shared)| (u, (v, 2 * q(count_of(shared), s))))
        .arrange_by_key_named("shared by u")
        .join_core(of_profiles.arrange_by_key_named("weights of profiles"), |&u, &(v, q_shared), &log_u| {
            Some((v, (u, q_shared, log_u)))
        })
        .arrange_by_key_named("shared by v")
        .join_core(activity.arrange_by_key_named("activity by user"), move |&v, &(u, q_shared, log_u), &log_v| {
            let rank = q_shared - q_with_phase(log_v, u, v);
            Some((u, (Reverse(rank), v, rank - q_with_phase(log_u, u, v))))
        })
        .reduce_named("similar users", move |_u, candidates, kept| {
            let best = candidates.iter().take(similar_users);
            kept.extend(best.map(|((_, v, exponent), _)| ((*v, *exponent), 1)));
        })
        .map(move |(u, (v, exponent))| (u, (v, u32::try_from(similarity(exponent, s)).expect("at most 1024"))))
}

/// The products of `weights` and the values in their rows, as the weight of (user, item).
fn contributions<'scope, K: differential_dataflow::ExchangeData + differential_dataflow::Hashable>(
    weights: Rows<'scope, (K, (User, i64))>,
    rows: Rows<'scope, (K, (Item, u32))>,
) -> Rows<'scope, (User, Item)> {
    let rows = rows.arrange_by_key_named("rows");
    weights
        .filter(|(_, (_, weight))| *weight > 0)
        .arrange_by_key_named("weights")
        .join_core(rows, |_key, &(user, weight), &(item, value)| {
            Some(((user, item), isize::try_from(weight * i64::from(value)).expect("64 bits")))
        })
        .explode(Some)
}

/// The contributions of the source `items`, as the weight of (user, item).
pub(crate) fn of_items<'scope>(
    weights: Rows<'scope, (User, (Item, u32))>,
    similar_items: Rows<'scope, (Item, (Item, u32))>,
    weight: i64,
) -> Rows<'scope, (User, Item)> {
    contributions(weights.map(move |(user, (i, p))| (i, (user, weight * i64::from(p)))), similar_items)
}

/// The contributions of the source `users`. `history` has all users.
pub(crate) fn of_users<'scope>(
    similar_users: Rows<'scope, (User, (User, u32))>,
    history: Rows<'scope, (User, (Item, Level))>,
    weight: i64,
) -> Rows<'scope, (User, Item)> {
    let histories = history.map(|(v, (item, level))| (v, (item, u32::from(level))));
    contributions(similar_users.map(move |(user, (v, w))| (v, (user, weight * i64::from(w)))), histories)
}

/// The list of each user in `weights`, if it is not empty: the `k` best items that are not there, with their totals.
/// The weights of a user are of the whole history.
pub(crate) fn lists<'scope>(
    weights: Rows<'scope, (User, (Item, u32))>,
    contributions: Rows<'scope, (User, Item)>,
    k: usize,
) -> Rows<'scope, (User, Vec<(Item, i64)>)> {
    let seen = weights.map(|(user, (item, _))| (user, item)).arrange_by_self_named("seen");
    let of_seen =
        contributions.clone().arrange_by_self_named("contributions").join_core(seen, |pair, (), ()| Some(*pair));
    best(contributions.concat(of_seen.negate()), k, "lists")
}

/// The trending list of each scope, if it is not empty: the `k` items that weigh most in it.
pub(crate) fn trending(weights: Rows<'_, (Scope, Item)>, k: usize) -> Rows<'_, (Scope, Vec<(Item, i64)>)> {
    best(weights, k, "trending")
}

/// The `k` items of each key with the largest totals above 0, if there are any.
fn best<'scope>(
    totals: Rows<'scope, (u64, Item)>,
    k: usize,
    name: &'static str,
) -> Rows<'scope, (u64, Vec<(Item, i64)>)> {
    totals
        .count_total()
        .map(|((key, item), total)| (key, (Reverse(i64::try_from(total).expect("64 bits")), item)))
        .filter(|(_, (Reverse(total), _))| *total > 0)
        .reduce_named(name, move |_key, totals, list| {
            let best = totals.iter().take(k).map(|((Reverse(total), item), _)| (*item, *total));
            list.push((best.collect::<Vec<_>>(), 1));
        })
}
