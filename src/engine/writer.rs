//! Gives ids their names back and writes changes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use connectors::{Sink, SinkError};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dataflows::ListChange;
use schema::{Change, Recommended};

use super::Shared;
use super::names::{ExpiringNames, Names, Table};
use super::progress::Progress;
use super::snapshot::OutputProgress;
use super::streams::Streams;
use super::tick::{CompletedOutput, Waker};
use crate::stop::Stop;

/// See the module.
pub(super) struct Writer {
    sink: Box<dyn Sink>,
    streams: Streams,
    names: Arc<Names>,
    progress: Arc<Progress>,
    stop: Stop,
    /// Tick up to which everything is written, if snapshots are taken.
    output_progress: Option<OutputProgress>,
}

impl Writer {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        streams: Streams,
        shared: Shared,
        output_progress: Option<OutputProgress>,
    ) -> Self {
        let Shared { names, progress, stop, .. } = shared;
        Writer { sink, streams, names, progress, stop, output_progress }
    }

    /// Writes until nothing more comes, then closes the output. When that fails, the run is to stop: nobody
    /// takes changes any more. A closed pipe is no failure.
    pub(super) fn run(mut self, settled: &Receiver<CompletedOutput>, waker: &Waker) -> Result<(), SinkError> {
        let written = self.write_all(settled, waker);
        if written.is_err() {
            self.stop.set();
        }
        let closed = written.and_then(|()| self.sink.close().and(self.streams.close()));
        match closed {
            Err(error) if error.closed => Ok(()),
            closed => closed,
        }
    }

    fn write_all(&mut self, settled: &Receiver<CompletedOutput>, waker: &Waker) -> Result<(), SinkError> {
        loop {
            let mut last = match settled.recv_timeout(MAINTAIN_EVERY) {
                Ok(first) => self.write(first, waker)?,
                Err(RecvTimeoutError::Timeout) => {
                    self.sink.maintain()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            // What came while the last flush took its time is flushed together: that of a topic is a transaction.
            let mut forgotten = std::mem::take(&mut last.forgotten);
            for more in settled.try_iter().take(TOGETHER) {
                last = self.write(more, waker)?;
                forgotten.append(&mut last.forgotten);
            }
            self.progress.settled.store(last.events, Relaxed);
            self.sink.flush(last.at)?;
            if let Some(output_progress) = &self.output_progress {
                output_progress.set(last.time);
            }
            self.names.pass(last.at);
            for (name, at, feed) in forgotten {
                self.names.forget(name, at, feed);
            }
        }
    }

    /// Writes what is complete, which is returned without it.
    fn write(&mut self, mut settled: CompletedOutput, waker: &Waker) -> Result<CompletedOutput, SinkError> {
        waker.wake();
        for some in std::mem::take(&mut settled.changes).chunks(NAMED_AT_ONCE) {
            // The reader needs the names too: they are held for a moment only.
            let named: Vec<Change> = {
                let (users, items, passing) = (self.names.users(), self.names.items(), self.names.passing());
                some.iter().map(|change| named(change, (&users, &items, &passing))).collect()
            };
            for change in &named {
                self.sink.write(change)?;
            }
            self.progress.changes.fetch_add(named.len() as u64, Relaxed);
        }
        self.streams.write(&settled.rows, &self.names)?;
        Ok(settled)
    }
}

/// Most that is flushed together, so that the first of it is not held up by what comes without end.
const TOGETHER: usize = 16;

/// How long nothing may be written before the sink is looked after.
const MAINTAIN_EVERY: Duration = Duration::from_millis(250);

/// Changes between two looks at the names.
const NAMED_AT_ONCE: usize = 256;

/// A name may be held for what trends alone.
fn named(change: &ListChange, (users, items, passing): (&Table, &Table, &ExpiringNames)) -> Change {
    let item = |id: u64| {
        let name = items.get(id).or_else(|| passing.get(id));
        name.expect("an item's name stays until the last list without it is written").to_owned()
    };
    let user = users.get(change.user).or_else(|| passing.get(change.user));
    Change {
        user: user.expect("a user's name stays until the last list is written").to_owned(),
        at: change.at,
        items: change.items.iter().map(|scored| Recommended { item: item(scored.item), score: scored.score }).collect(),
        entered: change.entered.iter().copied().map(item).collect(),
        left: change.left.iter().copied().map(item).collect(),
    }
}
