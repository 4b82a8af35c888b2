//! The machine and what this process takes of it.

use std::fs;

use serde::{Deserialize, Serialize};

/// Where something was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) version: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Machine {
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "deltarec {}, {} cores of {}", self.version, self.cores, self.cpu)
    }
}

/// `/proc` counts processor time in hundredths of a second, whatever the kernel's own clock.
const TICKS: f64 = 100.0;

/// Seconds of processor time of all threads of this process so far; `None` where the system does not tell.
#[allow(clippy::cast_precision_loss)]
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in brackets, may hold anything; user and system time are the 12th and 13th field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS)
}

/// Resident memory of this process in bytes: now, and at most so far. 0 where the system does not tell.
pub(super) fn memory() -> (u64, u64) {
    let field = |name| crate::engine::memory(name).unwrap_or(0);
    (field("VmRSS:"), field("VmHWM:"))
}

/// Lets this thread wake up on time. A sleep may otherwise take 50 us longer than asked for, so that timers fall
/// together; where that cannot be set, sleeps are as they were.
pub(super) fn wake_on_time() {
    let set = || {
        let thread = fs::read_link("/proc/thread-self").ok()?;
        let id = thread.file_name()?.to_str()?.to_owned();
        fs::write(format!("/proc/{id}/timerslack_ns"), "1").ok()
    };
    if set().is_none() {
        tracing::debug!("timers of this thread stay coarse");
    }
}
