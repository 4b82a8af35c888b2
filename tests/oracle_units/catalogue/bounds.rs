//! The bounds of a catalogue, which depend on the order in which records act. The id64s are in the order
//! p3 < p5 < p4 < p1 < p2.

use super::{available, deleted, listed, record, text};
use crate::support::oracle::Params;
use crate::support::oracle::catalogue::{Arrivals, CatalogueParams, OracleItemRecord, counted, eligible, state};

fn bounded(max_items: usize) -> Params {
    Params { catalogue: Some(CatalogueParams { unknown_is_eligible: true, max_items }), ..Params::default() }
}

/// The items and times of those of the records that count.
fn that_count(max_items: usize, acted: &[OracleItemRecord]) -> Vec<(String, u64)> {
    counted(acted, &bounded(max_items)).into_iter().map(|record| (record.item, record.ts)).collect()
}

fn expected(records: &[(&str, u64)]) -> Vec<(String, u64)> {
    records.iter().map(|(item, ts)| ((*item).to_owned(), *ts)).collect()
}

#[test]
fn records_act_when_they_arrive_or_at_their_own_time() {
    let mut arrivals = Arrivals::default();
    let acted = |arrivals: &Arrivals| {
        let acted = arrivals.counted(&bounded(usize::MAX));
        acted.into_iter().map(|record| (record.item, record.ts)).collect::<Vec<_>>()
    };
    arrivals.tick(100, &[listed("p1", 100), listed("p2", 300), listed("p3", 200), listed("p4", 7), listed("p5", 900)]);
    assert_eq!(acted(&arrivals), expected(&[("p4", 7), ("p1", 100)]));
    arrivals.tick(199, &[]);
    assert_eq!(acted(&arrivals).len(), 2);
    // In a tick those of before come first at equal times.
    arrivals.tick(300, &[listed("p5", 300), listed("p4", 150)]);
    let then = [("p4", 7), ("p1", 100), ("p4", 150), ("p3", 200), ("p2", 300), ("p5", 300)];
    assert_eq!(acted(&arrivals), expected(&then));
    let mut resumed =
        Arrivals::resumed(&[arrivals.counted(&bounded(usize::MAX)), vec![listed("p5", 900)]].concat(), 300);
    assert_eq!(acted(&resumed), expected(&then));
    resumed.end();
    assert_eq!(acted(&resumed).last(), expected(&[("p5", 900)]).last());
}

#[test]
fn the_times_of_records_and_their_from_and_until_are_due() {
    let mut arrivals = Arrivals::default();
    let number = super::number;
    let records = [
        record("p1", 10, &[("from", number(3)), ("until", None)]),
        record("p1", 20, &[("until", number(99)), ("price", number(5))]),
    ];
    arrivals.tick(15, &records);
    assert_eq!(arrivals.due_times().into_iter().collect::<Vec<_>>(), [3, 10, 20, 99]);
}

#[test]
fn a_record_of_another_item_counts_for_nothing_while_the_catalogue_is_full() {
    let acted = [listed("p1", 10), listed("p2", 20), listed("p3", 5), available("p1", 30, "sold_out")];
    assert_eq!(that_count(2, &acted), expected(&[("p1", 10), ("p2", 20), ("p1", 30)]));
    assert_eq!(that_count(3, &acted).len(), 4);
    // Without a field an item takes no room, and a null is a statement.
    let acted = [record("p1", 10, &[]), record("p2", 20, &[("title", None)]), listed("p3", 30), record("p1", 40, &[])];
    assert_eq!(that_count(1, &acted), expected(&[("p1", 10), ("p2", 20)]));
    // A deletion makes room.
    let acted = [listed("p1", 10), listed("p2", 20), deleted("p1", 30), listed("p2", 25), listed("p1", 40)];
    assert_eq!(that_count(1, &acted), expected(&[("p1", 10), ("p1", 30), ("p2", 25)]));
    // So does one of the same time, but not an earlier one.
    let acted = [listed("p1", 10), deleted("p1", 9), listed("p2", 12), deleted("p1", 10), listed("p2", 13)];
    assert_eq!(that_count(1, &acted), expected(&[("p1", 10), ("p1", 9), ("p1", 10), ("p2", 13)]));
    // A deletion of another item counts.
    let acted = [listed("p1", 10), deleted("p2", 11), listed("p2", 12)];
    assert_eq!(that_count(1, &acted), expected(&[("p1", 10), ("p2", 11)]));
}

