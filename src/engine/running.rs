//! A run whose threads have started, and its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::RunError;
use super::names::Names;
use super::progress::{Display, Progress};
use super::reader::Rejects;
use super::summary::{CatalogueSummary, Summary, by_code};
use super::supervisor::{Part, Supervisor};

/// A run whose threads have started.
pub struct Running {
    pub(super) started: Instant,
    pub(super) progress: Arc<Progress>,
    /// If there is a catalogue.
    pub(super) names: Option<Arc<Names>>,
    /// Whether the run takes controls of users.
    pub(super) has_controls: bool,
    pub(super) supervisor: Supervisor,
    pub(super) rejects: Rejects,
    pub(super) display: Display,
    /// Whether other processes compute too.
    pub(super) is_cluster: bool,
    pub(super) takes_snapshots: bool,
}

impl Running {
    /// Waits for the end of the run, whether it succeeds or fails.
    pub fn join(self) -> (Summary, Result<(), RunError>) {
        let Running {
            started,
            progress,
            names,
            has_controls,
            mut supervisor,
            rejects,
            display,
            is_cluster,
            takes_snapshots,
        } = self;
        // The coordinator ends when the inputs have ended, or the run was stopped, and everything that follows from the events
        // read is with the writer. A snapshot of the last tick is complete once the writer has written that tick.
        supervisor.wait_for(&[Part::Coordinator, Part::Writer]);
        if takes_snapshots {
            supervisor.wait_for(&[Part::Snapshots]);
        }
        if supervisor.stop.is_set() {
            // A reader that is blocked on a pipe is abandoned: everything it has read was sent.
            supervisor.wait_briefly_for(Part::Reader);
        } else {
            supervisor.wait_for(&[Part::Reader]);
        }
        // Without an event and without a rejected record, an older file of rejected records stays.
        let counts = rejects.close(!progress.has_no_results(), &mut supervisor);
        display.end(&mut supervisor);
        if !supervisor.stop.is_set()
            && let Some(error) = no_events(&progress, &counts)
        {
            supervisor.fail(error);
        }
        supervisor.announce();
        if is_cluster {
            supervisor.wait_for_links();
        } else if !supervisor.is_cut() {
            // Nothing needs what the graph still computes of a run that was cut.
            supervisor.wait_for(&[Part::Workers]);
        }
        let mut summary = Summary::of(&progress, started.elapsed());
        summary.rejected_by = counts;
        summary.controls = has_controls.then(|| progress.controls.load(Relaxed));
        summary.catalogue = names.map(|names| {
            let (with_record, without_record) = names.items().with_events();
            if with_record == 0 && without_record > 0 {
                tracing::warn!("no item that has events has a catalogue record: do both name items alike?");
            }
            CatalogueSummary::of(&progress, without_record)
        });
        (summary, supervisor.finish())
    }
}

/// The failure of a run whose inputs had records, of which not one was an event. A run that resumed has events of earlier runs.
fn no_events(progress: &Progress, counts: &BTreeMap<String, u64>) -> Option<RunError> {
    let rejected = progress.rejected.load(Relaxed);
    let counters = [&progress.events, &progress.restored, &progress.items, &progress.controls];
    let has_events = counters.iter().any(|counter| counter.load(Relaxed) > 0);
    (rejected > 0 && !has_events).then(|| RunError::NoEvents { rejected, reasons: by_code(counts) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use connectors::{Sink, SinkError};
    use crossbeam_channel::{Receiver, unbounded};
    use schema::Change;
    use simulator::{Generator, Options};

    use super::super::{Input, Job, Simulated, start};
    use crate::config::Config;

    /// A sink that never answers: the sender is alive and sends nothing.
    struct Silent(Receiver<()>);

    impl Sink for Silent {
        fn name(&self) -> &'static str {
            "silent"
        }

        fn write(&mut self, _change: &Change) -> Result<(), SinkError> {
            Ok(())
        }

        fn flush(&mut self, _at: u64) -> Result<(), SinkError> {
            self.0.recv().unwrap_or_default();
            Ok(())
        }
    }

    #[test]
    fn an_output_that_never_answers_delays_the_end_for_a_bounded_time() {
        let (_alive, silent) = unbounded();
        let generator = Options::parse("events=20000,users=90,items=50").and_then(Generator::new).unwrap();
        let source = Box::new(Simulated::new(generator));
        let job =
            Job::new(Config::load(None, &[]).unwrap(), vec![Input { source, waits: false }], Box::new(Silent(silent)));
        let stop = job.stop.clone();
        let mut running = start(job);
        running.supervisor.set_output_timeout(Duration::from_millis(300));
        while running.progress.unacknowledged() == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        stop.set();
        let (summary, result) = running.join();
        let error = result.unwrap_err().to_string();
        let expected = format!("silent: {} changes are not acknowledged", summary.changes);
        assert!(error.starts_with(&expected) && summary.changes > 0, "{error}");
    }
}
