//! The oracle: the semantics of the design's vocabulary and "Semantics, exactly", one function per
//! definition, in the order of the text, each quoting the sentence it implements (`>` below).
//!
//! Slow and obvious on purpose. Everything is computed from scratch from the set of events, with names and
//! ordered maps; nothing is incremental, nothing is shared with the program but [`schema::id64`].
//!
//! The source `users` is in [`users`].

pub(crate) mod changes;
pub(crate) mod exact;
pub(crate) mod measures;
pub(crate) mod trending;
pub(crate) mod users;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use schema::id64;

use exact::fine_log;
use measures::{About, Measure, population, rank, read};

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// The keys `graph.*` and the weights of the sources.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    /// A user's history holds at most this many items.
    pub(crate) history: usize,
    /// Similar items kept of each item.
    pub(crate) neighbours: usize,
    /// Length of a list.
    pub(crate) k: usize,
    /// Milliseconds for which an event is retained.
    pub(crate) retention: u64,
    /// Milliseconds for which an event keeps its user in the audience; `None` is "all".
    pub(crate) audience: Option<u64>,
    /// By what items are similar.
    pub(crate) similarity: Measure,
    /// Pairs seen together less are not similar.
    pub(crate) min_cooccurrence: u64,
    /// Added to every popularity.
    pub(crate) shrink: u64,
    /// Ranks at which the weight in the profile halves, ascending.
    pub(crate) stairs: Vec<usize>,
    /// Steps of the quantised logarithm in an octave: `s`.
    pub(crate) resolution: u32,
    /// Weight of the source `items`.
    pub(crate) items_weight: i64,
    /// Users of an item that are looked at.
    pub(crate) sample: usize,
    /// Similar users kept of each user.
    pub(crate) similar_users: usize,
    /// Weight of the source `users`.
    pub(crate) users_weight: i64,
}

/// > Defaults: history 50, neighbours 30, k 10, retention 30 d, audience 30 min, `min_cooccurrence` 1,
/// > shrink 20, stairs 2, 4, 8, 16, resolution s = 4. [...] the `sample` (100) users [...] the first `similar_users`
/// > (30) [...] Default weights: items 4, users 1.
impl Default for Params {
    fn default() -> Self {
        Params {
            history: 50,
            neighbours: 30,
            k: 10,
            retention: 30 * DAY,
            audience: Some(30 * MINUTE),
            similarity: Measure::Cosine,
            min_cooccurrence: 1,
            shrink: 20,
            stairs: vec![2, 4, 8, 16],
            resolution: 4,
            items_weight: 4,
            sample: 100,
            similar_users: 30,
            users_weight: 1,
        }
    }
}

/// An event already judged: valid, not ignored, its action resolved to a level.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ev {
    /// Who acted.
    pub(crate) user: String,
    /// On what.
    pub(crate) item: String,
    /// How much the action tells, 1 to 15.
    pub(crate) level: u8,
    /// When, in milliseconds.
    pub(crate) ts: u64,
}

/// Of each user the interactions `(item, level, touched)`, newest first. Users without any are absent.
pub(crate) type History = BTreeMap<String, Vec<(String, u8, u64)>>;

/// > R(t) = f(the set of events with ts <= t, t).
///
/// > an event is retained while `ts + retention > t`
fn is_retained(event: &Ev, params: &Params, t: u64) -> bool {
    event.ts <= t && lasts_beyond(event.ts, params.retention, t)
}

/// `ts + duration > t`, without overflow.
fn lasts_beyond(ts: u64, duration: u64, t: u64) -> bool {
    u128::from(ts) + u128::from(duration) > u128::from(t)
}

