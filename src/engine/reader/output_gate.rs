//! Decides when output starts after a resume.
//!
//! A resumed run first rebuilds what an earlier one had computed. Until then the lists are not final, so nothing is
//! emitted. When the gate opens, the graph compares its lists with those in the sink, emits the differences, and emits every
//! change from then on.

use super::inputs::Inputs;
use crate::engine::clock::Clock;

/// The state of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum OutputGate {
    /// Changes are emitted.
    Open,
    /// Opens before time passes this millisecond, the last one that the sink has changes of.
    ClosedUntil(u64),
    /// Opens when everything is read that the inputs had at the start.
    ClosedForBackfill,
}

impl OutputGate {
    /// The gate of a run resumed at millisecond `at`, whose sink has changes up to millisecond `sink_at`.
    pub(in crate::engine) fn at_resume(inputs: &Inputs, clock: Clock, at: u64, sink_at: u64) -> Self {
        match clock {
            // Topics are read from their stored offsets first, and by the wall clock the timestamps of files are past.
            _ if inputs.has_live() => OutputGate::ClosedForBackfill,
            Clock::Wall if inputs.has_files() => OutputGate::ClosedForBackfill,
            // A replay repeats the ticks after the snapshot that the sink already has.
            Clock::Event if at <= sink_at => OutputGate::ClosedUntil(sink_at),
            Clock::Event | Clock::Wall => OutputGate::Open,
        }
    }

    /// The millisecond after which the gate opens before time advances to `at`, if it does.
    pub(super) fn opens_before(self, at: u64) -> Option<u64> {
        match self {
            OutputGate::ClosedUntil(last) if at > last => Some(last),
            _ => None,
        }
    }

    /// Whether the backfill that the gate waits for is complete.
    pub(super) fn is_backfilled(self, inputs: &Inputs) -> bool {
        self == OutputGate::ClosedForBackfill && inputs.are_backfilled()
    }

    /// Opens the gate. Returns whether it was closed.
    pub(super) fn open(&mut self) -> bool {
        std::mem::replace(self, OutputGate::Open) != OutputGate::Open
    }
}

#[cfg(test)]
mod tests {
    use connectors::{Batch, Polled, Source, SourceError, SourcePosition};

    use super::*;
    use crate::engine::Input;

    /// A source without records.
    struct Empty {
        is_live: bool,
    }

    impl Source for Empty {
        fn name(&self) -> &'static str {
            "empty"
        }

        fn poll(&mut self, _into: &mut Batch) -> Result<Polled, SourceError> {
            Ok(Polled::Finished)
        }

        fn position(&self, _batch: &Batch, _next: usize) -> SourcePosition {
            SourcePosition::Partitions { offsets: [].into(), topic: None }
        }

        fn resume_at(&mut self, _position: &SourcePosition) -> Result<(), SourceError> {
            Ok(())
        }

        fn is_live(&self) -> bool {
            self.is_live
        }
    }

    fn inputs(is_live: bool, waits: bool) -> Inputs {
        Inputs::new(vec![Input { source: Box::new(Empty { is_live }), waits }], Vec::new(), Vec::new())
    }

    #[test]
    fn waits_for_the_backfill_of_topics_and_of_files_by_the_wall_clock() {
        let (file, pipe, topic) = (inputs(false, false), inputs(false, true), inputs(true, true));
        let gate = |inputs, clock| OutputGate::at_resume(inputs, clock, 5, 4);
        assert_eq!(gate(&topic, Clock::Event), OutputGate::ClosedForBackfill);
        assert_eq!(gate(&topic, Clock::Wall), OutputGate::ClosedForBackfill);
        assert_eq!(gate(&file, Clock::Wall), OutputGate::ClosedForBackfill);
        assert_eq!(gate(&pipe, Clock::Wall), OutputGate::Open);
        assert_eq!(gate(&file, Clock::Event), OutputGate::Open);
    }

    #[test]
    fn a_replay_stays_closed_for_the_ticks_that_the_sink_has() {
        let mut gate = OutputGate::at_resume(&inputs(false, false), Clock::Event, 5, 7);
        assert_eq!(gate, OutputGate::ClosedUntil(7));
        assert_eq!((gate.opens_before(7), gate.opens_before(8)), (None, Some(7)));
        assert!(gate.open());
        assert_eq!(gate.opens_before(8), None);
        assert!(!gate.open());
    }

    #[test]
    fn a_backfill_is_complete_when_files_end() {
        let mut file = inputs(false, false);
        let gate = OutputGate::ClosedForBackfill;
        assert!(!gate.is_backfilled(&file));
        file.poll(0);
        assert!(gate.is_backfilled(&file) && !OutputGate::Open.is_backfilled(&file));
    }
}
