//! Standing lists and pools: `docs/semantics.md`, "Freshness" and "Losing an item".

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::Eligible;
use super::evaluations::{EvaluatedTick, Run, scheduled};
use super::{List, OracleEvent, Params, World, list_of, pools};

/// > An evaluation leaves its pool to the viewer.
struct Pool {
    /// What is left of it, with the totals of the evaluation.
    left: List,
    /// Whether it had 2k items when it was left.
    was_full: bool,
}

impl Pool {
    fn of_evaluation(pool: List, params: &Params) -> Self {
        Pool { was_full: pool.len() == 2 * params.k, left: pool }
    }

    /// > the items that are not eligible at its end are struck from the pool
    fn strike(&mut self, eligible: &Eligible) {
        self.left.retain(|(item, _)| eligible.contains(item));
    }

    /// > If fewer than k are left of a pool that had 2k when it was left
    fn is_short(&self, params: &Params) -> bool {
        self.was_full && self.left.len() < params.k
    }
}

/// The viewers whose standing list is that of the output, as they have not been evaluated since the restart, and has an
/// item that is not eligible.
///
/// > viewers whose list in the output has an item that is not eligible: they are evaluated in that tick.
///
/// > Pools do not survive a restart: a viewer that has not been evaluated since is evaluated in a tick in which an item of
/// > its standing list is not eligible.
fn losing_without_a_pool(
    output: &BTreeMap<String, Vec<String>>,
    pools: &BTreeMap<String, Pool>,
    eligible: &Eligible,
) -> BTreeSet<String> {
    let loses = |list: &[String]| list.iter().any(|item| !eligible.contains(item));
    output
        .iter()
        .filter(|(user, list)| !pools.contains_key(*user) && loses(list))
        .map(|(user, _)| user.clone())
        .collect()
}

/// Goes through the ticks of a run, with all their evaluations and the standing lists at their ends of all viewers who have
/// been evaluated.
///
/// > The **standing list** of u is `R_u(e)`, where the tick e is the latest **evaluation** of u; the empty list before the
/// > first.
///
/// > In each tick that is not an evaluation of u, the items that are not eligible at its end are struck from the pool, and
/// > the standing list becomes the first k of what is left, with the totals of the evaluation. If fewer than k are left of a
/// > pool that had 2k when it was left, the tick is an evaluation of u instead. What becomes eligible, also what had been
/// > struck, competes at the next evaluation.
///
/// Without a catalogue nothing is struck, and ticks without evaluations are left out.
pub(crate) fn for_each_tick(
    run: &Run,
    params: &Params,
    mut visit: impl FnMut(&EvaluatedTick, &BTreeMap<String, List>),
) {
    let events = run.events();
    let output = run.resumed.map(|resumed| resumed.standing.clone()).unwrap_or_default();
    let mut held: BTreeMap<String, Pool> = BTreeMap::new();
    let mut computed = Computed::default();
    for mut tick in scheduled(run, params) {
        let eligible = tick.world(&events).eligible(params, tick.at);
        for (user, pool) in &mut held {
            if !tick.users.contains(user) {
                pool.strike(&eligible);
            }
        }
        let is_evaluated_instead = |(user, pool): (&String, &Pool)| pool.is_short(params).then(|| user.clone());
        tick.users.extend(held.iter().filter_map(is_evaluated_instead));
        tick.users.extend(losing_without_a_pool(&output, &held, &eligible));
        for user in &tick.users {
            let evaluated = computed.at(&tick, &events, |world, t| pools(world, params, t)).get(user);
            held.insert(user.clone(), Pool::of_evaluation(evaluated.cloned().unwrap_or_default(), params));
        }
        let lists = held.iter().map(|(user, pool)| (user.clone(), list_of(&pool.left, params))).collect();
        visit(&tick, &lists);
    }
}

/// All ticks in which a user is evaluated, in order. Left out are evaluations that cannot emit anything, as in
/// [`scheduled`].
pub(crate) fn evaluations(run: &Run, params: &Params) -> Vec<EvaluatedTick> {
    if params.catalogue.is_none() {
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
