//! Groups, tags, and how a list is picked from a pool. The id64s are in the order p3 < p5 < p4 < p1 < p2.

mod standing;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::catalogue::{available, listed, record, set, text, with_a_catalogue};
use super::{ev, names, pairs_with_p1, without_expiry};
use crate::support::logs::{diverse_item_records, diversity};
use crate::support::oracle::catalogue::{OracleItemRecord, states};
use crate::support::oracle::diversity::{Caps, pick, pool_length, tags};
use crate::support::oracle::{OracleEvent, Params, World, lists, pools};

/// The tags of an item with this record.
fn tags_of(record: &OracleItemRecord) -> Vec<String> {
    let states = states(std::slice::from_ref(record), record.ts);
    tags(&states[&record.item]).into_iter().collect()
}

#[test]
fn tags_are_the_words_of_all_groups_and_what_the_record_says() {
    let item = record(
        "p1",
        10,
        &[
            ("tags:default", set(&["new", "red"])),
            ("tags:season", set(&["summer", "new"])),
            ("category", set(&["Beauty > Face > Mask", "Gift"])),
            ("host", text("mia")),
            ("brand", text("acme")),
            ("group", text("g")),
            ("room", set(&["r"])),
            ("title", text("t")),
        ],
    );
    let expected = [
        "brand:acme",
        "category:Beauty",
        "category:Beauty > Face",
        "category:Beauty > Face > Mask",
        "category:Gift",
        "host:mia",
        "new",
        "red",
        "summer",
    ];
    assert_eq!(tags_of(&item), expected);
    // Neither its title nor its group, room or kind.
    assert!(tags_of(&record("p1", 10, &[("kind", text("live")), ("title", text("t"))])).is_empty());
    // A host is not its own host.
    assert!(tags_of(&record("mia", 10, &[("kind", text("host"))])).is_empty());
    let guest = record("mia", 10, &[("kind", text("host")), ("host", text("bea"))]);
    assert_eq!(tags_of(&guest), ["host:bea"]);
}

/// A list of k items with this diversity.
fn diverse(k: usize, diversity: u32) -> Params {
    Params { k, diversity, ..without_expiry() }
}

/// A list of k items with these caps.
fn capped(k: usize, category: usize, host: usize, strict: bool) -> Params {
    Params { k, caps: Caps { category, host, strict }, ..without_expiry() }
}

#[test]
fn a_pool_has_4k_items_with_diversity_or_caps() {
    assert_eq!(pool_length(&Params { k: 3, ..Params::default() }), 6);
    assert_eq!(pool_length(&diverse(3, 1)), 12);
    assert_eq!(pool_length(&capped(3, 1, 0, false)), 12);
    assert_eq!(pool_length(&capped(3, 0, 1, false)), 12);
    assert_eq!(pool_length(&capped(3, 0, 0, true)), 6, "no cap");
}

/// What is picked of this pool, in which items have these records.
fn picked(pool: &[(&str, i64)], records: &[OracleItemRecord], params: &Params) -> Vec<String> {
    let pool: Vec<(String, i64)> = pool.iter().map(|(item, total)| ((*item).to_owned(), *total)).collect();
    let list = pick(&pool, &states(records, 100), params);
    for (item, total) in &list {
        assert!(pool.contains(&(item.clone(), *total)), "it keeps its total");
    }
    list.into_iter().map(|(item, _)| item).collect()
}

/// Items with these tags.
fn tagged(items: &[(&str, &[&str])]) -> Vec<OracleItemRecord> {
    items.iter().map(|(item, tags)| record(item, 0, &[("tags:default", set(tags))])).collect()
}

