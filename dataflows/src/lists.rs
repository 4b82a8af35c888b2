//! The list of each viewer, evaluated when it is due (docs/semantics.md, "Freshness").
//!
//! Nothing of a list is maintained from one evaluation to the next. The rows that it depends on are kept up to date, each item
//! with the tick of the last change of anything that it contributes. At a boundary a viewer asks the items of its profile whether
//! one of them is newer than its list (*pull*). So a changed row costs the same whether ten viewers hold it or a hundred
//! thousand, and an evaluation starts from nothing: it is a function of the rows.
//!
//! With a catalogue an evaluation leaves its pool, from which a list is picked anew when one of its items is not eligible any
//! more. That is all that reaches a viewer between two evaluations.

mod boundaries;
mod change_times;
mod diversity;
mod evaluation;
mod pools;
mod preferences;
mod rows;
mod viewers;

use std::sync::Arc;

use hashbrown::HashMap;
use schema::Wish;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

use self::boundaries::Boundaries;
use self::diversity::Picker;
use self::evaluation::Evaluator;
use self::pools::{Loss, Pools};
use self::preferences::Preferences;
use self::rows::Rows;
use self::viewers::Viewers;
use crate::controls::PreferencesChange;
use crate::gauges::{Gauges, add, set};
use crate::operators::{Input, Output, SlicedOperator, StageBuilder};
use crate::{
    AttributesChange, Barrier, Collection, Config, Diff, EligibilityChange, ItemId, Level, List, ListKey, ListReason,
    Member, Neighbour, ProfileItem, Reconcile, Subscription, Time, UserId, WorkerBarrier, ms_of,
};

/// What lists are made of. The viewers' profiles are where their lists will be.
pub struct ListInputs<'scope> {
    /// The histories of the audience.
    pub profiles: Collection<'scope, (UserId, ProfileItem)>,
    /// Users who act in a tick, on the user's worker.
    pub actions: Stream<'scope, Time, Vec<UserId>>,
    /// Similar items of the items in the profiles.
    pub neighbours: Collection<'scope, (Subscription, Neighbour)>,
    /// What similar users are found from, if they are a source or an output.
    pub users: Option<ComparedUsers<'scope>>,
    /// What users wish, on the user's worker, if the graph takes controls.
    pub preferences: Option<Stream<'scope, Time, Vec<PreferencesChange>>>,
    /// What changes of the items, if there is a catalogue.
    pub items: Option<ItemChanges<'scope>>,
    /// Requests of evaluations, and ticks that stand for several.
    pub barriers: Stream<'scope, Time, Vec<WorkerBarrier>>,
    /// The content of the output, if the run resumes another one.
    pub reconcile: Option<Stream<'scope, Time, Vec<Reconcile>>>,
}

/// Changes of the items of the catalogue, on all workers.
pub struct ItemChanges<'scope> {
    /// Whether they are eligible.
    pub eligibility: Stream<'scope, Time, Vec<EligibilityChange>>,
    /// What they have in common with others.
    pub attributes: Stream<'scope, Time, Vec<AttributesChange>>,
}

/// The users with whom viewers are compared.
pub struct ComparedUsers<'scope> {
    /// Samples of the items in the profiles, located with the viewers.
    pub members: Collection<'scope, (Subscription, Member)>,
    /// Histories of the sampled users, to be sent to the viewers.
    pub histories: Collection<'scope, (Subscription, (ItemId, Level))>,
}

/// A list that was evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Owner of the list.
    pub key: ListKey,
    /// The list, best first; empty for one who has left the audience.
    pub list: List,
    /// By item of the list: its reasons. Empty without reasons.
    pub why: Vec<Vec<ListReason>>,
    /// Milliseconds since the first change that this evaluation includes and the one before did not, to a sixty-fourth of
    /// [`Config::refresh`] and at most about that. `None` if the list is evaluated at once, because its viewer acted, entered or
    /// left the audience, or the list lost an item, and for a trending list. For measurements: not part of the defined
    /// stream of changes, and different after a restart.
    pub waited: Option<u32>,
}

