//! The inputs of a run: yields their records in order, knows their positions and their lag.
//!
//! Stored inputs come first, merged by `(ts, input, line)`. Live inputs (topics) follow: they have neither an end nor a
//! common order, so they are polled in turn, and a silent one delays no other.

use std::collections::BTreeMap;

use connectors::{Batch, Polled, RawEvent, Source, SourceError, SourcePosition};
use schema::{Reason, Rejected};

use crate::engine::{Input, RunError};
use crate::faults;

/// The inputs of a run.
pub(in crate::engine) struct Inputs {
    cursors: Vec<InputCursor>,
    /// Indices of inputs that end: files, pipes, simulations.
    stored: Vec<usize>,
    /// Indices of inputs that do not end.
    live: Vec<usize>,
    /// Place in `live` of the next input to poll.
    turn: usize,
    /// Whether no live input polled in this round had a record.
    is_idle: bool,
}

/// What the reader does next.
pub(super) enum Next {
    /// Take records of this input, at most so many.
    Take { input: usize, most: usize },
    /// Poll this stored input. `blocks`: the poll may wait for the outside world.
    Poll { input: usize, blocks: bool },
    /// Poll this live input and take all its records.
    Follow { input: usize },
    /// Wait: no live input had a record in the last round.
    Wait,
    /// No input has another record.
    End,
}

impl Inputs {
    pub(super) fn new(inputs: Vec<Input>) -> Self {
        let (live, stored) = (0..inputs.len()).partition(|input| inputs[*input].source.is_live());
        Inputs { cursors: inputs.into_iter().map(InputCursor::new).collect(), stored, live, turn: 0, is_idle: true }
    }

    /// Fails where a stored input failed, once its records before the failure are taken.
    pub(super) fn next(&mut self) -> Result<Next, RunError> {
        for &input in &self.stored {
            let cursor = &mut self.cursors[input];
            if cursor.record().is_none() && !cursor.finished {
                cursor.check()?;
                return Ok(Next::Poll { input, blocks: cursor.idle && cursor.input.waits });
            }
        }
        // The earliest of the next records; of equals, that of the first input. Each input keeps its own order.
        let records = self.stored.iter().filter_map(|input| Some((self.cursors[*input].record()?.ts, *input)));
        if let Some((_, input)) = records.min() {
            // A single input needs no comparison until the end of its batch.
            return Ok(Next::Take { input, most: if self.stored.len() == 1 { usize::MAX } else { 1 } });
        }
        if self.live.is_empty() {
            return Ok(Next::End);
        }
        if self.turn == self.live.len() {
            self.turn = 0;
            if std::mem::replace(&mut self.is_idle, true) {
                return Ok(Next::Wait);
            }
        }
        self.turn += 1;
        Ok(Next::Follow { input: self.live[self.turn - 1] })
    }

    /// Polls an input. Returns the records that could not be parsed.
    pub(super) fn poll(&mut self, input: usize) -> Vec<Rejected> {
        let cursor = &mut self.cursors[input];
        cursor.poll();
        if cursor.input.source.is_live() {
            self.is_idle &= cursor.idle;
        }
        std::mem::take(&mut cursor.batch.rejected)
    }

    /// Fails if the last poll of the input failed.
    pub(super) fn check(&mut self, input: usize) -> Result<(), RunError> {
        self.cursors[input].check()
    }

    /// The next record of an input, if it has been polled.
    pub(super) fn record(&self, input: usize) -> Option<RawEvent<'_>> {
        self.cursors[input].record()
    }

    /// Moves an input past its next record.
    pub(super) fn advance(&mut self, input: usize) {
        self.cursors[input].next += 1;
    }

    /// The rejection of the next record of an input.
    pub(super) fn reject(&self, input: usize, reason: Reason) -> Option<Rejected> {
        let InputCursor { input, batch, next, .. } = &self.cursors[input];
        rejected(reason, &*input.source, batch, *next)
    }

    pub(super) fn name(&self, input: usize) -> &str {
        self.cursors[input].input.source.name()
    }

    /// Whether the records of an input arrive while the run reads.
    pub(super) fn arrives(&self, input: usize) -> bool {
        self.cursors[input].input.waits
    }

    pub(super) fn has_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// Whether an input is stored and does not wait for the outside world.
    pub(super) fn has_files(&self) -> bool {
        self.stored.iter().any(|input| !self.cursors[*input].input.waits)
    }

    /// Whether everything has been taken that the inputs had at the start. Pipes have nothing at the start.
    pub(super) fn are_backfilled(&self) -> bool {
        self.cursors.iter().all(|cursor| {
            let is_empty = cursor.record().is_none();
            if cursor.input.source.is_live() {
                cursor.input.source.is_caught_up() && is_empty
            } else {
                cursor.input.waits || (cursor.finished && is_empty)
            }
        })
    }

    /// Where each input resumes if the records returned next are the first ones not taken.
    pub(in crate::engine) fn positions(&self) -> Vec<SourcePosition> {
        self.cursors.iter().map(InputCursor::position).collect()
    }

    /// Records of each live input that are stored and not read, by partition.
    pub(super) fn lag(&self) -> Vec<(String, BTreeMap<i32, u64>)> {
        let live = self.live.iter().map(|input| &self.cursors[*input].input.source);
        live.map(|source| (source.name().to_owned(), source.lag())).collect()
    }
}

/// The rejection of a record that was parsed and is not valid here, as it came. Of a source that has no text of it, the fields
/// that were read. `None`: the batch has no such record.
pub(crate) fn rejected(reason: Reason, source: &dyn Source, batch: &Batch, index: usize) -> Option<Rejected> {
    let event = batch.get(index)?;
    let record = source.text(batch, index).unwrap_or_else(|| fields(event));
    let original = batch.original(index).cloned().map(Box::new);
    Some(Rejected { reason, source: source.name().to_owned(), position: event.position, record, original })
}

fn fields(event: RawEvent<'_>) -> String {
    let mut record = serde_json::json!({
        "user": event.user, "item": event.item, "action": event.action, "ts": event.ts,
    });
    if let Some(dwell_ms) = event.dwell_ms {
        record["dwell_ms"] = dwell_ms.into();
    }
    record.to_string()
}

/// An input and the records of its last poll.
struct InputCursor {
    input: Input,
    batch: Batch,
    /// Index in `batch` of the next record.
    next: usize,
    /// Whether the last poll found nothing more for now.
    idle: bool,
    finished: bool,
    failure: Option<RunError>,
}

impl InputCursor {
    fn new(input: Input) -> Self {
        InputCursor { input, batch: Batch::default(), next: 0, idle: true, finished: false, failure: None }
    }

    fn record(&self) -> Option<RawEvent<'_>> {
        self.batch.get(self.next)
    }

    fn position(&self) -> SourcePosition {
        self.input.source.position(&self.batch, self.next)
    }

    fn poll(&mut self) {
        self.batch.clear();
        self.next = 0;
        let injected = faults::hit("reader.poll").map_err(|cause| SourceError {
            source_name: self.input.source.name().to_owned(),
            position: None,
            what: cause.to_string(),
            advice: "remove the fault".into(),
            cause: Some(cause),
        });
        match injected.and_then(|()| self.input.source.poll(&mut self.batch)) {
            Ok(polled) => {
                self.idle = polled == Polled::Idle;
                self.finished = polled == Polled::Finished;
            }
            // Records before the failure are valid. The failure is reported once they are taken.
            Err(error) => self.failure = Some(error.into()),
        }
    }

    fn check(&mut self) -> Result<(), RunError> {
        self.failure.take().map_or(Ok(()), Err)
    }
}
