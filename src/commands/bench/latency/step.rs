//! Events with the times at which they are due, and what became of them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::sample::Sample;
use super::super::simulated::SimulatedEvent;

/// When the events of a step are due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) start: Instant,
    /// Events per second, evenly.
    pub(super) rate: u64,
    /// Events at the beginning that are not recorded.
    pub(super) warm_up: usize,
}

/// One step: prepared by the conductor, offered by the source, recorded by the sink.
pub(super) struct Step {
    /// Events of the run before this step.
    pub(super) first: u64,
    pub(super) events: Vec<SimulatedEvent>,
    /// Users who leave the audience, each with the event of this step that makes it so, in order.
    pub(super) leaves: Vec<(usize, u32)>,
    /// `None`: as fast as possible, and nothing is recorded.
    pub(super) pace: Option<Pace>,
    /// Events offered in the end: fewer than there are if it is cut short.
    end: AtomicUsize,
    cut: AtomicBool,
    /// Events done with.
    settled: AtomicUsize,
    record: Mutex<Record>,
}

/// What is recorded of a step, from the scheduled times on.
#[derive(Default)]
pub(super) struct Record {
    pub(super) all: Sample,
    pub(super) changing: Sample,
    pub(super) joining: Sample,
    pub(super) staying: Sample,
    pub(super) leaving: Sample,
    /// Sum of latencies and number of events, by the quarter of the step in which they were due.
    quarters: [(Duration, u32); 4],
    /// Events not settled when the last one was due.
    pub(super) backlog: u64,
    /// The longest time in which nothing was done with although something was due.
    pub(super) pause: Duration,
    /// When the last event was settled.
    pub(super) last: Option<Instant>,
    pub(super) changes: u64,
    pub(super) bytes: u64,
}

impl Record {
    pub(super) fn mean_of_quarter(&self, quarter: usize) -> Duration {
        let (sum, count) = self.quarters[quarter];
        sum.checked_div(count).unwrap_or_default()
    }
}

/// What has left the sink since the last event was recorded.
#[derive(Default)]
pub(super) struct Written {
    pub(super) changes: u64,
    pub(super) bytes: u64,
    /// Users whose list was emptied, and when that had left.
    pub(super) emptied: Vec<(u32, Instant)>,
}

impl Step {
    pub(super) fn new(first: u64, events: Vec<SimulatedEvent>, leaves: Vec<(usize, u32)>, pace: Option<Pace>) -> Self {
        let end = AtomicUsize::new(events.len());
        Step {
            first,
            events,
            leaves,
            pace,
            end,
            cut: AtomicBool::default(),
            settled: AtomicUsize::default(),
            record: Mutex::default(),
        }
    }

    pub(super) fn end(&self) -> usize {
        self.end.load(Acquire)
    }

    pub(super) fn end_at(&self, events: usize) {
        self.end.store(events, Release);
    }

    /// Asks the source to offer no more of it.
    pub(super) fn cut(&self) {
        self.cut.store(true, Release);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Acquire)
    }

    pub(super) fn settled(&self) -> usize {
        self.settled.load(Acquire)
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When an event is due; now, if there is no hurry.
    pub(super) fn due(&self, event: usize) -> Option<Instant> {
        let pace = self.pace?;
        let after = event as u128 * 1_000_000_000 / u128::from(pace.rate);
        Some(pace.start + Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX)))
    }

    /// Takes down that these events are done with: everything that follows from them had been written and flushed at
    /// `now`. What was written is theirs together.
    pub(super) fn settle(&self, events: Range<usize>, now: Instant, written: &Written) {
        if let Some(pace) = self.pace {
            let mut record = self.record();
            self.take_down(&mut record, pace, events.clone(), now, written);
            record.changes += written.changes;
            record.bytes += written.bytes;
            record.last = Some(now);
        }
        self.settled.store(events.end, Release);
    }

    fn take_down(&self, record: &mut Record, pace: Pace, events: Range<usize>, now: Instant, written: &Written) {
        let all = self.events.len();
        let end_due = self.due(all.saturating_sub(1)).unwrap_or(now);
        // From the last time something was done with, or from when something was due again.
        let idle_since = self.due(events.start).max(record.last);
        if events.start >= pace.warm_up
            && let Some(since) = idle_since
        {
            record.pause = record.pause.max(now.saturating_duration_since(since));
        }
        let late = |event: usize, now: Instant| now.saturating_duration_since(self.due(event).unwrap_or(now));
        for event in events.clone() {
            let took = late(event, now);
            let (sum, count) = &mut record.quarters[(event * 4 / all.max(1)).min(3)];
            (*sum, *count) = (*sum + took, *count + 1);
            record.backlog += u64::from(now > end_due);
            if event < pace.warm_up {
                continue;
            }
            record.all.record(took);
            if written.changes > 0 {
                record.changing.record(took);
            }
            let kind = if self.events[event].joins { &mut record.joining } else { &mut record.staying };
            kind.record(took);
        }
        if written.emptied.is_empty() {
            return;
        }
        let from = self.leaves.partition_point(|(event, _)| *event < events.start);
        let leaves = self.leaves[from..].iter().take_while(|(event, _)| *event < events.end);
        let causes: HashMap<u32, usize> = leaves.map(|(event, user)| (*user, *event)).collect();
        for (user, at) in &written.emptied {
            // Lists are emptied for other reasons too.
            if let Some(event) = causes.get(user).filter(|event| **event >= pace.warm_up) {
                record.leaving.record(late(*event, *at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(count: usize, leaves: Vec<(usize, u32)>) -> Step {
        let one =
            SimulatedEvent { ts: 1, action: "view", user: 1, item: 1, room: 1, dwell_ms: None, level: 1, joins: false };
        let events = (0..count).map(|event| SimulatedEvent { joins: event % 2 == 0, ..one }).collect();
        let pace = Pace { start: Instant::now(), rate: 1_000, warm_up: 10 };
        Step::new(0, events, leaves, Some(pace))
    }

    #[test]
    fn latency_runs_from_the_scheduled_time() {
        let step = step(40, vec![(12, 7), (13, 8), (25, 7)]);
        let after = |ms| step.due(0).unwrap() + Duration::from_millis(ms);
        step.settle(0..5, after(20), &Written::default());
        let emptied = vec![(7, after(22)), (9, after(22))];
        step.settle(5..20, after(22), &Written { changes: 3, bytes: 30, emptied });
        // The last event is due after 39 ms: those settled later were its backlog.
        step.settle(20..40, after(45), &Written::default());
        let record = step.record();
        let [all, changing, joining, staying, leaving] =
            [&record.all, &record.changing, &record.joining, &record.staying, &record.leaving].map(Sample::percentiles);
        assert_eq!((all.count, changing.count, joining.count, staying.count, leaving.count), (30, 10, 15, 15, 1));
        assert!((all.max_ms - 25.0).abs() < 0.1 && (changing.max_ms - 12.0).abs() < 0.1);
        assert!((leaving.max_ms - 10.0).abs() < 0.1, "{leaving:?}");
        assert_eq!((record.backlog, record.changes, step.settled()), (20, 3, 40));
        // From 22 ms to 45 ms.
        assert_eq!(record.pause, Duration::from_millis(23));
        assert_eq!(record.mean_of_quarter(3), Duration::from_micros(10_500));
    }
}
