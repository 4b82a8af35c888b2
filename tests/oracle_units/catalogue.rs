//! The catalogue: what holds of an item, and what is eligible.

mod bounds;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{ann_and_bob, ev, items_only, names, pairs_with_p1, without_expiry};
use crate::support::logs::{catalogue_params, item_records};
use crate::support::oracle::catalogue::{
    CatalogueParams, Eligible, ItemState, OracleItemRecord, OracleStatement, OracleValue, eligible,
    eligible_at_the_end, forbids, state,
};
use crate::support::oracle::trending::{self, Trending};
use crate::support::oracle::{OracleEvent, Params, World, history, lists, pools, similar_items};

#[expect(clippy::unnecessary_wraps, reason = "a field is stated with a value or with none")]
pub(super) fn text(text: &str) -> Option<OracleValue> {
    Some(OracleValue::Text(text.to_owned()))
}

#[expect(clippy::unnecessary_wraps, reason = "a field is stated with a value or with none")]
pub(super) fn set(elements: &[&str]) -> Option<OracleValue> {
    Some(OracleValue::Set(elements.iter().map(|element| (*element).to_owned()).collect()))
}

#[expect(clippy::unnecessary_wraps, reason = "a field is stated with a value or with none")]
pub(super) fn number(number: u64) -> Option<OracleValue> {
    Some(OracleValue::Number(number))
}

#[expect(clippy::unnecessary_wraps, reason = "a field is stated with a value or with none")]
pub(super) fn word(word: &str) -> Option<OracleValue> {
    Some(OracleValue::Availability(word.to_owned()))
}

pub(super) fn record(item: &str, ts: u64, fields: &[(&str, Option<OracleValue>)]) -> OracleItemRecord {
    let fields = fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
    OracleItemRecord { item: item.to_owned(), ts, statement: OracleStatement::Fields(fields) }
}

pub(super) fn deleted(item: &str, ts: u64) -> OracleItemRecord {
    OracleItemRecord { item: item.to_owned(), ts, statement: OracleStatement::Deleted }
}

/// It exists, and that is all.
pub(super) fn listed(item: &str, ts: u64) -> OracleItemRecord {
    record(item, ts, &[("kind", text("product"))])
}

pub(super) fn available(item: &str, ts: u64, availability: &str) -> OracleItemRecord {
    record(item, ts, &[("availability", word(availability))])
}

/// These parameters with a catalogue without a bound, in which items without a record are not eligible.
pub(super) fn with_a_catalogue(params: Params) -> Params {
    Params { catalogue: Some(CatalogueParams { unknown_is_eligible: false, max_items: usize::MAX }), ..params }
}

fn unknown_is_eligible() -> Params {
    Params { catalogue: Some(CatalogueParams { unknown_is_eligible: true, max_items: usize::MAX }), ..items_only() }
}

/// What holds of a field of p1 at t, whatever the order of the records.
fn held(records: &[OracleItemRecord], field: &str, t: u64) -> Option<OracleValue> {
    let of = |records: &[OracleItemRecord]| state(records, "p1", t).and_then(|state| state.values.get(field).cloned());
    let backwards: Vec<OracleItemRecord> = records.iter().rev().cloned().collect();
    assert_eq!(of(records), of(&backwards));
    of(records)
}

/// Whether p1 is eligible at t.
fn is_eligible(records: &[OracleItemRecord], t: u64) -> bool {
    eligible(records, &with_a_catalogue(items_only()), t).contains("p1")
}

#[test]
fn the_last_statement_of_a_field_holds() {
    let records = [
        record("p1", 20, &[("title", text("second")), ("price", number(7))]),
        record("p1", 10, &[("title", text("zfirst")), ("brand", text("b"))]),
        record("p1", 30, &[("title", text("third"))]),
        record("p2", 25, &[("title", text("of another"))]),
    ];
    assert_eq!(
        [9, 10, 19, 20, 29].map(|t| held(&records, "title", t)),
        [None, text("zfirst"), text("zfirst"), text("second"), text("second")]
    );
    // What a record does not state stays.
    assert_eq!([held(&records, "brand", 30), held(&records, "price", 30)], [text("b"), number(7)]);
    assert_eq!(held(&records, "price", 19), None);
}

