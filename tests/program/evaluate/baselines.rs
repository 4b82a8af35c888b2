//! Baselines and repeats, against rankings that are computed here from scratch for each case.

use std::collections::{BTreeMap, BTreeSet};

use schema::id64;

use super::{Expected, evaluate, simulated, touched};
use crate::program::{TestDir, without_scores};
use crate::support::oracle::{self, OracleEvent, Params};

/// Items of a user's events, oldest first.
fn items_of<'e>(events: &'e [OracleEvent], user: &str) -> Vec<&'e str> {
    events.iter().filter(|event| event.user == user).map(|event| event.item.as_str()).collect()
}

/// What no list of a user contains.
fn excluded<'e>(events: &'e [OracleEvent], user: &str, repeats: bool) -> BTreeSet<&'e str> {
    if repeats { items_of(events, user).last().copied().into_iter().collect() } else { touched(events, user) }
}

/// The ten items with the largest scores, ties by id64.
fn ranked<'e>(scores: impl Iterator<Item = (&'e str, f64)>) -> Vec<String> {
    let mut items: Vec<(&str, f64)> = scores.collect();
    items.sort_by(|(a, a_score), (b, b_score)| b_score.total_cmp(a_score).then(id64(a).cmp(&id64(b))));
    items.into_iter().take(10).map(|(item, _)| item.to_owned()).collect()
}

fn popularity(events: &[OracleEvent], user: &str, repeats: bool) -> Vec<String> {
    let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events {
        users.entry(&event.item).or_default().insert(&event.user);
    }
    let excluded = excluded(events, user, repeats);
    ranked(users.iter().map(|(item, users)| (*item, users.len() as f64)).filter(|(item, _)| !excluded.contains(item)))
}

/// VMIS-kNN with the last two items. The logs of these tests have fewer than 500 users, so all sessions are neighbours.
fn vmis_knn(events: &[OracleEvent], user: &str, repeats: bool) -> Vec<String> {
    let sessions: BTreeSet<&str> =
        events.iter().map(|event| event.user.as_str()).filter(|other| *other != user).collect();
    let sessions: Vec<BTreeSet<&str>> = sessions.into_iter().map(|session| touched(events, session)).collect();
    let own = items_of(events, user);
    // The weight of the position, in tenths, times the similarity, times the number of items of the window.
    let tenths = |session: &BTreeSet<&str>| match own[..] {
        [.., a, b] if a == b => 18 * u32::from(session.contains(b)),
        [.., a, b] => match (session.contains(b), session.contains(a)) {
            (true, true) => 9 * 3,
            (true, false) => 9 * 2,
            (false, true) => 8,
            (false, false) => 0,
        },
        [b] => 9 * u32::from(session.contains(b)),
        [] => 0,
    };
    let mut sums: BTreeMap<&str, u32> = BTreeMap::new();
    for session in &sessions {
        for item in session {
            *sums.entry(item).or_default() += tenths(session);
        }
    }
    let excluded = excluded(events, user, repeats);
    let idf = |item: &str| {
        let with_item = sessions.iter().filter(|session| session.contains(item)).count();
        let idf = (sessions.len() as f64 / with_item as f64).ln();
        if idf <= 0.0 { 1.0 } else { idf }
    };
    let found = sums.iter().filter(|(item, sum)| **sum > 0 && !excluded.contains(*item));
    ranked(found.map(|(item, sum)| (*item, f64::from(*sum) * idf(item))))
}

/// Each baseline and deltarec, on all items and on new ones, with repeats as cases and without.
#[test]
fn baselines_score_their_definitions_just_before_each_event() {
    let dir = TestDir::new();
    let events = simulated(&dir, "events=600,users=40,items=30,rooms=2,rate=20,seed=24");
    let params = Params { k: 10, audience: None, shrink: 2, ..Params::default() };
    for repeats in [true, false] {
        // deltarec, popularity, vmis-knn.
        let mut all = [(); 3].map(|()| Expected::default());
        let mut new = [(); 3].map(|()| Expected::default());
        for (at, event) in events.iter().enumerate() {
            let (before, user) = (&events[..at], event.user.as_str());
            let now = before.last().map_or(0, |last| last.ts).max(event.ts - 1);
            let deltarec = without_scores(oracle::lists(before, &params, now)).remove(user).unwrap_or_default();
            let lists = [deltarec, popularity(before, user, repeats), vmis_knn(before, user, repeats)];
            let relevant = BTreeSet::from([event.item.clone()]);
            let is_new = !touched(before, user).contains(&*event.item);
            for (list, (all, new)) in lists.iter().zip(all.iter_mut().zip(&mut new)) {
                all.add(list, &relevant);
                if is_new {
                    new.add(list, &relevant);
                }
            }
        }
        let flag = if repeats { "--repeats" } else { "" };
        let args = "--protocol prequential --input x.jsonl --k 3,10 --resamples 0 --set graph.shrink=2";
        let report =
            evaluate(&dir, &format!("{args} --baselines popularity,vmis-knn,vmis-knn --picture out.svg {flag}"));
        let systems = report["systems"].as_array().unwrap();
        let names: Vec<&str> = systems.iter().map(|system| system["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["deltarec", "popularity", "vmis-knn"]);
        assert_eq!(report["repeats"], repeats);
        for (system, (all, new)) in systems.iter().zip(all.iter().zip(&new)) {
            new.assert_equals(&system["items"]["new"], 0.05);
            if repeats {
                all.assert_equals(&system["items"]["all"], 0.05);
            } else {
                assert!(system["items"]["all"].is_null());
                assert_eq!(system["items"]["repeats"]["metrics"]["hit_rate@10"]["mean"], 0.0);
            }
        }
        let title = format!("{} items found, with 95% intervals", if repeats { "all" } else { "new" });
        assert!(dir.read("out.svg").contains(&title), "{title}");
        let difference = &systems[2]["difference_to_first"]["hit_rate@10"]["mean"];
        let main = if repeats { &all } else { &new };
        let expected = [2, 0].map(|at: usize| main[at].sums["hit_rate@10"] / main[at].lists as f64);
        assert!((difference.as_f64().unwrap() - (expected[0] - expected[1])).abs() < 1e-12);
        // Baselines find repeats only if they may.
        let found = systems[2]["items"]["repeats"]["metrics"]["hit_rate@10"]["mean"].as_f64().unwrap();
        assert_eq!(found > 0.1, repeats, "{found}");
    }
}
