use std::time::{Duration, Instant};

use crate::console;
use crate::engine::grouped;

/// Progress of an evaluation: a status line on a terminal, otherwise a log line every ten seconds.
pub(super) struct Progress {
    enabled: bool,
    phase: String,
    /// Amount of work of the phase; 0 if unknown.
    total: usize,
    last: Instant,
}

impl Progress {
    pub(super) fn new(enabled: bool) -> Self {
        Progress { enabled, phase: String::new(), total: 0, last: Instant::now() }
    }

    pub(super) fn begin(&mut self, phase: String, total: usize) {
        (self.phase, self.total, self.last) = (phase, total, Instant::now());
        self.show(0);
    }

    /// Updates the progress; cheap enough for every case.
    pub(super) fn at(&mut self, done: usize) {
        let interval = if console::has_status_line() { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.enabled && self.last.elapsed() >= interval {
            self.last = Instant::now();
            self.show(done);
        }
    }

    fn show(&self, done: usize) {
        let phase = &self.phase;
        let line = match (done, self.total) {
            (0, 0) => phase.clone(),
            (done, 0) => format!("{phase}: {}", grouped(done as u64)),
            (done, total) => {
                format!("{phase}: {} of {} ({}%)", grouped(done as u64), grouped(total as u64), 100 * done / total)
            }
        };
        match self.enabled {
            true if console::has_status_line() => console::set_status(&line),
            true if done > 0 => tracing::info!("{line}"),
            _ => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.enabled && console::has_status_line() {
            console::set_status("");
        }
    }
}
