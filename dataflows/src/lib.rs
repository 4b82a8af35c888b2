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
pub mod operators;
pub mod snapshot;
pub mod time;
pub mod types;

mod audience;
mod changes;
mod driver;
mod graph;
mod input;
mod interactions;
mod lists;
mod popularity;
mod row_changes;
mod similarity;
mod trending;

pub use changes::ListChange;
pub use config::{Audience, Config};
pub use driver::{Driver, DriverError};
pub use graph::{Recommendations, recommendations};
pub use input::{GraphInput, InputStreams};
pub use interactions::{Barrier, Event};
pub use types::{ListKey, Scope};

// Inside the crate every name is at the top.
#[allow(unused_imports, clippy::wildcard_imports, reason = "the names that a module needs change with the module")]
use {config::*, gauges::*, operators::*, snapshot::*, time::*, types::*};
