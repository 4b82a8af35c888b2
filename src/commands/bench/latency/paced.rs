use std::fmt::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use connectors::{Batch, Polled, RawEvent, Source, SourceError, SourcePosition};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use schema::Position;

use super::super::machine::wake_on_time;
use super::step::Step;
use crate::stop::Stop;

/// Events per poll, as other sources.
const PER_POLL: usize = 4_096;
/// How long it sleeps without a look at whether it is to go on.
const NAP: Duration = Duration::from_millis(50);

/// A source that has events when they are due: a poll waits for the next one and brings all that are due by then. So events
/// that come while the program is busy wait here, as they would in a pipe, and their time runs.
pub(super) struct Paced {
    steps: Receiver<Arc<Step>>,
    stop: Stop,
    step: Option<Arc<Step>>,
    /// The next event of the step.
    next: usize,
    /// Events offered in all.
    offered: u64,
    begun: bool,
    /// Whether events name their rooms, as those that are read do if rooms have trending lists.
    rooms: bool,
    user: String,
    item: String,
    room: String,
}

impl Paced {
    pub(super) fn new(steps: Receiver<Arc<Step>>, stop: Stop, rooms: bool) -> Self {
        let (user, item, room) = (String::new(), String::new(), String::new());
        Paced { steps, stop, step: None, next: 0, offered: 0, begun: false, rooms, user, item, room }
    }

    fn offer(&mut self, step: &Step, into: &mut Batch) {
        let now = Instant::now();
        for _ in 0..PER_POLL {
            let Some(event) = step.events.get(self.next) else { return };
            if step.due(self.next).is_some_and(|due| due > now) {
                return;
            }
            name(&mut self.user, "u", event.user);
            name(&mut self.item, "p", event.item);
            if self.rooms {
                name(&mut self.room, "room", event.room);
            }
            into.push(RawEvent {
                user: &self.user,
                item: &self.item,
                action: event.action,
                ts: event.ts,
                dwell_ms: event.dwell_ms.map(i64::from),
                room: self.rooms.then_some(&self.room),
                position: self.here(),
                stamped: None,
            });
            self.next += 1;
            self.offered += 1;
        }
    }
}

impl Paced {
    fn here(&self) -> Position {
        Position::Line { line: self.offered, byte: self.offered }
    }
}

fn name(buffer: &mut String, prefix: &str, number: u32) {
    buffer.clear();
    write!(buffer, "{prefix}{number}").expect("writing to a string does not fail");
}

impl Source for Paced {
    fn name(&self) -> &'static str {
        "paced events"
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        if !std::mem::replace(&mut self.begun, true) {
            wake_on_time();
        }
        while !self.stop.is_set() {
            let Some(step) = self.step.clone() else {
                match self.steps.recv_timeout(NAP) {
                    Ok(step) => (self.step, self.next) = (Some(step), 0),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(Polled::Finished),
                }
                continue;
            };
            if self.next == step.events.len() || step.is_cut() {
                step.end_at(self.next);
                self.step = None;
                continue;
            }
            let wait = step.due(self.next).map(|due| due.saturating_duration_since(Instant::now()));
            if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                thread::sleep(wait.min(NAP));
                continue;
            }
            self.offer(&step, into);
            let more = step.pace.is_none() && self.next < step.events.len();
            return Ok(if more { Polled::Ready } else { Polled::Idle });
        }
        Ok(Polled::Finished)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        SourcePosition::of_record(batch, next, self.here())
    }

    /// A schedule is made anew for every run: there is nothing to go on with.
    fn resume_at(&mut self, _position: &SourcePosition) -> Result<(), SourceError> {
        Err(SourceError {
            source_name: Source::name(self).into(),
            position: Some(self.here()),
            what: "cannot go on where another run ended".into(),
            advice: "start the benchmark anew".into(),
            cause: None,
        })
    }
}
