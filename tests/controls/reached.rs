//! What of the rules the random scripts reach.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::SIZES;
use crate::support::graph::Tick;
use crate::support::oracle::catalogue::OracleItemRecord;
use crate::support::oracle::controls::{ControlWord, OracleControl, TargetScope, Wish, controls_in_force};
use crate::support::oracle::evaluations::Run;
use crate::support::oracle::reasons::{Reason, ReasonSource};
use crate::support::oracle::standing::for_each_tick;
use crate::support::oracle::taking_back::{in_force, kept_out};
use crate::support::oracle::trending::{RoomEvent, Trending, interesting, lists as trending_lists};
use crate::support::oracle::{OracleEffect, OracleEvent, Params, World, audience, history, lists};
use crate::support::scripts::{Said, params_of_scripts, scripts, taken};

/// Numbers of scripts that reach a rule.
#[derive(Debug, Default)]
struct Reached(BTreeMap<&'static str, usize>);

impl Reached {
    fn count(&mut self, rule: &'static str, is_reached: bool) {
        *self.0.entry(rule).or_default() += usize::from(is_reached);
    }
}

/// What had arrived after a tick.
#[derive(Clone, Default)]
struct Arrived {
    at: u64,
    events: Vec<OracleEvent>,
    records: Vec<OracleItemRecord>,
    controls: Vec<OracleControl>,
}

impl Arrived {
    fn world<'w>(&'w self, controls: &'w [OracleControl]) -> World<'w> {
        World { events: &self.events, records: &self.records, controls, ended: false }
    }

    /// The controls without some.
    fn without(&self, is_left_out: impl Fn(&ControlWord) -> bool) -> Vec<OracleControl> {
        self.controls.iter().filter(|control| !is_left_out(&control.word)).cloned().collect()
    }

    /// The events, in no room.
    fn in_no_room(&self) -> Vec<RoomEvent> {
        self.events.iter().map(|event| (event.clone(), None)).collect()
    }
}

fn after_each(ticks: &[Tick]) -> Vec<Arrived> {
    let mut arrived = Arrived::default();
    let after = |tick: &Tick| {
        arrived.at = tick.at;
        arrived.events.extend(tick.events.iter().cloned());
        arrived.records.extend(tick.records.iter().cloned());
        arrived.controls.extend(tick.controls.iter().cloned());
        arrived.clone()
    };
    ticks.iter().map(after).collect()
}

/// Whether a word is such a switch.
fn is_switch(word: &ControlWord, wish: Wish, scope: TargetScope) -> bool {
    matches!(word, ControlWord::Switch(switch, _) if switch.wish == wish && switch.scope == scope)
}

fn is_forget(word: &ControlWord, of_an_item: bool) -> bool {
    matches!(word, ControlWord::Forget(item) if item.is_some() == of_an_item)
}

fn is_pause(word: &ControlWord) -> bool {
    matches!(word, ControlWord::Pause | ControlWord::Resume)
}

fn is_personal(word: &ControlWord) -> bool {
    matches!(word, ControlWord::PersonalOff | ControlWord::PersonalOn)
}

/// Kinds of controls of which each changes lists.
const KINDS: [(&str, fn(&ControlWord) -> bool); 14] = [
    ("not interested in an item", |word| is_switch(word, Wish::NotInterested, TargetScope::Item)),
    ("not interested in a room", |word| is_switch(word, Wish::NotInterested, TargetScope::Room)),
    ("not interested in a host", |word| is_switch(word, Wish::NotInterested, TargetScope::Host)),
    ("not interested in a brand", |word| is_switch(word, Wish::NotInterested, TargetScope::Brand)),
    ("not interested in a category", |word| is_switch(word, Wish::NotInterested, TargetScope::Category)),
    ("not interested in a tag", |word| is_switch(word, Wish::NotInterested, TargetScope::Tag)),
    ("less of a host", |word| is_switch(word, Wish::Less, TargetScope::Host)),
    ("less of a brand", |word| is_switch(word, Wish::Less, TargetScope::Brand)),
    ("less of a category", |word| is_switch(word, Wish::Less, TargetScope::Category)),
    ("less of a tag", |word| is_switch(word, Wish::Less, TargetScope::Tag)),
    ("forget an item", |word| is_forget(word, true)),
    ("forget everything", |word| is_forget(word, false)),
    ("pause and resume", is_pause),
    ("personal lists off", is_personal),
];

/// What the controls after one of the ticks change.
fn count_states(reached: &mut Reached, states: &[Arrived], params: &Params) {
    let any = |is_reached: &dyn Fn(&Arrived) -> bool| states.iter().any(is_reached);
    for (rule, is_left_out) in KINDS {
        reached.count(
            rule,
            any(&|now| {
                let (with, without) = (now.world(&now.controls), now.without(is_left_out));
                lists(with, params, now.at) != lists(now.world(&without), params, now.at)
            }),
        );
    }
    let undo = |word: &ControlWord| matches!(word, ControlWord::Switch(_, false));
    reached.count(
        "an undo that changes lists",
        any(&|now| {
            let without = now.without(undo);
            lists(now.world(&now.controls), params, now.at) != lists(now.world(&without), params, now.at)
        }),
    );
    reached.count(
        "forgets make events void",
        any(&|now| {
            let without = now.without(|word| is_forget(word, true) || is_forget(word, false));
            history(now.world(&now.controls), params, now.at) != history(now.world(&without), params, now.at)
        }),
    );
    reached.count(
        "pauses change a history",
        any(&|now| {
            let without = now.without(is_pause);
            history(now.world(&now.controls), params, now.at) != history(now.world(&without), params, now.at)
        }),
    );
    reached.count(
        "a resume that counts",
        any(&|now| {
            let without = now.without(|word| *word == ControlWord::Resume);
            history(now.world(&now.controls), params, now.at) != history(now.world(&without), params, now.at)
        }),
    );
    // With pauses and switches left as they are, what is kept out differs by forgets.
    reached.count(
        "a covered retraction or skip keeps nothing out",
        any(&|now| {
            let without = now.without(|word| is_forget(word, true) || is_forget(word, false));
            kept_out(now.world(&now.controls), params, now.at) != kept_out(now.world(&without), params, now.at)
        }),
    );
    reached.count(
        "a paused retraction or skip",
        any(&|now| {
            let without = now.without(is_pause);
            in_force(now.world(&now.controls), params, now.at) != in_force(now.world(&without), params, now.at)
        }),
    );
    reached.count(
        "a paused event keeps its user in the audience",
        any(&|now| {
            let world = now.world(&now.controls);
            let paused = world.acting_events(now.at);
            let is_paused = |event: &&OracleEvent| {
                paused.iter().any(|acts| {
                    let is_same = (&acts.user, &acts.item, acts.ts) == (&event.user, &event.item, event.ts);
                    is_same && acts.effect == OracleEffect::Attends && event.effect != OracleEffect::Attends
                })
            };
            let others: Vec<OracleEvent> = now.events.iter().filter(|event| !is_paused(event)).cloned().collect();
            let history = history(world, params, now.at);
            let without = World { events: &others, ..world };
            audience(world, &history, params, now.at) != audience(without, &history, params, now.at)
        }),
    );
    // The bucket is that of the scripts: their steps are a few milliseconds.
    let trending = Trending { k: 3, bucket: 5, buckets: 3 };
    let eligible = |now: &Arrived| now.world(&[]).eligible(params, now.at);
    for (rule, is_left_out) in [
        (
            "a forget changes a trending list",
            (|word| matches!(word, ControlWord::Forget(_))) as fn(&ControlWord) -> bool,
        ),
        ("a pause changes a trending list", is_pause),
    ] {
        reached.count(
            rule,
            any(&|now| {
                let of = |controls: &[OracleControl]| {
                    let events = interesting(&now.in_no_room(), controls, false, now.at);
                    trending_lists(&events, &eligible(now), trending, now.at)
                };
                of(&now.controls) != of(&now.without(is_left_out))
            }),
        );
    }
}

/// What the arrivals are like.
fn count_arrivals(reached: &mut Reached, ticks: &[Tick], states: &[Arrived]) {
    let any = |is_reached: &dyn Fn(&Tick, &OracleControl) -> bool| {
        ticks.iter().any(|tick| tick.controls.iter().any(|control| is_reached(tick, control)))
    };
    reached.count("late", any(&|tick, control| control.ts + 5 < tick.since));
    reached.count("ahead of the clock", any(&|tick, control| control.ts > tick.at));
    let repeats =
        |(tick, before): (&Tick, &Arrived)| tick.controls.iter().any(|control| before.controls.contains(control));
    reached.count("repeated", ticks.iter().skip(1).zip(states).any(repeats));
    let last = states.last().expect("a script has a tick");
    reached.count("ahead of the clock at the end", last.controls.iter().any(|control| control.ts > last.at));
    let is_not_in_force = |now: &Arrived| {
        let in_force = controls_in_force(now.world(&now.controls), now.at);
        now.controls.iter().any(|control| control.ts <= now.at && !in_force.contains(control))
    };
    reached.count("a record that is not in force", states.iter().any(is_not_in_force));
    let has_both = |tick: &Tick| {
        let acts = |control: &OracleControl| tick.events.iter().any(|event| event.user == control.user);
        tick.controls.iter().any(|control| is_pause(&control.word) && acts(control))
    };
    reached.count("a pause in the tick of an event", ticks.iter().any(has_both));
}

/// What happens in the ticks of a run.
fn count_run(reached: &mut Reached, ticks: &[Tick], params: &Params) {
    let coalesced: Vec<_> = ticks.iter().map(Tick::coalesced).collect();
    let silent: Vec<_> = ticks.iter().map(|tick| Tick { controls: Vec::new(), ..tick.clone() }.coalesced()).collect();
    let run = Run { resumed: None, ticks: &coalesced, ends: true };
    let without = Run { ticks: &silent, ..run };
    let events = run.events();
    let mut before: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut lost, mut of_less, mut beyond_why) = (false, false, false);
    let mut times: BTreeSet<(u64, String)> = BTreeSet::new();
    for_each_tick(&run, params, |tick, standing| {
        let eligible = tick.world(&events).eligible(params, tick.at);
        for (user, list) in standing {
            let now: BTreeSet<String> = list.items.iter().map(|(item, _)| item.clone()).collect();
            let old = before.insert(user.clone(), now.clone()).unwrap_or_default();
            let is_lost = |item: &String| !now.contains(item) && eligible.contains(item);
            if tick.users.contains(user) {
                times.insert((tick.at, user.clone()));
            } else if old.iter().any(is_lost) {
                lost = true;
            }
            let has_less =
                |reasons: &Vec<_>| reasons.last().is_some_and(|reason: &Reason| reason.source == ReasonSource::Less);
            of_less |= list.why.iter().any(has_less);
            beyond_why |= list.why.iter().any(|reasons| has_less(reasons) && reasons.len() > params.why);
        }
    });
    let mut times_without: BTreeSet<(u64, String)> = BTreeSet::new();
    for_each_tick(&without, params, |tick, _| {
        times_without.extend(tick.users.iter().map(|user| (tick.at, user.clone())));
    });
    if params.refresh > 0 {
        reached.count("an item lost by an attribute change", lost);
        let is_because_of_a_control = times.difference(&times_without).next().is_some();
        reached.count("an evaluation because of a control", is_because_of_a_control);
    }
    reached.count("the reason `less`", of_less);
    reached.count("the reason `less` beyond `why`", beyond_why);
}

#[test]
fn random_scripts_reach_every_rule_often() {
    let mut runner = TestRunner::deterministic();
    let mut reached = Reached::default();
    for _ in 0..300 {
        let (ticks, params) =
            (scripts(Said::Everything, 100, SIZES), params_of_scripts()).new_tree(&mut runner).unwrap().current();
        let ticks = taken(ticks, &params);
        let states = after_each(&ticks);
        // Every second state is enough.
        let some: Vec<Arrived> = states.iter().step_by(2).cloned().collect();
        count_states(&mut reached, &some, &params);
        count_arrivals(&mut reached, &ticks, &states);
        count_run(&mut reached, &ticks, &params);
    }
    for (rule, times) in &reached.0 {
        println!("{times:4} {rule}");
    }
    assert!(reached.0.values().all(|times| *times >= 8), "{reached:?}");
}