#[test]
fn the_newest_deletions_are_kept_and_earlier_records_are_stale_then() {
    let acted = [
        deleted("p1", 10),
        deleted("p2", 20),
        // Drops that of p1.
        deleted("p3", 30),
        listed("p1", 9),
        listed("p4", 10),
        deleted("p5", 10),
        listed("p4", 11),
        listed("p2", 15),
    ];
    // The last record counts, but the deletion at 20 ends it.
    let counts = [("p2", 20), ("p3", 30), ("p4", 11), ("p2", 15)];
    assert_eq!(that_count(2, &acted), expected(&counts));
    // An item whose deletion was dropped is unknown again.
    let records = counted(&acted, &bounded(2));
    let eligible = eligible(&records, &bounded(2), 100);
    assert_eq!(["p1", "p2", "p3", "p4"].map(|item| eligible.contains(item)), [true, false, false, true]);
}

#[test]
fn of_deletions_at_the_same_time_that_of_the_least_id_is_dropped() {
    let acted = [deleted("p1", 10), deleted("p5", 10), deleted("p4", 10)];
    assert_eq!(that_count(2, &acted), expected(&[("p1", 10), ("p4", 10)]));
    // The one that acts may be the one that is dropped: p3 has the least id.
    let acted = [deleted("p1", 10), deleted("p5", 10), deleted("p3", 10)];
    assert_eq!(that_count(2, &acted), expected(&[("p1", 10), ("p5", 10)]));
    let acted = [deleted("p1", 10), deleted("p5", 10), deleted("p2", 9)];
    assert_eq!(that_count(2, &acted), expected(&[("p1", 10), ("p5", 10)]));
}

#[test]
fn an_item_has_one_deletion_its_latest() {
    let acted = [deleted("p1", 10), deleted("p1", 20), deleted("p1", 15), deleted("p2", 5), listed("p3", 1)];
    assert_eq!(that_count(2, &acted).len(), 5);
    // That of p1 is at 20, so that of p2 is dropped.
    let acted = [deleted("p1", 20), deleted("p1", 1), deleted("p2", 10), listed("p3", 10), listed("p3", 11)];
    assert_eq!(that_count(1, &acted), expected(&[("p1", 20), ("p1", 1), ("p3", 11)]));
}

#[test]
fn what_a_dropped_deletion_has_ended_does_not_come_back() {
    let acted = [
        listed("p1", 5),
        deleted("p1", 10),
        record("p1", 11, &[("title", text("t"))]),
        // With one deletion this drops that of p1, which has a field and keeps its first time.
        deleted("p1", 9),
        deleted("p2", 20),
    ];
    // While p1 has a field the catalogue is full, so there are two.
    let params = bounded(2);
    let acted = [&acted[..], &[deleted("p3", 30)]].concat();
    let p1 = state(&counted(&acted, &params), "p1", 100).unwrap();
    assert_eq!((p1.first_time, p1.values.into_keys().collect::<Vec<_>>()), (10, vec!["title".to_owned()]));
    // It does not count towards the bound any more: that of p4 drops that of p2.
    let acted = [&acted[..], &[deleted("p4", 40), listed("p5", 20), listed("p5", 21)]].concat();
    let counts: Vec<_> = counted(&acted, &params).into_iter().filter(|record| record.item != "p1").collect();
    assert_eq!(counts, [deleted("p3", 30), deleted("p4", 40), listed("p5", 21)]);
    // When p1 is deleted again it has one deletion.
    let acted = [&acted[..], &[deleted("p1", 50)]].concat();
    let counts: Vec<_> = counted(&acted, &params).into_iter().filter(|record| record.item != "p5").collect();
    assert_eq!(counts.iter().filter(|record| record.item == "p3").count(), 0);
    assert_eq!(state(&counts, "p1", 100).map(|state| (state.first_time, state.values.len())), Some((50, 0)));
}
