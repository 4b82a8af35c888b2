//! The compared systems: the graph and the baselines.

mod baselines;
mod graph;
mod unpersonalised;
mod vmis_knn;

use super::log::{LogEvent, OtherEvent};
use super::training_stats::TrainingStats;

pub(super) use self::baselines::Baseline;
pub(super) use self::graph::{ChangeBuffer, Graph, GraphSetup, record_changes};
use self::unpersonalised::{RandomItems, RankedItems};
use self::vmis_knn::VmisKnn;

#[derive(Clone, Copy, Debug)]
pub(super) struct TrainingEvent {
    pub(super) event: LogEvent,
    /// Whether it is the first event of this user and item.
    pub(super) new: bool,
}

/// A system under evaluation.
pub(super) trait Recommender {
    /// Loads the training events before the first prediction, ordered by time.
    fn load(&mut self, events: &[TrainingEvent]) {
        self.update(events);
    }

    /// Takes events without a level that have happened since, ordered by time. They are known to the next load, list or update.
    fn take_others(&mut self, _events: &[OtherEvent]) {}

    /// Advances the time to that of the next prediction.
    fn advance(&mut self, _ms: u64) {}

    /// Writes the list of a user, best first, into an empty vector.
    fn recommend(&mut self, user: u32, training: &TrainingStats, into: &mut Vec<u32>);

    /// Applies events after they were predicted.
    fn update(&mut self, events: &[TrainingEvent]);
}
