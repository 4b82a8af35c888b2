//! A step: events with their schedule, and their recorded latencies.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::event_stream::SimulatedEvent;
use super::super::histogram::LatencyHistogram;

/// Schedule of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) start: Instant,
    /// Events per second, evenly spaced.
    pub(super) rate: u64,
    /// Number of events at the start that are not recorded.
    pub(super) warm_up: usize,
}

/// One step, shared by the scheduler that prepares it, the source that emits it and the sink that records it.
pub(super) struct LoadStep {
    /// Number of events of the run before this step.
    pub(super) first: u64,
    pub(super) events: Vec<SimulatedEvent>,
    /// Index of an event and a user who leaves the audience because of it, ordered by index.
    pub(super) leaves: Vec<(usize, u32)>,
    /// Schedule; `None` to emit as fast as possible and record nothing.
    pub(super) pace: Option<Pace>,
    /// Number of events to emit; lower than `events.len()` after the step was aborted.
    end: AtomicUsize,
    aborted: AtomicBool,
    /// Number of completed events.
    completed: AtomicUsize,
    record: Mutex<StepRecord>,
}

/// Latencies of a step, measured from the schedule.
#[derive(Default)]
pub(super) struct StepRecord {
    pub(super) all: LatencyHistogram,
    pub(super) own: LatencyHistogram,
    pub(super) joining: LatencyHistogram,
    pub(super) staying: LatencyHistogram,
    pub(super) leaving: LatencyHistogram,
    /// Sum of latencies and number of events, by quarter of the step.
    quarters: [(Duration, u32); 4],
    /// Events not completed when the last one was due.
    pub(super) backlog: u64,
    /// Longest time without a completed event while one was due.
    pub(super) pause: Duration,
    /// Time of the last completed event.
    pub(super) last: Option<Instant>,
    pub(super) changes: u64,
    pub(super) bytes: u64,
}

impl StepRecord {
    pub(super) fn mean_of_quarter(&self, quarter: usize) -> Duration {
        let (sum, count) = self.quarters[quarter];
        sum.checked_div(count).unwrap_or_default()
    }
}

/// Changes that the sink wrote since it last completed an event.
#[derive(Default)]
pub(super) struct Flushed {
    pub(super) changes: u64,
    pub(super) bytes: u64,
    /// Users with a changed list.
    pub(super) changed: HashSet<u32>,
    /// Users with an emptied list, and the time when the change was flushed.
    pub(super) emptied: Vec<(u32, Instant)>,
}

impl LoadStep {
    pub(super) fn new(first: u64, events: Vec<SimulatedEvent>, leaves: Vec<(usize, u32)>, pace: Option<Pace>) -> Self {
        let end = AtomicUsize::new(events.len());
        LoadStep {
            first,
            events,
            leaves,
            pace,
            end,
            aborted: AtomicBool::default(),
            completed: AtomicUsize::default(),
            record: Mutex::default(),
        }
    }

    pub(super) fn end(&self) -> usize {
        self.end.load(Acquire)
    }

    pub(super) fn end_at(&self, events: usize) {
        self.end.store(events, Release);
    }

