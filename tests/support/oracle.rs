//! The oracle: `docs/semantics.md` in code. There is one function per definition, in the order of the text, and each
//! quotes the sentences that it implements (`>` below).
//!
//! Slow and obvious on purpose. Everything is computed from scratch from the set of events, with names and ordered
//! maps. Nothing is incremental. Nothing is shared with the program except the
//! ids of names ([`schema::IdKey`]).

pub(crate) mod catalogue;
pub(crate) mod changes;
pub(crate) mod controls;
pub(crate) mod diversity;
pub(crate) mod evaluations;
pub(crate) mod exact;
pub(crate) mod measures;
pub(crate) mod reasons;
pub(crate) mod standing;
pub(crate) mod taking_back;
pub(crate) mod trending;
pub(crate) mod users;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use schema::IdKey;

use catalogue::{
    CatalogueParams, Eligible, ItemState, OracleItemRecord, eligible, eligible_at_the_end, states, states_at_the_end,
};
use controls::{OracleControl, UserControls};
use diversity::{Caps, pick, pool_length};
use exact::fine_log;
use measures::{ItemStats, Measure, compared_popularity, population, rank};
use taking_back::{counting_levels, kept_out};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The keys `graph.*` and `catalogue.*`, and the weights of the sources.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    /// Key of id64.
    pub(crate) ids: IdKey,
    /// Maximum number of items in a user's history.
    pub(crate) history: usize,
    /// Milliseconds between two successive interactions of a history from which they are in different baskets.
    pub(crate) basket: u64,
    /// Number of similar items kept for an item.
    pub(crate) neighbours: usize,
    /// Maximum length of a list.
    pub(crate) k: usize,
    /// Milliseconds for which an event is retained.
    pub(crate) retention: u64,
    /// Milliseconds for which an event keeps its user in the audience; `None` is "all".
    pub(crate) audience: Option<u64>,
    /// Milliseconds for which a skip keeps its item out of its user's list.
    pub(crate) skipped: u64,
    /// Formulas of the similarity of items.
    pub(crate) similarity: Measure,
    /// Milliseconds between the touches of two items below which their pair counts twice.
    pub(crate) near: u64,
    /// Smallest co-occurrence of similar items.
    pub(crate) min_cooccurrence: u64,
    /// Number added to a popularity by the measures that shrink.
    pub(crate) shrink: u64,
    /// Basket ranks at which the weight in the profile halves, ascending. The last is also the length of the profile.
    pub(crate) stairs: Vec<usize>,
    /// Steps of the quantised logarithm in an octave: `s`.
    pub(crate) resolution: u32,
    /// Weight of the source `items`.
    pub(crate) items_weight: i64,
    /// Steps of the quantised logarithm in an octave, for the similarity of users.
    pub(crate) user_resolution: u32,
    /// Number of users in the sample of an item.
    pub(crate) sample: usize,
    /// Number of similar users kept for a user.
    pub(crate) similar_users: usize,
    /// Weight of the source `users`.
    pub(crate) users_weight: i64,
    /// How much a list gives up of its totals for items that are less alike, 0 to 100.
    pub(crate) diversity: u32,
    /// How many items of a list may be of one category or host.
    pub(crate) caps: Caps,
    /// Maximum number of reasons that are shown with an item of a list.
    pub(crate) why: usize,
    /// Milliseconds between two boundaries of a viewer; 0 evaluates all users in every tick.
    pub(crate) refresh: u64,
    /// Whether reorderings are not emitted.
    pub(crate) membership: bool,
    /// The catalogue, if the run has one.
    pub(crate) catalogue: Option<CatalogueParams>,
}

/// > The defaults of all parameters are in `deltarec.toml`.
impl Default for Params {
    fn default() -> Self {
        Params {
            ids: IdKey::default(),
            history: 100,
            basket: SECOND,
            neighbours: 30,
            k: 10,
            retention: 30 * DAY,
            audience: Some(30 * MINUTE),
            skipped: HOUR,
            similarity: Measure::Cosine,
            near: MINUTE,
            min_cooccurrence: 1,
            shrink: 20,
            stairs: vec![1, 2, 4, 24],
            resolution: 4,
            items_weight: 2,
            user_resolution: 2,
            sample: 50,
            similar_users: 50,
            users_weight: 1,
            diversity: 0,
            caps: Caps::default(),
            why: 0,
            refresh: 0,
            membership: false,
            catalogue: None,
        }
    }
}

