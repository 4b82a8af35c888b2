//! The inputs of a run: yields their records in order, knows their positions and their lag.
//!
//! What topics of the catalogue and of controls hold at the start comes first, so that no list is sent without it. Stored
//! inputs follow, merged by `(ts, kind of record, input, line)`, where the catalogue comes before controls and these before
//! events, then live inputs (topics): they have neither an end nor a common order, so they are polled in turn, and a silent one
//! delays no other.

use std::collections::BTreeMap;

use connectors::{
    Batch, CatalogueRecord, ControlRecords, Polled, RawControl, RawEvent, RawItem, Record, Source, SourceError,
    SourcePosition,
};
use schema::{Position, Reason, Rejected};

use crate::engine::{Input, RunError};
use crate::faults;

/// The inputs of a run.
pub(in crate::engine) struct Inputs {
    /// Cursors of the events, then those of the catalogue, then those of controls.
    cursors: Vec<Box<dyn Cursor>>,
    /// Indices of inputs that end, those of the catalogue first, those of events last: files, pipes, simulations.
    stored: Vec<usize>,
    /// Indices of topics of the catalogue and of controls that are read before all others, because they are not caught up.
    first: Vec<usize>,
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
    pub(in crate::engine) fn new(
        inputs: Vec<Input>,
        catalogue: Vec<Input<CatalogueRecord>>,
        controls: Vec<Input<ControlRecords>>,
    ) -> Self {
        let events = inputs.len();
        let boxed = inputs.into_iter().map(|input| Box::new(InputCursor::new(input)) as Box<dyn Cursor>);
        let items = catalogue.into_iter().map(|input| Box::new(InputCursor::new(input)) as Box<dyn Cursor>);
        let controls = controls.into_iter().map(|input| Box::new(InputCursor::new(input)) as Box<dyn Cursor>);
        let cursors: Vec<Box<dyn Cursor>> = boxed.chain(items).chain(controls).collect();
        let events_last = (events..cursors.len()).chain(0..events);
        let (live, stored): (Vec<usize>, Vec<usize>) = events_last.partition(|input| cursors[*input].is_live());
        let first = live.iter().copied().filter(|input| *input >= events).collect();
        Inputs { cursors, stored, first, live, turn: 0, is_idle: true }
    }

    /// Fails where a stored input failed, once its records before the failure are taken.
    pub(super) fn next(&mut self) -> Result<Next, RunError> {
        if !self.first.is_empty() {
            let cursors = &self.cursors;
            self.first.retain(|input| !cursors[*input].is_caught_up());
            if !self.first.is_empty() {
                return Ok(self.next_live(true));
            }
            (self.turn, self.is_idle) = (0, true);
        }
        for &input in &self.stored {
            let cursor = &mut self.cursors[input];
            if cursor.record().is_none() && !cursor.is_finished() {
                cursor.check()?;
                return Ok(Next::Poll { input, blocks: cursor.is_idle() && cursor.waits() });
            }
        }
        // The earliest of the next records; of equals, that of the first input. Each input keeps its own order.
        let stored = self.stored.iter().enumerate();
        let records = stored.filter_map(|(order, input)| Some((self.cursors[*input].record()?.ts(), order, *input)));
        if let Some((_, _, input)) = records.min() {
            // A single input needs no comparison until the end of its batch.
            return Ok(Next::Take { input, most: if self.stored.len() == 1 { usize::MAX } else { 1 } });
        }
        Ok(if self.live.is_empty() { Next::End } else { self.next_live(false) })
    }

    /// The live input whose turn it is: of all, or of those that come first.
    fn next_live(&mut self, first: bool) -> Next {
        let live = if first { &self.first } else { &self.live };
        if self.turn >= live.len() {
            self.turn = 0;
            if std::mem::replace(&mut self.is_idle, true) {
                return Next::Wait;
            }
        }
        self.turn += 1;
        Next::Follow { input: live[self.turn - 1] }
    }

