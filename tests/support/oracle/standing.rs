//! Standing lists and pools: `docs/semantics.md`, "Freshness" and "Losing an item".

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::ItemState;
use super::diversity::{pick, pool_length};
use super::evaluations::{EvaluatedTick, Run, scheduled};
use super::reasons::{Reason, reasons, shown};
use super::{Basis, List, OracleEvent, Params, World, pools_of};

/// The result of an evaluation of one user.
#[derive(Clone, Default)]
struct Evaluation {
    pool: List,
    /// Reasons that are shown, by item of the pool; none where no reasons are.
    why: BTreeMap<String, Vec<Reason>>,
}

/// The results for all users with a pool that is not empty.
fn evaluate(world: World, params: &Params, t: u64) -> BTreeMap<String, Evaluation> {
    let basis = Basis::new(world, params, t);
    let why = |user: &str, pool: &List| {
        let items = pool.iter().map(|(item, _)| item).filter(|_| params.why > 0);
        items.map(|item| (item.clone(), shown(&reasons(&basis, user, item, params), params))).collect()
    };
    let pools = pools_of(&basis, params).into_iter();
    pools.map(|(user, pool)| (user.clone(), Evaluation { why: why(&user, &pool), pool })).collect()
}

/// > An evaluation leaves its pool to the viewer.
struct Pool {
    /// What is left of it, with the totals of the evaluation.
    left: List,
    /// Whether it was full when it was left.
    was_full: bool,
    /// The shown reasons of the evaluation, by item.
    why: BTreeMap<String, Vec<Reason>>,
    /// The standing list.
    list: List,
}

impl Pool {
    fn of_evaluation(evaluation: Evaluation, items: &BTreeMap<String, ItemState>, params: &Params) -> Self {
        let Evaluation { pool, why } = evaluation;
        Pool { was_full: pool.len() == pool_length(params), list: pick(&pool, items, params), left: pool, why }
    }

    /// > the items that are not eligible at its end, or of the target of a `not_interested` of u that stands, are struck
    /// > from the pool. If any is, the standing list is picked anew from what is left, with the totals and reasons of the
    /// > evaluation and the records of this tick.
    fn strike(&mut self, is_struck: impl Fn(&str) -> bool, items: &BTreeMap<String, ItemState>, params: &Params) {
        let before = self.left.len();
        self.left.retain(|(item, _)| !is_struck(item));
        if self.left.len() < before {
            self.list = pick(&self.left, items, params);
        }
    }

    /// > If fewer than k are left of a pool that was full, with 2k or 4k items, when it was left
    fn is_short(&self, params: &Params) -> bool {
        self.was_full && self.left.len() < params.k
    }

    fn standing(&self, params: &Params) -> StandingList {
        let of_item = |(item, _): &(String, i64)| self.why[item].clone();
        let why = if params.why > 0 { self.list.iter().map(of_item).collect() } else { Vec::new() };
        StandingList { items: self.list.clone(), why }
    }
}

/// A standing list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StandingList {
    /// The items with their totals, best first.
    pub(crate) items: List,
    /// The shown reasons of each item; without reasons, empty.
    pub(crate) why: Vec<Vec<Reason>>,
}

/// The viewers whose standing list is that of the output, as they have not been evaluated since the restart, and has an
/// item that is struck.
///
/// > viewers whose list in the output has an item that is not eligible, or of the target of a `not_interested` of theirs
/// > that stands: they are evaluated in that tick.
///
/// > Pools do not survive a restart: a viewer that has not been evaluated since is evaluated in a tick in which this holds
/// > of an item of its standing list.
fn losing_without_a_pool(
    output: &BTreeMap<String, Vec<String>>,
    pools: &BTreeMap<String, Pool>,
    is_struck: impl Fn(&str, &str) -> bool,
) -> BTreeSet<String> {
    let loses = |user: &str, list: &[String]| list.iter().any(|item| is_struck(user, item));
    output
        .iter()
        .filter(|(user, list)| !pools.contains_key(*user) && loses(user, list))
        .map(|(user, _)| user.clone())
        .collect()
}