#[test]
fn an_item_that_is_like_a_picked_one_gives_way() {
    let pool = [("p1", 1_000), ("p2", 990), ("p3", 500)];
    let alike = tagged(&[("p1", &["a", "b"]), ("p2", &["a", "b"]), ("p3", &["c"])]);
    let of = |diversity, records: &[OracleItemRecord]| picked(&pool, records, &diverse(3, diversity));
    // floor(1024 * 990 / 1000) = 1013 and 512. After p1, of p2 and p3:
    // with 32, 68 * 1013 - 32 * 1024 = 36116 and 68 * 512 = 34816; with 33, 67 * 1013 - 33 * 1024 = 34079 and 34304.
    assert_eq!([of(0, &alike), of(32, &alike), of(33, &alike)].map(|list| list[1].clone()), ["p2", "p2", "p3"]);
    assert_eq!(of(33, &alike), ["p1", "p3", "p2"]);
    // Two of four tags: sim is 512. With 49, 51 * 1013 - 49 * 512 = 26575 and 51 * 512 = 26112; with 50, 50 * 1013 - 50 *
    // 512 = 25050 and 25600.
    let half = tagged(&[("p1", &["a", "b", "c"]), ("p2", &["b", "c", "d"]), ("p3", &["e"])]);
    assert_eq!([of(49, &half), of(50, &half)].map(|list| list[1].clone()), ["p2", "p3"]);
    // One of three: floor(341.3). With 59, 41 * 1013 - 59 * 341 = 21414 and 41 * 512 = 20992; with 60, 40 * 1013 - 60 * 341
    // = 20060 and 20480.
    let third = tagged(&[("p1", &["a", "b"]), ("p2", &["b", "c"]), ("p3", &["e"])]);
    assert_eq!([of(59, &third), of(60, &third)].map(|list| list[1].clone()), ["p2", "p3"]);
    // What p3 has in common with p1 counts too: 50 * 1013 - 50 * 512 = 25050 and 50 * 512 - 50 * 256 = 12800.
    let all = tagged(&[("p1", &["a", "b", "c"]), ("p2", &["b", "c", "d"]), ("p3", &["a", "e"])]);
    assert_eq!(of(50, &all)[1], "p2");
}

#[test]
fn sim_is_the_largest_over_all_picked_items() {
    let pool = [("p1", 100), ("p2", 90), ("p4", 80), ("p5", 70)];
    let of = |p4: &'static str| {
        let records = tagged(&[("p1", &["a"]), ("p2", &["b"]), ("p4", &[p4]), ("p5", &["c"])]);
        picked(&pool, &records, &diverse(3, 50))
    };
    assert_eq!(of("d"), ["p1", "p2", "p4"]);
    // It is like the first, or like the last that was picked.
    assert_eq!([of("a"), of("b")], [["p1", "p2", "p5"], ["p1", "p2", "p5"]]);
}

#[test]
fn items_without_tags_are_not_alike() {
    let pool = [("p1", 100), ("p2", 90), ("p4", 80), ("p5", 70)];
    let records = [listed("p1", 0), listed("p2", 0), tagged(&[("p5", &["a"])])[0].clone()];
    // p4 has no record. With 100 only sim counts, and nothing is alike.
    assert_eq!(picked(&pool, &records, &diverse(4, 100)), ["p1", "p2", "p4", "p5"]);
    assert_eq!(picked(&pool, &records, &diverse(2, 50)), ["p1", "p2"]);
}

#[test]
fn ties_are_decided_by_the_total_and_then_by_the_id() {
    // floor(1024 * 5003 / 10000) = floor(1024 * 5001 / 10000) = 512.
    let pool = [("p1", 10_000), ("p2", 5_003), ("p3", 5_001)];
    let records = tagged(&[("p1", &["a"]), ("p2", &["b"]), ("p3", &["c"])]);
    assert_eq!(picked(&pool, &records, &diverse(2, 10)), ["p1", "p2"]);
    // p3 is the less alike of the two.
    let alike = tagged(&[("p1", &["a"]), ("p2", &["a", "b"]), ("p3", &["c"])]);
    assert_eq!(picked(&pool, &alike, &diverse(2, 10)), ["p1", "p3"]);
    let equal = [("p3", 70), ("p5", 70), ("p4", 70), ("p1", 70)];
    assert_eq!(picked(&equal, &[], &diverse(3, 10)), ["p3", "p5", "p4"]);
    // With 100 a total counts only where as much is alike.
    let pool = [("p1", 10_000), ("p2", 9_000), ("p4", 8_000), ("p5", 1)];
    let records = tagged(&[("p1", &["a"]), ("p2", &["a"]), ("p4", &["a", "b"]), ("p5", &["b"])]);
    assert_eq!(picked(&pool, &records, &diverse(4, 100)), ["p1", "p5", "p4", "p2"]);
}

