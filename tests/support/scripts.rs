//! Random scripts: events, catalogue records and controls, mixed. Few users, items and attributes, so that what one does meets
//! what another says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::graph::Tick;
use super::logs::{Stated, catalogue_params, effect, ids, named, one_of, params_of_lists, skipped, some_of};
use super::oracle::catalogue::{OracleItemRecord, OracleStatement, OracleValue};
use super::oracle::controls::{ControlWord, OracleControl, OracleSwitch, TargetScope, Wish};
use super::oracle::diversity::Caps;
use super::oracle::{OracleEffect, OracleEvent, Params};

const USERS: u8 = 4;
const ITEMS: u8 = 9;

const ROOMS: [&str; 4] = ["r0", "r1", "p1", "h0"];
const HOSTS: [&str; 3] = ["h0", "h1", "p4"];
const BRANDS: [&str; 2] = ["b0", "b1"];
const CATEGORIES: [&str; 7] = ["A", "A > B", "A > B > C", "A > D", "AB", "E", "E > B"];
const TAGS: [&str; 4] = ["new", "sale", "red", "summer"];

/// Which controls a script has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// None.
    Nothing,
    /// Such that change no list.
    NothingOfNote,
    /// Controls of all kinds.
    Everything,
}

/// What arrives.
#[derive(Clone, Debug, PartialEq)]
enum Arrival {
    /// An event, and whether it waits for its time if the clock has not got there.
    Event(OracleEvent, bool),
    Record(OracleItemRecord),
    Control(OracleControl),
}

/// What is drawn for an arrival. The time is that of the clock, and some steps beside it.
#[derive(Clone, Debug)]
enum Drawn {
    Event { effect: OracleEffect },
    Record { statement: OracleStatement },
    Control { word: ControlWord, undoes: Option<Index> },
}

fn name(prefix: char, number: u8) -> String {
    format!("{prefix}{number}")
}

/// Fields of a record, which decide what the item is of, and sometimes whether it is eligible.
fn fields() -> impl Strategy<Value = Stated> {
    let availability = prop::sample::select(vec!["in_stock", "in_stock", "sold_out"]);
    let availability = availability.prop_map(|word| OracleValue::Availability(word.to_owned()));
    let field = prop_oneof![
        4 => (Just("room"), prop::option::weighted(0.8, some_of(&ROOMS, 2))),
        4 => (Just("host"), prop::option::weighted(0.8, one_of(&HOSTS))),
        4 => (Just("brand"), prop::option::weighted(0.8, one_of(&BRANDS))),
        4 => (Just("category"), prop::option::weighted(0.8, some_of(&CATEGORIES, 2))),
        2 => (Just("tags:default"), prop::option::weighted(0.8, some_of(&["new", "sale", "red"], 2))),
        2 => (Just("tags:season"), prop::option::weighted(0.8, some_of(&["new", "summer"], 2))),
        2 => (Just("group"), prop::option::weighted(0.7, one_of(&["g0", "g1"]))),
        1 => (Just("availability"), prop::option::weighted(0.9, availability)),
    ];
    named(prop::collection::vec(field, 2..6))
}

fn statement() -> impl Strategy<Value = OracleStatement> {
    let fields = fields().prop_map(|stated| OracleStatement::Fields(stated.into_iter().collect()));
    prop_oneof![20 => fields, 1 => Just(OracleStatement::Deleted)]
}

/// A target of one of these scopes.
fn target(scopes: &'static [TargetScope]) -> impl Strategy<Value = (TargetScope, String)> {
    let texts = |scope, texts: &[&str]| -> Vec<(TargetScope, String)> {
        texts.iter().map(|text| (scope, (*text).to_owned())).collect()
    };
    prop::sample::select(scopes).prop_flat_map(move |scope| {
        let targets = match scope {
            TargetScope::Item => (0..ITEMS).map(|item| (scope, name('p', item))).collect(),
            TargetScope::Room => texts(scope, &ROOMS),
            TargetScope::Host => texts(scope, &HOSTS),
            TargetScope::Brand => texts(scope, &BRANDS),
            TargetScope::Category => texts(scope, &CATEGORIES),
            TargetScope::Tag => texts(scope, &TAGS),
        };
        prop::sample::select(targets)
    })
}

fn switch(wish: Wish, scopes: &'static [TargetScope]) -> impl Strategy<Value = ControlWord> {
    (target(scopes), prop::bool::weighted(0.8))
        .prop_map(move |((scope, target), on)| ControlWord::Switch(OracleSwitch { wish, scope, target }, on))
}

fn word() -> impl Strategy<Value = ControlWord> {
    prop_oneof![
        3 => switch(Wish::NotInterested, &TargetScope::ALL[..1]),
        8 => switch(Wish::NotInterested, &TargetScope::ALL[1..]),
        8 => switch(Wish::Less, &TargetScope::ALL[2..]),
        3 => (0..ITEMS).prop_map(|item| ControlWord::Forget(Some(name('p', item)))),
        1 => Just(ControlWord::Forget(None)),
        2 => Just(ControlWord::Pause),
        3 => Just(ControlWord::Resume),
        1 => Just(ControlWord::PersonalOff),
        3 => Just(ControlWord::PersonalOn),
    ]
}

