//! Controls of the graph, against the oracle.

mod reached;

use std::collections::BTreeSet;

use dataflows::Config;
use proptest::prelude::*;
use schema::IdKey;

use crate::catalogue::compare_with;
use crate::support::durable::{self, EventTick};
use crate::support::graph::{Tick, config, control_record, event};
use crate::support::oracle::changes::changes_to_the_end;
use crate::support::oracle::controls::{
    ControlWord, FORGETS, OracleControl, OracleSwitch, PAUSES, SWITCHES, TargetScope, Wish,
};
use crate::support::oracle::diversity::Caps;
use crate::support::oracle::trending::{RoomEvent, Trending, interesting};
use crate::support::oracle::{OracleEvent, Params};
use crate::support::scripts::{Said, params_of_scripts, scripts, taken};
use crate::trending::{self, Record, retaining, split, trending, with_trending};

/// Numbers of events, catalogue records and controls of a tick.
const SIZES: &[usize] = &[1, 1, 7, 1000];

/// Compares the streams of changes and of similar users with the oracle's. The graph takes controls, whether there are any.
fn compare(params: &Params, ticks: Vec<Tick>, workers: usize, rush: bool, ends: bool) -> Result<(), TestCaseError> {
    let config = Config { controls: true, ..config(params) };
    compare_with(config, params, &taken(ticks, params), workers, rush, ends)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The streams of changes and of similar users, record by record: of events, catalogue records and controls of all kinds
    /// that are late, ahead of the clock, repeated, simultaneous and in any order.
    #[test]
    fn controls_equal_the_oracle(
        params in params_of_scripts(),
        ticks in scripts(Said::Everything, 100, SIZES),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        compare(&params, ticks, workers, rush, ends)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Controls that change no list. They are evaluations all the same.
    #[test]
    fn controls_of_no_note_equal_the_oracle(
        params in params_of_scripts(),
        ticks in scripts(Said::NothingOfNote, 80, SIZES),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        compare(&params, ticks, workers, rush, ends)?;
    }

    /// The same where every tick is an evaluation of all.
    #[test]
    fn controls_of_no_note_that_are_no_evaluations_equal_the_oracle(
        params in params_of_scripts(),
        ticks in scripts(Said::NothingOfNote, 80, SIZES),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        compare(&Params { refresh: 0, ..params }, ticks, workers, rush, ends)?;
    }

    /// A graph that takes controls and gets none.
    #[test]
    fn no_controls_equal_the_oracle(
        params in params_of_scripts(),
        ticks in scripts(Said::Nothing, 80, SIZES),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        compare(&params, ticks, workers, rush, ends)?;
    }

    /// Every change of every trending list, of a script without a catalogue, and personal lists as without trending.
    #[test]
    fn trending_lists_equal_the_oracle(
        params in params_of_scripts(),
        trending in trending(),
        ticks in scripts(Said::Everything, 100, SIZES),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
    ) {
        compare_trending(params, trending, ticks, workers)?;
    }

    /// The same with controls that change no list, trending lists included.
    #[test]
    fn trending_lists_with_controls_of_no_note_equal_the_oracle(
        params in params_of_scripts(),
        trending in trending(),
        ticks in scripts(Said::NothingOfNote, 100, SIZES),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
    ) {
        compare_trending(params, trending, ticks, workers)?;
    }
}

/// Compares the stream of trending lists with the oracle's, and that of personal lists with that of a run without trending.
fn compare_trending(params: Params, trending: Trending, ticks: Vec<Tick>, workers: usize) -> Result<(), TestCaseError> {
    let params = Params { ids: IdKey::default(), catalogue: None, diversity: 0, ..params };
    let params = Params { caps: Caps::default(), ..retaining(params, trending) };
    let ticks = with_rooms(&taken(ticks, &params));
    let run = |trending: Option<Trending>| {
        let config = Config { controls: true, ..with_trending(&params, trending) };
        let fed = ticks.iter().map(RoomTick::fed).collect();
        let mut changes = durable::run(&config, fed, None, None, workers).changes;
        changes.sort_by_key(|(time, change)| (*time, change.key));
        split(changes.into_iter().map(|(_, change)| change).collect())
    };
    let (trends, users) = run(Some(trending));
    prop_assert_eq!(trends, expected(&ticks, trending));
    let (none, without) = run(None);
    prop_assert_eq!(none, vec![]);
    prop_assert_eq!(users, without);
    Ok(())
}

/// A tick with events in rooms.
#[derive(Clone, Debug)]
struct RoomTick {
    at: u64,
    since: u64,
    events: Vec<RoomEvent>,
    controls: Vec<OracleControl>,
}

/// Lets most events name the room that the number of their item and their time give.
fn with_rooms(ticks: &[Tick]) -> Vec<RoomTick> {
    let room = |event: &OracleEvent| {
        let number = schema::id64(&event.item).wrapping_add(event.ts) % 3;
        (number < 2).then(|| format!("r{number}"))
    };
    let tick = |tick: &Tick| RoomTick {
        at: tick.at,
        since: tick.since,
        events: tick.events.iter().map(|event| (event.clone(), room(event))).collect(),
        controls: tick.controls.clone(),
    };
    ticks.iter().map(tick).collect()
}

impl RoomTick {
    /// The tick as the graph takes it.
    fn fed(&self) -> EventTick {
        let scope = |room: &Option<String>| {
            room.as_ref().map(|room| dataflows::Scope::new(schema::id64(&schema::trending_in(room))))
        };
        EventTick {
            at: self.at,
            since: self.since,
            events: self.events.iter().map(|(ev, room)| dataflows::Event { scope: scope(room), ..event(ev) }).collect(),
            records: Vec::new(),
            controls: self.controls.iter().map(|control| control_record(control, IdKey::default())).collect(),
        }
    }
}

/// All changes of the oracle's trending lists. Between two ticks they can change where a bucket ends and where an event or
/// a control acts that was ahead of the clock.
fn expected(ticks: &[RoomTick], trending: Trending) -> Vec<Record> {
    let (mut records, mut sent) = (Vec::new(), std::collections::BTreeMap::new());
    let (mut events, mut controls): (Vec<RoomEvent>, Vec<OracleControl>) = Default::default();
    let mut before: Option<u64> = None;
    for tick in ticks {
        if let Some(before) = before {
            let said = events.iter().map(|(event, _)| event.ts).chain(controls.iter().map(|control| control.ts));
            let mut due: BTreeSet<u64> = said.collect();
            // Of each of them and of the tick before, the ends of the buckets in which it still counts.
            for time in due.clone().into_iter().chain([before]) {
                let bucket = time / trending.bucket;
                due.extend((1..=trending.buckets + 2).map(|later| (bucket + later) * trending.bucket));
            }
            for at in due.into_iter().filter(|at| before < *at && *at < tick.since) {
                trending::compare(&mut sent, &interesting(&events, &controls, false, at), trending, at, &mut records);
            }
        }
        events.extend(tick.events.iter().cloned());
        controls.extend(tick.controls.iter().cloned());
        let at = tick.at;
        trending::compare(&mut sent, &interesting(&events, &controls, false, at), trending, at, &mut records);
        before = Some(at);
    }
    records
}

fn says(ts: u64, word: ControlWord) -> OracleControl {
    OracleControl { user: "bob".to_owned(), ts, word }
}

fn no_interest_in(scope: TargetScope, target: &str, ts: u64) -> OracleControl {
    let switch = OracleSwitch { wish: Wish::NotInterested, scope, target: target.to_owned() };
    says(ts, ControlWord::Switch(switch, true))
}

fn forget(item: &str, ts: u64) -> OracleControl {
    says(ts, ControlWord::Forget(Some(item.to_owned())))
}

/// Others have p1 with p2, p3 or p4, and bob has p1. Then bob says all this, in ticks of their own.
fn bob_says(said: &[Vec<OracleControl>]) -> Vec<Tick> {
    let mut events = vec![OracleEvent::new("bob", "p1", 1, 100)];
    for (user, item) in [("a", "p2"), ("b", "p3"), ("c", "p4")] {
        events.extend([OracleEvent::new(user, "p1", 1, 10), OracleEvent::new(user, item, 1, 20)]);
    }
    let mut ticks = vec![Tick::of_events(100, 100, &events)];
    for (at, controls) in (2_000..).step_by(10).zip(said) {
        ticks.push(Tick { controls: controls.clone(), ..Tick::of_events(at, at, &[]) });
    }
    // After all boundaries.
    ticks.push(Tick::of_events(40_000, 40_000, &[OracleEvent::new("zoe", "p9", 1, 40_000)]));
    ticks
}

/// Of more than are in force, the newest are, and the others leave what the text says.
#[test]
fn more_controls_than_are_in_force_equal_the_oracle() {
    let host = |n: u64| no_interest_in(TargetScope::Host, &format!("h{n}"), 300 + n);
    let others = SWITCHES as u64 - 1;
    // p3 is of no interest until the last one is said. Its undo is in force then, and does nothing.
    let switches = [
        vec![no_interest_in(TargetScope::Item, "p3", 200)],
        (0..others).map(host).collect(),
        vec![host(others)],
        vec![says(
            1_900,
            ControlWord::Switch(
                OracleSwitch { wish: Wish::NotInterested, scope: TargetScope::Item, target: "p3".to_owned() },
                false,
            ),
        )],
        vec![no_interest_in(TargetScope::Item, "p2", 299), no_interest_in(TargetScope::Item, "p4", 1_950)],
    ];
    // The forget of p9 covers nothing, and p1 when it is not in force any more. So does an older one that comes late.
    let item = |n: u64| forget(&format!("i{n}"), 300 + n);
    let others = FORGETS as u64 - 1;
    let forgets =
        [vec![forget("p9", 90)], (0..others).map(item).collect(), vec![item(others)], vec![forget("p9", 150)]];
    // All that was before the oldest pause or resume in force is paused.
    let resume = |n: u64| says(300 + n, ControlWord::Resume);
    let others = PAUSES as u64 - 1;
    let pauses = [
        vec![says(50, ControlWord::Pause), says(60, ControlWord::Resume)],
        (0..others - 1).map(resume).collect(),
        vec![resume(others - 1)],
        vec![resume(others)],
    ];
    let params = |refresh| Params { refresh, retention: 1_000_000, audience: None, ..Params::default() };
    for (said, changes) in [(&switches[..], 4), (&forgets, 2), (&pauses, 2)] {
        for refresh in [0, 6_400] {
            let ticks: Vec<_> = bob_says(said).iter().map(Tick::coalesced).collect();
            let emitted = changes_to_the_end(&ticks, &params(refresh));
            assert_eq!(emitted.iter().filter(|change| change.user == "bob").count(), changes);
        }
    }
    for said in [&switches[..], &forgets, &pauses] {
        for (refresh, workers) in [(0, 1), (0, 2), (6_400, 1), (6_400, 2)] {
            compare(&params(refresh), bob_says(said), workers, false, true).unwrap();
        }
    }
}