#[test]
fn best_is_the_largest_total_of_what_is_there() {
    // Of 1000, 800 and 700: 819 and 716, so with 20 after p1, p2 has 80 * 819 - 20 * 1024 = 45040 and p4 57280.
    let records = tagged(&[("p1", &["a"]), ("p2", &["a"]), ("p4", &["b"])]);
    assert_eq!(picked(&[("p1", 1_000), ("p2", 800), ("p4", 700)], &records, &diverse(2, 20)), ["p1", "p4"]);
    // With 10, p2 has 90 * 1013 - 10 * 1024 = 80930 and p4 90 * 911 = 81990.
    assert_eq!(picked(&[("p1", 1_000), ("p2", 990), ("p4", 890)], &records, &diverse(2, 10)), ["p1", "p4"]);
    // 90 * 870 = 78300 is less.
    assert_eq!(picked(&[("p1", 1_000), ("p2", 990), ("p4", 850)], &records, &diverse(2, 10)), ["p1", "p2"]);
}

/// Items with these first fields.
fn with_field(field: &str, items: &[(&str, &str)]) -> Vec<OracleItemRecord> {
    let value = |value| if field == "category" { set(&[value]) } else { text(value) };
    items.iter().map(|(item, of)| record(item, 0, &[(field, value(of))])).collect()
}

const FIVE: [(&str, i64); 5] = [("p1", 100), ("p2", 90), ("p4", 80), ("p5", 70), ("p3", 60)];

#[test]
fn an_item_over_a_cap_waits_until_all_are() {
    let records = with_field("category", &[("p1", "A > B"), ("p2", "A > B"), ("p4", "A > B"), ("p5", "A")]);
    // p5 has another path, and p3 none.
    let of = |k, cap, strict| picked(&FIVE, &records, &capped(k, cap, 0, strict));
    assert_eq!([of(3, 0, false), of(3, 1, false)], [["p1", "p2", "p4"], ["p1", "p5", "p3"]]);
    assert_eq!(of(3, 2, false), ["p1", "p2", "p5"]);
    assert_eq!([of(5, 1, false), of(4, 1, false)], [vec!["p1", "p5", "p3", "p2", "p4"], vec!["p1", "p5", "p3", "p2"]]);
    assert_eq!([of(5, 1, true), of(2, 1, true)], [vec!["p1", "p5", "p3"], vec!["p1", "p5"]]);
    assert_eq!(of(5, 3, true), ["p1", "p2", "p4", "p5", "p3"]);
    // Items without a category are under no cap.
    assert_eq!(picked(&FIVE, &[], &capped(5, 1, 1, true)).len(), 5);
    // Of hosts the same.
    let hosts = with_field("host", &[("p1", "mia"), ("p2", "mia"), ("p4", "bea"), ("p5", "bea")]);
    assert_eq!(picked(&FIVE, &hosts, &capped(5, 0, 1, true)), ["p1", "p4", "p3"]);
    assert_eq!(picked(&FIVE, &hosts, &capped(5, 0, 1, false)), ["p1", "p4", "p3", "p2", "p5"]);
    assert_eq!(picked(&FIVE, &hosts, &capped(3, 1, 0, true)), ["p1", "p2", "p4"], "the cap of another field");
    assert_eq!(picked(&FIVE, &records, &capped(3, 0, 1, true)), ["p1", "p2", "p4"], "the cap of another field");
}

#[test]
fn either_cap_is_enough() {
    let both = |item, category, host| record(item, 0, &[("category", set(&[category])), ("host", text(host))]);
    let records = [both("p1", "A", "mia"), both("p2", "A", "bea"), both("p4", "B", "mia"), both("p5", "B", "bea")];
    assert_eq!(picked(&FIVE, &records, &capped(5, 1, 1, true)), ["p1", "p5", "p3"]);
    assert_eq!(picked(&FIVE, &records, &capped(5, 2, 1, true)), ["p1", "p2", "p3"]);
    assert_eq!(picked(&FIVE, &records, &capped(5, 1, 2, true)), ["p1", "p4", "p3"]);
}