#[test]
fn null_clears_a_field_until_it_is_stated_again() {
    let records = [
        record("p1", 10, &[("kind", text("live")), ("availability", word("sold_out"))]),
        record("p1", 20, &[("availability", None)]),
        record("p1", 30, &[("kind", None)]),
        record("p1", 40, &[("kind", text("live"))]),
    ];
    assert_eq!([19, 20].map(|t| held(&records, "availability", t)), [word("sold_out"), None]);
    assert_eq!(
        [10, 19, 20, 29, 30, 39, 40].map(|t| is_eligible(&records, t)),
        [false, false, true, true, false, false, true]
    );
    // A late null does not clear what was stated after it.
    let late = [record("p1", 20, &[("title", text("t"))]), record("p1", 15, &[("title", None)])];
    assert_eq!(held(&late, "title", 20), text("t"));
}

/// What holds of two values of the same time.
fn of_equal_time(field: &str, a: Option<OracleValue>, b: Option<OracleValue>) -> Option<OracleValue> {
    held(&[record("p1", 10, &[(field, a)]), record("p1", 10, &[(field, b)])], field, 10)
}

#[test]
fn at_equal_times_a_value_beats_null_and_the_greater_value_holds() {
    assert_eq!(of_equal_time("title", None, text("a")), text("a"));
    assert_eq!(of_equal_time("from", None, number(0)), number(0));
    assert_eq!(of_equal_time("availability", None, word("in_stock")), word("in_stock"));
    // Numbers as numbers.
    assert_eq!(of_equal_time("price", number(9), number(10)), number(10));
    // Texts by their bytes.
    assert_eq!(of_equal_time("title", text("9"), text("10")), text("9"));
    assert_eq!(of_equal_time("title", text("Z"), text("a")), text("a"));
    assert_eq!(of_equal_time("title", text("z"), text("é")), text("é"));
    assert_eq!(of_equal_time("title", text("ab"), text("a")), text("ab"));
    // Sets by their sorted elements.
    assert_eq!(of_equal_time("category", set(&["a", "c"]), set(&["z", "b", "a"])), set(&["a", "c"]));
    assert_eq!(of_equal_time("tags:x", set(&["b"]), set(&["a", "z"])), set(&["b"]));
    assert_eq!(of_equal_time("room", set(&["a"]), set(&["b", "a"])), set(&["a", "b"]));
}

#[test]
fn at_equal_times_the_availability_that_forbids_holds() {
    // "hidden" is less than "in_stock" and "sold_out" greater.
    assert_eq!(of_equal_time("availability", word("in_stock"), word("hidden")), word("hidden"));
    assert_eq!(of_equal_time("availability", word("in_stock"), word("sold_out")), word("sold_out"));
    // Otherwise the greater word.
    assert_eq!(of_equal_time("availability", word("in_stock"), word("backorder")), word("in_stock"));
    assert_eq!(of_equal_time("availability", word("discontinued"), word("hidden")), word("hidden"));
    // A later one holds, whatever it is.
    let records = [available("p1", 10, "sold_out"), available("p1", 11, "backorder")];
    assert_eq!(held(&records, "availability", 11), word("backorder"));
}

#[test]
fn a_deletion_ends_all_statements_that_are_not_later() {
    let records = [
        record("p1", 10, &[("kind", text("live"))]),
        deleted("p1", 20),
        record("p1", 20, &[("title", text("at the same time"))]),
        record("p1", 21, &[("brand", text("b"))]),
    ];
    let fields = |t| state(&records, "p1", t).unwrap().values.into_keys().collect::<Vec<_>>();
    assert_eq!([fields(19), fields(20), fields(21)], [vec!["kind".to_owned()], vec![], vec!["brand".to_owned()]]);
    assert_eq!([19, 20, 21].map(|t| is_eligible(&records, t)), [true, false, true]);
    // An earlier deletion ends less.
    let two = [deleted("p1", 15), deleted("p1", 5), record("p1", 10, &[("title", text("t"))])];
    assert_eq!([14, 15].map(|t| held(&two, "title", t)), [text("t"), None]);
    assert_eq!(held(&[two[1].clone(), two[2].clone()], "title", 100), text("t"));
    // The null of a field ends no earlier value of it when a deletion has ended the null.
    let null = [record("p1", 9, &[("title", None)]), deleted("p1", 10), record("p1", 11, &[("title", text("t"))])];
    assert_eq!(held(&null, "title", 11), text("t"));
}