impl Evaluation {
    /// A list of which no reasons are given, at once.
    pub(crate) fn without_reasons(key: ListKey, list: List) -> Self {
        Evaluation { key, list, why: Vec::new(), waited: None }
    }
}

/// The evaluations of a tick, each at most once for a user.
pub struct Evaluations<'scope> {
    /// The list of each evaluated user.
    pub lists: Stream<'scope, Time, Vec<Evaluation>>,
    /// The similar users of each evaluated user, most similar first, if they are an output.
    pub similar_users: Stream<'scope, Time, Vec<(UserId, Vec<(UserId, u16)>)>>,
}

/// Evaluates the `k` best items of viewers over all sources.
///
/// Cost of an updated entry of a row: a search of the row. Cost of an evaluation: the rows of the profile, and the histories of
/// `similar_users` users. Cost of a boundary: a pass over the histories of a sixty-fourth of the viewers, if something has
/// changed since the one before. Memory: the rows, and a history for each viewer. Evaluations are sliced.
pub fn lists<'scope>(inputs: ListInputs<'scope>, config: &Config, gauges: &Arc<Gauges>) -> Evaluations<'scope> {
    let mut builder = StageBuilder::new("Lists", inputs.profiles.inner.scope());
    let profiles = builder.input(inputs.profiles.inner, Pipeline);
    let actions = builder.input(inputs.actions, Pipeline);
    let to_viewers = Exchange::new(|update: &((Subscription, Neighbour), Time, Diff)| update.0.0.worker());
    let neighbours = builder.input(inputs.neighbours.inner, to_viewers);
    let (members, histories) = inputs
        .users
        .map(|ComparedUsers { members, histories }| {
            let to_viewers = |update: &((Subscription, (ItemId, Level)), Time, Diff)| update.0.0.worker();
            let histories = builder.input(histories.inner, Exchange::new(to_viewers));
            (builder.input(members.inner, Pipeline), histories)
        })
        .unwrap_or_default();
    let (eligibility, attributes) = inputs
        .items
        .map(|ItemChanges { eligibility, attributes }| {
            (builder.input(eligibility, Pipeline), builder.input(attributes, Pipeline))
        })
        .unwrap_or_default();
    let preferences = inputs.preferences.map(|preferences| builder.input(preferences, Pipeline)).unwrap_or_default();
    let barriers = builder.input(inputs.barriers, Exchange::new(|barrier: &WorkerBarrier| barrier.worker));
    let reconcile = inputs.reconcile.map(|reconcile| builder.input(reconcile, Exchange::new(Reconcile::placement)));
    let reconcile = reconcile.unwrap_or_default();
    let (lists_output, lists) = builder.output();
    let (users_output, similar_users) = builder.output();
    let operator = Lists {
        inputs: Inputs {
            profiles,
            actions,
            neighbours,
            members,
            histories,
            preferences,
            eligibility,
            attributes,
            barriers,
            reconcile,
        },
        lists: lists_output,
        similar_users: config.outputs.similar_users.then_some(users_output),
        ..Lists::new(config, gauges)
    };
    builder.build(config.slice, operator);
    Evaluations { lists, similar_users }
}

/// Fuel of an evaluation: it takes up to 25 us.
const EVALUATION: usize = 125;

#[derive(Default)]
struct Inputs {
    profiles: Input<((UserId, ProfileItem), Time, Diff)>,
    actions: Input<UserId>,
    neighbours: Input<((Subscription, Neighbour), Time, Diff)>,
    members: Input<((Subscription, Member), Time, Diff)>,
    histories: Input<((Subscription, (ItemId, Level)), Time, Diff)>,
    preferences: Input<PreferencesChange>,
    eligibility: Input<EligibilityChange>,
    attributes: Input<AttributesChange>,
    barriers: Input<WorkerBarrier>,
    reconcile: Input<Reconcile>,
}

