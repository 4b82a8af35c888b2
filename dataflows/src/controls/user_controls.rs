//! The controls of one user that are in force, and what they mean.

use std::cmp::Reverse;

use schema::{Control, ControlScope, IdMap, Switch, Wish};

use super::{Class, ControlRecord, Preference};
use crate::ItemId;

/// Switches of a user that are in force, at most.
const MAX_SWITCHES: usize = 1_000;
/// Forgets of a user that are in force, at most.
const MAX_FORGETS: usize = 1_000;
/// Records of pauses of a user that are in force, at most.
const MAX_PAUSES: usize = 128;

/// The controls of one user, each kind the newest first.
///
/// They are a function of the set of records: what a bound drops is older than all that is kept, and what is kept only gets
/// newer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UserControls {
    /// The record that holds, for each switch.
    switches: Vec<SwitchRecord>,
    forgets: Vec<Forget>,
    /// Timestamp of the newest forget that was dropped: all events up to it are covered.
    dropped_forget: Option<u64>,
    /// Timestamp, and whether it is a pause.
    pauses: Vec<(u64, bool)>,
    /// Whether pauses or resumes were dropped: then all before the oldest that is kept is paused.
    has_dropped_pauses: bool,
    /// Timestamp of the latest `personal_off` or `personal_on`, and whether it is `personal_off`.
    personal: Option<(u64, bool)>,
}

/// The derived order is that of the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SwitchRecord {
    ts: u64,
    switch: Switch,
    on: bool,
    /// The item of the target's name.
    item: Option<ItemId>,
}

/// The derived order is that of the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Forget {
    ts: u64,
    name: Option<Box<str>>,
    item: Option<ItemId>,
}

impl UserControls {
    /// The controls with these records of the user as well.
    pub(super) fn with(&self, records: Vec<ControlRecord>) -> UserControls {
        let mut all = self.clone();
        // What was dropped is a record too when a snapshot is loaded, and then the first to be dropped again.
        for ControlRecord { ts, control, item, .. } in records {
            match control {
                Control::Switch { switch, on } => {
                    let known = all.switches.iter_mut().find(|known| known.switch == switch);
                    match known {
                        Some(known) if (known.ts, known.on) >= (ts, on) => {}
                        Some(known) => (known.ts, known.on) = (ts, on),
                        None => all.switches.push(SwitchRecord { ts, switch, on, item }),
                    }
                }
                Control::Forget { item: name } => all.forgets.push(Forget { ts, name, item }),
                Control::Pause => all.pauses.push((ts, true)),
                Control::Resume => all.pauses.push((ts, false)),
                Control::PersonalOff => all.personal = all.personal.max(Some((ts, true))),
                Control::PersonalOn => all.personal = all.personal.max(Some((ts, false))),
            }
        }
        newest_first(&mut all.switches);
        all.switches.truncate(MAX_SWITCHES);
        newest_first(&mut all.forgets);
        all.dropped_forget = all.dropped_forget.max(all.forgets.get(MAX_FORGETS).map(|forget| forget.ts));
        all.forgets.truncate(MAX_FORGETS);
        newest_first(&mut all.pauses);
        all.has_dropped_pauses |= all.pauses.len() > MAX_PAUSES;
        all.pauses.truncate(MAX_PAUSES);
        all
    }

    /// Whether a control is in force that is not in force in `before`.
    pub(super) fn has_new(&self, before: &UserControls) -> bool {
        has_new(&self.switches, &before.switches)
            || has_new(&self.forgets, &before.forgets)
            || has_new(&self.pauses, &before.pauses)
            || (self.personal.is_some() && self.personal != before.personal)
    }

