//! Files of the user: a run that is refused, stopped or mistaken leaves them as they were.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use super::disk::Disk;
use super::{ProcessOutput, TestDir, event, gunzip, two_shoppers};

const TS: u64 = 1_763_900_000_000;

/// Old contents of an output, from something else.
const OLD: &str = "precious\n";

const WAIT: Duration = Duration::from_secs(60);

fn dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(TS));
    dir.write("lists.jsonl", OLD);
    dir
}

#[test]
fn a_mistake_in_one_output_leaves_the_others_alone() {
    let dir = dir();
    dir.write("rejects.jsonl", OLD);
    let mistakes = [
        ("--rejects rejects.csv", 2, "is not an output"),
        ("--rejects nowhere/rejects.jsonl", 1, "create the folder first"),
        ("--rejects generate:", 2, "is not an output"),
        ("--output-similar-items items.csv", 2, "is not an output"),
        ("--output-similar-users nowhere/users.jsonl", 1, "create the folder first"),
        ("--output-similar-users kafka://", 2, "the topic is missing"),
        ("--rejects rejects.jsonl --output-similar-users nowhere/users.jsonl", 1, "create the folder first"),
        ("--rejects rejects.jsonl --input missing.jsonl", 1, "missing.jsonl"),
        ("--rejects rejects.jsonl --columns user=a,user=b", 2, "user"),
        ("--rejects rejects.jsonl --set graph.k=0", 2, "graph.k"),
    ];
    for state in ["", " --state state"] {
        for (mistake, code, part) in mistakes {
            dir.run(&format!("--input in.jsonl --output lists.jsonl {mistake}{state}")).assert_failure(code, &[part]);
            assert_eq!(dir.read("lists.jsonl"), OLD, "{mistake}");
            assert_eq!(dir.read("rejects.jsonl"), OLD, "{mistake}");
        }
    }
    assert!(!dir.path("items.csv").exists() && !dir.path("rejects.csv").exists());
    // A snapshot of other settings.
    dir.run("--input in.jsonl --output first.jsonl --state other").assert_success();
    dir.run("--input in.jsonl --output lists.jsonl --rejects rejects.jsonl --state other --set levels.view=2")
        .assert_failure(2, &["--rebuild"]);
    assert_eq!(dir.read("lists.jsonl") + &dir.read("rejects.jsonl"), OLD.repeat(2));
    dir.run("--input in.jsonl --output lists.jsonl --rejects rejects.jsonl").assert_success();
    assert_eq!((dir.read("lists.jsonl").lines().count(), dir.read("rejects.jsonl").as_str()), (1, ""));
}

#[test]
fn a_run_without_an_event_leaves_its_outputs_alone() {
    let dir = dir();
    dir.write("bad.jsonl", "bad\n");
    let packed = b"packed by something else";
    dir.write("packed.jsonl.gz", packed);
    for state in ["", " --state state"] {
        dir.run(&format!("--input bad.jsonl --output lists.jsonl --rejects rejects.jsonl{state}"));
        assert_eq!(dir.read("lists.jsonl"), OLD, "all records were rejected");
        assert_eq!(dir.read("rejects.jsonl").lines().count(), 1);
    }
    let similar = "--output other.jsonl --output-similar-items packed.jsonl.gz --output-similar-users lists.jsonl";
    dir.run(&format!("--input bad.jsonl {similar}"));
    assert_eq!(fs::read(dir.path("packed.jsonl.gz")).unwrap(), packed);
    dir.write("broken.jsonl.gz", b"\x1f\x8b\x08");
    dir.run("--input broken.jsonl.gz --output lists.jsonl").assert_failure(1, &["broken.jsonl.gz"]);
    assert_eq!(dir.read("lists.jsonl"), OLD, "the input failed");
    let running = dir.start(&["run", "--output", "lists.jsonl", "--output-similar-items", "packed.jsonl.gz"]);
    running.stderr.wait_for("events", WAIT);
    running.signal("TERM");
    running.finish_within(WAIT).assert_success();
    assert_eq!(dir.read("lists.jsonl"), OLD, "stopped before there was an event");
    assert_eq!(fs::read(dir.path("packed.jsonl.gz")).unwrap(), packed);
    dir.write("empty.jsonl", "");
    dir.run("--input empty.jsonl --output lists.jsonl").assert_success();
    assert_eq!(dir.read("lists.jsonl"), "", "no events have no lists");
}

