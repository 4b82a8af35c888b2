//! Runs the graph tick by tick on any number of workers, with names, so that its output can be compared with the oracle's.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use dataflows::config::{Caps, Emit, Sources};
use dataflows::operators::RowChange;
use dataflows::time::Time;
use dataflows::types::{self, ListReason};
use dataflows::{
    Audience, Barrier, Catalogue, Config, ControlRecord, Effect, Event, GraphInput, ItemRecord, ListChange, ListKey,
    SnapshotSinks, recommendations,
};
use schema::{Availability, Control, ControlScope, FieldValue, IdKey, ItemField, Statement};
use timely::dataflow::operators::{Inspect, Probe};
use timely::dataflow::{ProbeHandle, Stream};
use timely::worker::Worker;

use super::oracle::catalogue::{CatalogueParams, OracleItemRecord, OracleStatement, OracleValue};
use super::oracle::changes::{OracleChange, OracleRow};
use super::oracle::controls::{ControlWord, OracleControl, OracleSwitch, TargetScope, Wish};
use super::oracle::evaluations::CoalescedTick;
use super::oracle::measures::Measure;
use super::oracle::reasons::{Reason, ReasonSource};
use super::oracle::{OracleEffect, OracleEvent, Params};

/// Events taken together.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    /// Millisecond at which the tick takes effect.
    pub(crate) at: u64,
    /// First millisecond that it stands for; `at` unless several are taken together.
    pub(crate) since: u64,
    /// Events in the order of arrival.
    pub(crate) events: Vec<OracleEvent>,
    /// Catalogue records in the order of arrival.
    pub(crate) records: Vec<OracleItemRecord>,
    /// Controls in the order of arrival.
    pub(crate) controls: Vec<OracleControl>,
}

impl Tick {
    /// A tick in which neither a catalogue record nor a control arrives.
    pub(crate) fn of_events(since: u64, at: u64, events: &[OracleEvent]) -> Self {
        Tick { at, since, events: events.to_vec(), records: Vec::new(), controls: Vec::new() }
    }

    /// The tick as the oracle takes it.
    pub(crate) fn coalesced(&self) -> CoalescedTick {
        let Tick { since, at, events, records, controls } = self.clone();
        CoalescedTick { since, at, events, records, controls }
    }
}

/// Cuts a log in arrival order into ticks of `size` events, the clock being the largest timestamp so far.
pub(crate) fn ticks(events: &[OracleEvent], size: usize) -> Vec<Tick> {
    let mut clock = 0;
    events
        .chunks(size)
        .map(|chunk| {
            let since = clock.max(chunk[0].ts);
            clock = chunk.iter().map(|event| event.ts).fold(clock, u64::max);
            Tick::of_events(since, clock, chunk)
        })
        .collect()
}

/// The graph's configuration for the oracle's parameters.
pub(crate) fn config(params: &Params) -> Config {
    Config {
        history: params.history,
        basket: params.basket,
        neighbours: params.neighbours,
        k: params.k,
        retention: params.retention,
        audience: params.audience.map_or(Audience::All, Audience::Within),
        similarity: match params.similarity {
            Measure::Cosine => dataflows::config::Measure::Cosine,
            Measure::Jaccard => dataflows::config::Measure::Jaccard,
            Measure::Llr => dataflows::config::Measure::Llr,
            Measure::Count => dataflows::config::Measure::Count,
        },
        refresh: params.refresh,
        emit: if params.membership { Emit::Membership } else { Emit::Order },
        near: params.near,
        min_cooccurrence: u32::try_from(params.min_cooccurrence).unwrap(),
        shrink: u32::try_from(params.shrink).unwrap(),
        stairs: params.stairs.clone(),
        resolution: params.resolution,
        user_resolution: params.user_resolution,
        sample: params.sample,
        similar_users: params.similar_users,
        sources: Sources {
            items: u32::try_from(params.items_weight).unwrap(),
            users: u32::try_from(params.users_weight).unwrap(),
        },
        diversity: params.diversity,
        caps: Caps { category: params.caps.category, host: params.caps.host, strict: params.caps.strict },
        why: params.why,
        catalogue: params
            .catalogue
            .map(|CatalogueParams { unknown_is_eligible, max_items }| Catalogue { unknown_is_eligible, max_items }),
        // Tiny histories get tiny slices, so that operators yield in the middle of a tick.
        slice: if params.history < 10 { params.history } else { 10_000 },
        skipped: params.skipped,
        ..Config::default()
    }
}

/// Whether the driver waits for each tick, or sends all of them first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Wait,
    Rush,
}

/// What a run emits, sorted by tick and then by user.
pub(crate) struct Emitted {
    pub(crate) changes: Vec<OracleChange>,
    /// If the configuration has this output.
    pub(crate) similar_users: Vec<OracleRow>,
}

