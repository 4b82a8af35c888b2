//! Retractions, skips and watches without a level of the graph, against the oracle.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::catalogue::{compare, with_records};
use crate::support::graph::ticks;
use crate::support::logs::{
    catalogue_params, diverse_item_records, ids, log_of_skips, params, params_of_lists, skipped,
    ticks_ahead_of_the_clock, ticks_that_take_back,
};
use crate::support::oracle::Params;

/// Numbers of events of a tick.
const SIZES: &[usize] = &[1, 1, 7, 1000];

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// The streams of changes and of similar users, record by record: of events of all kinds that are late, ahead of
    /// the clock, repeated, simultaneous and in any order.
    #[test]
    fn taking_back_equals_the_oracle(
        params in params(),
        skipped in skipped(),
        ids in ids(),
        ticks in ticks_that_take_back(80, SIZES),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        compare(&Params { ids, skipped, ..params }, &ticks, workers, rush, ends)?;
    }

    /// What is kept out closes its group.
    #[test]
    fn taking_back_of_items_of_a_catalogue_equals_the_oracle(
        params in params_of_lists(),
        catalogue in catalogue_params(),
        skipped in skipped(),
        ids in ids(),
        ticks in ticks_that_take_back(80, SIZES),
        records in diverse_item_records(40),
        arrivals in prop::collection::vec(any::<Index>(), 52),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        let params = Params { ids, skipped, catalogue: Some(catalogue), ..params };
        compare(&params, &with_records(ticks, &records, &arrivals), workers, rush, ends)?;
    }

    /// Events with a level that are ahead of the clock.
    #[test]
    fn events_ahead_of_the_clock_equal_the_oracle(
        params in params(),
        ids in ids(),
        ticks in ticks_ahead_of_the_clock(60, SIZES),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        rush in any::<bool>(),
        ends in any::<bool>(),
    ) {
        compare(&Params { ids, ..params }, &ticks, workers, rush, ends)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Of more skips than are kept, the newest are.
    #[test]
    fn many_skips_equal_the_oracle(
        params in params(),
        skipped in prop::sample::select(vec![40_u64, 100, 3_600_000]),
        retention in prop::sample::select(vec![80_u64, 1_000]),
        ids in ids(),
        log in log_of_skips(),
        workers in prop::sample::select(vec![1_usize, 2, 4]),
        size in prop::sample::select(SIZES),
        rush in any::<bool>(),
    ) {
        let params = Params { ids, retention, skipped, ..params };
        compare(&params, &ticks(&log, size), workers, rush, false)?;
    }
}
