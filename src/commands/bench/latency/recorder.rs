use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use connectors::{Sink, SinkError};
use crossbeam_channel::Receiver;
use schema::{Change, ListKey};

use super::step::{Flushed, LoadStep};
use crate::engine::Progress;

/// Sink that serialises changes, discards them, and records when the events of the steps are completed.
pub(super) struct LatencyRecorder {
    progress: Arc<Progress>,
    /// Steps in order. A step is sent here before its first event is emitted.
    steps: Receiver<Arc<LoadStep>>,
    step: Option<Arc<LoadStep>>,
    /// Number of completed events of the run.
    completed: u64,
    line: Vec<u8>,
    flushed: Flushed,
    /// Users with a list emptied since the last flush.
    emptied: Vec<u32>,
}

impl LatencyRecorder {
    pub(super) fn new(progress: Arc<Progress>, steps: Receiver<Arc<LoadStep>>) -> Self {
        LatencyRecorder {
            progress,
            steps,
            step: None,
            completed: 0,
            line: Vec::new(),
            flushed: Flushed::default(),
            emptied: Vec::new(),
        }
    }

    /// The step of the next event to complete.
    fn step(&mut self) -> Option<Arc<LoadStep>> {
        while self.step.as_ref().is_none_or(|step| self.completed >= step.first + step.end() as u64) {
            self.step = Some(self.steps.try_recv().ok()?);
        }
        self.step.clone()
    }
}

impl Sink for LatencyRecorder {
    fn name(&self) -> &'static str {
        "the benchmark"
    }

    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, change).map_err(|error| SinkError {
            sink_name: Sink::name(self).into(),
            what: format!("cannot write a change: {error}"),
            advice: "please report it".into(),
            closed: false,
            cause: None,
        })?;
        self.flushed.changes += 1;
        self.flushed.bytes += self.line.len() as u64 + 1;
        if let ListKey::User(name) = &change.key
            && let Some(user) = name.strip_prefix('u').and_then(|number| number.parse().ok())
        {
            self.flushed.changed.insert(user);
            if change.items.is_empty() {
                self.emptied.push(user);
            }
        }
        Ok(())
    }

    /// Attributes the changes since the last completion to the events completed now. If there are none, the next events
    /// get them: timers can emit changes before the event that advanced the time is completed.
    fn flush(&mut self, _at: u64) -> Result<(), SinkError> {
        let now = Instant::now();
        self.flushed.emptied.extend(self.emptied.drain(..).map(|user| (user, now)));
        let completed = self.progress.completed.load(Relaxed);
        while self.completed < completed {
            let Some(step) = self.step() else { break };
            let from = self.completed - step.first;
            let until = (completed - step.first).min(step.end() as u64);
            self.completed = step.first + until;
            let flushed = std::mem::take(&mut self.flushed);
            let index = |event: u64| usize::try_from(event).expect("an index of events in memory");
            step.complete(index(from)..index(until), now, &flushed);
            if step.pace.is_some_and(|pace| index(from) < pace.warm_up && pace.warm_up <= index(until)) {
                self.progress.waits.reset();
            }
        }
        Ok(())
    }
}
