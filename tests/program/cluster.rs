//! Clusters: the same answers as one process, however the processes are started, stopped and killed.

mod ends;
mod failures;
mod kills;
mod network;
mod rescale;
mod strangers;
mod tampering;

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use schema::ListKey;

use super::{Lists, RunningProcess, TestDir, assert_lists_eq, changes, final_lists, latest_ts, without_scores};
use crate::support::logs::log;
use crate::support::oracle::trending::Trending;
use crate::support::oracle::{self, OracleEvent, Params};

/// Generous limit for anything that takes a second on an idle machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// The processes of a cluster, in one folder.
pub(super) struct Cluster<'p> {
    dir: &'p TestDir,
    hosts: Vec<String>,
    workers: usize,
}

impl<'p> Cluster<'p> {
    /// Gives each process its own free loopback address.
    pub(super) fn new(dir: &'p TestDir, processes: usize, workers: usize) -> Self {
        write_secret(dir, "secret", "a secret that only these processes share\n");
        Cluster { dir, hosts: (0..processes).map(|_| free_address()).collect(), workers }
    }

    /// The arguments of a process.
    fn args(&self, process: usize, args: &str) -> Vec<String> {
        let hosts = format!("{},", self.hosts.join(","));
        let cluster = format!("--hosts {hosts} --process {process} --workers {}", self.workers);
        let secret = if args.contains("--secret-file") { "" } else { "--secret-file secret" };
        format!("run {args} {cluster} {secret}").split_whitespace().map(str::to_owned).collect()
    }

