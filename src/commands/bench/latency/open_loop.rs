use std::fmt::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use connectors::{Batch, Polled, RawEvent, Source, SourceError, SourcePosition};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use schema::Position;

use super::step::LoadStep;
use crate::proc::set_precise_timers;
use crate::stop::Stop;

/// Events per poll, as in other sources.
const PER_POLL: usize = 4_096;
/// Longest sleep between two checks of [`Stop`].
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// Open-loop source: a poll waits for the next event and returns all events that are due. Events that become due while the
/// program is busy wait here, as they would in a pipe, and their latency includes the wait.
pub(super) struct OpenLoopSource {
    steps: Receiver<Arc<LoadStep>>,
    stop: Stop,
    step: Option<Arc<LoadStep>>,
    /// Index of the next event of the step.
    next: usize,
    /// Number of events emitted.
    emitted: u64,
    started: bool,
    /// Whether events have rooms; other sources read them only if rooms have trending lists.
    rooms: bool,
    user: String,
    item: String,
    room: String,
}

impl OpenLoopSource {
    pub(super) fn new(steps: Receiver<Arc<LoadStep>>, stop: Stop, rooms: bool) -> Self {
        let (user, item, room) = (String::new(), String::new(), String::new());
        OpenLoopSource { steps, stop, step: None, next: 0, emitted: 0, started: false, rooms, user, item, room }
    }

    fn emit_due(&mut self, step: &LoadStep, into: &mut Batch) {
        let now = Instant::now();
        for _ in 0..PER_POLL {
            let Some(event) = step.events.get(self.next) else { return };
            if step.due(self.next).is_some_and(|due| due > now) {
                return;
            }
            format_name(&mut self.user, "u", event.user);
            format_name(&mut self.item, "p", event.item);
            if self.rooms {
                format_name(&mut self.room, "room", event.room);
            }
            into.push(RawEvent {
                dwell_ms: event.dwell_ms.map(i64::from),
                room: self.rooms.then_some(&self.room),
                ..RawEvent::new(&self.user, &self.item, event.action, event.ts, self.current_position())
            });
            self.next += 1;
            self.emitted += 1;
        }
    }

    fn current_position(&self) -> Position {
        Position::Line { line: self.emitted, byte: self.emitted }
    }
}

fn format_name(buffer: &mut String, prefix: &str, number: u32) {
    buffer.clear();
    write!(buffer, "{prefix}{number}").expect("writing to a string does not fail");
}

impl Source for OpenLoopSource {
    fn name(&self) -> &'static str {
        "paced events"
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        if !std::mem::replace(&mut self.started, true) {
            set_precise_timers();
        }
        while !self.stop.is_set() {
            let Some(step) = self.step.clone() else {
                match self.steps.recv_timeout(MAX_SLEEP) {
                    Ok(step) => (self.step, self.next) = (Some(step), 0),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(Polled::Finished),
                }
                continue;
            };
            if self.next == step.events.len() || step.is_aborted() {
                step.end_at(self.next);
                self.step = None;
                continue;
            }
            let wait = step.due(self.next).map(|due| due.saturating_duration_since(Instant::now()));
            if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                thread::sleep(wait.min(MAX_SLEEP));
                continue;
            }
            self.emit_due(&step, into);
            let more = step.pace.is_none() && self.next < step.events.len();
            return Ok(if more { Polled::Ready } else { Polled::Idle });
        }
        Ok(Polled::Finished)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        SourcePosition::of_record(batch, next, self.current_position())
    }
}