/// All changes of a run whose input does not end.
pub(crate) fn run(params: &Params, ticks: &[Tick], workers: usize, pace: Pace) -> Vec<OracleChange> {
    run_with(&config(params), params.ids, ticks, workers, pace)
}

/// [`run`], for any slice.
pub(crate) fn run_with(config: &Config, ids: IdKey, ticks: &[Tick], workers: usize, pace: Pace) -> Vec<OracleChange> {
    emitted(config, ids, ticks, workers, pace, false).changes
}

/// Everything that a run emits. `ends`: whether the input ends after the last tick.
pub(crate) fn emitted(config: &Config, ids: IdKey, ticks: &[Tick], workers: usize, pace: Pace, ends: bool) -> Emitted {
    let names: HashMap<u64, String> = ticks
        .iter()
        .flat_map(|tick| {
            let of_events = tick.events.iter().flat_map(|event| [&event.user, &event.item]);
            of_events.chain(tick.records.iter().map(|record| &record.item))
        })
        .map(|name| (ids.id64(name), name.clone()))
        .collect();
    let (changes, rows): (Collected<ListChange>, Collected<RowChange>) = Default::default();
    let (all_changes, all_rows) = (Arc::clone(&changes), Arc::clone(&rows));
    let (config, ticks) = (config.clone(), ticks.to_vec());
    timely::execute(timely::Config::process(workers), move |worker| {
        let (changes, rows) = (Arc::clone(&all_changes), Arc::clone(&all_rows));
        let (mut input, probe) = worker.dataflow(|scope| {
            let (input, streams) = GraphInput::new(scope, &config, false);
            let graph = recommendations(streams, &config, SnapshotSinks::default());
            if let Some(similar_users) = graph.similar_users {
                collect(similar_users, rows);
            }
            (input, collect(graph.changes, changes))
        });
        if worker.index() == 0 {
            drive(worker, &mut input, &probe, ids, &ticks, pace);
            if ends {
                input.next_tick().barrier(Barrier::InputEnds);
                worker.step_while(|| probe.less_than(&input.time()));
            }
        }
    })
    .unwrap();
    let name = |id: u64| names[&id].clone();
    let reason = |reason: &ListReason| Reason {
        source: match reason.source {
            types::ReasonSource::Item(item) => ReasonSource::Item(name(item)),
            types::ReasonSource::Users(users) => ReasonSource::Users(users as usize),
            types::ReasonSource::Less => ReasonSource::Less,
        },
        points: reason.points,
    };
    let change = |change: ListChange| OracleChange {
        user: match change.key {
            ListKey::User(user) => name(user),
            ListKey::Room(_) | ListKey::Everywhere => unreachable!("no trending lists are configured"),
        },
        at: change.at,
        items: change.items.iter().map(|scored| (name(scored.item), scored.score)).collect(),
        entered: change.entered.iter().map(|item| name(*item)).collect(),
        left: change.left.iter().map(|item| name(*item)).collect(),
        why: change.why.iter().map(|reasons| reasons.iter().map(reason).collect()).collect(),
    };
    let row = |row: RowChange| OracleRow {
        user: name(row.of),
        at: row.at,
        similar: row.similar.iter().map(|(user, similarity)| (name(*user), u64::from(*similarity))).collect(),
    };
    Emitted {
        changes: sorted(&changes, change, |change| &change.user),
        similar_users: sorted(&rows, row, |row| &row.user),
    }
}

/// Records with the times of their ticks, from all workers.
pub(crate) type Collected<R> = Arc<Mutex<Vec<(Time, R)>>>;

fn sorted<R, O>(collected: &Collected<R>, convert: impl Fn(R) -> O, user: impl Fn(&O) -> &String) -> Vec<O> {
    let collected = std::mem::take(&mut *collected.lock().unwrap());
    let mut records: Vec<(Time, O)> = collected.into_iter().map(|(time, record)| (time, convert(record))).collect();
    records.sort_by(|(a_time, a), (b_time, b)| (a_time, user(a)).cmp(&(b_time, user(b))));
    records.into_iter().map(|(_, record)| record).collect()
}

/// Collects records with their times.
pub(crate) fn collect<R: Clone + 'static>(
    records: Stream<'_, Time, Vec<R>>,
    collected: Collected<R>,
) -> ProbeHandle<Time> {
    let inspected = records.inspect_core(move |batch| {
        if let Ok((stamp, records)) = batch {
            let time = *stamp.least().unwrap();
            collected.lock().unwrap().extend(records.iter().map(|record| (time, record.clone())));
        }
    });
    inspected.probe().0
}