/// A control that changes no list.
fn word_of_no_note() -> impl Strategy<Value = ControlWord> {
    let off = |word| match word {
        ControlWord::Switch(switch, _) => ControlWord::Switch(switch, false),
        other => other,
    };
    let of_nothing = |wish, scope| {
        let switch = OracleSwitch { wish, scope, target: "nothing".to_owned() };
        any::<bool>().prop_map(move |on| ControlWord::Switch(switch.clone(), on))
    };
    prop_oneof![
        switch(Wish::NotInterested, &TargetScope::ALL).prop_map(off),
        switch(Wish::Less, &TargetScope::ALL[2..]).prop_map(off),
        of_nothing(Wish::NotInterested, TargetScope::Item),
        of_nothing(Wish::NotInterested, TargetScope::Room),
        of_nothing(Wish::Less, TargetScope::Host),
        Just(ControlWord::Forget(Some("nothing".to_owned()))),
        Just(ControlWord::Resume),
        Just(ControlWord::PersonalOn),
    ]
}

fn drawn(said: Said) -> impl Strategy<Value = Drawn> {
    let event = prop_oneof![3 => (1..7_u8).prop_map(OracleEffect::Counts), 1 => effect()];
    let event = event.prop_map(|effect| Drawn::Event { effect });
    let record = statement().prop_map(|statement| Drawn::Record { statement });
    // An undo takes up a switch of before.
    let control = (word(), prop::option::weighted(0.25, any::<Index>()))
        .prop_map(|(word, undoes)| Drawn::Control { word, undoes });
    let of_no_note = word_of_no_note().prop_map(|word| Drawn::Control { word, undoes: None });
    match said {
        Said::Nothing => prop_oneof![6 => event, 2 => record].boxed(),
        Said::NothingOfNote => prop_oneof![6 => event, 2 => record, 2 => of_no_note].boxed(),
        Said::Everything => prop_oneof![6 => event, 2 => record, 2 => control].boxed(),
    }
}

/// A random script, cut into ticks. Some of it is late, repeated, simultaneous or ahead of the clock, which jumps now and
/// then, or all of it is shuffled. The items have records from the time 0.
///
/// No `pause` or `resume` comes late: each arrives no later than the events of its user that are not earlier.
pub(crate) fn scripts(said: Said, length: usize, sizes: &'static [usize]) -> impl Strategy<Value = Vec<Tick>> {
    let drawn = (
        drawn(said),
        (0..USERS, 0..ITEMS),
        (0..6_u64, 0..100_u8),
        prop::option::weighted(0.3, any::<Index>()),
        prop::bool::weighted(0.07),
    );
    let listed = prop::collection::vec(fields(), usize::from(ITEMS));
    let shuffled = prop::bool::weighted(0.12);
    let script = (listed, prop::collection::vec(drawn, length / 2..length), any::<bool>(), shuffled);
    let script = script.prop_map(|(listed, drawn, ahead, shuffled)| {
        let mut script: Vec<Arrival> = Vec::new();
        for (item, stated) in (0..).zip(listed) {
            let mut fields = BTreeMap::from([("kind".to_owned(), Some(OracleValue::Text("product".to_owned())))]);
            fields.extend(stated);
            let statement = OracleStatement::Fields(fields);
            script.push(Arrival::Record(OracleItemRecord { item: name('p', item), ts: 0, statement }));
        }
        let mut clock = 1_000;
        for (drawn, (user, item), steps, again, repeat) in drawn {
            let arrives = arrival(drawn, (user, item), steps, again, ahead, &mut clock, &script);
            script.push(arrives);
            if repeat {
                script.push(script[script.len() / 2].clone());
            }
        }
        (script, shuffled)
    });
    let ordered =
        script.prop_flat_map(
            |(script, shuffled)| {
                if shuffled { Just(script).prop_shuffle().boxed() } else { Just(script).boxed() }
            },
        );
    (ordered, prop::sample::select(sizes)).prop_map(|(script, size)| cut(&with_timely_pauses(script), size))
}

