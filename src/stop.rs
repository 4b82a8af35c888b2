//! Ends a run early, on request or on a signal.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::{RecvTimeoutError, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::console;
use crate::proc;

/// A request to end a run early: events already read are processed, no more are read. Clones share the request.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Requests the end. Any thread may call it, any number of times.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was requested.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Interval at which a waiting thread looks whether the end was requested.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

impl Stop {
    /// Runs work that may be blocked, such as the opening of a pipe, in a thread of its own. `None`: the end was requested, and
    /// the work has not come to its own end within `patience` after that. Its thread is abandoned then, and ends with the process.
    pub(crate) fn bound<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<Option<T>> {
        let (done_in, done) = bounded(1);
        let thread = std::thread::Builder::new()
            .spawn(move || done_in.send(work()).unwrap_or_default())
            .context("cannot start a thread")?;
        let mut stopped: Option<Instant> = None;
        loop {
            match done.recv_timeout(CHECK_INTERVAL) {
                Ok(result) => return Ok(Some(result)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => match thread.join() {
                    Err(panic) => resume_unwind(panic),
                    Ok(()) => return Ok(None),
                },
            }
            if self.is_set() && stopped.get_or_insert_with(Instant::now).elapsed() >= patience {
                return Ok(None);
            }
        }
    }
}

/// Returns a request that SIGINT, SIGTERM and SIGHUP set. A second signal ends the process at once. SIGHUP stays ignored
/// where it was ignored at the start (`nohup`).
pub fn stop_on_signals() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let signals = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !(*signal == SIGHUP && proc::ignores(SIGHUP)));
    let signals: Vec<i32> = signals.collect();
    let is_signalled = Arc::new(AtomicBool::new(false));
    for &signal in &signals {
        // The handlers run in this order. They need no thread, so no blocked thread can delay the second signal.
        // 128 + n is the exit code by which a shell reports a process that signal n ended.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_signalled))
            .and_then(|_| flag::register(signal, Arc::clone(&is_signalled)))
            .and_then(|_| flag::register(signal, Arc::clone(&stop.0)))
            .context("cannot listen for signals")?;
    }
    let mut signals = Signals::new(signals).context("cannot listen for signals")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if signals.forever().next().is_some() {
                console::say("shutting down: draining in-flight events (press Ctrl-C again to quit now)");
            }
        })
        .context("cannot start the thread for signals")?;
    Ok(stop)
}
