//! A snapshot taken while events continue is of one tick exactly, and a graph that resumes from it emits what the original
//! graph emits after that tick.

use std::collections::{BTreeMap, HashMap};

use dataflows::time::{Time, ms_of, next};
use dataflows::types::Scored;
use dataflows::{Config, Event, ItemRecord, ListChange, ListKey};
use proptest::prelude::*;
use schema::{IdKey, catalogue_group, id64, key_group};

use crate::catalogue::with_records;
use crate::support::durable::{self, EventTick, ResumeState, RunOutput};
use crate::support::graph::{Tick, config, control_record, event, item_record, ticks};
use crate::support::logs::{catalogue_params, item_records, log, params};
use crate::support::oracle::Params;
use crate::support::oracle::changes::resumed_changes;
use crate::support::oracle::evaluations::Resumed;
use crate::support::scripts::{Said, params_of_scripts, scripts, taken};

/// Runs all ticks. With `snapshot_after` a snapshot is taken of the tick with that index, while the next ones continue.
fn run(
    params: &Params,
    ticks: &[Tick],
    snapshot_after: Option<usize>,
    resume: Option<ResumeState>,
    workers: usize,
) -> RunOutput {
    let ticks = ticks.iter().map(|Tick { at, since, events, records, controls }| EventTick {
        at: *at,
        since: *since,
        events: events.iter().map(event).collect(),
        records: records.iter().map(|record| item_record(record, IdKey::default())).collect(),
        controls: controls.iter().map(|control| control_record(control, IdKey::default())).collect(),
    });
    let config = Config { controls: true, ..config(params) };
    durable::run(&config, ticks.collect(), snapshot_after, resume, workers)
}

/// The lists after all changes, without empty ones.
fn lists(changes: &[(Time, ListChange)]) -> Vec<(ListKey, Vec<u64>)> {
    durable::lists(changes.iter().map(|(_, change)| change))
}

/// Changes in an order that does not depend on the workers, without the times of their ticks.
fn ordered(changes: &[(Time, ListChange)]) -> Vec<ListChange> {
    let mut changes: Vec<_> = changes.to_vec();
    changes.sort();
    changes.into_iter().map(|(_, change)| change).collect()
}

/// What the oracle expects of a run that resumes at `at`, after the tick `cut`, with the lists `known` in its output. Sorted.
fn expected_after(
    params: &Params,
    all: &[Tick],
    cut: usize,
    at: u64,
    known: &[(ListKey, Vec<u64>)],
) -> Vec<ListChange> {
    let (before, after) = all.split_at(cut + 1);
    let events = before.iter().flat_map(|tick| tick.events.clone()).collect();
    let names: HashMap<u64, &String> = all
        .iter()
        .flat_map(|tick| &tick.events)
        .flat_map(|event| [&event.user, &event.item])
        .map(|name| (id64(name), name))
        .collect();
    let name = |id: &u64| names[id].clone();
    let standing = known.iter().map(|(key, items)| {
        let ListKey::User(user) = key else { unreachable!("no trending lists are configured") };
        (name(user), items.iter().map(name).collect())
    });
    let records = before.iter().flat_map(|tick| tick.records.clone()).collect();
    let controls = before.iter().flat_map(|tick| tick.controls.clone()).collect();
    let resumed = Resumed { at, events, records, controls, standing: standing.collect() };
    let ticks: Vec<_> = after.iter().map(Tick::coalesced).collect();
    let ids = |names: Vec<String>| names.iter().map(|name| id64(name)).collect();
    let changes = resumed_changes(&resumed, &ticks, false, params).into_iter().map(|change| ListChange {
        key: ListKey::User(id64(&change.user)),
        at: change.at,
        items: change.items.iter().map(|(item, score)| Scored { item: id64(item), score: *score }).collect(),
        entered: ids(change.entered),
        left: ids(change.left),
        why: Vec::new(),
        waited: None,
    });
    let mut changes: Vec<ListChange> = changes.collect();
    changes.sort_by_key(|change| (change.at, change.key));
    changes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_resumed_run_emits_what_the_original_run_would_have_emitted(
        params in params(),
        log in log(80),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        workers_after in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 2, 7]),
        cut in any::<prop::sample::Index>(),
        lost in 0..3_usize,
        catalogue in prop::option::of(catalogue_params()),
        records in item_records(40),
        arrivals in prop::collection::vec(any::<prop::sample::Index>(), 40),
    ) {
        // Without reorderings, the lists that lost changes lead to depend on what was lost.
        let params = Params { membership: params.membership && params.refresh > 0, catalogue, ..params };
        let records = if catalogue.is_some() { records } else { Vec::new() };
        let all = with_records(ticks(&log, size), &records, &arrivals);
        let cut = cut.index(all.len());
        compare_resumed(&params, &all, cut, lost, (workers, workers_after))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The same with controls of all kinds.
    #[test]
    fn a_resumed_run_knows_the_controls(
        params in params_of_scripts(),
        ticks in scripts(Said::Everything, 80, &[1, 2, 7]),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        workers_after in prop::sample::select(vec![1_usize, 2, 4]),
        cut in any::<prop::sample::Index>(),
        lost in 0..3_usize,
    ) {
        let membership = params.membership && params.refresh > 0;
        let params = Params { ids: IdKey::default(), membership, why: 0, ..params };
        let all = taken(ticks, &params);
        prop_assume!(!all.is_empty());
        let cut = cut.index(all.len());
        compare_resumed(&params, &all, cut, lost, (workers, workers_after))?;
    }
}

