//! The intake of controls: files, columns, rejected records, order, positions. What controls do is tested elsewhere.

use std::fs;

use serde_json::Value;

use super::cluster::Cluster;
use super::{ProcessOutput, TestDir, event, two_shoppers};
use crate::support::crafted::twins;

const START: u64 = 1_763_900_000_000;

/// A control of `pause` or another without a target.
fn control(user: &str, control: &str, ts: u64) -> String {
    format!("{{\"user\":\"{user}\",\"control\":\"{control}\",\"ts\":{ts}}}\n")
}

/// The controls that the summary line counts, if it does.
fn taken(done: &ProcessOutput) -> Option<&str> {
    let line = done.stderr.lines().find(|line| line.contains(" events/s, peak memory ")).unwrap();
    line.split_once(" controls, ").map(|(before, _)| before.rsplit_once(' ').unwrap().1)
}

#[test]
fn bad_controls_are_counted_by_reason_and_kept_with_their_place_and_a_remedy() {
    let dir = TestDir::new();
    dir.write("events.jsonl", event("a", "p1", "view", START));
    let bad = [
        (r#""control":"more","scope":"host","target":"h""#, "unknown_control", "use not_interested, less, forget"),
        (r#""control":"not_interested","scope":"shop","target":"s""#, "unknown_scope", "use item, room, host"),
        (r#""control":"less","target":"p1""#, "scope_not_allowed", "use host, brand, category or tag"),
        (r#""control":"not_interested""#, "no_target", "name the item in `target`"),
        (r#""control":"pause","target":"p1""#, "target_not_allowed", "leave `target` out"),
        (r#""control":"less","scope":"tag","target":"host:h1""#, "reserved_tag", "use the scope host"),
        (r#""control":"less","scope":"category","target":"A > ""#, "wrong_type:target", "none of them empty"),
        (r#""control":"forget","scope":"host","target":"h1""#, "forget_needs_items", "one record for each item"),
        (r#""control":"forget","scope":"all","undo":true"#, "cannot_be_undone", "leave `undo` out"),
        (r#""control":"pause","undo":"yes""#, "wrong_type:undo", "expected true or false"),
    ];
    let mut lines: Vec<String> =
        bad.iter().map(|(members, ..)| format!("{{\"user\":\"a\",\"ts\":{START},{members}}}\n")).collect();
    lines.push("{\"user\":\"a\",\"control\":\"pause\"}\n".into());
    lines.push("{\"control\":\"pause\",\"ts\":1}\n".into());
    lines.push(control("a", "pause", 99_999_999_999_999));
    lines.push(control("deltarec:trending", "pause", START));
    let good = [control("a", "personal_on", START), control("z", "personal_off", START - 5), control("a", "resume", 7)];
    lines.extend(good);
    dir.write("controls.jsonl", lines.concat());
    let args =
        "--input events.jsonl --controls controls.jsonl --output out.jsonl --rejects rejects.jsonl --set trending.k=3";
    let done = dir.run(args).assert_success();
    assert_eq!((taken(&done), done.summary().events), (Some("3"), 1));
    let codes = bad.iter().map(|(_, code, _)| *code);
    let codes = codes.chain(["missing:ts", "missing:user", "future", "reserved_name"]);
    let rejected_by = done.summary().rejected_by;
    let rejects = dir.read("rejects.jsonl");
    for (line, code) in (1..).zip(codes) {
        assert_eq!(rejected_by.get(code), Some(&1), "{code}: {}", done.stderr);
        let place = format!("\"line\":{line},");
        let record =
            rejects.lines().find(|record| record.contains(&place)).unwrap_or_else(|| panic!("{code}: {rejects}"));
        assert!(record.contains(&format!("\"reason\":\"{code}\"")) && record.contains("controls.jsonl"), "{record}");
        if let Some((_, _, part)) = bad.get(line - 1) {
            assert!(record.contains(part), "{part}: {record}");
        }
    }
    // The first of each reason is logged with its place.
    done.assert_stderr(&["controls.jsonl:1", "unknown control `more`: use not_interested"]);
    let args: Vec<&str> = ["--log-format", "json", "run"].into_iter().chain(args.split(' ')).collect();
    let done = dir.deltarec(&args).assert_success();
    let records = done.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let finished: Vec<Value> = records.filter(|record| record["message"] == "run finished").collect();
    assert_eq!((finished.len(), &finished[0]["controls"], &finished[0]["rejected"]), (1, &3.into(), &14.into()));
    // Without an input of controls they are not mentioned.
    let done = dir.run("--input events.jsonl --output out.jsonl").assert_success();
    assert!(!done.stderr.contains("controls"), "{}", done.stderr);
}

/// Controls come in the order of their time among the events, and at an equal time before them: the first of two names with
/// one id is the one that has it.
#[test]
fn controls_are_merged_with_the_events_by_time() {
    let dir = TestDir::new();
    let (name, twin) = twins("u");
    dir.write("events.jsonl", event("x", "p1", "view", START) + &event(&name, "p1", "view", START + 10));
    for (ts, rejected) in [(START + 9, &name), (START + 10, &name), (START + 11, &twin)] {
        dir.write("controls.jsonl", control(&twin, "pause", ts));
        for batch in [1, 1_000] {
            let args = format!(
                "--input events.jsonl --controls controls.jsonl --output out.jsonl --rejects rejects.jsonl --set \
                 input.batch={batch}"
            );
            let done = dir.run(&args).assert_success();
            let by_code = done.summary().rejected_by;
            assert_eq!(by_code.get("name_collision"), Some(&1), "{}", done.stderr);
            assert_eq!(taken(&done), Some(if *rejected == twin { "0" } else { "1" }));
            let rejects = dir.read("rejects.jsonl");
            let source =
                if *rejected == twin { "\"source\":\"controls.jsonl\"" } else { "\"source\":\"events.jsonl\"" };
            assert!(rejects.contains(source), "{rejects}");
        }
    }
    // A control that is ahead of the clock at the end is taken, and moves no clock.
    dir.write("controls.jsonl", control("x", "pause", START + 60_000));
    let done = dir.run("--input events.jsonl --controls controls.jsonl --output out.jsonl").assert_success();
    assert_eq!(taken(&done), Some("1"));
}

#[test]
fn reads_controls_with_other_columns_from_files_and_stdin() {
    let dir = TestDir::new();
    dir.write("events.jsonl", two_shoppers(START));
    dir.write(
        "controls.csv",
        "viewer;wish;what;at;back\nann;not_interested;bread;1763900000;\nbob;pause;;1763900000.5;\n\
         bob;not_interested;tea;1763900001;TRUE\nbob;less;tea;1763900001;\n",
    );
    let columns = "user=viewer,control=wish,target=what,ts=at:s,undo=back";
    let args = format!("--input events.jsonl --controls controls.csv?delimiter=; --control-columns {columns}");
    let done = dir.run(&format!("{args} --output out.jsonl")).assert_success();
    assert_eq!(taken(&done), Some("3"), "{}", done.stderr);
    assert_eq!(done.summary().rejected_by, [("scope_not_allowed".to_owned(), 1)].into());
    let args = format!("--input events.jsonl --controls controls.csv?delimiter=;&columns={columns} --output out.jsonl");
    assert_eq!(taken(&dir.run(&args).assert_success()), Some("3"));
    // The time of the file is not guessed.
    dir.write("without.csv", "user,control\nann,pause\n");
    dir.run("--input events.jsonl --controls without.csv --output out.jsonl")
        .assert_failure(2, &["no column `ts`", "--control-columns"]);
    let stdin = control("ann", "pause", START) + &control("bob", "personal_off", START);
    let args = "--input events.jsonl --controls - --output out.jsonl";
    let done = dir.run_with_stdin(args, stdin.as_bytes()).assert_success();
    assert_eq!(taken(&done), Some("2"));
}

#[test]
fn mistakes_in_the_arguments_are_usage_errors() {
    let dir = TestDir::new();
    dir.write("events.jsonl", two_shoppers(START));
    dir.write("controls.jsonl", control("ann", "pause", START));
    dir.write("out.jsonl", "old\n");
    for (args, part) in [
        ("--control-columns user=u", "--controls"),
        ("--controls controls.jsonl --control-columns item=p", "`item` is not a target"),
        ("--controls controls.jsonl --control-columns ts=at:parsec", "parsec"),
        ("--controls controls.jsonl?item=x", "item: is an option of events"),
        ("--controls ./events.jsonl", "is also an --input"),
        ("--catalogue controls.jsonl --controls controls.jsonl", "is also a --catalogue"),
        ("--controls generate:events=5", "controls are not simulated"),
        ("--controls controls.what", "controls.what"),
    ] {
        dir.run(&format!("--input events.jsonl --output out.jsonl {args}")).assert_failure(2, &[part]);
    }
    let done = dir.run("--input events.jsonl --output out.jsonl --controls missing.jsonl");
    assert!(matches!(done.code, Some(1 | 2)), "{}", done.stderr);
    done.assert_stderr(&["missing.jsonl"]);
    dir.run("--input - --controls - --output out.jsonl").assert_failure(2, &["remove one --controls -"]);
    dir.run("--input events.jsonl --controls controls.jsonl --output controls.jsonl")
        .assert_failure(2, &["--output controls.jsonl is also --controls"]);
    assert_eq!(dir.read("out.jsonl"), "old\n");
    // Records, of which none is an event, are a mistake, and controls alone are none.
    dir.write("empty.jsonl", "");
    dir.run("--input empty.jsonl --controls controls.jsonl --output other.jsonl").assert_success();
}

#[test]
fn a_resumed_run_reads_controls_on_from_their_position() {
    let dir = TestDir::new();
    dir.write("events.jsonl", two_shoppers(START));
    dir.write("controls.jsonl", control("ann", "pause", START) + &control("ann", "resume", START));
    dir.write("more.jsonl", control("bob", "personal_off", START));
    let args = "--input events.jsonl --output out.jsonl --state state --controls controls.jsonl --controls more.jsonl";
    assert_eq!(taken(&dir.run(args).assert_success()), Some("3"));
    let newest = fs::read_dir(dir.path("state/manifests")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let manifest: Value = serde_json::from_str(&fs::read_to_string(newest).unwrap()).unwrap();
    let inputs = manifest["manifest"]["control_inputs"].as_array().unwrap();
    assert_eq!(
        (inputs.len(), &inputs[0]["name"], &inputs[1]["name"]),
        (2, &"controls.jsonl".into(), &"more.jsonl".into())
    );
    assert!(manifest["manifest"].get("catalogue_inputs").is_none());
    // Only what is new is read, also under another name.
    dir.write("renamed.jsonl", dir.read("controls.jsonl") + &control("ann", "pause", START + 1));
    let args = "--input events.jsonl --output out.jsonl --state state --controls renamed.jsonl --controls more.jsonl";
    assert_eq!(taken(&dir.run(args).assert_success()), Some("1"));
    // Another file under the name is read from its start.
    dir.write("more.jsonl", control("cid", "personal_off", START) + &control("cid", "personal_on", START));
    let done = dir.run(args).assert_success().assert_stderr(&["reading the controls from the start"]);
    assert_eq!(taken(&done), Some("2"));
    let done = dir.run("--input events.jsonl --output out.jsonl --state state").assert_success();
    done.assert_stderr(&["input of the controls is gone or replaced: its records stay"]);
}

#[test]
fn a_cluster_takes_controls_too() {
    let dir = TestDir::new();
    dir.write("events.jsonl", two_shoppers(START));
    dir.write("controls.jsonl", control("ann", "pause", START + 5) + &control("bob", "resume", START + 5));
    let args = "--input events.jsonl --controls controls.jsonl --output out.jsonl";
    Cluster::new(&dir, 2, 2).run(args);
    let found = dir.read("out.jsonl");
    dir.run(args).assert_success();
    assert_eq!(dir.read("out.jsonl"), found);
}