/// > interaction: (user, item) with at least one counting event: `level` = max over its counting events,
/// > `touched` = latest ts of them.
/// >
/// > history `H_u`: the interactions of user u (at most `history`, the most recently touched).
/// >
/// > Order u's interactions by touched descending, then id64(item) ascending. Rank r = 0 is the newest.
pub(crate) fn history(events: &[Ev], params: &Params, t: u64) -> History {
    let mut retained: BTreeMap<&str, Vec<&Ev>> = BTreeMap::new();
    for event in events.iter().filter(|event| is_retained(event, params, t)) {
        retained.entry(&event.user).or_default().push(event);
    }
    let mut histories = History::new();
    for (user, events) in retained {
        let mut interactions: BTreeMap<&str, (u8, u64)> = BTreeMap::new();
        for event in counting_events(&events, params) {
            let (level, touched) = interactions.entry(&event.item).or_default();
            *level = event.level.max(*level);
            *touched = event.ts.max(*touched);
        }
        let mut interactions: Vec<(String, u8, u64)> =
            interactions.into_iter().map(|(item, (level, touched))| (item.to_owned(), level, touched)).collect();
        interactions.sort_by_key(|(item, _, touched)| (Reverse(*touched), id64(item)));
        assert!(interactions.len() <= params.history, "at most `history` items have counting events");
        histories.insert(user.to_owned(), interactions);
    }
    histories
}

/// > counting event: retained at t, and fewer than `history` items of the same user, its own included, were
/// > touched after it.
/// >
/// > item j (j = i too) was touched after an event (i, ts) when touched(j) > ts, or touched(j) = ts and
/// > id64(j) < id64(i).
///
/// The text defines "counting" by touched(j) and touched(j) by the counting events of j. Here touched(j) is the
/// latest ts of all retained events of j, which is the same: whatever stops the latest event of j from counting is
/// `history` items touched after it, and those were touched after everything that j was touched after.
fn counting_events<'e>(retained_of_user: &[&'e Ev], params: &Params) -> Vec<&'e Ev> {
    let mut touched: BTreeMap<&str, u64> = BTreeMap::new();
    for event in retained_of_user {
        let latest = touched.entry(&event.item).or_default();
        *latest = event.ts.max(*latest);
    }
    let touched: Vec<(u64, u64)> = touched.into_iter().map(|(item, touched)| (id64(item), touched)).collect();
    let counts = |event: &Ev| {
        let id = id64(&event.item);
        let touched_after =
            touched.iter().filter(|(j, touched)| *touched > event.ts || (*touched == event.ts && *j < id)).count();
        touched_after < params.history
    };
    retained_of_user.iter().copied().filter(|event| counts(event)).collect()
}

/// > popularity `N_i`: sum over users u with i in `H_u` of level(u,i).
pub(crate) fn popularity(history: &History) -> BTreeMap<&str, u64> {
    let mut popularity: BTreeMap<&str, u64> = BTreeMap::new();
    for (item, level, _) in history.values().flatten() {
        *popularity.entry(item).or_default() += u64::from(*level);
    }
    popularity
}

/// > co-occurrence `C_ij`: sum over users with i and j in `H_u` of min(level(u,i), level(u,j)).
///
/// By i, then by j, for j != i; pairs that no user has are absent.
pub(crate) fn cooccurrence(history: &History) -> BTreeMap<&str, BTreeMap<&str, u64>> {
    let mut together: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for interactions in history.values() {
        for (i, level_i, _) in interactions {
            let row = together.entry(i).or_default();
            for (j, level_j, _) in interactions {
                if i != j {
                    *row.entry(j).or_default() += u64::from(*level_i.min(level_j));
                }
            }
        }
    }
    together
}

/// > similar items: for each item its `neighbours` best other items.
/// >
/// > Over j != i with `C_ij` >= `min_cooccurrence`: by their rank descending, then id64(j) ascending; keep the first
/// > `neighbours`.
///
/// The kept neighbours of each item with their similarity `v_ij`, best first. Items without any are absent.
pub(crate) fn similar_items(history: &History, params: &Params) -> BTreeMap<String, Vec<(String, u64)>> {
    let about: BTreeMap<&str, About> = popularity(history)
        .into_iter()
        .map(|(item, popularity)| {
            (item, About { id: id64(item), log: fine_log(read(popularity, params), params.resolution) })
        })
        .collect();
    let log_t = fine_log(population(history).max(1), 1);
    let mut similar = BTreeMap::new();
    for (i, row) in cooccurrence(history) {
        let mut ranked = Vec::new();
        for (j, count) in row.into_iter().filter(|(_, count)| *count >= params.min_cooccurrence) {
            if let Some((rank, v)) = rank(count, about[i], about[j], log_t, params) {
                ranked.push((Reverse(rank), about[j].id, j, v));
            }
        }
        ranked.sort_unstable();
        ranked.truncate(params.neighbours);
        if !ranked.is_empty() {
            similar.insert(i.to_owned(), ranked.into_iter().map(|(_, _, j, v)| (j.to_owned(), v)).collect());
        }
    }
    similar
}

