//! This machine's clock jumps. A library that stands before the system's own tells the program another time.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::{Heard, event, now};
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

/// A program whose clock can be set.
struct Clock {
    place: Place,
}

impl Clock {
    /// `None` where no library can be made.
    fn new() -> Option<Self> {
        let place = Place::new();
        place.write("shim.c", SHIM);
        place.write("offset", "0");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"])
            .current_dir(place.path(""))
            .output()
            .is_ok_and(|done| done.status.success());
        if !made {
            println!("not tested: clocks that jump need a C compiler and a linker that makes shared libraries");
        }
        made.then_some(Clock { place })
    }

    /// Puts the clock forward, or back, from the real time.
    fn set(&self, seconds: i64) {
        self.place.write("offset.new", seconds.to_string());
        fs::rename(self.place.path("offset.new"), self.place.path("offset")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }

    fn start(&self, audience: &str) -> Running {
        let place = &self.place;
        let mut child = Command::new(env!("CARGO_BIN_EXE_deltarec"))
            .args(["run", "--clock", "wall", "--state", "state", "--output", "out.jsonl"])
            .args(["--set", "state.interval=50ms", "--set", "input.max_skew=3650d"])
            .args(["--set", &format!("graph.audience={audience}")])
            .current_dir(place.path(""))
            .env("LD_PRELOAD", place.path("shim.so"))
            .env("CLOCK_OFFSET", place.path("offset"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (Heard::new(child.stdout.take().unwrap()), Heard::new(child.stderr.take().unwrap()));
        Running { stdin: child.stdin.take(), child, out, err }
    }

    fn until(&self, what: &str, expected: impl Fn(&[Change]) -> bool) {
        let asked = std::time::Instant::now();
        let text = || fs::read_to_string(self.place.path("out.jsonl")).unwrap_or_default();
        let whole = |text: &str| changes(&text[..text.rfind('\n').map_or(0, |at| at + 1)]);
        while !expected(&whole(&text())) {
            assert!(asked.elapsed() < Duration::from_secs(20), "{what}: it wrote\n{}", text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whatever the clock did: time does not go back, and nothing is sent twice.
    fn check(&self) -> Vec<Change> {
        let changes = changes(&self.place.read("out.jsonl"));
        assert!(changes.is_sorted_by_key(|change| change.at), "time went back");
        for user in changes.iter().map(|change| &change.key) {
            let lists: Vec<_> = changes
                .iter()
                .filter(|change| change.key == *user)
                .map(|c| c.items.iter().map(|scored| &scored.item).collect::<Vec<_>>())
                .collect();
            assert!(lists.windows(2).all(|pair| pair[0] != pair[1]), "{user} is told the same twice");
        }
        changes
    }
}

const HOUR: i64 = 3_600;

fn ago(seconds: i64) -> u64 {
    now().checked_add_signed(-seconds * 1_000).unwrap()
}

#[test]
fn a_clock_that_is_set_back_stands_still_until_it_has_caught_up() {
    let Some(clock) = Clock::new() else { return };
    let mut running = clock.start("all");
    running.send(&super::super::two_shoppers(now()));
    clock.until("the first change", |changes| changes.len() == 1);
    clock.set(-HOUR);
    running.send(&event("eve", "bread", "view", ago(HOUR)));
    clock.until("a change after the jump", |changes| changes.len() == 2);
    let used = running.ticks();
    std::thread::sleep(Duration::from_millis(500));
    assert!(running.ticks() - used < 10, "it spins: {} hundredths of a second in half a one", running.ticks() - used);
    running.end().well();
    // Started again by the clock that is behind: told, and still no step back.
    let mut running = clock.start("all");
    running.send(&event("joe", "bread", "view", ago(HOUR)));
    clock.until("a change after the restart", |changes| changes.len() == 3);
    running.end().well().said(&["clock is 3,", "time stands still"]);
    let changes = clock.check();
    assert!(changes.iter().all(|change| change.items[0].item == "butter"), "{changes:?}");
}

#[test]
fn a_clock_that_jumps_ahead_ends_what_is_over_by_then_and_no_more() {
    let Some(clock) = Clock::new() else { return };
    let mut running = clock.start("30m");
    running.send(&super::super::two_shoppers(now()));
    clock.until("the first change", |changes| changes.len() == 1);
    clock.set(HOUR);
    // Something has to happen for the program to look at the clock before it would have by itself.
    running.send(&event("eve", "bread", "view", ago(-HOUR)));
    clock.until("the end of bob's list, and eve's", |changes| changes.len() == 3 && changes[1].items.is_empty());
    // Back again: an hour in which nothing new is in the audience, as the documentation says; nobody is sent anything wrong.
    clock.set(0);
    running.send(&event("joe", "bread", "view", now()));
    std::thread::sleep(Duration::from_millis(300));
    running.end().well();
    assert_eq!(clock.check().len(), 3);
    let mut running = clock.start("30m");
    running.send(&event("joe", "butter", "view", now()));
    std::thread::sleep(Duration::from_millis(300));
    running.end().well().said(&["clock is 3,", "--rebuild"]);
    assert_eq!(clock.check().len(), 3);
}
