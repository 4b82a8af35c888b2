//! The graph with a catalogue, against the oracle.

use dataflows::Config;
use dataflows::config::Outputs;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::graph::{Emitted, Pace, Tick, config, emitted, ticks};
use crate::support::logs::{catalogue_params, diverse_item_records, ids, item_records, log, params, params_of_lists};
use crate::support::oracle::Params;
use crate::support::oracle::catalogue::{CatalogueParams, OracleItemRecord};
use crate::support::oracle::changes::{changes_of_run, similar_user_rows};
use crate::support::oracle::evaluations::Run;

/// Lets each record arrive in one of the ticks.
pub(crate) fn with_records(mut ticks: Vec<Tick>, records: &[OracleItemRecord], arrivals: &[Index]) -> Vec<Tick> {
    let number = ticks.len();
    for (record, arrival) in records.iter().zip(arrivals).filter(|_| number > 0) {
        ticks[arrival.index(number)].records.push(record.clone());
    }
    ticks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Records that are late, ahead of the clock, repeated and in any order among events that are; with one event a tick or
    /// several: the streams of changes and of similar users equal the oracle's, record by record.
    #[test]
    fn every_change_equals_the_oracle(
        params in params(),
        catalogue in catalogue_params(),
        ids in ids(),
        log in log(60),
        records in item_records(40),
        arrivals in prop::collection::vec(any::<Index>(), 40),
        repeats in prop::collection::vec(any::<Index>(), 0..6),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 1, 2, 7, 1000]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let params = Params { ids, catalogue: Some(catalogue), ..params };
        let mut records = records;
        for repeat in repeats.iter().filter(|_| !records.is_empty()).collect::<Vec<_>>() {
            records.push(repeat.get(&records).clone());
        }
        let ticks = with_records(ticks(&log, size), &records, &arrivals);
        compare(&params, &ticks, workers, rush, ends)?;
    }

    /// Groups, caps, diversity and reasons, over items whose records change.
    #[test]
    fn diverse_lists_and_their_reasons_equal_the_oracle(
        params in params_of_lists(),
        catalogue in catalogue_params(),
        ids in ids(),
        log in log(60),
        records in diverse_item_records(60),
        arrivals in prop::collection::vec(any::<Index>(), 72),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(vec![1_usize, 1, 2, 7, 1000]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let params = Params { ids, catalogue: Some(catalogue), ..params };
        let ticks = with_records(ticks(&log, size), &records, &arrivals);
        compare(&params, &ticks, workers, rush, ends)?;
    }

    /// Few items and deletions fit: which records count depends on the order in which they act.
    #[test]
    fn bounds_of_the_catalogue_equal_the_oracle(
        params in params(),
        unknown_is_eligible in any::<bool>(),
        max_items in 1_usize..6,
        log in log(40),
        records in item_records(40),
        arrivals in prop::collection::vec(any::<Index>(), 40),
        workers in prop::sample::select(vec![1_usize, 2]),
        size in prop::sample::select(vec![1_usize, 3]),
    ) {
        let params = Params { catalogue: Some(CatalogueParams { unknown_is_eligible, max_items }), ..params };
        let ticks = with_records(ticks(&log, size), &records, &arrivals);
        compare(&params, &ticks, workers, false, false)?;
    }
}

/// Compares the streams of changes and of similar users with the oracle's.
pub(crate) fn compare(
    params: &Params,
    ticks: &[Tick],
    workers: usize,
    rush: bool,
    ends: bool,
) -> Result<(), TestCaseError> {
    compare_with(config(params), params, ticks, workers, rush, ends)
}

/// The same for a graph with this configuration.
pub(crate) fn compare_with(
    config: Config,
    params: &Params,
    ticks: &[Tick],
    workers: usize,
    rush: bool,
    ends: bool,
) -> Result<(), TestCaseError> {
    let pace = if rush { Pace::Rush } else { Pace::Wait };
    let outputs = Outputs { similar_users: true, ..Outputs::default() };
    let config = Config { outputs, ..config };
    let Emitted { changes, similar_users } = emitted(&config, params.ids, ticks, workers, pace, ends);
    let coalesced: Vec<_> = ticks.iter().map(Tick::coalesced).collect();
    let run = Run { resumed: None, ticks: &coalesced, ends };
    prop_assert_eq!(changes, changes_of_run(&run, params));
    prop_assert_eq!(similar_users, similar_user_rows(&run, params));
    Ok(())
}
