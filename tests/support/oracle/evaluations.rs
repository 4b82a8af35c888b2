//! Evaluations: `docs/semantics.md`, "Freshness", one function per definition.
//!
//! Who is evaluated when follows from the events, the audience and the clock, but for viewers who are evaluated because
//! they lose an item: [`standing`](super::standing) adds those.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{Arrivals, OracleItemRecord};
use super::controls::{OracleControl, controls_in_force};
use super::taking_back::{end_of_skip, in_force};
use super::{OracleEvent, Params, World, audience, counting_events, history, is_retained};

/// What takes effect together. It stands for all milliseconds from `since` to `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoalescedTick {
    /// First millisecond.
    pub(crate) since: u64,
    /// Last millisecond, at which the tick takes effect.
    pub(crate) at: u64,
    /// Events that arrive, in this order.
    pub(crate) events: Vec<OracleEvent>,
    /// Catalogue records that arrive, in this order.
    pub(crate) records: Vec<OracleItemRecord>,
    /// Controls that arrive, in this order.
    pub(crate) controls: Vec<OracleControl>,
}

impl CoalescedTick {
    /// A tick in which neither a catalogue record nor a control arrives.
    pub(crate) fn of_events(since: u64, at: u64, events: Vec<OracleEvent>) -> Self {
        CoalescedTick { since, at, events, records: Vec::new(), controls: Vec::new() }
    }
}

/// What a run resumes from.
#[derive(Clone, Debug)]
pub(crate) struct Resumed {
    /// Millisecond of the last tick before the restart.
    pub(crate) at: u64,
    /// Events that had arrived up to this tick.
    pub(crate) events: Vec<OracleEvent>,
    /// Catalogue records that had arrived up to this tick, in the order in which they acted.
    pub(crate) records: Vec<OracleItemRecord>,
    /// Controls that had arrived up to this tick.
    pub(crate) controls: Vec<OracleControl>,
    /// Standing lists of the output by user.
    pub(crate) standing: BTreeMap<String, Vec<String>>,
}

/// The input of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'r> {
    /// What it resumes from, if it does.
    pub(crate) resumed: Option<&'r Resumed>,
    /// Ticks in the order of arrival. `at` does not decrease.
    pub(crate) ticks: &'r [CoalescedTick],
    /// Whether the input ends after the last of `ticks`, or the run has only got so far.
    pub(crate) ends: bool,
}

impl Run<'_> {
    /// All events, in the order of arrival.
    pub(crate) fn events(&self) -> Vec<OracleEvent> {
        let held = self.resumed.iter().flat_map(|resumed| &resumed.events);
        held.chain(self.ticks.iter().flat_map(|tick| &tick.events)).cloned().collect()
    }
}

/// The users who are evaluated in one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EvaluatedTick {
    /// Millisecond of the tick.
    pub(crate) at: u64,
    /// Names of the users.
    pub(crate) users: BTreeSet<String>,
    /// Number of events that had arrived.
    pub(crate) arrived: usize,
    /// Catalogue records that had acted and count.
    pub(crate) records: Vec<OracleItemRecord>,
    /// Controls that had arrived.
    pub(crate) controls: Vec<OracleControl>,
    /// Whether it is the tick of the end.
    pub(crate) ended: bool,
    /// Millisecond of the latest tick at which R can have changed, up to `at`: R(`at`) is R(`unchanged_since`).
    pub(crate) unchanged_since: u64,
}

impl EvaluatedTick {
    /// What had arrived, of all events.
    pub(crate) fn world<'w>(&'w self, events: &'w [OracleEvent]) -> World<'w> {
        World { events: &events[..self.arrived], records: &self.records, controls: &self.controls, ended: self.ended }
    }
}

