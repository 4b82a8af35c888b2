//! Named pipes without another end, and standard streams as the shell passes them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{ProcessOutput, RunningProcess, TestDir, changes, event, two_shoppers};

const TS: u64 = 1_763_900_000_000;

/// Generous limit for what takes less than a second on an idle machine, and shorter than the time for which a run that is to
/// end waits for its outputs.
const LIMIT: Duration = Duration::from_secs(50);

fn dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(TS));
    for pipe in ["pipe", "pipe.jsonl", "pipe.csv", "pipe.jsonl.gz"] {
        assert!(Command::new("mkfifo").arg(dir.path(pipe)).status().unwrap().success());
    }
    dir
}

/// Starts a line of a shell in which `deltarec` is the program.
fn start_shell(dir: &TestDir, line: &str) -> RunningProcess {
    let mut command = Command::new("bash");
    let line = line.replace("deltarec", env!("CARGO_BIN_EXE_deltarec"));
    command.args(["-c", &line]).env_remove("DELTAREC_HOSTS").env_remove("RUST_LOG");
    dir.spawn(command)
}

fn shell(dir: &TestDir, line: &str) -> ProcessOutput {
    start_shell(dir, line).finish()
}

/// Sends a signal once the process waits: it uses no processor time any more.
fn signal_when_idle(running: &RunningProcess, name: &str) {
    let mut last = (u64::MAX, std::time::Instant::now());
    while last.1.elapsed() < Duration::from_millis(400) {
        let used = running.cpu_ticks();
        if used != last.0 {
            last = (used, std::time::Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(name);
}

#[test]
fn one_signal_ends_a_run_whose_pipes_have_no_other_end() {
    let dir = dir();
    for (args, last) in [
        ("run --input pipe.jsonl --output out.jsonl", "0 events"),
        ("run --input pipe.jsonl.gz --output out.jsonl --state state", "0 events"),
        // The header of a CSV is read before the run begins.
        ("run --input pipe.csv --output out.jsonl", "stopped before the run began"),
        ("run --input -?format=csv --output out.jsonl", "stopped before the run began"),
        ("run --input pipe.jsonl --output pipe", "0 events"),
        ("run --output pipe --rejects pipe.jsonl", "0 events"),
        // By time, the events of the file may come after those of the pipe.
        ("run --input in.jsonl --input pipe.jsonl --output out.jsonl --rejects pipe", "0 events"),
        ("evaluate --input pipe.jsonl", "shutting down"),
        ("evaluate --input pipe.csv", "shutting down"),
    ] {
        for signal in ["TERM", "INT"] {
            let args: Vec<&str> = args.split(' ').collect();
            let running = dir.start(&args);
            signal_when_idle(&running, signal);
            let done = running.finish_within(LIMIT).assert_success().assert_stderr(&["shutting down"]);
            assert!(done.stderr.lines().last().unwrap().contains(last), "{args:?}:\n{}", done.stderr);
        }
    }
}

/// As for any output that takes nothing.
#[test]
fn a_pipe_without_a_reader_is_given_up_a_minute_after_a_signal() {
    let dir = dir();
    let runs = [
        ("run --input in.jsonl --output pipe", vec!["deltarec: pipe: 1 changes are not acknowledged"]),
        ("generate --events 1000 --output pipe.jsonl", vec!["deltarec: ", "60 s", "does not answer"]),
    ];
    let running: Vec<RunningProcess> =
        runs.iter().map(|(args, _)| dir.start(&args.split(' ').collect::<Vec<_>>())).collect();
    for running in &running {
        signal_when_idle(running, "TERM");
    }
    for (running, (args, parts)) in running.into_iter().zip(runs) {
        let done = running.finish_within(3 * LIMIT).assert_failure(1, &["shutting down"]);
        let last = done.stderr.lines().last().unwrap();
        assert!(parts.iter().all(|part| last.contains(part)), "{args}: {last}");
    }
}

#[test]
fn a_failure_ends_a_run_whose_pipes_have_no_other_end() {
    let dir = dir();
    dir.write("bad.jsonl", "bad\n");
    std::os::unix::fs::symlink("/dev/full", dir.path("full.jsonl")).unwrap();
    for (args, part) in [
        ("run --input pipe.jsonl --input missing.jsonl --output out.jsonl", "missing.jsonl: cannot open"),
        ("run --input in.jsonl --output full.jsonl --rejects pipe", "full.jsonl: cannot"),
        ("run --input bad.jsonl --input pipe.jsonl --output out.jsonl --rejects full.jsonl", "full.jsonl: cannot"),
    ] {
        let running = dir.start(&args.split(' ').collect::<Vec<_>>());
        let done = running.finish_within(LIMIT).assert_failure(1, &[]);
        assert!(done.stderr.lines().last().unwrap().contains(part), "{args}:\n{}", done.stderr);
    }
}

#[test]
fn a_reader_or_writer_may_come_late() {
    let dir = dir();
    let running = dir.start(&["run", "--input", "pipe.jsonl", "--output", "pipe", "--rejects", "pipe.jsonl.gz"]);
    running.stderr.wait_for("events", LIMIT);
    fs::write(dir.path("pipe.jsonl"), two_shoppers(TS)).unwrap();
    let rejects = dir.path("pipe.jsonl.gz");
    let rejects = std::thread::spawn(move || fs::read(rejects).unwrap());
    let lists = dir.path("pipe");
    let lists = std::thread::spawn(move || fs::read_to_string(lists).unwrap());
    running.finish_within(LIMIT).assert_success();
    assert_eq!(changes(&lists.join().unwrap()).len(), 1);
    assert_eq!(super::gunzip(&rejects.join().unwrap()), b"");
    // The reader of a run without results sees the end of the pipe.
    dir.write("empty.jsonl", "");
    dir.write("bad.jsonl", "bad\n");
    for input in ["empty.jsonl", "bad.jsonl"] {
        let lists = dir.path("pipe");
        let lists = std::thread::spawn(move || fs::read_to_string(lists).unwrap());
        dir.run(&format!("--input {input} --output pipe"));
        assert_eq!(lists.join().unwrap(), "", "{input}");
    }
}

#[test]
fn a_closed_reader_of_rejected_records_is_named() {
    let dir = dir();
    let bad = "bad\n".repeat(20_000);
    dir.write("bad.jsonl", &bad);
    dir.write("some.jsonl", two_shoppers(TS) + &bad);
    for (input, state) in [("bad.jsonl", ""), ("some.jsonl", ""), ("some.jsonl", "--state state")] {
        let line =
            format!("exec deltarec run --input {input} --output out.jsonl {state} --rejects >(head -c 1 > /dev/null)");
        let done = shell(&dir, &line).assert_failure(1, &[]);
        let last = done.stderr.lines().last().unwrap();
        assert!(last.contains("/dev/fd/") && last.contains("the reader closed the pipe"), "{last}");
    }
    // A few records are written at the end.
    dir.write("few.jsonl", two_shoppers(TS) + "bad\n");
    let line = "deltarec run --input few.jsonl --output out.jsonl --rejects pipe & exec 3<pipe; exec 3<&-; wait $!";
    let done = shell(&dir, line);
    // The reader may have come after the record was written, and then its end cannot be known.
    if done.code != Some(0) {
        done.assert_failure(1, &["pipe: cannot", "the reader closed the pipe"]);
    }
}

#[test]
fn a_closed_stdout_is_a_failure() {
    let dir = dir();
    dir.write("log.jsonl", event("ann", "bread", "view", TS) + &two_shoppers(TS + 5));
    dir.deltarec(&["run", "--input", "in.jsonl", "--state", "state", "--output", "lists.jsonl"]).assert_success();
    for command in [
        "run --input in.jsonl",
        "run --input in.jsonl --output lists.jsonl --rejects -",
        "run --input in.jsonl --output /dev/stdout",
        "run --input in.jsonl --state other",
        "generate --events 10",
        "snapshot list --state state",
        "snapshot verify --state state",
        "snapshot export --state state --output -",
        "snapshot prune --state state --keep 1",
        "evaluate --input log.jsonl --quiet",
        "demo --events 2000",
    ] {
        shell(&dir, &format!("exec deltarec {command} >&-")).assert_failure(1, &["stdout is closed"]);
    }
    assert!(!dir.path("other").exists(), "it is noticed before anything is created");
    // A run that writes elsewhere needs no stdout, and /dev/null is open.
    shell(&dir, "exec deltarec run --input in.jsonl --output out.jsonl >&-").assert_success();
    for null in [">/dev/null", "1<>/dev/null"] {
        shell(&dir, &format!("exec deltarec run --input in.jsonl {null}")).assert_success();
    }
    shell(&dir, "exec deltarec run --output out.jsonl <&-").assert_failure(1, &["stdin is closed"]);
    shell(&dir, "exec deltarec run --input in.jsonl --output out.jsonl <&-").assert_success();
}

#[test]
fn stdout_that_is_a_file_is_claimed_as_files_are() {
    let dir = dir();
    let first = |line: &str| {
        let mut running = start_shell(&dir, line);
        running.send(&two_shoppers(TS));
        running.send(&event("eve", "bread", "view", TS + 1));
        running.stderr.wait_for("events", LIMIT);
        running
    };
    let refused = |line: &str| {
        shell(&dir, line).assert_failure(1, &["another run, or another output of this one, writes to this file"]);
    };
    let running = first("exec deltarec run --clock event > out.jsonl");
    refused("exec deltarec run --input in.jsonl --output out.jsonl");
    refused("exec deltarec run --input in.jsonl >> out.jsonl");
    refused("exec deltarec run --input in.jsonl --output lists.jsonl --rejects out.jsonl");
    refused("exec deltarec generate --events 5 >> out.jsonl");
    running.finish().assert_success();
    assert_eq!(changes(&dir.read("out.jsonl")).len(), 2);
    // As the second, and with the same open file.
    let running = first("exec deltarec run --output out.jsonl");
    refused("exec deltarec run --input in.jsonl >> out.jsonl");
    refused("exec deltarec generate --events 5 >> out.jsonl");
    running.finish().assert_success();
    assert_eq!(changes(&dir.read("out.jsonl")).len(), 2);
    let both = "deltarec run --input pipe.jsonl >&3 & exec 4>pipe.jsonl; sleep 2; deltarec run --input in.jsonl >&3; echo code $? >&2";
    shell(&dir, &format!("exec 3> out.jsonl; {both}")).assert_stderr(&["code 1\n", "writes to this file"]);
    // One after the other is fine, and the shell's own descriptor holds no lock.
    shell(&dir, "{ deltarec generate --events 5; deltarec generate --events 5; } > both.jsonl").assert_success();
    assert_eq!(dir.read("both.jsonl").lines().count(), 10);
    shell(
        &dir,
        "exec 3> out.jsonl; deltarec run --input in.jsonl >&3; exec deltarec run --input in.jsonl --output out.jsonl",
    )
    .assert_success();
    // Within a run.
    for line in ["--input in.jsonl --rejects out.jsonl > out.jsonl", "--output - --input in.jsonl >> in.jsonl"] {
        shell(&dir, &format!("exec deltarec run {line}")).assert_failure(2, &["the same"]);
    }
}