/// Takes a snapshot after the tick `cut`, resumes from it with an output that lacks the last `lost` changes, and compares what follows
/// with the run that went on. `workers`: before and after.
fn compare_resumed(
    params: &Params,
    all: &[Tick],
    cut: usize,
    lost: usize,
    workers: (usize, usize),
) -> Result<(), TestCaseError> {
    let whole = run(params, all, Some(cut), None, workers.0);
    let boundary = all[..=cut].iter().fold(0, |last, tick| next(last, tick.at));
    let at = ms_of(boundary);
    let mut events: Vec<Event> = whole.chunks.iter().flat_map(|chunk| chunk.rows.clone()).collect();
    for chunk in &whole.chunks {
        prop_assert!(chunk.rows.iter().all(|event| key_group(event.user) == chunk.group));
    }
    let kept = whole.records.iter().flat_map(|chunk| chunk.rows.iter().map(|record| (chunk.group, record.clone())));
    let kept: Vec<(u8, ItemRecord)> = kept.collect();
    prop_assert!(kept.iter().all(|(group, record)| catalogue_group(record.item) == *group));
    let records = kept.into_iter().map(|(_, record)| record).collect();
    let controls = whole.controls.iter();
    prop_assert!(controls.clone().all(|chunk| chunk.rows.iter().all(|row| key_group(row.user) == chunk.group)));
    let controls = controls.flat_map(|chunk| chunk.rows.clone()).collect();
    events.sort_by_key(|event| (event.user, event.item, event.ts, event.effect));
    let unique = events.len();
    events.dedup();
    prop_assert_eq!(events.len(), unique, "no event is in the snapshot twice");

    // The output may lack the last changes before the snapshot's tick.
    let before: Vec<_> = whole.changes.iter().filter(|(time, _)| *time <= boundary).cloned().collect();
    let after: Vec<_> = whole.changes.iter().filter(|(time, _)| *time > boundary).cloned().collect();
    let known = lists(&before[..before.len().saturating_sub(lost)]);
    let resume = ResumeState { events, records, controls, at, lists: known.clone() };
    let resumed = run(params, &all[cut + 1..], None, Some(resume), workers.1);

    // Lost changes come first, as one difference; then exactly the same changes.
    let first: Vec<_> = resumed.changes.iter().filter(|(_, change)| change.at <= at).cloned().collect();
    if lost == 0 && after.iter().all(|(time, _)| ms_of(*time) > at) {
        prop_assert_eq!(ordered(&first), vec![]);
    }
    let mut caught_up: BTreeMap<ListKey, Vec<u64>> = known.iter().cloned().collect();
    for (_, change) in &resumed.changes {
        let items = change.items.iter().map(|scored| scored.item).collect::<Vec<_>>();
        let old = caught_up.insert(change.key, items.clone()).unwrap_or_default();
        prop_assert_ne!(old, items, "a list is emitted again");
    }
    if params.refresh > 0 {
        // Lists that differ from the output wait for their next evaluation.
        let expected = expected_after(params, all, cut, at, &known);
        let mut found: Vec<ListChange> = resumed.changes.into_iter().map(|(_, change)| change).collect();
        found.sort_by_key(|change| (change.at, change.key));
        prop_assert_eq!(found, expected);
        return Ok(());
    }
    caught_up.retain(|_, items| !items.is_empty());
    prop_assert_eq!(caught_up.into_iter().collect::<Vec<_>>(), lists(&whole.changes));
    let later = |changes: &[(Time, ListChange)]| {
        let later: Vec<_> =
            changes.iter().filter(|(_, change)| change.at > at).map(|(_, change)| change.clone()).collect();
        let mut later: Vec<(u64, ListChange)> = later.into_iter().map(|change| (change.at, change)).collect();
        later.sort_by_key(|(at, change)| (*at, change.key));
        later
    };
    prop_assert_eq!(later(&resumed.changes), later(&whole.changes));
    Ok(())
}