#[test]
fn the_first_time_is_that_of_the_first_record_or_of_the_latest_deletion() {
    let first = |records: &[OracleItemRecord], t| state(records, "p1", t).map(|state| state.first_time);
    let mut records = vec![listed("p1", 20), available("p1", 30, "sold_out"), listed("p2", 1)];
    assert_eq!([19, 20, 40].map(|t| first(&records, t)), [None, Some(20), Some(20)]);
    // A late record is an earlier first time, also one without a field.
    records.push(record("p1", 15, &[]));
    assert_eq!([14, 15, 40].map(|t| first(&records, t)), [None, Some(15), Some(15)]);
    records.push(deleted("p1", 35));
    assert_eq!([34, 35, 99].map(|t| first(&records, t)), [Some(15), Some(35), Some(35)]);
    records.extend([listed("p1", 50), listed("p1", 2)]);
    assert_eq!([34, 99].map(|t| first(&records, t)), [Some(2), Some(35)]);
    assert_eq!(first(&[deleted("p1", 7), listed("p1", 9)], 9), Some(7));
}

#[test]
fn an_item_exists_if_one_of_some_fields_has_a_value() {
    let exists = |field, value| state(&[record("p1", 10, &[(field, value)])], "p1", 10).unwrap().exists();
    for field in ["kind", "title", "host", "brand"] {
        assert!(exists(field, text("x")) && !exists(field, None), "{field}");
    }
    for field in ["category", "tags:default", "tags:season"] {
        assert!(exists(field, set(&["x"])) && !exists(field, None), "{field}");
    }
    assert!(!exists("image", text("x")) && !exists("url", text("x")) && !exists("group", text("x")));
    assert!(!exists("currency", text("EUR")) && !exists("room", set(&["x"])) && !exists("price", number(1)));
    assert!(!exists("from", number(1)) && !exists("until", number(1)) && !exists("availability", word("in_stock")));
    // A record without a field is a record of an item that does not exist.
    assert_eq!(state(&[record("p1", 10, &[])], "p1", 10), Some(ItemState { values: BTreeMap::new(), first_time: 10 }));
    assert_eq!(state(&[listed("p1", 10)], "p1", 9), None);
}

#[test]
fn without_a_kind_an_item_is_a_product_and_without_a_group_alone() {
    let of = |fields: &[(&str, Option<OracleValue>)]| state(&[record("p1", 10, fields)], "p1", 10).unwrap();
    assert_eq!((of(&[]).kind(), of(&[]).group()), ("product", None));
    let live = of(&[("kind", text("live")), ("group", text("g"))]);
    assert_eq!((live.kind(), live.group()), ("live", Some("g")));
}

#[test]
fn the_words_of_availability_say_whether_an_item_may_be_recommended() {
    let eligible = |availability| {
        is_eligible(&[record("p1", 10, &[("brand", text("b")), ("availability", word(availability))])], 10)
    };
    for may in [
        "in_stock",
        "limited_availability",
        "preorder",
        "presale",
        "backorder",
        "made_to_order",
        "online_only",
        "on_air",
    ] {
        assert!(!forbids(may) && eligible(may), "{may}");
    }
    for may_not in ["out_of_stock", "sold_out", "discontinued", "reserved", "in_store_only", "off_air", "hidden"] {
        assert!(forbids(may_not) && !eligible(may_not), "{may_not}");
    }
    assert!(is_eligible(&[listed("p1", 10)], 10), "no availability");
    assert!(!is_eligible(&[available("p1", 10, "in_stock")], 10), "it does not exist");
}

#[test]
fn an_item_is_eligible_from_its_from_to_before_its_until() {
    let at = |from, until, times: [u64; 4]| {
        let records = [record("p1", 0, &[("kind", text("live")), ("from", from), ("until", until)])];
        times.map(|t| is_eligible(&records, t))
    };
    assert_eq!(at(number(10), number(20), [9, 10, 19, 20]), [false, true, true, false]);
    assert_eq!(at(None, number(20), [0, 10, 19, 20]), [true, true, true, false]);
    assert_eq!(at(number(10), None, [9, 10, 20, u64::MAX]), [false, true, true, true]);
    // If until is not after from, never.
    assert_eq!(at(number(10), number(10), [9, 10, 11, 12]), [false; 4]);
    assert_eq!(at(number(20), number(10), [9, 10, 19, 20]), [false; 4]);
    assert_eq!(at(number(10), number(11), [9, 10, 11, 12]), [false, true, false, false]);
}

