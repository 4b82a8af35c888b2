//! Cases and training events of each protocol, against splits that are made here, one obvious way.

use std::collections::{BTreeMap, BTreeSet};

use super::{Expected, evaluate, simulated, touched, without_expiry};
use crate::program::{TestDir, event, without_scores};
use crate::support::oracle::{self, OracleEvent, Params};

/// Index of the first event of each user.
fn first_events(events: &[OracleEvent]) -> BTreeMap<&str, usize> {
    events.iter().enumerate().rev().map(|(at, event)| (&*event.user, at)).collect()
}

/// The oracle's list of a user just before an event.
fn list_before(before: &[OracleEvent], event: &OracleEvent, params: &Params) -> Vec<String> {
    let now = before.last().map_or(0, |last| last.ts).max(event.ts - 1);
    without_scores(oracle::lists(before, params, now)).remove(&event.user).unwrap_or_default()
}

#[test]
fn sessions_scores_the_oracles_lists_of_users_that_begin_after_the_cut() {
    let dir = TestDir::new();
    let events = simulated(&dir, "events=700,users=250,items=30,rooms=2,rate=20,seed=21");
    let params = Params { k: 10, retention: 12_000, audience: None, shrink: 2, ..Params::default() };
    let cut = events[(events.len() as f64 * 0.4).round() as usize].ts;
    let first = first_events(&events);
    let begins_late = |event: &OracleEvent| events[first[&*event.user]].ts >= cut;
    let is_learnt = |event: &&OracleEvent| event.ts < cut || begins_late(event);
    let (mut new, mut repeats) = (Expected::default(), 0);
    for (at, event) in events.iter().enumerate() {
        if !begins_late(event) || first[&*event.user] == at {
            continue;
        }
        let before: Vec<OracleEvent> = events[..at].iter().filter(is_learnt).cloned().collect();
        if touched(&before, &event.user).contains(&*event.item) {
            repeats += 1;
        } else {
            new.add(&list_before(&before, event, &params), &BTreeSet::from([event.item.clone()]));
        }
    }
    let left_out = events.iter().filter(|event| !is_learnt(event)).count();
    assert!(new.lists > 50 && repeats > 5 && left_out > 50, "{} {repeats} {left_out}", new.lists);

    let args = "--protocol sessions --from 40% --input x.jsonl --k 3,10 --resamples 20 --baselines vmis-knn,random \
                --set graph.retention=12s --set graph.shrink=2";
    let report = evaluate(&dir, &format!("{args} --workers 2"));
    let items = &report["systems"][0]["items"];
    new.assert_equals(&items["new"], 0.1);
    assert_eq!(items["repeats"]["lists"], repeats);
    assert_eq!(items["cold_users"]["lists"], 0, "every case has a session so far");
    assert_eq!(report["left_out"], left_out);
    assert_eq!(report["protocol"]["name"], "sessions");

    // Another number of workers gives the same bytes, and another tick the same cases.
    let before = dir.read("out.json");
    evaluate(&dir, &format!("{args} --workers 1"));
    assert_eq!(dir.read("out.json"), before);
    let with_tick = evaluate(&dir, &format!("{args} --tick 9"));
    assert_eq!(with_tick["systems"][0]["items"]["new"]["lists"], items["new"]["lists"]);
}

