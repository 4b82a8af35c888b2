//! Similar users.

use std::collections::{BTreeMap, BTreeSet};

use super::{ann_and_bob, ev, without_expiry};
use crate::support::oracle;
use crate::support::oracle::users::{activity, profile_weight, samples, shared, similar_users};
use crate::support::oracle::{OracleEvent, Params, history, lists, profile};

#[test]
fn a_similar_user_equals_the_hand_computed_one() {
    let events = ann_and_bob();
    let params = Params { items_weight: 0, ..Params::default() };
    let history = history(&events, &params, 3_000);
    // id64(user) xor id64(p1) is smaller for ann than for bob.
    let sample_of_one = Params { sample: 1, ..params.clone() };
    assert_eq!(samples(&history, &sample_of_one)["p1"], BTreeMap::from([("ann", 2)]));
    assert_eq!(samples(&history, &params)["p1"], BTreeMap::from([("ann", 2), ("bob", 1)]));
    // A = 8 * (2 + 3) and 8 * 1. B = 3 * 8 + 2 * 4 for ann and 1 * 8 for bob.
    assert_eq!(activity(&history, &params), BTreeMap::from([("ann", 40), ("bob", 8)]));
    let [ann, bob] = ["ann", "bob"].map(|user| profile(&history[user], &params));
    assert_eq!([&ann, &bob].map(|profile| profile_weight(profile)), [32, 8]);
    // p1 is in ann's second basket and in bob's first: W = min(2, 1) * 4 and min(1, 2) * 8.
    assert_eq!(shared(&ann, &samples(&history, &params))["bob"], 4);
    assert_eq!(shared(&bob, &samples(&history, &params))["ann"], 8);
    // q' is 4 of 4 and 6 of 8. The phase of (ann, bob) is 45. 128 * log2(40) = 681.2, so q'_uv(40) = (681 + 45) / 64 = 11.
    // Of 32 it is (640 + 45) / 64 = 10, and of 8 it is (384 + 45) / 64 = 6.
    // bob's w of ann = floor(0.5 + 1024 * 2^((2 * 6 - 11 - 6) / 4)) = floor(0.5 + 430.54) = 431.
    // ann's w of bob = floor(0.5 + 1024 * 2^((2 * 4 - 6 - 10) / 4)) = 256.
    let audience = BTreeSet::from(["ann", "bob"]);
    let similar = similar_users(&history, &audience, &params);
    assert_eq!(similar["bob"], [("ann".to_owned(), 431)]);
    assert_eq!(similar["ann"], [("bob".to_owned(), 256)]);
    // With a sample of one ann has no similar user: the sample is ann, who is skipped and not replaced.
    let similar = similar_users(&history, &audience, &sample_of_one);
    assert_eq!(similar, BTreeMap::from([("bob".to_owned(), vec![("ann".to_owned(), 431)])]));
    // bob: 431 * level 3, and with both sources 2 * 728 more.
    assert_eq!(lists(&events, &params, 3_000)["bob"], [("p2".to_owned(), 1_293)]);
    assert_eq!(lists(&events, &Params::default(), 3_000)["bob"], [("p2".to_owned(), 2_749)]);
    assert!(lists(&events, &Params { users_weight: 0, ..params }, 3_000).is_empty());
}

#[test]
fn users_are_compared_by_the_items_of_the_profile() {
    // The stairs 1, 2 weigh 2 and 1. The third item of each is not in the profile.
    let params = Params { stairs: vec![1, 2], ..without_expiry() };
    let mut events = vec![ev("ann", "p1", 3, 9_000), ev("ann", "p2", 5, 6_000), ev("ann", "p3", 6, 3_000)];
    events.extend([ev("bob", "p3", 6, 9_000), ev("bob", "p2", 6, 6_000), ev("bob", "p1", 1, 3_000)]);
    let history = history(&events, &params, 9_000);
    let samples = samples(&history, &params);
    let [ann, bob] = ["ann", "bob"].map(|user| profile(&history[user], &params));
    // min(3, 1) * 2 + min(5, 6) * 1, and min(6, 6) * 2 + min(6, 5) * 1: W is not symmetric.
    assert_eq!(shared(&ann, &samples)["bob"], 7);
    assert_eq!(shared(&bob, &samples)["ann"], 17);
    // B = 3 * 2 + 5 and 6 * 2 + 6. A is over the whole history: 2 * (3 + 5 + 6) and 2 * (6 + 6 + 1).
    assert_eq!([&ann, &bob].map(|profile| profile_weight(profile)), [11, 18]);
    assert_eq!(activity(&history, &params), BTreeMap::from([("ann", 28), ("bob", 26)]));
    // Of cid, only p3 is shared: nothing for ann.
    events.push(ev("cid", "p3", 6, 9_000));
    let similar = similar_users(&oracle::history(&events, &params, 9_000), &BTreeSet::from(["ann", "bob"]), &params);
    let users = |of: &str| similar[of].iter().map(|(user, _)| user.as_str()).collect::<BTreeSet<_>>();
    assert_eq!(users("ann"), BTreeSet::from(["bob"]));
    assert_eq!(users("bob"), BTreeSet::from(["ann", "cid"]));
}

#[test]
fn sums_over_the_longest_history_stay_below_2_to_the_29() {
    // 1000 items of level 15 in one basket, with the highest first stair that can be configured: 1000 * 15 * 2^15 of 2^29 =
    // 536,870,912.
    let stairs: Vec<usize> = (1..=15).chain([10_000]).collect();
    let params = Params { history: 1_000, stairs, sample: 1_000, ..without_expiry() };
    let events: Vec<OracleEvent> =
        ["ann", "bob"].into_iter().flat_map(|u| (0..1_000).map(move |n| ev(u, &format!("i{n}"), 15, 5))).collect();
    let history = history(&events, &params, 5);
    let profile = profile(&history["ann"], &params);
    assert_eq!(profile_weight(&profile), 491_520_000);
    assert_eq!(activity(&history, &params)["bob"], 491_520_000);
    assert_eq!(shared(&profile, &samples(&history, &params))["bob"], 491_520_000);
}

#[test]
fn similar_users_are_ranked_by_shared_items_then_id64_and_truncated() {
    // cid has the same items as ann; dan has many others besides. By id64 bob < cid < ann < dan.
    let mut events = ann_and_bob();
    events.extend([ev("cid", "p1", 2, 10), ev("cid", "p2", 3, 11), ev("dan", "p1", 2, 12)]);
    events.extend((3..9).map(|n| ev("dan", &format!("p{n}"), 6, 13)));
    let similar_to_ann = |kept: usize| {
        let params = Params { similar_users: kept, ..without_expiry() };
        let similar = similar_users(&history(&events, &params, 3_000), &BTreeSet::from(["ann"]), &params);
        similar["ann"].iter().map(|(user, _)| user.clone()).collect::<Vec<_>>()
    };
    assert_eq!(similar_to_ann(30), ["cid", "bob", "dan"]);
    assert_eq!(similar_to_ann(1), ["cid"]);
}