/// All ticks in which a user is evaluated by the rules of this file, in order. With a catalogue or controls also those in
/// which nobody is, as an item may be lost in each.
///
/// Left out are evaluations that cannot emit anything: those at a boundary of a user who was evaluated at another boundary
/// since R last changed. See [`Schedule::boundaries_before`].
///
/// > An expiry, an exit from the audience, and the `from` and `until` of an item take effect at their own millisecond, even
/// > if no event falls there. When a replay takes several milliseconds together (`input.batch`), they are one tick, at the
/// > last of them.
///
/// > A boundary takes effect at its own millisecond, as an expiry does.
///
/// So between two entries of `ticks` there is a tick for every millisecond at which something falls due. What falls due
/// exactly at the `at` of an entry takes effect in that entry; if several entries have this `at`, in the first of them.
pub(crate) fn scheduled(run: &Run, params: &Params) -> Vec<EvaluatedTick> {
    let mut schedule = Schedule {
        params,
        arrived: Vec::new(),
        catalogue: Arrivals::default(),
        controls: Vec::new(),
        ended: false,
        last: None,
        ticks: Vec::new(),
    };
    if let Some(resumed) = run.resumed {
        schedule.resume(resumed);
    }
    for CoalescedTick { since, at, events, records, controls } in run.ticks {
        if let Some(before) = schedule.last.as_ref().map(|last| last.at) {
            assert!(before <= *at, "the time of a tick decreases");
            for due in schedule.due_times_between(before, *since) {
                schedule.boundaries_before(due);
                schedule.tick(due, due, &[]);
            }
            schedule.boundaries_before(*since);
        }
        schedule.arrived.extend(events.iter().cloned());
        schedule.controls.extend(controls.iter().cloned());
        schedule.tick(*since, *at, records);
    }
    if run.ends {
        schedule.end();
    }
    schedule.ticks
}

/// > An event of u is **kept** at t if it counts, and of the other events of u on the same item with `ts <= t` none has
/// > a `ts` that is not smaller and a level that is not lower; levels are their own here, whatever was taken back.
/// > Events with equal user, item, `ts` and level are one event.
///
/// An event without a level does not count, and no other is behind it. So it is with one that is paused.
///
/// Returns the kept events of all users. The other events are those with `ts <= t`, as for everything at t. One that is
/// not earlier than a retained event is itself retained.
pub(crate) fn kept<'w>(world: impl Into<World<'w>>, params: &Params, t: u64) -> BTreeSet<OracleEvent> {
    let events = world.into().acting_events(t);
    let retained: BTreeSet<&OracleEvent> = events.iter().filter(|event| is_retained(event, params, t)).collect();
    let mut by_user: BTreeMap<&str, Vec<&OracleEvent>> = BTreeMap::new();
    for event in retained {
        by_user.entry(&event.user).or_default().push(event);
    }
    let mut kept = BTreeSet::new();
    for events in by_user.values() {
        for event in counting_events(events, params) {
            let has_another_that_is_not_earlier_and_not_lower = events.iter().any(|other| {
                let is_not_lower = other.level().is_some_and(|level| Some(level) >= event.level());
                *other != event && other.item == event.item && other.ts >= event.ts && is_not_lower
            });
            if !has_another_that_is_not_earlier_and_not_lower {
                kept.insert(event.clone());
            }
        }
    }
    kept
}

/// > The boundaries of u are the milliseconds `b = n * D - floor((id64(u) mod 64) * D / 64)` for integers n
///
/// Returns the first boundary of the user that is not before `from`; the end of time if there is none.
pub(crate) fn boundary_from(user: &str, from: u64, params: &Params) -> u64 {
    let d = u128::from(params.refresh);
    let offset = u128::from(params.ids.id64(user) % 64) * d / 64;
    let n = (u128::from(from) + offset).div_ceil(d);
    u64::try_from(n * d - offset).unwrap_or(u64::MAX)
}

/// What the rules read of the end of a tick.
struct TickEnd {
    /// Millisecond of the tick.
    at: u64,
    /// Kept events.
    kept: BTreeSet<OracleEvent>,
    /// Retractions and skips in force.
    in_force: BTreeSet<OracleEvent>,
    /// Controls in force.
    controls: BTreeSet<OracleControl>,
    /// Users of the audience.
    audience: BTreeSet<String>,
}

impl TickEnd {
    fn new(world: World, params: &Params, at: u64) -> Self {
        if params.refresh == 0 {
            // No rule reads the sets, which are slow to compute.
            let (kept, in_force, controls, audience) = Default::default();
            return TickEnd { at, kept, in_force, controls, audience };
        }
        let history = history(world, params, at);
        let audience = audience(world, &history, params, at).into_iter().map(str::to_owned).collect();
        let (kept, in_force) = (kept(world, params, at), in_force(world, params, at));
        TickEnd { at, kept, in_force, controls: controls_in_force(world, at), audience }
    }
}

