//! The graph: from behaviour events to changed recommendations, incrementally and exactly.
//!
//! [`recommendations`] assembles the graph and reads like the picture in `docs/architecture.md`. [`Driver`] runs it in this
//! process; to run it inside a timely computation of your own, feed it with [`GraphInput`].
//!
//! All stages are connected by differential collections, updates `(data, time, diff)`. Stages that measurements showed to be
//! too slow are custom operators (`docs/decisions/0001-shape-of-the-graph.md`); the tests compare each with a reference made
//! of differential's own operators. They are in [`operators`].
//!
//! Nothing here knows files, formats, sockets or clocks. Users and items are 64-bit ids, and the caller sets the time.

pub mod blend;
pub mod config;
pub mod gauges;
pub mod snapshot;
pub mod time;
pub mod types;

mod audience;
mod changes;
mod dense;
mod driver;
mod graph;
mod input;
mod interactions;
mod lists;
mod measure;
mod operator;
mod popularity;
mod profile;
mod quantise;
mod row_changes;
mod rows;
mod similar_items;
mod similar_users;
mod subscriptions;
mod top_k;
mod totals;
mod trending;

pub use changes::ListChange;
pub use config::{Audience, Config};
pub use driver::{Driver, DriverError};
pub use graph::{Recommendations, recommendations};
pub use input::{GraphInput, InputStreams};
pub use interactions::{Barrier, Event};
pub use types::{ListKey, Scope};

/// Maps and dense numbers for ids.
pub mod ids {
    pub use crate::dense::{Dense, Ids};
    pub use crate::operator::{IdHasher, IdMap, shrink_if_sparse};
}

/// The stages of the graph, for tests, measurements and other graphs.
pub mod operators {
    pub use crate::audience::{Subscriber, Subscription, profile_subscriptions, row_subscriptions};
    pub use crate::changes::{Reconcile, changes};
    pub use crate::input::OpenTick;
    pub use crate::interactions::{Interactions, Loading, WorkerBarrier, interactions};
    pub use crate::lists::lists;
    pub use crate::popularity::popularity;
    pub use crate::quantise::{Logarithm, Similarity};
    pub use crate::row_changes::{RowChange, row_changes};
    pub use crate::similar_items::{Neighbour, SimilarItems, similar_items};
    pub use crate::similar_users::{
        Member, SimilarUser, SimilarUsers, activity, histories, look_up, samples, similar_users,
    };
    pub use crate::top_k::{Ranked, TopK};
    pub use crate::trending::trending;
}

// Inside the crate every name is at the top.
#[allow(unused_imports, reason = "the names that a module needs change with the module")]
use {config::*, gauges::*, ids::*, operators::*, snapshot::*, time::*, types::*};
