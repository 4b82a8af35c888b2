//! The reader thread: takes records from the [`Inputs`], builds ticks of them, and opens the output when it is time.
//!
//! The reader blocks in three places. On a full channel it waits for the coordinator, whose end disconnects the channel. In
//! a poll of a pipe it may block for ever, so everything read is sent before, and a run that ends abandons the thread.
//! While all topics are silent it sleeps, for a quarter of a second at most. It ends by disconnecting the channel.

mod checks;
mod inputs;
mod output_gate;
mod tick_builder;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connectors::{RejectLog, SinkError};
use crossbeam_channel::bounded;
use dataflows::Barrier;
use schema::Rejected;
use snapshots::Store;

use self::checks::InputChecks;
pub(super) use self::inputs::Inputs;
pub(crate) use self::inputs::rejected;
use self::inputs::{InputRecord, Next};
pub(super) use self::output_gate::OutputGate;
use self::tick_builder::Admission;
pub(crate) use self::tick_builder::latest;
pub(super) use self::tick_builder::{TickBuilder, TickSender, retain_trending_names};
use super::progress::Progress;
use super::supervisor::{OutputWatch, Part, Supervisor};
use super::{Clock, Resume, RunError, Shared};
use crate::config::Config;
use crate::faults;

/// The state of the reader thread.
pub(super) struct Reader {
    pub(super) inputs: Inputs,
    pub(super) ticks: TickBuilder,
    pub(super) gate: OutputGate,
    rejects: Rejects,
    checks: InputChecks,
    /// The store of the snapshots, if the run takes them.
    pub(super) store: Option<Arc<Store>>,
    pub(super) resume: Option<Resume>,
    /// When the lag was last shown.
    lag_shown: Instant,
}

/// Interval at which the lag of topics is shown.
const SHOW_LAG_EVERY: Duration = Duration::from_secs(1);

/// Longest sleep while all topics are silent: a stop is noticed after it.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Interval at which a record that waits for an id is tried again.
const RELEASE_POLL: Duration = Duration::from_millis(1);

/// Why reading ends before the inputs do.
pub(super) enum Break {
    /// The coordinator takes no more ticks.
    Disconnected,
    Stopped,
    Failed(RunError),
}

impl From<RunError> for Break {
    fn from(error: RunError) -> Self {
        Break::Failed(error)
    }
}

impl Reader {
    pub(super) fn new(
        config: Config,
        inputs: Inputs,
        rejects: Rejects,
        shared: Shared,
        out: TickSender,
        store: Option<Arc<Store>>,
        resume: Option<Resume>,
    ) -> Self {
        Reader {
            checks: InputChecks::new(shared.clock == Clock::Event, config.graph.retention),
            inputs,
            ticks: TickBuilder::new(config, shared, out),
            gate: OutputGate::Open,
            rejects,
            store,
            resume,
            lag_shown: Instant::now(),
        }
    }