/// A valid event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OracleEvent {
    /// Name of the user.
    pub(crate) user: String,
    /// Name of the item.
    pub(crate) item: String,
    /// What it does.
    pub(crate) effect: OracleEffect,
    /// Time in milliseconds.
    pub(crate) ts: u64,
}

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OracleEffect {
    /// It has a level of its own, 1 to 15.
    Counts(u8),
    /// It is a retraction.
    Retracts {
        /// The highest level that it takes back, 1 to 15.
        of: u8,
        /// The level that it leaves, below `of`.
        leaves: u8,
    },
    /// It is a skip.
    Skips,
    /// It keeps its user in the audience, and nothing else: a watch without a level that is no skip.
    Attends,
}

impl OracleEvent {
    /// An event with a level of its own.
    pub(crate) fn new(user: impl Into<String>, item: impl Into<String>, level: u8, ts: u64) -> Self {
        OracleEvent { user: user.into(), item: item.into(), effect: OracleEffect::Counts(level), ts }
    }

    /// An event of which the action has this effect.
    pub(crate) fn of(user: impl Into<String>, item: impl Into<String>, effect: schema::Effect, ts: u64) -> Self {
        let effect = match effect {
            schema::Effect::Counts(level) => OracleEffect::Counts(level),
            schema::Effect::Retracts { of, leaves } => OracleEffect::Retracts { of, leaves },
            schema::Effect::Skips => OracleEffect::Skips,
            schema::Effect::Attends => OracleEffect::Attends,
        };
        OracleEvent { user: user.into(), item: item.into(), effect, ts }
    }

    /// The level of its action; `None` if it has none.
    pub(crate) fn level(&self) -> Option<u8> {
        match self.effect {
            OracleEffect::Counts(level) => Some(level),
            OracleEffect::Retracts { .. } | OracleEffect::Skips | OracleEffect::Attends => None,
        }
    }
}

/// What has arrived. Events alone are a world without a catalogue and controls: `(&events).into()`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'w> {
    /// Events.
    pub(crate) events: &'w [OracleEvent],
    /// Catalogue records that count.
    pub(crate) records: &'w [OracleItemRecord],
    /// Controls.
    pub(crate) controls: &'w [OracleControl],
    /// Whether it is the tick of the end, in which also records and controls ahead of the clock act.
    pub(crate) ended: bool,
}

impl World<'_> {
    /// The items that are eligible at t.
    pub(crate) fn eligible(&self, params: &Params, t: u64) -> Eligible {
        if self.ended { eligible_at_the_end(self.records, params, t) } else { eligible(self.records, params, t) }
    }

    /// The states at t of the items that had a record.
    pub(crate) fn items(&self, t: u64) -> BTreeMap<String, ItemState> {
        if self.ended { states_at_the_end(self.records) } else { states(self.records, t) }
    }
}

impl<'w, E: AsRef<[OracleEvent]> + ?Sized> From<&'w E> for World<'w> {
    fn from(events: &'w E) -> Self {
        World { events: events.as_ref(), records: &[], controls: &[], ended: false }
    }
}

/// Interactions `(item, level, touched)` by user, newest first. Users without interactions are absent.
pub(crate) type History = BTreeMap<String, Vec<(String, u8, u64)>>;

/// > R(t), the lists at time t, is a function of the events, catalogue records and controls with `ts <= t`, as sets, and of
/// > t.
///
/// > An event is **retained** while `ts + retention > t`.
fn is_retained(event: &OracleEvent, params: &Params, t: u64) -> bool {
    event.ts <= t && is_within(event.ts, params.retention, t)
}

/// `ts + duration > t`, without overflow.
fn is_within(ts: u64, duration: u64, t: u64) -> bool {
    u128::from(ts) + u128::from(duration) > u128::from(t)
}