#[test]
fn the_first_category_counts_and_a_host_is_not_of_its_own() {
    let of = |item, categories: &[&str]| record(item, 0, &[("category", set(categories))]);
    // The first of p1 is A, and so is that of p4. B is not the first of p2.
    let records = [of("p1", &["B", "A"]), of("p2", &["B"]), of("p4", &["C", "A"]), of("p5", &["A > B", "A"])];
    assert_eq!(picked(&FIVE, &records, &capped(5, 1, 0, true)), ["p1", "p2", "p3"]);
    let records = [
        record("p1", 0, &[("host", text("p2"))]),
        record("p2", 0, &[("kind", text("host"))]),
        record("p4", 0, &[("host", text("p2"))]),
    ];
    assert_eq!(picked(&FIVE, &records, &capped(5, 0, 1, true)), ["p1", "p2", "p5", "p3"]);
}

#[test]
fn what_is_over_a_cap_is_picked_by_its_total_alone() {
    let of = |item, tag| record(item, 0, &[("category", set(&["A"])), ("tags:default", set(&[tag]))]);
    let records = [of("p1", "a"), of("p2", "a"), of("p4", "b"), of("p5", "c")];
    let params = |strict| Params { diversity: 90, ..capped(3, 1, 0, strict) };
    // p3 is under no cap. p2 is the most alike of the others, and the first.
    assert_eq!(picked(&FIVE, &records, &params(false)), ["p1", "p3", "p2"]);
    assert_eq!(picked(&FIVE, &records, &params(true)), ["p1", "p3"]);
    assert_eq!(picked(&FIVE, &records, &Params { diversity: 90, ..capped(3, 0, 0, true) }), ["p1", "p3", "p4"]);
    // Of equal totals the lower id.
    let equal = [("p5", 70), ("p4", 70), ("p1", 70)];
    let records = with_field("host", &[("p5", "mia"), ("p4", "mia"), ("p1", "mia")]);
    assert_eq!(picked(&equal, &records, &capped(3, 0, 1, false)), ["p5", "p4", "p1"]);
}

/// Records of p1 to p4, which exist, with these groups.
fn grouped(groups: &[(&str, &str)]) -> Vec<OracleItemRecord> {
    let of_item = |item| {
        let group = groups.iter().find(|(of, _)| *of == item).and_then(|(_, group)| text(group));
        record(item, 0, &[("kind", text("product")), ("group", group)])
    };
    ["p1", "p2", "p3", "p4"].map(of_item).into()
}

/// bob's list at 100, who has p1.
fn of_bob(records: &[OracleItemRecord], more: &[OracleEvent]) -> Vec<String> {
    let events = [pairs_with_p1(), more.to_vec()].concat();
    let world = World { events: &events, records, controls: &[], ended: false };
    let lists = lists(world, &with_a_catalogue(without_expiry()), 100);
    names(lists.get("bob").map_or(&[], Vec::as_slice)).into_iter().map(str::to_owned).collect()
}

#[test]
fn of_a_group_only_the_best_is_a_candidate() {
    // p3 and p2 tie, p4 is the last.
    assert_eq!(of_bob(&grouped(&[]), &[]), ["p3", "p2", "p4"]);
    assert_eq!(of_bob(&grouped(&[("p2", "g"), ("p3", "g")]), &[]), ["p3", "p4"]);
    assert_eq!(of_bob(&grouped(&[("p4", "g"), ("p2", "g")]), &[]), ["p3", "p2"]);
    assert_eq!(of_bob(&grouped(&[("p2", "g"), ("p3", "h"), ("p4", "g2")]), &[]), ["p3", "p2", "p4"]);
    assert_eq!(of_bob(&grouped(&[("p2", "g"), ("p3", "g"), ("p4", "g")]), &[]), ["p3"]);
    // With a larger total p2 is it.
    let d = [ev("d", "p1", 1, 50), ev("d", "p2", 1, 50)];
    assert_eq!(of_bob(&grouped(&[("p2", "g"), ("p3", "g")]), &d), ["p2", "p4"]);
    // What may not be recommended does not compete.
    let sold_out = [grouped(&[("p2", "g"), ("p3", "g")]), vec![available("p3", 50, "sold_out")]].concat();
    assert_eq!(of_bob(&sold_out, &[]), ["p2", "p4"]);
    // A record of the future says nothing yet.
    let ahead = [grouped(&[]), vec![record("p2", 101, &[("group", text("p3"))])]].concat();
    assert_eq!(of_bob(&ahead, &[]), ["p3", "p2", "p4"]);
    // A group has a name, but is no item.
    assert_eq!(of_bob(&grouped(&[("p2", "p3")]), &[]), ["p3", "p2", "p4"]);
}