struct Lists {
    inputs: Inputs,
    lists: Output<Evaluation>,
    similar_users: Option<Output<(UserId, Vec<(UserId, u16)>)>>,
    /// Whether similar users are a source or an output.
    compares_users: bool,
    highest_stair: u32,
    rows: Rows,
    viewers: Viewers,
    boundaries: Boundaries,
    evaluator: Evaluator,
    picker: Picker,
    preferences: Preferences,
    /// Pools of the viewers, if there is a catalogue.
    pools: Option<Pools>,
    /// Lists of the output by user, until the lists are reconciled with it.
    known: HashMap<UserId, Vec<ItemId>>,
    /// Viewers looked at, and evaluated, since the gauges were set.
    looked_at: usize,
    evaluations: usize,
    gauges: Arc<Gauges>,
}

impl Lists {
    /// Without inputs and outputs.
    fn new(config: &Config, gauges: &Arc<Gauges>) -> Self {
        Lists {
            inputs: Inputs::default(),
            lists: Output::default(),
            similar_users: None,
            compares_users: config.needs_similar_users(),
            highest_stair: config.stair(0),
            rows: Rows::new(config.refresh, config.unknown_is_eligible()),
            viewers: Viewers::default(),
            boundaries: Boundaries::new(config.refresh),
            evaluator: Evaluator::new(config),
            picker: Picker::new(config),
            preferences: Preferences::default(),
            pools: config.catalogue.is_some().then(|| Pools::new(config)),
            known: HashMap::default(),
            looked_at: 0,
            evaluations: 0,
            gauges: Arc::clone(gauges),
        }
    }

    /// Applies the updates of a tick. Returns whether there were any.
    fn update(&mut self, time: Time) -> bool {
        let Lists { inputs, rows, viewers, picker, preferences, pools, evaluator, boundaries, .. } = self;
        rows.changes.begin(boundaries.since(time), time);
        let mut has_changed = false;
        let mut may_change_any = false;
        for change in inputs.eligibility.take(time).into_iter().flatten() {
            may_change_any |= rows.set_eligible(change) && change.eligible;
            if let Some(pools) = pools.as_mut().filter(|_| !change.eligible) {
                pools.strike(change.item);
            }
            has_changed = true;
        }
        // A user whose wishes change acts, so only items that change are struck.
        inputs.preferences.take(time).into_iter().flatten().for_each(|change| preferences.set(change));
        for AttributesChange { item, mut attributes } in inputs.attributes.take(time).into_iter().flatten() {
            rows.set_group(item, attributes.group);
            preferences.set_classes(item, std::mem::take(&mut attributes.classes));
            for user in preferences.not_interested_in(item) {
                if let (Some(pools), Some(viewer)) = (pools.as_mut(), viewers.id(user)) {
                    pools.strike_for(viewer, item);
                }
            }
            picker.set(item, attributes);
            may_change_any |= rows.has(item);
            has_changed = true;
        }
        // No row says in which histories of similar users the items are, so each viewer may get them.
        if may_change_any {
            rows.mark_all();
        }
        for ((user, item), _, diff) in inputs.profiles.take(time).into_iter().flatten() {
            viewers.update(user, item, diff, time, rows);
            has_changed = true;
        }
        for ((to, similar), _, diff) in inputs.neighbours.take(time).into_iter().flatten() {
            rows.update_similar(to.row, similar.item, similar.similarity, diff);
            has_changed = true;
        }
        for ((to, member), _, diff) in inputs.members.take(time).into_iter().flatten() {
            rows.update_sample(to.row, member.user, member.level, diff);
            has_changed = true;
        }
        for ((of, (item, level)), _, diff) in inputs.histories.take(time).into_iter().flatten() {
            rows.update_history(of.row, item, level, diff);
            has_changed = true;
        }
        viewers.finish_updates();
        rows.finish_updates(self.highest_stair, &evaluator.logarithm);
        has_changed
    }

