//! Runs that keep their state: however often they are killed, stopped and restarted, their output is that of an
//! uninterrupted run.

mod clocks;
mod cloud;
mod damage;
mod endurance;
mod faults;
mod kills;
mod regress;
mod rotation;
mod trends;
mod trouble;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use schema::{Change, Event};

use super::{RunningProcess, TestDir, changes};

/// Time spans of these tests in milliseconds. Events are at odd milliseconds and the spans are odd, so no timer fires at the
/// time of an event: every tick has a millisecond of its own, and outputs can be compared record for record.
const SECOND: u64 = 1_000;
const AUDIENCE: u64 = 600 * SECOND + 1;
const RETENTION: u64 = 1_800 * SECOND + 1;
const START: u64 = 1_763_900_000_001;

/// Arguments that all runs of a test share.
fn settings() -> Vec<String> {
    [
        &format!("graph.audience={AUDIENCE}ms"),
        &format!("graph.retention={RETENTION}ms"),
        "graph.history=12",
        "input.batch=1",
    ]
    .iter()
    .flat_map(|set| ["--set".to_owned(), (*set).to_owned()])
    .collect()
}

/// The arguments of a run from `in.jsonl` to `output` with state in `state`. It takes one snapshot after the other.
pub(super) fn arguments(output: &str, state: Option<&str>, workers: usize) -> Vec<String> {
    single_snapshot_arguments(output, state, workers)
        .into_iter()
        .chain(["--set".into(), "state.interval=1ms".into()])
        .collect()
}

/// The same arguments for a run that takes only the last snapshot.
fn single_snapshot_arguments(output: &str, state: Option<&str>, workers: usize) -> Vec<String> {
    let mut args: Vec<String> =
        ["run", "--input", "in.jsonl", "--output", output, "--workers", &workers.to_string()].map(Into::into).into();
    args.extend(settings());
    args.extend(state.iter().flat_map(|state| ["--state".to_owned(), (*state).to_owned()]));
    args
}

/// The same arguments, with each tick an evaluation of all lists. Otherwise the end of an input is one, and a log that comes in
/// parts has more of them than one that comes as a whole.
fn at_every_tick(mut arguments: Vec<String>) -> Vec<String> {
    arguments.extend(["--set".into(), "graph.refresh=0ms".into()]);
    arguments
}

impl TestDir {
    pub(super) fn begin(&self, args: &[String]) -> RunningProcess {
        self.start(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A simulated log of more than an hour, in which viewers leave and return and events expire.
pub(super) fn log(dir: &TestDir, events: usize, seed: u64) -> Vec<Event> {
    let simulation = format!("events={events},users=90,items=70,seed={seed}");
    let text = dir.deltarec(&["generate", &simulation]).assert_success().stdout;
    let mut ts = START;
    let mut log: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (n, event) in log.iter_mut().enumerate() {
        // Sometimes nothing happens until the whole audience has left.
        ts += if n % 701 == 700 { 2 * AUDIENCE } else { 2 * (n as u64 * 37 % 600) + 600 };
        ts |= 1;
        event.ts = ts;
    }
    log
}

pub(super) fn lines<'e>(events: impl IntoIterator<Item = &'e Event>) -> String {
    events.into_iter().fold(String::new(), |mut text, event| {
        writeln!(text, "{}", serde_json::to_string(event).unwrap()).unwrap();
        text
    })
}

/// Records in an order that does not depend on the number of workers.
fn ordered(output: &str) -> Vec<Change> {
    let mut changes = changes(output);
    changes.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
    changes
}

#[track_caller]
pub(super) fn assert_same_stream(what: &str, found: &str, expected: &str) {
    let (found, expected) = (ordered(found), ordered(expected));
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "{what}: record {at}, found and expected");
    }
    assert_eq!(found.len(), expected.len(), "{what}: records");
}

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The first column (number) and the last (state) of `deltarec snapshot list`.
fn listed(dir: &TestDir, state: &str) -> Vec<(u64, String)> {
    let list = dir.deltarec(&["snapshot", "list", "--state", state]).assert_success().stdout;
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some((words.first()?.parse().ok()?, (*words.last()?).to_owned()))
    };
    list.lines().filter_map(row).collect()
}