    /// Polls an input. Returns the records that could not be parsed.
    pub(super) fn poll(&mut self, input: usize) -> Vec<Rejected> {
        let cursor = &mut self.cursors[input];
        let rejected = cursor.poll();
        if cursor.is_live() {
            self.is_idle &= cursor.is_idle();
        }
        rejected
    }

    /// Fails if the last poll of the input failed.
    pub(super) fn check(&mut self, input: usize) -> Result<(), RunError> {
        self.cursors[input].check()
    }

    /// The next record of an input, if it has been polled.
    pub(super) fn record(&self, input: usize) -> Option<InputRecord<'_>> {
        self.cursors[input].record()
    }

    /// Moves an input past its next record.
    pub(super) fn advance(&mut self, input: usize) {
        self.cursors[input].advance();
    }

    /// The rejection of the next record of an input.
    pub(super) fn reject(&self, input: usize, reason: Reason) -> Option<Rejected> {
        self.cursors[input].reject(reason)
    }

    pub(super) fn name(&self, input: usize) -> &str {
        self.cursors[input].name()
    }

    /// Whether the records of an input arrive while the run reads.
    pub(super) fn arrives(&self, input: usize) -> bool {
        self.cursors[input].waits()
    }

    pub(super) fn has_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// Whether an input is stored and does not wait for the outside world.
    pub(super) fn has_files(&self) -> bool {
        self.stored.iter().any(|input| !self.cursors[*input].waits())
    }

    /// Whether everything has been taken that the inputs had at the start. Pipes have nothing at the start.
    pub(super) fn are_backfilled(&self) -> bool {
        self.cursors.iter().all(|cursor| {
            let is_empty = cursor.record().is_none();
            if cursor.is_live() {
                cursor.is_caught_up() && is_empty
            } else {
                cursor.waits() || (cursor.is_finished() && is_empty)
            }
        })
    }

    /// Where each input resumes if the records returned next are the first ones not taken: the events, then the catalogue,
    /// then the controls.
    pub(in crate::engine) fn positions(&self) -> Vec<SourcePosition> {
        self.cursors.iter().map(|cursor| cursor.position()).collect()
    }

    /// Records of each live input that are stored and not read, by partition.
    pub(super) fn lag(&self) -> Vec<(String, BTreeMap<i32, u64>)> {
        let live = self.live.iter().map(|input| &self.cursors[*input]);
        live.map(|cursor| (cursor.name().to_owned(), cursor.lag())).collect()
    }
}

/// A record of an input of any kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InputRecord<'a> {
    /// An event.
    Event(RawEvent<'a>),
    /// A record of the catalogue.
    Item(RawItem<'a>),
    /// A control of a user.
    Control(RawControl<'a>),
}

impl<'a> From<RawEvent<'a>> for InputRecord<'a> {
    fn from(event: RawEvent<'a>) -> Self {
        InputRecord::Event(event)
    }
}

impl<'a> From<RawItem<'a>> for InputRecord<'a> {
    fn from(item: RawItem<'a>) -> Self {
        InputRecord::Item(item)
    }
}

impl<'a> From<RawControl<'a>> for InputRecord<'a> {
    fn from(control: RawControl<'a>) -> Self {
        InputRecord::Control(control)
    }
}

impl InputRecord<'_> {
    fn ts(&self) -> u64 {
        match self {
            InputRecord::Event(event) => event.ts,
            InputRecord::Item(item) => item.ts,
            InputRecord::Control(control) => control.ts,
        }
    }

    fn position(&self) -> Position {
        match self {
            InputRecord::Event(event) => event.position,
            InputRecord::Item(item) => item.position,
            InputRecord::Control(control) => control.position,
        }
    }

    /// The fields that were read, for a source that has no text of its records.
    fn fields(&self) -> String {
        let record = match self {
            InputRecord::Event(event) => {
                let mut record = serde_json::json!({
                    "user": event.user, "item": event.item, "action": event.action, "ts": event.ts,
                });
                if let Some(dwell_ms) = event.dwell_ms {
                    record["dwell_ms"] = dwell_ms.into();
                }
                record
            }
            InputRecord::Item(item) => serde_json::json!({ "item": item.item, "ts": item.ts }),
            InputRecord::Control(control) => {
                serde_json::json!({ "user": control.user, "control": control.control.name(), "ts": control.ts })
            }
        };
        record.to_string()
    }
}

