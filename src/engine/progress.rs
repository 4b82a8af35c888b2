//! Progress of a run: counters that its threads update, and the display that shows them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use hdrhistogram::Histogram;

use super::supervisor::{Part, Reporter, Supervisor};
use super::waits::Waits;
use crate::console;

/// Counters of a run.
#[derive(Debug, Default)]
pub struct Progress {
    /// Valid events.
    pub events: AtomicU64,
    /// Valid events without a level: retractions, skips, and watches that are too short to count.
    pub without_level: AtomicU64,
    /// Valid events that were older than the retention when they were read.
    pub expired: AtomicU64,
    /// Valid records of the catalogue.
    pub items: AtomicU64,
    /// Valid controls.
    pub controls: AtomicU64,
    /// What the graph has of the catalogue.
    pub(super) catalogue: CatalogueCounts,
    /// Events loaded from a snapshot.
    pub restored: AtomicU64,
    /// Valid events whose changes are all written; the next flush of the sink makes them durable. Events at the end of the
    /// input that were expired on arrival are added with the next event.
    pub completed: AtomicU64,
    /// Rejected records.
    pub rejected: AtomicU64,
    /// Changes written.
    pub changes: AtomicU64,
    /// Those of them that were made at once: the viewer acted, entered or left, or the list is a trending list.
    pub at_once: AtomicU64,
    /// How long the others waited.
    pub waits: Waits,
    /// Changes written before the last flush of the sink.
    flushed: AtomicU64,
    /// Millisecond up to which all changes are complete.
    pub watermark: AtomicU64,
    /// Users in the audience.
    pub audience: AtomicU64,
    /// Whether all inputs have ended without a failure.
    pub(super) inputs_ended: AtomicBool,
    /// Unread records by topic and partition.
    lag: Mutex<Lag>,
}

/// Counts of the catalogue, as of the last tick.
#[derive(Debug, Default)]
pub(super) struct CatalogueCounts {
    /// Items with a record.
    pub(super) items: AtomicU64,
    pub(super) eligible: AtomicU64,
    pub(super) empty_intervals: AtomicU64,
    /// Records that counted for nothing.
    pub(super) stale: AtomicU64,
    pub(super) full: AtomicU64,
}

/// Unread records by topic, as the user named it, and partition.
type Lag = Vec<(String, BTreeMap<i32, u64>)>;

/// Most partitions listed with their lag. The sum includes all.
const LISTED_PARTITIONS: usize = 8;

/// The least time that percentiles of waits are of.
const WAITS_EVERY: Duration = Duration::from_secs(2);

/// Display of the progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Nothing.
    Nothing,
    /// A status line on a terminal, updated in place.
    Live,
    /// A log record every ten seconds.
    Log,
}

/// A display that is running, unless there is none.
pub(super) struct Display(Option<Sender<()>>);

impl Display {
    /// Removes the status line. A display that is blocked on stderr is abandoned.
    pub(super) fn end(self, supervisor: &mut Supervisor) {
        if let Some(end) = self.0 {
            drop(end);
            supervisor.wait_briefly_for(Part::Display);
        }
    }
}

impl Show {
    pub(super) fn start(self, progress: Arc<Progress>, reporter: &Reporter) -> Display {
        let every = match self {
            Show::Nothing => return Display(None),
            Show::Live => Duration::from_millis(200),
            Show::Log => Duration::from_secs(10),
        };
        let (end, ended) = bounded::<()>(0);
        reporter.spawn(Part::Display, tracing::error_span!("progress"), move || {
            let mut rate = Rate { at: Instant::now(), events: 0 };
            let (mut waits, mut taken) = (progress.waits.take(), Instant::now());
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if taken.elapsed() >= WAITS_EVERY {
                    (waits, taken) = (progress.waits.take(), Instant::now());
                }
                let line = progress.line(rate.per_second(progress.events.load(Relaxed)), &waits);
                match self {
                    Show::Log => tracing::info!("{line}"),
                    _ => console::set_status(&line),
                }
            }
            console::set_status("");
            Ok(())
        });
        Display(Some(end))
    }
}

/// Events per second since the previous call.
struct Rate {
    at: Instant,
    events: u64,
}

impl Rate {
    #[allow(clippy::cast_precision_loss)]
    fn per_second(&mut self, events: u64) -> f64 {
        let rate = (events - self.events) as f64 / self.at.elapsed().as_secs_f64().max(1e-3);
        (self.at, self.events) = (Instant::now(), events);
        rate
    }
}

impl Progress {
    /// Whether the run has read no event although there may be some: it was stopped, an input failed, or all records were
    /// rejected. Then the files of its outputs stay as they were.
    pub(super) fn has_no_results(&self) -> bool {
        let rejected = self.rejected.load(Relaxed) > 0;
        self.events.load(Relaxed) == 0 && (rejected || !self.inputs_ended.load(Relaxed))
    }

