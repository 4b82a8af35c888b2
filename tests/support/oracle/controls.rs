//! Controls: `docs/semantics.md`, "Controls", one function per definition.
//!
//! Records are as after reading: their names are valid, the target of a category is its levels, joined by ` > `, and an
//! undone `pause` or `personal_off` is the `resume` or `personal_on` that it means.
//!
//! Pauses act as the set of records says. So a `pause` or `resume` must not come late.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::ItemState;
use super::{OracleEffect, OracleEvent, World};

/// > Of a user's switches the 1,000 with the newest holding records are **in force**
pub(crate) const SWITCHES: usize = 1_000;

/// > Of the forgets of a user with `ts <= t` the 1,000 newest are in force
pub(crate) const FORGETS: usize = 1_000;

/// > Of these records the 128 newest are in force
pub(crate) const PAUSES: usize = 128;

/// > A control is a user's own word on what is known of them and shown to them: a user, a `control`, a time `ts`, and for
/// > some a `scope` and a `target`.
///
/// > Two controls are one if all of it is equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OracleControl {
    /// Name of the user.
    pub(crate) user: String,
    /// Time in milliseconds.
    pub(crate) ts: u64,
    /// What it says.
    pub(crate) word: ControlWord,
}

/// What a control says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ControlWord {
    /// A switch is turned on, or off.
    Switch(OracleSwitch, bool),
    /// What the user did with this item, or with all items, is void.
    Forget(Option<String>),
    /// What the user does does not count.
    Pause,
    /// It counts again.
    Resume,
    /// The user has no list.
    PersonalOff,
    /// The user has one again.
    PersonalOn,
}

/// > `not_interested` and `less` are switches, one for each (control, scope, target)
///
/// The order of the fields and of their variants is that of the text:
///
/// > then control (`less` above `not_interested`), then scope (in the order `item`, `room`, `host`, `brand`, `category`,
/// > `tag`, the later the greater), then the bytes of the target, the greater the newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OracleSwitch {
    /// What it does.
    pub(crate) wish: Wish,
    /// What its target is.
    pub(crate) scope: TargetScope,
    /// Its target.
    pub(crate) target: String,
}

/// What a switch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// What is of the target is not recommended.
    NotInterested,
    /// What is of the target counts a quarter.
    Less,
}

/// What the target of a switch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TargetScope {
    Item,
    Room,
    Host,
    Brand,
    Category,
    Tag,
}

impl TargetScope {
    /// All of them, in the order of the text.
    pub(crate) const ALL: [TargetScope; 6] = [
        TargetScope::Item,
        TargetScope::Room,
        TargetScope::Host,
        TargetScope::Brand,
        TargetScope::Category,
        TargetScope::Tag,
    ];
}

/// The levels of the path of a category.
fn levels(path: &str) -> Vec<&str> {
    path.split('>').map(str::trim).collect()
}

/// > **Of a target** is an item: of the scope `item` the one of that name; `room` the item of that name, and each whose
/// > `room` names it; `host` and `brand` each whose field has that value; `category` each with a category that is the
/// > target or below it, level by level; `tag` each that has the tag in one of its tag groups.
///
/// Takes the state of the item, if it had a record.
pub(crate) fn is_of_target(scope: TargetScope, target: &str, item: &str, state: Option<&ItemState>) -> bool {
    let has = |field: &str| state.is_some_and(|state| state.elements(field).contains(&target));
    let is = |field: &str| state.is_some_and(|state| state.text(field) == Some(target));
    match scope {
        TargetScope::Item => item == target,
        TargetScope::Room => item == target || has("room"),
        TargetScope::Host => is("host"),
        TargetScope::Brand => is("brand"),
        TargetScope::Category => state.is_some_and(|state| {
            state.elements("category").iter().any(|path| levels(path).starts_with(&levels(target)))
        }),
        TargetScope::Tag => state.is_some_and(|state| {
            state.values.keys().any(|field| field.starts_with("tags:") && state.elements(field).contains(&target))
        }),
    }
}

/// The controls of one user that act at one time. Each is there once.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserControls<'c>(BTreeSet<&'c OracleControl>);

/// A forget: its `ts`, and its item or `None` for everything.
type Forget<'c> = (u64, Option<&'c str>);