/// What was drawn, at its time.
fn arrival(
    drawn: Drawn,
    (user, item): (u8, u8),
    (step, kind): (u64, u8),
    again: Option<Index>,
    ahead: bool,
    clock: &mut u64,
    before: &[Arrival],
) -> Arrival {
    let (mut user, mut item) = (name('u', user), name('p', item));
    match drawn {
        Drawn::Event { effect } => {
            // Many events are of an item that their user has touched.
            if let Some(Arrival::Event(event, _)) = again.map(|index| index.get(before)) {
                (user, item) = (event.user.clone(), event.item.clone());
            }
            let is_ahead = ahead && (8..14).contains(&kind);
            let ts = match kind {
                0..8 => *clock - 7 * step,
                8..14 if is_ahead => *clock + 1 + 4 * step,
                14 => *clock + 30 * step,
                _ => *clock + step / 3,
            };
            if !is_ahead {
                *clock = ts.max(*clock);
            }
            Arrival::Event(OracleEvent { user, item, effect, ts }, is_ahead)
        }
        Drawn::Record { statement } => {
            let ts = beside(*clock, step, kind);
            Arrival::Record(OracleItemRecord { item, ts, statement })
        }
        Drawn::Control { mut word, undoes } => {
            let of_a_switch = |arrival: &&Arrival| matches!(arrival, Arrival::Control(control) if matches!(control.word, ControlWord::Switch(..)));
            let switches: Vec<&Arrival> = before.iter().filter(of_a_switch).collect();
            if let Some(index) = undoes.filter(|_| !switches.is_empty())
                && let Arrival::Control(control) = index.get(&switches)
                && let ControlWord::Switch(switch, on) = &control.word
            {
                user.clone_from(&control.user);
                word = ControlWord::Switch(switch.clone(), !on);
            }
            Arrival::Control(OracleControl { user, ts: beside(*clock, step, kind), word })
        }
    }
}

/// A time that is mostly that of the clock, sometimes before or after it.
fn beside(clock: u64, step: u64, kind: u8) -> u64 {
    match kind {
        0..20 => clock - 5 * step,
        20..40 => clock + 1 + 3 * step,
        _ => clock,
    }
}

/// Moves each `pause` and `resume` before the first event of its user that is not earlier. A repetition stays: it says
/// nothing that has not been said.
fn with_timely_pauses(script: Vec<Arrival>) -> Vec<Arrival> {
    let mut timely: Vec<Arrival> = Vec::new();
    for arrival in script {
        let is_repeated = timely.contains(&arrival);
        let mut place = timely.len();
        if let Arrival::Control(OracleControl { user, ts, word: ControlWord::Pause | ControlWord::Resume }) = &arrival
            && !is_repeated
        {
            let is_not_earlier = |arrival: &Arrival| matches!(arrival, Arrival::Event(event, _) if event.user == *user && event.ts >= *ts);
            place = timely.iter().position(is_not_earlier).unwrap_or(place);
        }
        timely.insert(place, arrival);
    }
    timely
}

/// Cuts a script into ticks of `size` arrivals. The clock is the largest timestamp so far of the events that are not ahead
/// of it.
fn cut(script: &[Arrival], size: usize) -> Vec<Tick> {
    let mut clock = 1_000;
    let tick = |chunk: &[Arrival]| {
        let times = || {
            chunk.iter().filter_map(|arrival| match arrival {
                Arrival::Event(event, false) => Some(event.ts),
                _ => None,
            })
        };
        let since = times().next().map_or(clock, |first| first.max(clock));
        clock = times().fold(clock, u64::max);
        let mut tick = Tick::of_events(since, clock, &[]);
        for arrival in chunk.iter().cloned() {
            match arrival {
                Arrival::Event(event, _) => tick.events.push(event),
                Arrival::Record(record) => tick.records.push(record),
                Arrival::Control(control) => tick.controls.push(control),
            }
        }
        tick
    };
    script.chunks(size).map(tick).collect()
}

/// Random parameters for scripts, with a catalogue or without.
pub(crate) fn params_of_scripts() -> impl Strategy<Value = Params> {
    let sizes = (2_usize..6, 1_usize..6, 4_usize..9);
    let times = (
        prop::sample::select(vec![40_u64, 90, 300, 1_000]),
        prop::option::weighted(0.8, 3_u64..60),
        prop::sample::select(vec![0_u64, 1, 7, 64, 100, 1_000]),
        skipped(),
    );
    let catalogue = prop::option::weighted(0.8, catalogue_params());
    (params_of_lists(), ids(), sizes, times, catalogue).prop_map(
        |(params, ids, (history, k, neighbours), (retention, audience, refresh, skipped), catalogue)| {
            let audience = audience.map(|audience| audience.min(retention));
            // Nothing is diverse without a catalogue.
            let (diversity, caps) =
                if catalogue.is_some() { (params.diversity, params.caps) } else { (0, Caps::default()) };
            Params {
                ids,
                history,
                k,
                neighbours,
                retention,
                audience,
                refresh,
                skipped,
                catalogue,
                diversity,
                caps,
                min_cooccurrence: 1,
                ..params
            }
        },
    )
}

/// The ticks without what a run with these parameters does not take: without a catalogue, its records.
pub(crate) fn taken(ticks: Vec<Tick>, params: &Params) -> Vec<Tick> {
    let without_records = |tick: Tick| Tick { records: Vec::new(), ..tick };
    if params.catalogue.is_some() { ticks } else { ticks.into_iter().map(without_records).collect() }
}
