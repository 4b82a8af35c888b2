use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Limits log records that others cause: the first of each kind is logged at once, later ones after an interval, with the
/// number of those in between.
///
/// A kind is a variant of an error or a place in the code, never text that others write: anyone who could vary it could fill the
/// log and the memory.
///
/// ```
/// use std::time::Duration;
///
/// let throttle = connectors::LogThrottle::default();
/// assert_eq!(throttle.admit("refused"), Some(0));
/// assert_eq!(throttle.admit("refused"), None);
/// assert_eq!(throttle.admit("timed out"), Some(0));
/// assert_eq!(throttle.admit_every(Duration::ZERO, "refused"), Some(1));
/// ```
#[derive(Debug)]
pub struct LogThrottle<K>(Mutex<BTreeMap<K, Kind>>);

#[derive(Debug, Default)]
struct Kind {
    logged: Option<Instant>,
    suppressed: u64,
}

/// The shortest time between two log records of one kind.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

impl<K> Default for LogThrottle<K> {
    fn default() -> Self {
        LogThrottle(Mutex::new(BTreeMap::new()))
    }
}

impl<K: Ord> LogThrottle<K> {
    /// The number of records of this kind that were suppressed since the last one. `None`: this one is suppressed too.
    pub fn admit(&self, kind: K) -> Option<u64> {
        self.admit_every(LOG_INTERVAL, kind)
    }

    /// [`LogThrottle::admit`] with another interval.
    pub fn admit_every(&self, interval: Duration, kind: K) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Kind { logged, suppressed } = kinds.entry(kind).or_default();
        if logged.is_some_and(|logged| logged.elapsed() < interval) {
            *suppressed += 1;
            return None;
        }
        *logged = Some(Instant::now());
        Some(std::mem::take(suppressed))
    }
}
