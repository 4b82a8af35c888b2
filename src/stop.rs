//! Ends a run early, on request or on a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::console;

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

/// Returns a request that SIGINT and SIGTERM set. A second signal ends the process at once.
pub fn stop_on_signals() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
        .context("cannot listen for signals")?;
    let requested = stop.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in &mut signals {
                if requested.is_set() {
                    // The exit code by which a shell reports a process that a signal ended.
                    std::process::exit(128 + signal);
                }
                requested.set();
                console::say("shutting down: draining in-flight events (press Ctrl-C again to quit now)");
            }
        })
        .context("cannot start the thread for signals")?;
    Ok(stop)
}
