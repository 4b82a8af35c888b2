//! A long simulated time at a high rate: once the retention is reached, memory and snapshots stop growing, although new users
//! and items keep coming.

use std::io::Write as _;

use super::super::RUN_TIMEOUT;
use super::*;

/// Parameters of a run.
struct Endurance {
    /// Simulated seconds.
    seconds: u64,
    /// Events per simulated second.
    rate: u64,
    /// Retention in seconds.
    retention: u64,
}

/// Length of names: long enough that names which are not forgotten show in the memory.
const NAME: usize = 500;

fn name(of: &str, number: u64) -> String {
    format!("{of}{number:0>NAME$}")
}

impl Endurance {
    fn events(&self) -> u64 {
        self.seconds * self.rate
    }

    /// A visitor has five events and never returns; an item is seen for a while and never again.
    fn event(&self, n: u64) -> String {
        let visitor = n / 200 * 40 + n % 40;
        let item = n / 200 * 20 + (n * 7 + n / 40) % 20;
        super::super::event(&name("u", visitor), &name("p", item), "view", START + n * SECOND / self.rate)
    }

    /// Runs it, and compares the memory of its quarters.
    fn run(&self) {
        let dir = TestDir::new();
        let args = [
            "run",
            "--output",
            "out.jsonl",
            "--state",
            "state",
            "--set",
            "state.interval=500ms",
            "--set",
            "input.batch=200",
            "--set",
            &format!("graph.retention={}s", self.retention),
            "--set",
            "graph.audience=60s",
        ];
        let mut running = dir.start(&args);
        let mut stdin = running.stdin.take().unwrap();
        let mut troughs = [u64::MAX; 4];
        for n in 0..self.events() {
            stdin.write_all(self.event(n).as_bytes()).unwrap();
            if n % 2_000 == 0 {
                let trough = &mut troughs[usize::try_from(n * 4 / self.events()).unwrap()];
                *trough = (*trough).min(resident(running.child.id()));
            }
        }
        drop(stdin);
        let done = running.finish_within(30 * RUN_TIMEOUT).assert_success();
        println!("{} events; least memory of each quarter: {troughs:?} KiB; {}", self.events(), done.stderr.trim());
        // Half of the size of the names that are new in the second half.
        let names = self.events() / 2 * (40 + 20) / 200 * NAME as u64 / 1_024;
        // Less than if they were kept. The least, because how much waits at a moment depends on the speed of the machine.
        let most = troughs[1] + names / 2;
        assert!(troughs[3] <= most, "memory grows: {troughs:?} KiB, at most {most} expected");
        assert!(self.retention * 4 < self.seconds, "the retention is reached in the first quarter");

        let list = dir.deltarec(&["snapshot", "list", "--state", "state"]).assert_success().stdout;
        let rows: u64 =
            list.lines().nth(2).unwrap().split_whitespace().nth(3).unwrap().replace(',', "").parse().unwrap();
        assert!(rows <= self.retention * self.rate + 1_000 && rows > 0, "{rows} rows are kept:\n{list}");
        dir.deltarec(&["snapshot", "verify", "--state", "state"]).assert_success();
        let files = fs::read_dir(dir.path("state/groups")).unwrap().count();
        assert!(files <= 4 * 256, "{files} files of snapshots");
    }
}

/// Memory of a process in KiB.
fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

#[test]
fn memory_is_flat_once_the_retention_is_reached() {
    if !Path::new("/proc/self/status").exists() {
        println!("skipped: memory is read from /proc");
        return;
    }
    Endurance { seconds: 24_000, rate: 20, retention: 600 }.run();
}

#[test]
#[ignore = "long: scripts/long_tests"]
fn memory_is_flat_over_a_day() {
    Endurance { seconds: 86_400, rate: 20, retention: 3_600 }.run();
}
