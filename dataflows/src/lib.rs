//! The graph: from behaviour events to changed recommendations, incrementally and exactly.
//!
//! [`recommendations`] assembles it and reads like the picture in `docs/architecture.md`. All stages exchange differential
//! collections, updates `(data, time, diff)`. Where measurements justified it, a stage is an operator of this crate
//! (`docs/decisions/0001-shape-of-the-graph.md`); the tests compare each with a reference implementation of differential's
//! operators.
//!
//! The parts of the operators that are measured on their own are public too: [`TopK`] over [`Ids`].
//!
//! Nothing here knows files, formats, sockets or clocks. Users and items are 64-bit ids; time is what the caller says.

mod audience;
mod blend;
mod changes;
mod config;
mod driver;
mod gauges;
mod graph;
mod input;
mod interactions;
mod lists;
mod operators;
mod popularity;
mod row_changes;
mod similarity;
mod snapshot;
mod time;
mod trending;
mod types;

pub use audience::{Subscriber, Subscription, profile_subscriptions, row_subscriptions};
pub use blend::{BlendSources, Origin, SPREAD, shown};
pub use changes::{ListChange, Reconcile, changes};
pub use config::{Audience, Config, Outputs, Trending};
pub use driver::{Driver, DriverError};
pub use gauges::{Gauges, STAGES, StateSize, Work};
pub use graph::{Recommendations, recommendations};
pub use input::{GraphInput, InputStreams, OpenTick};
pub use interactions::{Barrier, Event, Interactions, Loading, WorkerBarrier, interactions};
pub use lists::lists;
pub use operators::{Dense, IdHasher, IdMap, Ids, Ranked, TopK, shrink_if_sparse};
pub use popularity::popularity;
pub use row_changes::{RowChange, row_changes};
pub use similarity::items::{Neighbour, SimilarItems, similar_items};
pub use similarity::measure::Measure;
pub use similarity::quantise::{Logarithm, Similarity};
pub use similarity::users::{
    Member, SimilarUser, SimilarUsers, activity, histories, rank_similar_users, samples, similar_users,
};
pub use snapshot::{GROUPS, Groups, SnapshotChunk, SnapshotSink, group_of};
pub use time::{MAX_MS, Time, first_of, ms_of, next};
pub use trending::trending;
pub use types::{Collection, Diff, Forgotten, ItemId, Level, List, ListKey, Scope, Scored, UserId, Weight};
