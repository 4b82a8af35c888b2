//! The program from outside: arguments, files, pipes and signals; exit codes, output and messages.

mod answers;
mod bad_input;
mod bench;
mod catalogue;
mod clocks;
mod cluster;
mod controls;
mod disk;
mod durable;
mod environment;
mod evaluate;
mod examples;
mod input_options;
mod jumps;
#[cfg(feature = "kafka")]
mod kafka;
mod names;
#[cfg(feature = "cloud")]
mod object_stores;
mod outputs;
mod pipes;
mod real_logs;
mod records;
mod retractions;
mod secrets;
mod signals;
mod snapshot;
mod streams;
mod supervision;
mod usage;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use flate2::read::MultiGzDecoder;
use schema::{Change, Event, Levels};
use tempfile::TempDir;

use super::support::oracle::catalogue::Eligible;
use super::support::oracle::trending::{self, RoomEvent, Trending};
use super::support::oracle::{OracleEvent, without_scores};

/// Time limit of a run. A run that exceeds it is killed, and its test fails.
const RUN_TIMEOUT: Duration = Duration::from_secs(180);

/// Exit code and output of a run.
#[derive(Debug)]
struct ProcessOutput {
    /// Exit code; `None` if a signal ended the run.
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl ProcessOutput {
    /// Asserts exit code 0.
    fn assert_success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Asserts this exit code and, as [`ProcessOutput::assert_stderr`], these parts of stderr.
    fn assert_failure(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self.assert_stderr(parts)
    }

    /// Asserts that stderr contains all parts and no panic message.
    fn assert_stderr(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("RUST_BACKTRACE"), "{}", self.stderr);
        self
    }

    /// The numbers of the summary line on stderr.
    fn summary(&self) -> Summary {
        let line = self.stderr.lines().find(|line| line.contains(" events/s, peak memory "));
        let line = line.unwrap_or_else(|| panic!("no summary in:\n{}", self.stderr));
        let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
        let number_before = |what: &str| {
            let text = &line[..line.find(what).unwrap_or_else(|| panic!("no {what} in {line}"))];
            number(&text[text.rfind([' ', '(']).map_or(0, |at| at + 1)..])
        };
        let by_code = line.split_once(" rejected (").map(|(_, rest)| rest.split_once(')').unwrap().0);
        let by_code = by_code.into_iter().flat_map(|list| list.split(", ")).map(|pair| pair.rsplit_once(' ').unwrap());
        Summary {
            events: number_before(" events"),
            rejected: number_before(" rejected"),
            rejected_by: by_code.map(|(code, count)| (code.to_owned(), number(count))).collect(),
            changes: number_before(" changes"),
            peak_mib: number(line.rsplit_once("peak memory ").unwrap().1.strip_suffix(" MiB").unwrap()),
        }
    }
}

/// The numbers of the summary line.
struct Summary {
    events: u64,
    rejected: u64,
    rejected_by: BTreeMap<String, u64>,
    changes: u64,
    peak_mib: u64,
}

/// A temporary directory in which a test runs the program.
struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        TestDir(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Starts the program with pipes for stdin, stdout and stderr.
    fn start(&self, args: &[&str]) -> RunningProcess {
        self.start_with_log("", args)
    }

    /// The same with `RUST_LOG` set to `log`.
    fn start_with_log(&self, log: &str, args: &[&str]) -> RunningProcess {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltarec"));
        if log.is_empty() {
            command.env_remove("RUST_LOG")
        } else {
            command.env("RUST_LOG", log)
        };
        command.args(args);
        for variable in ["DELTAREC_HOSTS", "DELTAREC_SECRET", "DELTAREC_IDENTITY_KEY"] {
            command.env_remove(variable);
        }
        self.spawn(command)
    }

    /// Starts any program in this directory with pipes for stdin, stdout and stderr.
    fn spawn(&self, mut command: Command) -> RunningProcess {
        let mut child = command
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = PipeReader::new(child.stdout.take().unwrap());
        let stderr = PipeReader::new(child.stderr.take().unwrap());
        RunningProcess { stdin: child.stdin.take(), child, stdout, stderr }
    }

    /// Runs the program to its end with an empty stdin.
    fn deltarec(&self, args: &[&str]) -> ProcessOutput {
        self.start(args).finish()
    }

    /// `deltarec run` with arguments that are separated by spaces, and an empty stdin.
    fn run(&self, args: &str) -> ProcessOutput {
        self.run_with_stdin(args, b"")
    }

    /// The same with this input on stdin.
    fn run_with_stdin(&self, args: &str, input: &[u8]) -> ProcessOutput {
        let args: Vec<&str> = ["run"].into_iter().chain(args.split_whitespace()).collect();
        let mut running = self.start(&args);
        let (mut stdin, input) = (running.stdin.take().unwrap(), input.to_owned());
        // The program may end before it has read everything, so a write error is no failure.
        let writer = thread::spawn(move || stdin.write_all(&input).is_ok());
        let done = running.finish();
        writer.join().unwrap();
        done
    }
}

/// A running program. It is killed when dropped.
struct RunningProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: PipeReader,
    stderr: PipeReader,
}