#[test]
fn an_unknown_item_is_eligible_only_where_the_parameter_says_so() {
    let records = [listed("p1", 10), deleted("p2", 10), record("p3", 10, &[("price", number(1))])];
    let of = |params: &Params, t| ["p1", "p2", "p3", "p4"].map(|item| eligible(&records, params, t).contains(item));
    assert_eq!(of(&with_a_catalogue(items_only()), 10), [true, false, false, false]);
    assert_eq!(of(&with_a_catalogue(items_only()), 9), [false; 4]);
    // One that has had a record, be it of its deletion, is not unknown. A record ahead of the clock has not been.
    assert_eq!(of(&unknown_is_eligible(), 10), [true, false, false, true]);
    assert_eq!(of(&unknown_is_eligible(), 9), [true; 4]);
    // Without a catalogue everything is.
    assert_eq!(eligible(&[], &items_only(), 10), Eligible::everything());
    assert!(Eligible::everything().contains("p1"));
}

#[test]
fn records_ahead_of_the_clock_act_at_the_end() {
    let records = [listed("p1", 10), available("p1", 30, "sold_out"), available("p1", 20, "in_stock")];
    assert!(is_eligible(&records, 15));
    let params = with_a_catalogue(items_only());
    assert!(!eligible_at_the_end(&records, &params, 15).contains("p1"), "the last statement is that of 30");
    // But the time of the end is not that of the record: `from` lies ahead.
    let later = [record("p1", 30, &[("kind", text("live")), ("from", number(20))])];
    assert!(!eligible_at_the_end(&later, &params, 15).contains("p1"));
    assert!(eligible_at_the_end(&later, &params, 20).contains("p1"));
}

/// The names of the items similar to p1 at 100, with these that are not eligible.
fn similar_to_p1(neighbours: usize, not_eligible: &[&str]) -> Vec<(String, u64)> {
    let params = Params { neighbours, ..with_a_catalogue(without_expiry()) };
    let mut records: Vec<_> = ["p1", "p2", "p3", "p4"].map(|item| listed(item, 0)).into();
    records.extend(not_eligible.iter().map(|item| available(item, 50, "sold_out")));
    let history = history(&pairs_with_p1(), &params, 100);
    similar_items(&history, &eligible(&records, &params, 100), &params).remove("p1").unwrap_or_default()
}

#[test]
fn only_eligible_items_are_kept_as_similar() {
    let of = |neighbours, not_eligible: &[&str]| {
        similar_to_p1(neighbours, not_eligible).into_iter().map(|(item, _)| item).collect::<Vec<_>>()
    };
    // p3 and p2 tie, p4 is last.
    assert_eq!(of(30, &[]), ["p3", "p2", "p4"]);
    assert_eq!(of(30, &["p3"]), ["p2", "p4"]);
    // The next one takes its place.
    assert_eq!([of(1, &[]), of(1, &["p3"]), of(1, &["p3", "p2"])], [["p3"], ["p2"], ["p4"]]);
    assert!(of(30, &["p2", "p3", "p4"]).is_empty());
    // p1 need not be eligible, and no similarity changes with what is.
    assert_eq!(similar_to_p1(30, &["p1"]), similar_to_p1(30, &[]));
    assert_eq!(similar_to_p1(30, &["p3"])[..], similar_to_p1(30, &[])[1..]);
}

/// bob's list or pool at 100.
fn of_bob(of: &BTreeMap<String, Vec<(String, i64)>>) -> Vec<String> {
    names(of.get("bob").map_or(&[], Vec::as_slice)).into_iter().map(str::to_owned).collect()
}

