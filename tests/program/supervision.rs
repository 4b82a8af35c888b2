//! Every failure ends a run soon, with its reason in the last line, the right exit code and no lock left behind; a restart
//! then makes the output of an undisturbed run. Faults are injected at points of the program, `src/faults.rs`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::durable::{arguments, assert_same_stream, lines, log};
use super::signals::is_hup_ignored;
use super::{ProcessOutput, RunningProcess, TestDir, gunzip, now, two_shoppers};

/// Generous limit for what takes less than a second on an idle machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Whether the program has points at which faults can be injected.
pub(super) const HAS_FAULTS: bool = cfg!(any(debug_assertions, feature = "faults"));

/// The program with faults.
pub(super) fn command_with(faults: &str, args: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltarec"));
    // The symbols of a backtrace take seconds in a build with debug information.
    command.args(args).env("DELTAREC_FAULTS", faults).env("RUST_BACKTRACE", "0");
    for variable in ["RUST_LOG", "DELTAREC_HOSTS", "DELTAREC_SECRET"] {
        command.env_remove(variable);
    }
    command
}

/// Starts the program with faults.
pub(super) fn start_with(dir: &TestDir, faults: &str, args: &[String]) -> RunningProcess {
    dir.spawn(command_with(faults, args))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Asserts the exit code, and what the last line of stderr says.
#[track_caller]
pub(super) fn assert_end(done: &ProcessOutput, code: i32, reason: &[&str]) {
    assert_eq!(done.code, Some(code), "{}", done.stderr);
    let last = done.stderr.lines().last().unwrap_or_default();
    for part in reason {
        assert!(
            last.starts_with("deltarec: ") && last.contains(part),
            "{part:?} is missing in the last line of:\n{}",
            done.stderr
        );
    }
}

/// Any thread that fails or panics ends the run. A restart makes the output complete.
#[test]
fn a_failed_thread_ends_the_run_and_a_restart_makes_the_output_complete() {
    if !HAS_FAULTS {
        return;
    }
    let dir = TestDir::new();
    let text = lines(&log(&dir, 600, 17)) + "nonsense\n";
    dir.write("in.jsonl", &text);
    dir.begin(&arguments("expected.jsonl", None, 1)).finish().assert_success();
    let expected = dir.read("expected.jsonl");
    let panicked = |thread: &'static str| ["the thread `", thread, "` panicked: injected panic at"];
    for (fault, thread) in [
        ("reader.poll=panic", "reader"),
        ("reader.send=panic@200", "reader"),
        ("coordinator.step=panic@300", "worker"),
        ("worker.step=panic@200", "worker"),
        ("graph.collect=panic@50", "worker"),
        ("graph.snapshot=panic@2", "worker"),
        ("writer.write=panic@5", "writer"),
        ("writer.flush=panic@9", "writer"),
        ("writer.close=panic", "writer"),
        ("snapshot.pack=panic@3", "packer"),
        ("snapshot.put=panic@2", "snapshot-writer"),
        ("snapshot.publish=panic@2", "snapshots"),
    ] {
        round(&text, &expected, fault, 1, &panicked(thread));
    }
    for fault in [
        "reader.poll=error",
        "reader.reject=error",
        "writer.write=error@5",
        "writer.flush=error@9",
        "writer.close=error",
    ] {
        round(&text, &expected, fault, 1, &["injected error at ", fault.split('=').next().unwrap()]);
    }
    // A store that fails costs a snapshot, and nothing else: the next one is complete.
    for fault in ["snapshot.put=error@2", "snapshot.publish=error@2"] {
        round(&text, &expected, fault, 0, &[]);
    }
}

/// A run with a fault, and one without that resumes.
fn round(input: &str, expected: &str, fault: &str, code: i32, reason: &[&str]) {
    let dir = TestDir::new();
    dir.write("in.jsonl", input);
    let args = arguments("out.jsonl", Some("state"), 2);
    let started = Instant::now();
    let done = start_with(&dir, fault, &args).finish_within(LIMIT);
    println!("{fault}: ended after {:?}", started.elapsed());
    assert_end(&done, code, reason);
    dir.begin(&args).finish_within(LIMIT).assert_success();
    assert_same_stream(fault, &dir.read("out.jsonl"), expected);
}

/// A part of a snapshot that is not loaded must not pass for the whole.
#[test]
fn a_decoder_that_panics_ends_the_run_before_anything_is_written() {
    if !HAS_FAULTS {
        return;
    }
    let dir = TestDir::new();
    let events = log(&dir, 600, 18);
    dir.write("in.jsonl", lines(&events[..400]));
    let args = arguments("out.jsonl", Some("state"), 1);
    dir.begin(&args).finish().assert_success();
    let before = dir.read("out.jsonl");
    dir.write("in.jsonl", lines(&events));
    // Both decoders panic: the two entries are due at different passages.
    let done = start_with(&dir, "decoder.start=panic@1;decoder.start=panic@2", &args).finish_within(LIMIT);
    assert_end(&done, 1, &["the thread `decoder` panicked"]);
    assert_eq!(dir.read("out.jsonl"), before);
    dir.begin(&args).finish_within(LIMIT).assert_success();
    dir.begin(&arguments("expected.jsonl", None, 1)).finish().assert_success();
    assert_same_stream("after the restart", &dir.read("out.jsonl"), &dir.read("expected.jsonl"));
}

/// The reader is blocked on stdin: it is abandoned.
#[test]
fn a_failure_ends_a_run_that_waits_for_input() {
    if !HAS_FAULTS {
        return;
    }
    for (fault, reason) in [
        ("writer.flush=error", "injected error at writer.flush"),
        ("writer.write=panic", "the thread `writer` panicked"),
        ("coordinator.step=panic@30", "the thread `worker` panicked"),
    ] {
        let dir = TestDir::new();
        let args = words("run --output out.jsonl --state state --clock wall");
        let mut running = start_with(&dir, fault, &args);
        running.send(&two_shoppers(now()));
        assert_end(&running.finish_within(LIMIT), 1, &[reason]);
        let mut again = start_with(&dir, "", &args);
        again.send(&two_shoppers(now()));
        again.finish().assert_success();
        assert!(dir.read("out.jsonl").contains("butter"));
    }
}

/// With JSON logs everything on stderr is JSON, panics too.
#[test]
fn a_panic_is_a_record_of_a_json_log() {
    if !HAS_FAULTS {
        return;
    }
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(5));
    let args = words("run --input in.jsonl --output out.jsonl --log-format json");
    let done = start_with(&dir, "writer.write=panic", &args).finish_within(LIMIT);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let records: Vec<serde_json::Value> = done
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", done.stderr)))
        .collect();
    let last = records.last().unwrap();
    let panicked = records.iter().find(|record| record["thread"] == "writer").expect("the panic");
    assert!(last["level"] == "ERROR" && last["message"].as_str().unwrap().contains("`writer` panicked"), "{last}");
    assert!(
        panicked["thread"] == "writer"
            && panicked["message"].as_str().unwrap().contains("injected panic at writer.write"),
        "{panicked}"
    );
}