impl RunningProcess {
    /// Writes to its stdin and keeps it open.
    fn send(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until stdout is as expected and returns the time that took. `what` names the expectation.
    fn wait_for_output(&self, limit: Duration, what: &str, expected: impl Fn(&str) -> bool) -> Duration {
        let start = Instant::now();
        while !expected(&self.stdout.text()) {
            assert!(start.elapsed() < limit, "{what}: not within {limit:?}; stderr:\n{}", self.stderr.text());
            thread::sleep(Duration::from_millis(5));
        }
        start.elapsed()
    }

    /// Sends a signal by its name without `SIG`.
    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Closes its stdin and waits for its exit.
    fn finish(mut self) -> ProcessOutput {
        drop(self.stdin.take());
        self.finish_within(RUN_TIMEOUT)
    }

    /// Waits for its exit and keeps its stdin open.
    fn finish_within(mut self, limit: Duration) -> ProcessOutput {
        let start = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < limit, "still running after {limit:?}; stderr:\n{}", self.stderr.text());
            thread::sleep(Duration::from_millis(2));
        };
        ProcessOutput { code: status.code(), stdout: self.stdout.all(), stderr: self.stderr.all() }
    }

    /// CPU time used so far, in clock ticks of 10 ms.
    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for RunningProcess {
    /// Kills the process, so that a failing test leaves none behind.
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// Reads a pipe in a thread.
struct PipeReader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl PipeReader {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        PipeReader { bytes, thread: Some(thread) }
    }

    /// The text read so far.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Waits until the text contains `part`.
    fn wait_for(&self, part: &str, limit: Duration) {
        let start = Instant::now();
        while !self.text().contains(part) {
            assert!(start.elapsed() < limit, "{part:?} is not printed within {limit:?}:\n{}", self.text());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The whole text, once the other end is closed.
    fn all(&mut self) -> String {
        self.thread.take().unwrap().join().unwrap();
        self.text()
    }
}

/// The records of an output, each of which must be a complete line.
fn changes(output: &str) -> Vec<Change> {
    assert!(output.is_empty() || output.ends_with('\n'), "the last line is incomplete");
    output.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Lists by user, best first, without empty ones. Without scores too: a record has those of its time.
type Lists = BTreeMap<String, Vec<String>>;

/// The lists after all changes: the last record of each user.
fn final_lists<'c>(changes: impl IntoIterator<Item = &'c Change>) -> Lists {
    let mut lists = Lists::new();
    for change in changes {
        lists.insert(change.key.to_string(), change.items.iter().map(|scored| scored.item.clone()).collect());
    }
    lists.retain(|_, items| !items.is_empty());
    lists
}

/// Asserts that the lists are equal and that there are at least `minimum`. Prints their number.
#[track_caller]
fn assert_lists_eq(what: &str, found: &Lists, expected: &Lists, minimum: usize) {
    for user in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(user), expected.get(user), "{what}: the list of {user}, found and expected");
    }
    println!("{what}: {} lists are equal", expected.len());
    assert!(expected.len() >= minimum, "{what}: only {} lists to compare", expected.len());
}

/// The oracle's events, by the default levels, with their rooms.
fn oracle_events_with_rooms(events: &[Event]) -> Vec<RoomEvent> {
    let levels = Levels::default();
    let convert = |event: &Event| {
        let effect = levels.effect(&event.action, event.dwell_ms).unwrap();
        (OracleEvent::of(event.user.clone(), event.item.clone(), effect, event.ts), event.room.clone())
    };
    events.iter().map(convert).collect()
}

/// The same without the rooms.
fn oracle_events(events: &[Event]) -> Vec<OracleEvent> {
    oracle_events_with_rooms(events).into_iter().map(|(event, _)| event).collect()
}

/// The oracle's trending lists after all events.
fn expected_trending(events: &[Event], trending: Trending) -> Lists {
    let events = oracle_events_with_rooms(events);
    let now = events.iter().map(|(event, _)| event.ts).max().unwrap();
    without_scores(trending::lists(&events, &Eligible::everything(), trending, now))
}

/// The `--set` arguments for these parameters.
fn trending_args(Trending { k, bucket, buckets }: Trending) -> String {
    format!("--set trending.k={k} --set trending.bucket={bucket}ms --set trending.buckets={buckets}")
}

/// The largest timestamp.
fn latest_ts(events: &[OracleEvent]) -> u64 {
    events.iter().map(|event| event.ts).max().unwrap()
}

fn gunzip(gzip: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(gzip).read_to_end(&mut bytes).unwrap();
    bytes
}

/// An event as a JSON line.
fn event(user: &str, item: &str, action: &str, ts: u64) -> String {
    format!("{{\"user\":\"{user}\",\"item\":\"{item}\",\"action\":\"{action}\",\"ts\":{ts}}}\n")
}

/// Three events as JSON lines: ann bought bread and butter, bob viewed bread. Only bob gets a list, which is butter.
fn two_shoppers(ts: u64) -> String {
    event("ann", "bread", "purchase", ts) + &event("ann", "butter", "purchase", ts) + &event("bob", "bread", "view", ts)
}

/// This machine's time in milliseconds.
fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
