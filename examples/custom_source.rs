//! Runs the engine between a source and a sink of its own: two channels. Prints each changed list as a JSON line.
//!
//! ```text
//! cargo run --release --example custom_source
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints its results")]

use std::iter;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use connectors::{Batch, Polled, RawEvent, Sink, SinkError, Source, SourceError, SourcePosition};
use deltarec::config::Config;
use deltarec::engine::{Input, Job, RunError, Summary, run};
use schema::{Change, Event, Position, Rejected, check_name, check_ts};
use simulator::{Generator, Options};

/// Events from a channel.
struct ChannelSource {
    events: Receiver<Event>,
    /// Number of events received; also the position of the next one.
    received: u64,
}

impl ChannelSource {
    fn end(&self) -> Position {
        Position::Line { line: self.received, byte: self.received }
    }
}

impl Source for ChannelSource {
    fn name(&self) -> &'static str {
        "channel"
    }

    /// Waits for one event and then takes those that are there: [`Polled::Idle`] says that the next poll may wait again.
    fn poll(&mut self, batch: &mut Batch) -> Result<Polled, SourceError> {
        let Ok(first) = self.events.recv() else { return Ok(Polled::Finished) };
        for event in iter::once(first).chain(self.events.try_iter()).take(1_000) {
            let position = self.end();
            self.received += 1;
            // A source guarantees valid names and timestamps. The engine checks the rest.
            let valid = check_name("user", &event.user).and_then(|()| check_name("item", &event.item));
            match valid.and_then(|()| check_ts(event.ts.into())) {
                Ok(ts) => batch.push(RawEvent {
                    dwell_ms: event.dwell_ms,
                    room: event.room.as_deref(),
                    ..RawEvent::new(&event.user, &event.item, &event.action, ts, position)
                }),
                Err(reason) => batch.rejected.push(Rejected {
                    reason,
                    source: self.name().to_owned(),
                    position,
                    record: format!("{event:?}"),
                    original: None,
                }),
            }
        }
        Ok(Polled::Idle)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        SourcePosition::of_record(batch, next, self.end())
    }
}

/// Changed lists into a channel.
struct ChannelSink(SyncSender<Change>);

impl Sink for ChannelSink {
    fn name(&self) -> &'static str {
        "channel"
    }

    /// Blocks while the channel is full. Then the engine waits too, and reads no more events.
    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        self.0.send(change.clone()).map_err(|error| SinkError {
            sink_name: self.name().to_owned(),
            what: error.to_string(),
            advice: "keep the receiver until the run ends".to_owned(),
            closed: true,
            cause: None,
        })
    }
}

/// Runs the engine over these events and calls `on_change` for each changed list.
pub(crate) fn recommend(
    log: impl Iterator<Item = Event> + Send,
    on_change: impl FnMut(Change),
) -> Result<Summary, RunError> {
    let (event_sender, events) = sync_channel(1_000);
    let (change_sender, changes) = sync_channel(1_000);
    // `waits`: a poll may wait for the outside world, so the engine processes what it has read before it polls.
    let input = Input { source: Box::new(ChannelSource { events, received: 0 }), waits: true };
    let job = Job::new(Config::default(), vec![input], Box::new(ChannelSink(change_sender)));

    thread::scope(|scope| {
        // The input ends when its sender is dropped. The run ends then too, and drops the sender of the changes.
        scope.spawn(move || log.take_while(|event| event_sender.send(event.clone()).is_ok()).for_each(drop));
        let engine = scope.spawn(|| run(job));
        changes.into_iter().for_each(on_change);
        let (summary, result) = engine.join().expect("the engine reports panics of its threads as errors");
        result.map(|()| summary)
    })
}

/// A simulated log. A real program would receive its events from a network connection or a queue.
pub(crate) fn log() -> impl Iterator<Item = Event> + Send {
    let options = Options { events: 500, users: 20, items: 30, ..Options::default() };
    Generator::new(options).expect("the options are valid")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let summary = recommend(log(), |change| {
        println!("{}", serde_json::to_string(&change).expect("a change is always valid JSON"));
    })?;
    eprintln!("{summary}");
    Ok(())
}