impl<'c> UserControls<'c> {
    /// The switches in force with their holding records, the newest first.
    ///
    /// > Of the records of a switch with `ts <= t` the one with the largest `ts` holds; at equal `ts` one that turns it on.
    /// > Of a user's switches the 1,000 with the newest holding records are **in force**, by `ts`, then control [...]
    fn switches_in_force(&self) -> Vec<(u64, &'c OracleSwitch, bool)> {
        let mut holding: BTreeMap<&OracleSwitch, (u64, bool)> = BTreeMap::new();
        for control in &self.0 {
            if let ControlWord::Switch(switch, on) = &control.word {
                let holds = holding.entry(switch).or_insert((control.ts, *on));
                *holds = (control.ts, *on).max(*holds);
            }
        }
        let mut switches: Vec<_> = holding.into_iter().map(|(switch, (ts, on))| (ts, switch, on)).collect();
        switches.sort_by_key(|(ts, switch, _)| Reverse((*ts, *switch)));
        switches.truncate(SWITCHES);
        switches
    }

    /// > A switch in force **stands** if it is on.
    pub(crate) fn standing(&self) -> BTreeSet<&'c OracleSwitch> {
        self.switches_in_force().into_iter().filter(|(_, _, on)| *on).map(|(_, switch, _)| switch).collect()
    }

    /// Whether an item is of the target of such a switch that stands.
    fn is_of_a_standing(&self, wish: Wish, item: &str, items: &BTreeMap<String, ItemState>) -> bool {
        let is_of = |switch: &OracleSwitch| is_of_target(switch.scope, &switch.target, item, items.get(item));
        self.standing().into_iter().any(|switch| switch.wish == wish && is_of(switch))
    }

    /// > Of any scope: what is of its target is no candidate for the user.
    ///
    /// Takes the states of the items that had a record.
    pub(crate) fn is_unwanted(&self, item: &str, items: &BTreeMap<String, ItemState>) -> bool {
        self.is_of_a_standing(Wish::NotInterested, item, items)
    }

    /// > If an item is of the target of a `less` that stands, its total for the user is a quarter, `floor(total / 4)`, once
    /// > however many stand.
    pub(crate) fn counts_less(&self, item: &str, items: &BTreeMap<String, ItemState>) -> bool {
        self.is_of_a_standing(Wish::Less, item, items)
    }

    /// The items of which a `not_interested` of the scope `item` stands.
    ///
    /// > While a `not_interested` of the scope `item` stands, [...] the item is [kept out](super::taking_back).
    pub(crate) fn unwanted_items(&self) -> BTreeSet<&'c str> {
        let of_an_item =
            |switch: &&OracleSwitch| switch.wish == Wish::NotInterested && switch.scope == TargetScope::Item;
        self.standing().into_iter().filter(of_an_item).map(|switch| switch.target.as_str()).collect()
    }

    /// The forgets in force, and the others, the newest first.
    ///
    /// > Of the forgets of a user with `ts <= t` the 1,000 newest are in force, by `ts`, then the bytes of the target, no
    /// > target being the least.
    fn forgets(&self) -> (Vec<Forget<'c>>, Vec<Forget<'c>>) {
        let mut forgets: Vec<Forget> = Vec::new();
        for control in &self.0 {
            if let ControlWord::Forget(item) = &control.word {
                forgets.push((control.ts, item.as_deref()));
            }
        }
        forgets.sort_by_key(|forget| Reverse(*forget));
        let others = forgets.split_off(forgets.len().min(FORGETS));
        (forgets, others)
    }

    /// > A `forget` covers the events of its user on its item, or without a target all events, with `ts` not above its own.
    ///
    /// > If there are more, all events with `ts` up to that of the newest of the others are covered.
    ///
    /// Takes an event of the user.
    pub(crate) fn covers(&self, event: &OracleEvent) -> bool {
        let (in_force, others) = self.forgets();
        let is_covered_by =
            |(ts, item): &Forget| event.ts <= *ts && item.is_none_or(|item| item == event.item.as_str());
        in_force.iter().any(is_covered_by) || others.first().is_some_and(|(ts, _)| event.ts <= *ts)
    }

    /// > While a `not_interested` of the scope `item` stands, all events of its user on the item are void, whatever their
    /// > `ts`
    ///
    /// > What is covered is void.
    ///
    /// Whether a control makes an event of the user void.
    pub(crate) fn voids(&self, event: &OracleEvent) -> bool {
        self.covers(event) || self.unwanted_items().contains(event.item.as_str())
    }

    /// The records of pauses in force, and the others, the newest first: `ts`, and whether it is a `pause`.
    ///
    /// > Of these records the 128 newest are in force, at equal `ts` a `pause` the newer
    fn pauses(&self) -> (Vec<(u64, bool)>, Vec<(u64, bool)>) {
        let mut records = Vec::new();
        for control in &self.0 {
            match control.word {
                ControlWord::Pause => records.push((control.ts, true)),
                ControlWord::Resume => records.push((control.ts, false)),
                _ => {}
            }
        }
        records.sort_by_key(|record| Reverse(*record));
        let others = records.split_off(records.len().min(PAUSES));
        (records, others)
    }

    /// > An event of a user is **paused** if of the records with `ts` not above its own the one with the largest `ts` is a
    /// > `pause`; at equal `ts` a `pause` holds.
    ///
    /// > if there are more, every event before the oldest in force is paused
    ///
    /// Takes an event of the user.
    pub(crate) fn pauses_event(&self, event: &OracleEvent) -> bool {
        let (in_force, others) = self.pauses();
        let is_before_all = in_force.iter().all(|(ts, _)| *ts > event.ts);
        if is_before_all && !others.is_empty() {
            return true;
        }
        let last = in_force.into_iter().filter(|(ts, _)| *ts <= event.ts).max();
        last.is_some_and(|(_, pauses)| pauses)
    }

    /// > The latest of `personal_off` and `personal_on` with `ts <= t` is in force; at equal `ts` `personal_off`.
    fn personal(&self) -> Option<(u64, bool)> {
        let record = |control: &&OracleControl| match control.word {
            ControlWord::PersonalOff => Some((control.ts, true)),
            ControlWord::PersonalOn => Some((control.ts, false)),
            _ => None,
        };
        self.0.iter().filter_map(record).max()
    }

    /// > While it is `personal_off` the user is not in the audience, and has no list.
    pub(crate) fn has_no_list(&self) -> bool {
        self.personal().is_some_and(|(_, is_off)| is_off)
    }

    /// The controls that are in force: holding records of switches in force, forgets, pauses and resumes, and the latest
    /// word on personal lists.
    pub(crate) fn in_force(&self) -> BTreeSet<OracleControl> {
        let mut words: BTreeSet<(u64, ControlWord)> = BTreeSet::new();
        words.extend(
            self.switches_in_force().into_iter().map(|(ts, switch, on)| (ts, ControlWord::Switch(switch.clone(), on))),
        );
        words.extend(self.forgets().0.into_iter().map(|(ts, item)| (ts, ControlWord::Forget(item.map(str::to_owned)))));
        let pause = |pauses| if pauses { ControlWord::Pause } else { ControlWord::Resume };
        words.extend(self.pauses().0.into_iter().map(|(ts, pauses)| (ts, pause(pauses))));
        let personal = |is_off| if is_off { ControlWord::PersonalOff } else { ControlWord::PersonalOn };
        words.extend(self.personal().map(|(ts, is_off)| (ts, personal(is_off))));
        let is_in_force = |control: &&&OracleControl| words.contains(&(control.ts, control.word.clone()));
        self.0.iter().filter(is_in_force).map(|control| (*control).clone()).collect()
    }
}