/// The rejection of a record that was parsed and is not valid here, as it came. Of a source that has no text of it, the fields
/// that were read. `None`: the batch has no such record.
pub(crate) fn rejected<R: Record>(
    reason: Reason,
    source: &dyn Source<R>,
    batch: &Batch<R>,
    index: usize,
) -> Option<Rejected>
where
    for<'a> InputRecord<'a>: From<R::Ref<'a>>,
{
    let parsed = InputRecord::from(batch.get(index)?);
    let record = source.text(batch, index).unwrap_or_else(|| parsed.fields());
    let original = batch.original(index).cloned().map(Box::new);
    Some(Rejected { reason, source: source.name().to_owned(), position: parsed.position(), record, original })
}

/// An input of any kind and the records of its last poll.
trait Cursor: Send {
    /// The next record, if it has been polled.
    fn record(&self) -> Option<InputRecord<'_>>;

    /// Moves past the next record.
    fn advance(&mut self);

    /// Polls the input. Returns the records that could not be parsed.
    fn poll(&mut self) -> Vec<Rejected>;

    /// Fails if the last poll failed.
    fn check(&mut self) -> Result<(), RunError>;

    /// The rejection of the next record.
    fn reject(&self, reason: Reason) -> Option<Rejected>;

    fn position(&self) -> SourcePosition;

    fn name(&self) -> &str;

    /// Whether a poll may wait for the outside world.
    fn waits(&self) -> bool;

    /// Whether the last poll found nothing more for now.
    fn is_idle(&self) -> bool;

    fn is_finished(&self) -> bool;

    fn is_live(&self) -> bool;

    fn is_caught_up(&self) -> bool;

    fn lag(&self) -> BTreeMap<i32, u64>;
}

struct InputCursor<R: Record> {
    input: Input<R>,
    batch: Batch<R>,
    /// Index in `batch` of the next record.
    next: usize,
    idle: bool,
    finished: bool,
    failure: Option<RunError>,
}

impl<R: Record> InputCursor<R> {
    fn new(input: Input<R>) -> Self {
        InputCursor { input, batch: Batch::default(), next: 0, idle: true, finished: false, failure: None }
    }
}

impl<R: Record> Cursor for InputCursor<R>
where
    for<'a> InputRecord<'a>: From<R::Ref<'a>>,
{
    fn record(&self) -> Option<InputRecord<'_>> {
        self.batch.get(self.next).map(InputRecord::from)
    }

    fn advance(&mut self) {
        self.next += 1;
    }

    fn poll(&mut self) -> Vec<Rejected> {
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
        std::mem::take(&mut self.batch.rejected)
    }

    fn check(&mut self) -> Result<(), RunError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn reject(&self, reason: Reason) -> Option<Rejected> {
        rejected(reason, &*self.input.source, &self.batch, self.next)
    }

    fn position(&self) -> SourcePosition {
        self.input.source.position(&self.batch, self.next)
    }

    fn name(&self) -> &str {
        self.input.source.name()
    }

    fn waits(&self) -> bool {
        self.input.waits
    }

    fn is_idle(&self) -> bool {
        self.idle
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn is_live(&self) -> bool {
        self.input.source.is_live()
    }

    fn is_caught_up(&self) -> bool {
        self.input.source.is_caught_up() && self.record().is_none()
    }

    fn lag(&self) -> BTreeMap<i32, u64> {
        self.input.source.lag()
    }
}
