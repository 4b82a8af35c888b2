//! The program from outside: arguments, files, pipes and signals; exit codes, output and messages.

mod answers;
mod bad_input;
mod bench;
mod clocks;
mod cluster;
mod durable;
mod evaluate;
#[cfg(feature = "kafka")]
mod kafka;
mod real_logs;
mod records;
mod signals;
mod snapshot;
mod streams;
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
use schema::{Change, Effect, Event, Levels};
use tempfile::TempDir;

use super::support::oracle::trending::{self, Seen, Trending};
use super::support::oracle::{Ev, without_scores as unscored};

/// Time limit of a run. A run that exceeds it is killed, and its test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Exit code and output of a run.
#[derive(Debug)]
struct Done {
    /// Exit code; `None` if a signal ended the run.
    code: Option<i32>,
    out: String,
    err: String,
}

impl Done {
    /// Asserts exit code 0.
    fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// Asserts this exit code and, as [`Done::said`], these parts of stderr.
    fn failed(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.err);
        self.said(parts)
    }

    /// Asserts that stderr contains all parts and no panic message.
    fn said(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is missing in:\n{}", self.err);
        }
        assert!(!self.err.contains("panicked") && !self.err.contains("RUST_BACKTRACE"), "{}", self.err);
        self
    }

    /// The numbers of the summary line on stderr.
    fn summary(&self) -> Summary {
        let line = self.err.lines().find(|line| line.contains(" events/s, peak memory "));
        let line = line.unwrap_or_else(|| panic!("no summary in:\n{}", self.err));
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
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(TempDir::new().unwrap())
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
    fn start(&self, args: &[&str]) -> Running {
        self.start_telling("", args)
    }

    /// The same with `RUST_LOG` set to `log`.
    fn start_telling(&self, log: &str, args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltarec"));
        if log.is_empty() {
            command.env_remove("RUST_LOG")
        } else {
            command.env("RUST_LOG", log)
        };
        let mut child = command
            .args(args)
            .current_dir(self.0.path())
            .env_remove("DELTAREC_HOSTS")
            .env_remove("DELTAREC_SECRET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Heard::new(child.stdout.take().unwrap());
        let err = Heard::new(child.stderr.take().unwrap());
        Running { stdin: child.stdin.take(), child, out, err }
    }

    /// Runs the program to its end with an empty stdin.
    fn deltarec(&self, args: &[&str]) -> Done {
        self.start(args).end()
    }

    /// `deltarec run` with arguments that are separated by spaces, and an empty stdin.
    fn run(&self, args: &str) -> Done {
        self.run_with(args, b"")
    }

    /// The same with this input on stdin.
    fn run_with(&self, args: &str, input: &[u8]) -> Done {
        let args: Vec<&str> = ["run"].into_iter().chain(args.split_whitespace()).collect();
        let mut running = self.start(&args);
        let (mut stdin, input) = (running.stdin.take().unwrap(), input.to_owned());
        // The program may end before it has read everything, so a write error is no failure.
        let writer = thread::spawn(move || stdin.write_all(&input).is_ok());
        let done = running.end();
        writer.join().unwrap();
        done
    }
}

/// A running program. It is killed when dropped.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Heard,
    err: Heard,
}

impl Running {
    /// Writes to its stdin and keeps it open.
    fn send(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until stdout is as expected and returns the time that took. `what` names the expectation.
    fn until(&self, limit: Duration, what: &str, expected: impl Fn(&str) -> bool) -> Duration {
        let start = Instant::now();
        while !expected(&self.out.text()) {
            assert!(start.elapsed() < limit, "{what}: not within {limit:?}; stderr:\n{}", self.err.text());
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
    fn end(mut self) -> Done {
        drop(self.stdin.take());
        self.end_within(PATIENCE)
    }

    /// Waits for its exit and keeps its stdin open.
    fn end_within(mut self, limit: Duration) -> Done {
        let start = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < limit, "still running after {limit:?}; stderr:\n{}", self.err.text());
            thread::sleep(Duration::from_millis(2));
        };
        Done { code: status.code(), out: self.out.all(), err: self.err.all() }
    }

    /// CPU time used so far, in clock ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Running {
    /// Kills the process, so that a failing test leaves none behind.
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// Reads a pipe in a thread.
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Heard {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Heard { bytes, thread: Some(thread) }
    }

    /// The text read so far.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Waits until the text contains `part`.
    fn until(&self, part: &str, limit: Duration) {
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
fn last_lists<'c>(changes: impl IntoIterator<Item = &'c Change>) -> Lists {
    let mut lists = Lists::new();
    for change in changes {
        lists.insert(change.key.to_string(), change.items.iter().map(|scored| scored.item.clone()).collect());
    }
    lists.retain(|_, items| !items.is_empty());
    lists
}

/// Asserts that the lists are equal and that there are at least `minimum`. Prints their number.
#[track_caller]
fn assert_same(what: &str, found: &Lists, expected: &Lists, minimum: usize) {
    for user in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(user), expected.get(user), "{what}: the list of {user}, found and expected");
    }
    println!("{what}: {} lists are equal", expected.len());
    assert!(expected.len() >= minimum, "{what}: only {} lists to compare", expected.len());
}

/// The oracle's events, by the default levels, with their rooms. Ignored events are left out.
fn seen(events: &[Event]) -> Vec<Seen> {
    let levels = Levels::default();
    let convert = |event: &Event| match levels.effect(&event.action, event.dwell_ms).unwrap() {
        Effect::Counts(level) => {
            let converted = Ev { user: event.user.clone(), item: event.item.clone(), level, ts: event.ts };
            Some((converted, event.room.clone()))
        }
        Effect::Ignored => None,
    };
    events.iter().filter_map(convert).collect()
}

/// The same without the rooms.
fn judged(events: &[Event]) -> Vec<Ev> {
    seen(events).into_iter().map(|(event, _)| event).collect()
}

/// The oracle's trending lists after all events.
fn trends(events: &[Event], trending: Trending) -> Lists {
    let events = seen(events);
    let now = events.iter().map(|(event, _)| event.ts).max().unwrap();
    unscored(trending::lists(&events, trending, now))
}

/// The `--set` arguments for these parameters.
fn set(Trending { k, bucket, buckets }: Trending) -> String {
    format!("--set trending.k={k} --set trending.bucket={bucket}ms --set trending.buckets={buckets}")
}

/// The largest timestamp.
fn latest(events: &[Ev]) -> u64 {
    events.iter().map(|event| event.ts).max().unwrap()
}

fn unpacked(gzip: &[u8]) -> Vec<u8> {
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