    fn start(&self, process: usize, args: &str) -> RunningProcess {
        let args = self.args(process, args);
        self.dir.start(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start_all(&self, args: &str) -> Vec<RunningProcess> {
        (0..self.hosts.len()).map(|process| self.start(process, args)).collect()
    }

    /// Runs all processes to their end, which must succeed. Returns the stdout of process 0.
    pub(super) fn run(&self, args: &str) -> String {
        if self.hosts.len() == 1 {
            return self.dir.run(&format!("{args} --workers {}", self.workers)).assert_success().stdout;
        }
        end_all(self.start_all(args))
    }
}

/// Ends all processes successfully. The last first: process 0 ends when its stdin is closed. Returns the stdout of process 0.
fn end_all(running: Vec<RunningProcess>) -> String {
    let mut out = String::new();
    for running in running.into_iter().rev() {
        out = running.finish().assert_success().assert_stderr(&[]).stdout;
    }
    out
}

/// Writes a secret that only this user can read.
pub(super) fn write_secret(dir: &TestDir, name: &str, secret: &str) {
    dir.write(name, secret);
    set_mode(dir, name, 0o600);
}

fn set_mode(dir: &TestDir, name: &str, mode: u32) {
    std::fs::set_permissions(dir.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn free_address() -> String {
    let random = RandomState::new().hash_one(0).to_le_bytes();
    let ip = Ipv4Addr::new(127, random[0], random[1], random[2] | 1);
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string()
}

/// Waits until stderr of a running process contains this.
fn wait_for_stderr(running: &RunningProcess, what: &str) {
    let asked = Instant::now();
    while !running.stderr.text().contains(what) {
        assert!(asked.elapsed() < RUN_TIMEOUT, "{what:?} is missing in:\n{}", running.stderr.text());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A log as JSON lines, with the default action of each level.
fn lines(log: &[OracleEvent]) -> String {
    let mut text = String::new();
    for event in log {
        let action = ["view", "click", "like", "share", "cart", "purchase"][usize::from(event.level().unwrap()) - 1];
        text.push_str(&super::event(&event.user, &event.item, action, event.ts));
    }
    text
}

fn lists_of_all(log: &[OracleEvent]) -> Lists {
    without_scores(oracle::lists(log, &Params { audience: None, ..Params::default() }, latest_ts(log)))
}

/// Writes a simulated log to `x.jsonl`. Returns its events and the lists of the oracle.
fn simulated(dir: &TestDir, simulation: &str) -> (Vec<OracleEvent>, Lists) {
    dir.deltarec(&["generate", simulation, "--output", "x.jsonl"]).assert_success();
    let text = dir.read("x.jsonl");
    let events: Vec<schema::Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = super::oracle_events(&events);
    let lists = lists_of_all(&events);
    (events, lists)
}

/// The records of an output in an order that does not depend on the workers.
fn sorted(output: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn several_processes_emit_what_one_emits(
        log in log(120),
        shape in prop::sample::select(vec![(2, 1), (2, 2), (3, 1)]),
        batch in prop::sample::select(vec![1, 7]),
    ) {
        let dir = TestDir::new();
        dir.write("x.jsonl", lines(&log));
        let args = format!(
            "--input x.jsonl --set input.batch={batch} --set graph.retention=60ms --set graph.audience=30ms \
             --set graph.history=4 --set graph.shrink=0 --output"
        );
        dir.run(&format!("{args} one.jsonl")).assert_success();
        Cluster::new(&dir, shape.0, shape.1).run(&format!("{args} more.jsonl"));
        let [more, one] = ["more.jsonl", "one.jsonl"].map(|name| dir.read(name));
        prop_assert_eq!(sorted(&more), sorted(&one));
    }
}

#[test]
fn final_lists_of_a_cluster_equal_the_oracle() {
    let dir = TestDir::new();
    let (_, expected) = simulated(&dir, "events=20000,users=500,items=300,seed=9");
    for (processes, workers) in [(2, 1), (2, 2), (4, 1)] {
        let cluster = Cluster::new(&dir, processes, workers);
        let out = cluster.run("--input x.jsonl --set graph.audience=all");
        let what = format!("{processes} processes with {workers} workers");
        assert_lists_eq(&what, &final_lists(&changes(&out)), &expected, 400);
    }
}

/// The counts of a trending list come from all workers, and one of them has the list.
#[test]
fn trending_lists_of_a_cluster_equal_those_of_one_process() {
    let dir = TestDir::new();
    // Forty seconds, and rooms that are quiet in between.
    dir.deltarec(&["generate", "events=4000,users=150,items=100,rooms=40,rate=100,seed=8", "--output", "x.jsonl"])
        .assert_success();
    let events: Vec<schema::Event> =
        dir.read("x.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let trending = Trending { k: 5, bucket: 1_000, buckets: 3 };
    let args = format!("--input x.jsonl --set input.batch=20 {} --output", super::trending_args(trending));
    dir.run(&format!("{args} one.jsonl")).assert_success();
    Cluster::new(&dir, 2, 1).run(&format!("{args} two.jsonl"));
    let [one, two] = ["one.jsonl", "two.jsonl"].map(|name| dir.read(name));
    assert!(sorted(&two) == sorted(&one), "the records differ");
    let mut found = changes(&two);
    found.retain(|change| !matches!(change.key, ListKey::User(_)));
    let emptied = found.iter().filter(|change| change.items.is_empty()).count();
    println!("{} records of trending lists, {emptied} of them empty", found.len());
    assert!(found.len() > 300 && emptied > 10);
    assert_lists_eq("trending lists", &final_lists(&found), &super::expected_trending(&events, trending), 5);
}

/// Process 0 has the clock, and must know when a timer of another process is due.
#[test]
fn wall_clock_expires_lists_on_all_processes() {
    let dir = TestDir::new();
    let cluster = Cluster::new(&dir, 2, 1);
    let args = "--clock wall --set graph.retention=3s --set graph.audience=2s";
    let [mut first, second] = <[RunningProcess; 2]>::try_from(cluster.start_all(args)).ok().unwrap();
    wait_for_stderr(&second, "are linked");
    let ts = super::now();
    let mut events = super::event("zoe", "bread", "purchase", ts) + &super::event("zoe", "butter", "purchase", ts);
    for user in 0..20 {
        writeln!(events, "{}", super::event(&format!("u{user}"), "bread", "view", ts).trim()).unwrap();
    }
    first.send(&events);
    first.wait_for_output(RUN_TIMEOUT, "all lists", |out| out.matches("\"entered\":[\"butter\"]").count() == 20);
    let before = second.cpu_ticks();
    first.wait_for_output(RUN_TIMEOUT, "their ends", |out| out.matches("\"items\":[]").count() == 20);
    println!("meanwhile the second process used {} hundredths of a second", second.cpu_ticks() - before);
    // The events expire, and the boundaries follow.
    std::thread::sleep(Duration::from_millis(2_200));
    let idle = (first.cpu_ticks(), second.cpu_ticks());
    std::thread::sleep(Duration::from_secs(1));
    let used = (first.cpu_ticks() - idle.0, second.cpu_ticks() - idle.1);
    println!("idle: {used:?} % of a core");
    assert!(used.0 < 5 && used.1 < 5, "idle processes use {used:?} % of a core");
    let (first, second) = (first.finish().assert_success(), second.finish().assert_success());
    assert_eq!(first.stdout.lines().count(), 40, "{}", first.stdout);
    assert_eq!(second.stdout, "");
}

#[test]
fn reports_usage_errors_before_anything_starts() {
    let dir = TestDir::new();
    write_secret(&dir, "secret", "a secret that only these processes share\n");
    write_secret(&dir, "short", "short\n");
    dir.write("hosts", "# two\n127.0.0.1:2101\nnonsense\n");
    write_secret(&dir, "open", "a secret that everybody can read\n");
    set_mode(&dir, "open", 0o644);
    write_secret(&dir, "group", "a secret that a group can read\n");
    set_mode(&dir, "group", 0o640);
    let cases: &[(&str, &[&str])] = &[
        ("--hosts a:1,b:1 --process 0 --secret-file open", &["other users can read", "0644", "chmod 600 open"]),
        ("--hosts a:1,b:1 --process 0 --secret-file group", &["other users can read", "0640", "chmod 600 group"]),
        (
            "--hosts a:1,b:1 --process 0 --secret-file secret --insecure-links --listen-publicly",
            &["--insecure-links", "--listen-publicly"],
        ),
        ("--hosts hosts --process 0", &["hosts:3", "`nonsense` is not an address", "host:port"]),
        ("--hosts nowhere --process 0", &["nowhere"]),
        ("--hosts a:1,b:1", &["--process", "from 0 to 1"]),
        ("--process 1", &["--hosts"]),
        ("--hosts a:1,b:1 --process 2", &["--process 2", "numbered from 0"]),
        ("--hosts a:1,b:1 --process deltarec-x", &["deltarec-x"]),
        ("--hosts a:1,b:1 --process 0", &["--secret-file", "openssl rand"]),
        ("--hosts a:1,b:1 --process 0 --secret-file ./none", &["./none", "No such file"]),
        ("--hosts a:1,b:1 --process 0 --secret-file short", &["5 bytes", "16"]),
        ("--hosts 8.8.8.8:1,b:1 --process 0 --secret-file secret", &["8.8.8.8", "private", "--listen-publicly"]),
        ("--hosts 0.0.0.0:1,b:1 --process deltarec-0 --secret-file secret", &["0.0.0.0"]),
    ];
    for (args, parts) in cases {
        dir.run(args).assert_failure(2, parts);
    }
    // One address: a run without a cluster.
    assert_eq!(dir.run("--hosts a:1, --process 0").assert_success().stdout, "");
}
