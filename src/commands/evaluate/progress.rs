use std::time::{Duration, Instant};

use crate::console;
use crate::engine::grouped;

/// What an evaluation is doing and how far it is: a live line on a terminal, else a log line now and then.
pub(super) struct Progress {
    shown: bool,
    what: String,
    /// How much there is to do; 0 if nobody knows.
    of: usize,
    last: Instant,
}

impl Progress {
    pub(super) fn new(shown: bool) -> Self {
        Progress { shown, what: String::new(), of: 0, last: Instant::now() }
    }

    pub(super) fn begin(&mut self, what: String, of: usize) {
        (self.what, self.of, self.last) = (what, of, Instant::now());
        self.say(0);
    }

    /// To be called often: it looks at the clock and says something when it is time.
    pub(super) fn at(&mut self, done: usize) {
        let every = if console::has_status_line() { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.shown && self.last.elapsed() >= every {
            self.last = Instant::now();
            self.say(done);
        }
    }

    fn say(&self, done: usize) {
        let line = match (done, self.of) {
            (0, 0) => self.what.clone(),
            (done, 0) => format!("{}: {}", self.what, grouped(done as u64)),
            (done, of) => {
                format!("{}: {} of {} ({}%)", self.what, grouped(done as u64), grouped(of as u64), 100 * done / of)
            }
        };
        match self.shown {
            true if console::has_status_line() => console::set_status(&line),
            true if done > 0 => tracing::info!("{line}"),
            _ => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown && console::has_status_line() {
            console::set_status("");
        }
    }
}