    /// Ends the step: the source emits no more events.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Release);
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Acquire)
    }

    pub(super) fn completed(&self) -> usize {
        self.completed.load(Acquire)
    }

    pub(super) fn record(&self) -> MutexGuard<'_, StepRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time when an event is due; `None` without a schedule.
    pub(super) fn due(&self, event: usize) -> Option<Instant> {
        let pace = self.pace?;
        let after = event as u128 * 1_000_000_000 / u128::from(pace.rate);
        Some(pace.start + Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX)))
    }

    /// Completes events: all their changes were flushed at `now`. `flushed` are the changes of all of them together.
    pub(super) fn complete(&self, events: Range<usize>, now: Instant, flushed: &Flushed) {
        if let Some(pace) = self.pace {
            let mut record = self.record();
            self.record_latencies(&mut record, pace, events.clone(), now, flushed);
            record.changes += flushed.changes;
            record.bytes += flushed.bytes;
            record.last = Some(now);
        }
        self.completed.store(events.end, Release);
    }

    fn record_latencies(
        &self,
        record: &mut StepRecord,
        pace: Pace,
        events: Range<usize>,
        now: Instant,
        flushed: &Flushed,
    ) {
        let all = self.events.len();
        let end_due = self.due(all.saturating_sub(1)).unwrap_or(now);
        let idle_since = self.due(events.start).max(record.last);
        if events.start >= pace.warm_up
            && let Some(since) = idle_since
        {
            record.pause = record.pause.max(now.saturating_duration_since(since));
        }
        let latency = |event: usize, now: Instant| now.saturating_duration_since(self.due(event).unwrap_or(now));
        for event in events.clone() {
            let elapsed = latency(event, now);
            let (sum, count) = &mut record.quarters[(event * 4 / all.max(1)).min(3)];
            (*sum, *count) = (*sum + elapsed, *count + 1);
            record.backlog += u64::from(now > end_due);
            if event < pace.warm_up {
                continue;
            }
            record.all.record(elapsed);
            if flushed.changed.contains(&self.events[event].user) {
                record.own.record(elapsed);
            }
            let kind = if self.events[event].joins { &mut record.joining } else { &mut record.staying };
            kind.record(elapsed);
        }
        if flushed.emptied.is_empty() {
            return;
        }
        let from = self.leaves.partition_point(|(event, _)| *event < events.start);
        let leaves = self.leaves[from..].iter().take_while(|(event, _)| *event < events.end);
        let causes: HashMap<u32, usize> = leaves.map(|(event, user)| (*user, *event)).collect();
        for (user, at) in &flushed.emptied {
            // A list can also be emptied for another reason.
            if let Some(event) = causes.get(user).filter(|event| **event >= pace.warm_up) {
                record.leaving.record(latency(*event, *at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use schema::Effect;

    use super::*;

    fn step(count: usize, leaves: Vec<(usize, u32)>) -> LoadStep {
        let one = SimulatedEvent {
            ts: 1,
            action: "view",
            user: 1,
            item: 1,
            room: 1,
            dwell_ms: None,
            effect: Effect::Counts(1),
            joins: false,
        };
        let event =
            |event: usize| SimulatedEvent { joins: event.is_multiple_of(2), user: 1 + (event % 3) as u32, ..one };
        let events = (0..count).map(event).collect();
        let pace = Pace { start: Instant::now(), rate: 1_000, warm_up: 10 };
        LoadStep::new(0, events, leaves, Some(pace))
    }

    #[test]
    fn latency_is_measured_from_the_schedule() {
        let step = step(40, vec![(12, 7), (13, 8), (25, 7)]);
        let after = |ms| step.due(0).unwrap() + Duration::from_millis(ms);
        step.complete(0..5, after(20), &Flushed::default());
        let emptied = vec![(7, after(22)), (9, after(22))];
        // Of users 1 to 3, who act in turn, user 1 has a new list.
        step.complete(5..20, after(22), &Flushed { changes: 3, bytes: 30, changed: [1, 7, 9].into(), emptied });
        // The last event is due after 39 ms: events completed later were its backlog.
        step.complete(20..40, after(45), &Flushed::default());
        let record = step.record();
        let [all, own, joining, staying, leaving] =
            [&record.all, &record.own, &record.joining, &record.staying, &record.leaving]
                .map(LatencyHistogram::percentiles);
        assert_eq!((all.count, own.count, joining.count, staying.count, leaving.count), (30, 3, 15, 15, 1));
        // Events 12, 15 and 18 are of user 1.
        assert!((all.max_ms - 25.0).abs() < 0.1 && (own.max_ms - 10.0).abs() < 0.1);
        assert!((leaving.max_ms - 10.0).abs() < 0.1, "{leaving:?}");
        assert_eq!((record.backlog, record.changes, step.completed()), (20, 3, 40));
        // From 22 ms to 45 ms.
        assert_eq!(record.pause, Duration::from_millis(23));
        assert_eq!(record.mean_of_quarter(3), Duration::from_micros(10_500));
    }
}