#[test]
fn no_item_is_a_candidate_of_a_group_that_the_user_has() {
    assert_eq!(of_bob(&grouped(&[("p1", "g"), ("p3", "g")]), &[]), ["p2", "p4"]);
    assert_eq!(of_bob(&grouped(&[("p1", "g"), ("p2", "g"), ("p3", "g"), ("p4", "g")]), &[]), Vec::<String>::new());
    assert_eq!(of_bob(&grouped(&[("p1", "g"), ("p3", "h")]), &[]), ["p3", "p2", "p4"]);
    // Whether it may be recommended or not, and wherever it is in the history.
    let sold_out = [grouped(&[("p1", "g"), ("p3", "g")]), vec![available("p1", 50, "sold_out")]].concat();
    assert_eq!(of_bob(&sold_out, &[]), ["p2", "p4"]);
    let later = [grouped(&[("p1", "g"), ("p3", "g")]), vec![listed("p9", 0)]].concat();
    assert_eq!(of_bob(&later, &[ev("bob", "p9", 1, 100)]), ["p2", "p4"]);
    // What has no group is no group.
    assert_eq!(of_bob(&grouped(&[("p3", "g")]), &[]), ["p3", "p2", "p4"]);
}

#[test]
fn an_item_leaves_its_place_in_the_pool_to_the_next_of_another_group() {
    let params = Params { k: 1, ..with_a_catalogue(without_expiry()) };
    let pool = |groups: &[(&str, &str)]| {
        let (events, records) = (pairs_with_p1(), grouped(groups));
        let pools = pools(World { events: &events, records: &records, controls: &[], ended: false }, &params, 100);
        names(&pools["bob"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(pool(&[]), ["p3", "p2"]);
    assert_eq!(pool(&[("p3", "g"), ("p2", "g")]), ["p3", "p4"]);
}

proptest! {
    /// It is of the pool, as long as it can be, keeps to the caps if they are strict, and begins with the best.
    #[test]
    fn a_list_is_some_of_the_pool(
        records in diverse_item_records(40),
        (diversity, caps) in diversity(),
        totals in prop::collection::vec(1_i64..60, 1..12),
        k in 1_usize..6,
    ) {
        let params = Params { k, diversity, caps, ..Params::default() };
        let states = states(&records, 1_100);
        let mut pool: Vec<(String, i64)> = totals.into_iter().enumerate().map(|(n, total)| (format!("p{n}"), total)).collect();
        pool.sort_by_key(|(item, total)| (-total, params.ids.id64(item)));
        let list = pick(&pool, &states, &params);
        prop_assert!(list.iter().all(|listed| pool.contains(listed)));
        prop_assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len());
        prop_assert_eq!(list.first(), pool.first());
        let count = |field: &str, of: &dyn Fn(&str) -> Option<String>| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            list.iter().filter_map(|(item, _)| of(item)).for_each(|value| *counts.entry(value).or_default() += 1);
            (field.to_owned(), counts.into_values().max().unwrap_or_default())
        };
        let host = |item: &str| states.get(item)?.text("host").map(str::to_owned);
        let category = |item: &str| states.get(item)?.elements("category").first().map(|path| (*path).to_owned());
        let (_, of_a_host) = count("host", &host);
        let (_, of_a_category) = count("category", &category);
        if caps.strict && caps.host > 0 {
            prop_assert!(of_a_host <= caps.host);
        }
        if caps.strict && caps.category > 0 {
            prop_assert!(of_a_category <= caps.category);
        }
        if !caps.strict || (caps.category == 0 && caps.host == 0) {
            prop_assert_eq!(list.len(), pool.len().min(k));
        }
        if diversity == 0 && caps.category == 0 && caps.host == 0 {
            prop_assert_eq!(&list[..], &pool[..list.len()]);
        }
    }
}
