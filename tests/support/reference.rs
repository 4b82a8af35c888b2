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
use super::oracle::measures::{ItemStats, Measure, adjusted_popularity, rank};
use super::oracle::users::rarity;

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
        // The items touched after this event precede it in the order.
        if order.partition_point(|place| *place < (Reverse(ts), item)) < cap {
            let highest = levels.entry(item).or_default();
            *highest = level.max(*highest);
        }
    }
    order.into_iter().filter_map(|(_, item)| levels.get(&item).map(|level| (item, *level))).collect()
}

/// The history of each user: at most `cap` items with their levels. All events are retained.
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

/// An accumulated weight; a row with weight 0 does not exist.
fn count_of(weight: isize) -> u64 {
    u64::try_from(weight).expect("no collection here has a negative multiplicity")
}

/// The population, as the only row: the highest levels of all users.
fn population(history: Rows<'_, (User, (Item, Level))>) -> Rows<'_, u64> {
    history
        .map(|(user, (_, level))| (user, Reverse(level)))
        .reduce_named("highest levels", |_user, levels, highest| highest.push((levels[0].0.0, 1)))
        .explode(|(_user, level)| Some(((), isize::from(level))))
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
        .map(move |(item, popularity)| (item, fine_log(adjusted_popularity(count_of(popularity), &of), of.resolution)))
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

/// `f` of each item.
fn rarities(popularity: Rows<'_, Item>) -> Rows<'_, (Item, u64)> {
    popularity.count_total().map(|(item, popularity)| (item, rarity(count_of(popularity))))
}

/// The sampled users of each item, with their level and the item's `f`.
pub(crate) fn samples<'scope>(
    history: Rows<'scope, (User, (Item, Level))>,
    params: &Params,
) -> Rows<'scope, (Item, (User, Level, u64))> {
    let rarities = rarities(popularity(history.clone())).arrange_by_key_named("rarities by item");
    let sample = params.sample;
    levels(history)
        .map(|(item, (user, level))| (item, (user ^ item, user, level)))
        .reduce_named("samples", move |_item, holders, kept| {
            kept.extend(holders.iter().take(sample).map(|((_, user, level), _)| ((*user, *level), 1)));
        })
        .arrange_by_key_named("samples by item")
        .join_core(rarities, |item, (user, level), rarity| Some((*item, (*user, *level, *rarity))))
}

/// `M` of each user.
pub(crate) fn activity(history: Rows<'_, (User, (Item, Level))>) -> Rows<'_, (User, u64)> {
    let rarities = rarities(popularity(history.clone())).arrange_by_key_named("rarities by item");
    levels(history)
        .arrange_by_key_named("levels by item")
        .join_core(rarities, |_item, (user, level), rarity| {
            Some((*user, isize::try_from(u64::from(*level) * rarity).expect("far below 2^63")))
        })
        .explode(Some)
        .count_total()
        .map(|(user, activity)| (user, count_of(activity)))
}

/// The kept similar users `v` of each user with a history in `watching`, with their similarity.
pub(crate) fn similar_users<'scope>(
    watching: Rows<'scope, (User, (Item, Level))>,
    samples: Rows<'scope, (Item, (User, Level, u64))>,
    activity: Rows<'scope, (User, u64)>,
    params: &Params,
) -> Rows<'scope, (User, (User, u32))> {
    let (s, similar_users) = (params.resolution, params.similar_users);
    let activity = activity.map(move |(user, activity)| (user, fine_log(activity, s)));
    let activity = activity.arrange_by_key_named("activity by user");
    let shared = levels(watching)
        .arrange_by_key_named("viewers by item")
        .join_core(samples.arrange_by_key_named("samples by item"), |_item, &(u, level_u), &(v, level_v, rarity)| {
            let shared = u64::from(level_u.min(level_v)) * rarity;
            (u != v).then(|| ((u, v), isize::try_from(shared).expect("far below 2^63")))
        })
        .explode(Some)
        .count_total();
    shared
        .map(move |((u, v), shared)| (u, (v, 2 * q(count_of(shared), s))))
        .arrange_by_key_named("shared by u")
        .join_core(activity.clone(), |&u, &(v, q_shared), &log_u| Some((v, (u, q_shared, log_u))))
        .arrange_by_key_named("shared by v")
        .join_core(activity, move |&v, &(u, q_shared, log_u), &log_v| {
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
    profiles: Rows<'scope, (User, (Item, u32))>,
    similar_items: Rows<'scope, (Item, (Item, u32))>,
    weight: i64,
) -> Rows<'scope, (User, Item)> {
    contributions(profiles.map(move |(user, (i, p))| (i, (user, weight * i64::from(p)))), similar_items)
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

/// The list of each user in `profiles`, if it is not empty: the `k` best items that are not in the profile, with
/// their totals. A user's profile holds the whole history.
pub(crate) fn lists<'scope>(
    profiles: Rows<'scope, (User, (Item, u32))>,
    contributions: Rows<'scope, (User, Item)>,
    k: usize,
) -> Rows<'scope, (User, Vec<(Item, i64)>)> {
    let seen = profiles.map(|(user, (item, _))| (user, item)).arrange_by_self_named("seen");
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