    /// Marks the viewers that are evaluated in this tick. Those that have left are marked already.
    fn mark_due(&mut self, time: Time, has_changed: bool) {
        let mut all = false;
        for WorkerBarrier { barrier, .. } in self.inputs.barriers.take(time).into_iter().flatten() {
            match barrier {
                Barrier::Coalesce { tick } => self.boundaries.coalesce(time, tick),
                Barrier::End => self.boundaries.end(),
                Barrier::EvaluateAll | Barrier::InputEnds => all = true,
                Barrier::Evaluate { user } => self.viewers.act(user),
                Barrier::LoadBegin | Barrier::LoadEnd | Barrier::Snapshot { .. } => {}
            }
        }
        self.inputs.actions.take(time).into_iter().flatten().for_each(|user| self.viewers.act(user));
        let reached = self.boundaries.reach(time, has_changed);
        let reached = if all { Boundaries::phases() } else { reached };
        for phase in reached {
            self.looked_at += self.viewers.reach(phase, &self.rows);
        }
    }

    /// Strikes the items from the pools that are not eligible any more. A viewer whose list has lost an item, and who is not
    /// evaluated in this tick anyway, gets it picked anew, or is evaluated if the pool has too few items left.
    fn strike(&mut self, time: Time) {
        let Lists { pools: Some(pools), picker, viewers, lists, .. } = self else { return };
        let mut emitted = lists.buffer();
        pools.apply(picker, |id, loss| match loss {
            Loss::Pool => viewers.set_changed(id, time),
            Loss::List(list, why) if !viewers.is_due(id) => {
                viewers.set_changed(id, time);
                emitted.push(Evaluation { key: ListKey::User(viewers.get(id).user), list, why, waited: None });
            }
            Loss::List(..) => {}
            Loss::TooMany => viewers.mark_due(id, true),
        });
    }

    /// The users with a list in the output who are not in the audience get the empty list when the output is known. The list of
    /// any viewer may differ from the output's, so all wait for their next evaluation. Returns whether the output is known from
    /// this tick on.
    fn reconcile(&mut self, time: Time) -> bool {
        let mut finishes = false;
        for message in self.inputs.reconcile.take(time).into_iter().flatten() {
            match message {
                Reconcile::Known { key: ListKey::User(user), items } => drop(self.known.insert(user, items)),
                Reconcile::Known { .. } => {}
                Reconcile::Finish { .. } => finishes = true,
            }
        }
        if finishes {
            let mut emitted = self.lists.buffer();
            for (user, items) in std::mem::take(&mut self.known) {
                // Who leaves in this very tick is due as well.
                let Some(id) = self.viewers.id(user) else {
                    emitted.push(Evaluation::without_reasons(ListKey::User(user), List::new()));
                    continue;
                };
                if self.viewers.get(id).is_evaluated() {
                    continue;
                }
                let wishes = self.preferences.of(user);
                let is_unwanted = |item| wishes.is_some_and(|wishes| wishes.of(item) == Some(Wish::NotInterested));
                if items.iter().any(|item| !self.rows.is_eligible(*item) || is_unwanted(*item)) {
                    self.viewers.mark_due(id, true);
                }
                if let Some(pools) = &mut self.pools {
                    pools.set_known(id, items);
                }
            }
            self.rows.mark_all();
        }
        finishes
    }
}

impl SlicedOperator for Lists {
    fn due(&self) -> Option<Time> {
        self.boundaries.due()
    }

    fn begin(&mut self, time: Time) {
        let has_changed = self.update(time);
        let is_known = self.reconcile(time);
        self.mark_due(time, has_changed || is_known);
        self.strike(time);
    }