#[test]
fn a_refused_run_costs_the_running_one_nothing() {
    for (rejects, output) in [("rejects.jsonl", "lists.jsonl"), ("rejects.jsonl.gz", "lists.jsonl.gz")] {
        let dir = dir();
        let args = ["run", "--output", output, "--rejects", rejects];
        let mut running = dir.start(&[&args[..], &["--state", "state"]].concat());
        running.send(&format!("bad 1\n{}", event("ann", "bread", "purchase", TS)));
        running.stderr.wait_for("logged once for each reason", WAIT);
        let refused = |args: &str, part: &str| dir.run(args).assert_failure(1, &[part]);
        refused(&format!("--input in.jsonl --output {output} --rejects {rejects} --state state"), "state");
        refused(&format!("--input in.jsonl --output {output}"), "another run");
        refused(&format!("--input in.jsonl --output other.jsonl --rejects {rejects}"), "another run");
        refused(&format!("--input in.jsonl --output other.jsonl --output-similar-items {output}"), "another run");
        let (bread, butter) = (event("bob", "bread", "view", TS + 2), event("ann", "butter", "purchase", TS + 1));
        running.send(&format!("bad 2\n{butter}{bread}bad 3\n"));
        running.finish().assert_success();
        let unpacked = |name: &str| {
            let bytes = fs::read(dir.path(name)).unwrap();
            String::from_utf8(if name.split('.').next_back() == Some("gz") { gunzip(&bytes) } else { bytes }).unwrap()
        };
        assert_eq!(unpacked(rejects).lines().count(), 3, "{rejects}");
        assert_eq!(unpacked(output).lines().count(), 1, "{output}");
    }
}

#[test]
fn one_file_under_two_names_is_refused() {
    let dir = dir();
    let path = |name: &str| dir.path(name);
    fs::hard_link(path("in.jsonl"), path("hard.jsonl")).unwrap();
    symlink("in.jsonl", path("soft.jsonl")).unwrap();
    symlink("new.jsonl", path("dangling.jsonl")).unwrap();
    symlink(".", path("here")).unwrap();
    for (args, parts) in [
        ("--output ./in.jsonl", ["--output ./in.jsonl", "in.jsonl, the same"]),
        ("--output hard.jsonl", ["--output hard.jsonl", "in.jsonl, the same"]),
        ("--output soft.jsonl", ["--output soft.jsonl", "in.jsonl, the same"]),
        ("--output here/in.jsonl", ["--output here/in.jsonl", "in.jsonl, the same"]),
        ("--output lists.jsonl --rejects hard.jsonl", ["--rejects hard.jsonl", "in.jsonl, the same"]),
        ("--output new.jsonl --rejects dangling.jsonl", ["--rejects and --output", "dangling.jsonl and new.jsonl"]),
        (
            "--output new.jsonl --rejects here/dangling.jsonl",
            ["--rejects and --output", "dangling.jsonl and new.jsonl"],
        ),
        ("--output dangling.jsonl --output-similar-items new.jsonl", ["--output-similar-items", "the same"]),
        ("--output state.jsonl --state ./state.jsonl", ["--output state.jsonl", "is also the state"]),
    ] {
        dir.run(&format!("--input in.jsonl {args}")).assert_failure(2, &parts);
        assert_eq!(dir.read("in.jsonl"), two_shoppers(TS));
        assert!(!path("new.jsonl").exists() && !path("state.jsonl").exists());
    }
    // Redirected by the shell.
    let shell = |redirected: &str| -> ProcessOutput {
        let mut command = Command::new("sh");
        let line = format!("exec {} run {redirected}", env!("CARGO_BIN_EXE_deltarec"));
        command.args(["-c", &line]).env_remove("DELTAREC_HOSTS");
        dir.spawn(command).finish()
    };
    shell("--input in.jsonl >> hard.jsonl").assert_failure(2, &["the same under another name"]);
    shell("--output in.jsonl < hard.jsonl").assert_failure(2, &["the same under another name"]);
    shell("--input in.jsonl --rejects soft.jsonl.gz --output lists.jsonl").assert_success();
    assert_eq!(dir.read("in.jsonl"), two_shoppers(TS));
    // What is in a file that the shell appends to stays.
    dir.write("log.jsonl", OLD);
    shell("--input in.jsonl --output /dev/stdout >> log.jsonl").assert_success();
    let log = dir.read("log.jsonl");
    assert!(log.starts_with(OLD) && log.lines().count() == 2, "{log}");
}

