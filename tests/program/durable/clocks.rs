//! Jumps of the machine's clock, simulated by a library that is loaded before the system's own.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::{PipeReader, event, now};
use super::*;

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, time);
    if (clock == CLOCK_REALTIME) {
        long long off = 0;
        FILE *file = fopen(getenv("CLOCK_OFFSET"), "r");
        if (file) { if (fscanf(file, "%lld", &off) != 1) off = 0; fclose(file); }
        time->tv_sec += off;
    }
    return done;
}
"#;

/// A folder for runs with an adjustable clock.
struct Clock {
    dir: TestDir,
}

impl Clock {
    /// `None` if the library cannot be built.
    fn new() -> Option<Self> {
        let dir = TestDir::new();
        dir.write("shim.c", SHIM);
        dir.write("offset", "0");
        let is_built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"])
            .current_dir(dir.path(""))
            .output()
            .is_ok_and(|done| done.status.success());
        if !is_built {
            println!("skipped: clock jumps need a C compiler and a linker for shared libraries");
        }
        is_built.then_some(Clock { dir })
    }

    /// Sets the clock to an offset from the real time.
    fn set(&self, seconds: i64) {
        self.dir.write("offset.new", seconds.to_string());
        fs::rename(self.dir.path("offset.new"), self.dir.path("offset")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }

    fn start(&self, audience: &str) -> RunningProcess {
        let dir = &self.dir;
        let mut child = Command::new(env!("CARGO_BIN_EXE_deltarec"))
            .args(["run", "--clock", "wall", "--state", "state", "--output", "out.jsonl"])
            .args(["--set", "state.interval=50ms", "--set", "input.max_skew=3650d"])
            .args(["--set", &format!("graph.audience={audience}")])
            .current_dir(dir.path(""))
            .env("LD_PRELOAD", dir.path("shim.so"))
            .env("CLOCK_OFFSET", dir.path("offset"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) =
            (PipeReader::new(child.stdout.take().unwrap()), PipeReader::new(child.stderr.take().unwrap()));
        RunningProcess { stdin: child.stdin.take(), child, stdout, stderr }
    }

    fn until(&self, what: &str, expected: impl Fn(&[Change]) -> bool) {
        let asked = std::time::Instant::now();
        let text = || fs::read_to_string(self.dir.path("out.jsonl")).unwrap_or_default();
        let complete = |text: &str| changes(&text[..text.rfind('\n').map_or(0, |at| at + 1)]);
        while !expected(&complete(&text())) {
            assert!(asked.elapsed() < Duration::from_secs(60), "{what}: it wrote\n{}", text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Checks that time never went back and that no list was sent twice.
    fn assert_consistent(&self) -> Vec<Change> {
        let changes = changes(&self.dir.read("out.jsonl"));
        assert!(changes.is_sorted_by_key(|change| change.at), "time went back");
        for user in changes.iter().map(|change| &change.key) {
            let lists: Vec<_> = changes
                .iter()
                .filter(|change| change.key == *user)
                .map(|c| c.items.iter().map(|scored| &scored.item).collect::<Vec<_>>())
                .collect();
            assert!(lists.windows(2).all(|pair| pair[0] != pair[1]), "{user} was sent the same list twice");
        }
        changes
    }
}

const HOUR: i64 = 3_600;

fn ago(seconds: i64) -> u64 {
    now().checked_add_signed(-seconds * 1_000).unwrap()
}

#[test]
fn time_stands_still_until_a_clock_set_back_catches_up() {
    let Some(clock) = Clock::new() else { return };
    let mut running = clock.start("all");
    running.send(&super::super::two_shoppers(now()));
    clock.until("the first change", |changes| changes.len() == 1);
    clock.set(-HOUR);
    running.send(&event("eve", "bread", "view", ago(HOUR)));
    clock.until("a change after the jump", |changes| changes.len() == 2);
    let used = running.cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        running.cpu_ticks() - used < 10,
        "it spins: {} hundredths of a second in half a one",
        running.cpu_ticks() - used
    );
    running.finish().assert_success();
    // Restarted with the clock behind: it warns, and time does not go back.
    let mut running = clock.start("all");
    running.send(&event("joe", "bread", "view", ago(HOUR)));
    clock.until("a change after the restart", |changes| changes.len() == 3);
    running.finish().assert_success().assert_stderr(&["clock is 3,", "time stands still"]);
    let changes = clock.assert_consistent();
    assert!(changes.iter().all(|change| change.items[0].item == "butter"), "{changes:?}");
}

#[test]
fn a_clock_that_jumps_ahead_expires_only_what_is_due() {
    let Some(clock) = Clock::new() else { return };
    let mut running = clock.start("30m");
    running.send(&super::super::two_shoppers(now()));
    clock.until("the first change", |changes| changes.len() == 1);
    clock.set(HOUR);
    // An event makes the program read the clock earlier than it would by itself.
    running.send(&event("eve", "bread", "view", ago(-HOUR)));
    clock.until("the end of bob's list, and eve's", |changes| changes.len() == 3 && changes[1].items.is_empty());
    // Set back again: for an hour no new user is in the audience, as documented, and no wrong list is sent.
    clock.set(0);
    running.send(&event("joe", "bread", "view", now()));
    std::thread::sleep(Duration::from_millis(300));
    running.finish().assert_success();
    assert_eq!(clock.assert_consistent().len(), 3);
    let mut running = clock.start("30m");
    running.send(&event("joe", "butter", "view", now()));
    std::thread::sleep(Duration::from_millis(300));
    running.finish().assert_success().assert_stderr(&["clock is 3,", "--rebuild"]);
    assert_eq!(clock.assert_consistent().len(), 3);
}