/// Goes through the ticks of a run, with all their evaluations and the standing lists at their ends of all viewers who have
/// been evaluated.
///
/// > The **standing list** of u is `R_u(e)`, where the tick e is the latest **evaluation** of u; the empty list before the
/// > first.
///
/// > In each tick that is not an evaluation of u, the items that are not eligible at its end, or of the target of a
/// > `not_interested` of u that stands, are struck from the pool. If any is, the standing list is picked anew from what is
/// > left, with the totals and reasons of the evaluation and the records of this tick. If fewer than k are left of a pool that was full, with 2k or 4k items, when it was left, the tick
/// > is an evaluation of u instead. What becomes eligible, also what had been struck, competes at the next evaluation.
///
/// Without a catalogue and controls nothing is struck, and ticks without evaluations are left out.
pub(crate) fn for_each_tick(
    run: &Run,
    params: &Params,
    mut visit: impl FnMut(&EvaluatedTick, &BTreeMap<String, StandingList>),
) {
    let events = run.events();
    let output = run.resumed.map(|resumed| resumed.standing.clone()).unwrap_or_default();
    let mut held: BTreeMap<String, Pool> = BTreeMap::new();
    let mut computed = Computed::default();
    for mut tick in scheduled(run, params) {
        let eligible = tick.world(&events).eligible(params, tick.at);
        let items = tick.world(&events).items(tick.at);
        let controls = tick.controls.clone();
        let controls = World { events: &[], records: &[], controls: &controls, ended: tick.ended }.controls_at(tick.at);
        let is_struck = |user: &str, item: &str| {
            let is_unwanted = controls.get(user).is_some_and(|controls| controls.is_unwanted(item, &items));
            !eligible.contains(item) || is_unwanted
        };
        for (user, pool) in &mut held {
            if !tick.users.contains(user) {
                pool.strike(|item| is_struck(user, item), &items, params);
            }
        }
        let is_evaluated_instead = |(user, pool): (&String, &Pool)| pool.is_short(params).then(|| user.clone());
        tick.users.extend(held.iter().filter_map(is_evaluated_instead));
        tick.users.extend(losing_without_a_pool(&output, &held, is_struck));
        for user in &tick.users {
            let evaluated = computed.at(&tick, &events, |world, t| evaluate(world, params, t)).get(user);
            held.insert(user.clone(), Pool::of_evaluation(evaluated.cloned().unwrap_or_default(), &items, params));
        }
        let lists = held.iter().map(|(user, pool)| (user.clone(), pool.standing(params))).collect();
        visit(&tick, &lists);
    }
}

/// All ticks in which a user is evaluated, in order. Left out are evaluations that cannot emit anything, as in
/// [`scheduled`].
pub(crate) fn evaluations(run: &Run, params: &Params) -> Vec<EvaluatedTick> {
    let takes_controls = run.resumed.is_some_and(|resumed| !resumed.controls.is_empty())
        || run.ticks.iter().any(|tick| !tick.controls.is_empty());
    if params.catalogue.is_none() && !takes_controls {
        // Nobody loses an item. The lists, which are slow to compute, are not needed.
        return scheduled(run, params);
    }
    let mut ticks = Vec::new();
    for_each_tick(run, params, |tick, _| ticks.push(tick.clone()));
    ticks.retain(|tick| !tick.users.is_empty());
    ticks
}

/// What was made of the world last: it is computed once for successive ticks between which R does not change.
pub(crate) struct Computed<S>(Option<(EvaluatedTick, S)>);

impl<S> Default for Computed<S> {
    fn default() -> Self {
        Computed(None)
    }
}

impl<S> Computed<S> {
    /// What `compute` makes of the world at the end of a tick.
    pub(crate) fn at(&mut self, tick: &EvaluatedTick, events: &[OracleEvent], compute: impl Fn(World, u64) -> S) -> &S {
        // All that R depends on: the time, and what had arrived.
        let key = EvaluatedTick { at: tick.unchanged_since, users: BTreeSet::new(), ..tick.clone() };
        if self.0.as_ref().is_none_or(|(last, _)| *last != key) {
            let computed = compute(tick.world(events), tick.unchanged_since);
            self.0 = Some((key, computed));
        }
        &self.0.as_ref().expect("it has just been computed").1
    }
}