/// > **Own action.** Each tick at whose end an event of u is kept that was not kept at the end of the tick before is an
/// > evaluation. So is each at whose end a retraction, a skip or a control of u is in force that was not at the end of the
/// > tick before. So neither a repetition, nor an event with another on its item that is not earlier and not lower, nor an
/// > expiry is one.
fn own_actions(before: Option<&TickEnd>, end: &TickEnd) -> BTreeSet<String> {
    let was_kept = |event: &OracleEvent| before.is_some_and(|before| before.kept.contains(event));
    let was_in_force = |event: &OracleEvent| before.is_some_and(|before| before.in_force.contains(event));
    let kept = end.kept.iter().filter(|event| !was_kept(event));
    let in_force = end.in_force.iter().filter(|event| !was_in_force(event));
    let was_said = |control: &OracleControl| before.is_some_and(|before| before.controls.contains(control));
    let said = end.controls.iter().filter(|control| !was_said(control)).map(|control| control.user.clone());
    kept.chain(in_force).map(|event| event.user.clone()).chain(said).collect()
}

/// > **Entering and leaving the audience.** The tick in which a user enters, for whatever reason, is an evaluation. A user who
/// > leaves gets the empty list at that millisecond.
fn entering_and_leaving(before: Option<&TickEnd>, end: &TickEnd) -> BTreeSet<String> {
    match before {
        None => end.audience.clone(),
        Some(before) => before.audience.symmetric_difference(&end.audience).cloned().collect(),
    }
}

/// > **Boundary.** The boundaries of u are the milliseconds `b = n * D - floor((id64(u) mod 64) * D / 64)` for integers n,
/// > at which u is in the audience. A tick that takes several milliseconds together, boundaries of u among them, is one
/// > evaluation, at the last of them.
///
/// The milliseconds of the tick are those from `since` to its end that the tick before did not take. The audience is that
/// at the end of the tick. A user who was in it at a boundary and is not at the end has left in the tick, so is evaluated
/// all the same, and a user who was not in it at the boundary and is at the end has entered.
fn at_boundaries(before: Option<&TickEnd>, since: u64, end: &TickEnd, params: &Params) -> BTreeSet<String> {
    let since = before.map_or(since, |before| since.max(before.at + 1));
    end.audience.iter().filter(|user| boundary_from(user, since, params) <= end.at).cloned().collect()
}

/// Ticks so far, and what the next one is compared with.
struct Schedule<'p> {
    params: &'p Params,
    /// Events that have arrived.
    arrived: Vec<OracleEvent>,
    /// Catalogue records that have arrived.
    catalogue: Arrivals,
    /// Controls that have arrived.
    controls: Vec<OracleControl>,
    /// Whether the input has ended.
    ended: bool,
    /// End of the last tick at which anything can have changed.
    last: Option<TickEnd>,
    /// Ticks with evaluations; with a catalogue or controls all ticks.
    ticks: Vec<EvaluatedTick>,
}