#[test]
fn last_holds_out_several_events_of_each_user_together() {
    let dir = TestDir::new();
    let events = simulated(&dir, "events=3000,users=300,items=120,rooms=4,seed=22");
    for last in [3, 6] {
        let is_held_out = |at: usize| {
            let of_user: Vec<usize> =
                (0..events.len()).filter(|other| events[*other].user == events[at].user).collect();
            of_user.len() > last && of_user[of_user.len() - last..].contains(&at)
        };
        let (held_out, train): (Vec<usize>, Vec<usize>) = (0..events.len()).partition(|at| is_held_out(*at));
        let [held_out, train] =
            [held_out, train].map(|list| list.into_iter().map(|at| events[at].clone()).collect::<Vec<_>>());
        let params = Params { k: 10, ..without_expiry() };
        let lists = without_scores(oracle::lists(&train, &params, train.last().unwrap().ts));
        let (mut new, mut several) = (Expected::default(), 0);
        for user in held_out.iter().map(|event| &event.user).collect::<BTreeSet<_>>() {
            let before = touched(&train, user);
            let relevant = touched(&held_out, user).into_iter().filter(|item| !before.contains(item));
            let relevant: BTreeSet<String> = relevant.map(str::to_owned).collect();
            if !relevant.is_empty() {
                several += usize::from(relevant.len() > 1);
                new.add(&lists.get(user).cloned().unwrap_or_default(), &relevant);
            }
        }
        assert!(several > 40, "recall is not the hit rate: {several}");
        let report = evaluate(&dir, &format!("--last {last} --input x.jsonl --k 3,10 --resamples 0"));
        new.assert_equals(&report["systems"][0]["items"]["new"], 0.1);
        assert_eq!(report["learnt_before"], train.len());
    }
}

#[test]
fn next_visit_scores_the_oracles_lists_just_before_the_last_visit() {
    const GAP: u64 = 3_000;
    let dir = TestDir::new();
    // 44 seconds, of which 15 are retained.
    let events = simulated(&dir, "events=900,users=150,items=100,rooms=3,rate=20,seed=23");
    let params = Params { k: 10, retention: 15_000, audience: None, shrink: 2, ..Params::default() };
    let (mut new, mut one_visit) = (Expected::default(), 0);
    for user in events.iter().map(|event| &event.user).collect::<BTreeSet<_>>() {
        let own: Vec<usize> = (0..events.len()).filter(|at| events[*at].user == *user).collect();
        let begins = |pair: &&[usize]| events[pair[1]].ts - events[pair[0]].ts >= GAP;
        let Some(start) = own.windows(2).filter(begins).map(|pair| pair[1]).next_back() else {
            one_visit += 1;
            continue;
        };
        let seen = touched(&events[..start], user);
        let visit = touched(&events[start..], user).into_iter().filter(|item| !seen.contains(item));
        let relevant: BTreeSet<String> = visit.map(str::to_owned).collect();
        if !relevant.is_empty() {
            new.add(&list_before(&events[..start], &events[start], &params), &relevant);
        }
    }
    assert!(new.lists > 20 && one_visit > 0, "{} {one_visit}", new.lists);
    let args = "--protocol next-visit --gap 3s --input x.jsonl --k 3,10 --resamples 20 --set graph.retention=15s \
                --set graph.shrink=2";
    let report = evaluate(&dir, &format!("{args} --workers 2"));
    new.assert_equals(&report["systems"][0]["items"]["new"], 0.1);
    let before = dir.read("out.json");
    evaluate(&dir, &format!("{args} --workers 1"));
    assert_eq!(dir.read("out.json"), before);
}

/// The state is that at `--from`, not that at the next event: what expires between the two is still known.
#[test]
fn time_predicts_from_the_state_at_the_cut() {
    const AT: u64 = 1_763_900_000_000; // 2025-11-23T12:13:20Z
    let dir = TestDir::new();
    let lines = [("ann", "bread", 0), ("ann", "butter", 1), ("bob", "bread", 2), ("bob", "butter", 12_000)];
    dir.write("x.jsonl", lines.map(|(user, item, ms)| event(user, item, "cart", AT + ms)).concat());
    for (second, found) in [(29, 1.0), (31, 0.0)] {
        let args = format!("--protocol time --from 2025-11-23T12:13:{second}Z --set graph.retention=10s --resamples 0");
        let report = evaluate(&dir, &format!("--input x.jsonl --k 5 {args}"));
        assert_eq!(report["systems"][0]["items"]["new"]["metrics"]["hit_rate@5"]["mean"], found, "at second {second}");
    }
}