/// A run with `args` whose stdout is not read by anyone but the test, and that waits for room in it.
fn blocked_run(dir: &TestDir, args: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deltarec"))
        .args(words(args))
        .current_dir(dir.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    // The pipe and the channels before it are full when the process uses no CPU time any more.
    let asked = Instant::now();
    let mut last = (u64::MAX, Instant::now());
    while last.1.elapsed() < Duration::from_millis(400) {
        assert!(asked.elapsed() < 4 * LIMIT, "it never waits for the pipe");
        let used = cpu_ticks(child.id());
        if used != last.0 {
            last = (used, Instant::now());
        }
        thread::sleep(Duration::from_millis(20));
    }
    (child, out)
}

fn cpu_ticks(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Waits for the end of a child. Returns its exit code and its stderr.
fn end_of(mut child: Child) -> ProcessOutput {
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if asked.elapsed() > LIMIT {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    ProcessOutput { code: status.code(), stdout: String::new(), stderr }
}

/// The input of the runs below: enough events that results wait for a pipe.
fn generate(dir: &TestDir) {
    dir.deltarec(&["generate", "events=50000,users=3000,items=800,seed=50000", "--output", "x.jsonl"]).assert_success();
}

/// `deltarec run | head -1`, in ticks whose results queue up: one of more than 1,000 changes waits until the channel is empty.
#[test]
fn a_closed_pipe_is_a_normal_end_while_results_wait() {
    let dir = TestDir::new();
    generate(&dir);
    for more in ["", "--state state", "--workers 2 --output-similar-items items.jsonl.gz"] {
        let args = format!("run --quiet --input x.jsonl --set input.batch=5000 --set graph.audience=all {more}");
        let (child, out) = blocked_run(&dir, &args);
        drop(out);
        let done = end_of(child).assert_success().assert_stderr(&[]);
        assert_eq!(done.stderr, "", "{more}");
    }
    // The other output is a complete file, also if nothing is in it.
    let items = fs::read(dir.path("items.jsonl.gz")).unwrap();
    println!("{} bytes of similar items", gunzip(&items).len());
    assert!(!items.is_empty());
}

/// A compressed output is written late, so its failure comes while results wait. A limit of the size stands for a full disk.
#[test]
fn a_full_disk_ends_the_run_while_results_wait() {
    let dir = TestDir::new();
    generate(&dir);
    for output in ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"] {
        let script = format!(
            "trap '' XFSZ; ulimit -f 500; exec {} run --quiet --input x.jsonl --output {output} --workers 2 --set \
             input.batch=5000 --set graph.audience=all --set graph.k=100",
            env!("CARGO_BIN_EXE_deltarec")
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env_remove("RUST_LOG");
        let done = dir.spawn(command).finish_within(2 * LIMIT);
        assert_end(&done, 1, &[output, "cannot write"]);
    }
}

#[test]
fn a_second_signal_ends_a_run_that_is_blocked_at_once() {
    let dir = TestDir::new();
    generate(&dir);
    let kill = |child: &Child, signal: &str| {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    };
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        if signal == "-HUP" && is_hup_ignored() {
            continue;
        }
        let args = "run --quiet --input x.jsonl --set input.batch=5000 --set graph.audience=all";
        let (mut child, _out) = blocked_run(&dir, args);
        kill(&child, "-TERM");
        // The message is printed after the request is set.
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("press Ctrl-C again"), "{line}");
        assert!(child.try_wait().unwrap().is_none(), "results still wait for the pipe");
        kill(&child, signal);
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(asked.elapsed() < LIMIT, "a second {signal} does not end it");
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(code));
    }
}