    /// Records that make the same state: timestamp, control, and the item that it names.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, Control, Option<ItemId>)> {
        let switches = self.switches.iter().map(|SwitchRecord { ts, switch, on, item }| {
            (*ts, Control::Switch { switch: switch.clone(), on: *on }, *item)
        });
        let forget = |Forget { ts, name, item }: &Forget| (*ts, Control::Forget { item: name.clone() }, *item);
        let dropped = self.dropped_forget.map(|ts| (ts, Control::Forget { item: None }, None));
        let pause = |ts, pauses| (ts, if pauses { Control::Pause } else { Control::Resume }, None);
        let dropped_pauses = self.has_dropped_pauses.then(|| pause(0, true));
        let personal = self.personal.map(|(ts, off)| {
            let control = if off { Control::PersonalOff } else { Control::PersonalOn };
            (ts, control, None)
        });
        switches
            .chain(self.forgets.iter().map(forget))
            .chain(dropped)
            .chain(self.pauses.iter().map(move |(ts, pauses)| pause(*ts, *pauses)))
            .chain(dropped_pauses)
            .chain(personal)
    }

    /// The switches that stand.
    fn standing(&self) -> impl Iterator<Item = &SwitchRecord> {
        self.switches.iter().filter(|record| record.on)
    }

    /// What is wished for items.
    pub(super) fn preferences(&self) -> Vec<Preference> {
        let preference = |SwitchRecord { switch: Switch { wish, scope, target }, item, .. }: &SwitchRecord| {
            Preference { class: Class::new(*scope, target), wish: *wish, item: *item }
        };
        self.standing().map(preference).collect()
    }

    /// What the controls mean for events.
    pub(super) fn of_events(&self) -> EventControls {
        let not_interested = self
            .standing()
            .filter(|record| (record.switch.wish, record.switch.scope) == (Wish::NotInterested, ControlScope::Item));
        let mut not_interested: Vec<ItemId> = not_interested.filter_map(|record| record.item).collect();
        not_interested.sort_unstable();
        let mut forgotten: IdMap<u64> = IdMap::default();
        let mut everything = self.dropped_forget;
        for Forget { ts, item, .. } in &self.forgets {
            match item {
                Some(item) => {
                    let until = forgotten.entry(*item).or_default();
                    *until = (*until).max(*ts);
                }
                None => everything = everything.max(Some(*ts)),
            }
        }
        EventControls {
            not_interested: not_interested.into(),
            forgotten,
            everything,
            pauses: self.pauses.as_slice().into(),
            is_paused_before: self.has_dropped_pauses,
            has_list: self.personal.is_none_or(|(_, off)| !off),
        }
    }
}

fn newest_first<T: Ord>(records: &mut Vec<T>) {
    records.sort_unstable_by(|a, b| b.cmp(a));
    records.dedup();
}

/// Whether something is in the one and not in the other; both are in descending order.
fn has_new<T: Ord>(after: &[T], before: &[T]) -> bool {
    after.iter().any(|record| before.binary_search_by_key(&Reverse(record), Reverse).is_err())
}

/// What the controls of a user mean for the user's events.
#[derive(Clone, Debug)]
pub struct EventControls {
    /// Items whose events are void, and that are kept out of the list: ascending.
    not_interested: Box<[ItemId]>,
    /// Timestamp up to which the events on an item are covered.
    forgotten: IdMap<u64>,
    /// Timestamp up to which all events are covered.
    everything: Option<u64>,
    /// Timestamp, and whether it is a pause: the newest first.
    pauses: Box<[(u64, bool)]>,
    is_paused_before: bool,
    has_list: bool,
}

impl EventControls {
    /// What these records of a user mean.
    #[cfg(test)]
    pub(crate) fn of(records: Vec<ControlRecord>) -> Self {
        UserControls::default().with(records).of_events()
    }

    /// Whether an event at this time is paused.
    pub(crate) fn is_paused(&self, ts: u64) -> bool {
        let at = self.pauses.partition_point(|(since, _)| *since > ts);
        self.pauses.get(at).map_or(self.is_paused_before, |(_, pauses)| *pauses)
    }

    /// Whether an event is covered by a `forget`.
    pub(crate) fn covers(&self, item: ItemId, ts: u64) -> bool {
        self.everything.is_some_and(|until| ts <= until) || self.forgotten.get(&item).is_some_and(|until| ts <= *until)
    }

    /// Whether an event is of no interest for trending lists.
    pub(crate) fn excludes(&self, item: ItemId, ts: u64) -> bool {
        self.is_paused(ts) || self.covers(item, ts)
    }

    /// Whether an event is void because of a control.
    pub(crate) fn voids(&self, item: ItemId, ts: u64) -> bool {
        self.covers(item, ts) || self.not_interested.binary_search(&item).is_ok()
    }

    /// Whether any event on the item may be void because of a control.
    pub(crate) fn may_void(&self, item: ItemId) -> bool {
        self.everything.is_some()
            || self.forgotten.contains_key(&item)
            || self.not_interested.binary_search(&item).is_ok()
    }

    /// Items that are kept out of the list.
    pub(crate) fn kept_out(&self) -> &[ItemId] {
        &self.not_interested
    }

