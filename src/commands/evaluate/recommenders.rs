//! What is compared: the graph, and what any system must beat.

mod baselines;
mod graph;

use super::log::LogEvent;
use super::training_stats::TrainingStats;

pub(super) use self::baselines::{Popularity, RandomItems, Recency};
pub(super) use self::graph::{ChangeBuffer, Graph, GraphSetup, record_changes};

/// An event that is learnt.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrainingEvent {
    pub(super) event: LogEvent,
    /// The user had not touched the item before.
    pub(super) new: bool,
}

/// Something that makes lists and learns.
pub(super) trait Recommender {
    /// Takes in what is known before anything is predicted, in the order of time.
    fn load(&mut self, events: &[TrainingEvent]) {
        self.learn(events);
    }

    /// Time goes on: what is predicted next is of this millisecond.
    fn advance(&mut self, _ms: u64) {}

    /// A user's list, best first, into an empty vector.
    fn list(&mut self, user: u32, known: &TrainingStats, into: &mut Vec<u32>);

    /// Takes in what has been predicted.
    fn learn(&mut self, events: &[TrainingEvent]);
}