#[test]
fn lists_have_eligible_items_only_and_pools_twice_as_many() {
    let params = Params { k: 1, ..with_a_catalogue(without_expiry()) };
    let records = ["p2", "p3", "p4"].map(|item| listed(item, 0));
    let events = pairs_with_p1();
    let world = |records| World { events: &events, records, controls: &[], ended: false };
    assert_eq!(of_bob(&lists(world(&records), &params, 100)), ["p3"]);
    assert_eq!(of_bob(&pools(world(&records), &params, 100)), ["p3", "p2"]);
    let records = [&records[..], &[deleted("p3", 101)]].concat();
    assert_eq!(of_bob(&pools(world(&records), &params, 100)), ["p3", "p2"]);
    assert_eq!(of_bob(&lists(world(&records), &params, 101)), ["p2"]);
    assert_eq!(of_bob(&pools(world(&records), &params, 101)), ["p2", "p4"]);
    // Without a record nothing is eligible, unless unknown items are.
    assert!(pools(world(&[]), &params, 100).is_empty());
    let unknown = Params { k: 1, ..unknown_is_eligible() };
    assert_eq!(of_bob(&pools(world(&[]), &unknown, 100)), ["p3", "p2"]);
    assert_eq!(of_bob(&pools(world(&records[3..]), &unknown, 101)), ["p2", "p4"]);
    // Events alone are a world without a catalogue.
    assert_eq!(of_bob(&pools(&events, &Params { k: 1, ..without_expiry() }, 100)), ["p3", "p2"]);
}

#[test]
fn the_source_users_has_eligible_items_only() {
    let params = Params { items_weight: 0, ..with_a_catalogue(Params::default()) };
    let mut events = ann_and_bob();
    events.push(ev("ann", "p3", 1, 2_500));
    let of = |records: &[OracleItemRecord]| {
        of_bob(&lists(World { events: &events, records, controls: &[], ended: false }, &params, 3_000))
    };
    // ann is similar to bob; her p2 has the level 3.
    assert_eq!(of(&[listed("p2", 0), listed("p3", 0)]), ["p2", "p3"]);
    assert_eq!(of(&[listed("p2", 0), listed("p3", 0), deleted("p2", 10)]), ["p3"]);
    // What they share need not be eligible.
    assert_eq!(of(&[listed("p3", 0), available("p1", 0, "sold_out")]), ["p3"]);
}

#[test]
fn trending_lists_have_eligible_items_only() {
    let params = with_a_catalogue(items_only());
    let trending = Trending { k: 1, bucket: 10, buckets: 2 };
    let events: Vec<(OracleEvent, Option<String>)> =
        vec![(ev("u", "p1", 3, 5), Some("r".to_owned())), (ev("u", "p2", 2, 5), None)];
    let mut records = vec![listed("p1", 0), listed("p2", 0)];
    let at = |records: &[OracleItemRecord], t| {
        let lists = trending::lists(&events, &eligible(records, &params, t), trending, t);
        lists.into_iter().map(|(key, list)| (key, list[0].clone())).collect::<Vec<_>>()
    };
    let (everywhere, room) = ("deltarec:trending".to_owned(), "deltarec:trending:room:r".to_owned());
    let p1 = ("p1".to_owned(), 3 * 2);
    assert_eq!(at(&records, 10), [(everywhere.clone(), p1.clone()), (room, p1)]);
    // When what is eligible changes, so does the list. The room has no other item.
    records.push(record("p1", 0, &[("until", number(12))]));
    assert_eq!(at(&records, 11).len(), 2);
    assert_eq!(at(&records, 12), [(everywhere, ("p2".to_owned(), 2 * 2))]);
    assert!(at(&[], 12).is_empty());
}

/// Every item of the records.
fn items(records: &[OracleItemRecord]) -> BTreeSet<&str> {
    records.iter().map(|record| record.item.as_str()).collect()
}

proptest! {
    #[test]
    fn states_do_not_depend_on_order_or_repetitions(
        (records, shuffled) in item_records(20).prop_flat_map(|records| {
            let twice = [records.clone(), records.clone()].concat();
            (Just(records), Just(twice).prop_shuffle())
        }),
        catalogue in catalogue_params(),
        t in 980..1_250_u64,
    ) {
        for item in items(&records) {
            prop_assert_eq!(state(&records, item, t), state(&shuffled, item, t));
        }
        let params = Params { catalogue: Some(catalogue), ..Params::default() };
        prop_assert_eq!(eligible(&records, &params, t), eligible(&shuffled, &params, t));
        prop_assert_eq!(eligible_at_the_end(&records, &params, t), eligible_at_the_end(&shuffled, &params, t));
    }

    /// After the last of them all have acted.
    #[test]
    fn the_end_is_the_time_at_which_all_records_have_acted(records in item_records(20), catalogue in catalogue_params()) {
        let params = Params { catalogue: Some(catalogue), ..Params::default() };
        let last = records.iter().map(|record| record.ts).max().unwrap_or_default();
        prop_assert_eq!(eligible_at_the_end(&records, &params, last), eligible(&records, &params, last));
    }
}