impl<'w> World<'w> {
    /// > it acts in the tick in which it arrives, or at its own millisecond if that is later.
    ///
    /// > One that is ahead of the clock at the end of a finite input acts in the tick of the end, whatever its `ts`.
    ///
    /// The controls of each user that act at t. Users without one are absent.
    pub(crate) fn controls_at(&self, t: u64) -> BTreeMap<&'w str, UserControls<'w>> {
        let mut by_user: BTreeMap<&str, UserControls> = BTreeMap::new();
        for control in self.controls.iter().filter(|control| self.ended || control.ts <= t) {
            by_user.entry(&control.user).or_default().0.insert(control);
        }
        by_user
    }

    /// > A paused event, of whatever action, moves the clock and counts for the audience, as a watch without a level does,
    /// > and for nothing else.
    ///
    /// The events as they act at t.
    pub(crate) fn acting_events(&self, t: u64) -> Vec<OracleEvent> {
        let controls = self.controls_at(t);
        let is_paused =
            |event: &OracleEvent| controls.get(event.user.as_str()).is_some_and(|of_user| of_user.pauses_event(event));
        let effect = |event: &OracleEvent| if is_paused(event) { OracleEffect::Attends } else { event.effect };
        self.events.iter().map(|event| OracleEvent { effect: effect(event), ..event.clone() }).collect()
    }
}

/// The controls of all users that are in force at t.
pub(crate) fn controls_in_force(world: World, t: u64) -> BTreeSet<OracleControl> {
    world.controls_at(t).values().flat_map(UserControls::in_force).collect()
}
