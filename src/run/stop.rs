use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