    /// Records that the sinks have flushed everything that was written.
    pub(super) fn on_flush(&self) {
        self.flushed.store(self.changes.load(Relaxed), Relaxed);
    }

    /// Changes written since the last flush.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.changes.load(Relaxed) - self.flushed.load(Relaxed)
    }

    pub(super) fn set_lag(&self, lag: Lag) {
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = lag;
    }

    /// The sum, and the partitions with the largest lag.
    fn lag(&self) -> Option<String> {
        let lag = self.lag.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        let partitions = lag.iter().flat_map(|(name, of)| of.iter().map(move |(id, lag)| (*lag, topic(name), *id)));
        let mut all: Vec<(u64, String, i32)> = partitions.collect();
        if all.is_empty() {
            return None;
        }
        let sum: u64 = all.iter().map(|(lag, ..)| lag).sum();
        all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (&a.1, a.2).cmp(&(&b.1, b.2))));
        let listed = all.iter().take(LISTED_PARTITIONS).filter(|(lag, ..)| *lag > 0);
        let listed: Vec<String> = listed.map(|(lag, topic, id)| format!("{topic}/{id} {}", grouped(*lag))).collect();
        let listed = if listed.is_empty() { String::new() } else { format!(" ({})", listed.join(", ")) };
        Some(format!("lag {}{listed}", grouped(sum)))
    }

    /// The status line.
    fn line(&self, per_second: f64, waits: &Histogram<u64>) -> String {
        let mut line = format!("{} events", grouped(self.events.load(Relaxed)));
        let mut add = |part: std::fmt::Arguments<'_>| {
            line.push_str(", ");
            line.write_fmt(part).expect("writing to a string does not fail");
        };
        add(format_args!("{}/s", grouped(rounded(per_second))));
        if let Some(time) = timestamp(self.watermark.load(Relaxed)) {
            add(format_args!("watermark {time}"));
        }
        let (changes, at_once) = (self.changes.load(Relaxed), self.at_once.load(Relaxed));
        add(format_args!("{} changes ({} at once)", grouped(changes), grouped(at_once)));
        if !waits.is_empty() {
            let [p50, p99] = [0.5, 0.99].map(|quantile| grouped(waits.value_at_quantile(quantile)));
            add(format_args!("effects of others after {p50} ms (p99 {p99})"));
        }
        add(format_args!("audience {}", grouped(self.audience.load(Relaxed))));
        if let Some(controls) = Some(self.controls.load(Relaxed)).filter(|controls| *controls > 0) {
            add(format_args!("{} controls", grouped(controls)));
        }
        if let Some(rejected) = Some(self.rejected.load(Relaxed)).filter(|rejected| *rejected > 0) {
            add(format_args!("{} rejected", grouped(rejected)));
        }
        if let Some(lag) = self.lag() {
            add(format_args!("{lag}"));
        }
        if let Some(bytes) = crate::proc::resident_bytes() {
            add(format_args!("{} MiB", bytes >> 20));
        }
        line
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn rounded(rate: f64) -> u64 {
    rate.round() as u64
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds since the Unix epoch as an ISO 8601 timestamp in seconds. `None` for 0, which stands for no time.
pub(crate) fn timestamp(ms: u64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    (ms > 0).then(|| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_numbers_and_times() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"],
            [0, 999, 1_000, 12_345_678].map(grouped).each_ref().map(String::as_str)
        );
        assert_eq!(timestamp(1_763_900_000_123).unwrap(), "2025-11-23T12:13:20Z");
        assert_eq!(timestamp(0), None);
    }

    #[test]
    fn the_line_leaves_out_what_is_zero() {
        let progress = Progress::default();
        progress.events.store(12_345, Relaxed);
        progress.changes.store(678, Relaxed);
        progress.at_once.store(600, Relaxed);
        let waits = progress.waits.take();
        assert!(
            progress.line(1_234.4, &waits).starts_with("12,345 events, 1,234/s, 678 changes (600 at once), audience 0")
        );
        progress.waits.record([300, 500, 900].into_iter());
        let line = progress.line(0.0, &progress.waits.take());
        assert!(line.contains("(600 at once), effects of others after 500 ms (p99 900), audience"), "{line}");
        assert!(progress.waits.take().is_empty());
        progress.rejected.store(9, Relaxed);
        progress.controls.store(1_200, Relaxed);
        progress.watermark.store(1_763_900_000_000, Relaxed);
        let line = progress.line(0.0, &waits);
        assert!(
            line.contains("audience 0, 1,200 controls, 9 rejected") && line.contains("watermark 2025-11-23T12:13:20Z"),
            "{line}"
        );
        progress.set_lag(vec![("kafka://a/events".into(), [(0, 7), (1, 0), (2, 1_200)].into())]);
        let line = progress.line(0.0, &waits);
        assert!(line.contains("lag 1,207 (events/2 1,200, events/0 7)"), "{line}");
    }
}