    /// Whether the user has a list, if in the audience.
    pub(crate) fn has_list(&self) -> bool {
        self.has_list
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(ts: u64, control: Control) -> ControlRecord {
        // A different id for each name of a test.
        let item = control.item().map(|name| name.bytes().fold(7, |id: u64, byte| id * 31 + u64::from(byte)));
        ControlRecord { user: 1, ts, control, item }
    }

    fn switch(wish: Wish, scope: ControlScope, target: &str, on: bool) -> Control {
        Control::Switch { switch: Switch { wish, scope, target: target.into() }, on }
    }

    fn any_control(names: u32) -> impl Strategy<Value = Control> {
        let name = (0..names).prop_map(|name| format!("n{name}"));
        let wish = prop::sample::select(&Wish::ALL);
        let scope = prop::sample::select(&ControlScope::ALL);
        let switches = (wish, scope, name.clone(), any::<bool>()).prop_map(|(wish, scope, name, on)| {
            let scope = if wish.allows(scope) { scope } else { ControlScope::Tag };
            switch(wish, scope, &name, on)
        });
        let forget = prop::option::weighted(0.9, name).prop_map(|item| Control::Forget { item: item.map(Into::into) });
        let rest = [Control::Pause, Control::Resume, Control::PersonalOff, Control::PersonalOn];
        prop_oneof![4 => switches, 2 => forget, 2 => prop::sample::select(rest.to_vec())]
    }

    fn any_records() -> impl Strategy<Value = Vec<ControlRecord>> {
        let few = prop::collection::vec((0..20_u64, any_control(4)), 0..40);
        // Beyond all bounds.
        let many = prop::collection::vec((0..3_000_u64, any_control(400)), 3_000..6_000);
        let drawn = prop_oneof![8 => few, 1 => many];
        drawn.prop_map(|drawn| drawn.into_iter().map(|(ts, control)| record(ts, control)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Neither the order of records nor repetitions matter, and what is stored makes the same state.
        #[test]
        fn the_state_is_a_function_of_the_set_of_records(
            (records, shuffled) in any_records().prop_flat_map(|records| {
                (Just(records.clone()), Just(records).prop_shuffle())
            }),
            batch in prop::sample::select(vec![1_usize, 7, 1_000]),
        ) {
            let whole = UserControls::default().with(records.clone());
            // One by one the largest take seconds.
            let batch = if records.len() > 100 { batch.max(100) } else { batch };
            let batched = shuffled.chunks(batch).fold(UserControls::default(), |of, batch| of.with(batch.to_vec()));
            prop_assert_eq!(&batched, &whole);
            prop_assert_eq!(&whole.with(records[..records.len() / 2].to_vec()), &whole);
            prop_assert!(!whole.has_new(&batched));
            let stored = whole.records().map(|(ts, control, item)| ControlRecord { user: 1, ts, control, item });
            let stored: Vec<_> = stored.collect();
            prop_assert_eq!(&UserControls::default().with(stored), &whole);
        }
    }

    fn of(records: &[(u64, Control)]) -> UserControls {
        UserControls::default().with(records.iter().map(|(ts, control)| record(*ts, control.clone())).collect())
    }

    #[test]
    fn the_latest_record_of_a_switch_holds_and_on_beats_off() {
        let host = |on| switch(Wish::Less, ControlScope::Host, "h1", on);
        let wishes = |records: &[(u64, Control)]| of(records).preferences().len();
        assert_eq!(wishes(&[(5, host(true))]), 1);
        assert_eq!(wishes(&[(5, host(true)), (6, host(false))]), 0);
        assert_eq!(wishes(&[(6, host(false)), (5, host(true))]), 0);
        assert_eq!(wishes(&[(5, host(false)), (5, host(true))]), 1);
        let item = switch(Wish::NotInterested, ControlScope::Item, "p1", true);
        let controls = of(&[(5, item.clone())]);
        assert_eq!((controls.preferences().len(), controls.of_events().kept_out().len()), (1, 1));
        assert!(controls.has_new(&UserControls::default()) && !controls.has_new(&of(&[(5, item), (3, host(true))])));
    }

    #[test]
    fn a_pause_counts_from_its_own_time_and_wins_a_tie() {
        let controls = of(&[(10, Control::Pause), (20, Control::Resume), (30, Control::Resume), (30, Control::Pause)]);
        let paused = |ts| controls.of_events().is_paused(ts);
        assert_eq!([9, 10, 19, 20, 29, 30, 99].map(paused), [false, true, true, false, false, true, true]);
        let many: Vec<_> =
            (0..130).map(|n| (100 + n, if n % 2 == 0 { Control::Pause } else { Control::Resume })).collect();
        let controls = of(&many).of_events();
        // The two oldest are dropped: all before the oldest that is left is paused.
        assert_eq!(
            [0, 99, 101, 103, 104, 105].map(|ts| controls.is_paused(ts)),
            [true, true, true, false, true, false]
        );
    }

    #[test]
    fn what_is_beyond_the_bound_of_forgets_covers_everything() {
        let forget = |n: u64| (100 + n, Control::Forget { item: Some(format!("n{n}").into()) });
        let controls = of(&(0..1_001).map(forget).collect::<Vec<_>>()).of_events();
        assert!(controls.covers(5, 100) && !controls.covers(5, 101));
        let everything = of(&[(7, Control::Forget { item: None })]).of_events();
        assert!(everything.covers(5, 7) && !everything.covers(5, 8) && everything.may_void(5));
    }

    #[test]
    fn personal_off_wins_a_tie() {
        let has_list = |records: &[(u64, Control)]| of(records).of_events().has_list();
        assert!(has_list(&[]) && !has_list(&[(5, Control::PersonalOff)]));
        assert!(has_list(&[(6, Control::PersonalOn), (5, Control::PersonalOff)]));
        assert!(!has_list(&[(6, Control::PersonalOn), (6, Control::PersonalOff)]));
    }
}