    /// Reads until all inputs end, one fails, the run is stopped, or the coordinator has ended. In each case the events read
    /// so far are sent; those of a snapshot only if all of them are.
    pub(super) fn run(mut self) -> Result<(), RunError> {
        let mut end = self.restore();
        if end.is_ok() {
            end = self.read();
            self.checks.report();
            self.ticks.shared.progress.inputs_ended.store(end.is_ok(), Relaxed);
            if !matches!(end, Err(Break::Disconnected)) && self.finish(end.is_ok()).is_err() {
                end = Err(Break::Disconnected);
            }
        }
        match end {
            Err(Break::Failed(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The main loop.
    fn read(&mut self) -> Result<(), Break> {
        loop {
            if self.ticks.shared.stop.is_set() {
                return Err(Break::Stopped);
            }
            if self.gate.is_backfilled(&self.inputs) {
                self.send_tick()?;
                // Time may stand still from here on, and lists of the backfill have waited.
                self.ticks.tick.directives.barrier = Some(Barrier::EvaluateAll);
                self.open_output()?;
                tracing::info!("backfill complete: changes are emitted from now on");
            }
            match self.inputs.next()? {
                Next::Take { input, most } => self.take(input, most)?,
                Next::Poll { input, blocks } => self.poll(input, blocks)?,
                Next::Follow { input } => {
                    self.poll(input, false)?;
                    self.take(input, usize::MAX)?;
                    self.inputs.check(input)?;
                    self.show_lag();
                }
                Next::Wait => self.wait()?,
                Next::End => return Ok(()),
            }
        }
    }

    /// Polls an input. Everything read before is sent before a poll that blocks.
    fn poll(&mut self, input: usize, blocks: bool) -> Result<(), Break> {
        let rejected = if blocks {
            self.send_tick()?;
            self.rejects.flush()?;
            self.ticks.out.while_waiting(|| self.inputs.poll(input))
        } else {
            self.inputs.poll(input)
        };
        self.reject_all(&rejected)
    }

    /// Takes at most `most` polled records of an input.
    fn take(&mut self, input: usize, most: usize) -> Result<(), Break> {
        let arrives = self.inputs.arrives(input);
        for _ in 0..most {
            let Some(record) = self.inputs.record(input) else { return Ok(()) };
            let before = self.ticks.at;
            let admission = match record {
                InputRecord::Event(event) => self.ticks.admit(event, arrives, self.gate),
                InputRecord::Item(item) => self.ticks.admit_item(item, arrives, self.gate),
                InputRecord::Control(control) => self.ticks.admit_control(control, arrives, self.gate),
            };
            match admission {
                Admission::Taken => self.checks.taken(self.inputs.name(input), record, before, self.ticks.at),
                Admission::Rejected(reason) => {
                    self.checks.rejected(&reason);
                    if let Some(rejected) = self.inputs.reject(input, reason) {
                        self.reject_all(&[rejected])?;
                    }
                }
                Admission::OpensFirst { after } => {
                    self.send_tick()?;
                    // Timers due up to the sink's last millisecond fire before the output opens.
                    self.ticks.at = after;
                    self.open_output()?;
                    continue;
                }
                Admission::AwaitsRelease { at } => {
                    self.advance_to(at)?;
                    continue;
                }
            }
            self.inputs.advance(input);
            if self.ticks.tick.len() >= self.ticks.config.input.batch {
                self.send_tick()?;
            }
        }
        Ok(())
    }

    /// Lets time advance to `at`, so that what expires by then is forgotten. Called again until it is: then the answer does
    /// not depend on how far the graph and the writer are behind the reader.
    fn advance_to(&mut self, at: u64) -> Result<(), Break> {
        self.send_tick()?;
        self.ticks.at = at;
        self.send_with_positions()?;
        std::thread::sleep(RELEASE_POLL);
        if self.ticks.shared.stop.is_set() { Err(Break::Stopped) } else { Ok(()) }
    }

    /// Waits for a live input. Everything read before is sent first.
    fn wait(&mut self) -> Result<(), Break> {
        if !self.ticks.tick.is_empty() {
            // A sender that waits for room is unparked by the receiver, which consumes the wake-up of a source. So the inputs
            // are polled again before the thread sleeps.
            return self.send_tick();
        }
        self.rejects.flush()?;
        // A source that has records unparks this thread, also if it got them just before.
        self.ticks.out.while_waiting(|| std::thread::park_timeout(LONGEST_WAIT));
        Ok(())
    }

    fn show_lag(&mut self) {
        if self.lag_shown.elapsed() >= SHOW_LAG_EVERY {
            self.ticks.shared.progress.set_lag(self.inputs.lag());
            self.lag_shown = Instant::now();
        }
    }

    /// Sends the tick, unless it is empty, with the positions after it.
    fn send_tick(&mut self) -> Result<(), Break> {
        if self.ticks.tick.is_empty() {
            return Ok(());
        }
        self.send_with_positions()
    }

    /// Sends a tick in which the graph compares its lists with the sink, unless it has.
    fn open_output(&mut self) -> Result<(), Break> {
        self.ticks.tick.directives.finish_reconcile = self.gate.open();
        self.send_with_positions()
    }

    /// Sends the last ticks. At the end of the input all lists are evaluated, in a tick of its own. If the run ends early, they
    /// are not, and the sink may have changes that were not repeated: the output stays closed. Ignored and rejected records
    /// move the positions too, so a run with a state sends an empty tick.
    fn finish(&mut self, is_complete: bool) -> Result<(), Break> {
        self.send_tick()?;
        if is_complete {
            self.ticks.tick.directives.barrier = Some(Barrier::InputEnds);
        } else {
            self.gate = OutputGate::Open;
        }
        if is_complete || self.store.is_some() { self.open_output() } else { Ok(()) }
    }

    /// Sends the tick as it is, with the positions of the inputs if the run takes snapshots.
    pub(super) fn send_with_positions(&mut self) -> Result<(), Break> {
        if self.store.is_some() {
            self.ticks.tick.directives.positions = Some(self.inputs.positions());
        }
        self.ticks.send()
    }

    fn reject_all(&self, rejected: &[Rejected]) -> Result<(), Break> {
        rejected.iter().try_for_each(|rejected| self.rejects.record(rejected, &self.ticks.shared.progress))
    }
}

/// The log of rejected records. Shared, because a reader that is blocked on a pipe is abandoned when the run stops, and
/// the records it rejected must not be lost.
#[derive(Clone)]
pub(super) struct Rejects {
    log: Arc<Mutex<RejectLog>>,
    /// Calls of the log, which may wait for the outside world.
    pub(super) watch: OutputWatch,
}

impl Rejects {
    pub(super) fn new(log: RejectLog, watch: OutputWatch) -> Self {
        Rejects { log: Arc::new(Mutex::new(log)), watch }
    }

    /// Closes the log and returns its counts. In a thread of its own: the log may be blocked, by a broker or by the reader.
    /// Records rejected later are discarded.
    pub(super) fn close(self, replace: bool, supervisor: &mut Supervisor) -> BTreeMap<String, u64> {
        let (counts, counted) = bounded(1);
        supervisor.reporter.spawn(Part::Rejects, tracing::error_span!("rejects"), move || {
            self.watch.during(|| {
                let mut log = std::mem::take(&mut *self.log());
                counts.send(log.counts().clone()).unwrap_or_default();
                if replace { log.close() } else { log.release() }.map_err(failed)
            })
        });
        supervisor.wait_for(&[Part::Rejects]);
        counted.try_recv().unwrap_or_default()
    }

    fn record(&self, rejected: &Rejected, progress: &Progress) -> Result<(), Break> {
        progress.rejected.fetch_add(1, Relaxed);
        let recorded =
            self.watch.during(|| faults::hit_sink("reader.reject").and_then(|()| self.log().record(rejected)));
        recorded.map_err(|error| Break::Failed(failed(error)))
    }

    fn flush(&self) -> Result<(), Break> {
        self.watch.during(|| self.log().flush()).map_err(|error| Break::Failed(failed(error)))
    }

    fn log(&self) -> MutexGuard<'_, RejectLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failure of the log. A reader that has left is one too: the run is not done, and records would be lost.
fn failed(error: SinkError) -> RunError {
    RunError::Sink(SinkError { closed: false, ..error })
}
