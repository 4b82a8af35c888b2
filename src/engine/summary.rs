//! The summary of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::progress::{Progress, grouped, rounded};

/// The result of a run in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Valid events.
    pub events: u64,
    /// Valid events without a level: retractions, skips, and watches that are too short to count.
    pub without_level: u64,
    /// Valid events that were older than the retention when they were read.
    pub expired: u64,
    /// Rejected records.
    pub rejected: u64,
    /// Rejected records by the code of their reason.
    pub rejected_by: BTreeMap<String, u64>,
    /// The catalogue, if there is one.
    pub catalogue: Option<CatalogueSummary>,
    /// Valid controls, if there is an input of them.
    pub controls: Option<u64>,
    /// Changes written.
    pub changes: u64,
    /// Duration of the run.
    pub elapsed: Duration,
    /// Peak resident memory of this process in bytes. `None` on systems that do not report it.
    pub peak_memory: Option<u64>,
}

/// What became of the records of a catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogueSummary {
    /// Valid records.
    pub records: u64,
    /// Items that have one.
    pub items: u64,
    /// Those of them that may be recommended at the end.
    pub eligible: u64,
    /// Items that have events and no record.
    pub without_record: u64,
    /// Items whose `until` is not after their `from`.
    pub empty_intervals: u64,
    /// Records that counted for nothing, because deletions were dropped that are not earlier.
    pub stale: u64,
    /// Records that counted for nothing, because the catalogue was full.
    pub full: u64,
}

impl CatalogueSummary {
    pub(super) fn of(progress: &Progress, without_record: u64) -> Self {
        let counts = &progress.catalogue;
        CatalogueSummary {
            records: progress.items.load(Relaxed),
            items: counts.items.load(Relaxed),
            eligible: counts.eligible.load(Relaxed),
            without_record,
            empty_intervals: counts.empty_intervals.load(Relaxed),
            stale: counts.stale.load(Relaxed),
            full: counts.full.load(Relaxed),
        }
    }
}

impl Summary {
    pub(super) fn of(progress: &Progress, elapsed: Duration) -> Self {
        Summary {
            events: progress.events.load(Relaxed),
            without_level: progress.without_level.load(Relaxed),
            expired: progress.expired.load(Relaxed),
            rejected: progress.rejected.load(Relaxed),
            rejected_by: BTreeMap::new(),
            catalogue: None,
            controls: None,
            changes: progress.changes.load(Relaxed),
            elapsed,
            peak_memory: crate::proc::peak_bytes(),
        }
    }

    /// Logs the summary as one record.
    pub fn log(&self) {
        let Summary { events, without_level, expired, rejected, rejected_by, catalogue, controls, .. } = self;
        let Summary { changes, elapsed, peak_memory, .. } = self;
        let (rejected_by, elapsed_s) = (by_code(rejected_by), elapsed.as_secs_f64());
        tracing::info!(
            events,
            without_level,
            expired,
            rejected,
            rejected_by,
            catalogue_records = catalogue.map(|catalogue| catalogue.records),
            catalogue_items = catalogue.map(|catalogue| catalogue.items),
            eligible_items = catalogue.map(|catalogue| catalogue.eligible),
            items_without_record = catalogue.map(|catalogue| catalogue.without_record),
            empty_intervals = catalogue.map(|catalogue| catalogue.empty_intervals),
            stale_records = catalogue.map(|catalogue| catalogue.stale),
            catalogue_full = catalogue.map(|catalogue| catalogue.full),
            controls,
            changes,
            elapsed_s,
            peak_memory,
            "run finished"
        );
    }

    #[allow(clippy::cast_precision_loss)]
    fn events_per_second(&self) -> u64 {
        rounded(self.events as f64 / self.elapsed.as_secs_f64().max(1e-3))
    }
}

/// Counts with their codes.
pub(super) fn by_code(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = counts.iter().map(|(code, count)| format!("{code} {}", grouped(*count))).collect();
    counts.join(", ")
}

/// One line.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events", grouped(self.events))?;
        let parts = [(self.without_level, "without a level"), (self.expired, "expired on arrival")];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", grouped(count)))
            .collect();
        if !parts.is_empty() {
            write!(f, " ({})", parts.join(", "))?;
        }
        write!(f, ", {} rejected", grouped(self.rejected))?;
        if !self.rejected_by.is_empty() {
            write!(f, " ({})", by_code(&self.rejected_by))?;
        }
        if let Some(catalogue) = &self.catalogue {
            write!(f, ", {catalogue}")?;
        }
        if let Some(controls) = self.controls {
            write!(f, ", {} controls", grouped(controls))?;
        }
        write!(
            f,
            ", {} changes, {:.1} s, {} events/s",
            grouped(self.changes),
            self.elapsed.as_secs_f64(),
            grouped(self.events_per_second())
        )?;
        match self.peak_memory {
            Some(bytes) => write!(f, ", peak memory {} MiB", bytes >> 20),
            None => write!(f, ", peak memory unknown"),
        }
    }
}

/// A part of the line of a [`Summary`].
impl fmt::Display for CatalogueSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [records, items, eligible] = [self.records, self.items, self.eligible].map(grouped);
        write!(f, "{records} catalogue records ({eligible} of {items} items eligible")?;
        let more = [
            (self.without_record, "items with events have none"),
            (self.empty_intervals, "items with an until that is not after from"),
            (self.stale, "records stale"),
            (self.full, "records too many: catalogue.max_items"),
        ];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {} {what}", grouped(count))?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_one_line() {
        let summary = Summary {
            events: 110_300,
            without_level: 1,
            expired: 2,
            rejected: 3,
            rejected_by: [("malformed".to_owned(), 1), ("unknown_action".to_owned(), 2)].into(),
            catalogue: None,
            controls: None,
            changes: 52_000,
            elapsed: Duration::from_millis(2_500),
            peak_memory: Some(123 << 20),
        };
        let catalogue = CatalogueSummary { records: 1_234, items: 900, eligible: 800, ..CatalogueSummary::default() };
        assert_eq!(catalogue.to_string(), "1,234 catalogue records (800 of 900 items eligible)");
        assert_eq!(
            CatalogueSummary { without_record: 7, full: 2, ..catalogue }.to_string(),
            "1,234 catalogue records (800 of 900 items eligible, 7 items with events have none, 2 records too many: \
             catalogue.max_items)"
        );
        assert_eq!(
            summary.to_string(),
            "110,300 events (1 without a level, 2 expired on arrival), 3 rejected (malformed 1, unknown_action 2), \
             52,000 changes, 2.5 s, 44,120 events/s, peak memory 123 MiB"
        );
        let with_controls = Summary { controls: Some(1_200), ..summary }.to_string();
        assert!(with_controls.contains("unknown_action 2), 1,200 controls, 52,000 changes"), "{with_controls}");
    }
}
