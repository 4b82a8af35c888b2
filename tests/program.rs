//! The program from outside: arguments, files, pipes and signals in; exit code, output and messages out.

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

use super::support::oracle::Ev;
use super::support::oracle::trending::{self, Seen, Trending};

/// No run of a test may take longer; one that hangs is killed and told of.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a run of the program ended.
#[derive(Debug)]
struct Done {
    /// `None`: ended by a signal.
    code: Option<i32>,
    out: String,
    err: String,
}

impl Done {
    /// Ended well.
    fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// Ended with this code, and said all of this, and nothing of an accident.
    fn failed(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.err);
        self.said(parts)
    }

    fn said(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is missing in:\n{}", self.err);
        }
        assert!(!self.err.contains("panicked") && !self.err.contains("RUST_BACKTRACE"), "{}", self.err);
        self
    }

    /// The summary, by what stands before or behind its numbers.
    fn summary(&self) -> Summary {
        let line = self.err.lines().find(|line| line.contains(" events/s, peak memory "));
        let line = line.unwrap_or_else(|| panic!("no summary in:\n{}", self.err));
        let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
        let before = |what: &str| {
            let text = &line[..line.find(what).unwrap_or_else(|| panic!("no {what} in {line}"))];
            number(&text[text.rfind([' ', '(']).map_or(0, |at| at + 1)..])
        };
        let by = line.split_once(" rejected (").map(|(_, rest)| rest.split_once(')').unwrap().0);
        let by = by.into_iter().flat_map(|list| list.split(", ")).map(|pair| pair.rsplit_once(' ').unwrap());
        Summary {
            events: before(" events"),
            rejected: before(" rejected"),
            rejected_by: by.map(|(code, count)| (code.to_owned(), number(count))).collect(),
            changes: before(" changes"),
            peak_mib: number(line.rsplit_once("peak memory ").unwrap().1.strip_suffix(" MiB").unwrap()),
        }
    }
}

struct Summary {
    events: u64,
    rejected: u64,
    rejected_by: BTreeMap<String, u64>,
    changes: u64,
    peak_mib: u64,
}

/// A folder of its own, in which the program is run.
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

    /// Starts the program, all its streams being pipes.
    fn start(&self, args: &[&str]) -> Running {
        self.start_telling("", args)
    }

    /// Starts the program with this as its `RUST_LOG`.
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

    /// Runs the program to its end, with nothing on stdin.
    fn deltarec(&self, args: &[&str]) -> Done {
        self.start(args).end()
    }

    /// `deltarec run` with arguments that hold no spaces.
    fn run(&self, args: &str) -> Done {
        self.run_with(args, b"")
    }

    fn run_with(&self, args: &str, input: &[u8]) -> Done {
        let args: Vec<&str> = ["run"].into_iter().chain(args.split_whitespace()).collect();
        let mut running = self.start(&args);
        let (mut stdin, input) = (running.stdin.take().unwrap(), input.to_owned());
        // The program may end before it has read everything.
        let feeding = thread::spawn(move || stdin.write_all(&input).is_ok());
        let done = running.end();
        feeding.join().unwrap();
        done
    }
}

/// A run that goes on.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Heard,
    err: Heard,
}

