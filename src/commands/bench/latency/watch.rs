use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use connectors::{Sink, SinkError};
use crossbeam_channel::Receiver;
use schema::{Change, ListKey};

use super::step::{Step, Written};
use crate::engine::Progress;

/// A sink that writes its changes as JSON to nowhere and takes down when which events are done with.
pub(super) struct Watch {
    progress: Arc<Progress>,
    /// The steps, in order; each is here before its first event is offered.
    steps: Receiver<Arc<Step>>,
    step: Option<Arc<Step>>,
    /// Events of the run that are done with.
    seen: u64,
    line: Vec<u8>,
    written: Written,
    /// Users whose list was emptied since the last flush.
    emptied: Vec<u32>,
    acknowledged: Option<u64>,
}

impl Watch {
    pub(super) fn new(progress: Arc<Progress>, steps: Receiver<Arc<Step>>) -> Self {
        Watch {
            progress,
            steps,
            step: None,
            seen: 0,
            line: Vec::new(),
            written: Written::default(),
            emptied: Vec::new(),
            acknowledged: None,
        }
    }

    /// The step of the next event that is to be done with.
    fn step(&mut self) -> Option<Arc<Step>> {
        while self.step.as_ref().is_none_or(|step| self.seen >= step.first + step.end() as u64) {
            self.step = Some(self.steps.try_recv().ok()?);
        }
        self.step.clone()
    }
}

impl Sink for Watch {
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
        self.written.changes += 1;
        self.written.bytes += self.line.len() as u64 + 1;
        if change.items.is_empty()
            && let ListKey::User(name) = &change.key
            && let Some(user) = name.strip_prefix('u').and_then(|number| number.parse().ok())
        {
            self.emptied.push(user);
        }
        Ok(())
    }

    /// What was written belongs to the events that are done with now, or, if there are none yet, to the next ones: what falls
    /// due as time passes can be out before the event with which it passed.
    fn flush(&mut self, at: u64) -> Result<(), SinkError> {
        let now = Instant::now();
        self.written.emptied.extend(self.emptied.drain(..).map(|user| (user, now)));
        let settled = self.progress.completed.load(Relaxed);
        while self.seen < settled {
            let Some(step) = self.step() else { break };
            let from = self.seen - step.first;
            let upto = (settled - step.first).min(step.end() as u64);
            self.seen = step.first + upto;
            let written = std::mem::take(&mut self.written);
            let index = |event: u64| usize::try_from(event).expect("an index into the events in memory");
            step.settle(index(from)..index(upto), now, &written);
        }
        self.acknowledged = Some(at);
        Ok(())
    }

    fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