/// The retained events of each user.
fn retained_by_user<'e>(events: &'e [OracleEvent], params: &Params, t: u64) -> BTreeMap<&'e str, Vec<&'e OracleEvent>> {
    let mut retained: BTreeMap<&str, Vec<&OracleEvent>> = BTreeMap::new();
    for event in events.iter().filter(|event| is_retained(event, params, t)) {
        retained.entry(&event.user).or_default().push(event);
    }
    retained
}

/// > An **interaction** is a (user, item) with a counting event that is not void. Its level is the largest level of
/// > these events, and touched is the latest `ts` of them. The **history** `H_u` is the interactions of u, newest
/// > first, equal times by id64 ascending. Rank 0 is the newest.
///
/// The levels are those with which the events [count](counting_levels).
pub(crate) fn history<'w>(world: impl Into<World<'w>>, params: &Params, t: u64) -> History {
    let world: World = world.into();
    let (events, controls) = (world.acting_events(t), world.controls_at(t));
    let mut histories = History::new();
    for (user, events) in retained_by_user(&events, params, t) {
        let controls = controls.get(user).cloned().unwrap_or_default();
        let mut interactions: BTreeMap<&str, (u8, u64)> = BTreeMap::new();
        for (event, counts_with) in counting_levels(&events, &controls, params) {
            let (level, touched) = interactions.entry(&event.item).or_default();
            *level = counts_with.max(*level);
            *touched = event.ts.max(*touched);
        }
        if interactions.is_empty() {
            continue;
        }
        let mut interactions: Vec<(String, u8, u64)> =
            interactions.into_iter().map(|(item, (level, touched))| (item.to_owned(), level, touched)).collect();
        interactions.sort_by_key(|(item, _, touched)| (Reverse(*touched), params.ids.id64(item)));
        assert!(interactions.len() <= params.history, "at most `history` items have counting events");
        histories.insert(user.to_owned(), interactions);
    }
    histories
}

/// > Item j *was touched after* an event (i, ts) when touched(j) > ts, or touched(j) = ts and id64(j) < id64(i), where
/// > touched(j) is the latest `ts` of the user's retained events of j. An event **counts** when it is retained and fewer
/// > than `history` items of its user, its own included, were touched after it.
///
/// > In this section touches are events with a level of their own; what follows has none.
///
/// > touched(j), which decides what was touched after an event, is that of all retained events of j with a level of
/// > their own, void or not.
///
/// Takes the retained events of one user. Returns those that count, void or not.
fn counting_events<'e>(retained: &[&'e OracleEvent], params: &Params) -> Vec<&'e OracleEvent> {
    let touches: Vec<&OracleEvent> = retained.iter().copied().filter(|event| event.level().is_some()).collect();
    let mut touched: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &touches {
        let latest = touched.entry(&event.item).or_default();
        *latest = event.ts.max(*latest);
    }
    let touched: Vec<(u64, u64)> =
        touched.into_iter().map(|(item, touched)| (params.ids.id64(item), touched)).collect();
    let counts = |event: &OracleEvent| {
        let id = params.ids.id64(&event.item);
        let touched_after =
            touched.iter().filter(|(j, touched)| *touched > event.ts || (*touched == event.ts && *j < id)).count();
        touched_after < params.history
    };
    touches.into_iter().filter(|event| counts(event)).collect()
}

/// > What was touched together is a basket. The **basket rank** `m_ui` of the newest interaction is 0. That of each other
/// > interaction is the basket rank of the one before it in the history, and 1 more if it was touched at least `basket`
/// > earlier: if `touched(before) - touched(i) >= basket`. With a `basket` of 0 it is the rank.
///
/// Takes the history of one user. Returns the basket ranks in its order.
pub(crate) fn basket_ranks(interactions: &[(String, u8, u64)], params: &Params) -> Vec<usize> {
    let mut ranks = Vec::new();
    for (rank, (_, _, touched)) in interactions.iter().enumerate() {
        if rank == 0 {
            ranks.push(0);
            continue;
        }
        let (_, _, before) = interactions[rank - 1];
        let is_in_the_next_basket = before - touched >= params.basket;
        ranks.push(ranks[rank - 1] + usize::from(is_in_the_next_basket));
    }
    ranks
}