#[test]
fn an_evaluation_does_not_overwrite_its_log() {
    let dir = dir();
    fs::hard_link(dir.path("in.jsonl"), dir.path("report.svg")).unwrap();
    symlink("report.json", dir.path("again.svg")).unwrap();
    for outputs in ["--json in.jsonl", "--picture report.svg", "--json report.json --picture again.svg"] {
        let args: Vec<&str> = ["evaluate", "--input", "in.jsonl"].into_iter().chain(outputs.split(' ')).collect();
        dir.deltarec(&args).assert_failure(2, &["is also", "name another file"]);
        assert_eq!(dir.read("in.jsonl"), two_shoppers(TS));
    }
}

#[test]
fn devices_and_pipes_are_outputs() {
    let dir = dir();
    let done = dir.run("--input in.jsonl --output /dev/null --rejects /dev/null --output-similar-items /dev/null");
    assert_eq!(done.assert_success().summary().changes, 1);
    for _ in 0..2 {
        dir.run("--input in.jsonl --output /dev/null --state state").assert_success();
    }
    let done = dir.run("--input in.jsonl --output /dev/stdout").assert_success();
    assert_eq!(done.stdout.lines().count(), 1);
    for name in ["pipe", "pipe.jsonl"] {
        assert!(Command::new("mkfifo").arg(dir.path(name)).status().unwrap().success());
        for state in ["", " --state piped", " --state piped"] {
            let path = dir.path(name);
            let reader = std::thread::spawn(move || fs::read_to_string(path).unwrap());
            let input = if state.is_empty() { "in.jsonl" } else { "generate:events=500" };
            dir.run(&format!("--input {input} --output {name} --set graph.audience=all{state}")).assert_success();
            assert!(reader.join().unwrap().ends_with('\n'), "{name}{state}");
        }
    }
}

#[test]
fn an_output_that_is_truncated_or_removed_is_a_failure() {
    for output in ["lists.jsonl", "lists.jsonl.gz"] {
        for (what, part) in [("truncate", "became shorter"), ("remove", "was removed")] {
            for at_end in [false, true] {
                let dir = dir();
                let mut running = dir.start(&["run", "--output", output, "--rejects", "rejects.jsonl"]);
                running.send(&two_shoppers(TS));
                let asked = std::time::Instant::now();
                while !fs::read(dir.path(output)).is_ok_and(|text| text.len() > 20 && text != OLD.as_bytes()) {
                    assert!(asked.elapsed() < WAIT, "nothing is written");
                    std::thread::sleep(Duration::from_millis(5));
                }
                if what == "remove" {
                    fs::remove_file(dir.path(output)).unwrap();
                } else {
                    fs::File::options().write(true).open(dir.path(output)).unwrap().set_len(3).unwrap();
                }
                if at_end {
                    drop(running.stdin.take());
                } else {
                    running.send(&event("eve", "bread", "view", TS + 1));
                }
                let done = running.finish_within(WAIT).assert_failure(1, &[]);
                let last = done.stderr.lines().last().unwrap();
                assert!(last.contains(&format!("{output}: cannot ")) && last.contains(part), "{last}");
                assert!(what == "remove" || last.contains("3 bytes"), "{last}");
            }
        }
    }
}