    fn advance(&mut self, time: Time, fuel: &mut usize) -> bool {
        let Lists { rows, viewers, picker, preferences, pools, evaluator, lists, similar_users, .. } = self;
        let mut emitted = lists.buffer();
        while let Some((id, waited)) = viewers.next_due(time, rows) {
            let viewer = viewers.get(id);
            if self.compares_users {
                evaluator.find_similar_users(viewer, rows);
            }
            if let Some(output) = similar_users {
                output.buffer().push((viewer.user, evaluator.similar_users(rows)));
            }
            let pool = evaluator.pool(viewer, rows, preferences.of(viewer.user));
            let (list, why) = match pools {
                Some(pools) => {
                    let picked = picker.list(&pool);
                    pools.set(id, pool);
                    picked
                }
                None => (pool.items, pool.why),
            };
            emitted.push(Evaluation { key: ListKey::User(viewer.user), list, why, waited });
            viewers.remove_if_left(id, rows);
            self.evaluations += 1;
            *fuel = fuel.saturating_sub(EVALUATION);
            if *fuel == 0 && viewers.has_due() {
                return false;
            }
        }
        rows.release();
        true
    }

    fn deactivate(&mut self, _done_before: Time) {
        set(&self.gauges.next_boundary, self.due().map_or(u64::MAX, ms_of));
        add(&self.gauges.looked_at, std::mem::take(&mut self.looked_at));
        add(&self.gauges.evaluations, std::mem::take(&mut self.evaluations));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subscriber, first_of};

    /// Users 1 and 2 are viewers of item 10; user 3, who is not, is in its sample.
    fn feed(lists: &mut Lists, time: Time, diff: Diff) {
        let item = ProfileItem { item: 10, level: 3, stair: 8 };
        lists.inputs.profiles.put(time, vec![[1, 2].map(|user| ((user, item), time, diff)).to_vec()]);
        let of = |row| Subscription { row, subscriber: Subscriber::worker(0) };
        lists.inputs.neighbours.put(time, vec![vec![((of(10), Neighbour { item: 11, similarity: 900 }), time, diff)]]);
        lists.inputs.members.put(time, vec![vec![((of(10), Member { user: 3, level: 4 }), time, diff)]]);
        let history = [10, 12].map(|item| ((of(3), (item, 4)), time, diff));
        lists.inputs.histories.put(time, vec![history.to_vec()]);
    }

    fn evaluate(lists: &mut Lists, time: Time) -> Vec<(ListKey, Vec<ItemId>, Option<u32>)> {
        lists.begin(time);
        while !lists.advance(time, &mut 1) {}
        let mut evaluated = std::mem::take(&mut *lists.lists.buffer());
        evaluated.sort_unstable_by_key(|evaluation| evaluation.key);
        let shown = |Evaluation { key, list, waited, .. }: Evaluation| {
            (key, list.iter().map(|scored| scored.item).collect(), waited)
        };
        evaluated.into_iter().map(shown).collect()
    }

    #[test]
    fn a_viewer_acts_or_reaches_a_boundary_and_nothing_remains_of_one_who_leaves() {
        let config = Config { refresh: 640, ..Config::default() };
        let mut lists = Lists::new(&config, &Arc::default());
        let (first, second) = (ListKey::User(1), ListKey::User(2));
        feed(&mut lists, first_of(1_000), 1);
        lists.inputs.actions.put(first_of(1_000), vec![vec![1]]);
        assert_eq!(evaluate(&mut lists, first_of(1_000)), [(first, vec![11, 12], None)]);
        // The boundaries of user u are at 1,280 - 10 u. User 1 has nothing new at its own.
        let mut boundaries = Vec::new();
        while let Some(due) = lists.due() {
            boundaries.extend(evaluate(&mut lists, due).into_iter().map(|evaluation| (ms_of(due), evaluation)));
        }
        // What user 1 did is in the list of user 2 after 260 ms.
        assert_eq!(boundaries, [(1_260, (second, vec![11, 12], Some(260)))]);
        feed(&mut lists, first_of(2_000), -1);
        assert_eq!(evaluate(&mut lists, first_of(2_000)), [(first, vec![], None), (second, vec![], None)]);
        assert!(lists.rows.is_empty() && lists.viewers.is_empty());
    }
}