/// > Profile. The newest interactions of `H_u`, weighted in stairs that halve (`stairs = [2, 4, 8, 16]`):
/// > `p_ui = level * 8` for r < 2, `* 4` for r < 4, `* 2` for r < 8, `* 1` for r < 16, none beyond.
/// >
/// > `stairs`: m of them; step n (from 0) has weight 2^(m-1-n).
///
/// `(item, p_ui)` of every user with a history, newest first, as far as the stairs reach.
pub(crate) fn profiles(history: &History, params: &Params) -> BTreeMap<String, Vec<(String, u64)>> {
    let weight = |rank: usize| {
        let step = params.stairs.iter().position(|end| rank < *end)?;
        Some(1_u64 << (params.stairs.len() - 1 - step))
    };
    let profile = |interactions: &Vec<(String, u8, u64)>| {
        let weighted = interactions.iter().enumerate().filter_map(|(rank, (item, level, _))| {
            weight(rank).map(|weight| (item.clone(), u64::from(*level) * weight))
        });
        weighted.collect()
    };
    history.iter().map(|(user, interactions)| (user.clone(), profile(interactions))).collect()
}

/// > audience A(t): users with a retained event with `ts + audience > t` (`"all"`: every user with an interaction).
pub(crate) fn audience<'e>(events: &'e [Ev], history: &'e History, params: &Params, t: u64) -> BTreeSet<&'e str> {
    match params.audience {
        None => history.keys().map(String::as_str).collect(),
        Some(audience) => events
            .iter()
            .filter(|event| is_retained(event, params, t) && lasts_beyond(event.ts, audience, t))
            .map(|event| event.user.as_str())
            .collect(),
    }
}

/// > Source `items`: score(u,j) = sum over the profile of `p_ui * v_ij`, for j not in `H_u`.
/// >
/// > `v_ij` is 0 unless j is among the kept neighbours of i.
fn scores_of_items<'s>(
    profile: &[(String, u64)],
    similar: &'s BTreeMap<String, Vec<(String, u64)>>,
) -> BTreeMap<&'s str, u64> {
    let mut score: BTreeMap<&str, u64> = BTreeMap::new();
    for (i, p_ui) in profile {
        for (j, v_ij) in similar.get(i).into_iter().flatten() {
            *score.entry(j).or_default() += p_ui * v_ij;
        }
    }
    score
}

/// > List. Total = sum over the sources of weight(source) * score; the k largest above 0, ties by id64(item)
/// > ascending.
/// >
/// > audience: Nobody else has a list.
///
/// `R(t)`: the lists that are not empty, `(item, total)`, best first.
pub(crate) fn lists(events: &[Ev], params: &Params, t: u64) -> BTreeMap<String, Vec<(String, i64)>> {
    let history = history(events, params, t);
    let similar = similar_items(&history, params);
    let profiles = profiles(&history, params);
    let audience = audience(events, &history, params, t);
    // Not to be looked at where it counts for nothing: it is slow.
    let nobody = BTreeSet::new();
    let asked = if params.users_weight == 0 { &nobody } else { &audience };
    let similar_users = users::similar_users(&history, asked, params);
    let mut lists = BTreeMap::new();
    for user in &audience {
        let seen: BTreeSet<&str> = history[*user].iter().map(|(item, ..)| item.as_str()).collect();
        let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
        let sources = [
            (params.items_weight, scores_of_items(&profiles[*user], &similar)),
            (params.users_weight, users::scores(similar_users.get(*user), &history)),
        ];
        for (weight, scores) in sources {
            for (item, score) in scores {
                *totals.entry(item).or_default() += weight * i64::try_from(score).expect("far below 2^63");
            }
        }
        let not_seen = totals.into_iter().filter(|(item, total)| *total > 0 && !seen.contains(item));
        let mut list: Vec<(String, i64)> = not_seen.map(|(item, total)| (item.to_owned(), total)).collect();
        list.sort_by_key(|(item, total)| (Reverse(*total), id64(item)));
        list.truncate(params.k);
        if !list.is_empty() {
            lists.insert((*user).to_owned(), list);
        }
    }
    lists
}
