//! Moments at which older state could overwrite newer output, or partial state could be taken for a whole one.

use std::time::Duration;

use schema::id64;
use snapshots::{GraphTime, Interactions, Manifest, RunId, Store, group_of};

use super::super::event;
use super::*;

/// A kill after the ends of lists were written, and before the event that made time pass was complete. The run that resumes
/// from earlier must not send those lists again.
#[test]
fn ended_lists_do_not_come_back_after_a_kill() {
    let place = Place::new();
    let before: String = (0..6)
        .map(|n| {
            event(&format!("u{n}"), "bread", "purchase", START + 2 * n)
                + &event(&format!("u{n}"), &format!("p{n}"), "cart", START + 2 * n)
        })
        .collect();
    place.write("in.jsonl", &before);
    place.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).end().well();
    copy(&place.path("state"), &place.path("state-then"));
    // All users leave the audience one after the other, long before the next event.
    let after = before + &event("eve", "bread", "view", START + 3 * AUDIENCE);
    place.write("in.jsonl", &after);
    place.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).end().well();
    let whole = place.read("out.jsonl");
    let ends = changes(&whole).iter().filter(|change| change.items.is_empty()).count();
    assert!(ends >= 4, "{whole}");
    // As if the run had been killed after any of these records.
    let records: Vec<&str> = whole.split_inclusive('\n').collect();
    let first_end = records.iter().position(|record| record.contains("\"items\":[]")).unwrap();
    for written in first_end + 1..=records.len() {
        fs::remove_dir_all(place.path("state")).unwrap();
        copy(&place.path("state-then"), &place.path("state"));
        place.write("out.jsonl", records[..written].concat());
        place.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).end().well();
        assert_same_stream(&format!("{written} records"), &place.read("out.jsonl"), &whole);
    }
}

/// A stop while the run recomputes what the output already holds. No list of the past is written.
#[test]
fn sends_nothing_before_it_has_caught_up_with_the_output() {
    let place = Place::new();
    let events = log(&place, 4_000, 5);
    place.write("in.jsonl", lines(&events[..100]));
    place.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).end().well();
    fs::rename(place.path("state"), place.path("state-then")).unwrap();
    place.write("in.jsonl", lines(&events));
    place.begin(&single_snapshot_arguments("out.jsonl", None, 1)).end().well();
    let whole = place.read("out.jsonl");
    // The same output with an old state, stopped later and later until the run ends by itself.
    let mut half_way = 0;
    for after in (0..).map(|n| n * 20) {
        if place.path("state").exists() {
            fs::remove_dir_all(place.path("state")).unwrap();
        }
        copy(&place.path("state-then"), &place.path("state"));
        let running = place.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1));
        let resumes = |_: &str| running.err.text().contains("resuming from snapshot");
        running.until(super::super::PATIENCE, "it resumes", resumes);
        std::thread::sleep(Duration::from_millis(after));
        running.signal("TERM");
        let done = running.end_within(super::super::PATIENCE).well();
        assert_eq!(place.read("out.jsonl"), whole, "stopped after {after} ms");
        let events = done.summary().events;
        half_way += u32::from((1..3_800).contains(&events));
        if events > 3_800 || half_way == 6 {
            break;
        }
    }
    println!("stopped half way {half_way} times");
    // A run that resumes from there does not notice.
    place.begin(&single_snapshot_arguments("out.jsonl", Some("state"), 1)).end().well();
    assert_eq!(place.read("out.jsonl"), whole);
}

/// A state with `rows` interactions, made without a run.
fn large_state(place: &Place, rows: u64) -> Manifest {
    let store = Store::create(place.path("state").to_str().unwrap()).unwrap();
    let mut groups: Vec<Interactions> = (0..=255).map(|_| Interactions::default()).collect();
    for n in 0..rows {
        let (user, item) = (format!("u{}", n / 20), format!("p{}", n * 7 % 1_000));
        let group = usize::from(group_of(id64(&user)));
        groups[group].push((id64(&user), &user), (id64(&item), &item), START + n, 1);
    }
    let run = RunId(7);
    let groups: Vec<_> =
        (0..=255).zip(&groups).map(|(group, rows)| store.put_group(1, run, group, rows).unwrap()).collect();
    let manifest = Manifest {
        version: Manifest::VERSION,
        deltarec: "0.1.0".into(),
        sequence: 1,
        run,
        taken: "2026-11-24T04:00:00Z".parse().unwrap(),
        time: GraphTime { ms: START + rows, sequence: 1 },
        compatibility: serde_json::Map::default(),
        inputs: vec![],
        output: None,
        workers: 1,
        rows,
        groups,
    };
    store.publish(&manifest).unwrap();
    manifest
}

/// A run that is stopped while it loads a snapshot does not save the part as a whole.
#[test]
fn a_stop_while_loading_loses_nothing() {
    let place = Place::new();
    let manifest = large_state(&place, 200_000);
    for after in [0, 40, 150, 400] {
        let running = place.start(&["run", "--output", "out.jsonl", "--state", "state", "--set", "state.interval=1ms"]);
        let loads = |_: &str| running.err.text().contains("resuming from snapshot");
        running.until(super::super::PATIENCE, "it loads", loads);
        std::thread::sleep(Duration::from_millis(after));
        running.signal("TERM");
        running.end_within(super::super::PATIENCE).well();
        let store = Store::open(place.path("state").to_str().unwrap()).unwrap();
        assert_eq!(store.newest().unwrap().manifest.unwrap().rows, manifest.rows, "after {after} ms");
    }
}

/// A file that passed the checks and cannot be decoded. The run fails, and takes no snapshot of the part.
#[test]
fn a_failed_load_leaves_the_state_unchanged() {
    let place = Place::new();
    let manifest = large_state(&place, 50_000);
    let store = Store::open(place.path("state").to_str().unwrap()).unwrap();
    // Sound bytes with users of another group: only decoding finds that.
    let mut misplaced = Interactions::default();
    let user = (0..10_000).map(|n| format!("u{n}")).find(|user| group_of(id64(user)) != 200).unwrap();
    misplaced.push((id64(&user), &user), (1, "p"), START, 1);
    let mut wrong = Manifest { sequence: 2, ..manifest.clone() };
    let file = store.put_group(2, RunId(7), 200, &misplaced).unwrap();
    wrong.rows = wrong.rows - wrong.groups[200].rows + file.rows;
    wrong.groups[200] = file;
    store.publish(&wrong).unwrap();
    let done = place
        .deltarec(&["run", "--output", "out.jsonl", "--state", "state"])
        .failed(1, &["belongs to another group", "0000000002-00000007-0c8"]);
    assert!(!done.err.contains("panicked"));
    let listed: Vec<u64> = listed(&place, "state").into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(listed, [2, 1], "no snapshot of a part");
    assert_eq!(place.read("out.jsonl"), "");
}
