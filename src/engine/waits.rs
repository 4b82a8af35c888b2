//! How long the effects of others wait for lists to follow them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

/// Changes of lists that followed what others did, by the milliseconds for which the first of these effects had waited:
/// [`dataflows::ListChange::waited`], and by the wall clock the time from then until the change is written. All other changes are
/// made at once.
#[derive(Debug)]
pub struct Waits(Mutex<Histogram<u64>>);

impl Default for Waits {
    fn default() -> Self {
        Waits(Mutex::new(Histogram::new_with_bounds(1, 86_400_000, 3).expect("the bounds are valid")))
    }
}

impl Waits {
    /// Records changes that waited, in milliseconds.
    pub(super) fn record(&self, waits: impl Iterator<Item = u64>) {
        let mut recorded = self.recorded();
        waits.for_each(|ms| recorded.saturating_record(ms));
    }

    /// Forgets everything recorded.
    pub fn reset(&self) {
        self.recorded().reset();
    }

    /// Everything recorded since the last call, in milliseconds.
    pub fn take(&self) -> Histogram<u64> {
        let mut recorded = self.recorded();
        let taken = recorded.clone();
        recorded.reset();
        taken
    }

    fn recorded(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