impl Schedule<'_> {
    /// The times strictly between `from` and `to` at which R or what is eligible can change without an arrival: the time of
    /// a future event, the end of an event's retention, the time at which an event no longer keeps its user in the
    /// audience, the end of a skip, the time of a control, and those of the [catalogue](Arrivals::due_times).
    ///
    /// Between two of them neither changes: R(t) depends on t only through what is retained, who is in the audience,
    /// which skips are in force, which controls act, and what is eligible.
    fn due_times_between(&self, from: u64, to: u64) -> BTreeSet<u64> {
        let mut times = self.catalogue.due_times();
        times.extend(self.controls.iter().map(|control| control.ts));
        for event in &self.arrived {
            let expiry = event.ts.checked_add(self.params.retention);
            let exit = self.params.audience.and_then(|audience| event.ts.checked_add(audience));
            times.extend([Some(event.ts), expiry, exit, end_of_skip(event, self.params)].into_iter().flatten());
        }
        times.into_iter().filter(|t| from < *t && *t < to).collect()
    }

    /// A tick of the milliseconds from `since` to `at` in which these catalogue records arrive.
    ///
    /// > With D = 0 every tick is an evaluation of all users.
    ///
    /// > Several reasons in one tick are one evaluation, of `R_u` at the end of the tick.
    fn tick(&mut self, since: u64, at: u64, records: &[OracleItemRecord]) {
        self.catalogue.tick(at, records);
        let end = TickEnd::new(self.world(), self.params, at);
        let users = if self.params.refresh == 0 {
            self.all_users()
        } else {
            let before = self.last.as_ref();
            let mut users = own_actions(before, &end);
            users.extend(entering_and_leaving(before, &end));
            users.extend(at_boundaries(before, since, &end, self.params));
            users
        };
        self.last = Some(end);
        self.evaluate(at, users);
    }

    /// The boundaries strictly between the last tick and the next one, which is at `next`. Nothing arrives between them
    /// and nothing but boundaries falls due.
    ///
    /// Of each user there is only the first of them. At a second one R is what it was at the first, so the user's
    /// standing list is already R: the evaluation finds no difference and emits nothing. It would leave the same pool too,
    /// as nothing was struck in between: items are lost only at due times. Only the boundaries of users in the audience
    /// matter, and no user enters or leaves in between.
    fn boundaries_before(&mut self, next: u64) {
        let Some(TickEnd { at: last, audience, .. }) = &self.last else { return };
        let mut at_boundary: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for user in audience {
            let boundary = boundary_from(user, last + 1, self.params);
            if boundary < next {
                at_boundary.entry(boundary).or_default().insert(user.clone());
            }
        }
        for (at, users) in at_boundary {
            self.evaluate(at, users);
        }
    }

    /// > **End.** After the last tick of an input that has an end, all users of the audience are evaluated once more, in a
    /// > tick of its own at the same millisecond; without ticks since a restart, at that of the tick from which the run
    /// > resumed.
    ///
    /// > A record that is ahead of the clock at the end of a finite input acts in the tick of the end.
    ///
    /// So does a control, and may let a user enter or leave the audience in this tick.
    ///
    /// A resumed run without ticks ends at the last tick before the restart.
    fn end(&mut self) {
        let Some(at) = self.last.as_ref().map(|last| last.at) else { return };
        self.catalogue.end();
        self.ended = true;
        let end = TickEnd::new(self.world(), self.params, at);
        let users = if self.params.refresh == 0 {
            self.all_users()
        } else {
            let mut users = own_actions(self.last.as_ref(), &end);
            users.extend(entering_and_leaving(self.last.as_ref(), &end));
            users.extend(end.audience.iter().cloned());
            users
        };
        self.last = Some(end);
        self.evaluate(at, users);
    }

    /// > No viewer is evaluated because of the restart, but for users who have a list in the output and are not in the
    /// > audience any more: they get the empty list in a tick at the millisecond from which the run resumes, and viewers
    /// > whose list in the output has an item that is not eligible, or of the target of a `not_interested` of theirs that
    /// > stands: they are evaluated in that tick.
    ///
    /// The former. [`standing`](super::standing) finds the latter.
    fn resume(&mut self, resumed: &Resumed) {
        let Resumed { at, events, records, controls, standing } = resumed;
        self.arrived.clone_from(events);
        self.catalogue = Arrivals::resumed(records, *at);
        self.controls.clone_from(controls);
        self.last = Some(TickEnd::new(self.world(), self.params, *at));
        let history = history(self.world(), self.params, *at);
        let audience = audience(self.world(), &history, self.params, *at);
        let listed = standing.iter().filter(|(_, list)| !list.is_empty()).map(|(user, _)| user);
        let left = listed.filter(|user| !audience.contains(user.as_str())).cloned().collect();
        self.evaluate(*at, left);
    }

    /// Evaluates these users in a tick. Every tick comes through here.
    fn evaluate(&mut self, at: u64, users: BTreeSet<String>) {
        let unchanged_since = self.last.as_ref().expect("a tick has an end").at;
        if !users.is_empty() || self.params.catalogue.is_some() || !self.controls.is_empty() {
            let (records, controls) = (self.catalogue.counted(self.params), self.controls.clone());
            let arrived = self.arrived.len();
            self.ticks.push(EvaluatedTick {
                at,
                users,
                arrived,
                records,
                controls,
                ended: self.ended,
                unchanged_since,
            });
        }
    }

    /// Events and controls that have arrived. The rules of this file do not depend on the catalogue.
    fn world(&self) -> World<'_> {
        World { events: &self.arrived, records: &[], controls: &self.controls, ended: self.ended }
    }

    /// Every user who can have a list.
    fn all_users(&self) -> BTreeSet<String> {
        self.arrived.iter().map(|event| event.user.clone()).collect()
    }
}