/// What another program moves away is written on.
#[test]
fn an_output_that_is_renamed_is_written_on() {
    let dir = dir();
    let mut running = dir.start(&["run", "--output", "out.jsonl"]);
    running.send(&two_shoppers(TS));
    let asked = std::time::Instant::now();
    while fs::metadata(dir.path("out.jsonl")).map_or(0, |found| found.len()) == 0 {
        assert!(asked.elapsed() < WAIT, "nothing is written");
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::rename(dir.path("out.jsonl"), dir.path("out.1.jsonl")).unwrap();
    running.send(&event("eve", "bread", "view", TS + 1));
    running.finish().assert_success();
    assert_eq!(dir.read("out.1.jsonl").lines().count(), 2);
}

#[test]
fn a_full_disk_leaves_the_old_contents_until_the_new_ones_fit() {
    let dir = dir();
    let mount = dir.path("small");
    let Some(disk) = Disk::new(&mount, "64k") else { return };
    let packed = gzip(OLD);
    let mut kept = Vec::new();
    let run = |output: &str, more: &str| {
        let input = "generate:events=50000,users=500,items=300,seed=5";
        dir.run(&format!("--input {input} --output small/{output} --set graph.audience=all{more}"))
    };
    for output in ["lists.jsonl", "lists.jsonl.gz"] {
        fs::write(mount.join(output), if output.ends_with("gz") { &packed[..] } else { OLD.as_bytes() }).unwrap();
        fs::write(mount.join("filler"), vec![0; 64 << 10]).unwrap_err();
        kept.push((run(output, ""), fs::read(mount.join(output)).unwrap()));
        fs::remove_file(mount.join("filler")).unwrap();
        fs::remove_file(mount.join(output)).unwrap();
    }
    // The old contents themselves make room for the new ones.
    fs::write(mount.join("lists.jsonl"), vec![b'\n'; 64 << 10]).unwrap();
    let replaced = dir.run("--input in.jsonl --output small/lists.jsonl");
    let new = fs::read_to_string(mount.join("lists.jsonl"));
    fs::write(mount.join("lists.jsonl"), OLD).unwrap();
    let partly = run("lists.jsonl", "");
    drop(disk);
    let full = ["cannot write", "No space left", "what it held before is kept", "free some space"];
    for ((done, left), old) in kept.into_iter().zip([OLD.as_bytes(), &packed]) {
        done.assert_failure(1, &full);
        assert_eq!(left, old);
    }
    replaced.assert_success();
    assert_eq!(new.unwrap().lines().count(), 1);
    partly.assert_failure(1, &["cannot write", "No space left", "of what it held before nothing is left"]);
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn nothing_is_written_into_the_folder_of_the_state() {
    let dir = dir();
    symlink("state", dir.path("link")).unwrap();
    for state in ["state", "./state/", "link"] {
        for args in [
            "--output state/lists.jsonl",
            "--output link/lists.jsonl.gz",
            "--output state/groups/../lists.jsonl",
            "--output lists.jsonl --rejects state/new/rejects.jsonl",
            "--output lists.jsonl --output-similar-items state/groups/items.jsonl",
            "--output lists.jsonl --output-similar-users ./state/users.jsonl",
        ] {
            let done = dir.run(&format!("--input in.jsonl {args} --state {state}"));
            done.assert_failure(2, &["is in the folder of the state", "name another place"]);
            assert_eq!(dir.read("lists.jsonl"), OLD);
        }
        // The second time the folder exists.
        dir.run("--input in.jsonl --output other.jsonl --state state").assert_success();
    }
    let export = ["snapshot", "export", "--state", "state", "--output", "state/x.jsonl"];
    dir.deltarec(&export).assert_failure(2, &["is in the folder of the state"]);
    dir.run("--input in.jsonl --output state.jsonl --state state").assert_success();
}

#[test]
fn the_catalogue_of_a_simulation_is_written_beside_its_events() {
    let dir = dir();
    let simulation = ["generate", "events=3000,users=500,items=300,rooms=10,rate=50"];
    let with = |args: &[&str]| dir.deltarec(&[&simulation[..], args].concat());
    let events = with(&[]).assert_success().stdout;
    let piped = with(&["--catalogue", "catalogue.jsonl.gz"]).assert_success().stdout;
    assert!(piped == events, "the events are the same with and without a catalogue");
    let catalogue = with(&["--output", "events.jsonl", "--catalogue", "-"]).assert_success().stdout;
    assert!(dir.read("events.jsonl") == events);
    assert!(gunzip(&fs::read(dir.path("catalogue.jsonl.gz")).unwrap()) == catalogue.as_bytes());
    let records: Vec<serde_json::Value> = catalogue.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert!(records.iter().all(|record| record["ts"].as_u64() <= last["ts"].as_u64()));
    let first = records.iter().find(|record| record["item"] == "p0").unwrap();
    assert!(first["price"].as_str().is_some_and(|price| price.contains('.')) && first["tags"].is_array(), "{first}");

    dir.write("catalogue.jsonl", OLD);
    with(&["--output", "catalogue.jsonl", "--catalogue", "./catalogue.jsonl"]).assert_failure(2, &["are both"]);
    with(&["--catalogue", "-"]).assert_failure(2, &["--catalogue and --output are both"]);
    assert_eq!(dir.read("catalogue.jsonl"), OLD);
}

/// On a file system that is sensitive to case.
#[test]
fn names_that_differ_in_case_are_different_outputs() {
    let dir = dir();
    dir.run("--input in.jsonl --output new.jsonl --rejects NEW.jsonl").assert_success();
    assert_eq!((dir.read("new.jsonl").lines().count(), dir.read("NEW.jsonl").as_str()), (1, ""));
}

#[test]
fn a_mistaken_output_is_told_what_outputs_are() {
    let dir = dir();
    for output in ["x", "x.csv", "x.json", "x.txt.gz", "x.parquet", "x.JSONL", "s3://bucket/x.jsonl", "generate:", ""] {
        let runs = [
            vec!["run", "--input", "in.jsonl", "--output", output],
            vec!["run", "--input", "in.jsonl", "--output", "other.jsonl", "--rejects", output],
            vec!["generate", "--events", "5", "--output", output],
            vec!["generate", "--events", "5", "--output", "other.jsonl", "--catalogue", output],
            vec!["snapshot", "export", "--state", "state", "--output", output],
        ];
        for args in runs {
            let done = dir.deltarec(&args).assert_failure(2, &["PATH.jsonl", ".gz", ".zst", "stdout"]);
            for wrong in ["PATH.csv", "stdin", "--format", "?format", "a list does not fit"] {
                assert!(!done.stderr.contains(wrong), "{args:?}: {wrong}:\n{}", done.stderr);
            }
            assert!(args[0] != "run" || done.stderr.contains("kafka://"), "{}", done.stderr);
        }
    }
    let done = dir.run("--input s3://bucket/x.jsonl").assert_failure(2, &["PATH.csv", "stdin", "generate:"]);
    assert!(!done.stderr.contains("stdout"), "{}", done.stderr);
    let done = dir.deltarec(&["generate", "--events", "5", "--output", "/dev/stdout"]).assert_success();
    assert_eq!(done.stdout.lines().count(), 5);
}