/// Feeds all ticks and steps until they are complete.
pub(crate) fn drive(
    worker: &mut Worker,
    input: &mut GraphInput,
    probe: &ProbeHandle<Time>,
    ids: IdKey,
    ticks: &[Tick],
    pace: Pace,
) {
    for Tick { since, at, events, records, controls } in ticks {
        let mut tick = input.tick(*since, *at);
        tick.items(&mut records.iter().map(|record| item_record(record, ids)).collect());
        tick.events(&mut events.iter().map(|ev| event_with(ev, ids)).collect());
        tick.controls(&mut controls.iter().map(|control| control_record(control, ids)).collect());
        drop(tick);
        if pace == Pace::Wait {
            worker.step_while(|| probe.less_than(&input.time()));
        }
    }
    worker.step_while(|| probe.less_than(&input.time()));
}

/// The event as the graph takes it.
pub(crate) fn event(ev: &OracleEvent) -> Event {
    event_with(ev, IdKey::default())
}

/// The same, with a key of the ids.
fn event_with(ev: &OracleEvent, ids: IdKey) -> Event {
    Event { user: ids.id64(&ev.user), item: ids.id64(&ev.item), ts: ev.ts, effect: effect(ev.effect), scope: None }
}

/// The effect as the graph takes it.
pub(crate) fn effect(effect: OracleEffect) -> Effect {
    match effect {
        OracleEffect::Counts(level) => Effect::Counts(level),
        OracleEffect::Retracts { of, leaves } => Effect::Retracts { of, leaves },
        OracleEffect::Skips => Effect::Skips,
        OracleEffect::Attends => Effect::Attends,
    }
}

/// Groups of tags of the graph, in the order of their numbers.
pub(crate) const TAG_GROUPS: [&str; 3] = ["default", "season", "colour"];

/// The catalogue record as the graph takes it.
pub(crate) fn item_record(record: &OracleItemRecord, ids: IdKey) -> ItemRecord {
    let value = |value: &OracleValue| match value {
        OracleValue::Text(text) => FieldValue::Text(text.as_str().into()),
        OracleValue::Set(texts) => FieldValue::set(texts.iter().cloned()).unwrap(),
        OracleValue::Number(number) => FieldValue::Number(*number),
        OracleValue::Availability(word) => FieldValue::Availability(Availability::parse(word).unwrap()),
    };
    let tags = |name: &str| {
        let group = name.strip_prefix("tags:")?;
        Some(ItemField::Tags(u8::try_from(TAG_GROUPS.iter().position(|known| *known == group)?).unwrap()))
    };
    let field = |name: &str| {
        let known = ItemField::ALL.into_iter().find(|field| field.name() == Some(name));
        known.or_else(|| tags(name)).unwrap_or_else(|| panic!("field {name}"))
    };
    let statement = match &record.statement {
        OracleStatement::Deleted => Statement::Deleted,
        OracleStatement::Fields(fields) => {
            let fields = fields.iter().map(|(name, stated)| (field(name), stated.as_ref().map(value)));
            Statement::Fields(fields.collect())
        }
    };
    ItemRecord { item: ids.id64(&record.item), ts: record.ts, statement }
}

/// The control as the graph takes it.
pub(crate) fn control_record(control: &OracleControl, ids: IdKey) -> ControlRecord {
    let said = match &control.word {
        ControlWord::Switch(OracleSwitch { wish, scope, target }, on) => {
            let wish = match wish {
                Wish::NotInterested => schema::Wish::NotInterested,
                Wish::Less => schema::Wish::Less,
            };
            let scope = match scope {
                TargetScope::Item => ControlScope::Item,
                TargetScope::Room => ControlScope::Room,
                TargetScope::Host => ControlScope::Host,
                TargetScope::Brand => ControlScope::Brand,
                TargetScope::Category => ControlScope::Category,
                TargetScope::Tag => ControlScope::Tag,
            };
            let switch = schema::Switch { wish, scope, target: target.as_str().into() };
            Control::Switch { switch, on: *on }
        }
        ControlWord::Forget(item) => Control::Forget { item: item.as_deref().map(Into::into) },
        ControlWord::Pause => Control::Pause,
        ControlWord::Resume => Control::Resume,
        ControlWord::PersonalOff => Control::PersonalOff,
        ControlWord::PersonalOn => Control::PersonalOn,
    };
    let item = said.item().map(|item| ids.id64(item));
    ControlRecord { user: ids.id64(&control.user), ts: control.ts, control: said, item }
}

/// The lists after all changes up to and including millisecond `at`, without empty ones.
pub(crate) fn lists_at(records: &[OracleChange], at: u64) -> BTreeMap<String, Vec<(String, i64)>> {
    let mut lists = BTreeMap::new();
    for record in records.iter().filter(|record| record.at <= at) {
        lists.insert(record.user.clone(), record.items.clone());
    }
    lists.retain(|_, list| !list.is_empty());
    lists
}