/// > The **audience** at t is the users with an interaction and a retained event with `ts + audience > t`, whatever that
/// > event does: void events, retractions, skips and watches without a level included. With `"all"` it is every user with
/// > an interaction.
///
/// > A paused event [...] counts for the audience, as a watch without a level does
///
/// > While it is `personal_off` the user is not in the audience, and has no list.
pub(crate) fn audience<'w>(
    world: impl Into<World<'w>>,
    history: &'w History,
    params: &Params,
    t: u64,
) -> BTreeSet<&'w str> {
    let world: World<'w> = world.into();
    let mut users: BTreeSet<&str> = match params.audience {
        None => history.keys().map(String::as_str).collect(),
        Some(audience) => world
            .events
            .iter()
            .filter(|event| history.contains_key(&event.user))
            .filter(|event| is_retained(event, params, t) && is_within(event.ts, audience, t))
            .map(|event| event.user.as_str())
            .collect(),
    };
    let controls = world.controls_at(t);
    users.retain(|user| !controls.get(user).is_some_and(UserControls::has_no_list));
    users
}

/// > Popularity `N_i` = sum of level(u, i) over the users with i in `H_u`.
pub(crate) fn popularity(history: &History) -> BTreeMap<&str, u64> {
    let mut popularity: BTreeMap<&str, u64> = BTreeMap::new();
    for (item, level, _) in history.values().flatten() {
        *popularity.entry(item).or_default() += u64::from(*level);
    }
    popularity
}

/// > Co-occurrence `C_ij` = sum of `min(level(u, i), level(u, j)) * n` over the users with both, where n is 2 if
/// > `|touched(u, i) - touched(u, j)| < near`, else 1.
///
/// Returns the counts by i, then by j, for j != i. Pairs that no user has are absent.
pub(crate) fn cooccurrence<'h>(history: &'h History, params: &Params) -> BTreeMap<&'h str, BTreeMap<&'h str, u64>> {
    let mut counts: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for interactions in history.values() {
        for (i, level_i, touched_i) in interactions {
            let row = counts.entry(i).or_default();
            for (j, level_j, touched_j) in interactions {
                if i != j {
                    let n = if touched_i.abs_diff(*touched_j) < params.near { 2 } else { 1 };
                    *row.entry(j).or_default() += u64::from(*level_i.min(level_j)) * n;
                }
            }
        }
    }
    counts
}