impl Running {
    /// Writes to its stdin, which stays open.
    fn send(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the output is as expected; it tells how long that took.
    fn until(&self, limit: Duration, what: &str, expected: impl Fn(&str) -> bool) -> Duration {
        let asked = Instant::now();
        while !expected(&self.out.text()) {
            assert!(asked.elapsed() < limit, "{what}: not within {limit:?}; it said\n{}", self.err.text());
            thread::sleep(Duration::from_millis(5));
        }
        asked.elapsed()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Closes its stdin and waits for its end.
    fn end(mut self) -> Done {
        drop(self.stdin.take());
        self.end_within(PATIENCE)
    }

    /// Waits for its end and keeps its stdin open.
    fn end_within(mut self, limit: Duration) -> Done {
        let asked = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(asked.elapsed() < limit, "still running after {limit:?}; it said\n{}", self.err.text());
            thread::sleep(Duration::from_millis(2));
        };
        Done { code: status.code(), out: self.out.all(), err: self.err.all() }
    }

    /// Processor time it has used, in hundredths of a second.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Running {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// What came out of a pipe so far.
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    listening: Option<thread::JoinHandle<()>>,
}

impl Heard {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&bytes);
        let listening = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                heard.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Heard { bytes, listening: Some(listening) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Waits until it has said this.
    fn until(&self, part: &str, limit: Duration) {
        let asked = Instant::now();
        while !self.text().contains(part) {
            assert!(asked.elapsed() < limit, "{part:?} is not said within {limit:?}:\n{}", self.text());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn all(&mut self) -> String {
        self.listening.take().unwrap().join().unwrap();
        self.text()
    }
}

/// The records of an output, each of which must be a whole line.
fn changes(output: &str) -> Vec<Change> {
    assert!(output.is_empty() || output.ends_with('\n'), "the last line is not whole");
    output.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Lists by user, best first, without scores (a record has those of its own time); no empty ones.
type Lists = BTreeMap<String, Vec<String>>;

/// What an output leaves: the last record of every user.
fn last_lists<'c>(changes: impl IntoIterator<Item = &'c Change>) -> Lists {
    let mut lists = Lists::new();
    for change in changes {
        lists.insert(change.key.to_string(), change.items.iter().map(|scored| scored.item.clone()).collect());
    }
    lists.retain(|_, items| !items.is_empty());
    lists
}

/// The oracle's lists without scores.
fn unscored(lists: BTreeMap<String, Vec<(String, i64)>>) -> Lists {
    lists.into_iter().map(|(user, list)| (user, list.into_iter().map(|(item, _)| item).collect())).collect()
}

/// Compares, and says how much there was to compare.
#[track_caller]
fn assert_same(what: &str, found: &Lists, expected: &Lists, floor: usize) {
    for user in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(user), expected.get(user), "{what}: the list of {user}, found and expected");
    }
    println!("{what}: {} lists are equal", expected.len());
    assert!(expected.len() >= floor, "{what}: only {} lists to compare", expected.len());
}

/// Events as the default levels judge them, with their rooms; what is ignored is left out.
fn seen(events: &[Event]) -> Vec<Seen> {
    let levels = Levels::default();
    let judge = |event: &Event| match levels.effect(&event.action, event.dwell_ms).unwrap() {
        Effect::Counts(level) => {
            let judged = Ev { user: event.user.clone(), item: event.item.clone(), level, ts: event.ts };
            Some((judged, event.room.clone()))
        }
        Effect::Ignored => None,
    };
    events.iter().filter_map(judge).collect()
}

/// The same without the rooms.
fn judged(events: &[Event]) -> Vec<Ev> {
    seen(events).into_iter().map(|(event, _)| event).collect()
}

/// What the oracle says trends after all events.
fn trends(events: &[Event], trending: Trending) -> Lists {
    let seen = seen(events);
    let latest = seen.iter().map(|(event, _)| event.ts).max().unwrap();
    unscored(trending::lists(&seen, trending, latest))
}

/// The `--set`s for it.
fn set(Trending { k, bucket, buckets }: Trending) -> String {
    format!("--set trending.k={k} --set trending.bucket={bucket}ms --set trending.buckets={buckets}")
}

fn latest(events: &[Ev]) -> u64 {
    events.iter().map(|event| event.ts).max().unwrap()
}

fn unpacked(gzip: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(gzip).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A JSON line.
fn event(user: &str, item: &str, action: &str, ts: u64) -> String {
    format!("{{\"user\":\"{user}\",\"item\":\"{item}\",\"action\":\"{action}\",\"ts\":{ts}}}\n")
}

/// Ann bought bread and butter, bob only bread: bob is told of butter, and nobody of anything else.
fn two_shoppers(ts: u64) -> String {
    event("ann", "bread", "purchase", ts) + &event("ann", "butter", "purchase", ts) + &event("bob", "bread", "view", ts)
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
