//! Ending a run early, on request or on a signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::console;

/// A request to end a run early: what was read is finished, nothing more is read.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end. Safe to call in any thread, any number of times.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Ends a run early on SIGINT or SIGTERM; a second one ends it at once.
pub fn stop_on_signals() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
        .context("cannot listen for signals")?;
    let asked = stop.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in &mut signals {
                if asked.is_set() {
                    // As a shell tells a process ended by a signal.
                    std::process::exit(128 + signal);
                }
                asked.set();
                console::say("stopping: what was read is being finished (once more to stop at once)");
            }
        })
        .context("cannot start the thread for signals")?;
    Ok(stop)
}