/// > The similar items of i are those eligible j != i with `C_ij >= min_cooccurrence` that are similar at all, ranked by
/// > `rank` descending, then id64(j) ascending. The first `neighbours` are kept. i need not be eligible, and neither
/// > popularities nor co-occurrences depend on it.
///
/// Returns the kept neighbours of each item with their similarity `v_ij`, best first. Items without neighbours are
/// absent.
pub(crate) fn similar_items(
    history: &History,
    eligible: &Eligible,
    params: &Params,
) -> BTreeMap<String, Vec<(String, u64)>> {
    let stats: BTreeMap<&str, ItemStats> = popularity(history)
        .into_iter()
        .map(|(item, popularity)| {
            (
                item,
                ItemStats {
                    id: params.ids.id64(item),
                    log: fine_log(compared_popularity(popularity, params), params.resolution),
                },
            )
        })
        .collect();
    let log_t = fine_log(population(history).max(1), 1);
    let mut similar = BTreeMap::new();
    for (i, row) in cooccurrence(history, params) {
        let mut ranked = Vec::new();
        let is_considered = |j: &str, count: u64| eligible.contains(j) && count >= params.min_cooccurrence;
        for (j, count) in row.into_iter().filter(|(j, count)| is_considered(j, *count)) {
            if let Some((rank, v)) = rank(count, stats[i], stats[j], log_t, params) {
                ranked.push((Reverse(rank), stats[j].id, j, v));
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

/// > `stair(m) = 2^(x-1-n)` and n is the first of the x stairs, counted from 0, with m below it.
///
/// Panics if no stair is above m: the definition has no value there.
pub(crate) fn stair(m: usize, params: &Params) -> u64 {
    let n = params.stairs.iter().position(|stair| m < *stair).expect("m is below the last stair");
    1 << (params.stairs.len() - 1 - n)
}

/// An interaction of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProfileEntry {
    /// Name of the item.
    pub(crate) item: String,
    /// `level(u, i)`.
    pub(crate) level: u64,
    /// `stair(m_ui)`.
    pub(crate) stair: u64,
}

impl ProfileEntry {
    /// > Each weighs `p_ui = level(u, i) * stair(m_ui)`
    pub(crate) fn weight(&self) -> u64 {
        self.level * self.stair
    }
}

/// > Profile: the interactions at the ranks below the last of the `stairs`.
///
/// Takes the history of one user. Returns its profile, newest first. No basket rank is above the rank, so each has a
/// stair.
pub(crate) fn profile(interactions: &[(String, u8, u64)], params: &Params) -> Vec<ProfileEntry> {
    let last = *params.stairs.last().expect("there is at least one stair");
    let ranked = interactions.iter().zip(basket_ranks(interactions, params));
    let entry = |((item, level, _), m): (&(String, u8, u64), usize)| ProfileEntry {
        item: item.clone(),
        level: u64::from(*level),
        stair: stair(m, params),
    };
    ranked.take(last).map(entry).collect()
}

/// > The source `items`: `score(u, j) = sum over the profile of p_ui * v_ij`, for j not in `H_u`.
///
/// Only kept neighbours of i have a `v_ij`. The result still contains the items of `H_u`; [`candidates`] removes them.
fn scores_of_items<'s>(
    profile: &[ProfileEntry],
    similar: &'s BTreeMap<String, Vec<(String, u64)>>,
) -> BTreeMap<&'s str, u64> {
    let mut score: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in profile {
        for (j, v_ij) in similar.get(&entry.item).into_iter().flatten() {
            *score.entry(j).or_default() += entry.weight() * v_ij;
        }
    }
    score
}

/// Items with their totals, best first.
pub(crate) type List = Vec<(String, i64)>;

/// What the lists at one time are made of.
pub(crate) struct Basis<'w> {
    /// States of the items that had a record.
    items: BTreeMap<String, ItemState>,
    eligible: Eligible,
    history: History,
    /// Items that are kept out of the list of each user.
    kept_out: BTreeMap<String, BTreeSet<String>>,
    /// Controls of each user that has one.
    controls: BTreeMap<&'w str, UserControls<'w>>,
    audience: BTreeSet<String>,
    /// Kept neighbours of each item.
    similar_items: BTreeMap<String, Vec<(String, u64)>>,
    /// Similar users of each user of the audience; without the source `users`, none.
    similar_users: BTreeMap<String, Vec<(String, u64)>>,
}

impl<'w> Basis<'w> {
    pub(crate) fn new(world: World<'w>, params: &Params, t: u64) -> Self {
        let eligible = world.eligible(params, t);
        let history = history(world, params, t);
        let audience = audience(world, &history, params, t);
        // The source `users` is slow to compute, so it is skipped where its weight is 0.
        let no_users = BTreeSet::new();
        let compared = if params.users_weight == 0 { &no_users } else { &audience };
        Basis {
            items: world.items(t),
            similar_items: similar_items(&history, &eligible, params),
            similar_users: users::similar_users(&history, compared, params),
            kept_out: kept_out(world, params, t),
            controls: world.controls_at(t),
            audience: audience.into_iter().map(str::to_owned).collect(),
            eligible,
            history,
        }
    }

    /// `H_u`; empty if u has no interaction.
    fn history_of(&self, user: &str) -> &[(String, u8, u64)] {
        self.history.get(user).map_or(&[], Vec::as_slice)
    }

    /// > Items are of one **group** if their records give them the same `group`; an item without one is alone.
    ///
    /// Returns the name of the group; `None` if the item is alone.
    fn group(&self, item: &str) -> Option<&str> {
        self.items.get(item).and_then(ItemState::group)
    }

    /// Whether an item is of the target of a `not_interested` of u that stands.
    fn is_unwanted(&self, user: &str, item: &str) -> bool {
        self.controls.get(user).is_some_and(|controls| controls.is_unwanted(item, &self.items))
    }

    /// Whether an item is of the target of a `less` of u that stands.
    fn counts_less(&self, user: &str, item: &str) -> bool {
        self.controls.get(user).is_some_and(|controls| controls.counts_less(item, &self.items))
    }
}

/// > its total for the user is a quarter, `floor(total / 4)`
pub(crate) fn quarter(total: i64) -> i64 {
    total.div_euclid(4)
}

/// > total(u, j) = sum over the sources of weight * score (`graph.sources`); a quarter of it, rounded down, where a `less`
/// > of u says so.
///
/// Returns the totals of u by j.
fn totals(basis: &Basis, user: &str, params: &Params) -> BTreeMap<String, i64> {
    let sources = [
        (params.items_weight, scores_of_items(&profile(basis.history_of(user), params), &basis.similar_items)),
        (params.users_weight, users::scores(basis.similar_users.get(user), &basis.history, &basis.eligible)),
    ];
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    for (weight, scores) in sources {
        for (item, score) in scores {
            *totals.entry(item.to_owned()).or_default() += weight * i64::try_from(score).expect("far below 2^63");
        }
    }
    for (item, total) in &mut totals {
        if basis.counts_less(user, item) {
            *total = quarter(*total);
        }
    }
    totals
}

/// > A **candidate** of u is an eligible j with a total above 0 that is not in `H_u` and not kept out, nor of the target of a
/// > `not_interested` of u that stands. Items are of one **group** if their records give them the same `group`; an item
/// > without one is alone. Of a group of which another item is in `H_u` or kept out, no item is a candidate. Of the others of
/// > a group only the one with the largest total is, ties by id64 ascending.
///
/// Returns the candidates of u with their totals, the largest first, ties by id64 ascending.
fn candidates(basis: &Basis, user: &str, params: &Params) -> List {
    let in_history = basis.history_of(user).iter().map(|(item, ..)| item.as_str());
    let kept_out = basis.kept_out.get(user).into_iter().flatten().map(String::as_str);
    let excluded: BTreeSet<&str> = in_history.chain(kept_out).collect();
    let closed: BTreeSet<&str> = excluded.iter().filter_map(|item| basis.group(item)).collect();
    let competes = |item: &str, total: i64| {
        let is_of_a_closed_group = basis.group(item).is_some_and(|group| closed.contains(group));
        let is_excluded = excluded.contains(item) || is_of_a_closed_group || basis.is_unwanted(user, item);
        basis.eligible.contains(item) && total > 0 && !is_excluded
    };
    let mut candidates: List =
        totals(basis, user, params).into_iter().filter(|(j, total)| competes(j, *total)).collect();
    candidates.sort_by_key(|(item, total)| (Reverse(*total), params.ids.id64(item)));
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    candidates.retain(|(item, _)| basis.group(item).is_none_or(|group| groups.insert(group)));
    candidates
}

/// > The **pool** is the 2k candidates with the largest totals, ties by id64 ascending; 4k with `graph.diversity` or
/// > `graph.caps`.
///
/// > No other user has a list, and who has no interaction has the empty one.
///
/// Returns the pools of the audience that are not empty.
pub(crate) fn pools_of(basis: &Basis, params: &Params) -> BTreeMap<String, List> {
    let pool = |user: &String| (user.clone(), candidates(basis, user, params));
    let mut pools: BTreeMap<String, List> = basis.audience.iter().map(pool).collect();
    for pool in pools.values_mut() {
        pool.truncate(pool_length(params));
    }
    pools.retain(|_, pool| !pool.is_empty());
    pools
}

/// The pools at t that are not empty.
pub(crate) fn pools<'w>(world: impl Into<World<'w>>, params: &Params, t: u64) -> BTreeMap<String, List> {
    pools_of(&Basis::new(world.into(), params, t), params)
}

/// > The list is picked from it.
///
/// Returns `R(t)`: the lists that are not empty.
pub(crate) fn lists<'w>(world: impl Into<World<'w>>, params: &Params, t: u64) -> BTreeMap<String, List> {
    let basis = Basis::new(world.into(), params, t);
    pools_of(&basis, params).into_iter().map(|(user, pool)| (user, pick(&pool, &basis.items, params))).collect()
}

/// Lists as item names only, best first.
pub(crate) fn without_scores(lists: BTreeMap<String, Vec<(String, i64)>>) -> BTreeMap<String, Vec<String>> {
    lists.into_iter().map(|(user, list)| (user, list.into_iter().map(|(item, _)| item).collect())).collect()
}
